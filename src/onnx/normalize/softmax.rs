//! Final activations that are written out in other operators.

use super::super::cut::{data_inputs, leaves_meaning};
use super::super::graph::{Index, readers};
use super::super::schema::{AttributeProto, ModelProto, NodeProto, attribute_type};
use super::super::tensor::floats;
use super::opset;
use std::collections::HashSet;

/// Nodes between it and the output.
const MOST_PASSED: usize = 16;

/// Makes a softmax, its logarithm or a sigmoid that is written out one node, where all that is done with its values is what
/// may follow a final activation: its name is the last node's. What it takes the place of stays, and nobody needs it. One
/// that anything else reads is the network's own.
pub fn join(proto: &mut ModelProto) {
    let opset = opset(proto);
    let Some(graph) = proto.graph.as_mut() else { return };
    let (index, users) = (Index::new(graph), readers(graph));
    // Whoever goes on from such a value takes no other.
    let ends = |value: &str| {
        let (mut open, mut seen) = (vec![value], HashSet::new());
        while let Some(value) = open.pop() {
            for node in users.get(value).into_iter().flatten().map(|&place| &graph.node[place]) {
                if !leaves_meaning(node) || data_inputs(&index, node) != [value] {
                    return false;
                }
                // A value that is read twice is followed once.
                open.extend(node.output.iter().map(String::as_str).filter(|output| seen.insert(*output)));
            }
        }
        true
    };
    let (mut tried, mut found) = (HashSet::new(), Vec::new());
    for output in &graph.output {
        let mut value = output.name();
        for _ in 0..MOST_PASSED {
            let Some(place) = index.producer_index(value) else { break };
            let node = &graph.node[place];
            match data_inputs(&index, node)[..] {
                [input] if leaves_meaning(node) => value = input,
                _ if tried.insert(place) && ends(value) => {
                    found.extend(written(&index, node, opset).map(|node| (place, node)));
                    break;
                }
                _ => break,
            }
        }
    }
    found.into_iter().for_each(|(place, node)| graph.node[place] = node);
}

/// The activation that a node completes.
fn written(index: &Index, node: &NodeProto, opset: i64) -> Option<NodeProto> {
    let activation = |operator: &str, input: &str, attribute: Vec<AttributeProto>| {
        let (op_type, input) = (Some(operator.into()), vec![input.into()]);
        NodeProto { op_type, input, attribute, ..node.clone() }
    };
    for (outer, inner, both) in [("Exp", "LogSoftmax", "Softmax"), ("Log", "Softmax", "LogSoftmax")] {
        if let Some(inner) = made(index, node.input.first()?, inner).filter(|_| node.is(outer)) {
            return Some(activation(both, inner.input.first()?, inner.attribute.clone()));
        }
    }
    if let Some(scores) = sigmoid(index, node) {
        return Some(activation("Sigmoid", scores, Vec::new()));
    }
    let softmax = softmax(index, node).map(|found| ("Softmax", found));
    let (operator, (scores, axis)) = softmax.or_else(|| Some(("LogSoftmax", log_softmax(index, node)?)))?;
    // Before opset 13 all axes behind this one count as classes, too.
    if opset < 13 && !is_last(index, axis, &[node.output.first()?, scores]) {
        return None;
    }
    let (name, r#type) = (Some("axis".into()), Some(attribute_type::INT));
    Some(activation(operator, scores, vec![AttributeProto { name, i: Some(axis), r#type, ..Default::default() }]))
}

/// What gives a value, where it is this operator.
fn made<'a>(index: &Index<'a>, value: &str, operator: &str) -> Option<&'a NodeProto> {
    index.producer(value).filter(|node| node.is(operator))
}

/// Exponentials by their sum, with the largest subtracted first or not: the scores, and the axis.
fn softmax<'a>(index: &Index<'a>, node: &NodeProto) -> Option<(&'a str, i64)> {
    let [a, b] = &node.input[..] else { return None };
    let (exponentials, sum) = match node.op_type() {
        "Div" if node.is("Div") => (a, b),
        "Mul" if node.is("Mul") => match (made(index, a, "Reciprocal"), made(index, b, "Reciprocal")) {
            (None, Some(inverse)) => (a, inverse.input.first()?),
            (Some(inverse), None) => (b, inverse.input.first()?),
            _ => return None,
        },
        _ => return None,
    };
    let axis = reduced(index, made(index, sum, "ReduceSum")?, exponentials)?;
    let input = made(index, exponentials, "Exp")?.input.first()?;
    if let Some([scores, largest]) = made(index, input, "Sub").map(|node| &node.input[..])
        && let Some(largest) = made(index, largest, "ReduceMax")
        && reduced(index, largest, scores) == Some(axis)
    {
        return Some((scores, axis));
    }
    Some((input, axis))
}

/// Scores without the logarithm of the sum of their exponentials: the scores, and the axis.
fn log_softmax<'a>(index: &Index<'a>, node: &NodeProto) -> Option<(&'a str, i64)> {
    let [scores, sum] = &node.input[..] else { return None };
    let sum = made(index, sum, "ReduceLogSumExp").filter(|_| node.is("Sub"))?;
    Some((sum.input.first()?, reduced(index, sum, scores)?))
}

/// The scores `x` of `1 / (1 + exp(-x))`.
fn sigmoid<'a>(index: &Index<'a>, node: &NodeProto) -> Option<&'a str> {
    let is_one = |value: &String| index.constant(value).and_then(floats).is_some_and(|values| values == [1.0]);
    let sum = match &node.input[..] {
        [sum] if node.is("Reciprocal") => sum,
        [one, sum] if node.is("Div") && is_one(one) => sum,
        _ => return None,
    };
    let exp = match &made(index, sum, "Add")?.input[..] {
        [one, exp] | [exp, one] if is_one(one) => made(index, exp, "Exp")?,
        _ => return None,
    };
    made(index, exp.input.first()?, "Neg")?.input.first().map(String::as_str)
}

/// The one axis along which a node reduces `value` and keeps; along the images it is no choice among classes.
fn reduced(index: &Index, node: &NodeProto, value: &str) -> Option<i64> {
    let axes = match node.input.get(1) {
        Some(axes) => index.integers(axes),
        None => node.attr("axes").map(|a| a.ints.clone()),
    };
    let [axis] = axes?[..] else { return None };
    let kept = node.int("keepdims", 1) != 0 && node.input.first().is_some_and(|input| input == value);
    Some(axis).filter(|_| kept && axis != 0)
}

/// Whether nothing but axes of size 1 comes behind this one in values of one shape, as far as the file tells.
fn is_last(index: &Index, axis: i64, values: &[&str]) -> bool {
    let behind = |value: &&str| {
        if ["Gemm", "Flatten"].iter().any(|operator| made(index, value, operator).is_some()) {
            return axis == 1;
        }
        let mut infos = index.graph.output.iter().chain(&index.graph.value_info);
        let shape = infos.find(|info| info.name() == *value).and_then(|info| info.tensor_type()?.1);
        let behind = shape.as_ref().and_then(|shape| shape.get(usize::try_from(axis).ok()? + 1..));
        behind.is_some_and(|behind| behind.iter().all(|size| *size == Some(1)))
    };
    axis == -1 || values.iter().any(behind)
}
