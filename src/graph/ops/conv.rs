//! Convolution in one and two dimensions.

use super::shape::moved;
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, whole};
use crate::kernels::conv::{self as kernel, Conv as Geometry};
use crate::kernels::{Activation, Float, Window};
use candle_core::{CpuStorage, DType, Result, Storage, Tensor, WithDType};
use tract_onnx::tract_core::ops::cnn::{Conv as TractConv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;

pub(super) const FAMILY: Family = Family { operators: &["Conv"], lower, parsers: &[] };

fn lower(node: &Node) -> Option<Lowered> {
    let op = node.op::<TractConv>()?;
    if op.q_params.is_some() || op.kernel_fmt != KernelFormat::OIHW {
        return Some(Err("only plain float convolutions are known".into()));
    }
    let groups = op.group.max(1);
    if let Some((axis, spec)) = sliced(&op.pool_spec) {
        return Some(sliding(&spec).and_then(|spec| whole(node, Sliced { flat: Conv { spec, groups }, axis })));
    }
    Some(sliding(&op.pool_spec).and_then(|spec| whole(node, Conv { spec, groups })))
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
    let (strides, dilations) = (spec.strides(), spec.dilations());
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
        stride: two(1, &mut strides.iter().copied()),
        dilation: two(1, &mut dilations.iter().copied()),
        before: two(0, &mut padded.iter().map(|axis| axis.pad_before)),
    };
    Ok((window, two(0, &mut padded.iter().map(|axis| axis.pad_after))))
}

/// The shape of what a window makes of an input of this shape.
pub(super) fn output_shape(window: &Window, shape: &[usize], channels: usize) -> Vec<usize> {
    let mut output = vec![shape[0], channels];
    output.extend(&window.output[4 - shape.len()..]);
    output
}

/// What the kernels run on: `f32` or `f64`, in this machine's memory.
pub(super) trait Real: Float + WithDType {}
impl Real for f32 {}
impl Real for f64 {}

/// Calls `work` with the values of tensors in row-major order, and makes its result a tensor of `shape`.
pub(super) fn on_slices<T: Real>(
    tensors: &[&Tensor],
    shape: &[usize],
    work: impl FnOnce(&[&[T]], &mut [T]),
) -> Result<Tensor> {
    let dense = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
    let guards: Vec<_> = dense.iter().map(|t| t.storage_and_layout()).collect();
    let slices = guards.iter().zip(&dense).map(|((storage, layout), tensor)| match &**storage {
        Storage::Cpu(storage) => {
            let values: &[T] = CpuStorage::as_slice(storage)?;
            Ok(&values[layout.start_offset()..][..tensor.elem_count()])
        }
        _ => candle_core::bail!("this operator runs on the CPU only"),
    });
    let slices = slices.collect::<Result<Vec<_>>>()?;
    let mut made = vec![T::default(); shape.iter().product()];
    work(&slices, &mut made);
    Tensor::from_vec(made, shape, tensors[0].device())
}

/// Runs the same code for the type of the tensors.
macro_rules! by_type {
    ($dtype:expr, $run:ident($($argument:expr),*)) => {
        match $dtype {
            DType::F32 => $run::<f32>($($argument),*),
            DType::F64 => $run::<f64>($($argument),*),
            other => candle_core::bail!("this operator computes in f32 or f64, not in {other:?}"),
        }
    };
}
pub(super) use by_type;

/// Inputs: `x` `[N, C, (height,) width]`, kernel `[O, C / groups, (height,) width]`, bias `[O]` or one number.
struct Conv {
    spec: PoolSpec,
    groups: usize,
}

impl Conv {
    fn geometry(&self, x: &[usize], k: &[usize]) -> Result<Geometry> {
        let (window, _) = window(&self.spec, x)?;
        let fits = k.len() == x.len() && k[1] * self.groups == x[1] && k[0].is_multiple_of(self.groups);
        if !fits || k[2..] != self.spec.kernel_shape[..] {
            candle_core::bail!("a kernel of shape {k:?} in {} groups meets an input of shape {x:?}", self.groups);
        }
        Ok(Geometry { images: x[0], inputs: x[1], outputs: k[0], groups: self.groups, window })
    }
}

