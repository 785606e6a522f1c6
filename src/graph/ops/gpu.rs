//! Operators on a GPU, where the device has kernels of its own for them.

use super::Kept;
use crate::cuda::Array;
use crate::kernels::Window;
use crate::kernels::conv::Conv;
use crate::kernels::function::Function;
use crate::kernels::pointwise::Grid;
use crate::kernels::pool::Divisor;
use crate::tensor::{Result, Tensor, array, on_gpu};

/// Bounds that hold nothing back.
const OPEN: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];
/// The same of a gradient, where what is infinite passes, too.
const NONE: [f32; 2] = [f32::NAN; 2];

fn bounds(clip: Option<[f64; 2]>, open: [f32; 2]) -> [f32; 2] {
    clip.map_or(open, |clip| clip.map(|bound| bound as f32))
}

/// The gradient in front of a clip, from its output and the gradient behind it.
pub(super) fn masked(clip: [f64; 2], y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    array(y)?.clip_back(array(grad)?, bounds(Some(clip), NONE)).map(on_gpu)
}

pub(super) fn clip(clip: [f64; 2], x: &Tensor) -> Result<Tensor> {
    array(x)?.unary("clip", bounds(Some(clip), OPEN)).map(on_gpu)
}

pub(super) fn add_clip(clip: [f64; 2], a: &Tensor, b: &Tensor) -> Result<Tensor> {
    array(a)?.binary(array(b)?, "add_clip", bounds(Some(clip), OPEN)).map(on_gpu)
}

pub(super) fn active(function: Function, x: &Tensor) -> Result<Tensor> {
    array(x)?.active(function).map(on_gpu)
}

pub(super) fn active_back(function: Function, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    array(x)?.active_back(array(grad)?, function).map(on_gpu)
}

pub(super) fn scale_shift(clip: Option<[f64; 2]>, grid: &Grid, [x, s, t]: [&Tensor; 3]) -> Result<Tensor> {
    array(x)?.scale_shift(grid, array(s)?, array(t)?, bounds(clip, OPEN)).map(on_gpu)
}

pub(super) fn scale_shift_back(
    clip: Option<[f64; 2]>,
    grid: &Grid,
    kept: &Kept,
    grad: &Tensor,
) -> Result<Vec<Option<Tensor>>> {
    let (bounds, dy, mut grads) = (bounds(clip, NONE), array(grad)?, vec![None, None, None]);
    let y = if clip.is_some() { array(kept.output()?)? } else { dy };
    if kept.wanted[1] || kept.wanted[2] {
        // Without a gradient of the scale its input was not kept, and its sum is not read.
        let x = if kept.wanted[1] { array(kept.input(0)?)? } else { dy };
        let sums = y.scale_shift_sums(dy, x, grid, bounds)?;
        for (place, sum) in [1, 2].into_iter().zip(sums).filter(|(place, _)| kept.wanted[*place]) {
            grads[place] = Some(on_gpu(sum.reshape(kept.shapes[place])?));
        }
    }
    if kept.wanted[0] {
        grads[0] = Some(on_gpu(y.scale_shift_back(dy, grid, array(kept.input(1)?)?, bounds)?));
    }
    Ok(grads)
}

pub(super) fn scaled_active(function: Function, grid: &Grid, x: [&Tensor; 3]) -> Result<Tensor> {
    active(function, &scale_shift(None, grid, x)?)
}

pub(super) fn scaled_active_back(
    function: Function,
    grid: &Grid,
    kept: &Kept,
    grad: &Tensor,
) -> Result<Vec<Option<Tensor>>> {
    let between = scale_shift(None, grid, [kept.input(0)?, kept.input(1)?, kept.input(2)?])?;
    scale_shift_back(None, grid, kept, &active_back(function, &between, grad)?)
}

pub(super) fn layer_norm(epsilon: f64, [x, s, t]: [&Tensor; 3]) -> Result<Tensor> {
    array(x)?.layer_norm(epsilon, array(s)?, array(t)?).map(on_gpu)
}

pub(super) fn layer_norm_back(epsilon: f64, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let grads = array(kept.input(0)?)?.layer_norm_back(epsilon, array(kept.input(1)?)?, array(grad)?)?;
    grads.into_iter().zip(&kept.shapes).map(|(grad, shape)| Ok(Some(on_gpu(grad.reshape(*shape)?)))).collect()
}

