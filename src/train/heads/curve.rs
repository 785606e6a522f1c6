//! How figures grow with the number of images, and what more of them would bring.

use super::super::folds::{count, median};
use super::basis::Basis;
use super::candidates::{Candidate, Judge};
use super::choice::fit;
use super::mlp::Mlp;
use super::{Kind, Wishes};
use crate::error::{Error, Result};
use crate::metrics::argmax;
use crate::progress::{Event, Progress, emit};
use crate::random;
use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

/// Shares of the training images, nested in each other; all of them are what the cross-validation has.
pub(super) const SHARES: [f64; 3] = [0.125, 0.25, 0.5];
/// Images that the smallest part has of the median class, or label, at least.
pub(super) const LEAST: f64 = 2.;
/// Images up to which a curve costs little beside the features.
pub(super) const MOST_IMAGES: usize = 20_000;
/// Why there is no curve.
pub(super) const MANY: &str = "it would take long with so many images";
pub(super) const LATE: &str = "the time of the budget was up";
pub(super) const FEW: &str = "there are too few images outside the folds";
/// A figure needs no more precision than this (relative objective).
const TOLERANCE: f64 = 1e-4;
/// Asymptotes that are tried, as shares of the smallest error.
const ASYMPTOTES: usize = 20;
/// Curves through errors as they might have come out as well.
const DRAWS: u64 = 200;

/// A figure by the number of training images, and where that leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// From few to many.
    pub points: Vec<Point>,
    /// What the power law gives for all images.
    #[serde(default)]
    pub fitted: Option<Point>,
    /// What twice, and four times, as many images would give, by the power law a + b·n⁻ᶜ of the errors (Cortes et al. 1993), which
    /// are what the figure lacks to 1.
    pub expected: Vec<Point>,
    /// How much more twice as many give than all images, by the power law, and the spread of that: of each curve its own.
    #[serde(default)]
    pub gain: Option<[f64; 2]>,
}

impl Curve {
    /// Through such points, the last of them of nearly all of so many images.
    pub(super) fn through(points: Vec<Point>, images: usize, seed: u64) -> Curve {
        let [fitted, more @ ..] = [1, 2, 4].map(|times| expected(&points, times * images, seed));
        let gain = Some(gain(&points, images, seed));
        Curve { points, fitted: Some(fitted), expected: more.to_vec(), gain }
    }
}

/// A figure of heads that learnt from so many images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Training images.
    pub images: usize,
    /// On images that were not trained on.
    #[serde(flatten)]
    pub reached: Reached,
    /// Its standard error; of what is expected, the spread over curves through errors that might have come out as well.
    pub std_err: f64,
}

/// What grows with the number of images; 1 is the best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// Share of images whose class is found.
    Accuracy(f64),
    /// Mean over the labels of their average precision.
    AveragePrecision(f64),
    /// Mean over the targets of the coefficient of determination.
    R2(f64),
}

impl Reached {
    /// The number.
    pub fn value(self) -> f64 {
        let (Reached::Accuracy(value) | Reached::AveragePrecision(value) | Reached::R2(value)) = self;
        value
    }

    /// The same figure of another number.
    fn with(self, value: f64) -> Reached {
        match self {
            Reached::Accuracy(_) => Reached::Accuracy(value),
            Reached::AveragePrecision(_) => Reached::AveragePrecision(value),
            Reached::R2(_) => Reached::R2(value),
        }
    }

    /// The figure, for people.
    pub fn name(self) -> &'static str {
        match self {
            Reached::Accuracy(_) => "accuracy",
            Reached::AveragePrecision(_) => "mean average precision",
            Reached::R2(_) => "R²",
        }
    }
}

