//! Maps as matrices whose columns are the windows' taps.

use super::{Float, Window};

/// `x` is `[channels, pixels]`; `columns` becomes `[channels × taps, positions]`.
pub(super) fn im2col<T: Float>(w: &Window, x: &[T], columns: &mut [T]) {
    let (width, across) = (w.input[1], w.output[1]);
    for (row, column) in columns.chunks_exact_mut(w.positions()).enumerate() {
        let (channel, ky, kx) = split(w, row);
        let map = &x[channel * w.pixels()..][..w.pixels()];
        column.fill(T::default());
        let xs = w.inside(1, kx);
        for oy in w.inside(0, ky) {
            let line = &map[w.pixel(0, oy, ky) * width..][..width];
            let out = &mut column[oy * across..][..across];
            if w.stride[1] == 1 && !xs.is_empty() {
                let from = w.pixel(1, xs.start, kx);
                out[xs.clone()].copy_from_slice(&line[from..from + xs.len()]);
            } else {
                xs.clone().for_each(|ox| out[ox] = line[w.pixel(1, ox, kx)]);
            }
        }
    }
}

/// Adds what lies in `columns` back to where it came from; the opposite of [`im2col`].
pub(super) fn col2im<T: Float>(w: &Window, columns: &[T], x: &mut [T]) {
    let (width, across) = (w.input[1], w.output[1]);
    for (row, column) in columns.chunks_exact(w.positions()).enumerate() {
        let (channel, ky, kx) = split(w, row);
        let map = &mut x[channel * w.pixels()..][..w.pixels()];
        let xs = w.inside(1, kx);
        for oy in w.inside(0, ky) {
            let line = &mut map[w.pixel(0, oy, ky) * width..][..width];
            let out = &column[oy * across..][..across];
            xs.clone().for_each(|ox| line[w.pixel(1, ox, kx)] += out[ox]);
        }
    }
}

/// The channel and the tap of a row of the matrix.
fn split(w: &Window, row: usize) -> (usize, usize, usize) {
    let tap = row % w.taps();
    (row / w.taps(), tap / w.kernel[1], tap % w.kernel[1])
}
