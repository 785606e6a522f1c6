//! Pooling over the maps of `[planes, height, width]`, where planes are images times channels.

use super::pointwise::wide;
use super::{Float, Window};
use rayon::prelude::*;
use std::ops::Range;

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
    let taps = Taps::new(w);
    each_plane(w, x, y, |x, y| {
        y.fill(T::LOWEST);
        taps.each(|tap, _, map, row| {
            let pairs = (&x[map..][..w.input[1]], &mut y[row..][..w.output[1]]);
            tap.gather(pairs.0, pairs.1, |best, value| if value > best || value.nan() { value } else { best });
        });
    });
}

/// Writes the gradient of [`max`] by the input to `dx`: each output's goes to the first pixel that is largest; one that is
/// not a number is larger than all.
pub fn max_by_input<T: Float>(w: &Window, x: &[T], dy: &[T], dx: &mut [T]) {
    assert!(x.len() == dx.len(), "as many gradients as values");
    let taps = Taps::new(w);
    // The plane of `x` is found by counting, since `each_plane` walks two slices.
    let maps: Vec<&[T]> = x.chunks_exact(w.pixels().max(1)).collect();
    // How far each tap is from where the window stands, which may be before the map.
    let before = w.before[0] * w.input[1] + w.before[1];
    let offset = |tap: usize| {
        let (ky, kx) = (tap / w.kernel[1], tap % w.kernel[1]);
        (ky * w.dilation[0] * w.input[1] + kx * w.dilation[1]).wrapping_sub(before)
    };
    let offsets: Vec<usize> = (0..w.taps()).map(offset).collect();
    // The largest value so far at each position of a row, and the tap that it is under.
    let room = || (vec![T::default(); w.output[1]], vec![NOWHERE; w.output[1]]);
    each_numbered_plane(w, dy, dx, room, |(best, which), plane, dy, dx| {
        dx.fill(T::default());
        for oy in 0..w.output[0] {
            which.fill(NOWHERE);
            taps.each_of(oy, |tap, number, map, _| {
                tap.largest(&maps[plane][map..][..w.input[1]], number as u32, best, which);
            });
            let row = oy * w.stride[0] * w.input[1];
            for (ox, (&tap, &dy)) in which.iter().zip(&dy[oy * w.output[1]..]).enumerate() {
                if tap != NOWHERE {
                    dx[(row + ox * w.stride[1]).wrapping_add(offsets[tap as usize])] += dy;
                }
            }
        }
    });
}

/// Writes each window's sum, divided as told, to `y`.
pub fn sum<T: Float>(w: &Window, divisor: Divisor, x: &[T], y: &mut [T]) {
    let (factors, taps) = (factors::<T>(w, divisor), Taps::new(w));
    each_plane(w, x, y, |x, y| {
        y.fill(T::default());
        taps.each(|tap, _, map, row| {
            tap.gather(&x[map..][..w.input[1]], &mut y[row..][..w.output[1]], |sum, value| sum + value);
        });
        y.iter_mut().zip(&factors).for_each(|(y, &factor)| *y = *y * factor);
    });
}

/// Writes the gradient of [`sum`] by the input to `dx`.
pub fn sum_by_input<T: Float>(w: &Window, divisor: Divisor, dy: &[T], dx: &mut [T]) {
    let (factors, taps) = (factors::<T>(w, divisor), Taps::new(w));
    let room = || vec![T::default(); w.output[1]];
    each_numbered_plane(w, dy, dx, room, |parts, _, dy, dx| {
        dx.fill(T::default());
        for oy in 0..w.output[0] {
            let row = oy * w.output[1];
            let shares = dy[row..].iter().zip(&factors[row..]);
            parts.iter_mut().zip(shares).for_each(|(part, (&dy, &factor))| *part = dy * factor);
            taps.each_of(oy, |tap, _, map, _| tap.scatter(parts, &mut dx[map..][..w.input[1]]));
        }
    });
}

/// No tap.
const NOWHERE: u32 = u32::MAX;

/// One column of a window's taps, along a row.
struct Tap {
    /// The positions at which it lies inside the map.
    inside: Range<usize>,
    /// The pixel under it at the first of them.
    from: usize,
    stride: usize,
}

impl Tap {
    /// The values of a row of the map that come under it, joined with those of the positions.
    #[inline(always)]
    fn gather<T: Float>(&self, line: &[T], out: &mut [T], join: impl Fn(T, T) -> T) {
        let out = &mut out[self.inside.clone()];
        // The usual strides are known to the compiler, which then takes many values at once.
        match self.stride {
            1 => out.iter_mut().zip(&line[self.from..]).for_each(|(out, &value)| *out = join(*out, value)),
            2 => self.by::<T, 2>(line, out, join),
            stride => {
                let values = line[self.from..].iter().step_by(stride);
                out.iter_mut().zip(values).for_each(|(out, &value)| *out = join(*out, value));
            }
        }
    }

