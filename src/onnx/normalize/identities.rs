//! `Identity` of stored tensors, by which exporters merge equal weights.

use super::super::schema::ModelProto;
use super::bypass;
use std::collections::HashSet;

/// Reads stored tensors themselves instead of through `Identity` nodes. A weight that is to be trained apart from its
/// equals has been given a tensor of its own before ([`super::super::parameters::untie`]).
pub fn remove(proto: &mut ModelProto) -> Result<(), String> {
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let mut stored: HashSet<String> = graph.initializer.iter().map(|t| t.name().to_owned()).collect();
    for node in graph.node.iter().filter(|node| node.is("Identity")) {
        if let ([input], [output]) = (&node.input[..], &node.output[..])
            && stored.contains(input)
        {
            stored.insert(output.clone());
        }
    }
    bypass(graph, |node| match (&node.input[..], &node.output[..]) {
        ([input], [output]) if node.is("Identity") && stored.contains(input) => Some((output.clone(), input.clone())),
        _ => None,
    });
    Ok(())
}
