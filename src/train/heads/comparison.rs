//! Which of the candidates is taken.

use super::candidates::{Candidate, Judge};
use super::judge::{Metric, log_loss, mean};
use super::{Compared, Kind};
use ndarray::Array2;
use std::cmp::Ordering;

/// How much of the F1 of classes that folds can judge others have by heads that count all alike: of classes with one image beside such with
/// 20 to 100 (docs/heads.md).
const UNSEEN: f64 = 0.4;

impl Candidate {
    /// Whether it is discriminants that count classes alike.
    pub(super) fn has_cosines(&self) -> bool {
        self.kind == Kind::Lda && self.adjusted
    }

    /// Whether a class is found by it however few images it has.
    pub(super) fn finds_rare(&self) -> bool {
        self.kind == Kind::Ncm || self.has_cosines()
    }
}

impl Judge<'_> {
    /// Whether there are classes that no fold can judge, and they matter.
    fn credits(&self) -> bool {
        self.metric == Metric::MacroF1 && self.found < self.classes
    }

    /// What folds cannot tell: of classes that they cannot judge all images count as mistakes, which heads that take rare classes for
    /// improbable would be right to do. Where the metric counts all classes alike, a head that finds rare ones is taken to find these as
    /// often as it was measured to ([`UNSEEN`]); by log-loss they count for nothing.
    pub(super) fn credited(&self, mut candidate: Candidate) -> Candidate {
        if self.metric == Metric::LogLoss {
            candidate.parts = self.known.iter().map(|&i| candidate.parts[i]).collect();
        }
        let more = 1. + self.credit(&candidate);
        candidate.parts.iter_mut().for_each(|part| *part *= more);
        candidate
    }

    /// What is expected of the classes that no fold can judge, as a part of what is told of the others.
    fn credit(&self, candidate: &Candidate) -> f64 {
        let unknown = (self.classes - self.found) as f64 / self.found as f64;
        if self.credits() && candidate.finds_rare() { UNSEEN * unknown } else { 0. }
    }

    /// How many taps the best one so far takes.
    pub(super) fn best(&self, candidates: &[Candidate]) -> Option<usize> {
        let score = |candidate: &&Candidate| mean(&candidate.parts).0;
        candidates.iter().max_by(|a, b| score(a).total_cmp(&score(b))).map(|candidate| candidate.taps)
    }

    /// The place of the one to take: of those that are not worse than the best by more than one standard error of the difference the one
    /// with the lowest log-loss (by macro-F1 the mean over the classes), which is less subject to chance than counts of hits; where some
    /// classes cannot be judged one that finds rare ones first, and a perceptron only where none that is linear is among them. And all of
    /// them for people.
    pub(super) fn choose(&self, candidates: &[Candidate]) -> (usize, Vec<Compared>) {
        let scores: Vec<f64> = candidates.iter().map(|candidate| mean(&candidate.parts).0).collect();
        let best = scores.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(place, _)| place);
        let behind = |candidate: &Candidate| {
            let pairs = candidates[best].parts.iter().zip(&candidate.parts);
            let (mean, error) = mean(&pairs.map(|(best, own)| best - own).collect::<Vec<_>>());
            [mean, error]
        };
        let compared: Vec<Compared> = candidates
            .iter()
            .map(|candidate| {
                let figures = |metric: Metric| {
                    let of = |logits: &Array2<f32>| mean(&metric.parts(logits.view(), self.labels)).0;
                    candidate.logits.iter().map(of).sum::<f64>() / candidate.logits.len() as f64
                };
                let loss = |logits: &Array2<f32>| log_loss(logits, self.labels, &self.known, candidate.sharpness);
                let (score, credit) = (mean(&candidate.parts).0, self.credit(candidate));
                Compared {
                    kind: candidate.kind,
                    taps: candidate.taps,
                    features: candidate.features,
                    strength: candidate.strength,
                    adjusted: candidate.adjusted,
                    weighted: candidate.weighted,
                    score,
                    expected: score * credit / (1. + credit),
                    behind: behind(candidate),
                    accuracy: figures(Metric::Accuracy),
                    macro_f1: figures(Metric::MacroF1),
                    log_loss: candidate.logits.iter().map(loss).sum::<f64>() / candidate.logits.len() as f64,
                }
            })
            .collect();
        let losses: Vec<f64> = candidates.iter().map(|candidate| self.loss_by_metric(candidate)).collect();
        let as_good = compared.iter().enumerate().filter(|(_, c)| c.behind[0] <= c.behind[1]);
        // A loss tells nothing of the classes that no fold can judge.
        let blind = |place: usize| self.credits() && !candidates[place].finds_rare();
        let order = |(place, c): (usize, &Compared)| (c.kind == Kind::Mlp, blind(place), losses[place]);
        let place = as_good.min_by(|&a, &b| order(a).partial_cmp(&order(b)).unwrap_or(Ordering::Equal));
        (place.map_or(best, |(place, _)| place), compared)
    }

    /// The mean cross-entropy over the images; by macro-F1 the mean over the classes of theirs, so that rare ones count like others.
    fn loss_by_metric(&self, candidate: &Candidate) -> f64 {
        let mut parts = vec![Vec::new(); if self.metric == Metric::MacroF1 { self.classes } else { 1 }];
        let count = parts.len();
        self.known.iter().for_each(|&i| parts[self.labels[i] % count].push(i));
        parts.retain(|part| !part.is_empty());
        let of = |logits: &Array2<f32>| {
            parts.iter().map(|part| log_loss(logits, self.labels, part, candidate.sharpness)).sum::<f64>()
        };
        candidate.logits.iter().map(of).sum::<f64>() / (parts.len() * candidate.logits.len()) as f64
    }
}
