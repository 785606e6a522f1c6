//! The same values in another order.

use rayon::prelude::*;

/// Rows and columns of a block that fits into the fastest memory.
const BLOCK: usize = 16;
/// So many values make a piece, at least.
const PIECE: usize = 1 << 14;

/// `x` is `[outer, a, b, inner]`; `y` becomes `[outer, b, a, inner]`.
pub fn exchange<T: Copy + Send + Sync>([outer, a, b, inner]: [usize; 4], x: &[T], y: &mut [T]) {
    assert!(x.len() == outer * a * b * inner && y.len() == x.len(), "as many values as the sizes say");
    if y.is_empty() {
        return;
    }
    // Some rows of `b` make a piece of the output.
    let rows = (PIECE / (a * inner)).max(BLOCK);
    y.par_chunks_mut(a * b * inner).zip(x.par_chunks(a * b * inner)).for_each(|(y, x)| {
        y.par_chunks_mut(rows * a * inner).enumerate().for_each(|(piece, y)| {
            let (first, count) = (piece * rows, y.len() / (a * inner));
            if inner > 1 {
                for (row, y) in y.chunks_exact_mut(a * inner).enumerate() {
                    for (i, y) in y.chunks_exact_mut(inner).enumerate() {
                        y.copy_from_slice(&x[(i * b + first + row) * inner..][..inner]);
                    }
                }
                return;
            }
            for i in (0..a).step_by(BLOCK) {
                for row in (0..count).step_by(BLOCK) {
                    for row in row..(row + BLOCK).min(count) {
                        let y = &mut y[row * a..][i..(i + BLOCK).min(a)];
                        y.iter_mut().enumerate().for_each(|(j, y)| *y = x[(i + j) * b + first + row]);
                    }
                }
            }
        });
    });
}

/// Writes rows of `part` values to `y`, each from place `start` of a row of `x` that is `row` long.
pub fn cut<T: Copy + Send + Sync>([row, start, part]: [usize; 3], x: &[T], y: &mut [T]) {
    if part > 0 {
        let rows = y.par_chunks_mut(part).zip(x.par_chunks(row)).with_min_len((PIECE / part).max(1));
        rows.for_each(|(y, x)| y.copy_from_slice(&x[start..][..part]));
    }
}

/// The opposite: rows of `x` to their places in the rows of `y`, whose other values stay.
pub fn paste<T: Copy + Send + Sync>([row, start, part]: [usize; 3], x: &[T], y: &mut [T]) {
    if part > 0 {
        let rows = y.par_chunks_mut(row).zip(x.par_chunks(part)).with_min_len((PIECE / part).max(1));
        rows.for_each(|(y, x)| y[start..][..part].copy_from_slice(x));
    }
}
