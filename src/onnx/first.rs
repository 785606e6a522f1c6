//! What the first convolution tells of the image: the order of its axes, and its channels.

use super::graph::{Index, readers};
use super::schema::GraphProto;

/// They leave every axis where it is.
const LIGHT: [&str; 10] =
    ["Cast", "Sub", "Add", "Mul", "Div", "Pad", "Identity", "Clip", "QuantizeLinear", "DequantizeLinear"];
/// Nodes that may stand between an input and its first convolution.
const MOST: usize = 64;

/// The channels that the first convolution behind `input` takes, and whether they are the input's last axis. `None` where
/// something else comes first.
pub fn convolution(graph: &GraphProto, input: &str) -> Option<(usize, bool)> {
    let index = Index::new(graph);
    let users = readers(graph);
    let (mut open, mut last) = (vec![(input, false)], None);
    for _ in 0..MOST {
        let Some((value, turned)) = open.pop() else { break };
        for &place in users.get(value).into_iter().flatten().take(MOST) {
            let node = &graph.node[place];
            let weight = if node.is("QLinearConv") { 3 } else { 1 };
            let convolves = ["Conv", "QLinearConv", "ConvInteger"].iter().any(|name| node.is(name));
            let output = node.output.first().map(String::as_str).unwrap_or_default();
            if convolves && node.input.first().is_some_and(|x| x == value) {
                let name = node.input.get(weight)?;
                let raw = index.producer(name).filter(|n| n.is("DequantizeLinear")).and_then(|n| n.input.first());
                let tensor = index.constant(raw.unwrap_or(name))?;
                let channels = tensor.dims.get(1)?.checked_mul(node.int("group", 1))?;
                last = last.or(Some((usize::try_from(channels).ok()?, turned)));
            } else if node.is("Transpose") && node.attr("perm").is_some_and(|perm| perm.ints == [0, 3, 1, 2]) {
                open.push((output, true));
            } else if LIGHT.iter().any(|name| node.is(name)) {
                open.push((output, turned));
            }
        }
    }
    last
}
