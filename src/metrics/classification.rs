//! Classification into several classes, of which each image has one.

use super::bootstrap::{Interval, Outcomes, log_loss};
use super::calibration::{Bin, brier, expected_calibration_error, reliability};
use super::counts::{self, Count};
use super::{argmax, average_precision, distinct, mean, mean_defined, roc_auc};
use crate::error::{Error, Result};
use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Classes up to which the confusion matrix is kept: it has a number for each pair of them.
const MOST_SQUARED: usize = 1000;

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
    /// Area under the ROC curve of its probability, against all others; `None` where all images are of it or none is.
    pub roc_auc: Option<f64>,
    /// Average precision of its probability; `None` where it has no images.
    pub average_precision: Option<f64>,
}

/// What needs no model: the most frequent class of the judged images, always; for the losses, their classes' shares as
/// probabilities. As scikit-learn's `DummyClassifier` (`most_frequent`, `prior`), had it seen these images' classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The most frequent class, the first of equal ones.
    pub class: String,
    /// Its share.
    pub accuracy: f64,
    /// 1 / (classes that have images).
    pub balanced_accuracy: f64,
    /// Its F1 / (classes that have images).
    pub macro_f1: f64,
    /// The entropy of the shares in nats.
    pub log_loss: f64,
    /// As [`Classification::brier`].
    pub brier: f64,
}

/// What a classifier's answers reach, whatever its probabilities. Definitions as in [`Classification`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Share of images that are right.
    pub accuracy: f64,
    /// Mean recall over the classes that have images.
    pub balanced_accuracy: f64,
    /// Mean F1 over the classes that images have or are taken for.
    pub macro_f1: f64,
}

impl Answers {
    /// Of scores `[images, classes]`, the first highest of which is the answer; `labels` are below the number of classes.
    pub fn new(labels: &[usize], scores: ArrayView2<f32>) -> Answers {
        let counts = counts(labels, &predicted(scores), scores.ncols());
        Answers {
            accuracy: counts::accuracy(&counts),
            balanced_accuracy: counts::balanced_accuracy(&counts),
            macro_f1: counts::macro_mean(&counts, Count::f1),
        }
    }
}

/// Accuracy, macro-F1 and log-loss of a fold's probabilities `[images, classes]`, as in [`Classification`].
pub fn of_fold(labels: &[usize], probabilities: ArrayView2<f32>) -> [f64; 3] {
    let answers = Answers::new(labels, probabilities);
    [answers.accuracy, answers.macro_f1, mean_log_loss(labels, probabilities)]
}

fn mean_log_loss(labels: &[usize], probabilities: ArrayView2<f32>) -> f64 {
    mean(labels.iter().zip(probabilities.rows()).map(|(&label, row)| log_loss(row[label])))
}

/// How well probabilities match labels. Definitions are scikit-learn's, with `zero_division=0`: macro averages are over the classes
/// that some images have or are taken for, so that a class which the split lacks costs nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Images.
    pub n: usize,
    /// Groups of them, of which resamples draw whole ones; `None` where they draw images. Few have no intervals:
    /// [`FEWEST_DRAWN`](super::bootstrap::FEWEST_DRAWN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Share of images whose most probable class is theirs.
    pub accuracy: f64,
    /// Mean recall over the classes that have images (`balanced_accuracy_score`).
    pub balanced_accuracy: f64,
    /// Share of images whose class is among the two most probable; `None` with no more classes. Of equal probabilities the last
    /// come first (`top_k_accuracy_score`).
    pub top2_accuracy: Option<f64>,
    /// The same of the three most probable.
    pub top3_accuracy: Option<f64>,
    /// The same of the five most probable.
    pub top5_accuracy: Option<f64>,
    /// Mean precision over the classes that images have or are taken for; so are the next two.
    pub macro_precision: f64,
    /// Mean recall.
    pub macro_recall: f64,
    /// Mean F1.
    pub macro_f1: f64,
    /// Precision of all decisions taken together: with one class an image, the accuracy; so are the next two.
    pub micro_precision: f64,
    /// Recall of all decisions taken together.
    pub micro_recall: f64,
    /// F1 of all decisions taken together.
    pub micro_f1: f64,
    /// Mean precision, each class weighted with its images.
    pub weighted_precision: f64,
    /// Mean recall, each class weighted with its images: the accuracy.
    pub weighted_recall: f64,
    /// Mean F1, each class weighted with its images.
    pub weighted_f1: f64,
    /// Mean of −ln(probability of the true class) in nats, as `log_loss` of the probabilities in float64: clipped to
    /// ε ..= 1 − ε with float64's ε = 2⁻⁵², so that no image costs more than 36.04.
    pub log_loss: f64,
    /// The Brier score; see [`brier`].
    pub brier: f64,
    /// Mean area under the ROC curve, one class against the others, over the classes for which it is defined; `None` where
    /// it is for none. (scikit-learn has no figure where a class has no images.)
    pub roc_auc: Option<f64>,
    /// Mean average precision over the classes that have images. (scikit-learn counts the others as 0.)
    pub average_precision: Option<f64>,
    /// Cohen's kappa; `None` where it is not defined: one class only, and nothing else predicted.
    pub cohen_kappa: Option<f64>,
    /// Matthews' correlation coefficient; 0 where one class only occurs, or is predicted.
    pub mcc: f64,
    /// Expected calibration error over `reliability`.
    pub ece: f64,
    /// Percentile intervals of the bootstrap by the figure's name: `[low, high]`; see [`super::bootstrap`].
    pub intervals: BTreeMap<String, Interval>,
    /// The figures of always saying the same.
    pub baseline: Baseline,
    /// Those of the nearest class mean on the frozen features, where there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest_mean: Option<Answers>,
    /// The reliability diagram: bins of the top probability.
    pub reliability: Vec<Bin>,
    /// In the order of the classes.
    pub per_class: Vec<PerClass>,
    /// Counts, `[true][predicted]`, of up to 1,000 classes; `None` of more, of which a run's `predictions.csv` tells who is taken for whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
}

