//! What out-of-fold scores are worth: the metric that chooses, and whether two heads differ by more than chance.

use crate::metrics::{argmax, softmax};
use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

/// What the best head is best at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The mean over the classes of their F1, in which rare classes count like others.
    #[default]
    MacroF1,
    /// The share of images whose class is found.
    Accuracy,
    /// The mean of −ln(probability of the true class), the lower the better.
    LogLoss,
}

impl Metric {
    /// Each image's part in the metric, the higher the better: their mean is the metric (the negative log-loss), and what two
    /// heads' parts differ by tells how sure the difference of the metrics is. For macro-F1, which is no mean over images, it
    /// is the influence function (the derivative by the image's weight) added to the value.
    pub(super) fn parts(self, logits: ArrayView2<f32>, labels: &[usize]) -> Vec<f64> {
        let rows = || logits.rows().into_iter().zip(labels.iter().copied());
        match self {
            Metric::Accuracy => rows().map(|(row, label)| f64::from(u8::from(argmax(row) == label))).collect(),
            Metric::LogLoss => {
                let probabilities = softmax(logits);
                let found = probabilities.rows().into_iter().zip(labels);
                found.map(|(row, &label)| f64::from(row[label]).max(f64::EPSILON).ln()).collect()
            }
            Metric::MacroF1 => {
                let (classes, images) = (logits.ncols(), labels.len() as f64);
                let predicted: Vec<usize> = rows().map(|(row, _)| argmax(row)).collect();
                let (mut hits, mut total) = (vec![0.; classes], vec![0.; classes]);
                for (&predicted, &label) in predicted.iter().zip(labels) {
                    hits[label] += f64::from(u8::from(predicted == label));
                    total[label] += 1.;
                    total[predicted] += 1.;
                }
                let f1 = |k: usize| if total[k] > 0. { 2. * hits[k] / total[k] } else { 0. };
                let mean = (0..classes).map(f1).sum::<f64>() / classes as f64;
                let part = |(&predicted, &label): (&usize, &usize)| {
                    let slope = |k: usize, times: f64| (times - f1(k)) * images / (total[k] * classes as f64);
                    match predicted == label {
                        true => mean + 2. * slope(label, 1.),
                        false => mean + slope(label, 0.) + slope(predicted, 0.),
                    }
                };
                predicted.iter().zip(labels).map(part).collect()
            }
        }
    }
}

/// The mean, and its standard error.
pub(super) fn mean(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, (variance / count).sqrt())
}

/// The mean cross-entropy of logits times a factor, of the images at `places`, in nats.
pub(super) fn log_loss(logits: &Array2<f32>, labels: &[usize], places: &[usize], factor: f64) -> f64 {
    let of = |&i: &usize| {
        let (row, label) = (logits.row(i), labels[i]);
        let max = row.iter().fold(f64::NEG_INFINITY, |max, &z| max.max(f64::from(z)));
        let sum: f64 = row.iter().map(|&z| (factor * (f64::from(z) - max)).exp()).sum();
        sum.ln() - factor * (f64::from(row[label]) - max)
    };
    places.iter().map(of).sum::<f64>() / places.len() as f64
}

/// By how much a factor's logarithm may be off where that of most data is known: the scale of Cauchy's distribution, which is as narrow as
/// the data that were measured (docs/heads.md), and leaves data of which little can be learnt to their own images.
const KNOWN: f64 = 0.35;
/// How many factors are tried before the best is looked for between its neighbours.
const TRIED: usize = 32;

/// The factor for logits with which their log-loss at `places`, the mean over several deals of the images into folds, is lowest, the inverse
/// of the temperature (Guo et al. 2017, arXiv 1706.04599): 1/100 to 100 over their deviation. Few images leave it near the `usual` one. Where
/// there is none, one image's worth of doubt keeps it finite where no image is wrong.
pub(super) fn sharpness(deals: &[&Array2<f32>], labels: &[usize], places: &[usize], usual: Option<f64>) -> f64 {
    let scale = deviation(deals[0], places);
    let at = |log: f64| {
        let losses = deals.iter().map(|logits| log_loss(logits, labels, places, log.exp() / scale));
        let doubt = match usual {
            Some(usual) => (1. + ((log - (usual * scale).ln()) / KNOWN).powi(2)).ln(),
            None => log * log / 2.,
        };
        losses.sum::<f64>() / deals.len() as f64 + doubt / places.len() as f64
    };
    let mut ends = (-100f64.ln(), 100f64.ln());
    // With what is usual there may be several minima.
    if usual.is_some() {
        let step = (ends.1 - ends.0) / TRIED as f64;
        let tried = (0..=TRIED).map(|i| ends.0 + i as f64 * step);
        let best = tried.min_by(|a, b| at(*a).total_cmp(&at(*b))).unwrap_or_default();
        ends = ((best - step).max(ends.0), (best + step).min(ends.1));
    }
    // Golden section on the logarithm.
    const RATIO: f64 = 0.618_033_988_749_895;
    let (mut low, mut high) = ends;
    let (mut a, mut b) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut at_a, mut at_b) = (at(a), at(b));
    while high - low > 1e-3 {
        if at_a < at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - RATIO * (high - low);
            at_a = at(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + RATIO * (high - low);
            at_b = at(b);
        }
    }
    ((low + high) / 2.).exp() / scale
}

/// That of each row at `places` around its mean; 1 where all are equal.
fn deviation(logits: &Array2<f32>, places: &[usize]) -> f64 {
    let square = |row: ArrayView1<f32>| {
        let mean = row.iter().map(|&z| f64::from(z)).sum::<f64>() / row.len() as f64;
        row.iter().map(|&z| (f64::from(z) - mean).powi(2)).sum::<f64>()
    };
    let values = places.len() * logits.ncols();
    let variance = places.iter().map(|&i| square(logits.row(i))).sum::<f64>() / values as f64;
    if variance > 0. { variance.sqrt() } else { 1. }
}
