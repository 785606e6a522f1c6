//! Convolution in one and two dimensions.

#[cfg(feature = "cuda")]
use super::gpu;
use super::shape::moved;
use super::slices::{self, Real, by_type, on_slices};
use super::steps::{bounded, shortened};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, elsewhere, fused, whole};
use crate::kernels::conv::{self as kernel, Conv as Geometry};
use crate::kernels::pointwise::Grid;
use crate::kernels::{Activation, Window};
#[cfg(feature = "cuda")]
use crate::tensor::rounded_once;
use crate::tensor::{Result, Tensor};
use std::sync::Arc;
use tract_onnx::tract_core::ops::cnn::{Conv as TractConv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;

pub(super) const FAMILY: Family = Family { operators: &["Conv"], lower, parsers: &[] };

/// Places of a padded map: far more than any image model has, unless the map itself is as large.
const LARGEST_MAP: usize = 1 << 24;

fn lower(node: &Node) -> Option<Lowered> {
    let op = node.op::<TractConv>()?;
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
        return Some(Err("only plain float convolutions are known".into()));
    }
    let groups = op.group.max(1);
    if let Some((axis, spec)) = sliced(&op.pool_spec) {
        return Some(
            sliding(&spec).and_then(|spec| whole(node, Sliced { flat: Conv { spec, groups, clip: None }, axis })),
        );
    }
    Some(sliding(&op.pool_spec).and_then(|spec| whole(node, Conv { spec, groups, clip: None })))
}

/// An axis among three that a window crosses pixel by pixel, and the window over the other two.
fn sliced(spec: &PoolSpec) -> Option<(usize, PoolSpec)> {
    let unpadded = |axis: usize| match &spec.padding {
        PaddingSpec::Explicit(before, behind) => (before[axis], behind[axis]) == (0, 0),
        PaddingSpec::ExplicitOnnxPool(..) => false,
        _ => true,
    };
    let crossed = |&axis: &usize| spec.kernel_shape[axis] == 1 && spec.stride(axis) == 1 && unpadded(axis);
    let axis = (0..3).filter(|_| spec.rank() == 3).find(crossed)?;
    let mut flat = spec.clone();
    flat.kernel_shape.remove(axis);
    flat.strides.as_mut().map(|strides| strides.remove(axis));
    flat.dilations.as_mut().map(|dilations| dilations.remove(axis));
    if let PaddingSpec::Explicit(before, behind) = &mut flat.padding {
        before.remove(axis);
        behind.remove(axis);
    }
    Some((axis, flat))
}

/// A window over one or two axes, as tract describes it.
pub(super) fn sliding(spec: &PoolSpec) -> std::result::Result<PoolSpec, String> {
    if spec.data_format != DataFormat::NCHW {
        return Err(format!("its layout is {:?}, only NCHW is known", spec.data_format));
    }
    if !matches!(spec.rank(), 1 | 2) {
        return Err(format!("it slides over {} axes, one or two are known", spec.rank()));
    }
    let sane = spec.kernel_shape.iter().chain(spec.strides().iter()).chain(spec.dilations().iter()).all(|&n| n > 0);
    if sane { Ok(spec.clone()) } else { Err("its kernel, a stride or a dilation is 0".into()) }
}

/// The window over an input of shape `[N, C, (height,) width]`, and the padding behind the map.
pub(super) fn window(spec: &PoolSpec, shape: &[usize]) -> Result<(Window, [usize; 2])> {
    let spatial = shape.get(2..).unwrap_or_default();
    if spatial.len() != spec.rank() {
        candle_core::bail!("a window over {} axes meets an input of shape {shape:?}", spec.rank());
    }
    let padded = spec.computed_padding(spatial);
    let lengths = spatial.iter().zip(&padded).map(|(length, axis)| length + axis.pad_before + axis.pad_after);
    let lengths: Vec<usize> = lengths.collect();
    if lengths.iter().product::<usize>() > LARGEST_MAP.max(64 * spatial.iter().product::<usize>()) {
        candle_core::bail!("its padding makes a map of {lengths:?} from {spatial:?}");
    }
    // One-dimensional data is a map of height 1.
    let two = |one: usize, values: &mut dyn Iterator<Item = usize>| {
        let mut two = [one; 2];
        let skip = 2 - spec.rank();
        values.enumerate().for_each(|(axis, value)| two[skip + axis] = value);
        two
    };
    let window = Window {
        input: two(1, &mut spatial.iter().copied()),
        output: two(1, &mut padded.iter().map(|axis| axis.convoluted)),
        kernel: two(1, &mut spec.kernel_shape.iter().copied()),
        stride: two(1, &mut spec.strides().iter().copied()),
        dilation: two(1, &mut spec.dilations().iter().copied()),
        before: two(0, &mut padded.iter().map(|axis| axis.pad_before)),
    };
    Ok((shortened(window), two(0, &mut padded.iter().map(|axis| axis.pad_after))))
}

