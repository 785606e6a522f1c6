//! One row of features an image.

use super::graph::{Index, Names};
use super::schema::{AttributeProto, GraphProto, NodeProto, attribute_type};
use super::tensor::integers;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// They have the channels in the second axis.
const CHANNELS_SECOND: [&str; 13] = [
    "Conv",
    "ConvTranspose",
    "ConvInteger",
    "BatchNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "LRN",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "DepthToSpace",
    "SpaceToDepth",
];
/// They leave every axis where it is.
const IN_PLACE: [&str; 34] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Min",
    "Max",
    "Sum",
    "Relu",
    "Clip",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Swish",
    "Mish",
    "Gelu",
    "Erf",
    "Tanh",
    "Softplus",
    "Softsign",
    "Exp",
    "Sqrt",
    "Dropout",
    "Identity",
    "Cast",
    "Concat",
    "Pad",
    "QuantizeLinear",
    "DequantizeLinear",
];

/// What joins the features of several depths.
const DEPTHS: &str = "adapt.features.depths";

/// Whether a node joins the features of several depths, the cut's first, in a model that was adapted.
pub(crate) fn joins_depths(node: &NodeProto) -> bool {
    node.is("Concat") && node.name().starts_with(DEPTHS)
}

/// How a cut tensor becomes one row of features an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// It is `[N, features]` already.
    None,
    /// All axes but the first are flattened: all have length 1 but one, or the old head read every place of the map.
    Flatten,
    /// The mean over these axes.
    Mean(Vec<i64>),
    /// Some of the tokens of `[N, tokens, features]`, one behind the other.
    Tokens(Vec<i64>),
    /// The cut tensor pooled so, and behind its features those of tensors before it.
    Depths(Box<Pooling>, Vec<Tap>),
}

/// A tensor before the cut whose means and (population) standard deviations over `axes` are features too, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tap {
    /// Its name in the original.
    pub tensor: String,
    /// All axes but that of the images and that of the channels.
    pub axes: Vec<i64>,
    /// How many there are.
    pub channels: usize,
    /// Whether the means are taken: those of the last map are the cut tensor itself in most networks.
    pub mean: bool,
}

impl Pooling {
    /// How to pool a tensor of this shape. `features` is what the old head took, if there was one: it tells which axis
    /// holds the features. Without it the second axis is taken for maps, the last for sequences of tokens. `tokens` are
    /// those that the old head read, if it did not read all.
    pub fn of(shape: &[usize], features: Option<usize>, channels_last: bool, tokens: &[i64]) -> Option<Pooling> {
        let rank = shape.len();
        let exists = |&token: &i64| token.unsigned_abs() as usize + usize::from(token >= 0) <= shape[1];
        if rank == 3 && !tokens.is_empty() && tokens.iter().all(exists) {
            return Some(Pooling::Tokens(tokens.to_vec()));
        }
        let mut axis = if rank == 3 || channels_last { rank.checked_sub(1)? } else { 1 };
        if let Some(features) = features
            && shape.get(axis) != Some(&features)
            && let Some(found) = (1..rank).find(|&a| shape[a] == features)
        {
            axis = found;
        }
        match rank {
            0 | 1 => None,
            2 => Some(Pooling::None),
            // A map that one convolution covered.
            _ if features.is_some_and(|features| shape[1..].iter().product::<usize>() == features) => {
                Some(Pooling::Flatten)
            }
            _ if (1..rank).all(|a| a == axis || shape[a] == 1) => Some(Pooling::Flatten),
            _ => Some(Pooling::Mean((1..rank).filter(|&a| a != axis).map(|a| a as i64).collect())),
        }
    }

    /// Whether the channels of a map are its last axis, told by the nodes that it comes from: a layout that the model's
    /// input has need not be the one inside. `None` where they do not tell.
    pub fn channels_last(index: &Index, tensor: &str) -> Option<bool> {
        let (mut open, mut seen) = (vec![tensor], HashSet::new());
        while let Some(value) = open.pop() {
            let Some(node) = index.producer(value).filter(|_| seen.insert(value)) else { continue };
            let is = |names: &[&str]| names.contains(&node.computes());
            let weighted = node.input.get(1).is_some_and(|i| index.constant(i).is_some());
            match node.attr("perm").map(|perm| &perm.ints[..]) {
                Some([0, 2, 3, 1]) if node.is("Transpose") => return Some(true),
                Some([0, 3, 1, 2]) if node.is("Transpose") => return Some(false),
                _ if is(&CHANNELS_SECOND) => return Some(false),
                _ if node.is("LayerNormalization") || node.is("MatMul") && weighted => return Some(true),
                _ if is(&IN_PLACE) => open.extend(node.input.iter().rev().map(String::as_str)),
                _ => {}
            }
        }
        None
    }

