//! The gradient by the input of a convolution with a stride, phase by phase.

use super::conv::Conv;
use super::gather::Gather;
use super::product::{Place, Product, pack, write};
use super::simd::Isa;
use super::{Activation, Float, Window};

/// Every `stride`-th pixel along an axis, and the taps that lie over them; these are a convolution of the output's gradient
/// with stride 1.
pub(super) struct Phase {
    pub(super) first: usize,
    pub(super) count: usize,
    /// Tap, and the output position over the first pixel.
    pub(super) taps: Vec<(usize, isize)>,
}

impl Phase {
    pub(super) fn new(w: &Window, axis: usize, first: usize) -> Self {
        let (stride, count) = (w.stride[axis], w.input[axis].saturating_sub(first).div_ceil(w.stride[axis]));
        let offset = |k: usize| (first + w.before[axis]) as isize - (k * w.dilation[axis]) as isize;
        let taps = (0..w.kernel[axis]).filter(|&k| offset(k).rem_euclid(stride as isize) == 0);
        Self { first, count, taps: taps.map(|k| (k, offset(k).div_euclid(stride as isize))).collect() }
    }
}

/// Writes the gradient by the input to `dx`.
pub(super) fn by_input<T: Float>(isa: Isa, conv: &Conv, k: &[T], dy: &[T], dx: &mut [T]) {
    let w = &conv.window;
    let phases = [0, 1].map(|axis| (0..w.stride[axis]).map(|first| Phase::new(w, axis, first)).collect::<Vec<_>>());
    let pairs = phases[0].iter().flat_map(|rows| phases[1].iter().map(move |columns| (rows, columns)));
    let products: Vec<_> = pairs.filter_map(|(rows, columns)| product(conv, rows, columns, k, dy)).collect();
    if products.len() < w.stride[0] * w.stride[1] {
        // Pixels that no tap ever lies over.
        dx.fill(T::default());
    }
    write(isa, &products, dx);
}

/// A phase as a product, if it has pixels and taps.
fn product<'a, T: Float>(conv: &Conv, rows: &Phase, columns: &Phase, k: &[T], x: &'a [T]) -> Option<Product<'a, T>> {
    let (w, images, groups) = (&conv.window, conv.images, conv.groups);
    let (m, channels) = (conv.inputs / groups, conv.outputs / groups);
    let taps: Vec<usize> =
        rows.taps.iter().flat_map(|y| columns.taps.iter().map(move |x| y.0 * w.kernel[1] + x.0)).collect();
    if rows.count * columns.count * taps.len() == 0 {
        return None;
    }
    let offsets = [rows, columns].map(|phase| phase.taps.iter().map(|tap| tap.1).collect());
    let gather = Gather { map: w.output, grid: [rows.count, columns.count], step: [1, 1], taps: offsets };
    let gather = if w.stride == [1, 1] { gather.flattened() } else { gather };
    let a = pack(groups, m, (channels, taps.len()), |row, group, channel, tap| {
        k[((group * channels + channel) * m + row - group * m) * w.taps() + taps[tap]]
    });
    let (plane, step) = (w.pixels(), [w.stride[0] * w.input[1], w.stride[1]]);
    let place = Place { image: conv.inputs * plane, plane, first: rows.first * w.input[1] + columns.first, step };
    Some(Product { images, groups, m, channels, gather, a, bias: None, activation: Activation::None, x, place })
}
