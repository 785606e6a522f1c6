//! Sums, extremes and products over axes, which stay with length 1; running sums.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first, spread, sum_over, take};
use crate::tensor::{Result, Tensor};
use tract_onnx::tract_core::ops::array::CumSum;
use tract_onnx::tract_core::ops::nn::{Reduce as TractReduce, Reducer};

pub(super) const FAMILY: Family = Family {
    operators: &[
        "Reduce<Sum>",
        "Reduce<Max>",
        "Reduce<Min>",
        "Reduce<Prod>",
        "Reduce<MeanOfSquares>",
        "Reduce<ArgMax(false)>",
        "Reduce<ArgMin(false)>",
        "Reduce<ArgMax(true)>",
        "Reduce<ArgMin(true)>",
        "CumSum",
    ],
    lower,
    parsers: &[],
};

fn lower(node: &Node) -> Option<Lowered> {
    if let Some(op) = node.op::<CumSum>() {
        return Some(first(Running { axis: op.axis, exclusive: op.exclusive, reverse: op.reverse }));
    }
    let op = node.op::<TractReduce>()?;
    let by = match op.reducer {
        Reducer::Sum => By::Sum,
        Reducer::Max => By::Max,
        Reducer::Min => By::Min,
        Reducer::Prod => By::Product,
        Reducer::MeanOfSquares => By::MeanOfSquares,
        Reducer::ArgMax(last) | Reducer::ArgMin(last) if op.axes.len() == 1 => {
            let largest = matches!(op.reducer, Reducer::ArgMax(_));
            return Some(first(Place { axis: op.axes[0], largest, last }));
        }
        _ => return None,
    };
    Some(first(Reduce { axes: op.axes.to_vec(), by }))
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Sum,
    Max,
    Min,
    Product,
    MeanOfSquares,
}

struct Reduce {
    axes: Vec<usize>,
    by: By,
}

impl Reduce {
    /// How many values one output is made of.
    fn count(&self, shape: &[usize]) -> f64 {
        self.axes.iter().map(|&axis| shape[axis]).product::<usize>() as f64
    }

    /// The axes that are reduced put last and made one.
    fn flat(&self, x: &Tensor) -> Result<(Tensor, Vec<usize>)> {
        let kept = (0..x.rank()).filter(|axis| !self.axes.contains(axis));
        let order: Vec<usize> = kept.chain(self.axes.iter().copied()).collect();
        let count = self.count(x.dims()) as usize;
        let rows = x.elem_count() / count.max(1);
        Ok((x.permute(order.clone())?.contiguous()?.reshape((rows, count))?, order))
    }

    /// The products of all values but one.
    fn others(flat: &Tensor) -> Result<Tensor> {
        let count = flat.dim(1)?;
        let ones = flat.narrow(1, 0, 1)?.ones_like()?;
        let mut before = vec![ones.clone()];
        let mut behind = vec![ones];
        for i in 1..count {
            before.push((&before[i - 1] * flat.narrow(1, i - 1, 1)?)?);
            behind.push((&behind[i - 1] * flat.narrow(1, count - i, 1)?)?);
        }
        behind.reverse();
        Tensor::cat(&before, 1)? * Tensor::cat(&behind, 1)?
    }
}

impl Op for Reduce {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        match self.by {
            By::Sum => sum_over(x, &self.axes),
            By::MeanOfSquares => sum_over(&x.sqr()?, &self.axes)?.affine(1. / self.count(x.dims()), 0.),
            By::Max | By::Min => {
                let mut y = x.contiguous()?;
                for &axis in &self.axes {
                    y = if self.by == By::Max { y.max_keepdim(axis)? } else { y.min_keepdim(axis)? };
                }
                Ok(y)
            }
            By::Product => {
                let (flat, _) = self.flat(x)?;
                let mut product = flat.narrow(1, 0, 1)?.contiguous()?;
                for i in 1..flat.dim(1)? {
                    product = (product * flat.narrow(1, i, 1)?)?;
                }
                let mut shape = x.dims().to_vec();
                self.axes.iter().for_each(|&axis| shape[axis] = 1);
                product.reshape(shape)
            }
        }
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        match self.by {
            By::Sum => Keeps::nothing(1),
            By::MeanOfSquares | By::Product => Keeps::inputs(&[true]),
            By::Max | By::Min => Keeps { inputs: vec![true], output: true },
        }
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let shape = kept.shapes[0];
        if self.by == By::Sum {
            return Ok(vec![Some(spread(run, grad, shape)?)]);
        }
        let spread = grad.broadcast_as(shape)?;
        let dx = match self.by {
            By::Sum | By::MeanOfSquares => (kept.input(0)?.affine(2. / self.count(shape), 0.)? * spread)?,
            By::Max | By::Min => {
                // Equal extremes share, as in PyTorch's `amax`.
                let mask = kept.input(0)?.broadcast_eq(kept.output()?)?.to_dtype(grad.dtype())?;
                mask.broadcast_mul(&(grad / sum_over(&mask, &self.axes)?)?)?
            }
            By::Product => {
                let (flat, order) = self.flat(kept.input(0)?)?;
                let mut back = vec![0; order.len()];
                order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
                let permuted: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
                (Self::others(&flat)?.reshape(permuted)?.permute(back)? * spread)?
            }
        };
        Ok(vec![Some(dx)])
    }
}

/// Places of a running sum, which costs their square.
const LONGEST: usize = 1 << 12;

/// Sums of all values up to each place, itself included or not, from the front or from behind.
struct Running {
    axis: usize,
    exclusive: bool,
    reverse: bool,
}

impl Running {
    /// Summing is a product with a triangle of ones; turned over, with `back`, it is the gradient.
    fn sum(&self, x: &Tensor, back: bool) -> Result<Tensor> {
        let (axis, length, last) = (self.axis, x.dims()[self.axis], x.rank() - 1);
        if length > LONGEST {
            candle_core::bail!("a running sum over {length} places; {LONGEST} are the most");
        }
        let ones = |(from, to): (usize, usize)| {
            let (from, to) = if self.reverse != back { (to, from) } else { (from, to) };
            f64::from(from < to || (from == to && !self.exclusive))
        };
        let places = (0..length).flat_map(|from| (0..length).map(move |to| (from, to)));
        let triangle = Tensor::from_vec(places.map(ones).collect(), (length, length), x.device())?;
        let x = x.transpose(axis, last)?.contiguous()?;
        let rows = x.reshape((x.elem_count() / length.max(1), length))?;
        rows.matmul(&triangle.to_dtype(x.dtype())?)?.reshape(x.shape())?.transpose(axis, last)?.contiguous()
    }
}

impl Op for Running {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        self.sum(inputs[0], false)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, _: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(self.sum(grad, true)?)])
    }
}

/// The first or last place of an axis that holds its extreme: it has no slope.
struct Place {
    axis: usize,
    largest: bool,
    last: bool,
}

impl Op for Place {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let length = inputs[0].dims()[self.axis];
        let turned: Vec<u32> = (0..length as u32).rev().collect();
        let x = if self.last { take(inputs[0], self.axis, &turned)? } else { inputs[0].contiguous()? };
        let place = if self.largest { x.argmax_keepdim(self.axis) } else { x.argmin_keepdim(self.axis) };
        let place = place?.to_dtype(x.dtype())?;
        if self.last { place.affine(-1., length as f64 - 1.) } else { Ok(place) }
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, _: &Kept, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}