/// The curve of a candidate: heads of its kind and strength learn from growing parts of all images outside each fold. Where there
/// are too few images for three points, or too many, or time is up, that.
pub(super) fn curve(
    basis: &Basis,
    judge: &Judge,
    candidate: &Candidate,
    wishes: &Wishes,
    in_time: &dyn Fn() -> bool,
    progress: Progress,
) -> Result<std::result::Result<Curve, &'static str>> {
    let (labels, fold) = (judge.labels, &judge.deals[0]);
    if labels.len() > MOST_IMAGES {
        return Ok(Err(MANY));
    }
    let (folds, order) = (count(fold), dealt(labels.len(), wishes));
    let parts: Vec<Nested> = (0..folds).map(|held| Nested::new(judge, held, &order)).collect();
    // A rarer class is missing in small parts, and its images are wrong there, as they would be.
    let least = parts.iter().map(|part| median(part.counts.clone())).min().unwrap_or(0);
    let point = |images: usize, hits: usize| {
        let reached = Reached::Accuracy(hits as f64 / labels.len() as f64);
        // Of none wrong, too, some error is left (Agresti and Coull, one half of each).
        let (n, shrunk) = (labels.len() as f64, (hits as f64 + 0.5) / (labels.len() as f64 + 1.));
        let std_err = (shrunk * (1. - shrunk) / n).sqrt();
        Point { images, reached, std_err }
    };
    let mut points = Vec::new();
    emit(progress, Event::Stage { name: "learning curve", total: (SHARES.len() * folds) as u64 })?;
    for share in SHARES.into_iter().filter(|share| share * least as f64 >= LEAST) {
        let (mut hits, mut images) = (0, 0);
        for part in &parts {
            if !in_time() {
                return Ok(Err(LATE));
            }
            let places = part.first(share, labels);
            match hits_of(basis, judge, candidate, &places, &part.held, progress) {
                Ok(found) => hits += found,
                // So few images may all be alike.
                Err(Error::Train(_)) => return Ok(Err(FEW)),
                Err(other) => return Err(other),
            }
            images += places.len();
            emit(progress, Event::Advance(1))?;
        }
        points.push(point(images / folds, hits));
    }
    let right = |(row, &label): (ArrayView1<f32>, &usize)| argmax(row) == label;
    let all = candidate.logits[0].rows().into_iter().zip(labels).filter(|pair| right(*pair)).count();
    points.push(point(labels.len() - labels.len() / folds, all));
    if points.len() < 3 {
        return Ok(Err(FEW));
    }
    Ok(Ok(Curve::through(points, labels.len(), wishes.seed)))
}

/// The images of a fold, and all others in an order of which parts are the beginnings.
struct Nested {
    held: Vec<usize>,
    order: Vec<usize>,
    /// Images of each class among the others.
    counts: Vec<usize>,
}

impl Nested {
    fn new(judge: &Judge, held: usize, order: &[usize]) -> Nested {
        let fold = &judge.deals[0];
        let order: Vec<usize> = order.iter().copied().filter(|&i| fold[i] != held).collect();
        let mut counts = vec![0usize; judge.classes];
        order.iter().for_each(|&i| counts[judge.labels[i]] += 1);
        Nested { held: (0..fold.len()).filter(|&i| fold[i] == held).collect(), order, counts }
    }

    /// That share of each class.
    fn first(&self, share: f64, labels: &[usize]) -> Vec<usize> {
        let mut seen = vec![0usize; self.counts.len()];
        let mut places = self.order.clone();
        places.retain(|&i| {
            seen[labels[i]] += 1;
            (seen[labels[i]] - 1) as f64 <= share * self.counts[labels[i]] as f64 - 1.
        });
        places
    }
}

/// How many of the images at `held` a head finds that learnt from those at `places`.
fn hits_of(
    basis: &Basis,
    judge: &Judge,
    candidate: &Candidate,
    places: &[usize],
    held: &[usize],
    progress: Progress,
) -> Result<usize> {
    let mut logits = if candidate.kind == Kind::Mlp {
        let (epochs, places) = (candidate.strength, places.to_vec());
        let found =
            Mlp::trained(basis, (judge.labels, judge.classes), places, (judge.seed, judge.device), epochs, progress)?;
        found.logits(held)?
    } else {
        let form = candidate.form_of(places.len(), judge.labels.len());
        let data = (judge.labels, judge.classes);
        let linear = fit(basis, places, data, form, (TOLERANCE, judge.device), progress)?;
        linear.logits(basis.standardised().select(Axis(0), held).view())
    };
    if let Some(shares) = judge.taken_from(candidate) {
        logits -= shares;
    }
    Ok(hits(&logits, judge, held))
}

