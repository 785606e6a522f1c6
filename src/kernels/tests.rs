//! The kernels against plain loops in float64, on every instruction set of this machine.

use super::conv::{self, Conv};
use super::simd::Isa;
use super::{Activation, Float, Window};

/// Numbers in -0.5..0.5, the same ones for a seed.
fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    };
    (0..len).map(|_| next()).collect()
}

/// Calls `each(y, x, k)` with the places of every product that the convolution adds up.
fn each_product(conv: &Conv, mut each: impl FnMut(usize, usize, usize)) {
    let w = &conv.window;
    let (per_group, outputs) = (conv.inputs / conv.groups, conv.outputs / conv.groups);
    for y in 0..conv.y_len() {
        let (ox, oy) = (y % w.output[1], y / w.output[1] % w.output[0]);
        let (channel, image) = (y / w.positions() % conv.outputs, y / w.positions() / conv.outputs);
        for k in 0..per_group * w.taps() {
            let (kx, ky, input) = (k % w.kernel[1], k / w.kernel[1] % w.kernel[0], k / w.taps());
            let inside = |axis: usize, o: usize, k: usize| {
                let at = (o * w.stride[axis] + k * w.dilation[axis]).checked_sub(w.before[axis])?;
                (at < w.input[axis]).then_some(at)
            };
            if let (Some(iy), Some(ix)) = (inside(0, oy, ky), inside(1, ox, kx)) {
                let plane = image * conv.inputs + channel / outputs * per_group + input;
                each(y, (plane * w.input[0] + iy) * w.input[1] + ix, channel * per_group * w.taps() + k);
            }
        }
    }
}

fn narrow<T: Float>(values: &[f64], to: fn(f64) -> T) -> Vec<T> {
    values.iter().map(|&v| to(v)).collect()
}

/// Compares all directions with the loops; the bound is one of rounding, relative to the largest value.
fn compare<T: Float>(conv: &Conv, to: fn(f64) -> T, from: fn(T) -> f64, bound: f64) {
    let (x, k, dy) = (numbers(conv.x_len(), 1), numbers(conv.k_len(), 2), numbers(conv.y_len(), 3));
    let bias = numbers(conv.outputs, 4);
    let plane = |y: usize| y / conv.window.positions() % conv.outputs;
    let mut y: Vec<f64> = (0..conv.y_len()).map(|y| bias[plane(y)]).collect();
    let (mut dx, mut dk) = (vec![0.0; x.len()], vec![0.0; k.len()]);
    each_product(conv, |o, i, t| {
        y[o] += x[i] * k[t];
        dx[i] += dy[o] * k[t];
        dk[t] += dy[o] * x[i];
    });
    y.iter_mut().for_each(|v| *v = v.clamp(-0.2, 0.3));
    let (x, k, dy, bias) = (narrow(&x, to), narrow(&k, to), narrow(&dy, to), narrow(&bias, to));
    for isa in Isa::all() {
        let near = |name: &str, found: &[T], wanted: &[f64]| {
            let most = wanted.iter().fold(1.0f64, |most, v| most.max(v.abs()));
            for (i, (&found, wanted)) in found.iter().zip(wanted).enumerate() {
                let error = (from(found) - wanted).abs() / most;
                assert!(error < bound, "{name} of {conv:?} on {isa:?} at {i}: {} for {wanted}", from(found));
            }
        };
        // What was there before must not matter.
        let mut found = vec![to(f64::NAN); y.len()];
        conv::forward_on(isa, conv, &x, &k, Some(&bias), Activation::Clip(to(-0.2), to(0.3)), &mut found);
        near("forward", &found, &y);
        let mut found = vec![to(f64::NAN); dx.len()];
        conv::by_input_on(isa, conv, &k, &dy, &mut found);
        near("by_input", &found, &dx);
        let mut found = vec![to(f64::NAN); dk.len()];
        conv::by_kernel_on(isa, conv, &x, &dy, &mut found);
        near("by_kernel", &found, &dk);
    }
}

fn both(conv: Conv) {
    compare::<f64>(&conv, |v| v, |v| v, 1e-13);
    compare::<f32>(&conv, |v| v as f32, |v| v as f64, 5e-6);
}

