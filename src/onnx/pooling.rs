//! One row of features an image.

use super::graph::Names;
use super::schema::{AttributeProto, GraphProto, NodeProto, attribute_type};
use super::tensor::integers;
use serde::{Deserialize, Serialize};

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