    /// Appends what pools `input` to a graph. Returns the pooled value's name.
    pub(super) fn append(&self, graph: &mut GraphProto, input: &str, opset: i64, names: &mut Names) -> String {
        let one = vec![input.to_string()];
        match self {
            Pooling::None => input.into(),
            Pooling::Flatten => named(graph, names, "Flatten", "adapt.features", one, vec![int("axis", 1)]),
            Pooling::Mean(axes) => mean(graph, input, axes, false, opset, names),
            Pooling::Tokens(tokens) => {
                let places = names.fresh("adapt.features.tokens");
                graph.initializer.push(integers(&places, tokens));
                let inputs = vec![input.into(), places];
                let chosen = named(graph, names, "Gather", "adapt.features.chosen", inputs, vec![int("axis", 1)]);
                named(graph, names, "Flatten", "adapt.features", vec![chosen], vec![int("axis", 1)])
            }
            Pooling::Depths(last, taps) => {
                let mut parts = vec![last.append(graph, input, opset, names)];
                taps.iter().for_each(|tap| parts.extend(tap.append(graph, opset, names)));
                named(graph, names, "Concat", DEPTHS, parts, vec![int("axis", 1)])
            }
        }
    }
}

impl Tap {
    /// How many features it gives.
    pub fn features(&self) -> usize {
        if self.mean { 2 * self.channels } else { self.channels }
    }

    fn append(&self, graph: &mut GraphProto, opset: i64, names: &mut Names) -> Vec<String> {
        let step = |graph: &mut GraphProto, names: &mut Names, op_type: &str, input: &[&String]| {
            let input = input.iter().map(|&value| value.clone()).collect();
            named(graph, names, op_type, "adapt.features.deviation", input, Vec::new())
        };
        let average = mean(graph, &self.tensor, &self.axes, true, opset, names);
        let centred = step(graph, names, "Sub", &[&self.tensor, &average]);
        let square = step(graph, names, "Mul", &[&centred, &centred]);
        let variance = mean(graph, &square, &self.axes, true, opset, names);
        let deviation = step(graph, names, "Sqrt", &[&variance]);
        let parts = self.mean.then_some(average).into_iter().chain([deviation]);
        let flat = |part| named(graph, names, "Flatten", "adapt.features.depth", vec![part], vec![int("axis", 1)]);
        parts.map(flat).collect()
    }
}

/// The mean over `axes`, which stay as axes of length 1 where `kept`. Opset 18 made them an input.
fn mean(graph: &mut GraphProto, input: &str, axes: &[i64], kept: bool, opset: i64, names: &mut Names) -> String {
    let (mut inputs, mut attributes) = (vec![input.to_string()], vec![int("keepdims", kept.into())]);
    if opset < 18 {
        attributes.push(AttributeProto {
            name: Some("axes".into()),
            ints: axes.to_vec(),
            r#type: Some(attribute_type::INTS),
            ..Default::default()
        });
    } else {
        let name = names.fresh("adapt.features.axes");
        graph.initializer.push(integers(&name, axes));
        inputs.push(name);
    }
    named(graph, names, "ReduceMean", "adapt.features", inputs, attributes)
}

/// Appends a node that is called as its output. Returns that name.
pub(crate) fn named(
    graph: &mut GraphProto,
    names: &mut Names,
    op_type: &str,
    name: &str,
    input: Vec<String>,
    attribute: Vec<AttributeProto>,
) -> String {
    let output = names.fresh(name);
    graph.node.push(NodeProto {
        name: Some(output.clone()),
        op_type: Some(op_type.into()),
        input,
        output: vec![output.clone()],
        attribute,
        ..Default::default()
    });
    output
}

/// An integer attribute.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(attribute_type::INT), ..Default::default() }
}
