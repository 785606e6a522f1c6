//! `Softplus`, `Mish` and `LogSoftmax` as what does not overflow, nor has slopes of 0 · ∞.

use super::ops::onnx::{Shape, Wires, made};
use tract_onnx::Onnx;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};

/// From here on `softplus(x)` is `x` in every float type that matters.
const STRAIGHT: f32 = 30.;

/// The reader of ONNX with these operators instead of its own.
pub(super) fn register(mut onnx: Onnx) -> Onnx {
    onnx.op_register.insert("Softplus", |_, node| made(node, Shape::Same, |wires, inputs| softplus(wires, inputs[0])));
    onnx.op_register.insert("Mish", |_, node| made(node, Shape::Same, |wires, inputs| mish(wires, inputs[0])));
    onnx
}

/// `ln(1 + eˣ)`, as `ln(1 + exp(min(x, 30))) + (max(x, 30) − 30)`
fn softplus(wires: &mut Wires, x: OutletId) -> TractResult<OutletId> {
    let (one, straight) = (wires.number(1., x)?, wires.number(STRAIGHT, x)?);
    let low = wires.wire(math::min(), &[x, straight])?;
    let exp = wires.wire(math::exp(), &[low])?;
    let above_one = wires.wire(math::add(), &[exp, one])?;
    let curve = wires.wire(math::ln(), &[above_one])?;
    let high = wires.wire(math::max(), &[x, straight])?;
    let rest = wires.wire(math::sub(), &[high, straight])?;
    wires.wire(math::add(), &[curve, rest])
}

/// `x · tanh(softplus(x))`
fn mish(wires: &mut Wires, x: OutletId) -> TractResult<OutletId> {
    let softplus = softplus(wires, x)?;
    let tanh = wires.wire(math::tanh(), &[softplus])?;
    wires.wire(math::mul(), &[x, tanh])
}

/// Makes each logarithm of a softmax the one operator that it stands for.
pub(super) fn join_log_softmax(model: &mut TypedModel) {
    for id in 0..model.nodes.len() {
        let [input] = model.nodes[id].inputs[..] else { continue };
        let maker = &model.nodes[input.node];
        if model.nodes[id].op.name() == "Ln"
            && let Some(softmax) = maker.op_as::<Softmax>()
            && softmax.kind == SoftmaxKind::Softmax
        {
            let (op, inputs) = (Softmax { kind: SoftmaxKind::LogSoftmax, ..softmax.clone() }, maker.inputs.clone());
            model.nodes[id].op = Box::new(op);
            model.nodes[id].inputs = inputs;
        }
    }
}