pub(super) fn softmax(width: usize, x: &Tensor) -> Result<Tensor> {
    array(x)?.softmax(width).map(on_gpu)
}

pub(super) fn softmax_back(width: usize, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    array(y)?.softmax_back(array(grad)?, width).map(on_gpu)
}

pub(super) fn products(counts: [usize; 4], a: (&Tensor, bool), b: (&Tensor, bool)) -> Result<Tensor> {
    Array::products(counts, (array(a.0)?, a.1), (array(b.0)?, b.1)).map(on_gpu)
}

pub(super) fn max_pool(w: &Window, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    array(x)?.max_pool(w, shape).map(on_gpu)
}

pub(super) fn max_pool_back(w: &Window, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    array(x)?.max_pool_back(w, array(grad)?).map(on_gpu)
}

pub(super) fn sum_pool(w: &Window, divisor: Divisor, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    array(x)?.sum_pool(w, divisor, shape).map(on_gpu)
}

pub(super) fn sum_pool_back(w: &Window, divisor: Divisor, grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    array(grad)?.sum_pool_back(w, divisor, shape).map(on_gpu)
}

/// A convolution without bias; the output has this shape.
pub(super) fn conv(conv: &Conv, x: &Tensor, k: &Tensor, shape: &[usize]) -> Result<Tensor> {
    array(x)?.conv(conv, array(k)?, shape).map(on_gpu)
}

/// The same with a bias `[outputs]`, between two bounds.
pub(super) fn conv_biased(
    conv: &Conv,
    [x, k, bias]: [&Tensor; 3],
    clip: Option<[f64; 2]>,
    shape: &[usize],
) -> Result<Tensor> {
    let bias = (array(bias)?, bounds(clip, OPEN));
    array(x)?.conv_biased(conv, array(k)?, Some(bias), shape).map(on_gpu)
}

/// The gradient in front of a convolution's bias and clip, from its output and the gradient behind it; and that by the bias.
pub(super) fn bias_back(clip: Option<[f64; 2]>, grid: &Grid, y: &Tensor, grad: &Tensor) -> Result<[Tensor; 2]> {
    let bounds = clip.map(|clip| bounds(Some(clip), NONE));
    Ok(array(y)?.bias_back(array(grad)?, grid, bounds)?.map(on_gpu))
}

/// Its gradient by an input of this shape.
pub(super) fn conv_by_input(conv: &Conv, k: &Tensor, grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    array(grad)?.conv_by_input(conv, array(k)?, shape).map(on_gpu)
}

/// A transposed convolution, whose output has this shape, with a bias.
pub(super) fn conv_transposed(conv: &Conv, [x, k, bias]: [&Tensor; 3], shape: &[usize]) -> Result<Tensor> {
    array(x)?.conv_transposed(conv, array(k)?, array(bias)?, shape).map(on_gpu)
}

/// Its gradient by a kernel of this shape.
pub(super) fn conv_by_kernel(conv: &Conv, x: &Tensor, grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    array(grad)?.conv_by_kernel(conv, array(x)?, shape).map(on_gpu)
}

pub(super) fn paste(parts: &[(&Tensor, usize)], axis: usize, shape: &[usize]) -> Result<Tensor> {
    let device = parts[0].0.device();
    let there: Vec<Tensor> = parts.iter().map(|(part, _)| part.to_device(device)).collect::<Result<_>>()?;
    let parts = there.iter().zip(parts).map(|(part, (_, start))| Ok((array(part)?, *start)));
    Array::pasted(&parts.collect::<Result<Vec<_>>>()?, axis, shape).map(on_gpu)
}

pub(super) fn take(x: &Tensor, axis: usize, places: &[u32]) -> Result<Tensor> {
    array(x)?.take(axis, places).map(on_gpu)
}

pub(super) fn give_back(grad: &Tensor, axis: usize, places: &[u32], length: usize) -> Result<Tensor> {
    array(grad)?.give_back(axis, places, length).map(on_gpu)
}

/// A function of each value that candle lacks, by its kernel's name.
pub(super) fn named(x: &Tensor, name: &str) -> Result<Tensor> {
    array(x)?.unary(name, [0.; 2]).map(on_gpu)
}

/// The same of two tensors, broadcast.
pub(super) fn named_of_two(a: &Tensor, b: &Tensor, name: &str) -> Result<Tensor> {
    array(a)?.binary(array(b)?, name, [0.; 2]).map(on_gpu)
}
