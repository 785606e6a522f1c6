//! Powers.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, elsewhere, unbroadcast, whole};
use crate::tensor::{DType, Result, Tensor};
use tract_onnx::prelude::DatumType;
use tract_onnx::tract_core::ops::binary::TypedBinOp;

pub(super) const FAMILY: Family = Family { operators: &["Pow"], lower, parsers: &[] };

fn lower(node: &Node) -> Option<Lowered> {
    node.op::<TypedBinOp>().filter(|op| op.0.name() == "Pow")?;
    Some(power(node).or_else(|_| whole(node, Powers)))
}

fn power(node: &Node) -> Lowered {
    let exponent = node.constant(1, "exponent")?.cast_to_dt(DatumType::F64).map_err(|e| e.to_string())?;
    let plain = exponent.try_as_plain_ram().map_err(|e| e.to_string())?;
    let values = plain.as_slice::<f64>().map_err(|e| e.to_string())?;
    match values {
        [exponent, rest @ ..] if rest.iter().all(|other| other == exponent) => whole(node, Power(*exponent)),
        _ => Err("its exponent is not one known number".into()),
    }
}

/// `x` to this power, which is the second input too.
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
        Keeps::inputs(&[true, false])
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        if self.0 == 0. {
            return Ok(vec![None, None]);
        }
        let slope = (Power(self.0 - 1.).forward(run, &[kept.input(0)?])? * self.0)?;
        Ok(vec![Some((grad * slope)?), None])
    }
}

/// A function of two numbers, and its kernel's name on a GPU.
type Named = (&'static str, fn(f64, f64) -> f64);

/// The first input to the power of the second.
struct Powers;

impl Powers {
    /// A function of both inputs in double precision, broadcast.
    fn map(a: &Tensor, b: &Tensor, (_name, function): Named) -> Result<Tensor> {
        elsewhere!(a, super::gpu::named_of_two(a, b, _name));
        let shape = a.shape().broadcast_shape_binary_op(b.shape(), "Pow")?;
        let values = |x: &Tensor| x.to_dtype(DType::F64)?.broadcast_as(&shape)?.flatten_all()?.to_vec1::<f64>();
        let values = values(a)?.into_iter().zip(values(b)?).map(|(a, b)| function(a, b)).collect();
        Tensor::from_vec(values, &shape, a.device())?.to_dtype(a.dtype())
    }
}

impl Op for Powers {
    fn forward(&self, _: &Run, x: &[&Tensor]) -> Result<Tensor> {
        Powers::map(x[0], x[1], ("pow", f64::powf))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true, true])
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (a, b) = (kept.input(0)?, kept.input(1)?);
        let slopes: [Named; 2] = [
            ("pow_by_base", |a, b| if b == 0. { 0. } else { b * a.powf(b - 1.) }),
            // As in PyTorch: the powers of 0 do not change with the exponent.
            ("pow_by_exponent", |a, b| if a == 0. && b >= 0. { 0. } else { a.powf(b) * a.ln() }),
        ];
        let by = |index: usize| unbroadcast(&(grad * Powers::map(a, b, slopes[index])?)?, kept.shapes[index]);
        (0..2).map(|index| kept.wanted[index].then(|| by(index)).transpose()).collect()
    }
}
