//! Transposed convolution in one and two dimensions, and `Col2Im`, which is one: a convolution's gradient by its input is
//! what runs forwards here, and its forward side is the gradient.

#[cfg(feature = "cuda")]
use super::gpu;
use super::onnx::{Parsed, Shape, given, made};
use super::slices::{Real, by_type, on_slices};
use super::steps::{bounded, shortened};
use super::{Family, Keeps, Kept, Op, Run, elsewhere};
use crate::kernels::conv::{self as kernel, Conv as Geometry};
use crate::kernels::{Activation, Window};
use crate::tensor::{Result, Tensor};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{AxisOp, DimLike, Tensor as Host, TractError, ensure};

pub(super) const FAMILY: Family = Family {
    operators: &["ConvTranspose"],
    lower: super::onnx::lower,
    parsers: &[("ConvTranspose", conv_transpose), ("Col2Im", col2im)],
};

/// The attributes of `ConvTranspose`, an entry for each axis of the map; empty where the file says nothing.
#[derive(Clone, Default)]
struct Attributes {
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
    extra: Vec<i64>,
    size: Vec<i64>,
    auto: String,
    groups: usize,
}

fn conv_transpose(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let list = |name: &str| TractResult::Ok(node.get_attr_opt_vec::<i64>(name)?.unwrap_or_default());
    let groups = node.get_attr_opt::<i64>("group")?.unwrap_or(1);
    let attributes = Attributes {
        strides: list("strides")?,
        dilations: list("dilations")?,
        pads: list("pads")?,
        extra: list("output_padding")?,
        size: list("output_shape")?,
        auto: node.get_attr_opt::<String>("auto_pad")?.unwrap_or_default(),
        groups: usize::try_from(groups).ok().filter(|&groups| groups > 0).ok_or_else(|| impossible("group"))?,
    };
    let [_, _, bias] = given(node);
    made(node, Shape::Rank, move |wires, inputs| {
        let (x, kernel) = (wires.shape(inputs[0])?, wires.map(inputs[1])?);
        let channels = wires.shape(inputs[1])?[1].to_usize()?.saturating_mul(attributes.groups);
        let (window, after) = attributes.window(&wires.map(inputs[0])?, &kernel)?;
        ensure!(after.iter().all(|&size| size > 0), "its output has no pixels");
        let mut shape: TVec<TDim> = tvec!(x[0].clone(), channels.to_dim());
        shape.extend(after.iter().map(|size| size.to_dim()));
        let bias = match bias {
            Some(bias) => inputs[bias],
            None => wires.constant(Host::zero::<f32>(&[channels])?)?,
        };
        wires.own(
            "ConvTranspose",
            Transposed { window, groups: attributes.groups },
            shape,
            &[inputs[0], inputs[1], bias],
        )
    })
}

fn impossible(what: &str) -> TractError {
    TractError::msg(format!("its {what} is impossible"))
}

impl Attributes {
    /// The window of the convolution that leads back from an output to a map of `sizes`, and that output's sizes.
    fn window(&self, sizes: &[usize], kernel: &[usize]) -> TractResult<(Window, Vec<usize>)> {
        ensure!(matches!(sizes.len(), 1 | 2) && kernel.len() == sizes.len(), "one or two axes are known");
        let mut window =
            Window { input: [1; 2], output: [1; 2], kernel: [1; 2], stride: [1; 2], dilation: [1; 2], before: [0; 2] };
        let skip = 2 - sizes.len();
        for (axis, (&size, &taps)) in sizes.iter().zip(kernel).enumerate() {
            let number = |list: &[i64], at: usize, default: i64| match list.get(at).copied().unwrap_or(default) {
                n if (0..1 << 20).contains(&n) => Ok(n),
                n => Err(impossible(&format!("attribute of {n}"))),
            };
            let (stride, dilation) = (number(&self.strides, axis, 1)?, number(&self.dilations, axis, 1)?);
            ensure!(
                stride > 0 && dilation > 0 && taps > 0 && taps < 1 << 20 && size > 0 && size < 1 << 30,
                "a size is impossible"
            );
            let extra = number(&self.extra, axis, 0)?;
            let whole = stride * (size as i64 - 1) + extra + (taps as i64 - 1) * dilation + 1;
            let same = self.auto.starts_with("SAME");
            let (before, wide) = if same || !self.size.is_empty() {
                let asked = if self.size.is_empty() { stride * size as i64 } else { number(&self.size, axis, 0)? };
                let pads = (whole - asked).max(0);
                // Where steps are longer than the kernel there is less than was asked: as in ONNX Runtime.
                let wide = if self.size.is_empty() { whole - pads } else { asked };
                (if self.auto == "SAME_UPPER" { pads / 2 } else { pads - pads / 2 }, wide)
            } else {
                let (before, after) = (number(&self.pads, axis, 0)?, number(&self.pads, axis + sizes.len(), 0)?);
                (before, whole - before - after)
            };
            let at = skip + axis;
            window.input[at] = usize::try_from(wide).map_err(|_| impossible("output size"))?;
            (window.output[at], window.kernel[at], window.before[at]) = (size, taps, before as usize);
            (window.stride[at], window.dilation[at]) = (stride as usize, dilation as usize);
        }
        Ok((window, window.input[skip..].to_vec()))
    }
}