/// `(images, inputs, outputs, groups)`, then for each axis `(input, kernel, stride, dilation, before, after)`.
fn conv(
    (images, inputs, outputs, groups): (usize, usize, usize, usize),
    axes: [(usize, usize, usize, usize, usize, usize); 2],
) -> Conv {
    let [y, x] = axes;
    let output = axes.map(|(input, kernel, stride, dilation, before, after)| {
        (input + before + after - dilation * (kernel - 1) - 1) / stride + 1
    });
    let window = Window {
        input: [y.0, x.0],
        output,
        kernel: [y.1, x.1],
        stride: [y.2, x.2],
        dilation: [y.3, x.3],
        before: [y.4, x.4],
    };
    Conv { images, inputs, outputs, groups, window }
}

fn square(channels: (usize, usize, usize, usize), axis: (usize, usize, usize, usize, usize, usize)) -> Conv {
    conv(channels, [axis, axis])
}

#[test]
fn pixelwise() {
    both(square((2, 5, 9, 1), (7, 1, 1, 1, 0, 0)));
    both(square((3, 16, 24, 1), (12, 1, 1, 1, 0, 0)));
    both(square((1, 33, 17, 1), (1, 1, 1, 1, 0, 0)));
    both(square((2, 6, 10, 2), (13, 1, 1, 1, 0, 0)));
    both(square((2, 7, 11, 1), (9, 1, 2, 1, 0, 0)));
    both(square((2, 7, 11, 1), (10, 1, 3, 1, 0, 0)));
    both(square((1, 3, 4, 1), (4, 1, 1, 1, 1, 2)));
}

#[test]
fn dense() {
    both(square((2, 3, 8, 1), (19, 3, 2, 1, 1, 1)));
    both(square((1, 3, 5, 1), (30, 7, 2, 1, 3, 3)));
    both(square((2, 4, 6, 1), (11, 5, 3, 2, 4, 3)));
    both(square((2, 4, 6, 1), (8, 2, 2, 1, 0, 0)));
    both(square((2, 8, 12, 4), (9, 3, 1, 1, 1, 1)));
    both(square((2, 6, 3, 3), (9, 3, 2, 1, 0, 1)));
    both(conv((2, 3, 5, 1), [(1, 1, 1, 1, 0, 0), (40, 5, 1, 3, 6, 6)]));
    both(conv((2, 5, 4, 1), [(6, 3, 1, 2, 2, 0), (9, 4, 3, 1, 0, 3)]));
    both(conv((1, 2, 2, 1), [(3, 5, 1, 1, 4, 4), (2, 7, 2, 1, 6, 3)]));
    both(square((2, 4, 4, 1), (1, 3, 1, 1, 1, 1)));
    both(square((1, 20, 70, 1), (52, 3, 1, 3, 3, 3)));
    // A phase of the gradient has one tap, in place, and rows wider than a panel.
    both(square((2, 16, 8, 1), (112, 3, 2, 1, 1, 1)));
    both(conv((2, 16, 16, 2), [(9, 3, 2, 1, 1, 1), (240, 3, 2, 1, 1, 1)]));
}

#[test]
fn three_by_three() {
    for size in [3, 4, 5, 7, 14, 25] {
        both(square((2, 6, 10, 1), (size, 3, 1, 1, 1, 1)));
    }
    both(square((1, 17, 41, 1), (9, 3, 1, 1, 0, 0)));
    both(square((3, 9, 8, 1), (10, 3, 1, 1, 2, 1)));
    both(square((1, 17, 16, 1), (9, 3, 1, 1, 4, 3)));
    both(square((2, 5, 5, 5), (9, 3, 1, 1, 4, 3)));
    both(conv((2, 18, 33, 1), [(6, 3, 1, 1, 0, 2), (57, 3, 1, 1, 2, 0)]));
}

#[test]
fn depthwise() {
    for (kernel, padding) in [(3, 1), (5, 2), (7, 3)] {
        for size in [1, 2, 7, 14, 28, 35] {
            for stride in [1, 2, 3] {
                both(square((2, 5, 5, 5), (size.max(kernel - 2 * padding), kernel, stride, 1, padding, padding)));
            }
        }
    }
    both(square((2, 3, 6, 3), (10, 3, 1, 1, 1, 1)));
    both(square((2, 4, 4, 4), (20, 3, 2, 2, 2, 1)));
    both(square((1, 3, 3, 3), (33, 5, 1, 3, 6, 6)));
    both(conv((2, 4, 4, 4), [(1, 1, 1, 1, 0, 0), (50, 9, 2, 1, 0, 8)]));
    both(conv((2, 4, 4, 4), [(17, 3, 2, 1, 0, 1), (17, 3, 2, 1, 0, 1)]));
    both(conv((1, 2, 2, 2), [(6, 2, 1, 1, 0, 1), (70, 4, 1, 1, 1, 2)]));
}

