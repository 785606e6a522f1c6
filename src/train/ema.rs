//! The exponential moving average of the parameters.

use super::optimizer::{failed, find, same_length};
use crate::error::Result;
use crate::tensor::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, bail};
use rayon::prelude::*;
use std::collections::HashMap;

/// Values that one thread averages at a time.
const CHUNK: usize = 1 << 14;

/// a ← a + (1 − d)·(θ − a) after each step, with d the decay, but at most (1 + t)/(10 + t) after t updates, so that the
/// average does not hang on to the start (TensorFlow's `ExponentialMovingAverage` with `num_updates`, as timm's EMA
/// warms up).
pub struct Ema {
    decay: f64,
    updates: i64,
    average: Vec<Tensor>,
}

impl Ema {
    /// Starts at the parameters' values. `decay`: in [0, 1).
    ///
    /// # Errors
    /// [`crate::error::Error::Train`] when they cannot be copied.
    pub fn new(parameters: &[Tensor], decay: f64) -> Result<Ema> {
        let average = parameters.iter().map(Tensor::copy).collect::<candle_core::Result<_>>().map_err(failed)?;
        Ok(Ema { decay, updates: 0, average })
    }

    /// Takes in the parameters after a step.
    ///
    /// # Errors
    /// [`crate::error::Error::Train`] for lists or shapes that are not those it began with.
    pub fn update(&mut self, parameters: &[Tensor]) -> Result<()> {
        same_length("parameters", parameters.len(), self.average.len())?;
        self.updates += 1;
        let t = self.updates as f64;
        let share = 1.0 - self.decay.min((1.0 + t) / (10.0 + t));
        for (average, parameter) in self.average.iter().zip(parameters) {
            towards(average, parameter, share).map_err(failed)?;
        }
        Ok(())
    }

    /// The averages, in the parameters' order.
    pub fn average(&self) -> &[Tensor] {
        &self.average
    }

    /// `NAME.ema` for every parameter, and `ema.step`. The tensors are the averages themselves: write them before going on.
    ///
    /// # Errors
    /// [`crate::error::Error::Train`] when there is not a name for each parameter.
    pub fn state(&self, names: &[String]) -> Result<HashMap<String, Tensor>> {
        same_length("names", names.len(), self.average.len())?;
        let mut tensors: HashMap<_, _> =
            names.iter().zip(&self.average).map(|(name, t)| (format!("{name}.ema"), t.clone())).collect();
        tensors.insert("ema.step".into(), Tensor::new(self.updates, &Device::Cpu).map_err(failed)?);
        Ok(tensors)
    }

    /// Takes what [`Ema::state`] gave, perhaps among other tensors.
    ///
    /// # Errors
    /// [`crate::error::Error::Train`] naming a tensor that is missing or of another shape or type; the state is as before then.
    pub fn load_state(&mut self, names: &[String], tensors: &HashMap<String, Tensor>) -> Result<()> {
        same_length("names", names.len(), self.average.len())?;
        let updates = find(tensors, "ema.step".into(), &[], DType::I64)?.to_scalar().map_err(failed)?;
        let mut loaded = Vec::new();
        for (name, own) in names.iter().zip(&self.average) {
            let tensor = find(tensors, format!("{name}.ema"), own.dims(), own.dtype())?;
            loaded.push(tensor.to_device(own.device()).and_then(|t| t.copy()).map_err(failed)?);
        }
        (self.updates, self.average) = (updates, loaded);
        Ok(())
    }
}

/// a + share·(θ − a) in place: fused for float32, by tensor operations for all else.
fn towards(average: &Tensor, parameter: &Tensor, share: f64) -> candle_core::Result<()> {
    if average.device().is_cpu() && average.dtype() == DType::F32 {
        return average.inplace_op2(&parameter.contiguous()?, &Towards(share as f32));
    }
    #[cfg(feature = "cuda")]
    if !average.device().is_cpu() {
        return average.update("average", parameter, &[], &[share as f32]);
    }
    average.slice_set(&(average + (parameter - average)?.affine(share, 0.0)?)?, 0, 0)
}

struct Towards(f32);

impl InplaceOp2 for Towards {
    fn name(&self) -> &'static str {
        "moving-average"
    }

    fn cpu_fwd(
        &self,
        a: &mut CpuStorage,
        layout: &Layout,
        p: &CpuStorage,
        parameter: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(a), CpuStorage::F32(p)) = (a, p) else { bail!("a moving average is for float32") };
        let (Some((start, end)), Some((from, to))) = (layout.contiguous_offsets(), parameter.contiguous_offsets())
        else {
            bail!("a moving average needs contiguous tensors")
        };
        if end - start != to - from {
            bail!("a moving average of {} values for {}", end - start, to - from)
        }
        let chunks = a[start..end].par_chunks_mut(CHUNK).zip(p[from..to].par_chunks(CHUNK));
        chunks.for_each(|(a, p)| a.iter_mut().zip(p).for_each(|(a, p)| *a += self.0 * (p - *a)));
        Ok(())
    }
}
