//! Pooling over the maps of `[planes, height, width]`, where planes are images times channels.

use super::{Float, Window};
use rayon::prelude::*;

/// What a window's sum is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divisor {
    /// Nothing: it stays a sum.
    One,
    /// The pixels of the map under the window.
    Inside,
    /// The same with the padding, `after` of it behind the map; what hangs over that (as it may where sizes are rounded
    /// up) does not count.
    Padded {
        /// Padding behind the map.
        after: [usize; 2],
    },
}

/// Writes each window's largest value to `y`; padding never is it.
pub fn max<T: Float>(w: &Window, x: &[T], y: &mut [T]) {
    each_plane(w, x, y, |x, y| {
        each_position(w, |position, pixels| y[position] = largest(x, pixels).map_or(T::LOWEST, |at| x[at]));
    });
}

/// Writes the gradient of [`max`] by the input to `dx`: each output's goes to the first pixel that is largest.
pub fn max_by_input<T: Float>(w: &Window, x: &[T], dy: &[T], dx: &mut [T]) {
    assert!(x.len() == dx.len(), "as many gradients as values");
    // The plane of `x` is found by counting, since `each_plane` walks two slices.
    let maps: Vec<&[T]> = x.chunks_exact(w.pixels().max(1)).collect();
    each_numbered_plane(w, dy, dx, |plane, dy, dx| {
        dx.fill(T::default());
        each_position(w, |position, pixels| {
            if let Some(at) = largest(maps[plane], pixels) {
                dx[at] += dy[position];
            }
        });
    });
}

/// The first of the largest values; one that is not a number is larger than all.
fn largest<T: Float>(x: &[T], pixels: Pixels) -> Option<usize> {
    let mut best: Option<usize> = None;
    pixels.each(|at| match best {
        Some(held) if x[at] > x[held] || (x[at].nan() && !x[held].nan()) => best = Some(at),
        Some(_) => {}
        None => best = Some(at),
    });
    best
}

/// Writes each window's sum, divided as told, to `y`.
pub fn sum<T: Float>(w: &Window, divisor: Divisor, x: &[T], y: &mut [T]) {
    let factors = factors::<T>(w, divisor);
    each_plane(w, x, y, |x, y| {
        each_position(w, |position, pixels| {
            let mut total = T::default();
            pixels.each(|at| total += x[at]);
            y[position] = total * factors[position];
        });
    });
}

/// Writes the gradient of [`sum`] by the input to `dx`.
pub fn sum_by_input<T: Float>(w: &Window, divisor: Divisor, dy: &[T], dx: &mut [T]) {
    let factors = factors::<T>(w, divisor);
    each_plane(w, dy, dx, |dy, dx| {
        dx.fill(T::default());
        each_position(w, |position, pixels| {
            let part = dy[position] * factors[position];
            pixels.each(|at| dx[at] += part);
        });
    });
}

/// Calls `work` with each plane of `from` and of `to`, one of which has pixels and the other positions.
fn each_plane<T: Float>(w: &Window, from: &[T], to: &mut [T], work: impl Fn(&[T], &mut [T]) + Sync) {
    each_numbered_plane(w, from, to, |_, from, to| work(from, to));
}

fn each_numbered_plane<T: Float>(w: &Window, from: &[T], to: &mut [T], work: impl Fn(usize, &[T], &mut [T]) + Sync) {
    let both = w.pixels() + w.positions();
    let planes = (from.len() + to.len()) / both.max(1);
    if from.is_empty() || to.is_empty() {
        return to.fill(T::default());
    }
    let (from_size, to_size) = (from.len() / planes.max(1), to.len() / planes.max(1));
    let fits = from_size + to_size == both && from_size * planes == from.len() && to_size * planes == to.len();
    assert!(fits, "values as many as the window's geometry says");
    to.par_chunks_exact_mut(to_size).enumerate().for_each(|(plane, to)| {
        work(plane, &from[plane * from_size..][..from_size], to);
    });
}

/// The pixels of the map under a window.
#[derive(Clone, Copy)]
struct Pixels {
    first: usize,
    /// How many rows, and the distance between them; the same of columns.
    rows: (usize, usize),
    columns: (usize, usize),
}

impl Pixels {
    fn each(self, mut visit: impl FnMut(usize)) {
        for row in 0..self.rows.0 {
            let start = self.first + row * self.rows.1;
            (0..self.columns.0).for_each(|column| visit(start + column * self.columns.1));
        }
    }
}

/// Calls `work` with every position and the pixels under the window there.
fn each_position(w: &Window, mut work: impl FnMut(usize, Pixels)) {
    // The first pixel under the window and how many there are.
    let under = |axis: usize, position: usize| {
        let (start, step, before) = (position * w.stride[axis], w.dilation[axis], w.before[axis]);
        let outside = before.saturating_sub(start).div_ceil(step).min(w.kernel[axis]);
        let taps = (before + w.input[axis]).saturating_sub(start).div_ceil(step).min(w.kernel[axis]);
        let first = (start + outside * step).saturating_sub(before);
        (first, taps.saturating_sub(outside))
    };
    let across: Vec<(usize, usize)> = (0..w.output[1]).map(|ox| under(1, ox)).collect();
    for oy in 0..w.output[0] {
        let (y, rows) = under(0, oy);
        for (ox, &(x, columns)) in across.iter().enumerate() {
            let first = y * w.input[1] + x;
            let pixels = Pixels { first, rows: (rows, w.dilation[0] * w.input[1]), columns: (columns, w.dilation[1]) };
            work(oy * w.output[1] + ox, pixels);
        }
    }
}

/// What to multiply each position's sum by.
fn factors<T: Float>(w: &Window, divisor: Divisor) -> Vec<T> {
    let along = |axis: usize, position: usize| {
        let mut taps = (0..w.kernel[axis]).map(|k| position * w.stride[axis] + k * w.dilation[axis]);
        let (before, behind) = (w.before[axis], w.before[axis] + w.input[axis]);
        match divisor {
            Divisor::One => 1,
            Divisor::Inside => taps.by_ref().filter(|at| (before..behind).contains(at)).count(),
            Divisor::Padded { after } => taps.by_ref().filter(|&at| at < behind + after[axis]).count(),
        }
    };
    let positions = (0..w.output[0]).flat_map(|oy| (0..w.output[1]).map(move |ox| (oy, ox)));
    positions.map(|(oy, ox)| T::ONE / T::count((along(0, oy) * along(1, ox)).max(1))).collect()
}
