//! How far figures would be elsewhere on other images of the same kind: percentile intervals of the bootstrap (Efron and
//! Tibshirani 1993, chapter 13).
//!
//! Shares of images have an interval at least as wide as Wilson's (1927), which stays honest where images are few or all are right: no
//! resample of twenty right ones has a wrong one. Other figures on which all resamples agree have none, for the same reason.
//!
//! Images are drawn with replacement or, where some belong together, whole groups of them: the cluster bootstrap (Field and Welsh 2007).
//! What an image contributes is computed once, and scores are ranked once, so that a resample costs no more than a look at each image
//! that it draws, and, for the areas under curves, at each of its scores.

mod bounds;
mod draws;

use super::calibration::brier_of_each;
use super::counts::{self, Count};
use super::ranking::Rankings;
use super::{argmax, distinct, mean};
use bounds::{around, bonett_price, range, wilson};
pub(super) use draws::Draws;
use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resamples.
pub const RESAMPLES: u64 = 1000;
/// The share of resamples that lies inside an interval.
pub const LEVEL: f64 = 0.95;
/// How many classes make a hit of the more lenient accuracies, of which each is told where there are more.
const TOPS: [(usize, &str); 3] = [(2, "top2_accuracy"), (3, "top3_accuracy"), (5, "top5_accuracy")];
/// Images, or groups of them, from which on differences have an interval. On fewer it is far too narrow: on one image it is a point, and
/// of models that are equally good it leaves out 0 in half of all draws of two images, in 13 % of eight, in 7.5 % of twenty.
pub const FEWEST: usize = 20;
/// Images, or groups of them, from which on figures have an interval, but for shares of images that nothing joins. Percentiles of the mean of
/// so many leave out the truth in 9.6 % of all cases, less than twice as often as they say; of nine in 10.2 %, of five in 15.5 %, of four in
/// 18.8 % (Student's t).
pub const FEWEST_DRAWN: usize = 10;
/// Images, or groups of them, on which models differ, from which on a difference can be more than chance: were each as likely to be in
/// favour of either, five would all be of the same one in 6 % of all cases.
const FEWEST_APART: usize = 6;

/// From the 2.5th to the 97.5th percentile: `[low, high]`.
pub type Interval = [f64; 2];

/// A figure of one model less that of another on the same images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// On all images.
    pub difference: f64,
    /// Of the paired resamples: both models judged on the same images. `None` where these, or their groups, are fewer than [`FEWEST`].
    pub interval: Option<Interval>,
}

/// What each image contributes to the figures.
#[derive(Debug, Clone)]
pub struct Outcomes {
    classes: usize,
    images: Vec<Outcome>,
    rankings: Rankings,
}

#[derive(Debug, Clone, Copy)]
struct Outcome {
    label: u32,
    predicted: u32,
    log_loss: f64,
    brier: f64,
    /// How many classes come before its own.
    before: usize,
}

impl Outcome {
    /// What it adds to a figure less what the other adds; where that is no sum, whether what the figure is made of differs.
    fn less(&self, other: &Outcome, figure: &str) -> f64 {
        let sign = |own: bool, its: bool| f64::from(i8::from(own) - i8::from(its));
        if let Some((k, _)) = TOPS.into_iter().find(|(_, name)| *name == figure) {
            return sign(self.before < k, other.before < k);
        }
        match figure {
            "accuracy" | "balanced_accuracy" | "macro_recall" => {
                sign(self.predicted == self.label, other.predicted == other.label)
            }
            "log_loss" => self.log_loss - other.log_loss,
            // All probabilities, as far as these tell.
            "brier" | "roc_auc" | "average_precision" => self.brier - other.brier,
            _ => f64::from(u8::from(self.predicted != other.predicted)),
        }
    }
}

/// Sums over a resample.
struct Sums {
    counts: Vec<Count>,
    log_loss: f64,
    brier: f64,
    tops: [u64; TOPS.len()],
}

