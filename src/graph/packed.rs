//! One tensor in place of all that a trained part reads: what is before it, and features of other depths that lead around it to
//! the head.

use crate::onnx::Model;
use crate::onnx::graph::{Index, Names, reads};
use crate::onnx::pooling::{int, joins_depths, named};
use crate::onnx::schema::{AttributeProto, GraphProto, attribute_type};
use crate::onnx::tensor::integers;
use std::collections::HashSet;

/// The features of other depths that come to the head beside what hangs on `tensor`.
pub fn beside(model: &Model, tensor: &str) -> Vec<String> {
    let graph = model.graph();
    let (places, values) = hanging(graph, &needed(graph), tensor);
    let joining = places.iter().map(|&place| &graph.node[place]).filter(|node| joins_depths(node));
    joining.flat_map(|node| &node.input).filter(|input| !values.contains(input.as_str())).cloned().collect()
}

/// The model with one tensor before the trained part, `[images, values]`, whose name comes with it: the values of `tensor`, which
/// has `shape` for each image, and behind them those of `beside`, with the number of each.
pub fn packed(model: &Model, tensor: &str, shape: &[usize], beside: &[(String, usize)]) -> (Model, String) {
    let (graph, mut names) = (model.graph(), Names::of(model.graph()));
    let places: HashSet<usize> = hanging(graph, &needed(graph), tensor).0.into_iter().collect();
    let (mut ahead, mut behind) = (graph.clone(), Vec::new());
    ahead.node.clear();
    for (place, node) in graph.node.iter().enumerate() {
        if places.contains(&place) { behind.push(node.clone()) } else { ahead.node.push(node.clone()) }
    }
    let flat = named(&mut ahead, &mut names, "Flatten", "adapt.start", vec![tensor.into()], vec![int("axis", 1)]);
    let parts = std::iter::once(flat).chain(beside.iter().map(|(name, _)| name.clone())).collect();
    let start = named(&mut ahead, &mut names, "Concat", "adapt.start", parts, vec![int("axis", 1)]);
    let own: usize = shape.iter().product();
    let mut first = own;
    let rows = slice(&mut ahead, &mut names, &start, [0, own], model.opset());
    let dims: Vec<i64> = std::iter::once(0).chain(shape.iter().map(|&n| n as i64)).collect();
    let target = names.fresh("adapt.start.shape");
    ahead.initializer.push(integers(&target, &dims));
    let mut renamed =
        vec![(tensor, named(&mut ahead, &mut names, "Reshape", "adapt.start", vec![rows, target], vec![]))];
    for (name, features) in beside {
        renamed.push((name, slice(&mut ahead, &mut names, &start, [first, first + features], model.opset())));
        first += features;
    }
    for input in behind.iter_mut().flat_map(|node| &mut node.input) {
        if let Some((_, new)) = renamed.iter().find(|(old, _)| old == input) {
            input.clone_from(new);
        }
    }
    ahead.node.extend(behind);
    let mut model = model.clone();
    model.proto.graph = Some(ahead);
    (model, start)
}

/// The places of the nodes on the way to the first output.
fn needed(graph: &GraphProto) -> Vec<usize> {
    Index::new(graph).ancestors(&[graph.output[0].name()]).0
}

/// The places of the nodes, of those `needed`, that hang on a tensor, and the values that do.
pub(super) fn hanging<'a>(graph: &'a GraphProto, needed: &[usize], tensor: &'a str) -> (Vec<usize>, HashSet<&'a str>) {
    let (mut values, mut places) = (HashSet::from([tensor]), Vec::new());
    for &place in needed {
        let node = &graph.node[place];
        if reads(node).any(|value| values.contains(value)) {
            places.push(place);
            values.extend(node.output.iter().map(String::as_str));
        }
    }
    (places, values)
}

/// Columns of rows. Opset 10 made the ends inputs.
fn slice(graph: &mut GraphProto, names: &mut Names, rows: &str, ends: [usize; 2], opset: i64) -> String {
    let [first, end] = ends.map(|end| end as i64);
    let settings = [("starts", first), ("ends", end), ("axes", 1)];
    let (mut inputs, mut attributes) = (vec![rows.to_owned()], Vec::new());
    for (name, value) in settings {
        if opset < 10 {
            let (name, r#type) = (Some(name.into()), Some(attribute_type::INTS));
            attributes.push(AttributeProto { name, ints: vec![value], r#type, ..Default::default() });
        } else {
            let input = names.fresh(&format!("adapt.start.{name}"));
            graph.initializer.push(integers(&input, &[value]));
            inputs.push(input);
        }
    }
    named(graph, names, "Slice", "adapt.start", inputs, attributes)
}
