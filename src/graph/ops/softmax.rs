//! Softmax and its logarithm.

#[cfg(feature = "cuda")]
use super::gpu;
use super::slices::{Real, by_type, on_slices};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, elsewhere, first, sum_over};
use crate::kernels::rows;
use crate::tensor::{Result, Tensor};
use tract_onnx::tract_core::ops::nn::{Softmax as TractSoftmax, SoftmaxKind};

pub(super) const FAMILY: Family = Family { operators: &["Softmax", "LogSoftmax"], lower, parsers: &[] };

fn lower(node: &Node) -> Option<Lowered> {
    let op = node.op::<TractSoftmax>()?;
    Some(first(Softmax { axes: op.axes.to_vec(), log: op.kind == SoftmaxKind::LogSoftmax }))
}

struct Softmax {
    axes: Vec<usize>,
    log: bool,
}

impl Softmax {
    /// How long the rows are, where the last axes make them.
    fn width(&self, x: &Tensor) -> Option<usize> {
        let first = self.axes.iter().copied().min().filter(|first| first + self.axes.len() == x.rank())?;
        let width = x.dims()[first..].iter().product();
        (!self.log && width > 0).then_some(width)
    }
}

fn forward<T: Real>(run: &Run, width: usize, x: &Tensor) -> Result<Tensor> {
    elsewhere!(x, gpu::softmax(width, x));
    on_slices::<T, 1>(run, [x], x.dims(), |[x], y| rows::softmax(width, x, y))
}

fn backward<T: Real>(run: &Run, width: usize, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    elsewhere!(y, gpu::softmax_back(width, y, grad));
    on_slices::<T, 2>(run, [y, grad], y.dims(), |[y, dy], dx| rows::softmax_by_input(width, y, dy, dx))
}

impl Op for Softmax {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        if let Some(width) = self.width(inputs[0]) {
            return by_type!(inputs[0].dtype(), forward(run, width, inputs[0]));
        }
        let mut largest = inputs[0].contiguous()?;
        for &axis in &self.axes {
            largest = largest.max_keepdim(axis)?;
        }
        let x = inputs[0].broadcast_sub(&largest)?;
        let exp = x.exp()?;
        let sum = sum_over(&exp, &self.axes)?;
        if self.log { x.broadcast_sub(&sum.log()?) } else { exp.broadcast_div(&sum) }
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::output(1)
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let y = kept.output()?;
        if let Some(width) = self.width(y) {
            return Ok(vec![Some(by_type!(grad.dtype(), backward(run, width, y, grad))?)]);
        }
        let dx = if self.log {
            grad - y.exp()?.broadcast_mul(&sum_over(grad, &self.axes)?)?
        } else {
            let mean = sum_over(&(grad * y)?, &self.axes)?;
            grad.broadcast_sub(&mean)? * y
        };
        Ok(vec![Some(dx?)])
    }
}
