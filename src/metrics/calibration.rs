//! Whether what a model is sure of is right as often as it says.

use super::{argmax, mean, ratio};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// Bins of equal width in which the top probabilities are put.
pub const BINS: usize = 15;

/// The images whose top probability lies in one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Where it begins, exclusive.
    pub low: f64,
    /// Where it ends, inclusive.
    pub high: f64,
    /// Images.
    pub n: u64,
    /// Their mean top probability; 0 where there are none.
    pub confidence: f64,
    /// The share of them that is predicted rightly; 0 where there are none.
    pub accuracy: f64,
}

/// The reliability diagram's bins, [`BINS`] from 0 to 1: `probabilities` `[images, classes]`, each image's class in `labels`.
pub fn reliability(labels: &[usize], probabilities: ArrayView2<f32>) -> Vec<Bin> {
    let mut sums = [(0u64, 0f64, 0u64); BINS];
    for (&label, row) in labels.iter().zip(probabilities.rows()) {
        let class = argmax(row);
        let confidence = f64::from(row[class]);
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        sums[bin].0 += 1;
        sums[bin].1 += confidence;
        sums[bin].2 += u64::from(class == label);
    }
    let edge = |i: usize| i as f64 / BINS as f64;
    let bin = |(i, &(n, confidence, hits)): (usize, &(u64, f64, u64))| {
        let (confidence, accuracy) = (ratio(confidence, n as f64), ratio(hits as f64, n as f64));
        Bin { low: edge(i), high: edge(i + 1), n, confidence, accuracy }
    };
    sums.iter().enumerate().map(bin).collect()
}

/// The expected calibration error (Guo et al. 2017, arXiv 1706.04599): |accuracy − confidence| of the bins, each weighted
/// with its share of the images.
pub fn expected_calibration_error(bins: &[Bin]) -> f64 {
    let gap = |bin: &Bin| bin.n as f64 * (bin.accuracy - bin.confidence).abs();
    ratio(bins.iter().map(gap).sum(), bins.iter().map(|bin| bin.n).sum::<u64>() as f64)
}

/// The Brier score as scikit-learn 1.7 and later define it: the mean over the images of the squared distance between the
/// probabilities and the one-hot class (0 to 2); half of it where there are two classes, which then is the usual binary score.
pub fn brier(labels: &[usize], probabilities: ArrayView2<f32>) -> f64 {
    mean(brier_of_each(labels, probabilities).into_iter())
}

/// [`brier`]'s part of each image.
pub(super) fn brier_of_each(labels: &[usize], probabilities: ArrayView2<f32>) -> Vec<f64> {
    let scale = if probabilities.ncols() == 2 { 0.5 } else { 1.0 };
    let square = |p: f32, right: bool| (f64::from(p) - f64::from(u8::from(right))).powi(2);
    let of_image = |(&label, row): (&usize, ndarray::ArrayView1<f32>)| {
        scale * row.iter().enumerate().map(|(j, &p)| square(p, j == label)).sum::<f64>()
    };
    labels.iter().zip(probabilities.rows()).map(of_image).collect()
}
