//! An output that is features itself.

use super::super::graph::Index;
use super::super::schema::{NodeProto, data_type};
use super::walk::{CARRIED, POOLS, SHAPE_ONLY, data_inputs, float_type, is_any};
use super::{Classifier, Cut, bytes};

/// They make of each value another one, and nothing of two.
const SINGLE: [&str; 6] = ["Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish"];
/// Nodes that are looked at for a number of axes.
const MOST: usize = 32;

/// A value as features, where no layer is known that the new head replaces. What puts the images of a batch into one row
/// is no part of them.
pub(super) fn embedding<'a>(index: &Index<'a>, output: &str, mut tensor: &'a str) -> Cut {
    // Looked for past what works on single values.
    let mut value = tensor;
    while let Some(node) = index.producer(value)
        && let [input] = data_inputs(index, node)[..]
    {
        value = input;
        if joins_images(index, node) {
            tensor = input;
        } else if !is_any(node, &CARRIED) && !is_any(node, &SINGLE) {
            break;
        }
    }
    let declared = float_type(index.graph, tensor).or_else(|| float_type(index.graph, output));
    Cut {
        output: output.into(),
        classifier: Classifier::None,
        data_type: declared.unwrap_or(data_type::FLOAT),
        dequantize: bytes::made(index, tensor),
        ..Cut::at(tensor)
    }
}

/// Whether a node leaves no axis to the images: files that were made for one image end so.
fn joins_images(index: &Index, node: &NodeProto) -> bool {
    let numbers = |name: &str| {
        let stored = node.input.get(1).and_then(|value| index.integers(value));
        stored.or_else(|| node.attr(name).map(|a| a.ints.clone())).unwrap_or_default()
    };
    match node.op_type() {
        _ if node.input.is_empty() || !is_any(node, &SHAPE_ONLY) => false,
        "Reshape" => numbers("shape").len() == 1,
        "Squeeze" if numbers("axes").is_empty() => node.input.len() < 2,
        "Squeeze" => numbers("axes").iter().any(|&axis| is_first(index, &node.input[0], axis)),
        "Flatten" => is_first(index, &node.input[0], node.int("axis", 1)),
        _ => false,
    }
}

/// Whether an axis is a value's first, from whichever end it is counted.
fn is_first(index: &Index, value: &str, axis: i64) -> bool {
    axis == 0 || axis < 0 && rank(index, value).is_some_and(|rank| rank as i64 == -axis)
}

/// How many axes a value has, where the file tells: of itself, or of what it comes from axis by axis.
fn rank<'a>(index: &Index<'a>, mut value: &'a str) -> Option<usize> {
    for _ in 0..MOST {
        let infos = index.graph.output.iter().chain(&index.graph.value_info).chain(&index.graph.input);
        let info = infos.filter(|info| info.name() == value).find_map(|info| info.tensor_type()?.1);
        if let Some(shape) = info {
            return Some(shape.len());
        }
        let node = index.producer(value)?;
        match node.computes() {
            "Conv" => return index.constant(node.input.get(1)?).map(|weight| weight.dims.len()),
            "Gemm" | "Flatten" => return Some(2),
            "ReduceMean" | "ReduceMax" | "ReduceSum" if node.int("keepdims", 1) == 0 => return None,
            _ if is_any(node, &POOLS) || is_any(node, &SINGLE) || is_any(node, &CARRIED) => {
                value = node.input.first()?
            }
            _ => return None,
        }
    }
    None
}