impl Classification {
    /// Judges `probabilities` [images, classes] by `labels`, each image's class. An image is predicted as its first
    /// most probable class.
    ///
    /// # Errors
    /// [`Error::Usage`] when the sizes do not match, a label is out of range, there are no images, or a probability is
    /// outside 0..=1.
    pub fn from_probabilities(labels: &[usize], probabilities: ArrayView2<f32>, classes: &[String]) -> Result<Self> {
        Self::grouped(labels, probabilities, classes, &[])
    }

    /// The same of images that belong together where their numbers in `groups` are the same; nothing there for images that do not.
    ///
    /// # Errors
    /// Those of [`Classification::from_probabilities`], and [`Error::Usage`] where there are groups of another number of images.
    pub fn grouped(
        labels: &[usize],
        probabilities: ArrayView2<f32>,
        classes: &[String],
        groups: &[usize],
    ) -> Result<Self> {
        check(labels, probabilities, classes.len())?;
        let distinct = distinct(groups, labels.len())?;
        let predicted = predicted(probabilities);
        let counts = counts(labels, &predicted, classes.len());
        let each = classes.par_iter().enumerate();
        let per_class: Vec<_> = each.map(|(k, name)| per_class(name, counts[k], k, labels, probabilities)).collect();
        let outcomes = Outcomes::new(labels, probabilities);
        let reliability = reliability(labels, probabilities);
        let accuracy = counts::accuracy(&counts);
        let [top2_accuracy, top3_accuracy, top5_accuracy] = outcomes.top_accuracies();
        Ok(Self {
            n: labels.len(),
            groups: distinct,
            accuracy,
            balanced_accuracy: counts::balanced_accuracy(&counts),
            top2_accuracy,
            top3_accuracy,
            top5_accuracy,
            macro_precision: counts::macro_mean(&counts, Count::precision),
            macro_recall: counts::macro_mean(&counts, Count::recall),
            macro_f1: counts::macro_mean(&counts, Count::f1),
            micro_precision: accuracy,
            micro_recall: accuracy,
            micro_f1: accuracy,
            weighted_precision: counts::weighted(&counts, Count::precision),
            weighted_recall: counts::weighted(&counts, Count::recall),
            weighted_f1: counts::weighted(&counts, Count::f1),
            log_loss: mean_log_loss(labels, probabilities),
            brier: brier(labels, probabilities),
            roc_auc: mean_defined(per_class.iter().map(|c| c.roc_auc)),
            average_precision: mean_defined(per_class.iter().map(|c| c.average_precision)),
            cohen_kappa: counts::cohen_kappa(&counts),
            mcc: counts::mcc(&counts),
            ece: expected_calibration_error(&reliability),
            intervals: outcomes.intervals(groups),
            baseline: baseline(&counts, classes),
            nearest_mean: None,
            reliability,
            per_class,
            confusion: (classes.len() <= MOST_SQUARED).then(|| confusion(labels, &predicted, classes.len())),
        })
    }
}

/// Each image's answer.
fn predicted(scores: ArrayView2<f32>) -> Vec<usize> {
    scores.rows().into_iter().map(argmax).collect()
}

/// Counts, `[true][predicted]`.
fn confusion(labels: &[usize], predicted: &[usize], classes: usize) -> Vec<Vec<u64>> {
    let mut confusion = vec![vec![0; classes]; classes];
    labels.iter().zip(predicted).for_each(|(&label, &answer)| confusion[label][answer] += 1);
    confusion
}

fn counts(labels: &[usize], predicted: &[usize], classes: usize) -> Vec<Count> {
    let mut counts = vec![Count::default(); classes];
    for (&label, &answer) in labels.iter().zip(predicted) {
        counts[label].support += 1;
        counts[answer].predicted += 1;
        counts[label].hits += u64::from(label == answer);
    }
    counts
}

fn per_class(class: &str, count: Count, k: usize, labels: &[usize], probabilities: ArrayView2<f32>) -> PerClass {
    let belongs: Vec<bool> = labels.iter().map(|&label| label == k).collect();
    let scores = probabilities.column(k).to_vec();
    PerClass {
        class: class.to_owned(),
        precision: count.precision(),
        recall: count.recall(),
        f1: count.f1(),
        support: count.support,
        roc_auc: roc_auc(&belongs, &scores),
        average_precision: average_precision(&belongs, &scores),
    }
}

fn baseline(counts: &[Count], classes: &[String]) -> Baseline {
    let n: u64 = counts.iter().map(|count| count.support).sum();
    let most = (0..counts.len()).rev().max_by_key(|&k| counts[k].support).unwrap_or(0);
    let shares = || counts.iter().map(|count| count.support as f64 / n as f64).filter(|&share| share > 0.);
    let always = Count { support: counts[most].support, predicted: n, hits: counts[most].support };
    let squares: f64 = shares().map(|share| share * share).sum();
    Baseline {
        class: classes[most].clone(),
        accuracy: always.precision(),
        balanced_accuracy: 1. / shares().count() as f64,
        macro_f1: always.f1() / shares().count() as f64,
        log_loss: 0. - shares().map(|share| share * share.ln()).sum::<f64>(),
        // Σ share·((1 − share)² + Σ of the other shares squared)
        brier: (1. - squares) * if counts.len() == 2 { 0.5 } else { 1. },
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
