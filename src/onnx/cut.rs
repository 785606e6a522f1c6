//! Where the backbone ends and the classifier begins.

use super::graph::Index;
use super::schema::{GraphProto, NodeProto, TensorProto, data_type};
use serde::{Deserialize, Serialize};

/// What stands behind a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classifier {
    /// A `Gemm`, or a `MatMul` whose bias, if any, follows as an `Add`.
    Linear,
    /// A convolution with a 1×1 kernel: before the global pool, or after it.
    Conv,
    /// None: the output itself, or what its final activation takes, is the features.
    None,
    /// The tensor was named by the user.
    Chosen,
}

/// A place to cut a graph at, and what follows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The last tensor that is kept: the features.
    pub tensor: String,
    /// The graph output that the new head will compute.
    pub output: String,
    /// What the new head replaces.
    pub classifier: Classifier,
    /// How many features the old classifier takes; `None` where there is none.
    pub features: Option<usize>,
    /// How many classes the old classifier has.
    pub classes: Option<usize>,
    /// Data type of the old classifier's weights (ONNX's number): the new head's type. `float32` without a classifier.
    pub data_type: i32,
    /// Nodes between the old classifier and the output that are kept (places in `graph.node`, in order of execution): a
    /// final activation, casts and identities.
    pub tail: Vec<usize>,
}

const ACTIVATIONS: [&str; 3] = ["Softmax", "LogSoftmax", "Sigmoid"];
const SHAPE_ONLY: [&str; 5] = ["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"];
/// Kept behind the new head.
const CARRIED: [&str; 2] = ["Identity", "Cast"];
const POOLS: [&str; 4] = ["GlobalAveragePool", "AveragePool", "GlobalMaxPool", "ReduceMean"];
/// What else may stand between a classifier and the output, and goes with it.
const PASSED: [&str; 9] =
    ["Dropout", "Relu", "Add", "Sub", "Mul", "Div", "HardSigmoid", "QuantizeLinear", "DequantizeLinear"];
/// What may follow a final activation and leaves its meaning.
const HARMLESS: [&str; 4] = ["Dropout", "Clip", "QuantizeLinear", "DequantizeLinear"];
/// Cuts that are listed: more help nobody.
const MOST: usize = 32;
/// Outputs among which one is chosen: each is looked at in turn.
const MOST_OUTPUTS: usize = 256;
/// What stands behind layers inside a network. A last linear layer with one of these behind it, and no final
/// activation, makes an embedding, not scores of classes.
const HIDDEN: [&str; 9] =
    ["BatchNormalization", "Clip", "LeakyRelu", "PRelu", "HardSwish", "Tanh", "Elu", "Selu", "Softsign"];

fn is_any(node: &NodeProto, names: &[&str]) -> bool {
    names.iter().any(|name| node.is(name))
}

/// The output to adapt and its cut. Of several outputs the one with a classifier is taken; of several with one, the
/// one that depends on most nodes (auxiliary classifiers branch off earlier), the first of equals. The graph must be one
/// that [`super::validate`] lets through: it has no cycles.
///
/// # Errors
/// A text naming what exists when `output` or `at` does not, or when `output` does not depend on `at`.
pub fn find(graph: &GraphProto, output: Option<&str>, at: Option<&str>) -> Result<Cut, String> {
    let index = Index::new(graph);
    let outputs: Vec<&str> = graph.output.iter().map(|o| o.name()).collect();
    if let Some(wanted) = output.filter(|o| !outputs.contains(o)) {
        let near = nearest(wanted, outputs.iter().copied());
        return Err(format!("the model has no output '{wanted}'{near}; its outputs: {}", outputs.join(", ")));
    }
    if let Some(given) = at.filter(|at| index.is_given(at)) {
        let what = format!("'{given}' is the model's input or stored in it");
        return Err(format!("{what}; choose a tensor that a node computes: see `adapt inspect`"));
    }
    if let Some(at) = at.filter(|a| index.producer(a).is_none()) {
        let made = graph.node.iter().flat_map(|n| &n.output).map(String::as_str);
        return Err(format!("no node of the model computes a tensor '{at}'{}; see `adapt inspect`", nearest(at, made)));
    }
    let choices: Vec<&str> = outputs.into_iter().filter(|o| output.is_none_or(|w| w == *o)).collect();
    if choices.len() > MOST_OUTPUTS {
        return Err(format!("the model has {} outputs; choose one with --output", choices.len()));
    }
    let frozen = at.map(|at| index.ancestors(&[at]).0);
    let mut best: Option<(bool, usize, Cut)> = None;
    for name in choices {
        let (needed, values) = index.ancestors(&[name]);
        if at.is_some_and(|at| !values.contains(at)) {
            continue;
        }
        let (mut found, tail) = walk(&index, name);
        let mut cut = found.swap_remove(0);
        if let (Some(at), Some(frozen)) = (at, &frozen) {
            let data_type = float_type(graph, at).unwrap_or(cut.data_type);
            let tail = tail.into_iter().filter(|node| frozen.binary_search(node).is_err()).collect();
            cut = Cut { tensor: at.into(), classifier: Classifier::Chosen, features: None, data_type, tail, ..cut };
        }
        let rank = (cut.classifier != Classifier::None, needed.len());
        if best.as_ref().is_none_or(|(linear, nodes, _)| rank > (*linear, *nodes)) {
            best = Some((rank.0, rank.1, cut));
        }
    }
    best.map(|(_, _, cut)| cut).ok_or_else(|| {
        let which = output.map_or("no output".into(), |o| format!("the output '{o}' does not"));
        let verb = if output.is_some() { "depend" } else { "depends" };
        format!("{which} {verb} on the tensor '{}'; choose a cut before the output", at.unwrap_or(""))
    })
}

