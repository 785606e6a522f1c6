//! `Constant` nodes as stored tensors.

use super::super::schema::{AttributeProto, ModelProto, NodeProto, TensorProto, data_type};
use super::super::tensor::{initializer, integers};
use super::TENSOR;
use std::collections::HashSet;

/// Stores the values of the main graph's `Constant` nodes under the names of their outputs. Those of texts and of sparse
/// tensors stay nodes, as do those whose value is an output of the graph.
pub fn store(proto: &mut ModelProto) -> Result<(), String> {
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let given: HashSet<&str> = graph.output.iter().map(|o| o.name()).collect();
    let mut stored = Vec::new();
    graph.node.retain_mut(|node| {
        let value = if node.output.len() == 1 && !given.contains(node.output[0].as_str()) { take(node) } else { None };
        let keep = value.is_none();
        stored.extend(value);
        keep
    });
    graph.initializer.append(&mut stored);
    Ok(())
}

/// Zero in float32, which ONNX fills with where a `ConstantOfShape` does not say: tract takes another type.
pub fn say_zero(proto: &mut ModelProto) -> Result<(), String> {
    let nodes = proto.graph.iter_mut().flat_map(|graph| &mut graph.node);
    for node in nodes.filter(|node| node.is("ConstantOfShape") && node.attr("value").is_none()) {
        let (name, t) = (Some("value".into()), Some(initializer("", &[1], [0.], data_type::FLOAT)));
        node.attribute.push(AttributeProto { name, t, r#type: Some(TENSOR), ..Default::default() });
    }
    Ok(())
}

/// The node's value, named as its output.
fn take(node: &mut NodeProto) -> Option<TensorProto> {
    if !node.is("Constant") {
        return None;
    }
    let name = node.output[0].clone();
    let tensor = match node.attribute.iter_mut().find(|a| a.name().starts_with("value"))? {
        AttributeProto { t: Some(tensor), .. } => TensorProto { name: Some(name), ..std::mem::take(tensor) },
        a if a.name() == "value_float" => initializer(&name, &[], [a.f()], data_type::FLOAT),
        a if a.name() == "value_floats" => initializer(&name, &[a.floats.len()], a.floats.clone(), data_type::FLOAT),
        a if a.name() == "value_int" => TensorProto { dims: Vec::new(), ..integers(&name, &[a.i()]) },
        a if a.name() == "value_ints" => integers(&name, &a.ints),
        _ => return None,
    };
    Some(tensor)
}
