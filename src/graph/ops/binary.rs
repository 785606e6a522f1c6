//! Functions of two values, broadcast as numpy does; comparisons, which give 1 or 0; choices.

use super::slices::{Real, by_type, on_slices, read};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, unbroadcast, whole};
use crate::kernels::pointwise::{self, Grid};
use crate::tensor::{Result, Tensor};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::logic::Iff;

pub(super) const FAMILY: Family = Family {
    operators: &["Add", "Sub", "Mul", "Div", "Min", "Max", "Eq", "LT", "LTE", "GT", "GTE", "And", "Or", "Xor", "Iff"],
    lower,
    parsers: &[],
};

fn lower(node: &Node) -> Option<Lowered> {
    if node.op::<Iff>().is_some() {
        return Some(whole(node, Choice));
    }
    let op = node.op::<TypedBinOp>()?;
    let float = node.fact(0).is_ok_and(|fact| fact.datum_type.is_float());
    let logic = |compare: Compare| Some(whole(node, Logic(compare)));
    let binary = match op.0.name() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" if !float => return Some(Err("integers computed from the image are not divided".into())),
        "Div" => Binary::Div,
        "Min" => Binary::Min,
        "Max" => Binary::Max,
        "Eq" => return logic(Tensor::broadcast_eq),
        "Xor" => return logic(Tensor::broadcast_ne),
        "LT" => return logic(Tensor::broadcast_lt),
        "LTE" => return logic(Tensor::broadcast_le),
        "GT" => return logic(Tensor::broadcast_gt),
        "GTE" => return logic(Tensor::broadcast_ge),
        // Truth values are 1 and 0.
        "And" => return Some(whole(node, Truth(Tensor::broadcast_minimum))),
        "Or" => return Some(whole(node, Truth(Tensor::broadcast_maximum))),
        _ => return None,
    };
    Some(whole(node, binary))
}

#[derive(Clone, Copy, PartialEq)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

/// A function of the values of two tensors at each place, where one is as large as the output and the other lacks axes that
/// lie side by side; `None` where the two meet otherwise.
fn combine<T: Real>(run: &Run, [a, b]: [&Tensor; 2], function: impl Fn(T, T) -> T + Sync) -> Result<Option<Tensor>> {
    if a.dims() == b.dims() {
        return on_slices::<T, 2>(run, [a, b], a.dims(), |x, y| pointwise::map(x, y, |[a, b]| function(a, b)))
            .map(Some);
    }
    if let Some(grid) = Grid::of(a.dims(), b.dims()) {
        let work = |[a, b]: [&[T]; 2], y: &mut [T]| grid.map([a], [b], y, |[a], [b]| function(a, b));
        return on_slices::<T, 2>(run, [a, b], a.dims(), work).map(Some);
    }
    let Some(grid) = Grid::of(b.dims(), a.dims()) else { return Ok(None) };
    let work = |[a, b]: [&[T]; 2], y: &mut [T]| grid.map([b], [a], y, |[b], [a]| function(a, b));
    on_slices::<T, 2>(run, [a, b], b.dims(), work).map(Some)
}

fn compute<T: Real>(by: Binary, run: &Run, x: [&Tensor; 2]) -> Result<Option<Tensor>> {
    match by {
        Binary::Add => combine::<T>(run, x, |a, b| a + b),
        Binary::Sub => combine::<T>(run, x, |a, b| a - b),
        Binary::Mul => combine::<T>(run, x, |a, b| a * b),
        Binary::Div => combine::<T>(run, x, |a, b| a / b),
        Binary::Min => combine::<T>(run, x, |a, b| if b < a { b } else { a }),
        Binary::Max => combine::<T>(run, x, |a, b| if b > a { b } else { a }),
    }
}

/// Sums over a channel of the products of two tensors.
fn products<T: Real>(grid: &Grid, x: [&Tensor; 2], shape: &[usize]) -> Result<Tensor> {
    let mut sums = vec![T::default(); grid.channels];
    read(x, |x| grid.sum(x, [], [&mut sums], |[a, b], []| [a * b]))?;
    Tensor::from_vec(sums, shape, x[0].device())
}

impl Binary {
    fn of(self, run: &Run, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        if a.device().is_cpu()
            && let Some(found) = by_type!(a.dtype(), compute(self, run, [a, b]))?
        {
            return Ok(found);
        }
        match self {
            Binary::Add => a.broadcast_add(b),
            Binary::Sub => a.broadcast_sub(b),
            Binary::Mul => a.broadcast_mul(b),
            Binary::Div => a.broadcast_div(b),
            Binary::Min => a.broadcast_minimum(b),
            Binary::Max => a.broadcast_maximum(b),
        }
    }

