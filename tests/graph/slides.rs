//! Depthwise convolutions on a device against the CPU's: windows that have kernels of their own, and others.

use super::super::build::Rng;
use super::{CLOSE, difference, gpu};
use adapt::cuda::Array;
use adapt::kernels::conv::{self, Conv};
use adapt::kernels::{Activation, Window};
use adapt::tensor::{Number, Precision, Result};

/// A window of `k` pixels that takes steps over maps, between so many pixels of padding.
fn window(k: usize, step: usize, input: [usize; 2], [before, after]: [usize; 2]) -> Option<Window> {
    let output = input.map(|length| Some((length + before + after).checked_sub(k)? / step + 1));
    let output = [output[0]?, output[1]?];
    Some(Window { input, output, kernel: [k; 2], stride: [step; 2], dilation: [1; 2], before: [before; 2] })
}

#[test]
fn depthwise_convolutions_are_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let (mut rng, mut tried) = (Rng::new(3), 0);
    let sizes = [[1, 1], [7, 9], [17, 14], [8, 20]];
    let pads = [[0, 0], [1, 1], [0, 1], [2, 2], [4, 3]];
    let all = [1, 2, 3, 5].into_iter().flat_map(|k| [1, 2, 3].map(|step| (k, step)));
    let all =
        all.flat_map(|(k, step)| sizes.into_iter().flat_map(move |size| pads.map(|pad| window(k, step, size, pad))));
    for window in all.flatten() {
        let conv = Conv { images: 1 + tried % 4, inputs: 3, outputs: 3, groups: 3, window };
        let mut made = |count: usize| rng.numbers(count);
        let (x, k, t, dy) = (made(conv.x_len()), made(conv.k_len()), made(3), made(conv.y_len()));
        let [mut y, mut dx, mut dk] = [conv.y_len(), conv.x_len(), conv.k_len()].map(|count| vec![0.; count]);
        conv::forward(&conv, &x, &k, Some(&t), Activation::Clip(-0.7, 0.7), &mut y);
        conv::by_input(&conv, &k, &dy, &mut dx);
        conv::by_kernel(&conv, &x, &dy, &mut dk);
        let maps = |size: [usize; 2]| [conv.images, 3, size[0], size[1]];
        let (x_is, k_is, y_is) = (maps(window.input), [3, 1, window.kernel[0], window.kernel[1]], maps(window.output));
        let there = |values: &[f32], shape: &[usize]| Array::upload(&gpu, values, shape).unwrap();
        let (x, k, t, dy) = (there(&x, &x_is), there(&k, &k_is), there(&t, &[3]), there(&dy, &y_is));
        let all = || -> Result<[Array; 3]> {
            let y = x.conv_biased(&conv, &k, Some((&t, [-0.7, 0.7])), &y_is)?;
            Ok([y, dy.conv_by_input(&conv, &k, &x_is)?, dy.conv_by_kernel(&conv, &x, &k_is)?])
        };
        let halves = Precision { conv: Number::Bf16, product: Number::Bf16 };
        for (precision, most) in [(Precision::default(), CLOSE), (halves, 1e-2)] {
            for (own, expected) in precision.during(all).unwrap().iter().zip([&y, &dx, &dk]) {
                let far = difference(&own.download().unwrap(), expected);
                assert!(far <= most, "{conv:?} {precision:?}: {far}");
            }
        }
        tried += 1;
    }
    assert!(tried > 150, "{tried}");
}
