//! Convolutions of 3×3 taps with stride 1 by Winograd's minimal filtering F(4×4, 3×3): 36 products instead of 144.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016. Their points 0, ±1, ±2 lose a digit; the
//! points 0, ±1/√2, ±√2 used here about a bit (see Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
//! Convolution", 2020).

pub(super) mod by_kernel;
mod transforms;

use super::frame::Frame;
use super::gather::{Run, runs};
use super::product::{Columns, LANES, ROWS, Shared, VECTORS, tile};
use super::scratch::Scratch;
use super::simd::{Isa, Job, Vector};
use super::{Activation, Float};
use rayon::prelude::*;
use std::ops::Range;
use transforms::{Constants, from_products, of_kernel, of_map};

/// Outputs along a tile's side.
const SIDE: usize = 4;
/// Products for a tile.
const PRODUCTS: usize = 36;
/// Values of transformed maps that are held at once.
const HELD: usize = 3 << 19;
/// Strips of rows that a thread takes at once.
const STRIPS: usize = 4;

/// A convolution without groups; `weight(row, channel, tap)` is the kernel.
pub(super) struct Winograd<'a, T, F> {
    pub(super) isa: Isa,
    pub(super) images: usize,
    /// Channels of the result.
    pub(super) m: usize,
    /// Channels of the maps.
    pub(super) channels: usize,
    pub(super) map: [usize; 2],
    pub(super) size: [usize; 2],
    pub(super) before: [isize; 2],
    pub(super) weight: F,
    pub(super) bias: Option<&'a [T]>,
    pub(super) activation: Activation<T>,
    pub(super) x: &'a [T],
}

/// Whether the products saved outweigh the transforms.
pub(super) fn pays(m: usize, channels: usize, size: [usize; 2]) -> bool {
    m.min(channels) >= 16 && size[0] * size[1] >= 16
}

/// Tiles whose transforms are held at once: some images, some rows of tiles of each.
struct Block {
    images: Range<usize>,
    rows: Range<usize>,
    columns: usize,
}

impl Block {
    /// Blocks of bounded size, for maps of so many channels.
    fn cut(images: usize, size: [usize; 2], channels: usize) -> Vec<Block> {
        let [rows, columns] = size.map(|size| size.div_ceil(SIDE));
        let at_once = (HELD / (PRODUCTS * channels * columns)).max(1);
        let (images_at_once, rows_at_once) = ((at_once / rows).clamp(1, images), at_once.min(rows));
        let cut = |all: usize, at_once: usize| {
            let parts = all.div_ceil(at_once);
            (0..parts).map(move |i| all * i / parts..all * (i + 1) / parts)
        };
        let rows = move || cut(rows, rows_at_once);
        cut(images, images_at_once)
            .flat_map(|images| rows().map(move |rows| Block { images: images.clone(), rows, columns }))
            .collect()
    }

    /// The frame of a block's part of a map, `side` pixels to a tile.
    fn frame(&self, map: [usize; 2], before: [isize; 2], side: usize, lanes: usize) -> Frame {
        let before = [before[0] - (self.rows.start * SIDE) as isize, before[1]];
        Frame::new(map, before, [SIDE; 2], self.grid(), [side; 2], lanes)
    }

    fn tiles(&self) -> usize {
        self.images.len() * self.rows.len() * self.columns
    }

    fn grid(&self) -> [usize; 2] {
        [self.rows.len(), self.columns]
    }

    /// Values from one channel's tiles to the next one's, with room for a vector.
    fn pitch(&self) -> usize {
        odd_pitch(self.tiles() + LANES)
    }
}

/// Room for so many values in whole vectors, odd in their number, so that rows do not all fall into the same sets of a cache.
fn odd_pitch(values: usize) -> usize {
    values.div_ceil(LANES) / 2 * 2 * LANES + LANES
}

impl<T: Float, F: Fn(usize, usize, usize) -> T + Sync> Winograd<'_, T, F> {
    /// Writes the convolution to `y`.
    pub(super) fn write(&self, y: &mut [T]) {
        let y = Shared(y.as_mut_ptr());
        for block in Block::cut(self.images, self.size, self.channels) {
            let held = self.transform(&block);
            let (strips, panels) = (self.m.div_ceil(ROWS), block.tiles().div_ceil(VECTORS * self.isa.lanes::<T>()));
            let shares = strips.div_ceil(STRIPS);
            let parts = 4usize.div_ceil(shares).min(panels);
            (0..shares * parts).into_par_iter().for_each(|task| {
                let (share, part) = (task / parts, task % parts);
                let strips = strips * share / shares..strips * (share + 1) / shares;
                let panels = panels * part / parts..panels * (part + 1) / parts;
                self.isa.run(Multiply { conv: self, block: &block, held: &held, strips, panels, y });
            });
        }
    }

    /// Transforms the maps of a block, to `[PRODUCTS, channels, pitch]`.
    fn transform(&self, block: &Block) -> Scratch<T> {
        let (len, lanes) = (PRODUCTS * self.channels * block.pitch(), self.isa.lanes::<T>());
        let mut held = Scratch::new(len);
        let frame = block.frame(self.map, self.before, SIDE + 2, lanes);
        let to = Shared(held.as_mut_ptr());
        let start = || Scratch::zeros(frame.len());
        (0..self.channels).into_par_iter().for_each_init(start, |values, channel| {
            let to = Shared(to.at(channel * block.pitch()));
            self.isa.run(Transform { conv: self, block, frame: &frame, channel, values, to });
        });
        held
    }
}

