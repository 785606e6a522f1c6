//! Products of a kernel's matrix with windows of maps: packed, in panels, with what follows a convolution done in registers.
//!
//! The scheme is that of BLIS (Van Zee and van de Geijn, 2015) with a panel of columns made straight from the maps. The
//! columns of all images lie one behind the other, so that small maps fill panels too.

use super::gather::{Gather, Run, runs};
use super::scratch::Scratch;
use super::simd::{Isa, Job, Vector};
use super::{Activation, Float};
use rayon::prelude::*;

/// Rows of the left matrix in a strip.
pub(super) const ROWS: usize = 8;
/// Vectors across a panel.
pub(super) const VECTORS: usize = 3;
/// Lanes of the widest vector.
pub(super) const LANES: usize = 16;

/// Memory that several threads write, each another part.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(pub(super) *mut T);
// SAFETY: whoever shares it sees to it that no two threads touch the same part.
unsafe impl<T> Send for Shared<T> {}
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn at(self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// Matrices `[m, k]`, one for each group, in strips `[group, strip, k, ROWS]`, filled up with zeros. `at` is told a row,
/// counted through all groups, its group, a channel and a tap.
pub(super) fn pack<T: Float>(
    groups: usize,
    m: usize,
    (channels, taps): (usize, usize),
    at: impl Fn(usize, usize, usize, usize) -> T + Sync,
) -> Scratch<T> {
    let k = channels * taps;
    let strips = m.div_ceil(ROWS);
    let mut packed = Scratch::new(groups * strips * ROWS * k);
    let at_once = 1 + 4096 / k.max(1);
    packed.par_chunks_mut((ROWS * k).max(1)).enumerate().with_min_len(at_once).for_each(|(index, packed)| {
        let (group, strip) = (index / strips, index % strips);
        let rows = ROWS.min(m - strip * ROWS);
        let mut lines = packed.chunks_exact_mut(ROWS);
        for channel in 0..channels {
            for (tap, line) in (0..taps).zip(&mut lines) {
                line[rows..].fill(T::default());
                (0..rows).for_each(|r| line[r] = at(group * m + strip * ROWS + r, group, channel, tap));
            }
        }
    });
    packed
}

/// Where results go: image, then row of the matrix, then position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) image: usize,
    pub(super) plane: usize,
    pub(super) first: usize,
    pub(super) step: [usize; 2],
}

/// The products of all groups and images.
pub(super) struct Product<'a, T> {
    pub(super) images: usize,
    pub(super) groups: usize,
    /// Rows of the left matrix, of one group.
    pub(super) m: usize,
    /// Channels of the maps, of one group.
    pub(super) channels: usize,
    pub(super) gather: Gather,
    /// The left matrices, packed.
    pub(super) a: Scratch<T>,
    /// One for each row of each group.
    pub(super) bias: Option<&'a [T]>,
    pub(super) activation: Activation<T>,
    pub(super) x: &'a [T],
    pub(super) place: Place,
}

impl<T: Float> Product<'_, T> {
    fn k(&self) -> usize {
        self.channels * self.gather.taps()
    }

    fn panels(&self, isa: Isa) -> usize {
        (self.images * self.gather.positions()).div_ceil(VECTORS * isa.lanes::<T>())
    }
}

