//! The gradient by the kernels: tiles of gradients and of maps, both transformed, are multiplied and summed over all tiles.

use super::super::frame::Frame;
use super::super::product::{Columns, LANES, ROWS, Shared, VECTORS, tile};
use super::super::scratch::Scratch;
use super::super::simd::{Isa, Job, Vector};
use super::super::{Activation, Float};
use super::transforms::{Constants, from_sums, of_map};
use super::{Block, PRODUCTS, SIDE, odd_pitch};
use rayon::prelude::*;

/// Sums that are held at once.
const SUMS: usize = 5 << 19;

/// A convolution without groups, `channels[0]` outputs of `channels[1]` inputs.
pub(in super::super) struct ByKernel<'a, T> {
    pub(in super::super) isa: Isa,
    pub(in super::super) images: usize,
    pub(in super::super) channels: [usize; 2],
    pub(in super::super) map: [usize; 2],
    pub(in super::super) size: [usize; 2],
    pub(in super::super) before: [usize; 2],
    pub(in super::super) x: &'a [T],
    pub(in super::super) dy: &'a [T],
}

/// Transformed tiles, `[PRODUCTS, tiles, pitch]`, channels last.
struct Tiles<T> {
    values: Scratch<T>,
    pitch: usize,
}

impl<T: Float> ByKernel<'_, T> {
    /// Writes the gradient to `dk`.
    pub(in super::super) fn write(&self, dk: &mut [T]) {
        let [outputs, inputs] = self.channels;
        let blocks = Block::cut(self.images, self.size, inputs.max(outputs));
        // So many outputs at once that their sums can be held.
        let most = (SUMS / (PRODUCTS * inputs) / LANES * LANES).max(LANES);
        let mut maps = None;
        for (part, dk) in dk.chunks_mut(most * inputs * 9).enumerate() {
            let rows = part * most..(part * most + most).min(outputs);
            let pitch = odd_pitch(inputs);
            let mut sums = Scratch::new(PRODUCTS * rows.len() * pitch);
            for (i, block) in blocks.iter().enumerate() {
                if part == 0 || blocks.len() > 1 {
                    maps = Some(self.transform::<false>(block, 0..inputs));
                }
                let gradients = self.transform::<true>(block, rows.clone());
                if let Some(maps) = &maps {
                    self.multiply(block.tiles(), &gradients, maps, (&mut sums, pitch), i > 0);
                }
            }
            dk.par_chunks_mut(inputs * 9).enumerate().for_each(|(row, dk)| {
                self.isa.run(Finish { sums: &sums[row * pitch..], step: rows.len() * pitch, dk });
            });
        }
    }

    /// Transforms some channels of the maps, or of the gradients.
    fn transform<const GRADIENT: bool>(&self, block: &Block, channels: std::ops::Range<usize>) -> Tiles<T> {
        let (lanes, pitch) = (self.isa.lanes::<T>(), odd_pitch(channels.len()));
        let (x, all, map) =
            if GRADIENT { (self.dy, self.channels[0], self.size) } else { (self.x, self.channels[1], self.map) };
        // The last tile is read as if there were a panel more.
        let len = PRODUCTS * block.tiles() * pitch + VECTORS * LANES;
        let mut values = Scratch::new(len);
        let frame = if GRADIENT {
            block.frame(map, [0, 0], SIDE, lanes)
        } else {
            block.frame(map, self.before.map(|before| before as isize), SIDE + 2, lanes)
        };
        let to = Shared(values.as_mut_ptr());
        let start = || (Scratch::zeros(lanes * frame.len()), Scratch::new(PRODUCTS * lanes * lanes));
        (0..channels.len().div_ceil(lanes)).into_par_iter().for_each_init(start, |(frames, turned), group| {
            let channels = channels.start + group * lanes..channels.end;
            let to = Shared(to.at(group * lanes));
            let frame = &frame;
            self.isa.run(Turn::<_, GRADIENT> { x, all, map, block, frame, channels, frames, turned, to, pitch });
        });
        Tiles { values, pitch }
    }

    /// Sums, `[PRODUCTS, outputs, pitch]`, over the tiles of a block; added to what is there, if told.
    fn multiply(
        &self,
        tiles: usize,
        gradients: &Tiles<T>,
        maps: &Tiles<T>,
        (sums, pitch): (&mut [T], usize),
        add: bool,
    ) {
        let rows = sums.len() / (PRODUCTS * pitch);
        sums.par_chunks_mut(rows * pitch).enumerate().for_each(|(product, sums)| {
            let of = |tiles_of: &Tiles<T>| tiles_of.values[product * tiles * tiles_of.pitch..].as_ptr();
            let (a, b) = (Shared(of(gradients).cast_mut()), Shared(of(maps).cast_mut()));
            let pitches = [gradients.pitch, maps.pitch];
            self.isa.run(Multiply { tiles, a, b, pitches, sums, pitch, add });
        });
    }
}

/// Transforms as many channels as a vector has lanes, and puts them last.
struct Turn<'a, T, const GRADIENT: bool> {
    x: &'a [T],
    /// Channels of an image.
    all: usize,
    map: [usize; 2],
    block: &'a Block,
    frame: &'a Frame,
    channels: std::ops::Range<usize>,
    frames: &'a mut [T],
    turned: &'a mut [T],
    to: Shared<T>,
    pitch: usize,
}

