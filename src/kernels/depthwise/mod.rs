//! Convolutions in which every output channel looks at its own input channel.
//!
//! Each map is copied into a frame of zeros, its columns parted by the stride, so that every tap is a plain vector of a row;
//! several rows of the output are made at once, since they share most of what they read.

mod taps;

use super::frame::Frame;
use super::phases::Phase;
use super::product::Shared;
use super::scratch::Scratch;
use super::simd::{Isa, Job, Vector};
use super::{Activation, Float, Window};
use rayon::prelude::*;
use taps::{ROWS, Taps, add_products, correlate};

/// Values that a thread should take at once.
const SHARE: usize = 1 << 14;

/// The size with all rows that are made at once.
fn whole(size: [usize; 2]) -> [usize; 2] {
    [size[0].next_multiple_of(ROWS), size[1]]
}

/// `x` is `[images × channels, pixels]`, `k` one kernel for each channel.
pub(super) fn forward<T: Float>(
    isa: Isa,
    w: &Window,
    (x, k): (&[T], &[T]),
    bias: Option<&[T]>,
    activation: Activation<T>,
    y: &mut [T],
) {
    let frame = Frame::forward(w, whole(w.output)[0], isa.lanes::<T>());
    let taps = Taps::new(&frame, w.kernel, w.dilation);
    let channels = k.len() / w.taps();
    each_plane(
        w,
        (x, w.pixels()),
        (y, w.positions()),
        || Scratch::zeros(frame.len()),
        |plane, values, x, y| {
            let channel = plane % channels;
            let k = &k[channel * w.taps()..][..w.taps()];
            let bias = bias.map_or(T::default(), |bias| bias[channel]);
            let to = Shared(y.as_mut_ptr());
            isa.run(Correlate { frame: &frame, taps: &taps, x, values, k, bias, activation, to, size: w.output });
        },
    );
}

/// Calls `each(plane, room, source, target)` for every plane, on all threads, each with a `room` to itself.
fn each_plane<T: Float, R>(
    w: &Window,
    (from, from_len): (&[T], usize),
    (to, to_len): (&mut [T], usize),
    room: impl Fn() -> R + Sync + Send,
    each: impl Fn(usize, &mut R, &[T], &mut [T]) + Sync,
) {
    let planes = to.par_chunks_exact_mut(to_len).enumerate().with_min_len(1 + SHARE / (w.pixels() + w.positions()));
    planes.for_each_init(room, |room, (plane, to)| each(plane, room, &from[plane * from_len..][..from_len], to));
}

/// Frames a map and correlates it with a kernel.
struct Correlate<'a, T> {
    frame: &'a Frame,
    taps: &'a Taps,
    x: &'a [T],
    values: &'a mut [T],
    k: &'a [T],
    bias: T,
    activation: Activation<T>,
    to: Shared<T>,
    size: [usize; 2],
}

impl<T: Float> Job<T> for Correlate<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        // SAFETY: the frame was made for these taps and this size, and `to` has room for it.
        unsafe {
            self.frame.fill::<T, V>(self.x, self.values);
            let (frame, epilogue) = (self.values.as_ptr(), (self.bias, self.activation));
            correlate::<T, V>(self.taps, frame, self.k, epilogue, self.to.0, self.size);
        }
    }
}

/// The gradient by the input.
pub(super) fn by_input<T: Float>(isa: Isa, w: &Window, k: &[T], dy: &[T], dx: &mut [T]) {
    if w.stride != [1, 1] {
        return by_input_in_phases(isa, w, k, dy, dx);
    }
    // The kernel turned around, over the gradient.
    let before = [0, 1].map(|axis| (w.dilation[axis] * (w.kernel[axis] - 1)) as isize - w.before[axis] as isize);
    let frame = Frame::new(w.output, before, [1, 1], whole(w.input), [0, 1].map(|axis| w.span(axis)), isa.lanes::<T>());
    let taps = Taps::new(&frame, w.kernel, w.dilation);
    let channels = k.len() / w.taps();
    let turned: Vec<T> = k.chunks_exact(w.taps()).flat_map(|k| k.iter().rev().copied()).collect();
    each_plane(
        w,
        (dy, w.positions()),
        (dx, w.pixels()),
        || Scratch::zeros(frame.len()),
        |plane, values, x, dx| {
            let k = &turned[plane % channels * w.taps()..][..w.taps()];
            let (bias, activation, to) = (T::default(), Activation::None, Shared(dx.as_mut_ptr()));
            isa.run(Correlate { frame: &frame, taps: &taps, x, values, k, bias, activation, to, size: w.input });
        },
    );
}

