//! One value after another: functions of values at the same place, also against one value a channel, and sums of them.
//!
//! Everything is cut into pieces whose size does not depend on the number of threads, and every sum has a fixed order.

use super::Float;
use rayon::prelude::*;

/// So many values make a piece.
const PIECE: usize = 1 << 14;
/// Sums run in so many strands, which the compiler can keep in registers.
const STRANDS: usize = 16;
/// Where the channels lie side by side, at most so many partial sums are made.
const PARTS: usize = 64;

/// Runs the work with the widest registers that this processor has.
#[inline(always)]
pub(super) fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Writes `function` of the values at each place of `x` to `y`.
pub fn map<T: Float, const N: usize>(x: [&[T]; N], y: &mut [T], function: impl Fn([T; N]) -> T + Sync + Copy) {
    assert!(x.iter().all(|x| x.len() == y.len()), "as many values of each");
    y.par_chunks_mut(PIECE).enumerate().for_each(|(piece, y)| {
        let x = x.map(|x| &x[piece * PIECE..][..y.len()]);
        wide(|| line(x, y, function));
    });
}

#[inline(always)]
fn line<T: Float, const N: usize>(x: [&[T]; N], y: &mut [T], function: impl Fn([T; N]) -> T + Copy) {
    let length = y.len();
    let x = x.map(|x| &x[..length]);
    (0..length).for_each(|i| y[i] = function(x.map(|x| x[i])));
}

/// A tensor as `[outer, channels, inner]`, against which others have one value a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// How often all channels come.
    pub outer: usize,
    /// How many values the others have.
    pub channels: usize,
    /// How many values of a channel lie behind one another.
    pub inner: usize,
}

impl Grid {
    /// The grid over a tensor of this shape of another, of as many axes, that is repeated along some: where those that
    /// are not repeated lie side by side.
    pub fn of(shape: &[usize], other: &[usize]) -> Option<Grid> {
        let fits =
            shape.len() == other.len() && shape.iter().zip(other).all(|(&own, &other)| other == own || other == 1);
        if !fits {
            return None;
        }
        let own = |axis: &usize| shape[*axis] != 1;
        let kept = |axis: &usize| other[*axis] == shape[*axis];
        let axes: Vec<usize> = (0..shape.len()).filter(own).collect();
        let first = axes.iter().position(kept).unwrap_or(0);
        let count = axes[first..].iter().take_while(|axis| kept(axis)).count();
        let (channels, inner) = (&axes[first..first + count], &axes[first + count..]);
        let size = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
        let grid = Grid { outer: size(&axes[..first]), channels: size(channels), inner: size(inner) };
        inner.iter().all(|axis| !kept(axis)).then_some(grid)
    }

