//! `Upsample` with its factors as an input, as opset 9 has it.

use super::super::graph::Names;
use super::super::schema::{ModelProto, data_type};
use super::super::tensor::initializer;

/// Stores the attribute `scales` of opsets 7 and 8, for importers that know one form.
pub fn store_scales(proto: &mut ModelProto) -> Result<(), String> {
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    if !graph.node.iter().any(|node| node.is("Upsample") && node.input.len() == 1) {
        return Ok(());
    }
    let mut names = Names::of(graph);
    for node in graph.node.iter_mut().filter(|node| node.is("Upsample") && node.input.len() == 1) {
        let Some(place) = node.attribute.iter().position(|a| a.name() == "scales") else { continue };
        let scales = node.attribute.remove(place).floats;
        let name = names.fresh(&format!("{}/scales", node.output.first().map_or("", String::as_str)));
        graph.initializer.push(initializer(&name, &[scales.len()], scales, data_type::FLOAT));
        node.input.push(name);
    }
    Ok(())
}
