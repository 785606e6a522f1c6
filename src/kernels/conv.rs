//! Convolution: strides, dilations, any padding, groups.

use super::im2col::{col2im, im2col};
use super::{Activation, Float, Window, depthwise, matmul};
use rayon::prelude::*;

/// A convolution's geometry. `x` is `[images, inputs, height, width]`, the kernel `[outputs, inputs / groups, kernel
/// height, kernel width]`, `y` `[images, outputs, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Images in the batch.
    pub images: usize,
    /// Input channels, a multiple of `groups`.
    pub inputs: usize,
    /// Output channels, a multiple of `groups`.
    pub outputs: usize,
    /// Channel groups that do not see each other.
    pub groups: usize,
    /// How the kernel slides.
    pub window: Window,
}

impl Conv {
    /// How many values the input has.
    pub fn x_len(&self) -> usize {
        self.images * self.inputs * self.window.pixels()
    }

    /// How many values the output has.
    pub fn y_len(&self) -> usize {
        self.images * self.outputs * self.window.positions()
    }

    /// How many values the kernel has.
    pub fn k_len(&self) -> usize {
        self.outputs * self.inputs / self.groups * self.window.taps()
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.inputs == self.groups
    }

    /// Output channels; and output channels to an input channel.
    fn planes(&self) -> (usize, usize) {
        (self.outputs, self.outputs / self.inputs)
    }

    /// A group's product: output channels, taps of all input channels, positions.
    fn sizes(&self) -> (usize, usize, usize) {
        (self.outputs / self.groups, self.inputs / self.groups * self.window.taps(), self.window.positions())
    }

    /// Values of one group of one image of `x`.
    fn x_part(&self) -> usize {
        self.inputs / self.groups * self.window.pixels()
    }

    /// Whether images and groups are shared out among the threads; else the threads share each product.
    fn shares_parts(&self) -> bool {
        self.images * self.groups >= rayon::current_num_threads().max(2)
    }

    fn check<T>(&self, x: &[T], k: &[T], y: &[T]) {
        assert!(
            x.len() == self.x_len() && k.len() == self.k_len() && y.len() == self.y_len(),
            "values as many as the convolution's geometry says"
        );
    }
}

/// Writes the convolution of `x` with `k`, plus `bias` (`[outputs]`), through `activation`, to `y`.
pub fn forward<T: Float>(conv: &Conv, x: &[T], k: &[T], bias: Option<&[T]>, activation: Activation<T>, y: &mut [T]) {
    conv.check(x, k, y);
    if y.is_empty() || x.is_empty() {
        return y.fill(T::default());
    }
    if conv.is_depthwise() {
        depthwise::forward(&conv.window, conv.planes(), x, k, bias, y);
        return activation.apply(y);
    }
    let (m, taps, n) = conv.sizes();
    let part = |columns: &mut Vec<T>, index: usize, y: &mut [T], threads: bool| {
        let group = index % conv.groups;
        if let Some(bias) = bias {
            y.chunks_exact_mut(n).zip(&bias[group * m..]).for_each(|(line, &b)| line.fill(b));
        }
        let x = &x[index * conv.x_part()..][..conv.x_part()];
        let k = &k[group * m * taps..][..m * taps];
        let columns = as_columns(&conv.window, x, columns, taps * n);
        matmul((m, taps, n), (k, false), (columns, false), (y, bias.is_some()), threads);
    };
    if conv.shares_parts() {
        y.par_chunks_exact_mut(m * n).enumerate().for_each_init(Vec::new, |c, (i, y)| part(c, i, y, false));
    } else {
        let mut columns = Vec::new();
        y.chunks_exact_mut(m * n).enumerate().for_each(|(i, y)| part(&mut columns, i, y, true));
    }
    activation.apply(y);
}

fn as_columns<'a, T: Float>(w: &Window, x: &'a [T], columns: &'a mut Vec<T>, len: usize) -> &'a [T] {
    if w.is_pixelwise() {
        return x;
    }
    columns.resize(len, T::default());
    im2col(w, x, columns);
    columns
}

/// Writes the gradient by the input, given that by the output, to `dx`.
pub fn by_input<T: Float>(conv: &Conv, k: &[T], dy: &[T], dx: &mut [T]) {
    conv.check(dx, k, dy);
    if dx.is_empty() || dy.is_empty() {
        return dx.fill(T::default());
    }
    if conv.is_depthwise() {
        return depthwise::by_input(&conv.window, conv.planes(), k, dy, dx);
    }
    let (m, taps, n) = conv.sizes();
    let part = |columns: &mut Vec<T>, index: usize, dx: &mut [T], threads: bool| {
        let k = &k[index % conv.groups * m * taps..][..m * taps];
        let dy = &dy[index * m * n..][..m * n];
        if conv.window.is_pixelwise() {
            return matmul((taps, m, n), (k, true), (dy, false), (dx, false), threads);
        }
        columns.resize(taps * n, T::default());
        matmul((taps, m, n), (k, true), (dy, false), (columns, false), threads);
        dx.fill(T::default());
        col2im(&conv.window, columns, dx);
    };
    if conv.shares_parts() {
        dx.par_chunks_exact_mut(conv.x_part()).enumerate().for_each_init(Vec::new, |c, (i, dx)| part(c, i, dx, false));
    } else {
        let mut columns = Vec::new();
        dx.chunks_exact_mut(conv.x_part()).enumerate().for_each(|(i, dx)| part(&mut columns, i, dx, true));
    }
}

/// Writes the gradient by the kernel, given that by the output, to `dk`.
pub fn by_kernel<T: Float>(conv: &Conv, x: &[T], dy: &[T], dk: &mut [T]) {
    conv.check(x, dk, dy);
    if x.is_empty() || dy.is_empty() {
        return dk.fill(T::default());
    }
    if conv.is_depthwise() {
        return depthwise::by_kernel(&conv.window, conv.planes(), x, dy, dk);
    }
    let (m, taps, n) = conv.sizes();
    // Images are summed in order, so that the sum is the same on any machine.
    let group = |columns: &mut Vec<T>, group: usize, dk: &mut [T], threads: bool| {
        for image in 0..conv.images {
            let index = image * conv.groups + group;
            let x = &x[index * conv.x_part()..][..conv.x_part()];
            let dy = &dy[index * m * n..][..m * n];
            let columns = as_columns(&conv.window, x, columns, taps * n);
            matmul((m, n, taps), (dy, false), (columns, true), (dk, image > 0), threads);
        }
    };
    if conv.groups >= rayon::current_num_threads().max(2) {
        dk.par_chunks_exact_mut(m * taps).enumerate().for_each_init(Vec::new, |c, (g, dk)| group(c, g, dk, false));
    } else {
        let mut columns = Vec::new();
        dk.chunks_exact_mut(m * taps).enumerate().for_each(|(g, dk)| group(&mut columns, g, dk, true));
    }
}

/// Writes the gradient by the bias, given that by the output, to `db` (`[outputs]`).
pub fn by_bias<T: Float>(conv: &Conv, dy: &[T], db: &mut [T]) {
    let n = conv.window.positions();
    assert!(dy.len() == conv.y_len() && db.len() == conv.outputs, "values as many as the geometry says");
    db.par_iter_mut().enumerate().for_each(|(channel, db)| {
        let maps = (0..conv.images).map(|image| &dy[(image * conv.outputs + channel) * n..][..n]);
        *db = maps.map(|map| map.iter().copied().sum::<T>()).sum();
    });
}
