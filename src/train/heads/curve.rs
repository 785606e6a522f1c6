//! How figures grow with the number of images, and what more of them would bring.

use super::basis::Basis;
use super::{Kind, fit};
use crate::error::Result;
use crate::metrics::argmax;
use crate::progress::{Event, Progress, emit, silent};
use crate::random;
use ndarray::Axis;
use serde::{Deserialize, Serialize};

/// Shares of the training images, nested in each other.
const SHARES: [f64; 4] = [0.125, 0.25, 0.5, 1.];
/// Asymptotes that are tried, as shares of the smallest error.
const ASYMPTOTES: usize = 20;
/// Curves through errors as they might have come out as well.
const DRAWS: u64 = 200;

/// Accuracies by the number of training images, and where they lead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// From few to many.
    pub points: Vec<Point>,
    /// What twice, and four times, as many images would give, by the power law a + b·n⁻ᶜ of the errors (Cortes et al. 1993).
    pub expected: Vec<Point>,
}

/// An accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Training images.
    pub images: usize,
    /// Share of images that were not trained on whose class is found.
    pub accuracy: f64,
    /// Its standard error; of what is expected, the spread over curves through errors that might have come out as well.
    pub std_err: f64,
}

/// The curve of a head of this kind and strength. `fold` says which images are judged together: heads learn from growing parts
/// of all the others. `None` where the smallest part would lack a class.
pub(super) fn curve(
    basis: &Basis,
    (labels, classes): (&[usize], usize),
    (kind, strength): (Kind, Option<f64>),
    fold: &[usize],
    seed: u64,
    progress: Progress,
) -> Result<Option<Curve>> {
    let folds = fold.iter().max().map_or(0, |last| last + 1);
    let order = dealt(labels, seed);
    let mut points = Vec::new();
    emit(progress, Event::Stage { name: "learning curve", total: (SHARES.len() * folds) as u64 })?;
    for share in SHARES {
        let (mut hits, mut images) = (0usize, 0usize);
        for held in 0..folds {
            // The rank of an image among those of its class that are not held out.
            let mut seen = vec![0usize; classes];
            let mut counts = vec![0usize; classes];
            order.iter().filter(|&&i| fold[i] != held).for_each(|&i| counts[labels[i]] += 1);
            let kept = |class: usize, rank: usize| (rank as f64) < share * counts[class] as f64;
            let mut places = Vec::new();
            for &i in order.iter().filter(|&&i| fold[i] != held) {
                if kept(labels[i], seen[labels[i]]) {
                    places.push(i);
                }
                seen[labels[i]] += 1;
            }
            if share * (*counts.iter().min().unwrap_or(&0) as f64) < 2. {
                break;
            }
            images += places.len();
            let own: Vec<usize> = places.iter().map(|&i| labels[i]).collect();
            // A penalty stands against the sum of the losses.
            let weaker = if kind == Kind::Softmax { labels.len() as f64 / own.len() as f64 } else { 1. };
            let strength = strength.map(|strength| strength * weaker);
            let rows = basis.rows.select(Axis(0), &places);
            let linear = fit((rows.view(), basis.features), &own, classes, kind, strength, &silent)?;
            let judged: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] == held).collect();
            let logits = linear.logits(basis.rows.select(Axis(0), &judged).view());
            hits += logits.rows().into_iter().zip(&judged).filter(|(row, i)| argmax(*row) == labels[**i]).count();
            emit(progress, Event::Advance(1))?;
        }
        if images > 0 {
            let accuracy = hits as f64 / labels.len() as f64;
            let std_err = (accuracy * (1. - accuracy) / labels.len() as f64).sqrt();
            points.push(Point { images: images / folds, accuracy, std_err });
        }
    }
    let Some(last) = points.last().filter(|_| points.len() >= 3) else { return Ok(None) };
    let more = [2, 4].map(|times| times * last.images);
    let expected = more.map(|images| expected(&points, images, seed)).to_vec();
    Ok(Some(Curve { points, expected }))
}

/// All images in an order that a seed draws, the classes in turn.
fn dealt(labels: &[usize], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let key = |i: usize| random::uniform(&mut random::stream(seed, "curve", 0, i as u64));
    let keys: Vec<f64> = (0..labels.len()).map(key).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    order
}

fn expected(points: &[Point], images: usize, seed: u64) -> Point {
    let at = |points: &[Point]| 1. - power_law(points, images as f64);
    let drawn = |draw: u64| {
        let mut stream = random::stream(seed, "curve", 1, draw);
        let mut normal = || {
            let (a, b) = (1. - random::uniform(&mut stream), random::uniform(&mut stream));
            (-2. * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
        };
        let moved = |point: &Point| Point { accuracy: point.accuracy + point.std_err * normal(), ..*point };
        at(&points.iter().map(moved).collect::<Vec<_>>())
    };
    let all: Vec<f64> = (0..DRAWS).map(drawn).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = all.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / all.len() as f64;
    Point { images, accuracy: at(points), std_err: variance.sqrt() }
}

/// The error at `images` by the curve a + b·n⁻ᶜ, c from 0, that fits the errors best: for each asymptote a line through the
/// logarithms.
fn power_law(points: &[Point], images: f64) -> f64 {
    let errors: Vec<f64> = points.iter().map(|point| (1. - point.accuracy).max(1e-6)).collect();
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
