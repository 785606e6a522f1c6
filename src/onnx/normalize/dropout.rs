//! `Dropout` that drops nothing.

use super::super::graph::{Index, Names, reads};
use super::super::schema::{AttributeProto, ModelProto, NodeProto, TensorProto, data_type};
use super::super::tensor::{floats, initializer, raw_bytes};
use super::{TENSOR, bypass, node, opset};
use std::collections::HashSet;

/// The first opset in which an input says whether values are dropped, and the mask is defined where they are not.
const WITH_MODE: i64 = 12;

/// Takes `Dropout` out of the main graph's path. A mask that is read is all true.
///
/// # Errors
/// A text naming the node where values are dropped at random.
pub fn remove(proto: &mut ModelProto) -> Result<(), String> {
    let opset = opset(proto);
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let (index, mut names) = (Index::new(graph), Names::of(graph));
    let dropping = |node: &&NodeProto| node.is("Dropout") && opset >= WITH_MODE && drops(node, &index);
    if let Some(node) = graph.node.iter().find(dropping) {
        return Err(format!("node {}: it drops values at random; export the model for inference", node.label()));
    }
    let outputs = graph.output.iter().map(|o| o.name());
    let read: HashSet<&str> = graph.node.iter().flat_map(reads).chain(outputs).collect();
    let mask = |node: &NodeProto| node.output.get(1).filter(|mask| read.contains(mask.as_str())).cloned();
    let removable = |node: &NodeProto| node.is("Dropout") && !(opset < WITH_MODE && mask(node).is_some());
    let gone: HashSet<String> =
        graph.node.iter().filter(|n| removable(n)).filter_map(|n| n.output.first().cloned()).collect();
    let masks: Vec<Option<(String, String)>> =
        graph.node.iter().map(|n| Some((n.input.first()?.clone(), mask(n).filter(|_| removable(n))?))).collect();
    // Where the `Dropout` is: a sorted file stays sorted.
    let mut kept = Vec::with_capacity(graph.node.len());
    for (dropout, mask) in std::mem::take(&mut graph.node).into_iter().zip(masks) {
        if let Some((input, mask)) = mask {
            kept.extend(all_true(&mut names, input, mask));
        }
        kept.push(dropout);
    }
    graph.node = kept;
    bypass(graph, |node| {
        let output = node.output.first().filter(|output| node.is("Dropout") && gone.contains(*output))?;
        Some((output.clone(), node.input.first()?.clone()))
    });
    Ok(())
}

/// Nodes that make a mask of the shape of `input` under which everything is kept.
fn all_true(names: &mut Names, input: String, mask: String) -> [NodeProto; 2] {
    let shape = names.fresh(&format!("{mask}/shape"));
    let shape_of = node(names, "Shape", vec![input], shape.clone());
    let mut ones = node(names, "ConstantOfShape", vec![shape], mask);
    let one = TensorProto { raw_data: Some(vec![1].into()), ..initializer("", &[1], [], data_type::BOOL) };
    let (name, kind) = (Some("value".into()), Some(TENSOR));
    ones.attribute.push(AttributeProto { name, t: Some(one), r#type: kind, ..Default::default() });
    [shape_of, ones]
}

/// Whether values are dropped, or may be: the mode is no constant. A ratio of 0 drops nothing.
fn drops(node: &NodeProto, index: &Index) -> bool {
    let Some(mode) = node.input.get(2).filter(|mode| !mode.is_empty()) else { return false };
    let training = index.constant(mode).and_then(raw_bytes).is_none_or(|raw| raw.iter().any(|byte| *byte != 0));
    let ratio = node.input.get(1).and_then(|ratio| floats(index.constant(ratio)?)?.first().copied());
    training && ratio != Some(0.0)
}
