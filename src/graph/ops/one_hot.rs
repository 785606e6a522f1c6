//! Places as rows of zeros with a one.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first};
use crate::tensor::{Result, Tensor};
use tract_onnx::tract_core::ops::array::OneHot as TractOneHot;

pub(super) const FAMILY: Family = Family { operators: &["Onehot"], lower, parsers: &[] };

fn lower(node: &Node) -> Option<Lowered> {
    let op = node.op::<TractOneHot>()?;
    let number = |value: &tract_onnx::prelude::Tensor| value.cast_to_scalar::<f64>().map_err(|e| e.to_string());
    let values = number(&op.off).and_then(|off| Ok((off, number(&op.on)?)));
    Some(values.and_then(|(off, on)| first(OneHot { axis: op.axis, length: op.dim, off, on })))
}

/// A new axis that is `on` at the place that the input says (from the end where it is negative) and `off` elsewhere.
struct OneHot {
    axis: usize,
    length: usize,
    off: f64,
    on: f64,
}

impl Op for OneHot {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let place = inputs[0].unsqueeze(self.axis)?;
        let negative = place.lt(0.)?.to_dtype(place.dtype())?;
        let place = (place + (negative * self.length as f64)?)?;
        let mut shape = vec![1; place.rank()];
        shape[self.axis] = self.length;
        let places = Tensor::arange(0, self.length as u32, place.device())?.reshape(shape)?.to_dtype(place.dtype())?;
        place.broadcast_eq(&places)?.to_dtype(place.dtype())?.affine(self.on - self.off, self.off)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, _: &Kept, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}
