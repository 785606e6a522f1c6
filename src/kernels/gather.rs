//! Windows of maps as columns of a matrix, made panel by panel where a product reads them.

use super::simd::Vector;
use super::{Float, Window};

/// Which pixels each position sees: tap `t` at position `p` sees pixel `p · step + taps[t]`, along either axis; what lies
/// outside the map is zero.
#[derive(Debug, Clone)]
pub(super) struct Gather {
    pub(super) map: [usize; 2],
    pub(super) grid: [usize; 2],
    pub(super) step: [usize; 2],
    pub(super) taps: [Vec<isize>; 2],
}

/// Columns of a panel that lie in one row of the grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) image: usize,
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) len: usize,
    pub(super) column: usize,
}

/// A run as one tap sees it.
struct Copy {
    row: usize,
    column: usize,
    len: usize,
    /// Where the run lies, from the start of the channel in the first image.
    from: isize,
    /// The part of the run that is inside the map.
    low: usize,
    high: usize,
}

/// The columns from `first` on, where the positions of images lie one behind the other.
pub(super) fn runs(grid: [usize; 2], first: usize, columns: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut column = 0;
    while column < columns {
        let (row, x) = ((first + column) / grid[1], (first + column) % grid[1]);
        let len = (grid[1] - x).min(columns - column);
        runs.push(Run { image: row / grid[0], y: row % grid[0], x, len, column });
        column += len;
    }
    runs
}

impl Gather {
    /// What a convolution's positions see.
    pub(super) fn forward(w: &Window) -> Self {
        let taps = |axis: usize| {
            (0..w.kernel[axis]).map(|k| (k * w.dilation[axis]) as isize - w.before[axis] as isize).collect()
        };
        Self { map: w.input, grid: w.output, step: w.stride, taps: [taps(0), taps(1)] }.flattened()
    }

    /// One pixel that visits each pixel once sees one long row.
    pub(super) fn flattened(mut self) -> Self {
        if self.is_pixelwise() {
            self.grid = [1, self.grid[0] * self.grid[1]];
            self.map = self.grid;
        }
        self
    }

    pub(super) fn is_pixelwise(&self) -> bool {
        self.step == [1, 1] && self.map == self.grid && self.taps.iter().all(|taps| taps[..] == [0])
    }

    pub(super) fn taps(&self) -> usize {
        self.taps[0].len() * self.taps[1].len()
    }

    pub(super) fn pixels(&self) -> usize {
        self.map[0] * self.map[1]
    }

    pub(super) fn positions(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Tap by tap and run by run, in the order in which they lie in a panel.
    fn copies(&self, runs: &[Run], image_len: usize) -> Vec<Copy> {
        let mut copies = Vec::with_capacity(runs.len() * self.taps());
        let (height, width) = (self.map[0] as isize, self.map[1] as isize);
        for (ty, &dy) in self.taps[0].iter().enumerate() {
            for (tx, &dx) in self.taps[1].iter().enumerate() {
                for run in runs {
                    let (y, x) = ((run.y * self.step[0]) as isize + dy, (run.x * self.step[1]) as isize + dx);
                    let step = self.step[1] as isize;
                    let inside = |to: isize| (to.max(0) as usize).div_ceil(self.step[1]).min(run.len);
                    let (low, high) = if (0..height).contains(&y) { (inside(-x), inside(width - x)) } else { (0, 0) };
                    let from = (run.image * image_len) as isize + y * width + x + low as isize * step;
                    let row = ty * self.taps[1].len() + tx;
                    copies.push(Copy { row, column: run.column, len: run.len, from, low, high: high.max(low) });
                }
            }
        }
        copies
    }

    /// Fills a panel of `[channels × taps, width]`.
    ///
    /// # Safety
    /// `x` is the first image's first channel, followed by the others and by images `image_len` apart. `panel` has
    /// room for a vector more.
    #[inline(always)]
    pub(super) unsafe fn fill<T: Float, V: Vector<T>>(
        &self,
        runs: &[Run],
        (x, image_len, channels): (*const T, usize, usize),
        panel: *mut T,
        width: usize,
    ) {
        let copies = self.copies(runs, image_len);
        for channel in 0..channels {
            // SAFETY: copies stay inside the map; what they write behind their run, the next one overwrites.
            unsafe {
                let from = x.add(channel * self.pixels());
                let to = panel.add(channel * self.taps() * width);
                match self.step[1] {
                    1 => copies.iter().for_each(|copy| put::<T, V, 1>(copy, from, to, width, 1)),
                    2 => copies.iter().for_each(|copy| put::<T, V, 2>(copy, from, to, width, 2)),
                    step => copies.iter().for_each(|copy| put::<T, V, 0>(copy, from, to, width, step)),
                }
            }
        }
    }
}

/// Writes a run (of steps `STEP`, or `step` where that is zero): zeros, pixels, zeros, and up to a vector of zeros more.
#[inline(always)]
unsafe fn put<T: Float, V: Vector<T>, const STEP: usize>(
    copy: &Copy,
    from: *const T,
    to: *mut T,
    width: usize,
    step: usize,
) {
    unsafe {
        let to = to.add(copy.row * width + copy.column);
        let zero = V::splat(T::default());
        let mut at = 0;
        while at < copy.low {
            zero.store(to.add(at));
            at += V::LANES;
        }
        at = copy.low;
        while at < copy.high {
            let n = copy.high - at;
            let from = from.offset(copy.from).add((at - copy.low) * step);
            let values = match STEP {
                1 if n >= V::LANES => V::load(from),
                1 => V::load_part(from, n),
                2 => V::load_even(from, n.min(V::LANES)),
                _ => {
                    zero.store(to.add(at));
                    (0..n.min(V::LANES)).for_each(|i| *to.add(at + i) = *from.add(i * step));
                    V::load(to.add(at))
                }
            };
            values.store(to.add(at));
            at += V::LANES;
        }
        while at < copy.len {
            zero.store(to.add(at));
            at += V::LANES;
        }
    }
}
