//! Several labels at once, each of which an image may have or not.

use super::bootstrap::{self, Difference, Draws, Figures, Interval, log_loss};
use super::counts::Count;
use super::ranking::Rankings;
use super::{average_precision, distinct, mean, mean_defined, roc_auc};
use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Area under the ROC curve of its probability; `None` where all images have it or none has.
    pub roc_auc: Option<f64>,
}

/// What needs no model: the labels that half of the judged images or more have, always; for log-loss and average precision,
/// their shares as probabilities.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelBaseline {
    /// As [`MultiLabel::subset_accuracy`].
    pub subset_accuracy: f64,
    /// As [`MultiLabel::hamming_loss`].
    pub hamming_loss: f64,
    /// As [`MultiLabel::micro_f1`].
    pub micro_f1: f64,
    /// As [`MultiLabel::macro_f1`].
    pub macro_f1: f64,
    /// As [`MultiLabel::log_loss`].
    pub log_loss: f64,
    /// Mean share of the labels that have images.
    pub average_precision: Option<f64>,
}

/// How well sets of labels match. Definitions are scikit-learn's, with `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiLabel {
    /// Images.
    pub n: usize,
    /// Groups of them, of which resamples draw whole ones; `None` where they draw images. Few have no intervals:
    /// [`FEWEST_DRAWN`](super::bootstrap::FEWEST_DRAWN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Share of images with exactly their labels (`accuracy_score`).
    pub subset_accuracy: f64,
    /// Share of all decisions, a label for an image, that are wrong.
    pub hamming_loss: f64,
    /// Precision of all decisions taken together.
    pub micro_precision: f64,
    /// Recall of all decisions taken together.
    pub micro_recall: f64,
    /// F1 of all decisions taken together.
    pub micro_f1: f64,
    /// Mean precision over all labels, of which one without images counts as 0, as scikit-learn has it; so are the next two.
    pub macro_precision: f64,
    /// Mean recall over all labels.
    pub macro_recall: f64,
    /// Mean F1 over all labels.
    pub macro_f1: f64,
    /// Mean average precision (mAP) over the labels that have images. (scikit-learn counts the others as 0.)
    pub average_precision: Option<f64>,
    /// Mean area under the ROC curve over the labels for which it is defined.
    pub roc_auc: Option<f64>,
    /// Mean cross-entropy of all decisions in nats, a label for an image.
    pub log_loss: f64,
    /// Percentile intervals of the bootstrap by the figure's name: `[low, high]`; see [`super::bootstrap`].
    pub intervals: BTreeMap<String, Interval>,
    /// The figures of always saying the same.
    pub baseline: LabelBaseline,
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
        MultiLabel::grouped(truth, probabilities, labels, thresholds, &[])
    }

    /// The same of images that belong together where their numbers in `groups` are the same; nothing there for images that do not.
    ///
    /// # Errors
    /// Those of [`MultiLabel::new`], and [`Error::Usage`] where there are groups of another number of images.
    pub fn grouped(
        truth: ArrayView2<bool>,
        probabilities: ArrayView2<f32>,
        labels: &[String],
        thresholds: &[f32],
        groups: &[usize],
    ) -> Result<MultiLabel> {
        let figures = MultiLabel::without_intervals(truth, probabilities, labels, thresholds)?;
        let (distinct, draws) = (distinct(groups, figures.n)?, Draws::new(figures.n, groups));
        let outcomes = LabelOutcomes::new(truth, probabilities, thresholds);
        let present = outcomes.present(&draws.all());
        let intervals = bootstrap::intervals(&draws, |drawn| outcomes.figures(drawn, present), &["subset_accuracy"]);
        Ok(MultiLabel { groups: distinct, intervals, ..figures })
    }

    /// The same without intervals, which take a thousand times as long.
    ///
    /// # Errors
    /// Those of [`MultiLabel::new`].
    pub fn without_intervals(
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
        let outcomes = LabelOutcomes::new(truth, probabilities, thresholds);
        let all: Vec<usize> = (0..n).collect();
        let sums = outcomes.sums(&all);
        let per_label: Vec<_> =
            (0..k).map(|j| per_label(&labels[j], sums.counts[j], j, truth, probabilities)).collect();
        Ok(MultiLabel {
            n,
            groups: None,
            subset_accuracy: sums.exact as f64 / n as f64,
            hamming_loss: sums.wrong as f64 / (n * k) as f64,
            micro_precision: sums.micro().precision(),
            micro_recall: sums.micro().recall(),
            micro_f1: sums.micro().f1(),
            macro_precision: mean(per_label.iter().map(|l| l.precision)),
            macro_recall: mean(per_label.iter().map(|l| l.recall)),
            macro_f1: mean(per_label.iter().map(|l| l.f1)),
            average_precision: mean_defined(per_label.iter().map(|l| l.average_precision)),
            roc_auc: mean_defined(per_label.iter().map(|l| l.roc_auc)),
            log_loss: sums.log_loss / n as f64,
            intervals: BTreeMap::new(),
            baseline: baseline(truth),
            per_label,
        })
    }
}

/// What each image adds to the figures.
#[derive(Debug, Clone)]
pub struct LabelOutcomes {
    own: Array2<bool>,
    given: Array2<bool>,
    log_losses: Vec<f64>,
    rankings: Rankings,
}

struct Sums {
    counts: Vec<Count>,
    exact: u64,
    wrong: u64,
    log_loss: f64,
}

