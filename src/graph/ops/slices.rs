//! Kernels on tensors: their values as slices.

#[cfg(feature = "cuda")]
use super::gpu;
use super::{Run, elsewhere};
use crate::graph::buffers::Stored;
use crate::kernels::arrange;
use crate::kernels::function::Elementary;
use crate::tensor::{CpuStorage, Result, Storage, Tensor, WithDType, host};

/// What the kernels run on: `f32` or `f64`, in this machine's memory.
pub(super) trait Real: Elementary + WithDType + Stored {}
impl Real for f32 {}
impl Real for f64 {}

/// Calls `work` with the values of tensors in row-major order.
pub(super) fn read<T: Real, R, const N: usize>(tensors: [&Tensor; N], work: impl FnOnce([&[T]; N]) -> R) -> Result<R> {
    let dense = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
    let guards = dense.iter().map(|t| Ok(host(t)?.storage_and_layout())).collect::<Result<Vec<_>>>()?;
    let mut slices: [&[T]; N] = [&[]; N];
    for ((slice, (storage, layout)), tensor) in slices.iter_mut().zip(&guards).zip(&dense) {
        let Storage::Cpu(storage) = &**storage else { candle_core::bail!("this operator runs on the CPU only") };
        let values: &[T] = CpuStorage::as_slice(storage)?;
        *slice = &values[layout.start_offset()..][..tensor.elem_count()];
    }
    Ok(work(slices))
}

/// The same, with room for a result, which becomes a tensor of `shape`.
pub(super) fn on_slices<T: Real, const N: usize>(
    run: &Run,
    tensors: [&Tensor; N],
    shape: &[usize],
    work: impl FnOnce([&[T]; N], &mut [T]),
) -> Result<Tensor> {
    let mut made = run.buffers.take(shape.iter().product());
    read(tensors, |slices| work(slices, &mut made))?;
    Tensor::from_vec(made, shape, tensors[0].device())
}

/// Runs the same code for the type of the tensors.
macro_rules! by_type {
    ($dtype:expr, $run:ident($($argument:expr),* $(,)?)) => {
        match $dtype {
            candle_core::DType::F32 => $run::<f32>($($argument),*),
            candle_core::DType::F64 => $run::<f64>($($argument),*),
            other => candle_core::bail!("this operator computes in f32 or f64, not in {other:?}"),
        }
    };
}
pub(super) use by_type;

/// `length` places of an axis from `start` on.
pub(super) fn cut(run: &Run, x: &Tensor, axis: usize, start: usize, length: usize) -> Result<Tensor> {
    fn cut<T: Real>(run: &Run, x: &Tensor, sizes: [usize; 3], shape: &[usize]) -> Result<Tensor> {
        on_slices::<T, 1>(run, [x], shape, |[x], y| arrange::cut(sizes, x, y))
    }
    if !x.device().is_cpu() {
        return x.narrow(axis, start, length)?.contiguous();
    }
    let mut shape = x.dims().to_vec();
    shape[axis] = length;
    let inner = shape[axis + 1..].iter().product::<usize>();
    by_type!(x.dtype(), cut(run, x, [x.dims()[axis], start, length].map(|size| size * inner), &shape))
}

/// Tensors one behind the other along an axis, each at its place; zeros where there is none.
pub(super) fn paste(run: &Run, parts: &[(&Tensor, usize)], axis: usize, shape: &[usize]) -> Result<Tensor> {
    fn paste<T: Real>(run: &Run, parts: &[(&Tensor, usize)], axis: usize, shape: &[usize]) -> Result<Tensor> {
        let mut made: Vec<T> = run.buffers.take(shape.iter().product());
        if parts.iter().map(|(part, _)| part.dims()[axis]).sum::<usize>() < shape[axis] {
            made.fill(T::default());
        }
        let inner = shape[axis + 1..].iter().product::<usize>();
        for &(part, start) in parts {
            let sizes = [shape[axis], start, part.dims()[axis]].map(|size| size * inner);
            read([part], |[x]| arrange::paste(sizes, x, &mut made))?;
        }
        Tensor::from_vec(made, shape, parts[0].0.device())
    }
    let first = parts[0].0;
    elsewhere!(first, gpu::paste(parts, axis, shape));
    by_type!(first.dtype(), paste(run, parts, axis, shape))
}

/// A tensor's values with `axis` read at these places.
pub(super) fn take(x: &Tensor, axis: usize, places: &[u32]) -> Result<Tensor> {
    elsewhere!(x, gpu::take(x, axis, places));
    x.contiguous()?.index_select(&Tensor::new(places, x.device())?, axis)
}

/// The opposite of [`take`]: a tensor of `length` along `axis` where each place has the sum of what was read there.
pub(super) fn give_back(grad: &Tensor, axis: usize, places: &[u32], length: usize) -> Result<Tensor> {
    elsewhere!(grad, gpu::give_back(grad, axis, places, length));
    let mut shape = grad.dims().to_vec();
    shape[axis] = length;
    let zeros = Tensor::zeros(shape, grad.dtype(), grad.device())?;
    zeros.index_add(&Tensor::new(places, grad.device())?, &grad.contiguous()?, axis)
}