    fn by(self, index: usize, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Tensor> {
        let shape = kept.shapes[index];
        let by = match (self, index) {
            (Binary::Add, _) | (Binary::Sub, 0) => grad.clone(),
            (Binary::Sub, _) => return unbroadcast(grad, shape)?.neg(),
            (Binary::Mul, _) => {
                let other = kept.input(1 - index)?;
                if let Some(grid) = Grid::of(grad.dims(), shape).filter(|_| other.dims() == grad.dims())
                    && (shape != grad.dims() && grad.device().is_cpu())
                {
                    return by_type!(grad.dtype(), products(&grid, [grad, other], shape));
                }
                Binary::Mul.of(run, grad, other)?
            }
            (Binary::Div, 0) => Binary::Div.of(run, grad, kept.input(1)?)?,
            (Binary::Div, _) => {
                let (a, b) = (kept.input(0)?, kept.input(1)?);
                grad.broadcast_mul(a)?.broadcast_div(&b.sqr()?)?.neg()?
            }
            (Binary::Min | Binary::Max, _) => (grad * chosen(self == Binary::Max, index, kept, grad)?)?,
        };
        unbroadcast(&by, shape)
    }
}

/// The sum of two tensors of one shape.
pub(in crate::graph) fn plus(run: &Run, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Binary::Add.of(run, a, b)
}

impl Op for Binary {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        self.of(run, x[0], x[1])
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        match self {
            Binary::Add | Binary::Sub => Keeps::nothing(2),
            Binary::Mul => Keeps::inputs(&[wanted[1], wanted[0]]),
            Binary::Div => Keeps::inputs(&[wanted[1], true]),
            Binary::Min | Binary::Max => Keeps::inputs(&[true, true]),
        }
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        (0..2).map(|index| kept.wanted[index].then(|| self.by(index, run, kept, grad)).transpose()).collect()
    }
}

/// The share of an input in a minimum or maximum: 1 where it was chosen. Equals share, unless the other has no gradient:
/// then they count as not chosen, as at the kink of a ReLU.
fn chosen(largest: bool, index: usize, kept: &Kept, grad: &Tensor) -> Result<Tensor> {
    let (own, other) = (kept.input(index)?, kept.input(1 - index)?);
    let mask = if largest { own.broadcast_gt(other)? } else { own.broadcast_lt(other)? }.to_dtype(grad.dtype())?;
    if !kept.wanted[1 - index] {
        return Ok(mask);
    }
    let equal = own.broadcast_eq(other)?.to_dtype(grad.dtype())?;
    mask + (equal * 0.5)?
}

type Compare = fn(&Tensor, &Tensor) -> Result<Tensor>;

/// A comparison: 1 or 0, without a gradient.
struct Logic(Compare);

impl Op for Logic {
    fn forward(&self, _: &Run, x: &[&Tensor]) -> Result<Tensor> {
        (self.0)(x[0], x[1])?.to_dtype(x[0].dtype())
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(2)
    }

    fn backward(&self, _: &Run, _: &Kept, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None, None])
    }
}

/// `And` and `Or` of values that are 1 or 0.
struct Truth(Compare);

impl Op for Truth {
    fn forward(&self, _: &Run, x: &[&Tensor]) -> Result<Tensor> {
        (self.0)(x[0], x[1])
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(2)
    }

    fn backward(&self, _: &Run, _: &Kept, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None, None])
    }
}

/// The second input where the first is not 0, else the third.
struct Choice;

impl Choice {
    fn choose(condition: &Tensor, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        let shape = condition.shape().broadcast_shape_binary_op(yes.shape(), "Iff")?;
        let shape = shape.broadcast_shape_binary_op(no.shape(), "Iff")?;
        condition.ne(0.)?.broadcast_as(&shape)?.where_cond(&yes.broadcast_as(&shape)?, &no.broadcast_as(&shape)?)
    }
}

impl Op for Choice {
    fn forward(&self, _: &Run, x: &[&Tensor]) -> Result<Tensor> {
        Choice::choose(x[0], x[1], x[2])
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true, false, false])
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (condition, zero) = (kept.input(0)?, grad.zeros_like()?);
        let by = |index: usize| {
            let (yes, no) = if index == 1 { (grad, &zero) } else { (&zero, grad) };
            unbroadcast(&Choice::choose(condition, yes, no)?, kept.shapes[index])
        };
        let wanted = |index: usize| kept.wanted[index].then(|| by(index)).transpose();
        Ok(vec![None, wanted(1)?, wanted(2)?])
    }
}
