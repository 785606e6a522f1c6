//! The inner loops: rows of a framed map times taps.

// Rows and columns of small matrices read best by their numbers.
#![allow(clippy::needless_range_loop)]

use super::super::frame::Frame;
use super::super::simd::Vector;
use super::super::{Activation, Float};

/// Rows of the output that are made at once.
pub(super) const ROWS: usize = 4;

/// Where the taps of a kernel lie in a frame.
pub(super) struct Taps {
    kernel: [usize; 2],
    dilation: [usize; 2],
    stride: [usize; 2],
    part: usize,
    pitch: usize,
    offsets: Vec<usize>,
}

impl Taps {
    pub(super) fn new(frame: &Frame, kernel: [usize; 2], dilation: [usize; 2]) -> Self {
        let (stride, part, pitch) = (frame.stride, frame.part, frame.pitch);
        let offset = |ky: usize, kx: usize| {
            let x = kx * dilation[1];
            ky * dilation[0] * pitch + x % stride[1] * part + x / stride[1]
        };
        let offsets = (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| offset(ky, kx))).collect();
        Self { kernel, dilation, stride, part, pitch, offsets }
    }

    /// Size and stride, where there are loops for just these.
    fn square(&self) -> (usize, usize) {
        let plain = self.kernel[0] == self.kernel[1] && self.stride[0] == self.stride[1] && self.dilation == [1, 1];
        if plain { (self.kernel[0], self.stride[0]) } else { (0, 0) }
    }
}

/// Writes a map of `size`, each value the sum of taps times what lies under them, plus a bias, through an activation.
///
/// # Safety
/// The frame was made for these taps and this size.
#[inline(always)]
pub(super) unsafe fn correlate<T: Float, V: Vector<T>>(
    taps: &Taps,
    frame: *const T,
    k: &[T],
    epilogue: (T, Activation<T>),
    to: *mut T,
    size: [usize; 2],
) {
    unsafe {
        match taps.square() {
            (2, 1) => rows::<T, V, 2, 1>(taps, frame, k, epilogue, to, size),
            (3, 1) => rows::<T, V, 3, 1>(taps, frame, k, epilogue, to, size),
            (3, 2) => rows::<T, V, 3, 2>(taps, frame, k, epilogue, to, size),
            (5, 1) => rows::<T, V, 5, 1>(taps, frame, k, epilogue, to, size),
            (5, 2) => rows::<T, V, 5, 2>(taps, frame, k, epilogue, to, size),
            _ => any_rows::<T, V>(taps, frame, k, epilogue, to, size),
        }
    }
}

#[inline(always)]
unsafe fn rows<T: Float, V: Vector<T>, const K: usize, const S: usize>(
    taps: &Taps,
    frame: *const T,
    k: &[T],
    epilogue: (T, Activation<T>),
    to: *mut T,
    size: [usize; 2],
) {
    assert!(k.len() == K * K);
    unsafe {
        let mut weights = [[V::splat(T::default()); K]; K];
        for (weights, k) in weights.iter_mut().zip(k.chunks_exact(K)) {
            weights.iter_mut().zip(k).for_each(|(weight, &k)| *weight = V::splat(k));
        }
        for y in (0..size[0]).step_by(ROWS) {
            for x in (0..size[1]).step_by(V::LANES) {
                let mut sums = [V::splat(epilogue.0); ROWS];
                let from = frame.add(y * S * taps.pitch + x);
                for line in 0..(ROWS - 1) * S + K {
                    for kx in 0..K {
                        let value = V::load(from.add(line * taps.pitch + kx % S * taps.part + kx / S));
                        for (r, sum) in sums.iter_mut().enumerate() {
                            if line >= r * S && line - r * S < K {
                                *sum = value.mul_add(weights[line - r * S][kx], *sum);
                            }
                        }
                    }
                }
                store(sums, epilogue.1, to.add(y * size[1] + x), size[1], [size[0] - y, size[1] - x]);
            }
        }
    }
}

/// The same for any kernel.
#[inline(always)]
unsafe fn any_rows<T: Float, V: Vector<T>>(
    taps: &Taps,
    frame: *const T,
    k: &[T],
    epilogue: (T, Activation<T>),
    to: *mut T,
    size: [usize; 2],
) {
    unsafe {
        let step = taps.stride[0] * taps.pitch;
        for y in (0..size[0]).step_by(ROWS) {
            for x in (0..size[1]).step_by(V::LANES) {
                let mut sums = [V::splat(epilogue.0); ROWS];
                for (&offset, &k) in taps.offsets.iter().zip(k) {
                    let (from, weight) = (frame.add(y * step + x + offset), V::splat(k));
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = V::load(from.add(r * step)).mul_add(weight, *sum);
                    }
                }
                store(sums, epilogue.1, to.add(y * size[1] + x), size[1], [size[0] - y, size[1] - x]);
            }
        }
    }
}

