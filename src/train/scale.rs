//! Standardisation, as scikit-learn's `StandardScaler`.

use super::LinearHead;
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};
use rayon::prelude::*;

/// Rows whose sums are made together; fixed, so that the result does not depend on the number of threads.
const CHUNK: usize = 256;

/// A deviation below this share of the mean is rounding: some thousand units in a float32's last place, as deep networks
/// gather. Folded into float32 weights, a feature that is scaled up more than that would cancel with visible error.
const NOISE: f64 = 1e-4;

/// Rounding of what is computed from values of this size: some units in a float32's last place.
const ROUNDING: f64 = 1e-6;

/// Mean and (population) standard deviation of each feature, in `f64`.
pub(super) struct Scaler {
    mean: Array1<f64>,
    scale: Array1<f64>,
}

/// Refuses what is not finite, naming the first such place.
pub(super) fn check_finite(features: ArrayView2<f32>) -> Result<()> {
    let bad = (0..features.nrows()).into_par_iter().find_first(|&row| features.row(row).iter().any(|v| !v.is_finite()));
    let Some(row) = bad else { return Ok(()) };
    let column = features.row(row).iter().position(|v| !v.is_finite()).unwrap_or(0);
    Err(Error::Train(format!(
        "the feature in row {row}, column {column} is {}; the model does not suit this image",
        features[[row, column]]
    )))
}

/// Sums `f` over the rows, chunk by chunk in a fixed order.
fn column_sums(features: ArrayView2<f32>, f: impl Fn(usize, f64) -> f64 + Sync) -> Array1<f64> {
    let chunks: Vec<_> = features.axis_chunks_iter(Axis(0), CHUNK).collect();
    let sums: Vec<Array1<f64>> = chunks
        .into_par_iter()
        .map(|chunk| {
            let mut sum = Array1::<f64>::zeros(chunk.ncols());
            for row in chunk.rows() {
                sum.iter_mut().zip(row).enumerate().for_each(|(j, (sum, &v))| *sum += f(j, f64::from(v)));
            }
            sum
        })
        .collect();
    sums.into_iter().fold(Array1::zeros(features.ncols()), |total, sum| total + sum)
}

/// Mean and variance of each feature; a variance of 0 where it is no more than rounding.
fn moments(features: ArrayView2<f32>) -> (Array1<f64>, Array1<f64>) {
    let n = features.nrows() as f64;
    let mean = column_sums(features, |_, v| v) / n;
    let variance = column_sums(features, |j, v| (v - mean[j]).powi(2)) / n;
    // scikit-learn's test of a constant feature: a variance within the rounding of the sums counts as none; and so does
    // one within the engine's own float32 rounding, which would become the head's whole input.
    let variance = Zip::from(&mean).and(&variance).map_collect(|&mean, &variance| {
        let rounding = n * f64::EPSILON * variance + (n * mean * f64::EPSILON).powi(2);
        if variance <= rounding.max((NOISE * mean).powi(2)) { 0. } else { variance }
    });
    (mean, variance)
}

/// Whether any feature differs from image to image by more than rounding: that of its own value, and of the largest, from which
/// a network may have got it.
pub fn vary(features: ArrayView2<f32>) -> bool {
    let (mean, variance) = moments(features);
    let largest = mean.iter().fold(0f64, |most, mean| most.max(mean.abs()));
    variance.iter().any(|variance| *variance > (ROUNDING * largest).powi(2))
}

impl Scaler {
    pub(super) fn new(features: ArrayView2<f32>) -> Self {
        Self::floored(features, 0., &[features.ncols()])
    }

    /// With deviations of at least this share of their group's root mean square: few images tell of few of a network's features
    /// how much they vary, and one that hardly did would be far out in any other image. Groups end at `ends`.
    pub(super) fn floored(features: ArrayView2<f32>, share: f64, ends: &[usize]) -> Self {
        let (mean, variance) = moments(features);
        let mut scale = variance.mapv(|variance| if variance == 0. { 1. } else { variance.sqrt() });
        let mut start = 0;
        for &end in ends.iter().filter(|end| **end <= features.ncols()) {
            let group = variance.slice(s![start..end]);
            let varying = group.iter().filter(|variance| **variance > 0.).count().max(1);
            let least = share * (group.sum() / varying as f64).sqrt();
            scale.slice_mut(s![start..end]).mapv_inplace(|scale| scale.max(least));
            start = end;
        }
        Self { mean, scale }
    }

    /// (features − mean) / scale, row by row.
    pub(super) fn apply(&self, features: ArrayView2<f32>) -> Vec<f32> {
        let columns = features.ncols();
        let mut out = vec![0f32; features.nrows() * columns];
        let factor: Vec<f64> = self.scale.iter().map(|s| 1.0 / s).collect();
        out.par_chunks_exact_mut(columns.max(1)).enumerate().for_each(|(i, out)| {
            for (j, (out, &v)) in out.iter_mut().zip(features.row(i)).enumerate() {
                *out = ((f64::from(v) - self.mean[j]) * factor[j]) as f32;
            }
        });
        out
    }

    /// A head on standardised features as one on raw features: w/scale, and b − w·mean/scale.
    pub(super) fn fold(&self, head: &LinearHead) -> LinearHead {
        let weight = &head.weight.mapv(f64::from) / &self.scale;
        let bias = head.bias.mapv(f64::from) - weight.dot(&self.mean);
        LinearHead { weight: to_f32(weight), bias: bias.mapv(|v| v as f32) }
    }
}

fn to_f32(a: Array2<f64>) -> Array2<f32> {
    a.mapv(|v| v as f32)
}
