//! A fixed batch becomes free, or a free one fixed.

mod edit;
mod trace;

use super::Model;
use super::graph::{Index, Names, inner_graphs, reads};
use super::schema::{Dimension, GraphProto, NodeProto, TensorShapeProto, ValueInfoProto, dimension};
use super::surgery::{list_stored, size, symbol};
use std::collections::{HashMap, HashSet};
use trace::Trace;

/// The shapes of a model's tensors, by name.
pub type Shapes = HashMap<String, Vec<usize>>;

/// Guesses of [`free`] that differ.
pub const CHOICES: usize = 3;

/// Nodes whose shapes are asked for: graphs with more would be held up by it.
const MOST_NODES: usize = 20_000;

/// The model with the first axis of `input` and of the outputs free instead of `fixed`, and so the constants that hold it:
/// target shapes of `Reshape`, `Expand` and `Resize`, and stored tensors that are joined to the images' own.
///
/// `shapes` are those for `fixed` images; without them only targets that begin with `fixed` are freed. `choice` (below
/// [`CHOICES`]) is how far it goes: 1 also replaces targets that are computed from the image's size, since part of one may be
/// a constant; 2 also takes the second reading where the place of the images is ambiguous. A proposal: whether the graph
/// computes the same then has to be tried.
pub fn free(model: &Model, input: &str, fixed: usize, shapes: &Shapes, choice: usize) -> Model {
    let mut freed = model.clone();
    let index = Index::new(model.graph());
    let trace = Trace::new(&index, shapes, input, fixed, choice.saturating_sub(1));
    let graph = freed.proto.graph.as_mut().expect("a model has a graph");
    edit::constants(graph, &index, &trace, (input, fixed), choice > 0);
    let values = graph.input.iter_mut().filter(|i| i.name() == input).chain(&mut graph.output);
    values.for_each(|value| free_first(value, fixed));
    // They state the fixed batch, and are only hints: inference engines work them out anew.
    graph.value_info.clear();
    list_stored(&mut freed.proto);
    freed
}

/// A model that gives the shapes of the tensors of `model` instead of its outputs, and the tensors' names in the order of
/// its outputs. `None` for a graph that is too large.
pub fn shapes_of(model: &Model, input: &str) -> Option<(Model, Vec<String>)> {
    let mut asking = model.clone();
    let graph: &mut GraphProto = asking.proto.graph.as_mut()?;
    if graph.node.len() > MOST_NODES {
        return None;
    }
    let mut names = Names::of(graph);
    // Neither sequences nor what may be missing have shapes.
    let tensors =
        graph.node.iter().filter(|n| !n.op_type().contains("Sequence") && !n.op_type().starts_with("Optional"));
    let values: Vec<String> = tensors.flat_map(|n| &n.output).filter(|o| !o.is_empty()).cloned().collect();
    let values: Vec<String> = std::iter::once(input.to_string()).chain(values).collect();
    graph.output.clear();
    for value in &values {
        let shape = names.fresh("adapt.shape");
        graph.node.push(NodeProto {
            op_type: Some("Shape".into()),
            input: vec![value.clone()],
            output: vec![shape.clone()],
            ..Default::default()
        });
        graph.output.push(ValueInfoProto { name: Some(shape), ..Default::default() });
    }
    Some((asking, values))
}

/// The model with a batch of 1 declared for `input` and the outputs.
pub fn fix(model: &Model, input: &str) -> Model {
    fix_at(model, input, 1)
}

/// The same with a batch of `images`.
pub fn fix_at(model: &Model, input: &str, images: usize) -> Model {
    let mut model = model.clone();
    let graph = model.proto.graph.as_mut().expect("a model has a graph");
    let fixed = size(images as i64);
    for value in graph.input.iter_mut().filter(|i| i.name() == input) {
        let Some(tensor) = value.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) else { continue };
        // Images have four axes, also where the file does not say so.
        let shape = tensor.shape.get_or_insert_with(|| TensorShapeProto { dim: vec![Dimension::default(); 4] });
        shape.dim.iter_mut().take(1).for_each(|first| *first = fixed.clone());
    }
    for value in &mut graph.output {
        let tensor = value.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
        if let Some(first) = tensor.and_then(|t| t.shape.as_mut()?.dim.first_mut()) {
            *first = fixed.clone();
        }
    }
    model
}

/// Whether what the model gives for an image hangs on the others of its batch by what it computes, however little: activations
/// that are quantized to the range that a whole batch has.
pub fn is_mixed(model: &Model, input: &str) -> bool {
    // ONNX's own operator, and those that ONNX Runtime makes of it.
    fn dynamic(node: &NodeProto) -> bool {
        node.op_type().starts_with("DynamicQuantize") || inner_graphs(node).flat_map(|g| &g.node).any(dynamic)
    }
    let mixing = model.proto.functions.iter().filter(|f| f.node.iter().any(dynamic));
    let mixing: HashSet<(&str, &str)> = mixing.map(|f| (f.domain(), f.name())).collect();
    let index = Index::new(model.graph());
    let nodes = index.graph.node.iter().filter(|n| dynamic(n) || mixing.contains(&(n.domain(), n.op_type())));
    let read: Vec<&str> = nodes.flat_map(reads).collect();
    index.ancestors(&read).1.contains(input)
}

/// Lets a batch that is declared as 0 be any, and other sizes of inputs: MXNet's exporter means that. Of stored tensors,
/// which old files list as inputs too, a size of 0 is true, and of inner ones where no input has one.
pub fn free_zero(graph: &mut GraphProto) {
    let zero = Some(dimension::Value::DimValue(0));
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let fed = graph.input.iter_mut().filter(|input| !stored.contains(input.name()));
    let mut freed = false;
    for shape in fed.filter_map(|value| value.r#type.as_mut()?.tensor_type.as_mut()?.shape.as_mut()) {
        for (place, size) in shape.dim.iter_mut().enumerate().filter(|(_, size)| size.value == zero) {
            freed = true;
            match place {
                0 => *size = symbol("N"),
                _ => size.value = None,
            }
        }
    }
    let inside = graph.value_info.iter_mut().filter(|_| freed);
    let declared = graph.output.iter_mut().chain(inside);
    let shapes = declared.filter_map(|value| value.r#type.as_mut()?.tensor_type.as_mut()?.shape.as_mut());
    let firsts = shapes.filter_map(|shape| shape.dim.first_mut());
    firsts.filter(|first| first.value == zero).for_each(|first| *first = symbol("N"));
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
