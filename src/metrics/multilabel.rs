//! Several labels at once, each of which an image may have or not.

use super::counts::Count;
use super::{average_precision, mean, mean_defined};
use crate::error::{Error, Result};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// One label's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerLabel {
    /// Its name.
    pub label: String,
    /// Share of the images given this label that have it; 0 when none was.
    pub precision: f64,
    /// Share of its images that were given it; 0 when it has none.
    pub recall: f64,
    /// 2·precision·recall / (precision + recall); 0 when both are.
    pub f1: f64,
    /// Its images.
    pub support: u64,
    /// Average precision of its probability, which knows no threshold; `None` where it has no images.
    pub average_precision: Option<f64>,
}

/// How well sets of labels match. Definitions are scikit-learn's, with `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiLabel {
    /// Images.
    pub n: usize,
    /// Share of images with exactly their labels (`accuracy_score`).
    pub subset_accuracy: f64,
    /// Share of all decisions, a label for an image, that are wrong.
    pub hamming_loss: f64,
    /// F1 of all decisions taken together.
    pub micro_f1: f64,
    /// Mean F1 over all labels.
    pub macro_f1: f64,
    /// Mean average precision (mAP) over the labels that have images. (scikit-learn counts the others as 0.)
    pub average_precision: Option<f64>,
    /// In the order of the labels.
    pub per_label: Vec<PerLabel>,
}

impl MultiLabel {
    /// Judges `probabilities` `[images, labels]` by `truth`, of the same shape. A label is given from its threshold on,
    /// which is that of `thresholds` in its place.
    ///
    /// # Errors
    /// [`Error::Usage`] when the sizes do not match, there is nothing to judge, or a probability is outside 0..=1.
    pub fn new(
        truth: ArrayView2<bool>,
        probabilities: ArrayView2<f32>,
        labels: &[String],
        thresholds: &[f32],
    ) -> Result<MultiLabel> {
        let (n, k) = truth.dim();
        if probabilities.dim() != (n, k) || labels.len() != k || thresholds.len() != k {
            let (rows, columns) = probabilities.dim();
            let names = format!("{} labels with {} thresholds", labels.len(), thresholds.len());
            return Err(Error::Usage(format!("{rows}×{columns} probabilities for {n}×{k} truths of {names}")));
        }
        if truth.is_empty() {
            return Err(Error::Usage("there are no images to judge by".into()));
        }
        if let Some(p) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            return Err(Error::Usage(format!("a probability is {p}")));
        }
        let mut counts = vec![Count::default(); k];
        let (mut exact, mut wrong) = (0u64, 0u64);
        for (own, row) in truth.rows().into_iter().zip(probabilities.rows()) {
            let before = wrong;
            for (j, (&own, &p)) in own.iter().zip(row).enumerate() {
                let given = p >= thresholds[j];
                counts[j].support += u64::from(own);
                counts[j].predicted += u64::from(given);
                counts[j].hits += u64::from(own && given);
                wrong += u64::from(own != given);
            }
            exact += u64::from(before == wrong);
        }
        let per_label: Vec<_> = (0..k).map(|j| per_label(&labels[j], counts[j], j, truth, probabilities)).collect();
        let all = counts.iter().fold(Count::default(), |sum, count| Count {
            support: sum.support + count.support,
            predicted: sum.predicted + count.predicted,
            hits: sum.hits + count.hits,
        });
        Ok(MultiLabel {
            n,
            subset_accuracy: exact as f64 / n as f64,
            hamming_loss: wrong as f64 / (n * k) as f64,
            micro_f1: all.f1(),
            macro_f1: mean(per_label.iter().map(|l| l.f1)),
            average_precision: mean_defined(per_label.iter().map(|l| l.average_precision)),
            per_label,
        })
    }
}

fn per_label(name: &str, count: Count, j: usize, truth: ArrayView2<bool>, probabilities: ArrayView2<f32>) -> PerLabel {
    let (own, scores) = (truth.column(j).to_vec(), probabilities.column(j).to_vec());
    PerLabel {
        label: name.into(),
        precision: count.precision(),
        recall: count.recall(),
        f1: count.f1(),
        support: count.support,
        average_precision: average_precision(&own, &scores),
    }
}