/// Writes products of as many groups and rows, each to its own places in `y`. Where there are several, they are done panel
/// by panel, since what lies close together in all of them goes to the same cache lines.
pub(super) fn write<T: Float>(isa: Isa, products: &[Product<T>], y: &mut [T]) {
    let Some(first) = products.first() else { return };
    let (y, strips, groups) = (Shared(y.as_mut_ptr()), first.m.div_ceil(ROWS), first.groups);
    let panels = products.iter().map(|product| product.panels(isa)).max().unwrap_or(0);
    let (k, most) = products.iter().fold((0, 0), |(sum, most), product| (sum + product.k(), most.max(product.k())));
    // Few panels are shared among the threads by strips too. The sums are the same however they are shared.
    let parts = if panels * groups < 16 { strips.div_ceil(8).min(2) } else { 1 };
    let at_once = (1 << 17) / (first.m * k * 48).max(1) + 1;
    let start = || Scratch::new((most * VECTORS + 1) * isa.lanes::<T>());
    let tasks = (0..panels * groups * parts).into_par_iter().with_min_len(at_once);
    tasks.for_each_init(start, |panel, task| {
        let (part, index) = (task % parts, task / parts);
        let (group, index) = (index / panels, index % panels);
        for product in products.iter().filter(|product| index < product.panels(isa)) {
            let strips = strips * part / parts..strips * (part + 1) / parts;
            isa.run(Panel { product, group, index, strips, y, panel: &mut *panel });
        }
    });
}

struct Panel<'a, T> {
    product: &'a Product<'a, T>,
    group: usize,
    index: usize,
    strips: std::ops::Range<usize>,
    y: Shared<T>,
    panel: &'a mut Scratch<T>,
}

/// A panel's columns in memory, `ld` apart from row to row; where to keep a copy, if any.
#[derive(Clone, Copy)]
pub(super) struct Columns<T> {
    pub(super) at: *const T,
    pub(super) ld: usize,
    pub(super) copy: *mut T,
}

impl<T: Float> Job<T> for Panel<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let p = self.product;
        let (gather, k, width) = (&p.gather, p.k(), VECTORS * V::LANES);
        let first = self.index * width;
        let columns = width.min(p.images * gather.positions() - first);
        let runs = runs(gather.grid, first, columns);
        let image_len = p.groups * p.channels * gather.pixels();
        let kept = self.panel.as_mut_ptr();
        // SAFETY: runs lie inside the maps, and the panel was made large enough.
        let mut from = unsafe {
            let x = p.x.as_ptr().add(self.group * p.channels * gather.pixels());
            if runs.len() == 1 && columns == width && gather.is_pixelwise() {
                // The maps are the columns; they are copied on the way where they will be read again.
                let at = x.add(runs[0].image * image_len + runs[0].y * gather.grid[1] + runs[0].x);
                let copy = if self.strips.len() > 1 { kept } else { std::ptr::null_mut() };
                Columns { at, ld: gather.pixels(), copy }
            } else {
                gather.fill::<T, V>(&runs, (x, image_len, p.channels), kept, width);
                Columns { at: kept, ld: width, copy: std::ptr::null_mut() }
            }
        };
        let mut sums = [T::default(); ROWS * VECTORS * LANES];
        for strip in self.strips.clone() {
            let (row, rows) = (strip * ROWS, ROWS.min(p.m - strip * ROWS));
            let mut bias = [T::default(); ROWS];
            if let Some(all) = p.bias {
                bias[..rows].copy_from_slice(&all[self.group * p.m + row..][..rows]);
            }
            // SAFETY: the strip is `k` rows of `ROWS`; the tile is a whole one, in one image and dense, where it is
            // written in place.
            unsafe {
                let a = p.a.as_ptr().add((self.group * p.m.div_ceil(ROWS) + strip) * ROWS * k);
                let in_place = runs.len() == 1 && columns == width && rows == ROWS && p.place.step[1] == 1;
                let first_row = p.place.first + (self.group * p.m + row) * p.place.plane;
                let (to, ld) = if in_place {
                    (self.y.at(first_row + offset(&p.place, &runs[0])), p.place.plane)
                } else {
                    (sums.as_mut_ptr(), width)
                };
                tile::<T, V>(k, (a, ROWS), from, columns.div_ceil(V::LANES), &bias, p.activation, to, ld);
                if !in_place {
                    scatter(&p.place, &runs, &sums, width, self.y.at(first_row), rows);
                }
            }
            if !from.copy.is_null() {
                from = Columns { at: kept, ld: width, copy: std::ptr::null_mut() };
            }
        }
    }
}

