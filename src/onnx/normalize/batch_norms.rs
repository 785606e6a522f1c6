//! Batch norms whose statistics nobody reads.

use super::super::graph::reads;
use super::super::schema::ModelProto;
use super::opset;
use std::collections::HashSet;

/// The first opset in which `training_mode` says what the number of outputs said before.
const WITH_MODE: i64 = 14;

/// Leaves the outputs for statistics out where nothing reads them: a batch norm in training mode then gives one value, its
/// input normalised by the input's own mean and variance. (Weight standardisation is exported so.)
pub fn trim(proto: &mut ModelProto) -> Result<(), String> {
    if opset(proto) < WITH_MODE {
        return Ok(());
    }
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let outputs = graph.output.iter().map(|o| o.name().to_owned());
    let read: HashSet<String> = graph.node.iter().flat_map(reads).map(str::to_owned).chain(outputs).collect();
    for node in graph.node.iter_mut().filter(|node| node.is("BatchNormalization")) {
        if !node.output.iter().skip(1).any(|output| read.contains(output)) {
            node.output.truncate(1);
        }
    }
    Ok(())
}