/// Sums blocks of columns into the map that they were cut from.
fn col2im(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let list = |name: &str| TractResult::Ok(node.get_attr_opt_vec::<i64>(name)?.unwrap_or_default());
    let attributes = Attributes {
        strides: list("strides")?,
        dilations: list("dilations")?,
        pads: list("pads")?,
        ..Attributes::default()
    };
    made(node, Shape::Unknown, move |wires, inputs| {
        let (size, block) = (wires.known::<i64>(inputs[1], "sizes")?, wires.known::<i64>(inputs[2], "block sizes")?);
        ensure!(
            size.len() == 2 && block.len() == 2 && block.iter().all(|&n| (1..1 << 10).contains(&n)),
            "two axes are known"
        );
        let taps = (block[0] * block[1]) as usize;
        let x = wires.shape(inputs[0])?;
        ensure!(x.len() == 3, "its input has other than three axes");
        let groups = x[1].to_usize()? / taps;
        let at = |list: &[i64], axis: usize, default: i64| list.get(axis).copied().unwrap_or(default);
        let steps = |axis: usize| {
            let pads = at(&attributes.pads, axis, 0).checked_add(at(&attributes.pads, axis + 2, 0));
            let field = (block[axis] - 1).checked_mul(at(&attributes.dilations, axis, 1));
            let free = size[axis].checked_add(pads?)?.checked_sub(field?)?.checked_sub(1)?;
            Some(free.checked_div(at(&attributes.strides, axis, 1))? + 1)
        };
        let (Some(rows), Some(columns)) = (steps(0), steps(1)) else { return Err(impossible("size")) };
        let split = AxisOp::Reshape(2, tvec!(x[2].clone()), tvec!(rows.to_dim(), columns.to_dim()));
        let cut = wires.wire(split, &inputs[..1])?;
        let ones =
            Host::from_shape(&[groups * taps, 1, block[0] as usize, block[1] as usize], &unit_taps(groups, taps))?;
        let (ones, none) = (wires.constant(ones)?, wires.constant(Host::zero::<f32>(&[groups])?)?);
        let attributes = Attributes { size: size.clone(), auto: String::new(), groups, ..attributes.clone() };
        let (mut window, sizes) =
            attributes.window(&[rows as usize, columns as usize], &[block[0] as usize, block[1] as usize])?;
        // The padding is as it was told, whatever hangs over at the end.
        (0..2).for_each(|axis| window.before[axis] = at(&attributes.pads, axis, 0).max(0) as usize);
        let shape = tvec!(x[0].clone(), groups.to_dim(), sizes[0].to_dim(), sizes[1].to_dim());
        wires.own("ConvTranspose", Transposed { window, groups }, shape, &[cut, ones, none])
    })
}

/// Kernels of a single one each: tap `i` of every `taps` at place `i`.
fn unit_taps(groups: usize, taps: usize) -> Vec<f32> {
    (0..groups * taps * taps).map(|i| if i / taps % taps == i % taps { 1. } else { 0. }).collect()
}

/// Inputs: `x` `[N, C, (height,) width]`, kernel `[C, O / groups, (height,) width]`, bias `[O]`.
struct Transposed {
    /// Of the convolution that leads back.
    window: Window,
    groups: usize,
}

impl Transposed {
    /// The convolution whose input is our output.
    fn back(&self, x: &[usize], k: &[usize]) -> Result<Geometry> {
        let fits = x.len() == k.len() && k[0] == x[1] && k[0].is_multiple_of(self.groups) && self.groups > 0;
        if !fits || x[2..] != self.window.output[4 - x.len()..] {
            candle_core::bail!("a kernel of shape {k:?} in {} groups meets an input of shape {x:?}", self.groups);
        }
        let (images, inputs, outputs) = (x[0], k[1] * self.groups, x[1]);
        bounded(Geometry { images, inputs, outputs, groups: self.groups, window: shortened(self.window) })
    }
}

fn spread<T: Real>(run: &Run, back: &Geometry, x: &Tensor, k: &Tensor, shape: &[usize]) -> Result<Tensor> {
    on_slices::<T, 2>(run, [k, x], shape, |[k, x], y| kernel::by_input(back, k, x, y))
}

fn by_input<T: Real>(run: &Run, back: &Geometry, k: &Tensor, grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    elsewhere!(grad, gpu::conv(back, grad, k, shape));
    on_slices::<T, 2>(run, [grad, k], shape, |[dy, k], dx| kernel::forward(back, dy, k, None, Activation::None, dx))
}

fn by_kernel<T: Real>(run: &Run, back: &Geometry, x: &Tensor, grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    elsewhere!(grad, gpu::conv_by_kernel(back, grad, x, shape));
    on_slices::<T, 2>(run, [grad, x], shape, |[dy, x], dk| kernel::by_kernel(back, dy, x, dk))
}

impl Op for Transposed {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let (x, k) = (inputs[0], inputs[1]);
        let back = self.back(x.dims(), k.dims())?;
        let mut shape = vec![x.dims()[0], back.inputs];
        shape.extend(&self.window.input[4 - x.rank()..]);
        elsewhere!(x, gpu::conv_transposed(&back, [x, k, inputs[2]], &shape));
        let mut bias = vec![1; x.rank()];
        bias[1] = back.inputs;
        by_type!(x.dtype(), spread(run, &back, x, k, &shape))?.broadcast_add(&inputs[2].reshape(bias)?)
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps::inputs(&[wanted[1], wanted[0], false])
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (shapes, dtype) = (&kept.shapes, grad.dtype());
        let back = self.back(shapes[0], shapes[1])?;
        let mut grads = vec![None, None, None];
        if kept.wanted[0] {
            grads[0] = Some(by_type!(dtype, by_input(run, &back, kept.input(1)?, grad, shapes[0]))?);
        }
        if kept.wanted[1] {
            grads[1] = Some(by_type!(dtype, by_kernel(run, &back, kept.input(0)?, grad, shapes[1]))?);
        }
        if kept.wanted[2] {
            let axes: Vec<usize> = (0..grad.rank()).filter(|&axis| axis != 1).collect();
            grads[2] = Some(super::sum_over(grad, &axes)?.reshape(shapes[2])?);
        }
        Ok(grads)
    }
}