/// How many of the images at `held` have their highest logit where their class is.
fn hits(logits: &Array2<f32>, judge: &Judge, held: &[usize]) -> usize {
    let right = |(row, &i): (ArrayView1<f32>, &usize)| argmax(row) == judge.labels[i];
    logits.rows().into_iter().zip(held).filter(|pair| right(*pair)).count()
}

/// All images in an order that a seed draws; those of a group stand together, as they would come.
pub(super) fn dealt(images: usize, wishes: &Wishes) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    let group = |i: usize| wishes.groups.get(i).copied().unwrap_or(i) as u64;
    let key = |i: usize| random::uniform(&mut random::stream(wishes.seed, "curve", 0, group(i)));
    let keys: Vec<f64> = (0..images).map(key).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    order
}

fn expected(points: &[Point], images: usize, seed: u64) -> Point {
    let [value, std_err] = told(points, seed, |errors| 1. - power_law(points, errors, images as f64));
    Point { images, reached: points[0].reached.with(value), std_err }
}

/// What twice as many images give more than these.
fn gain(points: &[Point], images: usize, seed: u64) -> [f64; 2] {
    let error = |errors: &[f64], images: usize| power_law(points, errors, images as f64);
    told(points, seed, |errors| error(errors, images) - error(errors, 2 * images))
}

/// What the points' errors tell, and its spread over errors that might have come out as well.
fn told(points: &[Point], seed: u64, of: impl Fn(&[f64]) -> f64) -> [f64; 2] {
    let drawn = |draw: u64| {
        let mut stream = random::stream(seed, "curve", 1, draw);
        let moved = |point: &Point| 1. - (point.reached.value() + point.std_err * random::normal(&mut stream));
        of(&points.iter().map(moved).collect::<Vec<_>>())
    };
    let all: Vec<f64> = (0..DRAWS).map(drawn).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = all.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / all.len() as f64;
    let errors: Vec<f64> = points.iter().map(|point| 1. - point.reached.value()).collect();
    [of(&errors), variance.sqrt()]
}

/// The error at `images` by the curve a + b·n⁻ᶜ, c from 0, that fits the points' errors best: for each asymptote a line through the
/// logarithms.
fn power_law(points: &[Point], errors: &[f64], images: f64) -> f64 {
    let errors: Vec<f64> = errors.iter().map(|error| error.max(1e-6)).collect();
    let least = errors.iter().copied().fold(f64::MAX, f64::min);
    let fit = |asymptote: f64| {
        let line: Vec<(f64, f64)> =
            points.iter().zip(&errors).map(|(p, error)| ((p.images as f64).ln(), (error - asymptote).ln())).collect();
        let count = line.len() as f64;
        let (x, y) = (line.iter().map(|p| p.0).sum::<f64>() / count, line.iter().map(|p| p.1).sum::<f64>() / count);
        let (up, down) =
            line.iter().fold((0., 0.), |(up, down), p| (up + (p.0 - x) * (p.1 - y), down + (p.0 - x).powi(2)));
        let slope = (up / down).min(0.);
        let at = |images: f64| asymptote + (y + slope * (images.ln() - x)).exp();
        let far: f64 = points.iter().zip(&errors).map(|(p, error)| (at(p.images as f64) - error).powi(2)).sum();
        (far, at(images))
    };
    let tried = (0..ASYMPTOTES).map(|step| fit(least * step as f64 / ASYMPTOTES as f64));
    tried.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(least, |(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_surer_than_the_levels_it_lies_between() {
        let point = |(images, accuracy)| Point { images, reached: Reached::Accuracy(accuracy), std_err: 0.02 };
        let points = [(30, 0.7), (60, 0.766), (126, 0.8), (256, 0.825)].map(point);
        let [now, twice] = [320, 640].map(|images| expected(&points, images, 0));
        let [gain, error] = gain(&points, 320, 0);
        assert!((gain - (twice.reached.value() - now.reached.value())).abs() < 1e-12 && gain > 0.);
        // What lifts one level lifts the other.
        assert!(error > 0. && error < twice.std_err.min(now.std_err), "{error} {now:?} {twice:?}");
    }
}
