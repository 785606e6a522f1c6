//! What a linear layer is, in every form in which exporters write one.

use super::super::graph::Index;
use super::super::schema::{NodeProto, data_type};
use super::{Classifier, Cut, Dequantize, bytes};

/// A layer with weights of the file, and the value that it takes.
pub(super) struct Layer<'a> {
    pub(super) classifier: Classifier,
    pub(super) input: &'a str,
    pub(super) features: Option<usize>,
    pub(super) classes: Option<usize>,
    pub(super) data_type: i32,
    pub(super) dequantize: Option<Dequantize>,
}

impl Layer<'_> {
    /// What the new head replaces when it stands in for this layer.
    pub(super) fn cut(&self, output: &str, tail: Vec<usize>) -> Cut {
        Cut {
            tensor: self.input.into(),
            output: output.into(),
            classifier: self.classifier,
            features: self.features,
            classes: self.classes,
            data_type: self.data_type,
            heads: 1,
            tokens: Vec::new(),
            apart: Vec::new(),
            gathered: None,
            dequantize: self.dequantize.clone(),
            decided: false,
            tail,
        }
    }
}

/// A layer's weight as the layer reads it: its shape where the file tells it, and its data type.
struct Weight {
    dims: Option<Vec<i64>>,
    data_type: i32,
}

/// The weight of a `Gemm`, `MatMul` or `Conv`, or of one of their forms on bytes, which stands behind the input's scale
/// and zero point there; the new head is one on floats.
fn stored(index: &Index, node: &NodeProto) -> Option<Weight> {
    let found = weight(index, node.input.get(if node.is_on_bytes() { 3 } else { 1 })?)?;
    Some(if node.is_on_bytes() { Weight { data_type: data_type::FLOAT, ..found } } else { found })
}

/// The weight that a node reads as `value`: a stored tensor, read through any of `Transpose`, `DequantizeLinear` and
/// `Cast`, or whatever else is computed from stored tensors alone.
fn weight(index: &Index, value: &str) -> Option<Weight> {
    let (mut name, mut read_as, mut transposed) = (value, None, None);
    loop {
        if let Some((dims, data_type)) = index.stored(name) {
            let dims = Some(turned(dims, transposed)).filter(|dims| dims.len() <= 4)?;
            return Some(Weight { dims: Some(dims), data_type: read_as.unwrap_or(data_type) });
        }
        let node = index.producer(name).filter(|_| index.is_fixed(name))?;
        if node.is("Transpose") && transposed.is_none() {
            transposed = Some(node);
        } else if node.is("DequantizeLinear") {
            let scale = index.constant(node.input.get(1)?)?;
            read_as = read_as.or(Some(scale.data_type()));
        } else if node.is("Cast") {
            read_as = read_as.or(i32::try_from(node.int("to", 0)).ok());
        } else {
            // As with weights that are normalised in the graph.
            return Some(Weight { dims: None, data_type: read_as.unwrap_or(data_type::FLOAT) });
        }
        name = node.input.first()?;
    }
}

/// Dimensions behind a `Transpose`; none where that does not fit.
fn turned(dims: &[i64], transpose: Option<&NodeProto>) -> Vec<i64> {
    match transpose.map(|node| node.attr("perm")) {
        None => dims.to_vec(),
        Some(None) => dims.iter().rev().copied().collect(),
        Some(Some(perm)) => {
            let axis = |&p: &i64| dims.get(usize::try_from(p).ok()?).copied();
            perm.ints.iter().take(5).map(axis).collect::<Option<_>>().unwrap_or_default()
        }
    }
}

/// The linear layer that a node is or completes; `None` for other nodes.
pub(super) fn linear<'a>(index: &Index<'a>, node: &'a NodeProto) -> Option<Layer<'a>> {
    if node.is("Einsum") {
        return einsum(index, node);
    }
    if node.is("Mul") {
        return quantised_on_the_fly(index, node);
    }
    let (input, kind) = (node.input.first()?.as_str(), node.computes());
    if !["Gemm", "MatMul", "Conv"].contains(&kind) || index.is_fixed(input) {
        return None;
    }
    let Weight { dims, data_type } = stored(index, node)?;
    let layer = |classifier, input, sizes: (i64, i64)| {
        let (features, classes) = (usize::try_from(sizes.0).ok(), usize::try_from(sizes.1).ok());
        Some(Layer { classifier, input, features, classes, data_type, dequantize: bytes::taken(node) })
    };
    match dims.as_deref() {
        Some(&[rows, columns]) if kind == "Gemm" => {
            let input = if node.int("transA", 0) == 0 { input } else { untransposed(index, input)? };
            layer(Classifier::Linear, input, if node.int("transB", 0) == 0 { (rows, columns) } else { (columns, rows) })
        }
        Some(&([rows, columns] | [1, rows, columns])) if kind == "MatMul" => {
            layer(Classifier::Linear, input, (rows, columns))
        }
        Some(&([out, channels, 1] | [out, channels, 1, 1])) if kind == "Conv" && node.int("group", 1) == 1 => {
            layer(Classifier::Conv, input, (channels, out))
        }
        None if kind != "Conv" && node.int("transA", 0) == 0 => layer(Classifier::Linear, input, (-1, -1)),
        _ => None,
    }
}

/// What a `Transpose` of a matrix takes.
fn untransposed<'a>(index: &Index<'a>, value: &str) -> Option<&'a str> {
    let node = index.producer(value).filter(|node| node.is("Transpose"))?;
    let swaps = node.attr("perm").is_none_or(|perm| perm.ints == [1, 0]);
    node.input.first().filter(|_| swaps).map(String::as_str)
}

