//! From which probability on answers are to be taken.

use super::Chosen;
use crate::metrics::argmax;
use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

/// The normal distribution's 95th percentile.
const Z: f64 = 1.644_853_626_951_472_2;

/// When a head's answer is not to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Abstention {
    /// The share of answers that is to be right.
    pub precision: f64,
    /// The least probability of an answer that is taken.
    pub threshold: f32,
    /// The share of images that are answered then, by heads that did not learn from them.
    pub coverage: f64,
}

/// What a threshold does with images that had no part in it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The images.
    pub images: usize,
    /// The share of them that are answered.
    pub coverage: f64,
    /// The share of these answers that are right; `None` where there is no answer.
    pub precision: Option<f64>,
}

impl Abstention {
    /// How many right answers, and no wrong one, show at least that such a share below 1 is right.
    pub fn fewest(precision: f64) -> usize {
        (precision * Z * Z / (1. - precision)).ceil() as usize
    }
}

impl Answered {
    /// Of images with these labels and probabilities `[images, classes]`, of which none below `threshold` is taken.
    pub fn new(threshold: f32, labels: &[usize], probabilities: ArrayView2<f32>) -> Answered {
        let (mut taken, images) = (answers(labels, probabilities), labels.len());
        taken.retain(|(probability, _)| *probability >= threshold);
        let right = taken.iter().filter(|(_, is_right)| *is_right).count() as f64;
        let precision = (!taken.is_empty()).then(|| right / taken.len() as f64);
        Answered { images, coverage: taken.len() as f64 / images.max(1) as f64, precision }
    }
}

impl Chosen {
    /// The lowest probability from which on `precision` of the answers are right, as images show that the head did not learn from:
    /// Wilson's lower bound of their share (1927; one-sided, 95 %) reaches it. `None` where that is never so. The share itself is no sign:
    /// the threshold lies where chance lifts it.
    pub fn abstention(&self, labels: &[usize], precision: f64) -> Option<Abstention> {
        let (bounds, images) = (self.bounds(labels), labels.len() as f64);
        let (answers, threshold, _) = bounds.into_iter().rfind(|(_, _, bound)| *bound >= precision)?;
        Some(Abstention { precision, threshold, coverage: answers as f64 / images })
    }

    /// With the highest share, in hundredths, that these images show of any answers; `None` where that is none.
    pub fn highest(&self, labels: &[usize]) -> Option<Abstention> {
        let bounds = self.bounds(labels);
        let most = bounds.into_iter().map(|(_, _, bound)| (100. * bound).floor()).fold(0., f64::max);
        (most > 0.).then(|| self.abstention(labels, most / 100.))?
    }

    /// Where images are answered from a probability on: how many, from which, and the bound of the share that is right.
    fn bounds(&self, labels: &[usize]) -> Vec<(usize, f32, f64)> {
        let mut answers = answers(labels, self.out_of_fold.view());
        answers.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut right, mut found) = (0, Vec::new());
        for (i, &(probability, is_right)) in answers.iter().enumerate() {
            right += usize::from(is_right);
            // Images that are as sure are answered together.
            if answers.get(i + 1).is_none_or(|next| next.0 < probability) {
                found.push((i + 1, probability, at_least(right as f64, (i + 1) as f64)));
            }
        }
        found
    }
}

/// How probable each image's most probable class is, and whether it is its own.
fn answers(labels: &[usize], probabilities: ArrayView2<f32>) -> Vec<(f32, bool)> {
    let of = |(row, &label): (ArrayView1<f32>, &usize)| (row[argmax(row)], argmax(row) == label);
    probabilities.rows().into_iter().zip(labels).map(of).collect()
}

/// The lower end of Wilson's one-sided interval of a share.
fn at_least(right: f64, of: f64) -> f64 {
    let (share, square) = (right / of, Z * Z / of);
    (share + square / 2. - (square * (share * (1. - share) + square / 4.)).sqrt()) / (1. + square)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_wilsons() {
        // scipy.stats.binomtest(right, of).proportion_ci(0.9, method="wilson").low
        let scipys = [
            (1., 1., 0.269_865_948_784_054_1),
            (52., 52., 0.950_543_522_954_567),
            (190., 200., 0.918_108_167_081_790_4),
            (0., 7., 0.),
        ];
        for (right, of, bound) in scipys {
            assert!((at_least(right, of) - bound).abs() < 1e-9, "{right} of {of}: {}", at_least(right, of));
        }
        for precision in [0., 0.5, 0.9, 0.95, 0.99] {
            let fewest = Abstention::fewest(precision) as f64;
            assert!(at_least(fewest.max(1.), fewest.max(1.)) >= precision, "{precision} {fewest}");
            assert!(fewest <= 1. || at_least(fewest - 1., fewest - 1.) < precision, "{precision} {fewest}");
        }
        assert_eq!(Abstention::fewest(0.95), 52);
    }
}
