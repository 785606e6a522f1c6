//! What scikit-learn calls metrics: of classification into several classes, of several labels at once, of regression.

pub mod bootstrap;
pub mod calibration;
mod classification;
pub mod correlation;
mod counts;
mod figures;
mod multilabel;
mod outlier;
pub mod projection;
mod ranking;
mod regression;
pub mod separation;
mod spectrum;
pub mod transfer;

use crate::error::{Error, Result};
pub use classification::{Answers, Baseline, Classification, PerClass, of_fold};
pub use figures::Figures;
pub use multilabel::{LabelBaseline, LabelOutcomes, MultiLabel, PerLabel};
use ndarray::{Array2, ArrayView1, ArrayView2};
pub use outlier::{LIKE, Outlier};
pub use ranking::{average_precision, roc_auc};
pub use regression::{PerTarget, Regression, ValueBaseline, ValueOutcomes};
use std::collections::BTreeSet;

/// How many groups these images are of, by the number of each one's; `None` where they have none.
fn distinct(groups: &[usize], images: usize) -> Result<Option<usize>> {
    if !groups.is_empty() && groups.len() != images {
        return Err(Error::Usage(format!("groups of {} images for {images}", groups.len())));
    }
    Ok((!groups.is_empty()).then(|| groups.iter().collect::<BTreeSet<_>>().len()))
}

/// a/b, or 0 where b is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
    ratio(sum, count)
}

/// The mean of those that are defined; `None` where none is.
fn mean_defined(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let defined: Vec<f64> = values.flatten().collect();
    (!defined.is_empty()).then(|| mean(defined.into_iter()))
}

/// The index of the first greatest value, as numpy's `argmax`; 0 of nothing.
pub fn argmax(row: ArrayView1<f32>) -> usize {
    let mut best = 0;
    for (j, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = j;
        }
    }
    best
}

/// 1/(1 + e⁻ᶻ), computed in `f64`.
pub fn sigmoid(z: f32) -> f32 {
    (1. / (1. + (-f64::from(z)).exp())) as f32
}

/// Each row's exp(z − max) / Σ exp(z − max): [images, classes] to the same. Sums are `f64`.
pub fn softmax(logits: ArrayView2<f32>) -> Array2<f32> {
    let mut out = logits.to_owned();
    for mut row in out.rows_mut() {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = row.iter().map(|&z| f64::from(z - max).exp()).collect();
        let total: f64 = exps.iter().sum();
        row.iter_mut().zip(exps).for_each(|(p, e)| *p = (e / total) as f32);
    }
    out
}