/// −ln(probability of the true class) in nats, clipped to float64's ε ..= 1 − ε as in scikit-learn's `log_loss`.
pub(super) fn log_loss(probability: f32) -> f64 {
    -f64::from(probability).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// How many classes are more probable than `label`; of equal ones the last come first (`top_k_accuracy_score`).
fn before(label: usize, row: ndarray::ArrayView1<f32>) -> usize {
    let before = |(j, p): (usize, &f32)| *p > row[label] || (*p == row[label] && j > label);
    row.iter().enumerate().filter(|&(j, p)| before((j, p))).count()
}

impl Outcomes {
    /// Of `probabilities` `[images, classes]`, with each image's class in `labels`.
    pub fn new(labels: &[usize], probabilities: ArrayView2<f32>) -> Outcomes {
        let rows = probabilities.outer_iter();
        let images = labels.iter().zip(rows).zip(brier_of_each(labels, probabilities)).map(|((&label, row), brier)| {
            let (predicted, before) = (argmax(row) as u32, before(label, row));
            Outcome { label: label as u32, predicted, log_loss: log_loss(row[label]), brier, before }
        });
        let rankings = Rankings::new(|i, k| labels[i] == k, probabilities);
        Outcomes { classes: probabilities.ncols(), images: images.collect(), rankings }
    }

    fn sums(&self, drawn: &[usize]) -> Sums {
        let counts = vec![Count::default(); self.classes];
        let mut sums = Sums { counts, log_loss: 0., brier: 0., tops: [0; TOPS.len()] };
        for image in drawn.iter().map(|&i| &self.images[i]) {
            sums.counts[image.label as usize].support += 1;
            sums.counts[image.predicted as usize].predicted += 1;
            sums.counts[image.label as usize].hits += u64::from(image.label == image.predicted);
            sums.log_loss += image.log_loss;
            sums.brier += image.brier;
            sums.tops.iter_mut().zip(TOPS).for_each(|(sum, (k, _))| *sum += u64::from(image.before < k));
        }
        sums
    }

    /// By name.
    fn figures(&self, drawn: &[usize]) -> Figures {
        let sums = self.sums(drawn);
        let counts = &sums.counts;
        let n = drawn.len() as f64;
        let macro_mean = |figure: fn(Count) -> f64| counts::macro_mean(counts, figure);
        let mut figures = vec![
            ("accuracy", counts::accuracy(counts)),
            ("balanced_accuracy", counts::balanced_accuracy(counts)),
            ("macro_precision", macro_mean(Count::precision)),
            ("macro_recall", macro_mean(Count::recall)),
            ("macro_f1", macro_mean(Count::f1)),
            ("weighted_precision", counts::weighted(counts, Count::precision)),
            ("weighted_f1", counts::weighted(counts, Count::f1)),
            ("cohen_kappa", counts::cohen_kappa(counts).unwrap_or(f64::NAN)),
            ("mcc", counts::mcc(counts)),
            ("log_loss", sums.log_loss / n),
            ("brier", sums.brier / n),
        ];
        let tops = TOPS.into_iter().zip(sums.tops).filter(|((k, _), _)| self.classes > *k);
        figures.extend(tops.map(|((_, name), hits)| (name, hits as f64 / n)));
        figures.extend(self.rankings.figures(drawn, self.images.len()));
        figures
    }

    /// The shares of images with their class among the two, three and five most probable, where there are more.
    pub(super) fn top_accuracies(&self) -> [Option<f64>; TOPS.len()] {
        TOPS.map(|(k, _)| {
            let is_hit = |image: &Outcome| f64::from(u8::from(image.before < k));
            (self.classes > k).then(|| mean(self.images.iter().map(is_hit)))
        })
    }

    /// The interval of each figure but the calibration error, which resampling makes larger; of the areas under curves only
    /// where images times classes are half a million at most. Whole `groups` are drawn, the number of each image's, where there are any;
    /// of fewer than [`FEWEST_DRAWN`] there is no interval.
    pub fn intervals(&self, groups: &[usize]) -> BTreeMap<String, Interval> {
        let (draws, shares) = (Draws::new(self.images.len(), groups), TOPS.map(|(_, name)| name));
        intervals(&draws, |drawn| self.figures(drawn), &[&["accuracy"], &shares[..]].concat())
    }

    /// The figures of `self` less those of `other`, which has to judge the same images in the same order, with as many
    /// classes; `groups` as for [`Outcomes::intervals`]. `None` where it does not.
    pub fn less(&self, other: &Outcomes, groups: &[usize]) -> Option<BTreeMap<String, Difference>> {
        let labels = |outcomes: &Outcomes| outcomes.images.iter().map(|image| image.label).collect::<Vec<_>>();
        if self.images.is_empty()
            || distinct(groups, self.images.len()).is_err()
            || self.classes != other.classes
            || labels(self) != labels(other)
        {
            return None;
        }
        let draws = Draws::new(self.images.len(), groups);
        let apart = |name: &str, i: usize| self.images[i].less(&other.images[i], name);
        let shares = [&["accuracy"], &TOPS.map(|(_, name)| name)[..]].concat();
        Some(differences(&draws, [&|drawn| self.figures(drawn), &|drawn| other.figures(drawn)], &apart, &shares))
    }
}

/// The intervals of the figures that `judge` gives for images at any places: the same ones in the same order each time. Those named
/// in `shares` are shares of the images.
pub(super) fn intervals(
    draws: &Draws,
    judge: impl Fn(&[usize]) -> Figures + Sync,
    shares: &[&str],
) -> BTreeMap<String, Interval> {
    let are_few = draws.count() < FEWEST_DRAWN;
    if draws.groups().is_some() && are_few {
        return BTreeMap::new();
    }
    let (all, drawn) = (judge(&draws.all()), resamples(draws, &judge));
    let mut intervals = collect(&all, &drawn);
    for (place, (name, value)) in all.into_iter().enumerate() {
        let values = drawn.iter().map(|figures| figures[place].1);
        let Some(own) = intervals.get_mut(name) else { continue };
        if shares.contains(&name) {
            let (spread, rare) = (value * (1. - value), value.min(1. - value));
            let [low, high] = wilson(value, draws.independent(value, spread, rare, values));
            *own = [own[0].min(low), own[1].max(high)];
        }
        let [least, most] = range(name);
        *own = own.map(|end| end.clamp(least, most));
    }
    intervals.retain(|name, [low, high]| low < high && (!are_few || shares.contains(&name.as_str())));
    intervals
}

/// The figures of one model less another's, of which each judges images at the same places. `apart` tells by how much they differ in
/// what an image adds to a figure, 0 where in nothing; of `shares` of the images that is 1 or -1. Intervals hold 0 where the models
/// differ on fewer than [`FEWEST_APART`] images or groups, and those of shares are at least as wide as Bonett and Price's.
pub(super) fn differences(
    draws: &Draws,
    [own, other]: [&Judging; 2],
    apart: &dyn Fn(&str, usize) -> f64,
    shares: &[&str],
) -> BTreeMap<String, Difference> {
    let less = |drawn: &[usize]| -> Figures {
        own(drawn).into_iter().zip(other(drawn)).map(|((name, a), (_, b))| (name, a - b)).collect()
    };
    let (whole, drawn) = (less(&draws.all()), resamples(draws, less));
    let intervals = collect(&whole, &drawn);
    let named = |(place, (name, difference)): (usize, (&'static str, f64))| {
        let [mut low, mut high] = *intervals.get(name)?;
        if draws.count_where(|image| apart(name, image) != 0.) < FEWEST_APART {
            (low, high) = (low.min(0.), high.max(0.));
        }
        if shares.contains(&name) {
            let all = draws.all();
            let share = |sign: f64| all.iter().filter(|&&i| apart(name, i) == sign).count() as f64 / all.len() as f64;
            let (better, worse) = (share(1.), share(-1.));
            let spread = better + worse - difference * difference;
            let values = drawn.iter().map(|figures| figures[place].1);
            let images = draws.independent(difference, spread, better + worse, values);
            let [least, most] = bonett_price(better, worse, images);
            (low, high) = (low.min(least), high.max(most));
        }
        let interval = Some([low, high]).filter(|_| draws.count() >= FEWEST);
        Some((name.to_string(), Difference { difference, interval }))
    };
    whole.into_iter().enumerate().filter_map(named).collect()
}

/// Makes figures of the images at some places.
type Judging<'a> = dyn Fn(&[usize]) -> Figures + Sync + 'a;

/// Figures by name.
pub(super) type Figures = Vec<(&'static str, f64)>;

/// What `judge` makes of each resample.
fn resamples(draws: &Draws, judge: impl Fn(&[usize]) -> Figures + Sync) -> Vec<Figures> {
    (0..RESAMPLES).into_par_iter().map(|number| judge(&draws.resample(number))).collect()
}

/// Figures that are defined on all images have one, by the resamples on which they are.
fn collect(names: &[(&'static str, f64)], drawn: &[Figures]) -> BTreeMap<String, Interval> {
    let defined = names.iter().enumerate().filter(|(_, (_, whole))| !whole.is_nan());
    let interval = |(i, (name, whole)): (usize, &(&'static str, f64))| {
        let values: Vec<f64> = drawn.iter().map(|figures| figures[i].1).filter(|value| !value.is_nan()).collect();
        (!values.is_empty()).then(|| ((*name).to_string(), around(*whole, values)))
    };
    defined.filter_map(interval).collect()
}