/// The shape of what a window makes of an input of this shape.
pub(super) fn output_shape(window: &Window, shape: &[usize], channels: usize) -> Vec<usize> {
    let mut output = vec![shape[0], channels];
    output.extend(&window.output[4 - shape.len()..]);
    output
}

/// Inputs: `x` `[N, C, (height,) width]`, kernel `[O, C / groups, (height,) width]`, bias `[O]` or one number.
#[derive(Clone)]
struct Conv {
    spec: PoolSpec,
    groups: usize,
    /// What the output is kept between.
    clip: Option<[f64; 2]>,
}

impl Conv {
    fn geometry(&self, x: &[usize], k: &[usize]) -> Result<Geometry> {
        let (window, _) = window(&self.spec, x)?;
        let fits = k.len() == x.len() && k[1] * self.groups == x[1] && k[0].is_multiple_of(self.groups);
        if !fits || k[2..] != self.spec.kernel_shape[..] {
            candle_core::bail!("a kernel of shape {k:?} in {} groups meets an input of shape {x:?}", self.groups);
        }
        bounded(Geometry { images: x[0], inputs: x[1], outputs: k[0], groups: self.groups, window })
    }
}

/// Its output's channels.
fn grid(conv: &Geometry) -> Grid {
    Grid { outer: conv.images, channels: conv.outputs, inner: conv.window.positions() }
}

fn forward<T: Real>(op: &Conv, run: &Run, [x, k, bias]: [&Tensor; 3]) -> Result<Tensor> {
    let conv = op.geometry(x.dims(), k.dims())?;
    let shape = output_shape(&conv.window, x.dims(), conv.outputs);
    let bias = bias.flatten_all()?.broadcast_as(conv.outputs)?;
    elsewhere!(x, gpu::conv_biased(&conv, [x, k, &bias], op.clip, &shape));
    let activation = op.clip.map_or(Activation::None, |[low, high]| Activation::Clip(T::of(low), T::of(high)));
    on_slices::<T, 3>(run, [x, k, &bias], &shape, |[x, k, bias], y| {
        kernel::forward(&conv, x, k, Some(bias), activation, y)
    })
}

fn backward<T: Real>(op: &Conv, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let shapes = &kept.shapes;
    let conv = op.geometry(shapes[0], shapes[1])?;
    elsewhere!(grad, gpu_backward(op, &conv, kept, grad));
    let grid = grid(&conv);
    let mut by_bias = vec![T::default(); if kept.wanted[2] { conv.outputs } else { 0 }];
    let masked = match op.clip {
        Some(clip) => {
            let mask = fused::mask::<T>(clip);
            let tensors = [kept.output()?, grad];
            let sums = kept.wanted[2].then_some(&mut by_bias[..]);
            Some(on_slices::<T, 2>(run, tensors, grad.dims(), |x, masked| grid.map_and_sum(x, masked, sums, mask))?)
        }
        None if kept.wanted[2] => {
            slices::read([grad], |dy| grid.sum(dy, [], [&mut by_bias], |dy, []| dy))?;
            None
        }
        None => None,
    };
    let grad = masked.as_ref().unwrap_or(grad);
    let mut grads = vec![None, None, None];
    if kept.wanted[2] {
        let by_bias = Tensor::from_vec(by_bias, conv.outputs, grad.device())?;
        grads[2] = Some(super::unbroadcast(&by_bias, shapes[2])?);
    }
    if kept.wanted[1] {
        let tensors = [kept.input(0)?, grad];
        grads[1] = Some(on_slices::<T, 2>(run, tensors, shapes[1], |[x, dy], dk| kernel::by_kernel(&conv, x, dy, dk))?);
    }
    if kept.wanted[0] {
        let tensors = [kept.input(1)?, grad];
        grads[0] = Some(on_slices::<T, 2>(run, tensors, shapes[0], |[k, dy], dx| kernel::by_input(&conv, k, dy, dx))?);
    }
    masked.iter().try_for_each(|masked| run.buffers.reclaim(masked))?;
    Ok(grads)
}

