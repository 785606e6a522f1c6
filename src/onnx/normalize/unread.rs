//! Outputs that exporters leave behind and nobody reads: importers refuse some of them.

use super::super::graph::reads;
use super::super::pooling::int;
use super::super::schema::ModelProto;
use super::opset;
use std::collections::HashSet;

/// Operators whose first output is the same whether the others are asked for or not.
const FIRST_STANDS_ALONE: [&str; 4] = ["BatchNormalization", "InstanceNormalization", "LayerNormalization", "MaxPool"];
/// The first opset in which a batch norm's `training_mode` says what its number of outputs said before.
const WITH_MODE: i64 = 14;
/// From this one on ONNX Runtime mixes the stored statistics in where they are said to move by less than all.
const MIXED: i64 = 9;

/// Takes unread outputs behind the first away. A batch norm in training mode then gives one value, its input normalised by
/// the input's own mean and variance. (Weight standardisation is exported so.)
pub fn trim(proto: &mut ModelProto) -> Result<(), String> {
    let opset = opset(proto);
    let counts_tell = opset < WITH_MODE;
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let outputs = graph.output.iter().map(|o| o.name().to_owned());
    let read: HashSet<String> = graph.node.iter().flat_map(reads).map(str::to_owned).chain(outputs).collect();
    for node in graph.node.iter_mut().filter(|node| FIRST_STANDS_ALONE.iter().any(|op| node.is(op))) {
        let told_by_count = counts_tell && node.is("BatchNormalization") && node.output.len() > 1;
        let momentum = node.attr("momentum").and_then(|a| a.f).unwrap_or(0.9);
        if told_by_count && opset >= MIXED && momentum < 1.0
            || node.output.iter().skip(1).any(|name| read.contains(name))
        {
            continue;
        }
        node.output.truncate(1);
        if told_by_count {
            node.attribute.push(int("training_mode", 1));
        }
    }
    Ok(())
}
