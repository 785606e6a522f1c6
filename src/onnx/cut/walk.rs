//! From an output back through what can belong to a head.

use super::super::graph::Index;
use super::super::schema::{GraphProto, NodeProto, data_type};
use super::embedding::embedding;
use super::layer::{Layer, linear, whole_map};
use super::{Classifier, Cut, joined};

pub(super) const ACTIVATIONS: [&str; 3] = ["Softmax", "LogSoftmax", "Sigmoid"];
pub(super) const SHAPE_ONLY: [&str; 5] = ["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"];
/// Choices made from the scores, and lists of them by the classes' names.
const DECISIONS: [&str; 7] = ["ArgMax", "TopK", "ZipMap", "Hardmax", "OneHot", "Greater", "GreaterOrEqual"];
/// The data comes first; what else they take may be computed.
const FIRST: [&str; 6] = ["ArgMax", "TopK", "OneHot", "Slice", "Gather", "Split"];
/// Kept behind the new head.
pub(super) const CARRIED: [&str; 2] = ["Identity", "Cast"];
pub(super) const POOLS: [&str; 7] =
    ["GlobalAveragePool", "AveragePool", "GlobalMaxPool", "GlobalLpPool", "ReduceMean", "ReduceMax", "ReduceSum"];
/// What else may stand between a classifier and the output, and goes with it.
pub(super) const PASSED: [&str; 11] = [
    "Dropout",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "HardSigmoid",
    "QuantizeLinear",
    "DequantizeLinear",
    "Slice",
    "Gather",
    "Split",
];
/// What may follow a final activation and leaves its meaning.
const HARMLESS: [&str; 6] = ["Dropout", "Clip", "Max", "Min", "QuantizeLinear", "DequantizeLinear"];
/// Cuts that are listed: more help nobody.
const MOST: usize = 32;
/// What stands behind layers inside a network. A last linear layer with one of these behind it, and no final
/// activation, makes an embedding, not scores of classes.
#[rustfmt::skip]
pub(super) const HIDDEN: [&str; 12] = [
    "BatchNormalization", "Relu", "Clip", "Max", "Min", "LeakyRelu", "PRelu", "HardSwish", "Tanh", "Elu", "Selu",
    "Softsign",
];
/// Of those the ones that stand behind classifiers, too (SqueezeNet's ends so): there the number of values tells.
const EITHER: [&str; 2] = ["BatchNormalization", "Relu"];

pub(super) fn is_any(node: &NodeProto, names: &[&str]) -> bool {
    names.contains(&node.computes())
}

/// Whether a node may follow a final activation: whatever it does to the values, they mean the same.
pub(in crate::onnx) fn leaves_meaning(node: &NodeProto) -> bool {
    [&HARMLESS[..], &SHAPE_ONLY, &CARRIED, &DECISIONS].iter().any(|names| is_any(node, names))
}

/// What a walk back from an output finds.
pub(super) struct Walk {
    /// The cuts, the default first. Never empty.
    pub(super) found: Vec<Cut>,
    /// The nodes that are kept behind whatever replaces the head.
    pub(super) tail: Vec<usize>,
}

/// What stands behind the value that a walk has come to.
struct Seen {
    tail: Vec<usize>,
    tokens: Vec<i64>,
    activated: bool,
    pooled: bool,
    hidden: bool,
    decided: bool,
    /// Nothing that changes what a final activation means.
    bare: bool,
    /// Nothing that scores never have behind them.
    either: bool,
}

impl Seen {
    /// Goes on past a node; `first` as long as no layer was found.
    fn pass(&mut self, index: &Index, node: &NodeProto, first: bool) {
        let is_first = first && self.tokens.is_empty();
        self.tokens.extend(joined::token(index, node).filter(|_| is_first));
        if is_any(node, &POOLS) {
            // What is selected behind it is no token.
            (self.pooled, self.tokens) = (true, Vec::new());
        }
        self.hidden |= is_any(node, &HIDDEN);
        self.either &= !is_any(node, &HIDDEN) || is_any(node, &EITHER);
        self.bare &= leaves_meaning(node) || is_any(node, &ACTIVATIONS);
    }
}

