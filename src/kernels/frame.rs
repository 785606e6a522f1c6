//! A map inside a frame of zeros.

use super::simd::Vector;
use super::{Float, Window};

/// How a map lies in its frame: rows `pitch` apart; in each, the columns of every stride-th pixel, `part` apart.
#[derive(Debug)]
pub(super) struct Frame {
    map: [usize; 2],
    before: isize,
    pub(super) stride: [usize; 2],
    rows: usize,
    pub(super) part: usize,
    pub(super) pitch: usize,
    parts: Vec<Part>,
    lanes: usize,
}

/// Every stride-th pixel of a row.
#[derive(Debug)]
struct Part {
    /// The first pixel.
    from: usize,
    /// Where it goes in a row of the frame.
    to: usize,
    len: usize,
}

impl Frame {
    /// The frame for a window's positions in so many rows.
    pub(super) fn forward(w: &Window, rows: usize, lanes: usize) -> Self {
        let span = [0, 1].map(|axis| w.span(axis));
        Self::new(w.input, w.before.map(|before| before as isize), w.stride, [rows, w.output[1]], span, lanes)
    }

    /// For `size` positions, `stride` apart, of a kernel that spans `span` pixels; the first begins `before` the map.
    pub(super) fn new(
        map: [usize; 2],
        before: [isize; 2],
        stride: [usize; 2],
        size: [usize; 2],
        span: [usize; 2],
        lanes: usize,
    ) -> Self {
        let rows = (size[0] - 1) * stride[0] + span[0];
        let part = size[1].next_multiple_of(lanes) + span[1].div_ceil(stride[1]);
        let step = stride[1] as isize;
        let parts = (0..step).filter_map(|phase| {
            // The first pixel that belongs here and is not cut off.
            let skip = (phase - before[1]).rem_euclid(step);
            let cut = ((-before[1] - skip).max(0) as usize).next_multiple_of(stride[1]);
            let from = skip as usize + cut;
            let at = ((from as isize + before[1]) / step) as usize;
            let len = map[1].saturating_sub(from).div_ceil(stride[1]).min(part.saturating_sub(at));
            (len > 0).then_some(Part { from, to: phase as usize * part + at, len })
        });
        let (parts, pitch) = (parts.collect(), part * stride[1]);
        Self { map, before: before[0], stride, rows, part, pitch, parts, lanes }
    }

    /// Values in it, and what vectors may touch behind them.
    pub(super) fn len(&self) -> usize {
        self.rows * self.pitch + self.lanes
    }

    /// Copies a map into it; the frame itself must be zeros.
    #[inline(always)]
    pub(super) fn fill<T: Float, V: Vector<T>>(&self, x: &[T], frame: &mut [T]) {
        assert!(x.len() == self.map[0] * self.map[1] && frame.len() == self.len(), "a map and its frame");
        let first = (-self.before).max(0) as usize;
        let behind = (self.rows as isize - self.before).clamp(0, self.map[0] as isize) as usize;
        for row in first..behind {
            let line = &x[row * self.map[1]..][..self.map[1]];
            let to = &mut frame[(row as isize + self.before) as usize * self.pitch..];
            for part in &self.parts {
                // SAFETY: what is written behind a part are zeros, which are there, or which the next one overwrites.
                unsafe {
                    let (from, to) = (line.as_ptr().add(part.from), to.as_mut_ptr().add(part.to));
                    match self.stride[1] {
                        1 => copy::<T, V, 1>(from, to, part.len),
                        2 => copy::<T, V, 2>(from, to, part.len),
                        step => (0..part.len).for_each(|i| *to.add(i) = *from.add(i * step)),
                    }
                }
            }
        }
    }
}

/// Every `STEP`-th of some values, and zeros until a vector is full.
#[inline(always)]
unsafe fn copy<T: Float, V: Vector<T>, const STEP: usize>(from: *const T, to: *mut T, len: usize) {
    for i in (0..len).step_by(V::LANES) {
        unsafe {
            let (from, left) = (from.add(i * STEP), (len - i).min(V::LANES));
            let values = match STEP {
                1 if left == V::LANES => V::load(from),
                1 => V::load_part(from, left),
                _ => V::load_even(from, left),
            };
            values.store(to.add(i));
        }
    }
}
