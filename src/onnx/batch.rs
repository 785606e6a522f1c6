//! A fixed batch becomes free, or a free one fixed.

use super::Model;
use super::graph::reads;
use super::schema::{Dimension, TensorProto, TensorShapeProto, ValueInfoProto, data_type, dimension};
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
        for attribute in &mut node.attribute {
            attribute.t.iter_mut().for_each(|t| free_target(t, fixed));
            copied(&mut attribute.ints, fixed);
        }
    }
    model
}

/// The model with a batch of 1 declared for `input` and the outputs.
pub fn fix(model: &Model, input: &str) -> Model {
    let mut model = model.clone();
    let graph = model.proto.graph.as_mut().expect("a model has a graph");
    let one = Dimension { value: Some(dimension::Value::DimValue(1)), denotation: None };
    for value in graph.input.iter_mut().filter(|i| i.name() == input) {
        let Some(tensor) = value.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) else { continue };
        // Images have four axes, also where the file does not say so.
        let shape = tensor.shape.get_or_insert_with(|| TensorShapeProto { dim: vec![Dimension::default(); 4] });
        shape.dim.iter_mut().take(1).for_each(|first| *first = one.clone());
    }
    for value in &mut graph.output {
        let tensor = value.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
        if let Some(first) = tensor.and_then(|t| t.shape.as_mut()?.dim.first_mut()) {
            *first = one.clone();
        }
    }
    model
}

/// Names of the values that `Reshape` nodes, and nothing else, take as their shape.
fn reshape_targets(model: &Model) -> HashSet<String> {
    let (mut targets, mut others) = (HashSet::new(), HashSet::new());
    for node in &model.graph().node {
        let target = if node.is("Reshape") && node.int("allowzero", 0) == 0 { node.input.get(1) } else { None };
        targets.extend(target.cloned());
        others
            .extend(reads(node).enumerate().filter(|&(place, _)| place != 1 || target.is_none()).map(|(_, name)| name));
    }
    targets.retain(|name| !others.contains(name.as_str()));
    targets
}

fn free_first(value: &mut ValueInfoProto, fixed: usize) {
    if value.tensor_type().and_then(|(_, shape)| shape?.first().copied()?) != Some(fixed as u64) {
        return;
    }
    let tensor = value.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
    if let Some(first) = tensor.and_then(|t| t.shape.as_mut()?.dim.first_mut()) {
        *first = symbol("N");
    }
}

/// Frees a stored shape.
fn free_target(tensor: &mut TensorProto, fixed: usize) {
    if tensor.data_type() != data_type::INT64 {
        return;
    }
    let Some(raw) = raw_bytes(tensor) else { return };
    let mut values: Vec<i64> = raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect();
    if copied(&mut values, fixed) {
        set_raw(tensor, values.iter().flat_map(|v| v.to_le_bytes()).collect());
    }
}

/// `[fixed, …]` becomes `[0, …]`: in `Reshape`, 0 copies the input's axis. Whether it did.
fn copied(shape: &mut [i64], fixed: usize) -> bool {
    let found = shape.len() > 1 && shape[0] == fixed as i64;
    if found {
        shape[0] = 0;
    }
    found
}
