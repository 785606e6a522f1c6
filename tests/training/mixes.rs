//! Mixup and CutMix, held against their definitions: λ is read from the targets.

use adapt::train::loss::one_hot;
use adapt::train::mix::{BatchPlace, BatchShape, Mix};
use ndarray::{Array2, Array4};

const SHAPE: BatchShape = BatchShape { images: 3, channels: 2, height: 9, width: 7, channels_last: false };

fn place(batch: u64) -> BatchPlace {
    BatchPlace { seed: 5, epoch: 1, batch }
}

/// Every value another.
fn images() -> Array4<f32> {
    let mut next = 0.0;
    Array4::from_shape_simple_fn((SHAPE.images, SHAPE.channels, SHAPE.height, SHAPE.width), || {
        next += 1.0;
        next
    })
}

fn mixed(mix: Mix, batch: u64) -> (Array4<f32>, Array2<f32>) {
    let (mut pixels, mut targets) = (images(), one_hot(&[0, 1, 2], 3));
    mix.apply(pixels.as_slice_mut().unwrap(), SHAPE, &mut targets, place(batch)).unwrap();
    for i in 0..3 {
        // Image i and the one before it, and nothing else.
        assert!((targets[[i, i]] + targets[[i, (i + 2) % 3]] - 1.0).abs() < 1e-6);
        assert_eq!(targets[[i, (i + 1) % 3]], 0.0);
        assert_eq!(targets[[i, i]], targets[[0, 0]]);
    }
    (pixels, targets)
}

#[test]
fn mixup_weighs_images_as_their_targets() {
    let mut lambdas = Vec::new();
    for batch in 0..400 {
        let (pixels, targets) = mixed(Mix { mixup: 0.4, cutmix: 0.0 }, batch);
        let (lambda, own) = (targets[[0, 0]], images());
        for ((i, c, y, x), &value) in pixels.indexed_iter() {
            let expected = lambda * own[[i, c, y, x]] + (1.0 - lambda) * own[[(i + 2) % 3, c, y, x]];
            assert!((value - expected).abs() < 1e-3, "{value} {expected}");
        }
        lambdas.push(f64::from(lambda));
    }
    // Beta(α, α) has mean 1/2 and variance 1/(4·(2α + 1)).
    let mean = lambdas.iter().sum::<f64>() / 400.0;
    let variance = lambdas.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 400.0;
    assert!((mean - 0.5).abs() < 0.06 && (variance - 1.0 / 7.2).abs() < 0.02, "{mean} {variance}");
}

#[test]
fn cutmix_takes_a_box_and_weighs_targets_by_its_area() {
    let mut boxes = 0;
    for batch in 0..200 {
        let (pixels, targets) = mixed(Mix { mixup: 0.0, cutmix: 1.0 }, batch);
        let own = images();
        let foreign = |i: usize, c, y, x| {
            let value = pixels[[i, c, y, x]];
            let other = value == own[[(i + 2) % 3, c, y, x]];
            assert!(other || value == own[[i, c, y, x]]);
            other
        };
        let area: Vec<(usize, usize)> = (0..63).map(|p| (p / 7, p % 7)).filter(|&(y, x)| foreign(0, 0, y, x)).collect();
        let share = area.len() as f32 / 63.0;
        assert!((1.0 - share - targets[[0, 0]]).abs() < 1e-6);
        let Some(&(top, left)) = area.first() else { continue };
        let &(bottom, right) = area.last().unwrap();
        assert_eq!(area.len(), (bottom - top + 1) * (right - left + 1), "a box");
        boxes += 1;
        for (i, c) in [(1, 0), (2, 1)] {
            let here = (0..63).map(|p| (p / 7, p % 7)).filter(|&(y, x)| foreign(i, c, y, x));
            assert!(here.eq(area.iter().copied()), "the same box in every image and channel");
        }
    }
    assert!(boxes > 100, "{boxes}");
}

#[test]
fn channels_may_be_last_and_the_place_decides() {
    let mix = Mix { mixup: 0.8, cutmix: 1.0 };
    for batch in 0..8 {
        let (pixels, targets) = mixed(mix, batch);
        let mut last = images().permuted_axes([0, 2, 3, 1]).as_standard_layout().into_owned();
        let (shape, mut others) = (BatchShape { channels_last: true, ..SHAPE }, one_hot(&[0, 1, 2], 3));
        mix.apply(last.as_slice_mut().unwrap(), shape, &mut others, place(batch)).unwrap();
        assert_eq!(last.permuted_axes([0, 3, 1, 2]), pixels);
        assert_eq!(others, targets);
        assert_ne!(mixed(mix, batch + 100).1, targets);
    }
}

#[test]
fn one_image_stays_and_what_does_not_fit_is_refused() {
    let alone = BatchShape { images: 1, ..SHAPE };
    let (mut pixels, mut targets) = (vec![1.0; 126], one_hot(&[1], 2));
    Mix { mixup: 1.0, cutmix: 1.0 }.apply(&mut pixels, alone, &mut targets, place(0)).unwrap();
    assert_eq!(targets, one_hot(&[1], 2));
    assert!(Mix::default().apply(&mut pixels, SHAPE, &mut targets, place(0)).is_err());
    let (mut pixels, mut targets) = (images(), one_hot(&[0, 1, 2], 3));
    let negative = Mix { mixup: -1.0, cutmix: 0.0 };
    assert!(negative.apply(pixels.as_slice_mut().unwrap(), SHAPE, &mut targets, place(0)).is_err());
}