impl Sums {
    /// Of all decisions taken together.
    fn micro(&self) -> Count {
        self.counts.iter().fold(Count::default(), |sum, count| Count {
            support: sum.support + count.support,
            predicted: sum.predicted + count.predicted,
            hits: sum.hits + count.hits,
        })
    }
}

impl LabelOutcomes {
    /// As for [`MultiLabel::new`], whose shapes these have to have.
    pub fn new(truth: ArrayView2<bool>, probabilities: ArrayView2<f32>, thresholds: &[f32]) -> LabelOutcomes {
        let given = Array2::from_shape_fn(probabilities.dim(), |(i, j)| probabilities[[i, j]] >= thresholds[j]);
        let loss = |(&own, &p): (&bool, &f32)| log_loss(if own { p } else { 1. - p });
        let rows = truth.rows().into_iter().zip(probabilities.rows());
        let log_losses = rows.map(|(own, row)| mean(own.iter().zip(row).map(loss))).collect();
        let rankings = Rankings::new(|i, j| truth[[i, j]], probabilities);
        LabelOutcomes { own: truth.to_owned(), given, log_losses, rankings }
    }

    fn sums(&self, drawn: &[usize]) -> Sums {
        let mut sums = Sums { counts: vec![Count::default(); self.own.ncols()], exact: 0, wrong: 0, log_loss: 0. };
        for &i in drawn {
            let before = sums.wrong;
            for ((count, &own), &given) in sums.counts.iter_mut().zip(self.own.row(i)).zip(self.given.row(i)) {
                count.support += u64::from(own);
                count.predicted += u64::from(given);
                count.hits += u64::from(own && given);
                sums.wrong += u64::from(own != given);
            }
            sums.exact += u64::from(before == sums.wrong);
            sums.log_loss += self.log_losses[i];
        }
        sums
    }

    /// Labels that some of these images have, or are given.
    fn present(&self, drawn: &[usize]) -> usize {
        self.sums(drawn).counts.iter().filter(|count| !count.is_absent()).count()
    }

    /// A label that the images have and these lack is left out of macro averages: that it was not drawn is no mistake.
    fn figures(&self, drawn: &[usize], present: usize) -> Figures {
        let (sums, n, k) = (self.sums(drawn), drawn.len() as f64, self.own.ncols());
        let missing = present - sums.counts.iter().filter(|count| !count.is_absent()).count();
        let macro_mean = |figure: fn(Count) -> f64| {
            super::ratio(sums.counts.iter().map(|&count| figure(count)).sum(), (k - missing) as f64)
        };
        let micro = sums.micro();
        let mut figures = vec![
            ("subset_accuracy", sums.exact as f64 / n),
            ("hamming_loss", sums.wrong as f64 / (n * k as f64)),
            ("micro_precision", micro.precision()),
            ("micro_recall", micro.recall()),
            ("micro_f1", micro.f1()),
            ("macro_precision", macro_mean(Count::precision)),
            ("macro_recall", macro_mean(Count::recall)),
            ("macro_f1", macro_mean(Count::f1)),
            ("log_loss", sums.log_loss / n),
        ];
        figures.extend(self.rankings.figures(drawn, self.own.nrows()));
        figures
    }

    /// The figures of `self` less those of `other`, which has to judge the same images in the same order; `None` where it does
    /// not. `groups` as for [`MultiLabel::grouped`].
    pub fn less(&self, other: &LabelOutcomes, groups: &[usize]) -> Option<BTreeMap<String, Difference>> {
        let draws = Draws::new(self.own.nrows(), groups);
        let (own, its) = (self.present(&draws.all()), other.present(&draws.all()));
        let judge = |drawn: &[usize]| self.figures(drawn, own);
        let judge_other = |drawn: &[usize]| other.figures(drawn, its);
        let exact = |of: &LabelOutcomes, i: usize| i8::from(of.own.row(i) == of.given.row(i));
        let apart = |figure: &str, i: usize| match figure {
            "subset_accuracy" => f64::from(exact(self, i) - exact(other, i)),
            "log_loss" | "roc_auc" | "average_precision" => self.log_losses[i] - other.log_losses[i],
            _ => f64::from(u8::from(self.given.row(i) != other.given.row(i))),
        };
        let fit = distinct(groups, self.own.nrows()).is_ok();
        (self.own.nrows() > 0 && fit && self.own == other.own)
            .then(|| bootstrap::differences(&draws, [&judge, &judge_other], &apart, &["subset_accuracy"]))
    }
}

fn baseline(truth: ArrayView2<bool>) -> LabelBaseline {
    let n = truth.nrows() as f64;
    let shares: Vec<f32> =
        truth.columns().into_iter().map(|c| (c.iter().filter(|&&own| own).count() as f64 / n) as f32).collect();
    let probabilities = Array2::from_shape_fn(truth.dim(), |(_, j)| shares[j]);
    let outcomes = LabelOutcomes::new(truth, probabilities.view(), &vec![0.5; shares.len()]);
    let sums = outcomes.sums(&(0..truth.nrows()).collect::<Vec<_>>());
    LabelBaseline {
        subset_accuracy: sums.exact as f64 / n,
        hamming_loss: sums.wrong as f64 / truth.len() as f64,
        micro_f1: sums.micro().f1(),
        macro_f1: mean(sums.counts.iter().map(|count| count.f1())),
        log_loss: sums.log_loss / n,
        average_precision: mean_defined(shares.iter().map(|&share| (share > 0.).then_some(share.into()))),
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
        roc_auc: roc_auc(&own, &scores),
    }
}
