//! Memory to work in, kept from call to call: fresh memory costs more than much of what is computed in it.

use super::Float;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

/// A cache line; whatever is in it is a number. It is read through pointers alone.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u64; 8]);

/// What is not in use, up to [`KEPT`].
static POOL: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());
/// Lines that are kept at most: 64 MiB.
const KEPT: usize = 1 << 20;

/// Values that begin at a cache line. They are what they were when the memory was used last.
pub(super) struct Scratch<T> {
    lines: Vec<Line>,
    len: usize,
    numbers: PhantomData<T>,
}

impl<T: Float> Scratch<T> {
    /// So many values.
    pub(super) fn new(len: usize) -> Self {
        let count = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut pool = POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // The smallest that is large enough, and not much too large.
        let suits = count..count * 8 + 1024;
        let fits = (0..pool.len()).filter(|&i| suits.contains(&pool[i].len())).min_by_key(|&i| pool[i].len());
        let kept = fits.map(|i| pool.swap_remove(i));
        drop(pool);
        Self { lines: kept.unwrap_or_else(|| vec![Line([0; 8]); count]), len, numbers: PhantomData }
    }

    /// So many zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let mut scratch = Self::new(len);
        scratch.fill(T::default());
        scratch
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        let mut pool = POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        pool.push(std::mem::take(&mut self.lines));
        // The smallest go first: the large ones are the dear ones.
        while pool.iter().map(Vec::len).sum::<usize>() > KEPT || pool.len() > 64 {
            let smallest = (0..pool.len()).min_by_key(|&i| pool[i].len());
            smallest.map(|i| pool.swap_remove(i));
        }
    }
}

impl<T> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold so many values, they are initialised, and all their bits are numbers.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
