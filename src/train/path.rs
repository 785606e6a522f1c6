//! The path of strengths, judged out of fold.

use super::Candidate;
use super::folds::{count, known};
use super::loss::balanced_weights;
use super::row::binary;
use super::softmax::{Model, Rows, Truth};
use crate::error::Result;
use crate::metrics::softmax;
use crate::progress::{Event, Progress, emit};
use ndarray::{Array2, ArrayView2, Axis};

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

/// Logits of all models of a cross-validation up to which they are solved together: with residuals, slopes and products some 30 bytes
/// each, 1 GiB. Beyond, that matters more than that each step reads the features once for all of them.
pub(super) const MOST_TOGETHER: usize = 1 << 25;
/// Logits of one model, images times classes, up to which there is softmax regression: with all that goes with them some 40 bytes each,
/// 5 GiB.
pub(super) const MOST_LOGITS: usize = 1 << 27;
/// As many logits take as much room as a weight with its gradient and direction, and the ten steps and slopes before it: 92 bytes.
const OF_A_WEIGHT: usize = 3;

/// What would take too much memory, where room for so many logits is too little.
pub(super) fn is_large(images: usize, features: usize, classes: usize, most: usize) -> Option<String> {
    let what = |of: String| format!("softmax regression of {of} on {classes} classes would take more than 5 GiB");
    let weights = (features + 1).saturating_mul(classes).saturating_mul(OF_A_WEIGHT);
    match images.saturating_mul(classes) > most {
        true => Some(what(format!("{images} images"))),
        false => (weights > most).then(|| what(format!("{features} features"))),
    }
}

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
/// whatever its log-loss. No strength but the first is begun when time is up: then there is no choice where another was wanted. Nor is there one
/// where no log-loss is finite.
pub(super) fn cross_validate(
    rows: &Rows,
    fold: &[usize],
    (features, wanted): (usize, Option<f64>),
    in_time: &dyn Fn() -> bool,
    progress: Progress,
) -> Result<Option<Choice>> {
    emit(progress, Event::Stage { name: "choosing the strength", total: STRENGTHS as u64 })?;
    let n = fold.len() as f64;
    let model = |f: usize| rows.model(fold.iter().map(|&g| g != f).collect());
    let mut models: Vec<Model> = (0..count(fold)).map(model).collect();
    let none = Array2::zeros((0, rows.classes));
    let mut choice = Choice { candidates: Vec::new(), l2: 0.0, start: Vec::new(), out_of_fold: none };
    let (mut best, mut worse) = (f64::INFINITY, 0);
    for i in 0..STRENGTHS {
        let l2 = strength(features, fold.len(), i);
        // The penalty stands against the sum of the losses, as a prior does: a fold has fewer of them.
        let held = rows.solve_folds(&mut models, fold, |m| l2 * n / m.count, progress)?;
        let candidate = rows.judge(&held, fold, l2);
        worse = if candidate.log_loss > best * (1.0 + WORSE) { worse + 1 } else { 0 };
        if wanted.map_or(candidate.log_loss < best, |wanted| wanted == l2) {
            best = candidate.log_loss;
            (choice.l2, choice.start) = (l2, mean(&models));
            choice.out_of_fold = rows.out_of_fold(&held);
        }
        choice.candidates.push(candidate);
        emit(progress, Event::Advance(1))?;
        if wanted.map_or(worse == PATIENCE, |wanted| wanted == l2) || !in_time() {
            break;
        }
    }
    Ok(Some(choice).filter(|choice| !choice.start.is_empty()))
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

impl Model {
    /// Gives back the room of its logits; they are made anew from its parameters where it is solved further. So is that of all but these
    /// where even it is too much for several models: what was learnt of the curvature is lost then.
    fn release(&mut self, all: bool) {
        (self.logits, self.residual) = (Vec::new(), Vec::new());
        if all {
            (self.gradient, self.direction) = (Vec::new(), Vec::new());
            self.history.clear();
        }
    }
}

impl Rows<'_> {
    /// Solves the models of all folds at strengths, together or, where that takes too much room, one after another, and gives every image's
    /// logits by the one that did not learn from it, \[images · classes\].
    pub(super) fn solve_folds(
        &self,
        models: &mut [Model],
        fold: &[usize],
        l2: impl Fn(&Model) -> f64,
        progress: Progress,
    ) -> Result<Vec<f64>> {
        let (k, mut held) = (self.classes, vec![0.; fold.len() * self.classes]);
        let weights = models.iter().map(|model| model.parameters.len()).sum::<usize>();
        let light = weights.saturating_mul(OF_A_WEIGHT) <= self.together;
        let fits = light && models.len() * held.len() <= self.together;
        let size = if fits { models.len().max(1) } else { 1 };
        for (part, models) in models.chunks_mut(size).enumerate() {
            self.solve(models, &l2, TOLERANCE, LIMIT, || emit(progress, Event::Advance(0)))?;
            for (i, (row, f)) in held.chunks_exact_mut(k).zip(fold).enumerate() {
                if let Some(model) = f.checked_sub(part * size).and_then(|own| models.get(own)) {
                    row.copy_from_slice(&model.logits[i * k..(i + 1) * k]);
                }
            }
            if !fits {
                models.iter_mut().for_each(|model| model.release(!light));
            }
        }
        Ok(held)
    }

    /// Probabilities of such logits.
    pub(super) fn out_of_fold(&self, held: &[f64]) -> Array2<f32> {
        let (shape, at) = ((self.truth.len(), self.classes), |i: usize, k: usize| held[i * self.classes + k]);
        match self.truth {
            Truth::Classes(_) => softmax(Array2::from_shape_fn(shape, |(i, class)| at(i, class) as f32).view()),
            Truth::Labels(_) => Array2::from_shape_fn(shape, |(i, label)| binary(at(i, label), 0.).1 as f32),
        }
    }

    /// Every image's loss and hit by such logits.
    fn judge(&self, held: &[f64], fold: &[usize], l2: f64) -> Candidate {
        let labels = match self.truth {
            Truth::Classes(labels) => labels,
            Truth::Labels(truths) => return self.judge_labels(truths, held, fold, l2),
        };
        let k = self.classes;
        let weights = if self.balanced { balanced_weights(labels.iter().copied(), k) } else { vec![1.; k] };
        let (mut losses, mut hits, mut counts) = (Vec::with_capacity(fold.len()), vec![0.0; k], vec![0.0; k]);
        for (&label, z) in labels.iter().zip(held.chunks_exact(k)) {
            let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            losses.push(weights[label] * (z.iter().map(|z| (z - max).exp()).sum::<f64>().ln() + max - z[label]));
            counts[label] += 1.0;
            // The first maximum, as everywhere.
            if z.iter().position(|&v| v == max) == Some(label) {
                hits[label] += 1.0;
            }
        }
        // Of a class that one fold has whole nothing was learnt there, and the strongest penalty is the least sure of others.
        let losses: Vec<f64> = known(labels, &[fold], k).into_iter().map(|i| losses[i]).collect();
        let n = fold.len() as f64;
        let (log_loss, std_err) = mean_and_error(&losses);
        Candidate {
            l2,
            log_loss,
            std_err,
            accuracy: hits.iter().sum::<f64>() / n,
            balanced_accuracy: hits.iter().zip(&counts).map(|(h, c)| h / c).sum::<f64>() / k as f64,
        }
    }

    /// The same with the mean over the labels, of which a fold's model judges those that it could learn; accuracies are of all
    /// decisions at 1/2.
    fn judge_labels(&self, truths: ArrayView2<f32>, held: &[f64], fold: &[usize], l2: f64) -> Candidate {
        let known = learnable(truths, fold);
        let (mut losses, mut right) = (Vec::with_capacity(fold.len()), 0usize);
        for ((own, &f), row) in truths.rows().into_iter().zip(fold).zip(held.chunks_exact(self.classes)) {
            let logits = row.iter().zip(own);
            right += logits.clone().filter(|(z, own)| (**z > 0.) == (**own > 0.5)).count();
            let parts = logits.zip(known.row(f)).filter(|(_, known)| **known);
            losses.push(parts.map(|((&z, &own), _)| binary(z, own.into()).0).sum::<f64>() / self.classes as f64);
        }
        let (log_loss, std_err) = mean_and_error(&losses);
        let accuracy = right as f64 / truths.len() as f64;
        Candidate { l2, log_loss, std_err, accuracy, balanced_accuracy: accuracy }
    }
}

