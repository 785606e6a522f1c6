//! The gradient by the kernel as a product of the output's gradient with the windows, written out.

use super::conv::Conv;
use super::gather::{Gather, runs};
use super::scratch::Scratch;
use super::simd::{Isa, Job, Vector};
use super::{Float, matmul};
use rayon::prelude::*;

/// Partial gradients that are held at once.
const PARTIAL: usize = 1 << 22;

/// The windows of an image's group, `[channels × taps, positions]`.
struct Columns<'a, T> {
    gather: &'a Gather,
    x: &'a [T],
    to: &'a mut [T],
}

impl<T: Float> Job<T> for Columns<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let (n, channels) = (self.gather.positions(), self.x.len() / self.gather.pixels());
        let runs = runs(self.gather.grid, 0, n);
        assert!(self.to.len() >= channels * self.gather.taps() * n + V::LANES, "room for all windows");
        // SAFETY: `x` is one image, and there is room for a vector behind the last window.
        unsafe { self.gather.fill::<T, V>(&runs, (self.x.as_ptr(), 0, channels), self.to.as_mut_ptr(), n) }
    }
}

/// What is summed over images.
struct Sums<'a, T> {
    isa: Isa,
    conv: &'a Conv,
    gather: Gather,
    x: &'a [T],
    dy: &'a [T],
}

/// Writes the gradient by the kernel to `dk`. However many threads there are, each sum is over the same images in the same
/// order.
pub(super) fn by_kernel<T: Float>(isa: Isa, conv: &Conv, x: &[T], dy: &[T], dk: &mut [T]) {
    let (m, taps, _) = conv.sizes();
    let sums = Sums { isa, conv, gather: Gather::forward(&conv.window), x, dy };
    // The images in as many shares as partial gradients can be held, but not more than eight.
    let most = (PARTIAL / dk.len()).min(conv.images).min(8);
    if conv.groups >= 8 || most < 2 {
        let rows = if conv.groups >= 8 { m } else { m.div_ceil(8).next_multiple_of(32).min(m) };
        let parts = dk.par_chunks_mut(m * taps).enumerate().flat_map(|(group, dk)| {
            dk.par_chunks_mut(rows * taps).enumerate().map(move |(part, dk)| (group, part * rows, dk))
        });
        return parts.for_each(|(group, row, dk)| sums.write(0..conv.images, group, row, dk));
    }
    let mut partial = Scratch::new(most * dk.len());
    let len = dk.len();
    partial.par_chunks_mut(m * taps).enumerate().for_each(|(i, partial)| {
        let (share, group) = (i / conv.groups, i % conv.groups);
        let images = conv.images * share / most..conv.images * (share + 1) / most;
        sums.write(images, group, 0, partial);
    });
    dk.par_chunks_mut(1 << 12).enumerate().for_each(|(i, dk)| {
        dk.copy_from_slice(&partial[i << 12..][..dk.len()]);
        for share in 1..most {
            let partial = &partial[share * len + (i << 12)..][..dk.len()];
            dk.iter_mut().zip(partial).for_each(|(dk, &partial)| *dk += partial);
        }
    });
}

impl<T: Float> Sums<'_, T> {
    /// Writes the sum over some images for the rows of a group that fit into `dk`.
    fn write(&self, images: std::ops::Range<usize>, group: usize, row: usize, dk: &mut [T]) {
        let (m, taps, n) = self.conv.sizes();
        let (rows, first) = (dk.len() / taps, images.start);
        let x_part = self.conv.inputs / self.conv.groups * self.conv.window.pixels();
        let pixelwise = self.gather.is_pixelwise();
        let mut columns = Scratch::new(if pixelwise { 0 } else { taps * n + self.isa.lanes::<T>() });
        for image in images {
            let index = image * self.conv.groups + group;
            let x = &self.x[index * x_part..][..x_part];
            let dy = &self.dy[(index * m + row) * n..][..rows * n];
            if !pixelwise {
                self.isa.run(Columns { gather: &self.gather, x, to: &mut columns });
            }
            let b = if pixelwise { x } else { &columns[..taps * n] };
            matmul((rows, n, taps), (dy, false), (b, true), (dk, image > first), false);
        }
    }
}
