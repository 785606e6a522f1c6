//! Gradient clipping.

use super::failed;
use crate::error::Result;
use crate::tensor::{DType, Storage, Tensor, host};
use rayon::prelude::*;

/// Values whose squares are summed together; fixed, so that the norm does not depend on the number of threads.
const CHUNK: usize = 1 << 14;

/// Scales the gradients by max/(norm + 10⁻⁶) where that is below 1, and answers the norm that they had: the root of the sum
/// of all their squares (arXiv 1211.5063; PyTorch's `clip_grad_norm_`). A norm that is not finite leaves them alone: the
/// caller has to look. Scaled gradients are new tensors, since one tensor may be the gradient of two parameters.
///
/// A GPU is not waited for, and its norm not known; where that is not finite, no gradient is a number any more.
///
/// # Errors
/// [`crate::error::Error::Train`] for gradients that cannot be read as numbers.
pub fn clip_grad_norm(grads: &mut [Option<Tensor>], max: f64) -> Result<Option<f64>> {
    #[cfg(feature = "cuda")]
    if grads.iter().flatten().any(|grad| !grad.device().is_cpu()) {
        return clip_there(grads, max).map(|()| None).map_err(failed);
    }
    let norm = total(grads).map_err(failed)?.sqrt();
    let factor = max / (norm + 1e-6);
    if norm.is_finite() && factor < 1.0 {
        for grad in grads.iter_mut().flatten() {
            *grad = grad.affine(factor, 0.0).map_err(failed)?;
        }
    }
    Ok(Some(norm))
}

/// On a GPU, which takes the factor from its own memory.
#[cfg(feature = "cuda")]
fn clip_there(grads: &mut [Option<Tensor>], max: f64) -> candle_core::Result<()> {
    let factor = Tensor::clip_factor(&grads.iter().flatten().collect::<Vec<_>>(), max)?;
    for grad in grads.iter_mut().flatten() {
        *grad = grad.broadcast_mul(&factor)?;
    }
    Ok(())
}

/// The sum of all squares.
fn total(grads: &[Option<Tensor>]) -> candle_core::Result<f64> {
    grads.iter().flatten().map(squares).sum()
}

fn squares(grad: &Tensor) -> candle_core::Result<f64> {
    let grad = grad.to_dtype(DType::F32)?.contiguous()?;
    let (storage, layout) = host(&grad)?.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
        candle_core::bail!("a gradient is not where it should be")
    };
    let chunks = storage.as_slice::<f32>()?[start..end].par_chunks(CHUNK);
    let sums: Vec<f64> = chunks.map(|c| c.iter().map(|&v| f64::from(v) * f64::from(v)).sum()).collect();
    Ok(sums.iter().sum())
}