/// Which labels some images outside of each fold have, and others have not: `[folds, labels]`.
pub(super) fn learnable(truths: ArrayView2<f32>, fold: &[usize]) -> Array2<bool> {
    let folds = count(fold);
    let (all, mut own) = (truths.sum_axis(Axis(0)), Array2::<f32>::zeros((folds, truths.ncols())));
    let mut sizes = vec![0f32; folds];
    for (row, &f) in truths.rows().into_iter().zip(fold) {
        own.row_mut(f).zip_mut_with(&row, |sum, value| *sum += value);
        sizes[f] += 1.;
    }
    Array2::from_shape_fn(own.dim(), |(f, label)| {
        let have = all[label] - own[[f, label]];
        have > 0. && have < fold.len() as f32 - sizes[f]
    })
}

/// The mean, and its standard error.
fn mean_and_error(losses: &[f64]) -> (f64, f64) {
    let n = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / n;
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / n;
    (mean, (variance / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::silent;
    use crate::tensor::Device;

    #[test]
    fn what_takes_too_much_is_told() {
        assert_eq!((is_large(4, 3, 2, 24), is_large(4, 3, 2, 8).is_some()), (None, true));
        let told = |most: usize| is_large(9, 3, 2, most).unwrap();
        assert!(told(17).contains("of 9 images on 2 classes") && told(23).contains("of 3 features on 2 classes"));
        assert!(is_large(usize::MAX, usize::MAX - 1, 2, MOST_LOGITS).is_some());
    }

    /// What is too large to be solved together ends where that would, and takes no more room than one fold.
    #[test]
    fn folds_one_after_another_find_what_they_find_together() {
        // There is no room for the logits of all folds, or none for all that goes with their weights.
        for (features, heavy) in [(8, false), (40, true)] {
            apart(features, heavy);
        }
    }

    fn apart(features: usize, heavy: bool) {
        let (images, classes) = (90, 3);
        let labels: Vec<usize> = (0..images).map(|i| i % classes).collect();
        let noise = |i: usize| ((i as f32 * 12.9898).sin() * 43758.547).fract();
        let value = |i: usize| noise(i) + if i % features == labels[i / features] { 0.7 } else { 0. };
        let truths = Array2::from_shape_fn((images, classes), |(i, k)| f32::from(u8::from(labels[i] == k)));
        let fold: Vec<usize> = (0..images).map(|i| i / classes % 5).collect();
        for truth in [Truth::Classes(&labels), Truth::Labels(truths.view())] {
            let x = (0..images * features).map(value).collect();
            let mut rows = Rows::new(x, truth, classes, &Device::Cpu).unwrap();
            let choose =
                |rows: &Rows| cross_validate(rows, &fold, (features, None), &|| true, &silent).unwrap().unwrap();
            let together = choose(&rows);
            rows.together = 5 * images * classes - usize::from(!heavy);
            let apart = choose(&rows);
            assert_eq!(apart.l2, together.l2);
            let far = (&apart.out_of_fold - &together.out_of_fold).mapv(f32::abs);
            // Without what was learnt of the curvature steps end elsewhere within the tolerance.
            let (mean, most) = (far.mean().unwrap(), far.iter().fold(0f32, |most, far| most.max(*far)));
            assert!(if heavy { mean < 0.03 } else { most < 1e-3 }, "{mean} {most}");
            for (own, other) in apart.candidates.iter().zip(&together.candidates) {
                assert!(
                    (own.log_loss / other.log_loss - 1.).abs() < if heavy { 0.03 } else { 1e-3 },
                    "{own:?} {other:?}"
                );
            }
            assert_eq!(choose(&rows).start, apart.start);
            let mut models: Vec<Model> =
                (0..5).map(|f| rows.model(fold.iter().map(|&own| own != f).collect())).collect();
            rows.solve_folds(&mut models, &fold, |_| 1., &silent).unwrap();
            assert!(models.iter().all(|model| model.logits.is_empty() && model.iterations > 0));
            assert!(models.iter().all(|model| model.gradient.is_empty() == heavy));
        }
    }
}
