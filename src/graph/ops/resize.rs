//! Resizing: along each axis a product with a fixed matrix, whatever the interpolation.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first};
use crate::tensor::{Result, Tensor};
use tract_onnx::prelude::tvec;
use tract_onnx::tract_core::internal::{EvalContext, EvalOp, Tensor as Host, tensor1};
use tract_onnx::tract_core::ops::nn::resize::CoordTransformer;
use tract_onnx_opl::resize::{AspectRatio, CoordTransform, Resize as TractResize};

pub(super) const FAMILY: Family = Family { operators: &["Resize"], lower, parsers: &[] };

/// Values of one axis's matrix: more is a malformed file.
const LARGEST: usize = 1 << 24;

fn lower(node: &Node) -> Option<Lowered> {
    node.op::<TractResize>().map(|op| resize(node, op))
}

fn resize(node: &Node, op: &TractResize) -> Lowered {
    if op.keep_aspect_ratio_policy != AspectRatio::Stretch || op.coord_transformer == CoordTransform::TfCropAndResize {
        return Err("keep_aspect_ratio_policy and tf_crop_and_resize are not known".into());
    }
    let (input, output) = (node.fact(0)?.shape.to_tvec(), node.output_dims());
    let axes = op.resized_axes(input.len()).map_err(|e| e.to_string())?;
    let given = |input: Option<usize>| match input.and_then(|input| node.constants.get(input)?.as_ref()) {
        Some(values) if values.len() == axes.len() => Some(values),
        _ => None,
    };
    let scales = match given(op.optional_scales_input) {
        Some(scales) => {
            let scales = scales.cast_to::<f32>().map_err(|e| e.to_string())?;
            Some(scales.try_as_plain_ram().and_then(|s| Ok(s.as_slice::<f32>()?.to_vec())).map_err(|e| e.to_string())?)
        }
        None => None,
    };
    // The first and last places meet, whatever the scale was before the size was made a whole number.
    let corners = matches!(op.coord_transformer, CoordTransform::Plain(CoordTransformer::AlignCorners));
    let scales = scales.filter(|_| !corners);
    let mut matrices = Vec::new();
    for (index, &axis) in axes.iter().enumerate() {
        let scale = scales.as_ref().map(|scales| scales[index]);
        if input[axis] == output[axis] && scale.is_none_or(|scale| scale == 1.) {
            continue;
        }
        let sizes = (input[axis].to_i64(), output[axis].to_i64());
        let (Ok(from), Ok(to)) = sizes else { return Err(format!("the size of its axis {axis} depends on the batch")) };
        matrices.push((axis, matrix(op, scale, from as usize, to as usize)?));
    }
    first(Resize(matrices))
}

/// An axis's matrix, `[from, to]`: what the operator makes of the unit vectors.
fn matrix(op: &TractResize, scale: Option<f32>, from: usize, to: usize) -> std::result::Result<Matrix, String> {
    if from.saturating_mul(from.max(to)) > LARGEST {
        return Err(format!("resizing {from} to {to} values takes too much memory"));
    }
    let along = TractResize {
        axes: Some(vec![1]),
        optional_roi_input: None,
        optional_scales_input: scale.map(|_| 1),
        optional_sizes_input: scale.is_none().then_some(1),
        ..op.clone()
    };
    let units: Vec<f32> = (0..from * from).map(|i| f32::from(u8::from(i / from == i % from))).collect();
    let work = || {
        let size = scale.map_or_else(|| tensor1(&[to as i64]), |scale| tensor1(&[scale]));
        let units = Host::from_shape(&[from, from], &units)?;
        let made = along.eval(&EvalContext::out_of_plan(), tvec!(units.into(), size.into()))?.remove(0);
        let values = made.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        tract_onnx::prelude::TractResult::Ok(values)
    };
    let values = work().map_err(|e| e.to_string())?;
    if values.len() != from * to {
        return Err(format!("resizing {from} to {to} values gives {}", values.len() / from.max(1)));
    }
    Ok(Matrix { from, to, values })
}

struct Matrix {
    from: usize,
    to: usize,
    values: Vec<f32>,
}

/// A matrix for each axis that changes.
struct Resize(Vec<(usize, Matrix)>);

impl Resize {
    fn along(x: &Tensor, axis: usize, matrix: &Matrix, back: bool) -> Result<Tensor> {
        let values = Tensor::from_slice(&matrix.values, (matrix.from, matrix.to), x.device())?.to_dtype(x.dtype())?;
        let values = if back { values.t()? } else { values };
        let last = x.rank() - 1;
        let x = x.transpose(axis, last)?.contiguous()?;
        let (mut shape, length) = (x.dims().to_vec(), x.dims()[last]);
        shape[last] = values.dim(1)?;
        let rows = x.reshape((x.elem_count() / length.max(1), length))?;
        rows.matmul(&values)?.reshape(shape)?.transpose(axis, last)?.contiguous()
    }
}

impl Op for Resize {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        self.0.iter().try_fold(inputs[0].clone(), |x, (axis, matrix)| Resize::along(&x, *axis, matrix, false))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, _: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let along = |grad: Tensor, (axis, matrix): &(usize, Matrix)| Resize::along(&grad, *axis, matrix, true);
        Ok(vec![Some(self.0.iter().rev().try_fold(grad.clone(), along)?)])
    }
}
