//! A fixed batch becomes free.

use super::Model;
use super::graph::Index;
use super::schema::{ValueInfoProto, data_type, type_proto};
use super::surgery::symbol;
use super::tensor::{raw_bytes, set_raw};
use std::collections::HashSet;

/// The model with the first axis of `input` and of the outputs free instead of `fixed`, as are target shapes of
/// `Reshape` that begin with it. A proposal: whether the graph computes the same then has to be tried.
pub fn free(model: &Model, input: &str, fixed: usize) -> Model {
    let mut model = model.clone();
    let shapes = reshape_targets(&model);
    let graph = model.proto.graph.as_mut().expect("a model has a graph");
    let values = graph.input.iter_mut().filter(|i| i.name() == input).chain(&mut graph.output);
    values.for_each(|value| free_first(value, fixed));
    // They state the fixed batch, and are only hints: inference engines work them out anew.
    graph.value_info.clear();
    for tensor in graph.initializer.iter_mut().filter(|t| shapes.contains(t.name())) {
        free_target(tensor, fixed);
    }
    for node in graph.node.iter_mut().filter(|n| n.is("Constant") && n.output.iter().any(|o| shapes.contains(o))) {
        node.attribute.iter_mut().filter_map(|a| a.t.as_mut()).for_each(|t| free_target(t, fixed));
    }
    model
}

/// Names of the constants that `Reshape` nodes, and nothing else, take as their shape.
fn reshape_targets(model: &Model) -> HashSet<String> {
    let graph = model.graph();
    let index = Index::new(graph);
    let reshape = |n: &&super::schema::NodeProto| n.is("Reshape") && n.int("allowzero", 0) == 0;
    let targets = graph.node.iter().filter(reshape).filter_map(|n| n.input.get(1));
    let mut targets: HashSet<String> = targets.filter(|t| index.constant(t).is_some()).cloned().collect();
    for node in &graph.node {
        for (place, input) in node.input.iter().enumerate() {
            if !(node.is("Reshape") && place == 1) {
                targets.remove(input);
            }
        }
    }
    targets
}

fn free_first(value: &mut ValueInfoProto, fixed: usize) {
    if value.tensor_type().and_then(|(_, shape)| shape?.first().copied()?) != Some(fixed as u64) {
        return;
    }
    if let Some(type_proto::Value::TensorType(t)) = value.r#type.as_mut().and_then(|t| t.value.as_mut())
        && let Some(first) = t.shape.as_mut().and_then(|s| s.dim.first_mut())
    {
        *first = symbol("N");
    }
}

/// `[fixed, …]` becomes `[0, …]`: in `Reshape`, 0 copies the input's axis.
fn free_target(tensor: &mut super::schema::TensorProto, fixed: usize) {
    if tensor.data_type() != data_type::INT64 {
        return;
    }
    let Some(raw) = raw_bytes(tensor) else { return };
    let mut values: Vec<i64> = raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect();
    if values.len() > 1 && values[0] == fixed as i64 {
        values[0] = 0;
        set_raw(tensor, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }
}
