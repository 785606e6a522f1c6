//! Local response normalisation across channels.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first};
use crate::tensor::{Result, Tensor};
use tract_onnx_opl::lrn::Lrn as TractLrn;

pub(super) const FAMILY: Family = Family { operators: &["Lrn"], lower, parsers: &[] };

fn lower(node: &Node) -> Option<Lowered> {
    let op = node.op::<TractLrn>()?;
    let (before, behind) = ((op.size.max(1) - 1) / 2, op.size.max(1) / 2);
    let scale = f64::from(op.alpha) / op.size.max(1) as f64;
    Some(first(Lrn { before, behind, scale, power: op.beta.into(), bias: op.bias.into() }))
}

/// `x / (bias + scale · Σ x²)^power`, summed over so many channels before and behind each.
struct Lrn {
    before: usize,
    behind: usize,
    scale: f64,
    power: f64,
    bias: f64,
}

impl Lrn {
    fn base(&self, x: &Tensor) -> Result<Tensor> {
        around(&x.sqr()?, self.before, self.behind)?.affine(self.scale, self.bias)
    }
}

fn around(x: &Tensor, before: usize, behind: usize) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let padded = x.pad_with_zeros(1, before, behind)?;
    let mut sum = padded.narrow(1, 0, channels)?;
    for offset in 1..=before + behind {
        sum = (sum + padded.narrow(1, offset, channels)?)?;
    }
    Ok(sum)
}

impl Op for Lrn {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0] * self.base(inputs[0])?.powf(-self.power)?
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true])
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let x = kept.input(0)?;
        let base = self.base(x)?;
        let direct = (grad * base.powf(-self.power)?)?;
        let shared = around(&(grad * x)?.mul(&base.powf(-self.power - 1.)?)?, self.behind, self.before)?;
        Ok(vec![Some((direct - (x * shared)?.affine(2. * self.scale * self.power, 0.)?)?)])
    }
}
