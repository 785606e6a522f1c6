//! What scikit-learn calls metrics, for classification into several classes.

pub mod correlation;
pub mod separation;
mod spectrum;
pub mod transfer;

use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

/// One class's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerClass {
    /// Its name.
    pub class: String,
    /// Share of the images predicted as this class that are of it; 0 when none was.
    pub precision: f64,
    /// Share of its images that were predicted as it; 0 when it has none.
    pub recall: f64,
    /// 2·precision·recall / (precision + recall); 0 when both are.
    pub f1: f64,
    /// Its images.
    pub support: u64,
}

/// How well probabilities match labels. Definitions are scikit-learn's, with `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Images.
    pub n: usize,
    /// Share of images whose most probable class is theirs.
    pub accuracy: f64,
    /// Mean recall over the classes that have images (`balanced_accuracy_score`).
    pub balanced_accuracy: f64,
    /// Mean precision over all classes.
    pub macro_precision: f64,
    /// Mean recall over all classes.
    pub macro_recall: f64,
    /// Mean F1 over all classes.
    pub macro_f1: f64,
    /// Mean of −ln(probability of the true class) in nats, as `log_loss` of the probabilities in float64: clipped to
    /// ε ..= 1 − ε with float64's ε = 2⁻⁵², so that no image costs more than 36.04.
    pub log_loss: f64,
    /// In the order of the classes.
    pub per_class: Vec<PerClass>,
    /// Counts, `[true][predicted]`.
    pub confusion: Vec<Vec<u64>>,
}

/// a/b, or 0 where b is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
    ratio(sum, count)
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

impl Classification {
    /// Judges `probabilities` [images, classes] by `labels`, each image's class. An image is predicted as its first
    /// most probable class.
    ///
    /// # Errors
    /// [`Error::Usage`] when the sizes do not match, a label is out of range, there are no images, or a probability is
    /// outside 0..=1.
    pub fn from_probabilities(labels: &[usize], probabilities: ArrayView2<f32>, classes: &[String]) -> Result<Self> {
        check(labels, probabilities, classes.len())?;
        let mut confusion = vec![vec![0u64; classes.len()]; classes.len()];
        let mut loss = 0.0;
        for (&label, row) in labels.iter().zip(probabilities.rows()) {
            confusion[label][argmax(row)] += 1;
            loss -= f64::from(row[label]).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
        }
        let per_class: Vec<PerClass> = classes.iter().enumerate().map(|(k, c)| per_class(k, c, &confusion)).collect();
        let n = labels.len();
        let hits: u64 = confusion.iter().enumerate().map(|(k, row)| row[k]).sum();
        Ok(Self {
            n,
            accuracy: hits as f64 / n as f64,
            balanced_accuracy: mean(per_class.iter().filter(|c| c.support > 0).map(|c| c.recall)),
            macro_precision: mean(per_class.iter().map(|c| c.precision)),
            macro_recall: mean(per_class.iter().map(|c| c.recall)),
            macro_f1: mean(per_class.iter().map(|c| c.f1)),
            log_loss: loss / n as f64,
            per_class,
            confusion,
        })
    }
}

fn per_class(k: usize, class: &str, confusion: &[Vec<u64>]) -> PerClass {
    let hits = confusion[k][k] as f64;
    let support: u64 = confusion[k].iter().sum();
    let predicted: u64 = confusion.iter().map(|row| row[k]).sum();
    PerClass {
        class: class.to_owned(),
        precision: ratio(hits, predicted as f64),
        recall: ratio(hits, support as f64),
        f1: ratio(2.0 * hits, support as f64 + predicted as f64),
        support,
    }
}

fn check(labels: &[usize], probabilities: ArrayView2<f32>, classes: usize) -> Result<()> {
    let refuse = |what: String| Err(Error::Usage(what));
    if probabilities.dim() != (labels.len(), classes) {
        let (rows, columns) = probabilities.dim();
        return refuse(format!("{rows}×{columns} probabilities for {} labels of {classes} classes", labels.len()));
    }
    if labels.is_empty() {
        return refuse("there are no images to judge by".into());
    }
    if let Some(row) = labels.iter().position(|&label| label >= classes) {
        return refuse(format!("row {row} has class {}, but there are only {classes} classes", labels[row]));
    }
    match probabilities.indexed_iter().find(|(_, p)| !(0.0..=1.0).contains(*p)) {
        Some(((row, column), p)) => refuse(format!("the probability in row {row}, column {column} is {p}")),
        None => Ok(()),
    }
}
