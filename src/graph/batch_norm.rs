//! Batch normalisation whose weights are inputs, which tract's own refuses.

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::{cast::cast, math};

/// The reader of ONNX with this batch normalisation instead of its own.
pub(super) fn register(mut onnx: Onnx) -> Onnx {
    onnx.op_register.insert("BatchNormalization", parse);
    onnx
}

fn parse(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let epsilon = node.get_attr_opt("epsilon")?.unwrap_or(1e-5);
    let training = node.get_attr_opt("training_mode")?.unwrap_or(0i64) == 1;
    let follows = node.output.iter().skip(1).any(|name| !name.is_empty());
    if follows && !(training && node.output.len() == 3) {
        bail!("BatchNormalization that also gives its statistics")
    }
    if node.get_attr_opt("spatial")?.unwrap_or(1i64) == 0 {
        bail!("BatchNormalization with spatial=0")
    }
    let momentum = node.get_attr_opt("momentum")?.unwrap_or(0.9);
    Ok((expand(BatchNorm { epsilon, momentum, training, follows }), vec![]))
}

/// `x·(γ·r) + (β − μ·γ·r)` with `r = 1/√(σ² + ε)`; in training mode μ and σ² are those of `x` itself, and the stored ones
/// move towards them where that is asked for.
#[derive(Debug, Clone)]
struct BatchNorm {
    epsilon: f32,
    momentum: f32,
    training: bool,
    follows: bool,
}

impl Expansion for BatchNorm {
    fn name(&self) -> StaticName {
        "BatchNormalization".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(if self.follows { 3 } else { 1 })
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 5)?;
        check_output_arity(outputs, self.nboutputs()?)?;
        s.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        s.equals(&inputs[0].shape, &outputs[0].shape)?;
        (1..outputs.len()).try_for_each(|i| {
            s.equals(&outputs[i].datum_type, &inputs[0].datum_type)?;
            s.equals(&outputs[i].shape, &inputs[i + 2].shape)
        })?;
        (1..5).try_for_each(|i| {
            s.equals(&inputs[i].datum_type, &inputs[0].datum_type)?;
            s.equals(&inputs[i].rank, 1)?;
            s.given(&inputs[0].rank, move |s, rank| {
                if rank < 2 {
                    bail!("BatchNormalization of a tensor without channels")
                }
                s.equals(&inputs[i].shape[0], &inputs[0].shape[1])
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let x = inputs[0];
        let rank = model.outlet_fact(x)?.rank();
        let mut wires = Wires { prefix, model, rank };
        let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| inputs[i]);
        let stored = [wires.along_channels("mean", mean)?, wires.along_channels("variance", variance)?];
        let own = if self.training { Some(wires.statistics(x)?) } else { None };
        let [mean, variance] = own.map_or(stored, |(_, own)| own);
        let (gamma, beta) = (wires.along_channels("scale", gamma)?, wires.along_channels("bias", beta)?);
        let epsilon = wires.number("epsilon", tensor0(self.epsilon), x)?;
        let shifted = wires.wire("variance_epsilon", math::add(), &[variance, epsilon])?;
        let r = wires.wire("r", math::rsqrt(), &[shifted])?;
        let slope = wires.wire("slope", math::mul(), &[gamma, r])?;
        if let Some((centred, own)) = own {
            let scaled = wires.wire("scaled", math::mul(), &[centred, slope])?;
            let mut outputs = wires.model.wire_node(prefix, math::add(), &[scaled, beta])?;
            for (name, (old, new)) in ["next_mean", "next_variance"].into_iter().zip(stored.into_iter().zip(own)) {
                if self.follows {
                    outputs.push(wires.moved(name, self.momentum, old, new)?);
                }
            }
            return Ok(outputs);
        }
        let moved = wires.wire("moved", math::mul(), &[mean, slope])?;
        let offset = wires.wire("offset", math::sub(), &[beta, moved])?;
        let scaled = wires.wire("scaled", math::mul(), &[x, slope])?;
        model.wire_node(prefix, math::add(), &[scaled, offset])
    }
}

/// Nodes whose names begin alike.
struct Wires<'a> {
    prefix: &'a str,
    model: &'a mut TypedModel,
    rank: usize,
}

impl Wires<'_> {
    fn wire(&mut self, name: &str, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        Ok(self.model.wire_node(format!("{}.{name}", self.prefix), op, inputs)?[0])
    }

    /// `[C]` as `[1, C, 1, …]`.
    fn along_channels(&mut self, name: &str, value: OutletId) -> TractResult<OutletId> {
        let mut value = self.wire(&format!("{name}.axis-0"), AxisOp::Add(0), &[value])?;
        for axis in 2..self.rank {
            value = self.wire(&format!("{name}.axis-{axis}"), AxisOp::Add(axis), &[value])?;
        }
        Ok(value)
    }

    /// One number in the type of `like`, with as many axes.
    fn number(&mut self, name: &str, value: Tensor, like: OutletId) -> TractResult<OutletId> {
        let dtype = self.model.outlet_fact(like)?.datum_type;
        let value = self.model.add_const(format!("{}.{name}", self.prefix), value)?;
        let mut value = self.wire(&format!("{name}.cast"), cast(dtype), &[value])?;
        for axis in 0..self.rank {
            value = self.wire(&format!("{name}.axis-{axis}"), AxisOp::Add(axis), &[value])?;
        }
        Ok(value)
    }

    /// `old·momentum + new·(1 − momentum)`, `[C]`.
    fn moved(&mut self, name: &str, momentum: f32, old: OutletId, new: OutletId) -> TractResult<OutletId> {
        let share = self.number(&format!("{name}.momentum"), tensor0(momentum), old)?;
        let rest = self.number(&format!("{name}.rest"), tensor0(1. - momentum), old)?;
        let old = self.wire(&format!("{name}.old"), math::mul(), &[old, share])?;
        let new = self.wire(&format!("{name}.new"), math::mul(), &[new, rest])?;
        let mut sum = self.wire(&format!("{name}.sum"), math::add(), &[old, new])?;
        for axis in (0..self.rank).rev().filter(|&axis| axis != 1) {
            sum = self.wire(&format!("{name}.without-{axis}"), AxisOp::Rm(axis), &[sum])?;
        }
        Ok(sum)
    }

    /// What `x` is apart from its mean, and mean and variance, of each channel over all other axes.
    fn statistics(&mut self, x: OutletId) -> TractResult<(OutletId, [OutletId; 2])> {
        use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};
        let axes: TVec<usize> = (0..self.rank).filter(|&axis| axis != 1).collect();
        let shape = self.model.outlet_fact(x)?.shape.to_tvec();
        let count: TDim = axes.iter().map(|&axis| shape[axis].clone()).product();
        let count = self.number("count", tensor0(count), x)?;
        let sum = self.wire("sum", Reduce::new(axes.clone(), Reducer::Sum), &[x])?;
        let mean = self.wire("mean", math::div(), &[sum, count])?;
        let centred = self.wire("centred", math::sub(), &[x, mean])?;
        let squares = self.wire("squares", math::square(), &[centred])?;
        let sum = self.wire("squares_sum", Reduce::new(axes, Reducer::Sum), &[squares])?;
        Ok((centred, [mean, self.wire("variance", math::div(), &[sum, count])?]))
    }
}
