//! A map inside a frame of zeros.

use super::simd::Vector;
use super::{Float, Window};

/// How a map lies in its frame: rows `pitch` apart; in each, the columns of every stride-th pixel, `part` apart.
#[derive(Debug)]
pub(super) struct Frame {
    map: [usize; 2],
    before: [isize; 2],
    pub(super) stride: [usize; 2],
    rows: usize,
    pub(super) part: usize,
    pub(super) pitch: usize,
    lanes: usize,
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
        Self { map, before, stride, rows, part, pitch: part * stride[1], lanes }
    }

    /// Values in it, and what vectors may touch behind them.
    pub(super) fn len(&self) -> usize {
        self.rows * self.pitch + self.lanes
    }

    /// Copies a map into it; the frame itself must be zeros.
    ///
    /// # Safety
    /// `x` is the map, `frame` as long as [`len`](Self::len) says.
    #[inline(always)]
    pub(super) unsafe fn fill<T: Float, V: Vector<T>>(&self, x: &[T], frame: &mut [T]) {
        let first = (-self.before[0]).max(0) as usize;
        let behind = (self.rows as isize - self.before[0]).clamp(0, self.map[0] as isize) as usize;
        for row in first..behind {
            let line = &x[row * self.map[1]..][..self.map[1]];
            let to = (row as isize + self.before[0]) as usize * self.pitch;
            for phase in 0..self.stride[1] {
                self.fill_part::<T, V>(line, phase, &mut frame[to + phase * self.part..][..self.part]);
            }
        }
    }

    /// Every stride-th pixel of a row.
    #[inline(always)]
    fn fill_part<T: Float, V: Vector<T>>(&self, line: &[T], phase: usize, to: &mut [T]) {
        let stride = self.stride[1];
        // The first pixel that belongs here and is not cut off.
        let skip = (phase as isize - self.before[1]).rem_euclid(stride as isize) as usize;
        let cut = (-self.before[1] - skip as isize).max(0) as usize;
        let x = skip + cut.next_multiple_of(stride);
        if x >= line.len() {
            return;
        }
        let at = (x as isize + self.before[1]) as usize / stride;
        let n = (line.len() - x).div_ceil(stride).min(to.len().saturating_sub(at));
        if n == 0 {
            return;
        }
        if stride > 2 {
            return (0..n).for_each(|i| to[at + i] = line[x + i * stride]);
        }
        // SAFETY: `n` values lie in both slices.
        unsafe {
            let (from, to) = (line.as_ptr().add(x), to.as_mut_ptr().add(at));
            let mut i = 0;
            while i < n {
                let values = match (stride, n - i) {
                    (2, left) => V::load_even(from.add(2 * i), left.min(V::LANES)),
                    (_, left) if left >= V::LANES => V::load(from.add(i)),
                    (_, left) => V::load_part(from.add(i), left),
                };
                if n - i >= V::LANES {
                    values.store(to.add(i))
                } else {
                    values.store_part(to.add(i), n - i)
                }
                i += V::LANES;
            }
        }
    }
}