#[cfg(feature = "cuda")]
fn gpu_backward(op: &Conv, conv: &Geometry, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let (y, mut grads) = (if op.clip.is_some() { kept.output()? } else { grad }, vec![None, None, None]);
    let grad = match op.clip {
        _ if kept.wanted[2] => {
            let [grad, by_bias] = gpu::bias_back(op.clip, &grid(conv), y, grad)?;
            grads[2] = Some(super::unbroadcast(&by_bias, kept.shapes[2])?);
            grad
        }
        Some(clip) => gpu::masked(clip, y, grad)?,
        None => grad.clone(),
    };
    // It is multiplied twice.
    let grad = &rounded_once(&grad);
    if kept.wanted[1] {
        grads[1] = Some(gpu::conv_by_kernel(conv, kept.input(0)?, grad, kept.shapes[1])?);
    }
    if kept.wanted[0] {
        grads[0] = Some(gpu::conv_by_input(conv, kept.input(1)?, grad, kept.shapes[0])?);
    }
    Ok(grads)
}

impl Op for Conv {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        by_type!(x[0].dtype(), forward(self, run, [x[0], x[1], x[2]]))
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps { inputs: vec![wanted[1], wanted[0], false], output: self.clip.is_some() }
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        by_type!(grad.dtype(), backward(self, run, kept, grad))
    }

    fn padded(&self, pads: &[(usize, usize)]) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Conv { spec: widened(&self.spec, pads)?, ..self.clone() }))
    }

    fn clipped(&self, low: f64, high: f64) -> Option<Arc<dyn Op>> {
        self.clip.is_none().then(|| Arc::new(Conv { clip: Some([low, high]), ..self.clone() }) as _)
    }
}

/// So many more zeros around a map: `[N, C, (height,) width]`.
fn widened(spec: &PoolSpec, pads: &[(usize, usize)]) -> Option<PoolSpec> {
    let (outer, spatial) = pads.split_at_checked(2).filter(|(_, spatial)| spatial.len() == spec.rank())?;
    let (mut before, mut behind) = match &spec.padding {
        PaddingSpec::Explicit(before, behind) => (before.clone(), behind.clone()),
        PaddingSpec::Valid => (spatial.iter().map(|_| 0).collect(), spatial.iter().map(|_| 0).collect()),
        _ => return None,
    };
    for (axis, pad) in spatial.iter().enumerate() {
        before[axis] += pad.0;
        behind[axis] += pad.1;
    }
    let spec = PoolSpec { padding: PaddingSpec::Explicit(before, behind), ..spec.clone() };
    outer.iter().all(|pad| *pad == (0, 0)).then_some(spec)
}

/// A convolution over three axes, one of which becomes a part of the batch.
struct Sliced {
    flat: Conv,
    axis: usize,
}

impl Sliced {
    /// `[N, C, a, b, c]` as `[N · length of the axis, C, …]`.
    fn slices(&self, run: &Run, x: &Tensor) -> Result<Tensor> {
        let x = moved(run, x, 2 + self.axis, 1)?;
        let dims = x.dims();
        x.reshape([&[dims[0] * dims[1]], &dims[2..]].concat())
    }

    /// The way back, for so many images.
    fn joined(&self, run: &Run, x: &Tensor, images: usize) -> Result<Tensor> {
        let dims = x.dims();
        let x = x.reshape([&[images, dims[0] / images.max(1)], &dims[1..]].concat())?;
        moved(run, &x, 1, 2 + self.axis)
    }
}

impl Op for Sliced {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let (x, k) = (self.slices(run, inputs[0])?, inputs[1].squeeze(2 + self.axis)?);
        self.joined(run, &self.flat.forward(run, &[&x, &k, inputs[2]])?, inputs[0].dims()[0])
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        self.flat.keeps(wanted)
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let x = kept.inputs[0].map(|x| self.slices(run, x)).transpose()?;
        let k = kept.inputs[1].map(|k| k.squeeze(2 + self.axis)).transpose()?;
        let (mut x_shape, mut k_shape) = (kept.shapes[0].to_vec(), kept.shapes[1].to_vec());
        x_shape[0] *= x_shape.remove(2 + self.axis);
        k_shape.remove(2 + self.axis);
        let flat = Kept {
            inputs: vec![x.as_ref(), k.as_ref(), None],
            output: None,
            shapes: vec![&x_shape, &k_shape, kept.shapes[2]],
            wanted: kept.wanted.clone(),
        };
        let mut grads = self.flat.backward(run, &flat, &self.slices(run, grad)?)?;
        grads[0] = grads[0].take().map(|dx| self.joined(run, &dx, kept.shapes[0][0])).transpose()?;
        grads[1] = grads[1].take().map(|dk| dk.reshape(kept.shapes[1])).transpose()?;
        Ok(grads)
    }
}
