//! Axes and shapes: the same values in another arrangement, or repeated.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first, unbroadcast, whole};
use candle_core::{Result, Tensor};
use tract_onnx::prelude::{DatumType, TDim};
use tract_onnx::tract_core::ops::array::{MultiBroadcastTo, Tile, TypedConcat};
use tract_onnx::tract_core::ops::cast::Cast as TractCast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;

pub(super) const FAMILY: Family = Family {
    operators: &["AddAxis", "RmAxis", "MoveAxis", "Reshape", "Identity", "Cast", "MultiBroadcastTo", "Tile", "Concat"],
    lower,
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

fn moved(x: &Tensor, from: usize, to: usize) -> Result<Tensor> {
    let mut axes: Vec<usize> = (0..x.rank()).collect();
    let axis = axes.remove(from);
    axes.insert(to, axis);
    x.permute(axes)?.contiguous()
}

impl Op for Move {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        moved(inputs[0], self.from, self.to)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, _: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(moved(grad, self.to, self.from)?)])
    }
}

/// Axes of length 1 repeated to this shape.
struct Broadcast(Vec<TDim>);

impl Op for Broadcast {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].broadcast_as(run.sizes(&self.0)?)?.contiguous()
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
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        Tensor::cat(inputs, self.0)
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps::nothing(wanted.len())
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut start = 0;
        let part = |(shape, &wanted): (&&[usize], &bool)| {
            let length = shape[self.0];
            start += length;
            wanted.then(|| grad.narrow(self.0, start - length, length)?.contiguous()).transpose()
        };
        kept.shapes.iter().zip(&kept.wanted).map(part).collect()
    }
}
