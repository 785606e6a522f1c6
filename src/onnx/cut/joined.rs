//! Several heads whose results are joined into one output: averaged, added, or put one behind the other.
//!
//! Distilled transformers average a head on the class token and one on the distillation token; LeViT averages two on one
//! pooled tensor. One linear head on what they share can be all that their average was: on one tensor it is that
//! average, on two tokens it reads both, one behind the other.

use super::super::graph::Index;
use super::super::schema::NodeProto;
use super::layer::{Layer, linear};
use super::walk::{ACTIVATIONS, CARRIED, HIDDEN, PASSED, POOLS, SHAPE_ONLY, after_pool, data_inputs, declared, is_any};
use super::{Classifier, Cut, bytes};
use std::collections::HashSet;
use std::slice;

const JOINS: [&str; 4] = ["Add", "Sum", "Mean", "Concat"];
const SELECTIONS: [&str; 2] = ["Gather", "Slice"];
const NORMS: [&str; 3] = ["LayerNormalization", "LpNormalization", "InstanceNormalization"];
/// Heads, and nodes between them and where they join, that are looked at.
const MOST: usize = 256;

/// The heads that `node` joins, as one cut at what they share; and the tensor of that cut. `None` where it joins anything
/// else.
pub(super) fn heads<'a>(index: &Index<'a>, node: &'a NodeProto, output: &str) -> Option<(Cut, &'a str)> {
    let mut open = vec![Found { node, pooled: false, activation: None }];
    let (mut layers, mut behind) = (Vec::new(), Vec::new());
    for _ in 0..MOST {
        let Some(found) = open.pop() else { break };
        let Found { node, pooled, activation } = found;
        if let Some(layer) = linear(index, node) {
            // Convolutions of maps are joined inside of networks.
            if layer.classifier == Classifier::Conv && !pooled && !after_pool(index, layer.input) {
                return None;
            }
            layers.push(layer);
            behind.push(found);
            continue;
        }
        let inputs = data_inputs(index, node);
        let between = is_any(node, &SHAPE_ONLY) || is_any(node, &CARRIED) || is_any(node, &ACTIVATIONS);
        if !(is_any(node, &JOINS) || inputs.len() == 1 && (between || is_any(node, &PASSED) || is_any(node, &POOLS))) {
            return None;
        }
        if inputs.len() > MOST {
            return None;
        }
        let (pooled, own) = (pooled || is_any(node, &POOLS), Some(node).filter(|node| is_any(node, &ACTIVATIONS)));
        for input in inputs {
            open.push(Found { node: index.producer(input)?, pooled, activation: activation.or(own) });
        }
    }
    if layers.len() < 2 || !open.is_empty() || is_chain(index, &layers, &behind) {
        return None;
    }
    let trails: Vec<Vec<&'a str>> = layers.iter().map(|layer| trail(index, layer.input)).collect();
    let shared = trails[0].iter().find(|value| trails.iter().all(|trail| trail.contains(value))).copied();
    // Without such a tensor the widest head's features have to do.
    let widest = layers.iter().max_by_key(|layer| layer.features)?;
    let chosen = shared.and_then(|shared| tokens(index, &layers, shared));
    // A head on one token beside one on all of them, pooled: the token is what the network classifies by.
    let one = |layer: &Layer| shared.is_some_and(|shared| tokens(index, slice::from_ref(layer), shared).is_some());
    let mut direct = layers.iter().zip(&behind).filter(|(_, found)| !found.pooled).map(|(layer, _)| layer);
    let single = direct.next().filter(|layer| direct.next().is_none() && chosen.is_none() && one(layer));
    let main = single.unwrap_or(widest);
    let tensor = single.map(|layer| layer.input).or(shared).unwrap_or(widest.input);
    let classes = widest.classes.filter(|_| layers.iter().all(|layer| layer.classes == widest.classes));
    let mut cut = Cut { tensor: tensor.into(), classes, ..main.cut(output, Vec::new()) };
    cut.heads = layers.len();
    if tensor != main.input {
        cut.dequantize = bytes::made(index, tensor);
    }
    cut.tokens = chosen.unwrap_or_default();
    if shared.is_none()
        && let Some(rows) = apart(index, &layers, &behind)
    {
        cut.features = rows.iter().map(|row| row.features).sum();
        cut.apart = rows.into_iter().map(|row| row.input.into()).collect();
    }
    cut.tail = activation(index, &behind).into_iter().collect();
    Some((cut, tensor))
}

/// A node on the way from the join to the heads, and what lies between.
struct Found<'a> {
    node: &'a NodeProto,
    pooled: bool,
    activation: Option<&'a NodeProto>,
}