    #[inline(always)]
    fn by<T: Float, const STRIDE: usize>(&self, line: &[T], out: &mut [T], join: impl Fn(T, T) -> T) {
        let Some((last, out)) = out.split_last_mut() else { return };
        let (values, _) = line[self.from..].as_chunks::<STRIDE>();
        out.iter_mut().zip(values).for_each(|(out, values)| *out = join(*out, values[0]));
        // The last one's chunk may not be whole.
        *last = join(*last, line[self.from + out.len() * STRIDE]);
    }

    /// Notes which tap has the largest value so far.
    #[inline(always)]
    fn largest<T: Float>(&self, line: &[T], number: u32, best: &mut [T], which: &mut [u32]) {
        match self.stride {
            1 => self.largest_by::<T, 1>(line, number, best, which),
            2 => self.largest_by::<T, 2>(line, number, best, which),
            _ => self.largest_by::<T, 0>(line, number, best, which),
        }
    }

    #[inline(always)]
    fn largest_by<T: Float, const STRIDE: usize>(&self, line: &[T], number: u32, best: &mut [T], which: &mut [u32]) {
        let stride = if STRIDE == 0 { self.stride } else { STRIDE };
        let count = self.inside.len();
        let (best, which) = (&mut best[self.inside.start..][..count], &mut which[self.inside.start..][..count]);
        let line = &line[self.from..][..(count - 1) * stride + 1];
        for i in 0..count {
            let (value, held, tap) = (line[i * stride], best[i], which[i]);
            // Without branches, so that many are compared at once.
            let more = (value > held) | (tap == NOWHERE) | (value.nan() & !held.nan());
            best[i] = if more { value } else { held };
            which[i] = if more { number } else { tap };
        }
    }

    /// Adds the positions' values to the pixels under it.
    #[inline(always)]
    fn scatter<T: Float>(&self, parts: &[T], line: &mut [T]) {
        let parts = &parts[self.inside.clone()];
        if self.stride == 1 {
            return line[self.from..].iter_mut().zip(parts).for_each(|(value, &part)| *value += part);
        }
        let values = line[self.from..].iter_mut().step_by(self.stride);
        values.zip(parts).for_each(|(value, &part)| *value += part);
    }
}

/// A window's taps by column.
struct Taps<'a> {
    w: &'a Window,
    columns: Vec<(usize, Tap)>,
}

impl Taps<'_> {
    fn new(w: &Window) -> Taps<'_> {
        let tap = |kx: usize| {
            let inside = w.inside(1, kx);
            let from = if inside.is_empty() { 0 } else { w.pixel(1, inside.start, kx) };
            (kx, Tap { inside, from, stride: w.stride[1] })
        };
        Taps { w, columns: (0..w.kernel[1]).map(tap).filter(|(_, tap)| !tap.inside.is_empty()).collect() }
    }

    /// Calls `work(column, tap, start of the row of the map, start of the row of positions)` for all rows under the window.
    #[inline(always)]
    fn each(&self, mut work: impl FnMut(&Tap, usize, usize, usize)) {
        (0..self.w.output[0]).for_each(|oy| self.each_of(oy, &mut work));
    }

    /// The same for one row of positions, the window's rows from above.
    #[inline(always)]
    fn each_of(&self, oy: usize, mut work: impl FnMut(&Tap, usize, usize, usize)) {
        let w = self.w;
        for ky in (0..w.kernel[0]).filter(|&ky| w.inside(0, ky).contains(&oy)) {
            let map = w.pixel(0, oy, ky) * w.input[1];
            let columns = self.columns.iter();
            columns.for_each(|(kx, tap)| work(tap, ky * w.kernel[1] + kx, map, oy * w.output[1]));
        }
    }
}

/// Calls `work` with each plane of `from` and of `to`, one of which has pixels and the other positions.
fn each_plane<T: Float>(w: &Window, from: &[T], to: &mut [T], work: impl Fn(&[T], &mut [T]) + Sync) {
    each_numbered_plane(w, from, to, || (), |(), _, from, to| work(from, to));
}

/// The same with the plane's number, and with room that a thread has to itself.
fn each_numbered_plane<T: Float, R>(
    w: &Window,
    from: &[T],
    to: &mut [T],
    room: impl Fn() -> R + Sync + Send,
    work: impl Fn(&mut R, usize, &[T], &mut [T]) + Sync,
) {
    let both = w.pixels() + w.positions();
    let planes = (from.len() + to.len()) / both.max(1);
    if from.is_empty() || to.is_empty() {
        return to.fill(T::default());
    }
    let (from_size, to_size) = (from.len() / planes.max(1), to.len() / planes.max(1));
    let fits = from_size + to_size == both && from_size * planes == from.len() && to_size * planes == to.len();
    assert!(fits, "values as many as the window's geometry says");
    to.par_chunks_exact_mut(to_size).enumerate().for_each_init(room, |room, (plane, to)| {
        wide(|| work(room, plane, &from[plane * from_size..][..from_size], to));
    });
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
