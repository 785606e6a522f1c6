//! How well scores rank what belongs to a class before what does not.

use super::mean_defined;
use ndarray::ArrayView2;
use rayon::prelude::*;

/// Scores of which rankings are kept to judge resamples by: each of a thousand passes over all of them.
const MOST_SCORES: usize = 500_000;

/// The areas under a class's two curves; `None` where they are not defined.
pub(super) struct Areas {
    pub roc_auc: Option<f64>,
    pub average_precision: Option<f64>,
}

/// Images from the highest score for a class down.
#[derive(Debug, Clone)]
pub(super) struct Ranking(Vec<Ranked>);

#[derive(Debug, Clone, Copy)]
struct Ranked {
    image: u32,
    belongs: bool,
    /// Whether the next one has a lower score.
    ends: bool,
}

impl Ranking {
    pub fn new(belongs: &[bool], scores: &[f32]) -> Ranking {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let ranked = |(place, &i): (usize, &usize)| {
            // Equal scores are passed at once: nothing tells which of them comes first. 0 and -0 are equal.
            let ends = order.get(place + 1).is_none_or(|&next| scores[next] != scores[i]);
            Ranked { image: i as u32, belongs: belongs[i], ends }
        };
        Ranking(order.iter().enumerate().map(ranked).collect())
    }

    /// Where each image counts so many times.
    pub fn areas(&self, times: impl Fn(usize) -> u32) -> Areas {
        // What belongs, and what does not, of the scores so far, and of those above the present one.
        let (mut sums, mut before, mut area, mut precision) = ([0u64; 2], [0u64; 2], 0., 0.);
        for ranked in &self.0 {
            sums[usize::from(!ranked.belongs)] += u64::from(times(ranked.image as usize));
            if ranked.ends {
                let ([h0, m0], [h, m]) = (before.map(|n| n as f64), sums.map(|n| n as f64));
                area += (m - m0) * (h + h0) / 2.;
                if h > h0 {
                    precision += (h - h0) * h / (h + m);
                }
                before = sums;
            }
        }
        let [hits, misses] = sums.map(|n| n as f64);
        let roc_auc = (hits > 0. && misses > 0.).then(|| area / (hits * misses));
        Areas { roc_auc, average_precision: (hits > 0.).then(|| precision / hits) }
    }
}

/// Those of all classes; none where there are too many scores.
#[derive(Debug, Clone)]
pub(super) struct Rankings(Vec<Ranking>);

impl Rankings {
    /// By `scores` `[images, classes]`, of an image and a class each.
    pub fn new(belongs: impl Fn(usize, usize) -> bool + Sync, scores: ArrayView2<f32>) -> Rankings {
        let of = |k: usize| {
            let own: Vec<bool> = (0..scores.nrows()).map(|i| belongs(i, k)).collect();
            Ranking::new(&own, &scores.column(k).to_vec())
        };
        let classes = if scores.len() > MOST_SCORES { 0 } else { scores.ncols() };
        Rankings((0..classes).into_par_iter().map(of).collect())
    }

    /// The mean areas over the classes that have them, of images drawn from so many; NaN where none has.
    pub fn figures(&self, drawn: &[usize], images: usize) -> Vec<(&'static str, f64)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut times = vec![0; images];
        drawn.iter().for_each(|&i| times[i] += 1);
        let areas: Vec<Areas> = self.0.iter().map(|ranking| ranking.areas(|i| times[i])).collect();
        let mean = |area: fn(&Areas) -> Option<f64>| mean_defined(areas.iter().map(area)).unwrap_or(f64::NAN);
        vec![("roc_auc", mean(|areas| areas.roc_auc)), ("average_precision", mean(|areas| areas.average_precision))]
    }
}

/// The area under the ROC curve: the probability that what belongs has a higher score than what does not, ties counting half
/// (`roc_auc_score`). `None` where all belong or none does.
pub fn roc_auc(belongs: &[bool], scores: &[f32]) -> Option<f64> {
    Ranking::new(belongs, scores).areas(|_| 1).roc_auc
}

/// Average precision: Σ (recallₙ − recallₙ₋₁)·precisionₙ over the different scores (`average_precision_score`). `None` where
/// none belongs, where scikit-learn says 0.
pub fn average_precision(belongs: &[bool], scores: &[f32]) -> Option<f64> {
    Ranking::new(belongs, scores).areas(|_| 1).average_precision
}
