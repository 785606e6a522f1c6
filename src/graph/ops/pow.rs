//! Powers.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first};
use candle_core::{Result, Tensor};
use tract_onnx::prelude::DatumType;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

pub(super) const FAMILY: Family = Family { operators: &["Pow"], lower };

fn lower(node: &Node) -> Option<Lowered> {
    node.op::<TypedBinOp>().filter(|op| op.0.name() == "Pow").map(|_| power(node))
}

fn power(node: &Node) -> Lowered {
    let exponent = node.constant(1, "exponent")?.cast_to_dt(DatumType::F64).map_err(|e| e.to_string())?;
    let plain = exponent.try_as_plain_ram().map_err(|e| e.to_string())?;
    let values = plain.as_slice::<f64>().map_err(|e| e.to_string())?;
    match values {
        [exponent, rest @ ..] if rest.iter().all(|other| other == exponent) => first(Power(*exponent)),
        _ => Err("its exponent is not one number".into()),
    }
}

/// `x` to this power.
struct Power(f64);

impl Op for Power {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        match self.0 {
            0. => x.ones_like(),
            0.5 => x.sqrt(),
            1. => Ok(x.clone()),
            2. => x.sqr(),
            3. => x.sqr()? * x,
            other => x.powf(other),
        }
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true])
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        if self.0 == 0. {
            return Ok(vec![None]);
        }
        let slope = (Power(self.0 - 1.).forward(run, &[kept.input(0)?])? * self.0)?;
        Ok(vec![Some((grad * slope)?)])
    }
}