/// A product of features and a matrix that is stored, or computed from what is stored alone.
pub struct Product<'a> {
    /// The features.
    pub input: &'a str,
    /// The matrix: `[features, classes]`, or the other way round; ones before it, or behind that of a convolution.
    pub matrix: &'a str,
    /// Whether features come first in it.
    pub by_feature: bool,
}

/// The product that a node on floats is, whichever way it is written.
pub fn product<'a>(index: &Index<'a>, node: &'a NodeProto) -> Option<Product<'a>> {
    if node.is("Einsum") {
        return contracted(index, node);
    }
    let [input, matrix, ..] = &node.input[..] else { return None };
    let (input, by_feature) = match node.op_type() {
        "Gemm" if node.int("transA", 0) == 0 => (input.as_str(), node.int("transB", 0) == 0),
        "Gemm" => (untransposed(index, input)?, node.int("transB", 0) == 0),
        "MatMul" => (input.as_str(), true),
        "Conv" if node.int("group", 1) == 1 => (input.as_str(), false),
        _ => return None,
    };
    index.is_fixed(matrix).then_some(Product { input, matrix, by_feature })
}

/// `nd,dc->nc` and the like: one letter of a matrix goes, the other comes.
fn contracted<'a>(index: &Index<'a>, node: &'a NodeProto) -> Option<Product<'a>> {
    let equation = String::from_utf8(node.attr("equation")?.s().to_vec()).ok()?.replace(' ', "");
    let (terms, result) = equation.split_once("->")?;
    let (left, right) = terms.split_once(',')?;
    let [a, b] = &node.input[..] else { return None };
    let (data, input, matrix, letters) = match (index.is_fixed(a), index.is_fixed(b)) {
        (false, true) => (left, a, b, right),
        (true, false) => (right, b, a, left),
        _ => return None,
    };
    let mut letters = letters.chars();
    let (Some(first), Some(second), None) = (letters.next(), letters.next(), letters.next()) else { return None };
    let goes = |c: char| data.contains(c) && !result.contains(c);
    let comes = |c: char| !data.contains(c) && result.contains(c);
    let by_feature = goes(first) && comes(second);
    (by_feature || goes(second) && comes(first)).then_some(Product { input, matrix, by_feature })
}

fn einsum<'a>(index: &Index<'a>, node: &'a NodeProto) -> Option<Layer<'a>> {
    let Product { input, matrix, by_feature } = contracted(index, node)?;
    let Weight { dims, data_type } = weight(index, matrix)?;
    let &[rows, columns] = &dims?[..] else { return None };
    let sizes = if by_feature { (rows, columns) } else { (columns, rows) };
    let (features, classes) = (usize::try_from(sizes.0).ok(), usize::try_from(sizes.1).ok());
    Some(Layer { classifier: Classifier::Linear, input, features, classes, data_type, dequantize: None })
}

/// A layer in bytes whose input is quantised as it comes: the `Mul` brings what `MatMulInteger` or `ConvInteger` gave
/// back to its scale.
fn quantised_on_the_fly<'a>(index: &Index<'a>, node: &'a NodeProto) -> Option<Layer<'a>> {
    let mut sums = node.input.iter().filter_map(|value| index.producer(value)).filter(|n| n.is("Cast"));
    let sum = index.producer(sums.next()?.input.first()?)?;
    let quantised = index.producer(sum.input.first()?).filter(|n| n.is("DynamicQuantizeLinear"))?;
    let dims = weight(index, sum.input.get(1)?)?.dims?;
    let (classifier, features, classes) = match dims[..] {
        [rows, columns] if sum.is("MatMulInteger") => (Classifier::Linear, rows, columns),
        [out, channels, 1, 1] if sum.is("ConvInteger") && sum.int("group", 1) == 1 => (Classifier::Conv, channels, out),
        _ => return None,
    };
    let (features, classes) = (usize::try_from(features).ok(), usize::try_from(classes).ok());
    let (input, data_type) = (quantised.input.first()?, data_type::FLOAT);
    Some(Layer { classifier, input, features, classes, data_type, dequantize: None })
}

/// A convolution whose kernel covers the whole map, as networks that were made of convolutions throughout have for
/// their linear layers: told by `values`, how many the output has for an image, being its own number of filters.
pub(super) fn whole_map<'a>(index: &Index<'a>, node: &'a NodeProto, values: Option<u64>) -> Option<Layer<'a>> {
    let padded = node.attr("pads").is_some_and(|pads| pads.ints.iter().any(|&pad| pad != 0))
        || node.attr("auto_pad").is_some_and(|kind| kind.s().starts_with(b"SAME"));
    if node.computes() != "Conv" || node.int("group", 1) != 1 || padded {
        return None;
    }
    let Weight { dims, data_type } = stored(index, node)?;
    let &[out, channels, height, width] = &dims?[..] else { return None };
    let places = height.checked_mul(width)?;
    if places <= 1 || values != u64::try_from(out).ok() {
        return None;
    }
    let (features, classes) = (usize::try_from(channels.checked_mul(places)?).ok(), usize::try_from(out).ok());
    let (classifier, input, dequantize) = (Classifier::Conv, node.input.first()?, bytes::taken(node));
    Some(Layer { classifier, input, features, classes, data_type, dequantize })
}