/// Walks from the output towards the input, through what can belong to a head, and notes each linear layer.
pub(super) fn walk<'a>(index: &Index<'a>, output: &'a str) -> Walk {
    let mut found: Vec<Cut> = Vec::new();
    let (mut value, mut ahead, map) = (output, None, is_map(index, output));
    let mut seen = Seen {
        tail: Vec::new(),
        tokens: Vec::new(),
        activated: false,
        pooled: false,
        hidden: false,
        decided: false,
        bare: true,
        either: true,
    };
    while let Some(place) = index.producer_index(value).filter(|_| found.len() < MOST) {
        let node = &index.graph.node[place];
        let Some((cut, input)) = step(index, node, output, seen.pooled, map) else { break };
        if let Some(mut cut) = cut {
            // What each of joined heads did to its scores keeps the output's meaning as one activation behind them all would.
            if found.is_empty() && !seen.activated {
                seen.activated |= !cut.tail.is_empty();
                seen.tail.extend(&cut.tail);
            }
            if found.is_empty() && seen.hidden && !seen.activated && !(seen.either && has_odd_width(&cut)) {
                found.push(embedding(index, output, output));
            }
            if cut.tokens.is_empty() {
                cut.tokens.clone_from(&seen.tokens);
            }
            found.push(cut);
        } else if is_any(node, &ACTIVATIONS) || is_any(node, &CARRIED) {
            // An activation deeper inside is the old head's own; only the last keeps the output's meaning.
            let last = found.is_empty() && !(seen.activated && is_any(node, &ACTIVATIONS));
            seen.activated |= is_any(node, &ACTIVATIONS);
            if last {
                seen.tail.push(place);
            }
            if last && seen.bare && is_any(node, &ACTIVATIONS) {
                let tail = seen.tail.iter().rev().copied().collect();
                ahead = Some(Cut { tail, ..embedding(index, output, input) });
            }
        } else if is_any(node, &DECISIONS) && found.is_empty() {
            // What was done to the choice has nothing to be done to.
            (seen.tail, seen.activated, seen.bare, seen.decided) = (Vec::new(), false, true, true);
            ahead = Some(embedding(index, output, input));
        } else if !is_any(node, &SHAPE_ONLY) && !may_follow(node) {
            break;
        }
        seen.pass(index, node, found.is_empty());
        value = input;
    }
    if found.is_empty() {
        // An activation keeps its meaning behind the new head, whatever layer it stood behind.
        found.push(ahead.unwrap_or_else(|| embedding(index, output, output)));
    }
    seen.tail.reverse();
    for cut in &mut found {
        cut.decided = seen.decided;
        if cut.classifier != Classifier::None {
            cut.tail.clone_from(&seen.tail);
        }
    }
    Walk { found, tail: seen.tail }
}

/// Whether a layer gives as many values as classes are, and no embedding is wide: 10, 100, 1000, 21841.
fn has_odd_width(cut: &Cut) -> bool {
    const OF_EMBEDDINGS: usize = 16;
    let odd = |classes: usize| !classes.is_multiple_of(OF_EMBEDDINGS);
    cut.classes.is_some_and(odd)
}

/// The head, or the layer of one, that a node completes, if it does, and the value to go on from; `None` where the walk
/// ends.
fn step<'a>(
    index: &Index<'a>,
    node: &'a NodeProto,
    output: &str,
    pooled: bool,
    map: bool,
) -> Option<(Option<Cut>, &'a str)> {
    match head(index, node, output, pooled) {
        // A map's last convolution is a network's own.
        Some(Head::Layer(layer))
            if layer.classifier == Classifier::Conv && !pooled && map && !after_pool(index, layer.input) =>
        {
            None
        }
        Some(Head::Layer(layer)) => Some((Some(layer.cut(output, Vec::new())), layer.input)),
        Some(Head::Joined(cut, shared)) => Some((Some(cut), shared)),
        None => match data_inputs(index, node)[..] {
            [input] => Some((None, input)),
            _ => None,
        },
    }
}

