//! Softmax and layer normalisation of rows, each forwards and backwards in one pass over memory.

use super::function::Elementary;
use super::pointwise::{total, wide};
use rayon::prelude::*;

/// So many values make a piece, at least.
const PIECE: usize = 1 << 14;
/// At most so many partial sums are made of a batch.
const PARTS: usize = 64;

/// Calls `work` with each row of `N` tensors and of the output, `width` values long.
fn each_row<T: Elementary, const N: usize>(
    width: usize,
    x: [&[T]; N],
    y: &mut [T],
    work: impl Fn([&[T]; N], &mut [T]) + Sync,
) {
    assert!(width > 0 && y.len().is_multiple_of(width) && x.iter().all(|x| x.len() == y.len()), "whole rows");
    let piece = (PIECE / width).max(1) * width;
    y.par_chunks_mut(piece).enumerate().for_each(|(index, y)| {
        wide(|| {
            for (row, y) in y.chunks_exact_mut(width).enumerate() {
                work(x.map(|x| &x[index * piece + row * width..][..width]), y);
            }
        });
    });
}

/// Writes the softmax of each row of `x` to `y`.
pub fn softmax<T: Elementary>(width: usize, x: &[T], y: &mut [T]) {
    each_row(width, [x], y, softmax_row);
}

#[inline(always)]
fn softmax_row<T: Elementary>([x]: [&[T]; 1], y: &mut [T]) {
    // Several at once.
    let mut strands = [T::LOWEST; 16];
    for x in x.chunks(16) {
        strands.iter_mut().zip(x).for_each(|(largest, &x)| *largest = x.higher(*largest));
    }
    let largest = strands.into_iter().fold(T::LOWEST, |largest, x| x.higher(largest));
    let x = &x[..y.len()];
    (0..y.len()).for_each(|i| y[i] = (x[i] - largest).exp());
    let [sum] = total([&*y], |y| y);
    let share = T::ONE / sum;
    y.iter_mut().for_each(|y| *y = *y * share);
}

/// Writes the gradient of [`softmax`] by its input, given its output and the gradient by that, to `dx`.
pub fn softmax_by_input<T: Elementary>(width: usize, y: &[T], dy: &[T], dx: &mut [T]) {
    each_row(width, [y, dy], dx, |[y, dy], dx| {
        let [mean] = total([y, dy], |[y, dy]| [y * dy]);
        (0..width).for_each(|i| dx[i] = (dy[i] - mean) * y[i]);
    });
}

/// A row's mean and the reciprocal of its deviation.
#[inline(always)]
fn statistics<T: Elementary>(x: &[T], epsilon: T) -> (T, T) {
    let count = T::count(x.len());
    let [sum] = total([x], |x| x);
    let mean = sum / count;
    let [squares] = total([x], |[x]| [(x - mean) * (x - mean)]);
    (mean, T::ONE / (squares / count + epsilon).root())
}

/// Writes each row of `x`, less its mean and by its deviation, times `scale`, plus `bias` (a row each), to `y`.
pub fn layer_norm<T: Elementary>(epsilon: T, x: &[T], [scale, bias]: [&[T]; 2], y: &mut [T]) {
    let width = scale.len();
    assert!(bias.len() == width, "scale and bias of the same width");
    each_row(width, [x], y, |[x], y| {
        let (mean, r) = statistics(x, epsilon);
        (0..width).for_each(|i| y[i] = (x[i] - mean) * r * scale[i] + bias[i]);
    });
}

/// Writes the gradients of [`layer_norm`]: by its input to `dx`, by scale and bias to the others.
pub fn layer_norm_back<T: Elementary>(
    epsilon: T,
    [x, scale, dy]: [&[T]; 3],
    dx: &mut [T],
    [by_scale, by_bias]: [&mut [T]; 2],
) {
    let width = scale.len();
    assert!(by_scale.len() == width && by_bias.len() == width, "scale and bias of the same width");
    assert!(width > 0 && dx.len().is_multiple_of(width) && x.len() == dx.len() && dy.len() == dx.len(), "whole rows");
    let count = T::count(width);
    let rows = (dx.len() / width).div_ceil(PARTS).max(PIECE / width).max(1);
    let part = |(index, dx): (usize, &mut [T])| {
        let mut sums = [vec![T::default(); width], vec![T::default(); width]];
        wide(|| {
            let [by_scale, by_bias] = &mut sums;
            for (row, dx) in dx.chunks_exact_mut(width).enumerate() {
                let start = (index * rows + row) * width;
                let (x, dy) = (&x[start..][..width], &dy[start..][..width]);
                let (mean, r) = statistics(x, epsilon);
                let means = total([x, scale, dy], |[x, scale, dy]| [dy * scale, dy * scale * ((x - mean) * r)]);
                let [a, b] = means.map(|sum| sum / count);
                let (scale, by_scale, by_bias) = (&scale[..width], &mut by_scale[..width], &mut by_bias[..width]);
                for i in 0..width {
                    let normal = (x[i] - mean) * r;
                    dx[i] = (dy[i] * scale[i] - a - normal * b) * r;
                    by_scale[i] += dy[i] * normal;
                    by_bias[i] += dy[i];
                }
            }
        });
        sums
    };
    let parts: Vec<_> = dx.par_chunks_mut(rows * width).enumerate().map(part).collect();
    for (place, sums) in [by_scale, by_bias].into_iter().enumerate() {
        sums.fill(T::default());
        parts.iter().for_each(|part| sums.iter_mut().zip(&part[place]).for_each(|(sum, &more)| *sum += more));
    }
}