/// Stores the rows and columns that there are.
#[inline(always)]
unsafe fn store<T: Float, V: Vector<T>>(
    sums: [V; ROWS],
    activation: Activation<T>,
    to: *mut T,
    pitch: usize,
    [rows, columns]: [usize; 2],
) {
    unsafe {
        for (r, sum) in sums.into_iter().enumerate().take(rows) {
            let (sum, to) = (activation.of_vector(sum), to.add(r * pitch));
            if columns >= V::LANES { sum.store(to) } else { sum.store_part(to, columns) }
        }
    }
}

/// Adds to each tap's vector of sums the products of a gradient of `size` with what lies under the tap.
///
/// # Safety
/// The frame was made for these taps and this size; `sums` holds a vector for each tap.
#[inline(always)]
pub(super) unsafe fn add_products<T: Float, V: Vector<T>>(
    taps: &Taps,
    frame: *const T,
    dy: *const T,
    sums: *mut T,
    size: [usize; 2],
) {
    unsafe {
        match taps.square() {
            (3, 1) => products::<T, V, 3, 1>(taps, frame, dy, sums, size),
            (3, 2) => products::<T, V, 3, 2>(taps, frame, dy, sums, size),
            (5, 1) => products::<T, V, 5, 1>(taps, frame, dy, sums, size),
            (5, 2) => products::<T, V, 5, 2>(taps, frame, dy, sums, size),
            _ => any_products::<T, V>(taps, frame, dy, sums, size),
        }
    }
}

#[inline(always)]
unsafe fn products<T: Float, V: Vector<T>, const K: usize, const S: usize>(
    taps: &Taps,
    frame: *const T,
    dy: *const T,
    to: *mut T,
    size: [usize; 2],
) {
    unsafe {
        let mut sums = [[V::splat(T::default()); K]; K];
        for (i, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
            *sum = V::load(to.add(i * V::LANES));
        }
        for y in (0..size[0]).step_by(ROWS) {
            for x in (0..size[1]).step_by(V::LANES) {
                let grads = gradients::<T, V>(dy.add(y * size[1] + x), size[1], [size[0] - y, size[1] - x]);
                let from = frame.add(y * S * taps.pitch + x);
                for line in 0..(ROWS - 1) * S + K {
                    for kx in 0..K {
                        let value = V::load(from.add(line * taps.pitch + kx % S * taps.part + kx / S));
                        for (r, grad) in grads.iter().enumerate() {
                            if line >= r * S && line - r * S < K {
                                sums[line - r * S][kx] = value.mul_add(*grad, sums[line - r * S][kx]);
                            }
                        }
                    }
                }
            }
        }
        for (i, sum) in sums.as_flattened().iter().enumerate() {
            sum.store(to.add(i * V::LANES));
        }
    }
}

/// The same for any kernel.
#[inline(always)]
unsafe fn any_products<T: Float, V: Vector<T>>(
    taps: &Taps,
    frame: *const T,
    dy: *const T,
    to: *mut T,
    size: [usize; 2],
) {
    unsafe {
        let step = taps.stride[0] * taps.pitch;
        for y in (0..size[0]).step_by(ROWS) {
            for x in (0..size[1]).step_by(V::LANES) {
                let grads = gradients::<T, V>(dy.add(y * size[1] + x), size[1], [size[0] - y, size[1] - x]);
                for (i, &offset) in taps.offsets.iter().enumerate() {
                    let (from, to) = (frame.add(y * step + x + offset), to.add(i * V::LANES));
                    let mut sum = V::load(to);
                    for (r, grad) in grads.iter().enumerate() {
                        sum = V::load(from.add(r * step)).mul_add(*grad, sum);
                    }
                    sum.store(to);
                }
            }
        }
    }
}

/// Vectors of several rows, zero where there are none.
#[inline(always)]
unsafe fn gradients<T: Float, V: Vector<T>>(dy: *const T, pitch: usize, [rows, columns]: [usize; 2]) -> [V; ROWS] {
    unsafe {
        let mut grads = [V::splat(T::default()); ROWS];
        for (r, grad) in grads.iter_mut().enumerate().take(rows) {
            let from = dy.add(r * pitch);
            *grad = if columns >= V::LANES { V::load(from) } else { V::load_part(from, columns) };
        }
        grads
    }
}
