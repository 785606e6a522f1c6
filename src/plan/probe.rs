//! Made images on which is tried what a model gives, and whether two models give the same.

use super::Input;
use ndarray::{ArrayD, Axis};

/// Input values that a trial may take: larger images run one at a time anyway.
pub const MOST_VALUES: usize = 16 << 20;
/// Rounding that differs from one batch to another, relative to what images differ in.
const OF_DIFFERENCES: f32 = 1e-4;
/// The same, relative to the largest value.
const OF_VALUES: f32 = 1e-5;
/// The same in float16, whose steps are up to 2^-10 of a value: two of them.
const OF_HALVES: f32 = 2.0 / 1024.0;
/// What is more than this share of what images differ in is no rounding, not even in float16.
const OF_IMAGES: f32 = 0.05;

/// `images` smooth patterns that differ in form and brightness, in the shape of the model's input. Bytes go up to 255. For
/// floats nothing is sure of what values a model expects: every second image goes up to 255, the others up to 1.
pub fn probe(input: &Input, images: usize) -> ArrayD<f32> {
    let len = input.len();
    let value = |i: usize| {
        let (image, place) = (i / len, (i % len) as f32 / len as f32);
        let bytes = input.data_type == "uint8" || image % 2 == 1;
        let brightest = if bytes { 255.0 } else { 1.0 } / (1 + image % 3) as f32;
        brightest * (0.5 + 0.5 * (place * (20.0 + 7.0 * image as f32)).sin())
    };
    let values = (0..images * len).map(value).collect();
    ArrayD::from_shape_vec(input.shape(images).to_vec(), values).expect("as many values as the shape says")
}

/// How far values of the same images may lie apart in two runs: measured by what `rows` (several images) differ in from
/// image to image, since a model can add something large to what it tells of an image. What does not depend on the image
/// is measured by its own size. `half`: the model computes in float16.
pub(super) fn tolerance(rows: &ArrayD<f32>, half: bool) -> f32 {
    let size = |largest: f32, value: f32| if value.is_finite() { largest.max(value.abs()) } else { largest };
    let largest = rows.iter().copied().fold(f32::MIN_POSITIVE, size);
    let apart = match rows.ndim() {
        0 => 0.0,
        _ => rows.lanes(Axis(0)).into_iter().fold(0.0, |most: f32, lane| {
            let finite = || lane.iter().copied().filter(|value| value.is_finite());
            most.max(finite().fold(f32::MIN, f32::max) - finite().fold(f32::MAX, f32::min))
        }),
    };
    let halves = if half { (OF_HALVES * largest).min(OF_IMAGES * apart) } else { 0.0 };
    (OF_DIFFERENCES * apart).max(OF_VALUES * largest).max(halves)
}

/// Whether two runs gave the same: what is not finite in one is so in the other, too.
pub(super) fn close(old: &ArrayD<f32>, new: &ArrayD<f32>, tolerance: f32) -> bool {
    let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance;
    old.shape() == new.shape() && old.iter().zip(new).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn rounding_is_that_of_the_models_type() {
        let (rows, step) = (arr2(&[[0.57, 0.1], [0.1, 0.57], [0.3, 0.2]]).into_dyn(), 0.5 / 1024.0);
        assert!(tolerance(&rows, true) > step && tolerance(&rows, false) < step);
        // Beside large values even float16's steps are no excuse for what a mixed batch makes of small differences.
        let rows = arr2(&[[50.0], [50.1], [50.3]]).into_dyn();
        assert!((0.001..0.03).contains(&tolerance(&rows, true)));
    }
}