impl<T: Float, const GRADIENT: bool> Job<T> for Turn<'_, T, GRADIENT> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let (block, frame, pixels) = (self.block, self.frame, self.map[0] * self.map[1]);
        let channels = V::LANES.min(self.channels.len());
        let step = block.tiles() * self.pitch;
        self.frames[channels * frame.len()..].fill(T::default());
        let mut tile = 0;
        // SAFETY: the frames, the memory between and the target were made for this block.
        unsafe {
            let constants = Constants::new();
            for image in block.images.clone() {
                for (i, values) in self.frames.chunks_exact_mut(frame.len()).enumerate().take(channels) {
                    let plane = image * self.all + self.channels.start + i;
                    frame.fill::<T, V>(&self.x[plane * pixels..][..pixels], values);
                }
                for row in 0..block.rows.len() {
                    for column in (0..block.columns).step_by(V::LANES) {
                        for channel in 0..V::LANES {
                            let first = channel * frame.len() + row * SIDE * frame.pitch + column;
                            let at = |y: usize, x: usize| y * frame.pitch + x % SIDE * frame.part + x / SIDE;
                            let to = self.turned.as_mut_ptr().add(channel * V::LANES);
                            let from = self.frames.as_ptr().add(first);
                            of_map::<T, V, GRADIENT>(&constants, from, at, to, V::LANES * V::LANES);
                        }
                        let count = V::LANES.min(block.columns - column);
                        for product in 0..PRODUCTS {
                            let from = self.turned.as_ptr().add(product * V::LANES * V::LANES);
                            let to = self.to.at(product * step + (tile + column) * self.pitch);
                            transpose::<T, V>(from, to, self.pitch, count);
                        }
                    }
                    tile += block.columns;
                }
            }
        }
    }
}

/// Writes the first columns of a square as rows.
#[inline(always)]
unsafe fn transpose<T: Float, V: Vector<T>>(from: *const T, to: *mut T, pitch: usize, columns: usize) {
    unsafe {
        let mut lines = [V::splat(T::default()); LANES];
        for (i, line) in lines.iter_mut().enumerate().take(V::LANES) {
            *line = V::load(from.add(i * V::LANES));
        }
        let mut rounds = 1;
        while rounds < V::LANES {
            let old = lines;
            for i in 0..V::LANES / 2 {
                (lines[2 * i], lines[2 * i + 1]) = old[i].interleave(old[i + V::LANES / 2]);
            }
            rounds *= 2;
        }
        for (i, line) in lines.into_iter().enumerate().take(V::LANES) {
            if i < columns {
                line.store(to.add(i * pitch));
            }
        }
    }
}

/// One of the products.
struct Multiply<'a, T> {
    tiles: usize,
    a: Shared<T>,
    b: Shared<T>,
    pitches: [usize; 2],
    sums: &'a mut [T],
    pitch: usize,
    add: bool,
}

impl<T: Float> Job<T> for Multiply<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let width = VECTORS * V::LANES;
        let mut tile_sums = [T::default(); ROWS * VECTORS * LANES];
        for column in (0..self.pitch).step_by(width) {
            let columns = width.min(self.pitch - column);
            let b = Columns { at: self.b.at(column).cast_const(), ld: self.pitches[1], copy: std::ptr::null_mut() };
            for (strip, sums) in self.sums.chunks_mut(ROWS * self.pitch).enumerate() {
                let (a, bias) = ((self.a.at(strip * ROWS).cast_const(), self.pitches[0]), [T::default(); ROWS]);
                // SAFETY: both matrices have rows of whole vectors, and room for a panel behind the last.
                unsafe {
                    let (vectors, to) = (columns.div_ceil(V::LANES), tile_sums.as_mut_ptr());
                    tile::<T, V>(self.tiles, a, b, vectors, &bias, Activation::None, to, width);
                }
                for (sums, new) in sums.chunks_exact_mut(self.pitch).zip(tile_sums.chunks_exact(width)) {
                    let sums = &mut sums[column..][..columns];
                    if self.add {
                        sums.iter_mut().zip(new).for_each(|(sum, &new)| *sum += new);
                    } else {
                        sums.copy_from_slice(&new[..columns]);
                    }
                }
            }
        }
    }
}

/// Makes the gradient of an output's kernels out of its sums.
struct Finish<'a, T> {
    sums: &'a [T],
    step: usize,
    dk: &'a mut [T],
}

impl<T: Float> Job<T> for Finish<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let mut taps = [T::default(); 9 * LANES];
        for (i, dk) in self.dk.chunks_mut(9 * V::LANES).enumerate() {
            // SAFETY: sums come in whole vectors.
            unsafe {
                let made = from_sums::<T, V>(self.sums.as_ptr().add(i * V::LANES), self.step);
                for (tap, made) in made.as_flattened().iter().enumerate() {
                    made.store(taps.as_mut_ptr().add(tap * V::LANES));
                }
            }
            for (channel, dk) in dk.chunks_exact_mut(9).enumerate() {
                dk.iter_mut().enumerate().for_each(|(tap, dk)| *dk = taps[tap * V::LANES + channel]);
            }
        }
    }
}
