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
        taps.each(|tap, map, row| {
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
    // The largest value so far at each position of a row, and where it is: a distance from the row's first pixel.
    let room = || (vec![T::default(); w.output[1]], vec![NOWHERE; w.output[1]]);
    each_numbered_plane(w, dy, dx, room, |(best, place), plane, dy, dx| {
        dx.fill(T::default());
        for oy in 0..w.output[0] {
            place.fill(NOWHERE);
            taps.each_of(oy, |tap, map, _| {
                tap.largest(&maps[plane][map..][..w.input[1]], map as u32, best, place);
            });
            for (&at, &dy) in place.iter().zip(&dy[oy * w.output[1]..]) {
                if at != NOWHERE {
                    dx[at as usize] += dy;
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
        taps.each(|tap, map, row| {
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
            taps.each_of(oy, |tap, map, _| tap.scatter(parts, &mut dx[map..][..w.input[1]]));
        }
    });
}

/// No pixel.
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

    /// Notes where values are larger than the largest so far; `row` is where the line begins.
    #[inline(always)]
    fn largest<T: Float>(&self, line: &[T], row: u32, best: &mut [T], place: &mut [u32]) {
        let so_far = best[self.inside.clone()].iter_mut().zip(&mut place[self.inside.clone()]);
        let values = line[self.from..].iter().step_by(self.stride);
        let first = row + self.from as u32;
        for (index, ((best, place), &value)) in so_far.zip(values).enumerate() {
            let more = *place == NOWHERE || value > *best || (value.nan() && !best.nan());
            *best = if more { value } else { *best };
            *place = if more { first + (index * self.stride) as u32 } else { *place };
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
    columns: Vec<Tap>,
}

impl Taps<'_> {
    fn new(w: &Window) -> Taps<'_> {
        let tap = |kx: usize| {
            let inside = w.inside(1, kx);
            let from = if inside.is_empty() { 0 } else { w.pixel(1, inside.start, kx) };
            Tap { inside, from, stride: w.stride[1] }
        };
        Taps { w, columns: (0..w.kernel[1]).map(tap).filter(|tap| !tap.inside.is_empty()).collect() }
    }

    /// Calls `work(column, start of the row of the map, start of the row of positions)` for all rows under the window.
    #[inline(always)]
    fn each(&self, mut work: impl FnMut(&Tap, usize, usize)) {
        (0..self.w.output[0]).for_each(|oy| self.each_of(oy, &mut work));
    }

    /// The same for one row of positions, the window's rows from above.
    #[inline(always)]
    fn each_of(&self, oy: usize, mut work: impl FnMut(&Tap, usize, usize)) {
        let w = self.w;
        for ky in (0..w.kernel[0]).filter(|&ky| w.inside(0, ky).contains(&oy)) {
            let map = w.pixel(0, oy, ky) * w.input[1];
            self.columns.iter().for_each(|tap| work(tap, map, oy * w.output[1]));
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