enum Head<'a> {
    Layer(Layer<'a>),
    Joined(Cut, &'a str),
}

/// The head, or the part of one, that a node is or completes.
fn head<'a>(index: &Index<'a>, node: &'a NodeProto, output: &str, pooled: bool) -> Option<Head<'a>> {
    if let Some(layer) = linear(index, node) {
        return Some(Head::Layer(layer));
    }
    if let Some(layer) = whole_map(index, node, values(index, output).filter(|_| !pooled)) {
        return Some(Head::Layer(layer));
    }
    if data_inputs(index, node).len() < 2 {
        return None;
    }
    joined::heads(index, node, output).map(|(cut, shared)| Head::Joined(cut, shared))
}

/// Whether a node can stand behind a linear layer in a head, and goes with it.
fn may_follow(node: &NodeProto) -> bool {
    is_any(node, &POOLS) || is_any(node, &PASSED) || is_any(node, &HIDDEN)
}

/// The shape that the graph declares for a tensor.
pub(super) fn declared(index: &Index, tensor: &str) -> Option<Vec<Option<u64>>> {
    let info = index.graph.output.iter().chain(&index.graph.value_info).find(|v| v.name() == tensor)?;
    info.tensor_type()?.1
}

/// Whether an output is a map with more than one place, or may be one.
fn is_map(index: &Index, output: &str) -> bool {
    let shape = declared(index, output).unwrap_or_default();
    shape.len() == 4 && shape.iter().filter(|d| **d == Some(1)).count() < 2
}

/// How many values an output has for one image, where it is declared.
fn values(index: &Index, output: &str) -> Option<u64> {
    let shape = declared(index, output)?;
    shape.get(1..)?.iter().try_fold(1u64, |n, dim| n.checked_mul((*dim)?))
}

/// Whether `value` comes from a pool, with no layer between.
pub(super) fn after_pool<'a>(index: &Index<'a>, mut value: &'a str) -> bool {
    while let Some(node) = index.producer(value) {
        if is_any(node, &POOLS) {
            return true;
        }
        let light = may_follow(node) || is_any(node, &SHAPE_ONLY) || is_any(node, &CARRIED);
        let [input] = data_inputs(index, node)[..] else { break };
        if !light {
            break;
        }
        value = input;
    }
    false
}

/// The float type that the graph declares for a tensor.
pub(super) fn float_type(graph: &GraphProto, tensor: &str) -> Option<i32> {
    let info = graph.output.iter().chain(&graph.value_info).find(|v| v.name() == tensor)?;
    let floats = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16, data_type::DOUBLE];
    info.tensor_type().map(|(t, _)| t).filter(|t| floats.contains(t))
}

/// The inputs that are not stored, nor computed from stored tensors alone.
pub(in crate::onnx) fn data_inputs<'a>(index: &Index, node: &'a NodeProto) -> Vec<&'a str> {
    let mut inputs = node.input.iter().map(String::as_str);
    if let [table, places] = &node.input[..]
        && node.is("Gather")
        && index.constant(table).is_some_and(|table| table.dims.len() == 1)
        && !index.is_fixed(places)
    {
        // Labels looked up for the classes that were chosen.
        return vec![places];
    }
    if let [value, largest] = &node.input[..]
        && node.is("Sub")
        && index.producer(largest).is_some_and(|node| node.is("ReduceMax") && node.input.first() == Some(value))
    {
        // The scores, moved so that none is above 0.
        return vec![value];
    }
    if is_any(node, &FIRST) || is_any(node, &SHAPE_ONLY) {
        // Shapes may be computed from other shapes; the data always comes first.
        return inputs.next().into_iter().collect();
    }
    inputs.filter(|i| !i.is_empty() && !index.is_fixed(i)).collect()
}
