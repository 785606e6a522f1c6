//! `Dropout` that drops nothing.

use super::super::graph::{Index, Names, reads};
use super::super::schema::{AttributeProto, ModelProto, NodeProto, data_type};
use super::super::tensor::{floats, initializer, raw_bytes};
use super::{bypass, node, opset};
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
    let masks: Vec<(String, String)> =
        graph.node.iter().filter(|n| removable(n)).filter_map(|n| Some((n.input.first()?.clone(), mask(n)?))).collect();
    for (input, mask) in masks {
        let shape = names.fresh(&format!("{mask}/shape"));
        graph.node.push(node(&mut names, "Shape", vec![input], shape.clone()));
        let mut ones = node(&mut names, "ConstantOfShape", vec![shape], mask);
        let mut one = initializer("", &[1], [], data_type::BOOL);
        one.raw_data = Some(vec![1].into());
        ones.attribute.push(AttributeProto {
            name: Some("value".into()),
            t: Some(one),
            r#type: Some(TENSOR),
            ..Default::default()
        });
        graph.node.push(ones);
    }
    bypass(graph, |node| {
        let output = node.output.first().filter(|output| node.is("Dropout") && gone.contains(*output))?;
        Some((output.clone(), node.input.first()?.clone()))
    });
    Ok(())
}

/// `AttributeProto.AttributeType` of a tensor.
const TENSOR: i32 = 4;

/// Whether values are dropped, or may be: the mode is no constant. A ratio of 0 drops nothing.
fn drops(node: &NodeProto, index: &Index) -> bool {
    let Some(mode) = node.input.get(2).filter(|mode| !mode.is_empty()) else { return false };
    let training = index.constant(mode).and_then(raw_bytes).is_none_or(|raw| raw.iter().any(|byte| *byte != 0));
    let ratio = node.input.get(1).and_then(|ratio| floats(index.constant(ratio)?)?.first().copied());
    training && ratio != Some(0.0)
}