/// Every stride-th pixel is a correlation of the gradient with every stride-th tap; all of these get kernels of one size,
/// filled up with zeros.
fn by_input_in_phases<T: Float>(isa: Isa, w: &Window, k: &[T], dy: &[T], dx: &mut [T]) {
    let phases = [0, 1].map(|axis| (0..w.stride[axis]).map(|first| Phase::new(w, axis, first)).collect::<Vec<_>>());
    let range = [0, 1].map(|axis: usize| {
        let positions = phases[axis].iter().flat_map(|phase| phase.taps.iter().map(|tap| tap.1));
        let (first, last) = positions.fold((isize::MAX, isize::MIN), |(a, b), at| (a.min(at), b.max(at)));
        (first, (last - first + 1) as usize)
    });
    let (kernel, size) = ([range[0].1, range[1].1], [phases[0][0].count, phases[1][0].count]);
    let frame = Frame::new(w.output, [-range[0].0, -range[1].0], [1, 1], whole(size), kernel, isa.lanes::<T>());
    let taps = Taps::new(&frame, kernel, [1, 1]);
    let (channels, count) = (k.len() / w.taps(), phases[0].len() * phases[1].len());
    // Kernels of all channels and phases.
    let mut kernels = vec![T::default(); channels * count * kernel[0] * kernel[1]];
    for (i, kernels) in kernels.chunks_exact_mut(kernel[0] * kernel[1]).enumerate() {
        let (channel, rows, columns) = (i / count, &phases[0][i % count / w.stride[1]], &phases[1][i % w.stride[1]]);
        for (ky, y) in &rows.taps {
            for (kx, x) in &columns.taps {
                let at = (y - range[0].0) as usize * kernel[1] + (x - range[1].0) as usize;
                kernels[at] = k[channel * w.taps() + ky * w.kernel[1] + kx];
            }
        }
    }
    let room = || (Scratch::zeros(frame.len()), Scratch::new(count * size[0] * size[1]));
    each_plane(w, (dy, w.positions()), (dx, w.pixels()), room, |plane, (values, parts), x, dx| {
        let k = &kernels[plane % channels * count * kernel[0] * kernel[1]..][..count * kernel[0] * kernel[1]];
        isa.run(Phases { frame: &frame, taps: &taps, x, values, k, parts, size, w, dx });
    });
}

struct Phases<'a, T> {
    frame: &'a Frame,
    taps: &'a Taps,
    x: &'a [T],
    values: &'a mut [T],
    k: &'a [T],
    parts: &'a mut [T],
    size: [usize; 2],
    w: &'a Window,
    dx: &'a mut [T],
}

impl<T: Float> Job<T> for Phases<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let ([height, width], stride) = (self.size, self.w.stride);
        let kernels = self.k.chunks_exact(self.k.len() / (stride[0] * stride[1]));
        // SAFETY: the frame was made for these taps and this size; each part has room for it.
        unsafe {
            self.frame.fill::<T, V>(self.x, self.values);
            for (k, part) in kernels.zip(self.parts.chunks_exact_mut(height * width)) {
                let epilogue = (T::default(), Activation::None);
                correlate::<T, V>(self.taps, self.values.as_ptr(), k, epilogue, part.as_mut_ptr(), self.size);
            }
        }
        for (y, line) in self.dx.chunks_exact_mut(self.w.input[1]).enumerate() {
            let rows = y % stride[0] * stride[1];
            let row = |phase: usize| &self.parts[((rows + phase) * height + y / stride[0]) * width..][..width];
            if stride[1] == 2 {
                let (even, odd) = (row(0), row(1));
                line.chunks_mut(2).zip(even.iter().zip(odd)).for_each(|(pair, (&a, &b))| {
                    pair[0] = a;
                    if let Some(second) = pair.get_mut(1) {
                        *second = b;
                    }
                });
            } else {
                line.iter_mut().enumerate().for_each(|(x, value)| *value = row(x % stride[1])[x / stride[1]]);
            }
        }
    }
}

/// The gradient by the kernels.
pub(super) fn by_kernel<T: Float>(isa: Isa, w: &Window, x: &[T], dy: &[T], dk: &mut [T]) {
    let frame = Frame::forward(w, whole(w.output)[0], isa.lanes::<T>());
    let taps = Taps::new(&frame, w.kernel, w.dilation);
    let channels = dk.len() / w.taps();
    let images = dy.len() / (channels * w.positions());
    let start = || (Scratch::zeros(frame.len()), Scratch::new(w.taps() * isa.lanes::<T>()));
    let share = 1 + SHARE / (images * (w.pixels() + w.positions()));
    let each = dk.par_chunks_exact_mut(w.taps()).enumerate().with_min_len(share);
    each.for_each_init(start, |(values, sums), (channel, dk)| {
        sums.fill(T::default());
        for plane in (0..images).map(|image| image * channels + channel) {
            let x = &x[plane * w.pixels()..][..w.pixels()];
            let dy = &dy[plane * w.positions()..][..w.positions()];
            isa.run(Products {
                frame: &frame,
                taps: &taps,
                x,
                values: &mut *values,
                dy,
                sums: &mut *sums,
                size: w.output,
            });
        }
        let sums = sums.chunks_exact(isa.lanes::<T>());
        dk.iter_mut().zip(sums).for_each(|(dk, sums)| *dk = sums.iter().copied().sum());
    });
}

/// Frames a map and adds its products with a gradient to a vector of sums for each tap.
struct Products<'a, T> {
    frame: &'a Frame,
    taps: &'a Taps,
    x: &'a [T],
    values: &'a mut [T],
    dy: &'a [T],
    sums: &'a mut [T],
    size: [usize; 2],
}

impl<T: Float> Job<T> for Products<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        // SAFETY: the frame was made for these taps and this size, and there are sums for each tap.
        unsafe {
            self.frame.fill::<T, V>(self.x, self.values);
            add_products::<T, V>(self.taps, self.values.as_ptr(), self.dy.as_ptr(), self.sums.as_mut_ptr(), self.size);
        }
    }
}
