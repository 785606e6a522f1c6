//! What a model's output means.

use crate::metrics::softmax;
use crate::onnx::cut::Cut;
use crate::onnx::schema::{GraphProto, NodeProto};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// What becomes of the logits before they leave the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Logits as they are.
    None,
    /// Probabilities that sum to 1.
    Softmax,
    /// Their logarithms.
    LogSoftmax,
    /// One probability a class.
    Sigmoid,
}

impl Activation {
    /// What the nodes that are kept behind the head do.
    pub fn of(graph: &GraphProto, cut: &Cut) -> Activation {
        cut.tail.iter().filter_map(|&place| Activation::by(&graph.node[place])).next_back().unwrap_or(Activation::None)
    }

    /// What a node does, where it is an activation.
    pub(super) fn by(node: &NodeProto) -> Option<Activation> {
        match node.computes() {
            "Softmax" => Some(Activation::Softmax),
            "LogSoftmax" => Some(Activation::LogSoftmax),
            "Sigmoid" => Some(Activation::Sigmoid),
            _ => None,
        }
    }

    /// What [`crate::onnx::head::exclude`] makes of it.
    pub fn exclusive(self) -> Activation {
        if self == Activation::Sigmoid { Activation::Softmax } else { self }
    }

    /// The output for these logits, `[images, classes]` both.
    pub fn apply(self, logits: ArrayView2<f32>) -> Array2<f32> {
        match self {
            Activation::None => logits.to_owned(),
            Activation::Softmax => softmax(logits),
            Activation::LogSoftmax => log_softmax(logits),
            Activation::Sigmoid => logits.mapv(|x| 1.0 / (1.0 + (-x).exp())),
        }
    }

    /// A probability for each class from the model's output, `[images, classes]` both. Those of a sigmoid need not sum
    /// to 1.
    pub fn probabilities(self, output: ArrayView2<f32>) -> Array2<f32> {
        match self {
            Activation::None => softmax(output),
            Activation::Softmax | Activation::Sigmoid => output.to_owned(),
            Activation::LogSoftmax => output.mapv(f32::exp),
        }
    }
}

/// Not the logarithm of [`softmax`], which is minus infinity where that rounds to 0.
fn log_softmax(logits: ArrayView2<f32>) -> Array2<f32> {
    let mut out = logits.to_owned();
    for mut row in out.rows_mut() {
        let largest = row.fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        let sum: f64 = row.iter().map(|&v| f64::from(v - largest).exp()).sum();
        row.mapv_inplace(|v| (f64::from(v - largest) - sum.ln()) as f32);
    }
    out
}
