//! A softmax that is written out where a graph ends.

use super::super::graph::Index;
use super::super::schema::{AttributeProto, GraphProto, NodeProto, attribute_type};

/// Between it and the output.
const PASSED: [&str; 7] = ["Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "ZipMap"];
const MOST_PASSED: usize = 16;

/// Makes exponentials divided by their sum, with their largest subtracted first or not, one `Softmax`, where an output comes
/// from that: its name is the division's. What it takes the place of stays, and nobody needs it.
pub fn join(graph: &mut GraphProto) {
    let index = Index::new(graph);
    let ends = graph.output.iter().filter_map(|output| {
        let mut place = index.producer_index(output.name())?;
        for _ in 0..MOST_PASSED {
            let node = &graph.node[place];
            if !PASSED.contains(&node.computes()) {
                return Some((place, softmax(&index, node)?));
            }
            place = index.producer_index(node.input.first()?)?;
        }
        None
    });
    let found: Vec<(usize, NodeProto)> = ends.collect();
    found.into_iter().for_each(|(place, node)| graph.node[place] = node);
}

/// The `Softmax` that a division stands for.
fn softmax(index: &Index, node: &NodeProto) -> Option<NodeProto> {
    let [exponentials, sum] = &node.input[..] else { return None };
    let made = |value: &str, operator: &str| index.producer(value).filter(|node| node.is(operator));
    let (exp, sum) = (made(exponentials, "Exp").filter(|_| node.is("Div"))?, made(sum, "ReduceSum")?);
    let [axis] = axes(index, sum)?[..] else { return None };
    if axis == 0 || sum.input.first() != Some(exponentials) || sum.int("keepdims", 1) == 0 {
        return None;
    }
    let mut input = exp.input.first()?;
    if let Some([scores, largest]) = made(input, "Sub").map(|node| &node.input[..])
        && let Some(largest) = made(largest, "ReduceMax").filter(|node| axes(index, node) == Some(vec![axis]))
        && largest.input.first() == Some(scores)
    {
        input = scores;
    }
    let r#type = Some(attribute_type::INT);
    let axis = AttributeProto { name: Some("axis".into()), i: Some(axis), r#type, ..Default::default() };
    let (op_type, input, attribute) = (Some("Softmax".into()), vec![input.clone()], vec![axis]);
    Some(NodeProto { op_type, input, attribute, ..node.clone() })
}

/// The axes of a reduction: an attribute, or a stored input.
fn axes(index: &Index, node: &NodeProto) -> Option<Vec<i64>> {
    match node.input.get(1) {
        Some(axes) => index.integers(axes),
        None => node.attr("axes").map(|a| a.ints.clone()),
    }
}