/// Cuts on the way back from `output`, the default first. Never empty.
pub fn candidates(graph: &GraphProto, output: &str) -> Vec<Cut> {
    walk(&Index::new(graph), output).0
}

/// Walks from the output towards the input, through what can belong to a head, and notes each linear layer. Never none;
/// and the nodes that are kept behind whatever replaces the head.
fn walk(index: &Index, output: &str) -> (Vec<Cut>, Vec<usize>) {
    let mut found = Vec::new();
    let (mut tail, mut value) = (Vec::new(), output);
    let (mut activated, mut pooled, mut hidden, mut bare) = (false, false, false, true);
    let mut ahead = None;
    while let Some(place) = index.producer_index(value).filter(|_| found.len() < MOST) {
        let node = &index.graph.node[place];
        let Some(input) = data_input(index, node) else { break };
        if let Some(layer) = linear(index, node) {
            if layer.classifier == Classifier::Conv && !pooled && is_map(index, output) && !after_pool(index, input) {
                break;
            }
            if found.is_empty() && hidden && !activated {
                found.push(embedding(index, output, output));
            }
            found.push(Cut { tensor: input.into(), output: output.into(), ..layer });
        } else if is_any(node, &ACTIVATIONS) || is_any(node, &CARRIED) {
            // An activation deeper inside is the old head's own; only the last keeps the output's meaning.
            let last = found.is_empty() && !(activated && is_any(node, &ACTIVATIONS));
            activated |= is_any(node, &ACTIVATIONS);
            if last {
                tail.push(place);
            }
            if last && bare && is_any(node, &ACTIVATIONS) {
                let tail = tail.iter().rev().copied().collect();
                ahead = Some(Cut { tail, ..embedding(index, output, input) });
            }
        } else if !is_any(node, &SHAPE_ONLY) && !may_follow(node) {
            break;
        }
        pooled |= is_any(node, &POOLS);
        hidden |= is_any(node, &HIDDEN);
        bare &= is_any(node, &HARMLESS) || is_any(node, &SHAPE_ONLY) || is_any(node, &CARRIED);
        value = input;
    }
    if found.is_empty() {
        // An activation keeps its meaning behind the new head, whatever layer it stood behind.
        found.push(ahead.unwrap_or_else(|| embedding(index, output, output)));
    }
    tail.reverse();
    found.iter_mut().filter(|c| c.classifier != Classifier::None).for_each(|cut| cut.tail.clone_from(&tail));
    (found, tail)
}

/// Whether a node can stand behind a linear layer in a head, and goes with it.
fn may_follow(node: &NodeProto) -> bool {
    is_any(node, &POOLS) || is_any(node, &PASSED) || is_any(node, &HIDDEN)
}

/// A value as features, where no layer is known that the new head replaces.
fn embedding(index: &Index, output: &str, tensor: &str) -> Cut {
    let declared = float_type(index.graph, tensor).or_else(|| float_type(index.graph, output));
    Cut {
        tensor: tensor.into(),
        output: output.into(),
        classifier: Classifier::None,
        features: None,
        classes: None,
        data_type: declared.unwrap_or(data_type::FLOAT),
        tail: Vec::new(),
    }
}

/// Whether an output is a map with more than one place, or may be one.
fn is_map(index: &Index, output: &str) -> bool {
    let info = index.graph.output.iter().find(|o| o.name() == output);
    let shape = info.and_then(|o| o.tensor_type()).and_then(|(_, shape)| shape).unwrap_or_default();
    shape.len() == 4 && shape.iter().filter(|d| **d == Some(1)).count() < 2
}