/// All directions in float32.
fn all(conv: &Conv) -> [Vec<f32>; 3] {
    let of = |len: usize, seed: u64| narrow(&numbers(len, seed), |v| v as f32);
    let (x, k, dy) = (of(conv.x_len(), 1), of(conv.k_len(), 2), of(conv.y_len(), 3));
    let (mut y, mut dx, mut dk) = (dy.clone(), x.clone(), k.clone());
    conv::forward(conv, &x, &k, None, Activation::relu(), &mut y);
    conv::by_input(conv, &k, &dy, &mut dx);
    conv::by_kernel(conv, &x, &dy, &mut dk);
    [y, dx, dk]
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    let convs = [
        square((5, 40, 48, 1), (14, 3, 1, 1, 1, 1)),
        square((5, 24, 40, 1), (15, 3, 2, 1, 1, 1)),
        square((9, 16, 24, 1), (28, 1, 1, 1, 0, 0)),
        square((5, 40, 40, 40), (28, 5, 2, 1, 2, 2)),
        square((3, 32, 32, 16), (14, 3, 1, 1, 1, 1)),
    ];
    for conv in convs {
        let [one, three] = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a few threads").install(|| all(&conv))
        });
        assert!(one == three, "{conv:?}");
    }
}

#[test]
fn many_tiles_are_done_in_blocks() {
    let conv = conv((1, 16, 16, 1), [(281, 3, 1, 1, 1, 1), (161, 3, 1, 1, 1, 1)]);
    // The kernel's gradients are sums over 45,000 positions.
    compare::<f32>(&conv, |v| v as f32, |v| v as f64, 5e-5);
}

#[test]
fn tiles_cost_little_precision_with_many_channels() {
    let conv = square((1, 512, 32, 1), (14, 3, 1, 1, 1, 1));
    let x: Vec<f64> = numbers(conv.x_len(), 1).into_iter().map(|v| v.max(0.0)).collect();
    let (k, dy) = (numbers(conv.k_len(), 2), numbers(conv.y_len(), 3));
    let (mut y, mut dx, mut dk) = (dy.clone(), x.clone(), k.clone());
    conv::forward(&conv, &x, &k, None, Activation::None, &mut y);
    conv::by_input(&conv, &k, &dy, &mut dx);
    conv::by_kernel(&conv, &x, &dy, &mut dk);
    let [x, k, dy] = [x, k, dy].map(|values| narrow(&values, |v| v as f32));
    let (mut y32, mut dx32, mut dk32) = (dy.clone(), x.clone(), k.clone());
    conv::forward(&conv, &x, &k, None, Activation::None, &mut y32);
    conv::by_input(&conv, &k, &dy, &mut dx32);
    conv::by_kernel(&conv, &x, &dy, &mut dk32);
    for (name, found, wanted) in [("forward", y32, y), ("by_input", dx32, dx), ("by_kernel", dk32, dk)] {
        let most = wanted.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let error = found.iter().zip(&wanted).fold(0.0f64, |most, (&f, w)| most.max((f as f64 - w).abs()));
        println!("{name}: {:e}", error / most);
        assert!(error / most < 5e-6, "{name}: {error} of {most}");
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    for conv in [square((1, 3, 9, 1), (5, 1, 1, 1, 0, 0)), square((1, 4, 4, 4), (5, 3, 1, 1, 1, 1))] {
        let (mut x, k) = (vec![1.0f32; conv.x_len()], vec![1.0; conv.k_len()]);
        x[12] = f32::NAN;
        let mut y = vec![0.0; conv.y_len()];
        conv::forward(&conv, &x, &k, None, Activation::relu(), &mut y);
        assert!(y[12].is_nan() && !y[conv.y_len() - 1].is_nan(), "{conv:?}");
    }
}
