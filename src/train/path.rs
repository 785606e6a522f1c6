//! The path of strengths, judged out of fold.

use super::Candidate;
use super::softmax::{Model, Rows};
use crate::error::Result;
use crate::metrics::softmax;
use crate::progress::{Event, Progress, emit};
use ndarray::Array2;

/// A ranking needs no more precision than this (relative objective), nor more steps at one strength.
const TOLERANCE: f64 = 1e-3;
const LIMIT: usize = 100;
/// The path covers 1/(images·l2) (scikit-learn's `C`) from 10^-2 to 10^4 per feature, in half decades: standardised
/// features add up, so what a given `C` allows the logits grows with their number.
const FIRST: f64 = 1e-2;
const STRENGTHS: i32 = 13;
/// The path ends when this many candidates in a row are worse than the best by more than [`WORSE`] of it.
const PATIENCE: usize = 2;
const WORSE: f64 = 0.01;

/// What the path found.
pub(super) struct Choice {
    /// From strong to weak.
    pub(super) candidates: Vec<Candidate>,
    pub(super) l2: f64,
    /// The mean of the folds' parameters there: a good start for the final head.
    pub(super) start: Vec<f32>,
    /// Every image's probabilities there, by the model that did not learn from it: [images, classes].
    pub(super) out_of_fold: Array2<f32>,
}

/// Walks from strong to weak, each strength starting where the last one ended, and chooses the lowest out-of-fold
/// log-loss. Not the highest accuracy: that is coarse and noisy, and with unequal classes it settles far too strong,
/// where the rare ones are never predicted (measured: up to 5 points of balanced test accuracy lost, none gained).
///
/// `features` is how many standardised features the rows' columns stand for. Where a strength of the path is `wanted`, it is taken
/// whatever its log-loss.
pub(super) fn cross_validate(
    rows: &Rows,
    fold: &[usize],
    folds: usize,
    (features, wanted): (usize, Option<f64>),
    progress: Progress,
) -> Result<Choice> {
    emit(progress, Event::Stage { name: "choosing the strength", total: STRENGTHS as u64 })?;
    let n = fold.len() as f64;
    let mut models: Vec<Model> = (0..folds).map(|f| rows.model(fold.iter().map(|&g| g != f).collect())).collect();
    let none = Array2::zeros((0, rows.classes));
    let mut choice = Choice { candidates: Vec::new(), l2: 0.0, start: Vec::new(), out_of_fold: none };
    let (mut best, mut worse) = (f64::INFINITY, 0);
    for i in 0..STRENGTHS {
        let l2 = strength(features, fold.len(), i);
        // The penalty stands against the sum of the losses, as a prior does: a fold has fewer of them.
        rows.solve(&mut models, |m| l2 * n / m.count, TOLERANCE, LIMIT, || emit(progress, Event::Advance(0)))?;
        let candidate = rows.judge(&models, fold, l2);
        worse = if candidate.log_loss > best * (1.0 + WORSE) { worse + 1 } else { 0 };
        if wanted.map_or(candidate.log_loss < best, |wanted| wanted == l2) {
            best = candidate.log_loss;
            (choice.l2, choice.start) = (l2, mean(&models));
            choice.out_of_fold = rows.out_of_fold(&models, fold);
        }
        choice.candidates.push(candidate);
        emit(progress, Event::Advance(1))?;
        if wanted.map_or(worse == PATIENCE, |wanted| wanted == l2) {
            break;
        }
    }
    Ok(choice)
}

/// That of a step of the path.
pub(super) fn strength(features: usize, images: usize, step: i32) -> f64 {
    features as f64 / (images as f64 * FIRST * 10f64.powf(0.5 * f64::from(step)))
}

fn mean(models: &[Model]) -> Vec<f32> {
    let mut mean = vec![0f32; models.first().map_or(0, |m| m.parameters.len())];
    for model in models {
        super::lbfgs::add(&mut mean, 1.0 / models.len() as f64, &model.parameters);
    }
    mean
}

impl Rows<'_> {
    /// Every image's probabilities under the model that did not learn from it.
    fn out_of_fold(&self, models: &[Model], fold: &[usize]) -> Array2<f32> {
        let k = self.classes;
        let logits = |i: usize, class: usize| models[fold[i]].logits[i * k + class] as f32;
        softmax(Array2::from_shape_fn((fold.len(), k), |(i, class)| logits(i, class)).view())
    }

    /// Every image's loss and hit under the model that did not learn from it.
    fn judge(&self, models: &[Model], fold: &[usize], l2: f64) -> Candidate {
        let k = self.classes;
        let (mut losses, mut hits, mut counts) = (Vec::with_capacity(fold.len()), vec![0.0; k], vec![0.0; k]);
        for (i, (&label, &f)) in self.labels.iter().zip(fold).enumerate() {
            let z = &models[f].logits[i * k..(i + 1) * k];
            let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            losses.push(z.iter().map(|z| (z - max).exp()).sum::<f64>().ln() + max - z[label]);
            counts[label] += 1.0;
            // The first maximum, as everywhere.
            if z.iter().position(|&v| v == max) == Some(label) {
                hits[label] += 1.0;
            }
        }
        let n = fold.len() as f64;
        let log_loss = losses.iter().sum::<f64>() / n;
        let variance = losses.iter().map(|loss| (loss - log_loss).powi(2)).sum::<f64>() / n;
        Candidate {
            l2,
            log_loss,
            std_err: (variance / n).sqrt(),
            accuracy: hits.iter().sum::<f64>() / n,
            balanced_accuracy: hits.iter().zip(&counts).map(|(h, c)| h / c).sum::<f64>() / k as f64,
        }
    }
}