struct Transform<'a, T, F> {
    conv: &'a Winograd<'a, T, F>,
    block: &'a Block,
    frame: &'a Frame,
    channel: usize,
    values: &'a mut [T],
    to: Shared<T>,
}

impl<T: Float, F> Job<T> for Transform<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let (conv, block, frame) = (self.conv, self.block, self.frame);
        let (pixels, step) = (conv.map[0] * conv.map[1], conv.channels * block.pitch());
        let mut tile = 0;
        // SAFETY: what vectors write behind a row of tiles, the next one overwrites, or it is the pitch's spare room.
        unsafe {
            let constants = Constants::new();
            for image in block.images.clone() {
                let x = &conv.x[(image * conv.channels + self.channel) * pixels..][..pixels];
                frame.fill::<T, V>(x, self.values);
                for row in 0..block.rows.len() {
                    let from = self.values.as_ptr().add(row * SIDE * frame.pitch);
                    for column in (0..block.columns).step_by(V::LANES) {
                        let at = |y: usize, x: usize| y * frame.pitch + x % SIDE * frame.part + x / SIDE;
                        let to = self.to.at(tile + column);
                        of_map::<T, V, false>(&constants, from.add(column), at, to, step);
                    }
                    tile += block.columns;
                }
            }
        }
    }
}

struct Multiply<'a, T, F> {
    conv: &'a Winograd<'a, T, F>,
    block: &'a Block,
    held: &'a [T],
    strips: Range<usize>,
    panels: Range<usize>,
    y: Shared<T>,
}

impl<T: Float, F: Fn(usize, usize, usize) -> T + Sync> Job<T> for Multiply<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let (conv, width, strips) = (self.conv, VECTORS * V::LANES, self.strips.len());
        let (strip_len, tile_len) = (ROWS * conv.channels, ROWS * width);
        let (mut taps, mut kernel) =
            (Scratch::new(9 * strip_len), Scratch::<T>::new(PRODUCTS * strips * strip_len + V::LANES));
        let (mut products, mut lines) =
            (Scratch::<T>::new(strips * PRODUCTS * tile_len), Scratch::<T>::new(SIDE * SIDE * width));
        // SAFETY: the buffers were made large enough, and panels lie inside the block.
        unsafe {
            let constants = Constants::new();
            for (i, strip) in self.strips.clone().enumerate() {
                conv.gather(strip, &mut taps);
                let to = kernel.as_mut_ptr().add(i * strip_len);
                of_kernel::<T, V>(&taps, strip_len, to, strips * strip_len);
            }
            for panel in self.panels.clone() {
                let first = panel * width;
                let columns = width.min(self.block.tiles() - first);
                let vectors = columns.div_ceil(V::LANES);
                for product in 0..PRODUCTS {
                    let at = self.held.as_ptr().add(product * conv.channels * self.block.pitch() + first);
                    let b = Columns { at, ld: self.block.pitch(), copy: std::ptr::null_mut() };
                    for strip in 0..strips {
                        let a = kernel.as_ptr().add((product * strips + strip) * strip_len);
                        let to = products.as_mut_ptr().add((strip * PRODUCTS + product) * tile_len);
                        tile::<T, V>(
                            conv.channels,
                            (a, ROWS),
                            b,
                            vectors,
                            &[T::default(); ROWS],
                            Activation::None,
                            to,
                            width,
                        );
                    }
                }
                let runs = runs(self.block.grid(), first, columns);
                for (i, strip) in self.strips.clone().enumerate() {
                    for r in 0..ROWS.min(conv.m - strip * ROWS) {
                        let row = strip * ROWS + r;
                        let from = products.as_ptr().add(i * PRODUCTS * tile_len + r * width);
                        let bias = V::splat(conv.bias.map_or(T::default(), |bias| bias[row]));
                        for column in (0..columns).step_by(V::LANES) {
                            let to = lines.as_mut_ptr().add(SIDE * column);
                            let from = from.add(column);
                            from_products::<T, V>(&constants, from, tile_len, bias, conv.activation, to, SIDE * width);
                        }
                        for run in &runs {
                            let (lines, y) =
                                (&lines[SIDE * run.column..], self.y.at(row * conv.size[0] * conv.size[1]));
                            conv.store(self.block, run, lines, SIDE * width, y);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Float, F: Fn(usize, usize, usize) -> T> Winograd<'_, T, F> {
    /// A strip's taps, `[9, channels, ROWS]`.
    fn gather(&self, strip: usize, taps: &mut [T]) {
        let rows = ROWS.min(self.m - strip * ROWS);
        for (tap, taps) in taps.chunks_exact_mut(ROWS * self.channels).enumerate() {
            for (channel, taps) in taps.chunks_exact_mut(ROWS).enumerate() {
                (0..rows).for_each(|r| taps[r] = (self.weight)(strip * ROWS + r, channel, tap));
                taps[rows..].fill(T::default());
            }
        }
    }

    /// Stores the lines of a row of tiles.
    ///
    /// # Safety
    /// No other thread has this row and these tiles.
    unsafe fn store(&self, block: &Block, run: &Run, lines: &[T], pitch: usize, y: *mut T) {
        let (image, first) = (block.images.start + run.image, (block.rows.start + run.y) * SIDE);
        let (x, [height, width]) = (run.x * SIDE, self.size);
        let len = (SIDE * run.len).min(width - x);
        for (i, line) in lines.chunks(pitch).enumerate().take(height - first) {
            let at = (image * self.m * height + first + i) * width + x;
            unsafe { std::ptr::copy_nonoverlapping(line[..len].as_ptr(), y.add(at), len) }
        }
    }
}