fn forward<T: Real>(conv: &Geometry, x: &Tensor, k: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let shape = output_shape(&conv.window, x.dims(), conv.outputs);
    let bias = bias.flatten_all()?.broadcast_as(conv.outputs)?;
    on_slices::<T>(&[x, k, &bias], &shape, |values, y| {
        kernel::forward(conv, values[0], values[1], Some(values[2]), Activation::None, y)
    })
}

fn by_input<T: Real>(conv: &Geometry, k: &Tensor, grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    on_slices::<T>(&[k, grad], shape, |values, dx| kernel::by_input(conv, values[0], values[1], dx))
}

fn by_kernel<T: Real>(conv: &Geometry, x: &Tensor, grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    on_slices::<T>(&[x, grad], shape, |values, dk| kernel::by_kernel(conv, values[0], values[1], dk))
}

fn by_bias<T: Real>(conv: &Geometry, grad: &Tensor) -> Result<Tensor> {
    on_slices::<T>(&[grad], &[conv.outputs], |values, db| kernel::by_bias(conv, values[0], db))
}

impl Op for Conv {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let conv = self.geometry(inputs[0].dims(), inputs[1].dims())?;
        by_type!(inputs[0].dtype(), forward(&conv, inputs[0], inputs[1], inputs[2]))
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps::inputs(&[wanted[1], wanted[0], false])
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (shapes, dtype) = (&kept.shapes, grad.dtype());
        let conv = self.geometry(shapes[0], shapes[1])?;
        let mut grads = vec![None, None, None];
        if kept.wanted[0] {
            grads[0] = Some(by_type!(dtype, by_input(&conv, kept.input(1)?, grad, shapes[0]))?);
        }
        if kept.wanted[1] {
            grads[1] = Some(by_type!(dtype, by_kernel(&conv, kept.input(0)?, grad, shapes[1]))?);
        }
        if kept.wanted[2] {
            let by_bias = by_type!(dtype, by_bias(&conv, grad))?;
            grads[2] = Some(super::unbroadcast(&by_bias, shapes[2])?);
        }
        Ok(grads)
    }
}

/// A convolution over three axes, one of which becomes a part of the batch.
struct Sliced {
    flat: Conv,
    axis: usize,
}

impl Sliced {
    /// `[N, C, a, b, c]` as `[N · length of the axis, C, …]`.
    fn slices(&self, x: &Tensor) -> Result<Tensor> {
        let x = moved(x, 2 + self.axis, 1)?;
        let dims = x.dims();
        x.reshape([&[dims[0] * dims[1]], &dims[2..]].concat())
    }

    /// The way back, for so many images.
    fn joined(&self, x: &Tensor, images: usize) -> Result<Tensor> {
        let dims = x.dims();
        let x = x.reshape([&[images, dims[0] / images.max(1)], &dims[1..]].concat())?;
        moved(&x, 1, 2 + self.axis)
    }
}

impl Op for Sliced {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let (x, k) = (self.slices(inputs[0])?, inputs[1].squeeze(2 + self.axis)?);
        self.joined(&self.flat.forward(run, &[&x, &k, inputs[2]])?, inputs[0].dims()[0])
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        self.flat.keeps(wanted)
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let x = kept.inputs[0].map(|x| self.slices(x)).transpose()?;
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
        let mut grads = self.flat.backward(run, &flat, &self.slices(grad)?)?;
        grads[0] = grads[0].take().map(|dx| self.joined(&dx, kept.shapes[0][0])).transpose()?;
        grads[1] = grads[1].take().map(|dk| dk.reshape(kept.shapes[1])).transpose()?;
        Ok(grads)
    }
}