    /// How many values the tensor has.
    pub fn len(&self) -> usize {
        self.outer * self.channels * self.inner
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `function` of the values at each place of `x`, and of the channel's `others`, to `y`.
    pub fn map<T: Float, const N: usize, const M: usize>(
        &self,
        x: [&[T]; N],
        others: [&[T]; M],
        y: &mut [T],
        function: impl Fn([T; N], [T; M]) -> T + Sync + Copy,
    ) {
        let Grid { channels, inner, .. } = *self;
        assert!(x.iter().all(|x| x.len() == y.len()) && y.len() == self.len(), "as many values as the grid says");
        assert!(others.iter().all(|other| other.len() == channels), "a value for each channel");
        if channels == 1 {
            let others = others.map(|other| other[0]);
            return map(x, y, |x| function(x, others));
        }
        // Whole rows, each of one channel or of all of them.
        let row = if inner == 1 { channels } else { inner }.max(1);
        let rows = (PIECE / row).max(1);
        y.par_chunks_mut(rows * row).enumerate().for_each(|(piece, y)| {
            let start = piece * rows;
            let x = x.map(|x| &x[start * row..][..y.len()]);
            wide(move || {
                for (place, y) in y.chunks_exact_mut(row).enumerate() {
                    let x = x.map(|x| &x[place * row..][..row]);
                    if inner == 1 {
                        let others = others.map(|other| &other[..row]);
                        (0..row).for_each(|i| y[i] = function(x.map(|x| x[i]), others.map(|other| other[i])));
                    } else {
                        let others = others.map(|other| other[(start + place) % channels]);
                        line(x, y, |x| function(x, others));
                    }
                }
            });
        });
    }

    /// Writes the sums over each channel of `function` of the values at each place of `x`, and of the channel's `others`, to
    /// `sums`.
    pub fn sum<T: Float, const N: usize, const K: usize, const M: usize>(
        &self,
        x: [&[T]; N],
        others: [&[T]; K],
        sums: [&mut [T]; M],
        function: impl Fn([T; N], [T; K]) -> [T; M] + Sync + Copy,
    ) {
        let Grid { outer, channels, inner } = *self;
        assert!(x.iter().all(|x| x.len() == self.len()), "as many values as the grid says");
        assert!(others.iter().all(|other| other.len() == channels), "a value for each channel");
        assert!(sums.iter().all(|sums| sums.len() == channels), "a sum for each channel");
        let found: Vec<[T; M]> = if inner == 1 && channels > 1 {
            self.sum_rows(x, others, function)
        } else {
            let channel = |channel: usize| {
                let others = others.map(|other| other[channel]);
                let rows = (0..outer).map(|outer| (outer * channels + channel) * inner);
                let row = |start| total(x.map(|x| &x[start..][..inner]), |x| function(x, others));
                rows.fold([T::default(); M], |sum, start| plus(sum, row(start)))
            };
            let together = (PIECE / (outer * inner).max(1)).max(1);
            (0..channels).into_par_iter().with_min_len(together).map(channel).collect()
        };
        for (place, sums) in sums.into_iter().enumerate() {
            sums.iter_mut().zip(&found).for_each(|(sum, found)| *sum = found[place]);
        }
    }

    /// As [`map()`], and where asked the sums of what was written over each channel to `sums`.
    pub fn map_and_sum<T: Float, const N: usize>(
        &self,
        x: [&[T]; N],
        y: &mut [T],
        sums: Option<&mut [T]>,
        function: impl Fn([T; N]) -> T + Sync + Copy,
    ) {
        let Grid { channels, inner, .. } = *self;
        let Some(sums) = sums else { return map(x, y, function) };
        if inner < STRANDS {
            map(x, y, function);
            return self.sum([&*y], [], [sums], |y, []| y);
        }
        assert!(x.iter().all(|x| x.len() == y.len()) && y.len() == self.len(), "as many values as the grid says");
        let part = |(row, y): (usize, &mut [T])| {
            let x = x.map(|x| &x[row * inner..][..inner]);
            wide(|| line(x, y, function));
            let [sum] = total([&*y], |y| y);
            sum
        };
        let together = (PIECE / inner).max(1);
        let rows: Vec<T> = y.par_chunks_mut(inner).enumerate().with_min_len(together).map(part).collect();
        sums.fill(T::default());
        rows.iter().enumerate().for_each(|(row, &sum)| sums[row % channels] += sum);
    }

    /// The sums where the channels lie side by side.
    fn sum_rows<T: Float, const N: usize, const K: usize, const M: usize>(
        &self,
        x: [&[T]; N],
        others: [&[T]; K],
        function: impl Fn([T; N], [T; K]) -> [T; M] + Sync + Copy,
    ) -> Vec<[T; M]> {
        let Grid { outer, channels, .. } = *self;
        let rows = outer.div_ceil(PARTS).max(PIECE / channels).max(1);
        let part = |first: usize| {
            let mut sums = vec![[T::default(); M]; channels];
            let others = others.map(|other| &other[..channels]);
            wide(|| {
                for row in first..(first + rows).min(outer) {
                    let x = x.map(|x| &x[row * channels..][..channels]);
                    let sums = &mut sums[..channels];
                    (0..channels)
                        .for_each(|i| sums[i] = plus(sums[i], function(x.map(|x| x[i]), others.map(|o| o[i]))));
                }
            });
            sums
        };
        let parts: Vec<_> = (0..outer.div_ceil(rows)).into_par_iter().map(|index| part(index * rows)).collect();
        let mut sums = vec![[T::default(); M]; channels];
        for part in &parts {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum = plus(*sum, *part));
        }
        sums
    }
}

#[inline(always)]
fn plus<T: Float, const M: usize>(mut sum: [T; M], more: [T; M]) -> [T; M] {
    (0..M).for_each(|i| sum[i] += more[i]);
    sum
}

/// The sum of `function` over all places.
pub(super) fn total<T: Float, const N: usize, const M: usize>(
    x: [&[T]; N],
    function: impl Fn([T; N]) -> [T; M] + Copy,
) -> [T; M] {
    wide(|| {
        let length = x.first().map_or(0, |x| x.len());
        let x = x.map(|x| &x[..length]);
        let mut strands = [[T::default(); STRANDS]; M];
        let whole = length / STRANDS * STRANDS;
        for start in (0..whole).step_by(STRANDS) {
            let x = x.map(|x| &x[start..][..STRANDS]);
            for lane in 0..STRANDS {
                let values = function(x.map(|x| x[lane]));
                (0..M).for_each(|i| strands[i][lane] += values[i]);
            }
        }
        let mut sum = strands.map(|lanes| lanes.into_iter().sum());
        (whole..length).for_each(|i| sum = plus(sum, function(x.map(|x| x[i]))));
        sum
    })
}
