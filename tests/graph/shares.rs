//! How a device shares out its work: sums in several parts, against one value after another (the numbers are whole, so that no
//! order rounds), and how many images it takes at once.

use super::super::build::Graph;
use super::{gpu, lite0, values};
use adapt::cuda::Array;
use adapt::engine::BATCH;
use adapt::kernels::pointwise::Grid;
use adapt::progress::silent;
use adapt::tensor::{Device, Result, Tensor};
use adapt::train::optimizer::clip_grad_norm;
use adapt::{Backend, Choice, Model};

/// Whole numbers around 0.
fn numbers(count: usize, seed: usize, different: usize) -> Vec<f32> {
    (0..count).map(|i| ((i + seed) * 7919 % 104_729 % different) as f32 - (different / 2) as f32).collect()
}

/// Few outputs of many values, many of few, columns that can be parted evenly and such that cannot.
#[test]
fn sums_have_all_of_their_values() {
    let Some(gpu) = gpu() else { return };
    let maps = [3, 5, 9, 8];
    for (shape, axes) in [vec![0, 2, 3], vec![3, 0, 2], vec![0, 1, 2, 3], vec![1, 2], vec![0, 1], vec![0], vec![]]
        .map(|axes| (maps.to_vec(), axes))
        .into_iter()
        .chain([(vec![700, 40], vec![0]), (vec![3, 64, 40], vec![1]), (vec![2, 66, 5, 8], vec![0, 1])])
        .chain([(vec![67, 40], vec![0]), (vec![2, 35, 1 << 15], vec![1]), (vec![40, 900], vec![0, 1])])
    {
        let host = numbers(shape.iter().product(), 1, 997);
        let x = Array::upload(&gpu, &host, &shape[..]).unwrap();
        let own = Tensor::from_slice(&host, &shape[..], &Device::Cpu).unwrap();
        let along = |one: fn(&Tensor, usize) -> Result<Tensor>| {
            values(&axes.iter().try_fold(own.clone(), |x, &axis| one(&x, axis)).unwrap())
        };
        let all = [
            ("sum", along(|x, axis| x.sum_keepdim(vec![axis]))),
            ("max", along(Tensor::max_keepdim)),
            ("min", along(Tensor::min_keepdim)),
        ];
        for (name, expected) in all {
            let made = x.reduce(name, &axes).unwrap();
            assert_eq!(made.len(), expected.len(), "{name} of {shape:?} over {axes:?}");
            assert!(made.download().unwrap() == expected, "{name} of {shape:?} over {axes:?}");
        }
    }
}

/// Maps that are read four values at once, and such that cannot be.
#[test]
fn gradients_of_biases_have_all_of_their_values() {
    let Some(gpu) = gpu() else { return };
    for (outer, channels, inner) in [(5, 3, 7), (5, 3, 8), (1500, 1, 4), (2, 1100, 1), (0, 3, 5), (2, 3, 0)] {
        let count = outer * channels * inner;
        let ([y, dy], grid) = ([1, 2].map(|seed| numbers(count, seed, 7)), Grid { outer, channels, inner });
        for bounds in [None, Some([-2., 2.])] {
            let held = |i: usize| bounds.is_some_and(|[low, high]: [f32; 2]| y[i] <= low || y[i] >= high);
            let expected: Vec<f32> = (0..count).map(|i| if held(i) { 0. } else { dy[i] }).collect();
            let mut sums = vec![0.; channels];
            expected.iter().enumerate().for_each(|(i, value)| sums[i / inner % channels] += value);
            let there = |values: &[f32]| Array::upload(&gpu, values, (outer, channels, inner)).unwrap();
            let [made, own] = there(&y).bias_back(&there(&dy), &grid, bounds).unwrap();
            assert_eq!(made.download().unwrap(), expected, "{grid:?} {bounds:?}");
            assert_eq!(own.download().unwrap(), sums, "{grid:?} {bounds:?}");
        }
    }
}

#[test]
fn gradients_of_scales_and_shifts_have_all_of_their_values() {
    let Some(gpu) = gpu() else { return };
    for (outer, channels, inner) in [(5, 3, 7), (1500, 1, 2), (2, 1100, 1), (1, 4, 40), (0, 3, 5)] {
        let count = outer * channels * inner;
        let [y, dy, x] = [1, 2, 3].map(|seed| numbers(count, seed, 7));
        let mut expected = [vec![0.; channels], vec![0.; channels]];
        for i in (0..count).filter(|&i| y[i].abs() < 2.) {
            let channel = i / inner % channels;
            expected[0][channel] += dy[i] * x[i];
            expected[1][channel] += dy[i];
        }
        let shape = (outer, channels, inner);
        let there = [&y, &dy, &x].map(|values| Array::upload(&gpu, values, shape).unwrap());
        let grid = Grid { outer, channels, inner };
        let sums = there[0].scale_shift_sums(&there[1], &there[2], &grid, [-2., 2.]).unwrap();
        assert_eq!(sums.map(|sum| sum.download().unwrap()), expected, "{shape:?}");
    }
}

#[test]
fn many_images_are_extracted_at_once() {
    let Some(gpu) = gpu() else { return };
    let at_once = |model: &Model, device: Device| {
        let backend = Backend::resolve(Choice::Candle, None, true, &silent).unwrap().on(device);
        backend.open(model, &[], 1).unwrap().at_once()
    };
    let there = Device::Cuda(gpu);
    assert_eq!([Device::Cpu, there.clone()].map(|device| at_once(&lite0(), device)), [BATCH, 64]);
    // Four million values an image, in one tensor.
    let mut graph = Graph::new(3);
    let x = graph.input(&[1, 1, 1024, 1024]);
    let k = graph.weight(&[4, 1, 1, 1]);
    let y = graph.node("Conv", &[x, &k], &[]);
    let y = graph.node("GlobalAveragePool", &[&y], &[]);
    assert_eq!(at_once(&graph.model(&y), there), 32);
}

/// Nobody waits for the norm, and what is not finite cannot be overlooked later.
#[test]
fn gradients_are_clipped_without_a_copy() {
    let Some(gpu) = gpu() else { return };
    let device = Device::Cuda(gpu.clone());
    let clipped = |numbers: [&[f32]; 2], max: f64| {
        let mut grads = numbers.map(|numbers| Some(Tensor::from_slice(numbers, numbers.len(), &device).unwrap()));
        let before = gpu.copies();
        assert_eq!(clip_grad_norm(&mut grads, max).unwrap(), None);
        assert_eq!(gpu.copies(), before);
        grads.iter().flatten().flat_map(values).collect::<Vec<f32>>()
    };
    assert_eq!(clipped([&[3., 0.], &[-4.]], 6.), [3., 0., -4.]);
    let far =
        clipped([&[3., 0.], &[-4.]], 1.).iter().zip([0.6, 0., -0.8]).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    assert!(far < 1e-6, "{far}");
    for broken in [f32::NAN, f32::INFINITY, 1e30] {
        assert!(clipped([&[3., broken], &[-4.]], 1.).iter().all(|value| value.is_nan()), "{broken}");
    }
}
