//! Parts of a tensor: slices, steps, gathered places.

use super::slices::{cut, paste};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first, give_back, take};
use crate::tensor::{Result, Tensor};
use tract_onnx::prelude::TDim;
use tract_onnx::tract_core::ops::array::{Gather, Slice, StridedSlice};

pub(super) const FAMILY: Family = Family { operators: &["Slice", "StridedSlice", "Gather"], lower, parsers: &[] };

fn lower(node: &Node) -> Option<Lowered> {
    if let Some(slice) = node.op::<Slice>() {
        let part = Part { axis: slice.axis, start: slice.start.clone(), end: slice.end.clone(), step: 1 };
        return Some(first(Parts { parts: vec![part], shape: node.output_dims() }));
    }
    if let Some(op) = node.op::<StridedSlice>() {
        return Some(lower_strided(node, op));
    }
    node.op::<Gather>().map(|op| lower_gather(node, op.axis))
}

/// Places `start`, `start + step`, … before `end` of an axis; with a negative step from the last one backwards.
struct Part {
    axis: usize,
    start: TDim,
    end: TDim,
    step: i64,
}

impl Part {
    fn places(&self, run: &Run, length: usize) -> Result<Vec<u32>> {
        let (start, end) = (run.size(&self.start)?, run.size(&self.end)?.min(length));
        let forward = (start..end).map(|at| at as u32);
        let step = self.step.unsigned_abs() as usize;
        Ok(if self.step > 0 { forward.step_by(step).collect() } else { forward.rev().step_by(step).collect() })
    }
}

/// Parts along several axes, one after the other; then this shape (axes of length 1 may go).
struct Parts {
    parts: Vec<Part>,
    shape: Vec<TDim>,
}

impl Op for Parts {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let mut x = inputs[0].clone();
        for part in &self.parts {
            let places = part.places(run, x.dims()[part.axis])?;
            x = match places.first() {
                Some(&start) if part.step == 1 => cut(run, &x, part.axis, start as usize, places.len())?,
                None => x.narrow(part.axis, 0, 0)?,
                _ => take(&x, part.axis, &places)?,
            };
        }
        x.contiguous()?.reshape(run.sizes(&self.shape)?)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut lengths = kept.shapes[0].to_vec();
        let mut steps = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let (length, places) = (lengths[part.axis], part.places(run, lengths[part.axis])?);
            lengths[part.axis] = places.len();
            steps.push((part, places, length));
        }
        let mut grad = grad.reshape(lengths)?;
        for (part, places, length) in steps.into_iter().rev() {
            grad = match places.first() {
                Some(&start) if part.step == 1 => {
                    let mut shape = grad.dims().to_vec();
                    shape[part.axis] = length;
                    paste(run, &[(&grad, start as usize)], part.axis, &shape)?
                }
                _ => give_back(&grad, part.axis, &places, length)?,
            };
        }
        Ok(vec![Some(grad)])
    }
}

fn lower_strided(node: &Node, op: &StridedSlice) -> Lowered {
    let shape = node.fact(0)?.shape.to_tvec();
    let (begin, end) = (node.constant(1, "begin")?, node.constant(2, "end")?);
    let axes: Vec<usize> = match op.optional_axes_input {
        Some(input) => {
            let axes = node.integers(input, "axes")?.into_iter();
            axes.map(|axis| if axis < 0 { axis + shape.len() as i64 } else { axis } as usize).collect()
        }
        None => (0..shape.len()).collect(),
    };
    let strides: Vec<i32> = match op.optional_steps_input {
        Some(input) => node.integers(input, "steps")?.into_iter().map(|step| step as i32).collect(),
        None => vec![1; shape.len()],
    };
    let mut parts = Vec::with_capacity(axes.len());
    for (index, axis) in axes.into_iter().enumerate() {
        let length = shape.get(axis).ok_or_else(|| format!("it slices axis {axis} of {}", shape.len()))?;
        let dim = op.prepare_one_dim(index, length, begin, end, &strides).map_err(|e| e.to_string())?;
        let (start, end) = if dim.stride > 0 { (dim.begin, dim.end) } else { (dim.end + 1, dim.begin + 1) };
        parts.push(Part { axis, start, end, step: dim.stride.into() });
    }
    first(Parts { parts, shape: node.output_dims() })
}

/// Places of an axis, which become axes of this shape.
struct Places {
    axis: usize,
    places: Vec<i64>,
    shape: Vec<usize>,
}

fn lower_gather(node: &Node, axis: usize) -> Lowered {
    if node.constants.get(1).is_some_and(Option::is_none) {
        return super::pick::gather(node, axis);
    }
    let places = node.integers(1, "choice of places")?;
    let shape = node.constant(1, "choice of places")?.shape().to_vec();
    first(Places { axis, places, shape })
}

impl Places {
    fn resolve(&self, length: usize) -> Result<Vec<u32>> {
        let place = |&at: &i64| {
            let at = if at < 0 { at + length as i64 } else { at };
            let inside = u32::try_from(at).ok().filter(|&at| (at as usize) < length);
            inside.ok_or_else(|| candle_core::Error::msg(format!("place {at} of an axis of length {length}")))
        };
        self.places.iter().map(place).collect()
    }
}

impl Op for Places {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let x = inputs[0];
        let mut shape = x.dims()[..self.axis].to_vec();
        shape.extend(&self.shape);
        shape.extend(&x.dims()[self.axis + 1..]);
        take(x, self.axis, &self.resolve(x.dims()[self.axis])?)?.reshape(shape)
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut shape = kept.shapes[0].to_vec();
        let length = std::mem::replace(&mut shape[self.axis], self.places.len());
        Ok(vec![Some(give_back(&grad.reshape(shape)?, self.axis, &self.resolve(length)?, length)?)])
    }
}