/// Where a run begins, from the first image's first position in a row.
fn offset(place: &Place, run: &Run) -> usize {
    run.image * place.image + run.y * place.step[0] + run.x * place.step[1]
}

/// # Safety
/// `y` is where the first image's first position of the first row goes.
unsafe fn scatter<T: Float>(place: &Place, runs: &[Run], sums: &[T], width: usize, y: *mut T, rows: usize) {
    for (row, sums) in sums.chunks_exact(width).take(rows).enumerate() {
        for run in runs {
            let values = &sums[run.column..][..run.len];
            // SAFETY: the run's positions lie in the output.
            unsafe {
                let to = y.add(row * place.plane + offset(place, run));
                if place.step[1] == 1 {
                    std::ptr::copy_nonoverlapping(values.as_ptr(), to, run.len);
                } else {
                    values.iter().enumerate().for_each(|(i, &value)| *to.add(i * place.step[1]) = value);
                }
            }
        }
    }
}

/// A tile of `ROWS` rows and `vectors` vectors, from the left matrix's strip `a` (its columns so far apart), to `c` with
/// rows `ld` apart.
///
/// # Safety
/// All of it lies in memory that may be read or written.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn tile<T: Float, V: Vector<T>>(
    k: usize,
    a: (*const T, usize),
    b: Columns<T>,
    vectors: usize,
    bias: &[T; ROWS],
    activation: Activation<T>,
    c: *mut T,
    ld: usize,
) {
    unsafe {
        match (vectors, b.copy.is_null()) {
            (1, _) => rows::<T, V, 1, false>(k, a, b, bias, activation, c, ld),
            (2, _) => rows::<T, V, 2, false>(k, a, b, bias, activation, c, ld),
            (_, true) => rows::<T, V, VECTORS, false>(k, a, b, bias, activation, c, ld),
            (_, false) => rows::<T, V, VECTORS, true>(k, a, b, bias, activation, c, ld),
        }
    }
}

/// In two halves where there are not registers enough.
#[inline(always)]
unsafe fn rows<T: Float, V: Vector<T>, const N: usize, const COPY: bool>(
    k: usize,
    a: (*const T, usize),
    b: Columns<T>,
    bias: &[T; ROWS],
    activation: Activation<T>,
    c: *mut T,
    ld: usize,
) {
    unsafe {
        if V::MANY {
            return sums::<T, V, ROWS, N, COPY>(k, a, b, bias.as_ptr(), activation, c, ld);
        }
        sums::<T, V, 4, N, COPY>(k, a, b, bias.as_ptr(), activation, c, ld);
        sums::<T, V, 4, N, false>(k, (a.0.add(4), a.1), b, bias.as_ptr().add(4), activation, c.add(4 * ld), ld);
    }
}

#[inline(always)]
unsafe fn sums<T: Float, V: Vector<T>, const R: usize, const N: usize, const COPY: bool>(
    k: usize,
    a: (*const T, usize),
    b: Columns<T>,
    bias: *const T,
    activation: Activation<T>,
    c: *mut T,
    ld: usize,
) {
    unsafe {
        let mut sums = [[V::splat(T::default()); N]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            *sums = [V::splat(*bias.add(r)); N];
        }
        for i in 0..k {
            let mut line = [V::splat(T::default()); N];
            for (n, value) in line.iter_mut().enumerate() {
                *value = V::load(b.at.add(i * b.ld + n * V::LANES));
                if COPY {
                    value.store(b.copy.add(i * N * V::LANES + n * V::LANES));
                }
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let weight = V::splat(*a.0.add(i * a.1 + r));
                for (sum, value) in sums.iter_mut().zip(line) {
                    *sum = value.mul_add(weight, *sum);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (n, sum) in sums.iter().enumerate() {
                activation.of_vector(*sum).store(c.add(r * ld + n * V::LANES));
            }
        }
    }
}
