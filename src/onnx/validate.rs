//! What must hold before anything else looks at a model. Files come from strangers.

mod inside;

use super::graph::{Index, graph_tensors, node_tensors, reads};
use super::schema::{GraphProto, NodeProto};
use super::tensor;
use super::{
    Model, batch,
    normalize::{functions, names},
    rounds,
};
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Checks names, stored tensors and outputs of the main graph, and puts its nodes into an order in which each value is made
/// before it is read, as ONNX wants it; one that is in such an order stays in it. Sizes of 0 become free ones, and
/// [node names are told apart](names::tell_apart).
///
/// # Errors
/// [`Error::Model`] naming the node or tensor.
pub fn validate(model: &mut Model) -> Result<()> {
    let order = checked(model)?;
    model.proto.graph.iter_mut().for_each(batch::free_zero);
    names::tell_apart(&mut model.proto);
    if !order.is_sorted()
        && let Some(graph) = model.proto.graph.as_mut()
    {
        graph.node = order.iter().map(|&node| std::mem::take(&mut graph.node[node])).collect();
    }
    Ok(())
}

fn checked(model: &Model) -> Result<Vec<usize>> {
    let error = |what: String| Error::model(&model.path, what);
    let functions = model.proto.functions.iter().flat_map(|f| &f.node).flat_map(node_tensors);
    for t in graph_tensors(model.graph()).chain(functions) {
        // What lies beside the model has been read into it by now; nothing else may open files for it.
        if t.data_location() == 1 {
            return Err(error(format!(
                "the tensor '{}' lies in another file, which cannot be reached from here",
                t.name()
            )));
        }
        tensor::check(t).map_err(|what| error(format!("the tensor '{}': {what}", t.name())))?;
    }
    functions::check(&model.proto).map_err(error)?;
    rounds::check(&model.proto).map_err(error)?;
    let order = check(model.graph()).map_err(error)?;
    inside::check(&model.proto).map_err(error)?;
    Ok(order)
}

fn check(graph: &GraphProto) -> std::result::Result<Vec<usize>, String> {
    let index = Index::new(graph);
    let mut stored = HashSet::new();
    if let Some(twice) = graph.initializer.iter().find(|t| !stored.insert(t.name())) {
        return Err(format!("the tensor '{}' is stored twice", twice.name()));
    }
    let mut made = HashSet::new();
    for node in &graph.node {
        if node.op_type().is_empty() {
            return Err(format!("node {} has no operator", node.label()));
        }
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if !made.insert(output.as_str()) || index.is_given(output) {
                return Err(format!(
                    "node {}: '{output}' exists already, stored or made by another node",
                    node.label()
                ));
            }
        }
        // Only direct inputs: names inside a subgraph may be its own.
        if let Some(missing) = node.input.iter().find(|i| !i.is_empty() && !index.has(i)) {
            return Err(format!("node {}: its input '{missing}' does not exist", node.label()));
        }
    }
    if let Some(output) = graph.output.iter().find(|o| !index.has(o.name())) {
        return Err(format!("the output '{}' is made by no node", output.name()));
    }
    if graph.output.is_empty() {
        return Err("the graph has no output".into());
    }
    order(&graph.node, |value| index.producer_index(value))
}

/// Kahn's algorithm: what cannot be ordered stands on a cycle, or behind one. Of the nodes that could come next the first in
/// the list does.
fn order(nodes: &[NodeProto], producer: impl Fn(&str) -> Option<usize>) -> std::result::Result<Vec<usize>, String> {
    let mut users = vec![Vec::new(); nodes.len()];
    let mut waiting = vec![0usize; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for from in reads(node).filter_map(&producer) {
            users[from].push(i);
            waiting[i] += 1;
        }
    }
    let mut ready: BinaryHeap<_> = (0..waiting.len()).filter(|&i| waiting[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &user in &users[i] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    match waiting.iter().position(|&n| n > 0) {
        Some(i) => Err(format!("node {} depends on its own output", nodes[i].label())),
        None => Ok(order),
    }
}
