//! Computations with shapes.

use super::Model;
use super::schema::data_type;
use std::collections::HashSet;

/// Operators whose output holds numbers of their input's.
const CARRY: [&str; 8] = ["Cast", "Slice", "Gather", "Squeeze", "Unsqueeze", "Identity", "Concat", "Reshape"];

/// The model with sizes as `int64` where they were cast to `int32`: an importer can keep a size open in the type that
/// shapes have, but not in others. `None` where there is no such cast. A proposal: mixed with other `int32` numbers the
/// graph is no longer well typed, and is refused.
pub fn wide_sizes(model: &Model) -> Option<Model> {
    let mut model = model.clone();
    let graph = model.proto.graph.as_mut()?;
    let mut sizes: HashSet<String> = HashSet::new();
    let mut changed = false;
    for node in &mut graph.node {
        let carries = CARRY.iter().any(|op| node.is(op)) && node.input.iter().any(|input| sizes.contains(input));
        if !carries && !node.is("Shape") {
            continue;
        }
        if node.is("Cast") {
            let to = node.attribute.iter_mut().filter(|a| a.name() == "to" && a.i() == i64::from(data_type::INT32));
            to.for_each(|a| (a.i, changed) = (Some(data_type::INT64.into()), true));
        }
        sizes.extend(node.output.iter().cloned());
    }
    changed.then_some(model)
}
