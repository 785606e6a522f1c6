//! The weights of the classifier that a new head replaces.

use super::cut::Cut;
use super::graph::Index;
use super::schema::{GraphProto, NodeProto};
use super::tensor::floats;
use std::collections::HashSet;

/// Weight, `[classes, features]` in rows, and bias of the layer behind a cut; `None` where it is not one layer of stored floats on
/// the features alone (a `Gemm`, a `MatMul` with or without an `Add`, a convolution with a 1×1 kernel).
pub fn old_head(graph: &GraphProto, cut: &Cut) -> Option<(Vec<f32>, Vec<f32>)> {
    let (features, classes) = (cut.features?, cut.classes?);
    if cut.heads != 1 || !cut.apart.is_empty() || cut.dequantize.is_some() {
        return None;
    }
    let index = Index::new(graph);
    let needed: HashSet<usize> = index.ancestors(&[&cut.output]).0.into_iter().collect();
    let behind = |value: &str| {
        let reads = |node: &&NodeProto| node.input.iter().any(|input| input == value);
        let mut nodes = needed.iter().map(|&i| &graph.node[i]).filter(reads);
        nodes.next().filter(|_| nodes.next().is_none())
    };
    let stored = |name: Option<&String>, dims: &[&[usize]]| {
        let tensor = index.constant(name.filter(|name| !name.is_empty())?)?;
        let fits = |dims: &&[usize]| tensor.dims.iter().map(|&dim| dim as usize).eq(dims.iter().copied());
        dims.iter().any(fits).then(|| floats(tensor)).flatten()
    };
    let biases: [&[usize]; 4] = [&[classes], &[1, classes], &[1, classes, 1, 1], &[classes, 1, 1]];
    let bias = |name: Option<&String>| match name.is_some_and(|name| !name.is_empty()) {
        true => stored(name, &biases),
        false => Some(vec![0.; classes]),
    };
    let node = behind(&cut.tensor).filter(|node| node.input.first() == Some(&cut.tensor))?;
    let plain = |name: &str| node.attr(name).is_none_or(|attribute| attribute.f() == 1.);
    let weight = node.input.get(1);
    let turned = |weight: Vec<f32>| -> Vec<f32> {
        (0..classes * features).map(|i| weight[i % features * classes + i / features]).collect()
    };
    match node.op_type() {
        "Gemm" if plain("alpha") && plain("beta") && node.int("transA", 0) == 0 => {
            let weight = match node.int("transB", 0) {
                0 => turned(stored(weight, &[&[features, classes]])?),
                _ => stored(weight, &[&[classes, features]])?,
            };
            Some((weight, bias(node.input.get(2))?))
        }
        "MatMul" => {
            let weight = turned(stored(weight, &[&[features, classes], &[1, features, classes]])?);
            let product = node.output.first()?;
            let add = behind(product).filter(|node| node.is("Add"));
            Some((weight, bias(add.and_then(|add| add.input.iter().find(|input| *input != product)))?))
        }
        "Conv" => {
            let weight = stored(weight, &[&[classes, features, 1], &[classes, features, 1, 1]])?;
            Some((weight, bias(node.input.get(2))?))
        }
        _ => None,
    }
}
