//! Padding with a value, with what is reflected at the edge, or with the edge itself.

use super::onnx::{Parsed, Shape, Wires, given, made};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first, give_back, take};
use crate::tensor::{Result, Tensor};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike, ToDim, bail, ensure};
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice, TypedConcat};

pub(super) const FAMILY: Family = Family { operators: &["Pad"], lower, parsers: &[("Pad", parse)] };

fn lower(node: &Node) -> Option<Lowered> {
    node.op::<Pad>().map(lower_pad)
}

/// `Pad` of every operator set. Negative padding, which cuts off, becomes slices; what wraps around, parts of the whole.
fn parse(ctx: &ParsingContext, node: &NodeProto) -> Parsed {
    let mode = node.get_attr_opt::<String>("mode")?.unwrap_or_else(|| "constant".into());
    let value = node.get_attr_opt::<f32>("value")?.unwrap_or(0.);
    let fixed = node.get_attr_opt_vec::<i64>("pads")?.filter(|_| ctx.onnx_operator_set_version < 11);
    let [_, pads, filler, axes] = if fixed.is_some() { [None; 4] } else { given(node) };
    made(node, Shape::Rank, move |wires, inputs| {
        let all = match (&fixed, pads) {
            (Some(fixed), _) => fixed.clone(),
            (_, Some(pads)) => wires.known::<i64>(inputs[pads], "sizes of padding")?,
            _ => bail!("it does not say how much is padded"),
        };
        let rank = wires.shape(inputs[0])?.len();
        let axes = match axes {
            Some(axes) => wires.known::<i64>(inputs[axes], "axes")?,
            None => (0..rank as i64).collect(),
        };
        ensure!(all.len() == 2 * axes.len(), "{} sizes of padding for {} axes", all.len(), axes.len());
        let mode = match &*mode {
            "constant" => Some(PadMode::Constant(match filler {
                Some(filler) => wires.value(inputs[filler], "filling value")?,
                None => tensor0(value).cast_to_dt(wires.dtype(inputs[0])?)?.into_owned().into_arc_tensor(),
            })),
            "reflect" => Some(PadMode::Reflect),
            "edge" => Some(PadMode::Edge),
            "wrap" => None,
            other => bail!("mode '{other}' is not known"),
        };
        let mut pads = vec![(0, 0); rank];
        for (i, &axis) in axes.iter().enumerate() {
            let axis = if axis < 0 { axis + rank as i64 } else { axis };
            let pad = usize::try_from(axis).ok().and_then(|axis| pads.get_mut(axis));
            let (before, behind) = (all[i], all[i + axes.len()]);
            ensure!(before.abs().max(behind.abs()) < 1 << 28, "padding by {before} and {behind} is too much");
            *pad.ok_or_else(|| TractError::msg(format!("it pads axis {axis} of {rank}")))? = (before, behind);
        }
        padded(wires, inputs[0], &pads, mode)
    })
}

fn padded(wires: &mut Wires, x: OutletId, pads: &[(i64, i64)], mode: Option<PadMode>) -> TractResult<OutletId> {
    let mut x = x;
    for (axis, &(before, behind)) in pads.iter().enumerate().filter(|(_, (a, b))| *a < 0 || *b < 0) {
        let length = wires.shape(x)?[axis].clone();
        let (start, cut) = ((-before).max(0), (-behind).max(0));
        ensure!(length.to_i64().is_ok_and(|length| start + cut <= length), "it cuts off more than axis {axis} has");
        x = wires.wire(Slice::new(axis, start.to_dim(), length - cut), &[x])?;
    }
    let pads: Vec<(usize, usize)> = pads.iter().map(|(a, b)| ((*a).max(0) as usize, (*b).max(0) as usize)).collect();
    let Some(mode) = mode else { return wrapped(wires, x, &pads) };
    wires.wire(Pad::new(pads, mode), &[x])
}

fn wrapped(wires: &mut Wires, x: OutletId, pads: &[(usize, usize)]) -> TractResult<OutletId> {
    let mut x = x;
    for (axis, &(before, behind)) in pads.iter().enumerate().filter(|(_, pad)| **pad != (0, 0)) {
        let length = wires.shape(x)?[axis].to_usize()?;
        ensure!(before.max(behind) <= length, "it wraps around axis {axis} more than once");
        let head = wires.wire(Slice::new(axis, length - before, length), &[x])?;
        let tail = wires.wire(Slice::new(axis, 0, behind), &[x])?;
        x = wires.wire(TypedConcat::new(axis), &[head, x, tail])?;
    }
    Ok(x)
}

enum Filled {
    With(f64),
    Reflected,
    Extended,
}

/// So many values before and behind each axis.
struct Padded {
    pads: Vec<(usize, usize)>,
    filled: Filled,
}

fn lower_pad(op: &Pad) -> Lowered {
    let filled = match &op.mode {
        PadMode::Constant(value) => {
            let value = value.cast_to_dt(DatumType::F64).map_err(|e| e.to_string())?;
            let plain = value.try_as_plain_ram().map_err(|e| e.to_string())?;
            let values = plain.as_slice::<f64>().map_err(|e| e.to_string())?;
            Filled::With(*values.first().ok_or("its value is missing")?)
        }
        PadMode::Reflect => Filled::Reflected,
        PadMode::Edge => Filled::Extended,
    };
    first(Padded { pads: op.pads.clone(), filled })
}

impl Padded {
    /// Which places an axis has after padding.
    fn places(&self, (before, behind): (usize, usize), length: usize) -> Result<Vec<u32>> {
        let fits = matches!(self.filled, Filled::Extended) || (before < length && behind < length);
        if !fits || length == 0 {
            candle_core::bail!("an axis of length {length} cannot be padded by {before} and {behind} of its values");
        }
        let reflected = |at: isize| {
            let last = length as isize - 1;
            if at < 0 {
                -at
            } else if at > last {
                2 * last - at
            } else {
                at
            }
        };
        let place = |at: isize| match self.filled {
            Filled::Reflected => reflected(at) as u32,
            _ => at.clamp(0, length as isize - 1) as u32,
        };
        Ok((-(before as isize)..(length + behind) as isize).map(place).collect())
    }
}

impl Op for Padded {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let mut x = inputs[0].clone();
        for (axis, &pad) in self.pads.iter().enumerate().filter(|(_, pad)| **pad != (0, 0)) {
            let Filled::With(value) = self.filled else {
                x = take(&x, axis, &self.places(pad, x.dims()[axis])?)?;
                continue;
            };
            let fill = |length: usize| {
                let mut shape = x.dims().to_vec();
                shape[axis] = length;
                Tensor::full(value, shape, x.device())?.to_dtype(x.dtype())
            };
            x = Tensor::cat(&[&fill(pad.0)?, &x, &fill(pad.1)?], axis)?;
        }
        Ok(x)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn zeros(&self) -> Option<&[(usize, usize)]> {
        matches!(self.filled, Filled::With(0.)).then_some(&self.pads)
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut grad = grad.clone();
        for (axis, &pad) in self.pads.iter().enumerate().rev().filter(|(_, pad)| **pad != (0, 0)) {
            let length = kept.shapes[0][axis];
            grad = match self.filled {
                Filled::With(_) => grad.narrow(axis, pad.0, length)?,
                _ => give_back(&grad, axis, &self.places(pad, length)?, length)?,
            };
        }
        Ok(vec![Some(grad.contiguous()?)])
    }
}
