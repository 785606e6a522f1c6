//! Memory that is used again: where a program's values lie.
//!
//! A step of training asks for as much memory as the one before, for tensors of the same sizes. Fresh memory costs a pass
//! over it, by the system or by us, before a kernel writes the first value.

use crate::tensor::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, host};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Vectors that nobody reads any more.
#[derive(Default)]
pub(super) struct Buffers {
    f32: Mutex<Free<f32>>,
    f64: Mutex<Free<f64>>,
    /// The number of images that they are for.
    images: AtomicUsize,
    /// How many runs have begun.
    runs: AtomicUsize,
}

/// Each with the run in which it was given back.
type Free<T> = Vec<(usize, Vec<T>)>;

/// What buffers are made of.
pub(super) trait Stored: Copy + Default {
    /// Those of this type.
    fn free(buffers: &Buffers) -> MutexGuard<'_, Free<Self>>;
}

impl Stored for f32 {
    fn free(buffers: &Buffers) -> MutexGuard<'_, Free<f32>> {
        buffers.f32.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored for f64 {
    fn free(buffers: &Buffers) -> MutexGuard<'_, Free<f64>> {
        buffers.f64.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffers {
    /// Lets go what the last run did not need (operators that make their own memory leave it here too), and everything
    /// where batches of another size have left it.
    pub(super) fn begin(&self, images: usize) {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let same = self.images.swap(images, Ordering::Relaxed) == images;
        f32::free(self).retain(|(given, _)| same && given + 1 >= run);
        f64::free(self).retain(|(given, _)| same && given + 1 >= run);
    }

    /// So many values, whatever they are.
    pub(super) fn take<T: Stored>(&self, count: usize) -> Vec<T> {
        let mut free = T::free(self);
        // The smallest that is large enough, and not so large that somebody else will miss it.
        let fits = |&index: &usize| (count..=count + count / 4).contains(&free[index].1.capacity());
        // Of equals the one that was given back last: the others grow old.
        let found = (0..free.len()).rev().filter(fits).min_by_key(|&index| free[index].1.capacity());
        let Some(index) = found else {
            drop(free);
            return vec![T::default(); count];
        };
        let (_, mut vector) = free.remove(index);
        drop(free);
        vector.resize(count, T::default());
        vector
    }

    pub(super) fn give<T: Stored>(&self, vector: Vec<T>) {
        // Small ones are not worth a search.
        if vector.len() >= 1 << 10 {
            let run = self.runs.load(Ordering::Relaxed);
            T::free(self).push((run, vector));
        }
    }

    /// Takes a tensor's memory. Others that share it become empty.
    pub(super) fn reclaim(&self, tensor: &Tensor) -> Result<()> {
        if tensor.device().is_cpu() { tensor.inplace_op1(&Take(self)) } else { Ok(()) }
    }
}

struct Take<'a>(&'a Buffers);

impl InplaceOp1 for Take<'_> {
    fn name(&self) -> &'static str {
        "reclaim"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        match storage {
            CpuStorage::F32(values) => self.0.give(std::mem::take(values)),
            CpuStorage::F64(values) => self.0.give(std::mem::take(values)),
            _ => {}
        }
        Ok(())
    }
}

/// Counts how many of a run's values lie in the same memory: several tensors may be views of one.
pub(super) struct Holders {
    counts: HashMap<usize, usize>,
    buffers: Arc<Buffers>,
}

impl Holders {
    pub(super) fn new(buffers: Arc<Buffers>) -> Holders {
        Holders { counts: HashMap::new(), buffers }
    }

    /// One value more lies in this tensor's memory. Whoever holds it for good never [releases](Self::release) it.
    pub(super) fn hold(&mut self, tensor: &Tensor) {
        if let Some(place) = place(tensor) {
            *self.counts.entry(place).or_default() += 1;
        }
    }

    /// One less; the last one gives the memory back.
    pub(super) fn release(&mut self, tensor: Option<Tensor>) -> Result<()> {
        let Some(tensor) = tensor else { return Ok(()) };
        let Some(place) = place(&tensor) else { return Ok(()) };
        let Some(count) = self.counts.get_mut(&place) else { return Ok(()) };
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        self.counts.remove(&place);
        self.buffers.reclaim(&tensor)
    }
}

/// Where a tensor's memory begins.
fn place(tensor: &Tensor) -> Option<usize> {
    let (storage, _) = host(tensor).ok()?.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) if !values.is_empty() => Some(values.as_ptr() as usize),
        Storage::Cpu(CpuStorage::F64(values)) if !values.is_empty() => Some(values.as_ptr() as usize),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Device;

    #[test]
    fn memory_comes_back_when_the_last_view_goes() {
        let buffers = Arc::new(Buffers::default());
        let mut holders = Holders::new(buffers.clone());
        let tensor = Tensor::from_vec(vec![1f32; 4096], (64, 64), &Device::Cpu).unwrap();
        let (view, place) = (tensor.t().unwrap(), place(&tensor));
        holders.hold(&tensor);
        holders.hold(&view);
        holders.release(Some(tensor)).unwrap();
        assert!(f32::free(&buffers).is_empty());
        holders.release(Some(view)).unwrap();
        assert_eq!(f32::free(&buffers).len(), 1);
        let again = buffers.take::<f32>(4000);
        assert_eq!((again.len(), Some(again.as_ptr() as usize)), (4000, place));
        assert_eq!(buffers.take::<f32>(4000), vec![0.; 4000]);
    }
}
