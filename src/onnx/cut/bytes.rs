//! Tensors of bytes that stand for floats, between operators that take their scales and zero points as inputs (the
//! QOperator format).

use super::super::graph::Index;
use super::super::schema::NodeProto;
use super::Dequantize;
use super::walk::{SHAPE_ONLY, is_any};

/// They hand bytes on, and what the bytes stand for.
const HANDED_ON: [&str; 5] = ["Identity", "Dropout", "MaxPool", "Slice", "Gather"];

/// What a tensor's bytes stand for, as the operator that makes them says; `None` for other tensors.
pub(super) fn made<'a>(index: &Index<'a>, mut tensor: &'a str) -> Option<Dequantize> {
    loop {
        let node = index.producer(tensor)?;
        if let Some(place) = output_scale(node) {
            return at(node, place);
        }
        if !is_any(node, &SHAPE_ONLY) && !is_any(node, &HANDED_ON) {
            return None;
        }
        tensor = node.input.first()?;
    }
}

/// What the bytes of a node's first input stand for; `None` where it takes none.
pub(super) fn taken(node: &NodeProto) -> Option<Dequantize> {
    at(node, 1).filter(|_| node.is_on_bytes())
}

fn at(node: &NodeProto, place: usize) -> Option<Dequantize> {
    let scale = node.input.get(place).filter(|name| !name.is_empty())?.clone();
    let zero_point = node.input.get(place + 1).filter(|name| !name.is_empty()).cloned();
    Some(Dequantize { scale, zero_point })
}

/// The place among a node's inputs of its output's scale.
fn output_scale(node: &NodeProto) -> Option<usize> {
    if node.is("QuantizeLinear") {
        return Some(1);
    }
    let place = match node.computes() {
        "Conv" | "MatMul" | "Add" | "Mul" => 6,
        "Gemm" => 7,
        "GlobalAveragePool" | "AveragePool" | "ReduceMean" | "Sigmoid" | "LeakyRelu" | "Softmax" => 3,
        "Concat" => 0,
        _ => return None,
    };
    Some(place).filter(|_| node.is_on_bytes())
}