/// Whether `value` comes from a pool, with no layer between.
fn after_pool<'a>(index: &Index<'a>, mut value: &'a str) -> bool {
    while let Some(node) = index.producer(value) {
        if is_any(node, &POOLS) {
            return true;
        }
        let light = may_follow(node) || is_any(node, &SHAPE_ONLY) || is_any(node, &CARRIED);
        let Some(input) = data_input(index, node).filter(|_| light) else { break };
        value = input;
    }
    false
}

/// The float type that the graph declares for a tensor.
fn float_type(graph: &GraphProto, tensor: &str) -> Option<i32> {
    let info = graph.output.iter().chain(&graph.value_info).find(|v| v.name() == tensor)?;
    let floats = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16, data_type::DOUBLE];
    info.tensor_type().map(|(t, _)| t).filter(|t| floats.contains(t))
}

/// The one input that is not a constant; `None` when there are several, as where branches join.
fn data_input<'a>(index: &Index, node: &'a NodeProto) -> Option<&'a str> {
    let mut inputs = node.input.iter().map(String::as_str);
    if is_any(node, &SHAPE_ONLY) {
        // Shapes may be computed from other shapes; the data always comes first.
        return inputs.next();
    }
    let mut data = inputs.filter(|i| !i.is_empty() && stored(index, i).is_none());
    data.next().filter(|_| data.next().is_none())
}

/// A stored tensor and how it is read.
struct Stored<'a> {
    tensor: &'a TensorProto,
    transpose: Option<&'a NodeProto>,
    /// As read: that of the scale where the tensor is quantised.
    data_type: i32,
}

/// A stored tensor, read through a `Transpose`, a `DequantizeLinear`, both or neither.
fn stored<'a>(index: &Index<'a>, value: &str) -> Option<Stored<'a>> {
    if let Some(tensor) = index.constant(value) {
        return Some(Stored { tensor, transpose: None, data_type: tensor.data_type() });
    }
    let (mut transpose, mut scale) = (None, None);
    let mut node = index.producer(value)?;
    loop {
        if node.is("Transpose") && transpose.is_none() {
            transpose = Some(node);
        } else if node.is("DequantizeLinear") && scale.is_none() {
            scale = Some(index.constant(node.input.get(1)?)?);
        } else {
            return None;
        }
        let input = node.input.first()?;
        if let Some(tensor) = index.constant(input) {
            return Some(Stored { tensor, transpose, data_type: scale.unwrap_or(tensor).data_type() });
        }
        node = index.producer(input)?;
    }
}

/// The shape of a layer's weight, as the layer reads it, and its data type.
fn weight(index: &Index, value: &str) -> Option<(Vec<i64>, i32)> {
    let Stored { tensor, transpose, data_type } = stored(index, value).filter(|s| s.tensor.dims.len() <= 4)?;
    let dims = match transpose.map(|node| node.attr("perm")) {
        None => tensor.dims.clone(),
        Some(None) => tensor.dims.iter().rev().copied().collect(),
        Some(Some(perm)) => {
            let axis = |&p: &i64| tensor.dims.get(usize::try_from(p).ok()?).copied();
            perm.ints.iter().take(5).map(axis).collect::<Option<_>>()?
        }
    };
    Some((dims, data_type))
}

/// What a linear layer is. Its cut's tensor, output and tail are left to the caller.
fn linear(index: &Index, node: &NodeProto) -> Option<Cut> {
    let (dims, data_type) = weight(index, node.input.get(1)?)?;
    let (classifier, features, classes) = match dims[..] {
        [rows, columns] if node.is("Gemm") && node.int("transA", 0) == 0 => match node.int("transB", 0) {
            0 => (Classifier::Linear, rows, columns),
            _ => (Classifier::Linear, columns, rows),
        },
        [rows, columns] if node.is("MatMul") => (Classifier::Linear, rows, columns),
        [out, channels, 1, 1] if node.is("Conv") && node.int("group", 1) == 1 => (Classifier::Conv, channels, out),
        _ => return None,
    };
    let (features, classes) = (usize::try_from(features).ok(), usize::try_from(classes).ok());
    let (tensor, output, tail) = (String::new(), String::new(), Vec::new());
    Some(Cut { tensor, output, classifier, features, classes, data_type, tail })
}

/// `; did you mean 'x'?` for the nearest name, or nothing where none is near.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    // Comparing costs the product of the lengths, and names come from strangers.
    let score = |name: &str| if name.len().max(wanted.len()) > 256 { 0.0 } else { strsim::jaro_winkler(wanted, name) };
    let best = names.map(|name| (score(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.7).map_or(String::new(), |(_, name)| format!("; did you mean '{name}'?"))
}
