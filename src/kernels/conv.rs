//! Convolution: strides, dilations, any padding, groups.

use super::gather::Gather;
use super::product::{Place, Product, pack, write};
use super::simd::Isa;
use super::winograd::by_kernel::ByKernel;
use super::winograd::{self, Winograd};
use super::{Activation, Float, Window, columns, depthwise, phases};

/// A convolution's geometry. `x` is `[images, inputs, height, width]`, the kernel `[outputs, inputs / groups, kernel
/// height, kernel width]`, `y` `[images, outputs, height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
        self.groups > 1 && self.inputs == self.groups && self.outputs == self.groups
    }

    /// A group's product: output channels, taps of all input channels, positions.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.outputs / self.groups, self.inputs / self.groups * self.window.taps(), self.window.positions())
    }

    fn suits_winograd(&self, size: [usize; 2]) -> bool {
        let w = &self.window;
        let plain = w.kernel == [3, 3] && w.stride == [1, 1] && w.dilation == [1, 1] && self.groups == 1;
        plain && winograd::pays(self.outputs, self.inputs, size)
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
    forward_on(Isa::best(), conv, x, k, bias, activation, y);
}

pub(super) fn forward_on<T: Float>(
    isa: Isa,
    conv: &Conv,
    x: &[T],
    k: &[T],
    bias: Option<&[T]>,
    activation: Activation<T>,
    y: &mut [T],
) {
    conv.check(x, k, y);
    if y.is_empty() || x.is_empty() {
        return y.fill(T::default());
    }
    let w = &conv.window;
    if conv.is_depthwise() {
        return depthwise::forward(isa, w, (x, k), bias, activation, y);
    }
    let (m, taps, n) = conv.sizes();
    let (images, groups) = (conv.images, conv.groups);
    if conv.suits_winograd(w.output) {
        let (channels, map, size, before) = (conv.inputs, w.input, w.output, w.before.map(|before| before as isize));
        let weight = |row: usize, channel: usize, tap: usize| k[row * taps + channel * 9 + tap];
        return Winograd { isa, images, m, channels, map, size, before, weight, bias, activation, x }.write(y);
    }
    let gather = Gather::forward(w);
    let a = pack(conv.groups, m, (taps, 1), |row, _, i, _| k[row * taps + i]);
    let place = Place { image: conv.outputs * n, plane: n, first: 0, step: [gather.grid[1], 1] };
    let channels = conv.inputs / conv.groups;
    let product = Product { images, groups, m, channels, gather, a, bias, activation, x, place };
    write(isa, &[product], y);
}

/// Writes the gradient by the input, given that by the output, to `dx`.
pub fn by_input<T: Float>(conv: &Conv, k: &[T], dy: &[T], dx: &mut [T]) {
    by_input_on(Isa::best(), conv, k, dy, dx);
}

pub(super) fn by_input_on<T: Float>(isa: Isa, conv: &Conv, k: &[T], dy: &[T], dx: &mut [T]) {
    conv.check(dx, k, dy);
    if dx.is_empty() || dy.is_empty() {
        return dx.fill(T::default());
    }
    if conv.is_depthwise() {
        return depthwise::by_input(isa, &conv.window, k, dy, dx);
    }
    let w = &conv.window;
    if conv.suits_winograd(w.input) {
        // The kernels turned around, over the gradient.
        let (map, size, before) = (w.output, w.input, w.before.map(|before| 2 - before as isize));
        let (images, m, channels, bias, activation) = (conv.images, conv.inputs, conv.outputs, None, Activation::None);
        let weight = |row: usize, channel: usize, tap: usize| k[(channel * m + row) * 9 + 8 - tap];
        return Winograd { isa, images, m, channels, map, size, before, weight, bias, activation, x: dy }.write(dx);
    }
    phases::by_input(isa, conv, k, dy, dx);
}

/// Writes the gradient by the kernel, given that by the output, to `dk`.
pub fn by_kernel<T: Float>(conv: &Conv, x: &[T], dy: &[T], dk: &mut [T]) {
    by_kernel_on(Isa::best(), conv, x, dy, dk);
}

pub(super) fn by_kernel_on<T: Float>(isa: Isa, conv: &Conv, x: &[T], dy: &[T], dk: &mut [T]) {
    conv.check(x, dk, dy);
    if x.is_empty() || dy.is_empty() {
        return dk.fill(T::default());
    }
    if conv.is_depthwise() {
        return depthwise::by_kernel(isa, &conv.window, x, dy, dk);
    }
    if conv.suits_winograd(conv.window.output) {
        let (w, channels, images) = (&conv.window, [conv.outputs, conv.inputs], conv.images);
        return ByKernel { isa, images, channels, map: w.input, size: w.output, before: w.before, x, dy }.write(dk);
    }
    columns::by_kernel(isa, conv, x, dy, dk);
}
