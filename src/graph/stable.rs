//! `Softplus`, `Mish` and `LogSoftmax` as what does not overflow, nor has slopes of 0 · ∞.

use tract_onnx::Onnx;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::math;

/// From here on `softplus(x)` is `x` in every float type that matters.
const STRAIGHT: f32 = 30.;

/// The reader of ONNX with these operators instead of its own.
pub(super) fn register(mut onnx: Onnx) -> Onnx {
    onnx.op_register.insert("Softplus", |_, _| Ok((expand(Smooth { gate: false }), vec![])));
    onnx.op_register.insert("Mish", |_, _| Ok((expand(Smooth { gate: true }), vec![])));
    onnx
}

/// `ln(1 + eˣ)`, or with `gate` `x · tanh(ln(1 + eˣ))`.
#[derive(Debug, Clone)]
struct Smooth {
    gate: bool,
}

impl Expansion for Smooth {
    fn name(&self) -> StaticName {
        if self.gate { "Mish".into() } else { "Softplus".into() }
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        s.equals(&outputs[0].shape, &inputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let x = inputs[0];
        let fact = model.outlet_fact(x)?;
        let (dtype, rank) = (fact.datum_type, fact.rank());
        let number = |model: &mut TypedModel, name: &str, value: f32| {
            let value = tensor0(value).cast_to_dt(dtype)?.into_owned().broadcast_into_rank(rank)?;
            model.add_const(format!("{prefix}.{name}"), value)
        };
        let (one, straight) = (number(model, "one", 1.)?, number(model, "straight", STRAIGHT)?);
        let mut wire = |name: &str, op: Box<dyn TypedOp>, inputs: &[OutletId]| -> TractResult<OutletId> {
            let last = name == if self.gate { "gate" } else { "sum" };
            let name = if last { prefix.to_owned() } else { format!("{prefix}.{name}") };
            Ok(model.wire_node(name, op, inputs)?[0])
        };
        // ln(1 + exp(min(x, 30))) + (max(x, 30) − 30)
        let low = wire("low", Box::new(math::min()), &[x, straight])?;
        let exp = wire("exp", Box::new(math::exp()), &[low])?;
        let above_one = wire("above_one", Box::new(math::add()), &[exp, one])?;
        let curve = wire("curve", Box::new(math::ln()), &[above_one])?;
        let high = wire("high", Box::new(math::max()), &[x, straight])?;
        let rest = wire("rest", Box::new(math::sub()), &[high, straight])?;
        let softplus = wire("sum", Box::new(math::add()), &[curve, rest])?;
        if !self.gate {
            return Ok(tvec!(softplus));
        }
        let tanh = wire("tanh", Box::new(math::tanh()), &[softplus])?;
        Ok(tvec!(wire("gate", Box::new(math::mul()), &[x, tanh])?))
    }
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
