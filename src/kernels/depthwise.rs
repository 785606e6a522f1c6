//! Convolutions in which every output channel looks at one input channel.

use super::{Float, Window};
use rayon::prelude::*;

/// Output channels of one input channel: `x` `[planes / multiplier, pixels]`, `k` one kernel for each of `channels`.
pub(super) fn forward<T: Float>(
    w: &Window,
    (channels, multiplier): (usize, usize),
    x: &[T],
    k: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    y.par_chunks_exact_mut(w.positions()).enumerate().for_each(|(plane, y)| {
        let channel = plane % channels;
        y.fill(bias.map_or(T::default(), |b| b[channel]));
        let map = &x[plane / multiplier * w.pixels()..][..w.pixels()];
        each_line(w, |tap, kx, iy, oy| {
            let (weight, xs) = (k[channel * w.taps() + tap], w.inside(1, kx));
            let (line, out) = (&map[iy * w.input[1]..][..w.input[1]], &mut y[oy * w.output[1]..][..w.output[1]]);
            if w.stride[1] == 1 && !xs.is_empty() {
                let from = w.pixel(1, xs.start, kx);
                let pairs = out[xs.clone()].iter_mut().zip(&line[from..from + xs.len()]);
                pairs.for_each(|(out, &value)| *out += weight * value);
            } else {
                xs.for_each(|ox| out[ox] += weight * line[w.pixel(1, ox, kx)]);
            }
        });
    });
}

/// The gradient by the input.
pub(super) fn by_input<T: Float>(w: &Window, (channels, multiplier): (usize, usize), k: &[T], dy: &[T], dx: &mut [T]) {
    dx.par_chunks_exact_mut(w.pixels()).enumerate().for_each(|(plane, dx)| {
        dx.fill(T::default());
        for out_plane in plane * multiplier..(plane + 1) * multiplier {
            let channel = out_plane % channels;
            let dy = &dy[out_plane * w.positions()..][..w.positions()];
            each_line(w, |tap, kx, iy, oy| {
                let (weight, xs) = (k[channel * w.taps() + tap], w.inside(1, kx));
                let (line, out) = (&mut dx[iy * w.input[1]..][..w.input[1]], &dy[oy * w.output[1]..][..w.output[1]]);
                if w.stride[1] == 1 && !xs.is_empty() {
                    let from = w.pixel(1, xs.start, kx);
                    let pairs = line[from..from + xs.len()].iter_mut().zip(&out[xs.clone()]);
                    pairs.for_each(|(value, &out)| *value += weight * out);
                } else {
                    xs.for_each(|ox| line[w.pixel(1, ox, kx)] += weight * out[ox]);
                }
            });
        }
    });
}

/// The gradient by the kernels.
pub(super) fn by_kernel<T: Float>(w: &Window, (channels, multiplier): (usize, usize), x: &[T], dy: &[T], dk: &mut [T]) {
    let images = dy.len() / (channels * w.positions()).max(1);
    dk.par_chunks_exact_mut(w.taps()).enumerate().for_each(|(channel, dk)| {
        dk.fill(T::default());
        for plane in (0..images).map(|image| image * channels + channel) {
            let map = &x[plane / multiplier * w.pixels()..][..w.pixels()];
            let dy = &dy[plane * w.positions()..][..w.positions()];
            each_line(w, |tap, kx, iy, oy| {
                let xs = w.inside(1, kx);
                let (line, out) = (&map[iy * w.input[1]..][..w.input[1]], &dy[oy * w.output[1]..][..w.output[1]]);
                dk[tap] += if w.stride[1] == 1 && !xs.is_empty() {
                    let from = w.pixel(1, xs.start, kx);
                    dot(&line[from..from + xs.len()], &out[xs])
                } else {
                    xs.map(|ox| line[w.pixel(1, ox, kx)] * out[ox]).sum()
                };
            });
        }
    });
}

/// A sum in eight strands, which the compiler can keep in one register.
fn dot<T: Float>(a: &[T], b: &[T]) -> T {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut strands = [T::default(); 8];
    for (a, b) in a8.iter().zip(b8) {
        (0..8).for_each(|i| strands[i] += a[i] * b[i]);
    }
    strands.into_iter().sum::<T>() + a_rest.iter().zip(b_rest).map(|(&a, &b)| a * b).sum::<T>()
}

/// Calls `line(tap, tap's column, input row, output row)` for every tap and every row in which it lies inside the map.
fn each_line(w: &Window, mut line: impl FnMut(usize, usize, usize, usize)) {
    for tap in 0..w.taps() {
        let (ky, kx) = (tap / w.kernel[1], tap % w.kernel[1]);
        for oy in w.inside(0, ky) {
            line(tap, kx, w.pixel(0, oy, ky), oy);
        }
    }
}
