//! Softmax and its logarithm.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first, sum_over};
use candle_core::{Result, Tensor};
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

impl Op for Softmax {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
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

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let y = kept.output()?;
        let dx = if self.log {
            grad - y.exp()?.broadcast_mul(&sum_over(grad, &self.axes)?)?
        } else {
            let mean = sum_over(&(grad * y)?, &self.axes)?;
            grad.broadcast_sub(&mean)? * y
        };
        Ok(vec![Some(dx?)])
    }
}
