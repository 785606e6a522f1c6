//! Page-locked memory that copies to the device go through, so that nobody waits for them.

use cudarc::driver::result::{free_host, malloc_host, memcpy_htod_async};
use cudarc::driver::{CudaEvent, CudaStream, DriverError};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// Copies that may be on their way at once.
const STAGES: usize = 3;
/// Of fewer values a copy is as fast without; of more (128 MiB) it would lock too much of the host's memory.
pub(super) const STAGED: RangeInclusive<usize> = 1 << 14..=1 << 25;

/// Threads that copy to page-locked memory together, and of how many values on (4 MiB) it is worth their start.
const COPIERS: usize = 4;
const MANY: usize = 1 << 20;

/// Memory for one copy.
struct Stage {
    pointer: *mut c_void,
    len: usize,
    /// When the copy is done.
    copied: Option<CudaEvent>,
}

// SAFETY: it is memory of the process.
unsafe impl Send for Stage {}

impl Drop for Stage {
    fn drop(&mut self) {
        // SAFETY: it was made by `malloc_host`, and no copy is on its way. Nobody could be told of a failure.
        let _ = unsafe { free_host(self.pointer) };
    }
}

impl Stage {
    fn new(len: usize) -> Result<Stage, DriverError> {
        // SAFETY: it is written before it is read.
        let pointer = unsafe { malloc_host(len * size_of::<f32>(), 0) }?;
        Ok(Stage { pointer, len, copied: None })
    }
}

/// Copies values to memory that is as long.
fn copy(values: &[f32], to: &mut [MaybeUninit<f32>]) {
    let some = |values: &[f32], to: &mut [MaybeUninit<f32>]| {
        for (to, &value) in to.iter_mut().zip(values) {
            to.write(value);
        }
    };
    if values.len() < MANY {
        return some(values, to);
    }
    let part = values.len().div_ceil(COPIERS);
    std::thread::scope(|scope| {
        values
            .chunks(part)
            .zip(to.chunks_mut(part))
            .for_each(|(values, to)| drop(scope.spawn(move || some(values, to))));
    });
}

#[derive(Default)]
pub(super) struct Stages(Mutex<VecDeque<Stage>>);

impl Stages {
    /// Copies values to the device's memory at `to`, which is as long, in the stream's order. The context is this thread's.
    pub(super) fn upload(&self, stream: &CudaStream, values: &[f32], to: u64) -> Result<(), DriverError> {
        // Others that copy meanwhile take stages of their own.
        let stages = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = stages();
        let oldest = if all.len() < STAGES { None } else { all.pop_front() };
        drop(all);
        if let Some(copied) = oldest.as_ref().and_then(|stage| stage.copied.as_ref()) {
            copied.synchronize()?;
        }
        let mut stage = match oldest.filter(|stage| stage.len >= values.len()) {
            Some(stage) => stage,
            None => Stage::new(values.len())?,
        };
        // SAFETY: there is room for the values, which nobody else reads or writes meanwhile.
        copy(values, unsafe { std::slice::from_raw_parts_mut(stage.pointer.cast(), values.len()) });
        // SAFETY: they have all been written.
        let staged = unsafe { std::slice::from_raw_parts(stage.pointer.cast::<f32>(), values.len()) };
        // SAFETY: both memories are as long as the values, and the stage is kept until the copy is done.
        let done = unsafe { memcpy_htod_async(to, staged, stream.cu_stream()) };
        match done.and_then(|()| stream.record_event(None)) {
            Ok(copied) => stage.copied = Some(copied),
            Err(error) => {
                let _ = stream.synchronize();
                return Err(error);
            }
        }
        stages().push_back(stage);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MANY, copy};
    use std::mem::MaybeUninit;

    #[test]
    fn few_and_many_values_are_copied() {
        for count in [0, 1, 1000, MANY, MANY + 3] {
            let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
            let mut made = vec![MaybeUninit::new(-1.); count];
            copy(&values, &mut made);
            // SAFETY: they were set twice.
            assert!(made.iter().zip(&values).all(|(made, value)| unsafe { made.assume_init() } == *value), "{count}");
        }
    }
}
