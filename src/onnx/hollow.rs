//! A model without the values of its weights, for trials to which shapes and types alone matter.

use super::Model;
use super::graph::Names;
use super::schema::{AttributeProto, NodeProto, TensorProto, attribute_type, data_type};
use super::tensor::{byte_len, initializer, integers};
use std::collections::HashSet;

/// Bytes of the smallest tensor that is left away: numbers that a graph computes shapes from are fewer.
const SMALLEST: u64 = 1 << 16;
/// What all weights are then: with 0 many networks divide by nothing.
const VALUE: f32 = 0.01;

/// The model with nodes that make its larger weights when they are read: an engine that does not compute them ahead has one of
/// them in memory at a time. Before operator set 9 there are no such nodes, and the weights stay.
pub fn hollow(model: &Model) -> Model {
    let mut model = model.clone();
    let opset = model.opset();
    let Some(graph) = model.proto.graph.as_mut().filter(|_| opset >= 9) else { return model };
    let floats = [data_type::FLOAT, data_type::FLOAT16, data_type::DOUBLE];
    let is_large = |t: &TensorProto| floats.contains(&t.data_type()) && byte_len(t).is_ok_and(|n| n >= SMALLEST);
    let mut names = Names::of(graph);
    let weights: Vec<TensorProto> = graph.initializer.extract_if(.., |t| is_large(t)).collect();
    let given: HashSet<&str> = weights.iter().map(|t| t.name()).collect();
    graph.input.retain(|input| !given.contains(input.name()));
    let mut nodes = Vec::with_capacity(weights.len() + graph.node.len());
    for weight in &weights {
        let shape = names.fresh("adapt.weight.shape");
        graph.initializer.push(integers(&shape, &weight.dims));
        let value = AttributeProto {
            name: Some("value".into()),
            t: Some(initializer("", &[1], [VALUE], weight.data_type())),
            r#type: Some(attribute_type::TENSOR),
            ..Default::default()
        };
        nodes.push(NodeProto {
            op_type: Some("ConstantOfShape".into()),
            name: Some(names.fresh("adapt.weight")),
            input: vec![shape],
            output: vec![weight.name().into()],
            attribute: vec![value],
            ..Default::default()
        });
    }
    nodes.append(&mut graph.node);
    graph.node = nodes;
    model
}