/// One head for each of the rows that these read, where all read rows of floats: rows can be put one behind the other.
fn apart<'l, 'a>(index: &Index, layers: &'l [Layer<'a>], heads: &[Found]) -> Option<Vec<&'l Layer<'a>>> {
    let is_row = |(layer, head): (&Layer, &Found)| {
        let told = || declared(index, layer.input).is_some_and(|shape| shape.len() == 2);
        let plain = layer.classifier == Classifier::Linear && layer.dequantize.is_none();
        plain && layer.data_type == layers[0].data_type && (head.node.is("Gemm") || told())
    };
    let mut seen = HashSet::new();
    // The last came first.
    let rows = layers.iter().rev().filter(|layer| seen.insert(layer.input)).collect();
    layers.iter().zip(heads).all(is_row).then_some(rows)
}

/// Whether one of these reads what another gives: a layer and its shortcut, which are no heads.
fn is_chain(index: &Index, layers: &[Layer], behind: &[Found]) -> bool {
    layers.iter().any(|layer| {
        let before = index.ancestors(&[layer.input]).1;
        behind.iter().any(|head| head.node.output.iter().any(|output| before.contains(output.as_str())))
    })
}

/// The place of an activation that each of these heads has behind it: one of them.
fn activation(index: &Index, heads: &[Found]) -> Option<usize> {
    let first = heads.first()?.activation?;
    let same = |head: &Found| head.activation.is_some_and(|node| node.computes() == first.computes());
    let place = index.producer_index(first.output.first()?)?;
    heads.iter().all(same).then_some(place)
}

/// `value` and the values before it, as long as each comes from one other by what leaves its meaning.
fn trail<'a>(index: &Index<'a>, mut value: &'a str) -> Vec<&'a str> {
    let mut found = vec![value];
    while found.len() < MOST
        && let Some(node) = index.producer(value)
        && let [input] = data_inputs(index, node)[..]
    {
        let light = [&SHAPE_ONLY[..], &CARRIED, &PASSED, &HIDDEN, &POOLS, &SELECTIONS, &NORMS];
        if !light.iter().any(|names| is_any(node, names)) && linear(index, node).is_none() {
            break;
        }
        value = input;
        found.push(value);
    }
    found
}

/// Which tokens of `shared` the heads read, where each selects one, and all that is done to it besides is scaling.
fn tokens(index: &Index, layers: &[Layer], shared: &str) -> Option<Vec<i64>> {
    let mut found = Vec::new();
    for layer in layers {
        let (mut value, mut chosen) = (layer.input, None);
        while value != shared {
            let node = index.producer(value)?;
            match token(index, node) {
                Some(token) if chosen.is_none() => chosen = Some(token),
                None if !is_any(node, &POOLS) && linear(index, node).is_none() => {}
                _ => return None,
            }
            value = data_inputs(index, node).first().copied()?;
        }
        found.push(chosen?);
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// The one place along the second axis that a node selects, of all that its input has besides. Tokens have three axes:
/// the second is the last but one.
pub(super) fn token(index: &Index, node: &NodeProto) -> Option<i64> {
    let is_second = |axis: i64| axis == 1 || axis == -2;
    let input = |place: usize| index.integers(node.input.get(place)?);
    if node.is("Gather") {
        return input(1)?[..].try_into().ok().filter(|_| is_second(node.int("axis", 0))).map(|[one]: [i64; 1]| one);
    }
    // Before operator set 10 they were attributes.
    let list = |place: usize, name: &str| input(place).or_else(|| node.attr(name).map(|a| a.ints.clone()));
    let (starts, ends) = list(1, "starts").zip(list(2, "ends")).filter(|_| node.is("Slice"))?;
    let axes = match node.input.get(3) {
        Some(axes) => index.integers(axes)?,
        None => node.attr("axes").map_or_else(|| (0..starts.len() as i64).collect(), |axes| axes.ints.clone()),
    };
    if node.input.len() > 4 && input(4)?.iter().any(|step| *step != 1) {
        return None;
    }
    let shape = declared(index, node.input.first()?).unwrap_or_default();
    let size = |axis: i64| *shape.get(usize::try_from(axis).ok()?)?;
    let mut found = None;
    for ((&start, &end), &axis) in starts.iter().zip(&ends).zip(&axes) {
        let to_the_end = end >= i32::MAX.into() || size(axis).is_some_and(|size| u64::try_from(end) == Ok(size));
        let one = start.checked_add(1) == Some(end) && end != 0 || start == -1 && to_the_end;
        match () {
            _ if is_second(axis) && one => found = Some(start),
            _ if start == 0 && to_the_end => {}
            _ => return None,
        }
    }
    found
}
