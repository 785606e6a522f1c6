//! Outputs that exporters leave behind and nobody reads: importers refuse some of them.

use std::collections::HashSet;
use tract_onnx::pb::{GraphProto, ModelProto};

/// Operators whose first output is the same whether the others are asked for or not.
const FIRST_STANDS_ALONE: [&str; 5] =
    ["BatchNormalization", "Dropout", "InstanceNormalization", "LayerNormalization", "MaxPool"];

/// Takes unread outputs behind the first away.
pub(super) fn drop_unread(model: &mut ModelProto) {
    let Some(graph) = model.graph.as_mut() else { return };
    let mut read = HashSet::new();
    reads(graph, &mut read);
    for node in graph.node.iter_mut().filter(|node| FIRST_STANDS_ALONE.contains(&node.op_type.as_str())) {
        while node.output.len() > 1 && node.output.last().is_some_and(|name| !read.contains(name)) {
            node.output.pop();
        }
    }
}

fn reads(graph: &GraphProto, read: &mut HashSet<String>) {
    read.extend(graph.output.iter().map(|output| output.name.clone()));
    for node in &graph.node {
        read.extend(node.input.iter().cloned());
        node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).for_each(|inner| reads(inner, read));
    }
}
