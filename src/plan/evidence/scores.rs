//! Which convention is the best, and by how much.

use super::{Candidate, Evidence};

/// Scores of a trial's images.
pub(super) struct Scores {
    pub candidate: Candidate,
    pub each: Vec<f64>,
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

pub(super) fn best(scores: &[Scores]) -> Option<usize> {
    let score = |i: &usize| scores[*i].candidate.score;
    // Of equals the first, which is the commonest.
    (0..scores.len()).rev().max_by(|a, b| score(a).total_cmp(&score(b)))
}

/// How far `other` is behind `one` on the same images, and the standard error of that.
pub(super) fn difference(one: &Scores, other: &Scores) -> (f64, f64) {
    let each: Vec<f64> = one.each.iter().zip(&other.each).map(|(a, b)| a - b).collect();
    let (mean, count) = (mean(&each), each.len() as f64);
    let square: f64 = each.iter().map(|d| (d - mean).powi(2)).sum();
    (mean, (square / (count - 1.).max(1.) / count.max(1.)).sqrt())
}

/// The commonest of those that are not worse than the best by more than `noise` standard errors.
pub(super) fn choose(scores: Vec<Scores>, images: usize, noise: f64) -> Option<Evidence> {
    let best = best(&scores)?;
    let near = |other: &Scores| {
        let (behind, error) = difference(&scores[best], other);
        behind <= noise * error
    };
    let chosen = scores.iter().position(near).unwrap_or(best);
    // What scores the same for each image is the same thing.
    let differs = |&i: &usize| i != chosen && scores[i].each != scores[chosen].each;
    let others = (0..scores.len()).filter(differs);
    let score = |i: &usize| scores[*i].candidate.score;
    let runner_up = others.max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(chosen);
    let margin = difference(&scores[chosen], &scores[runner_up]).into();
    let candidates = scores.into_iter().map(|scores| scores.candidate).collect();
    Some(Evidence { images, candidates, chosen, margin, runner_up })
}
