//! One row of features an image.

use super::graph::{Index, Names};
use super::schema::{AttributeProto, GraphProto, NodeProto, attribute_type};
use super::tensor::integers;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// They have the channels in the second axis.
const CHANNELS_SECOND: [&str; 14] = [
    "Conv",
    "ConvTranspose",
    "ConvInteger",
    "QLinearConv",
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

/// How a cut tensor becomes one row of features an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// It is `[N, features]` already.
    None,
    /// All axes but the first have length 1, or one of them has: they are flattened.
    Flatten,
    /// The mean over these axes.
    Mean(Vec<i64>),
}

impl Pooling {
    /// How to pool a tensor of this shape. `features` is what the old head took, if there was one: it tells which axis
    /// holds the features. Without it the second axis is taken for maps, the last for sequences of tokens.
    pub fn of(shape: &[usize], features: Option<usize>, channels_last: bool) -> Option<Pooling> {
        let rank = shape.len();
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
            _ if (1..rank).all(|a| a == axis || shape[a] == 1) => Some(Pooling::Flatten),
            _ => Some(Pooling::Mean((1..rank).filter(|&a| a != axis).map(|a| a as i64).collect())),
        }
    }

    /// Whether the channels of a map are its last axis, told by the nodes that it comes from: a layout that the model's
    /// input has need not be the one inside. `None` where they do not tell.
    pub fn channels_last(graph: &GraphProto, tensor: &str) -> Option<bool> {
        let index = Index::new(graph);
        let (mut open, mut seen) = (vec![tensor], HashSet::new());
        while let Some(value) = open.pop() {
            let Some(node) = index.producer(value).filter(|_| seen.insert(value)) else { continue };
            let is = |names: &[&str]| names.iter().any(|name| node.is(name));
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
        let mut node = NodeProto { input: vec![input.into()], ..Default::default() };
        match self {
            Pooling::None => return input.into(),
            Pooling::Flatten => {
                node.op_type = Some("Flatten".into());
                node.attribute.push(int("axis", 1));
            }
            Pooling::Mean(axes) => {
                node.op_type = Some("ReduceMean".into());
                node.attribute.push(int("keepdims", 0));
                if opset < 18 {
                    node.attribute.push(AttributeProto {
                        name: Some("axes".into()),
                        ints: axes.clone(),
                        r#type: Some(attribute_type::INTS),
                        ..Default::default()
                    });
                } else {
                    let name = names.fresh("adapt.features.axes");
                    graph.initializer.push(integers(&name, axes));
                    node.input.push(name);
                }
            }
        }
        let output = names.fresh("adapt.features");
        node.name = Some(output.clone());
        node.output = vec![output.clone()];
        graph.node.push(node);
        output
    }
}

/// An integer attribute.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(attribute_type::INT), ..Default::default() }
}
