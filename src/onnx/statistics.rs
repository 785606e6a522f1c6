//! Statistics of batch norms: whether anything was seen yet, and letting them follow what is seen.

use super::graph::{Index, Names};
use super::parameters::statistics_of;
use super::pooling::int;
use super::schema::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};
use super::tensor::floats;
use std::collections::HashSet;

/// Whether a node normalises by stored statistics.
pub fn is_inference(node: &NodeProto) -> bool {
    statistics_of(node).is_some() && node.output.len() == 1 && node.int("training_mode", 0) == 0
}

/// Whether a graph has batch norms, and all are as before any training: mean 0 and variance 1, scale 1 (or 0, as some
/// networks begin) and shift 0.
pub fn are_initial(graph: &GraphProto) -> bool {
    let index = Index::new(graph);
    let all = |name: &str, fits: &[f32]| {
        let values = index.constant(name).and_then(floats).filter(|values| !values.is_empty());
        values.is_some_and(|values| fits.iter().any(|fit| values.iter().all(|value| value == fit)))
    };
    let initial = |node: &&NodeProto| {
        let starts: [&[f32]; 4] = [&[1., 0.], &[0.], &[0.], &[1.]];
        node.input.iter().skip(1).zip(starts).all(|(name, start)| all(name, start))
    };
    let mut norms = graph.node.iter().filter(|node| is_inference(node)).peekable();
    norms.peek().is_some() && norms.all(|node| initial(&node))
}

/// Puts the batch norms whose mean and variance have these names into ONNX's training mode: they normalise by the
/// statistics of their own input, and the graph has the next means and variances as further outputs. Gives the names
/// whose next values those are, in order.
pub fn follow(graph: &mut GraphProto, statistics: &HashSet<String>) -> Vec<String> {
    let mut names = Names::of(graph);
    let (mut outputs, mut followed) = (Vec::new(), Vec::new());
    for node in graph.node.iter_mut().filter(|node| is_inference(node)) {
        let Some(own) = statistics_of(node).map(|own| own.map(str::to_owned)) else { continue };
        if !own.iter().all(|name| statistics.contains(name)) {
            continue;
        }
        node.attribute.retain(|attribute: &AttributeProto| attribute.name() != "training_mode");
        node.attribute.push(int("training_mode", 1));
        for name in own {
            let next = names.fresh(&format!("{name}.next"));
            outputs.push(ValueInfoProto { name: Some(next.clone()), ..Default::default() });
            node.output.push(next);
            followed.push(name);
        }
    }
    graph.output.extend(outputs);
    followed
}
