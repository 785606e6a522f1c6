//! Axes and shapes: the same values in another arrangement, or repeated.

use super::slices::{Real, by_type, cut, on_slices, paste};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first, unbroadcast, whole};
use crate::kernels::arrange;
use crate::tensor::{Result, Tensor};
use tract_onnx::prelude::{DatumType, TDim};
use tract_onnx::tract_core::ops::array::{MultiBroadcastTo, Tile, TypedConcat};
use tract_onnx::tract_core::ops::cast::Cast as TractCast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;

pub(super) const FAMILY: Family = Family {
    operators: &["AddAxis", "RmAxis", "MoveAxis", "Reshape", "Identity", "Cast", "MultiBroadcastTo", "Tile", "Concat"],
    lower,
    parsers: &[],
};

fn lower(node: &Node) -> Option<Lowered> {
    if let Some(&AxisOp::Move(from, to)) = node.op::<AxisOp>() {
        return Some(first(Move { from, to }));
    }
    if let Some(cast) = node.op::<TractCast>() {
        return Some(lower_cast(node, cast.to));
    }
    if let Some(tile) = node.op::<Tile>() {
        return Some(first(Repeat(tile.multipliers.to_vec())));
    }
    if let Some(concat) = node.op::<TypedConcat>() {
        return Some(whole(node, Concat(concat.axis)));
    }
    if node.op::<MultiBroadcastTo>().is_some() {
        return Some(first(Broadcast(node.output_dims())));
    }
    match &*node.node.op.name() {
        "Identity" => Some(first(Same)),
        // Every kind of reshaping that tract knows says its output's shape.
        "AddAxis" | "RmAxis" | "Reshape" => Some(first(Reshape(node.output_dims()))),
        _ => None,
    }
}

/// A conversion changes values only where it makes integers or truth values of numbers.
fn lower_cast(node: &Node, to: DatumType) -> Lowered {
    let from = node.fact(0)?.datum_type;
    match to {
        _ if to.is_float() || from == to => first(Same),
        DatumType::Bool => first(Rounded(|x| x.ne(0.)?.to_dtype(x.dtype()))),
        _ if !from.is_float() => first(Same),
        DatumType::I64 | DatumType::I32 | DatumType::TDim => first(Rounded(|x| x.abs()?.floor()? * x.sign()?)),
        _ => Err(format!("numbers computed from the image are not made {to:?}")),
    }
}

/// The input.
struct Same;

impl Op for Same {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        Ok(inputs[0].clone())
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps::nothing(wanted.len())
    }

    fn backward(&self, _: &Run, _: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(grad.clone())])
    }
}

/// A function of steps: it has no slope.
struct Rounded(fn(&Tensor) -> Result<Tensor>);

impl Op for Rounded {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        (self.0)(inputs[0])
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps::nothing(wanted.len())
    }

    fn backward(&self, _: &Run, _: &Kept, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

/// The same values in row-major order, in this shape.
struct Reshape(Vec<TDim>);

impl Op for Reshape {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].reshape(run.sizes(&self.0)?)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(grad.reshape(kept.shapes[0])?)])
    }
}

/// One axis at another place.
struct Move {
    from: usize,
    to: usize,
}

pub(super) fn moved(run: &Run, x: &Tensor, from: usize, to: usize) -> Result<Tensor> {
    let mut axes: Vec<usize> = (0..x.rank()).collect();
    let axis = axes.remove(from);
    axes.insert(to, axis);
    permuted(run, x, &axes)
}

/// The axes in this order. Where that exchanges two neighbouring blocks of axes, blocks of values are copied.
pub(super) fn permuted(run: &Run, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    fn exchanged<T: Real>(run: &Run, x: &Tensor, sizes: [usize; 4], shape: &[usize]) -> Result<Tensor> {
        on_slices::<T, 1>(run, [x], shape, |[x], y| arrange::exchange(sizes, x, y))
    }
    // Axes of length 1 have no place of their own.
    let order: Vec<usize> = axes.iter().copied().filter(|&axis| x.dims()[axis] != 1).collect();
    let sorted = {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted
    };
    let same = |pair: &(&usize, &usize)| pair.0 == pair.1;
    let before = order.iter().zip(&sorted).take_while(same).count();
    let behind = order[before..].iter().rev().zip(sorted.iter().rev()).take_while(same).count();
    let (turned, straight) = (&order[before..order.len() - behind], &sorted[before..order.len() - behind]);
    let shape: Vec<usize> = axes.iter().map(|&axis| x.dims()[axis]).collect();
    let first = straight.iter().position(|axis| Some(axis) == turned.first()).unwrap_or(0);
    if turned.is_empty() {
        return x.contiguous()?.reshape(shape);
    }
    if !x.device().is_cpu() || [&straight[first..], &straight[..first]].concat() != turned {
        return x.permute(axes)?.contiguous();
    }
    let size = |axes: &[usize]| axes.iter().map(|&axis| x.dims()[axis]).product::<usize>();
    let sizes = [&sorted[..before], &straight[..first], &straight[first..], &sorted[order.len() - behind..]].map(size);
    by_type!(x.dtype(), exchanged(run, x, sizes, &shape))
}

impl Op for Move {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        moved(run, inputs[0], self.from, self.to)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, run: &Run, _: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(moved(run, grad, self.to, self.from)?)])
    }
}

/// Axes of length 1 repeated to this shape.
struct Broadcast(Vec<TDim>);

impl Op for Broadcast {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        super::spread(run, inputs[0], &run.sizes(&self.0)?)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(unbroadcast(grad, kept.shapes[0])?)])
    }
}

/// The whole repeated so many times along each axis.
struct Repeat(Vec<TDim>);

impl Op for Repeat {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].repeat(run.sizes(&self.0)?)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut grad = grad.clone();
        for (axis, &length) in kept.shapes[0].iter().enumerate() {
            let times = grad.dims()[axis] / length.max(1);
            if times != 1 {
                let mut sum = grad.narrow(axis, 0, length)?;
                for time in 1..times {
                    sum = (sum + grad.narrow(axis, time * length, length)?)?;
                }
                grad = sum;
            }
        }
        Ok(vec![Some(grad)])
    }
}

/// Inputs one behind the other along this axis.
struct Concat(usize);

impl Op for Concat {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let mut shape = inputs[0].dims().to_vec();
        shape[self.0] = 0;
        let alike = |x: &&Tensor| {
            x.rank() == shape.len()
                && x.dims().iter().zip(&shape).enumerate().all(|(axis, (a, b))| axis == self.0 || a == b)
        };
        if !inputs[0].device().is_cpu() || !inputs.iter().all(alike) {
            return Tensor::cat(inputs, self.0);
        }
        let mut parts = Vec::with_capacity(inputs.len());
        for &input in inputs {
            parts.push((input, shape[self.0]));
            shape[self.0] += input.dims()[self.0];
        }
        paste(run, &parts, self.0, &shape)
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps::nothing(wanted.len())
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut start = 0;
        let part = |(shape, &wanted): (&&[usize], &bool)| {
            let length = shape[self.0];
            start += length;
            wanted.then(|| cut(run, grad, self.0, start - length, length)).transpose()
        };
        kept.shapes.iter().zip(&kept.wanted).map(part).collect()
    }
}
