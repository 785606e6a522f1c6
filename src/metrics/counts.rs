//! Figures that depend on how often each class occurs, is predicted, and is predicted rightly.

use super::ratio;

/// What is counted of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Its images.
    pub support: u64,
    /// Images predicted as it.
    pub predicted: u64,
    /// Those that are both.
    pub hits: u64,
}

impl Count {
    pub fn precision(self) -> f64 {
        ratio(self.hits as f64, self.predicted as f64)
    }

    pub fn recall(self) -> f64 {
        ratio(self.hits as f64, self.support as f64)
    }

    pub fn f1(self) -> f64 {
        ratio(2.0 * self.hits as f64, (self.support + self.predicted) as f64)
    }

    /// Whether no image is of it or predicted as it.
    pub fn is_absent(self) -> bool {
        self.support + self.predicted == 0
    }
}

/// The mean over all images of what their classes have.
pub(super) fn weighted(counts: &[Count], figure: impl Fn(Count) -> f64) -> f64 {
    let sum: f64 = counts.iter().map(|&count| count.support as f64 * figure(count)).sum();
    ratio(sum, counts.iter().map(|count| count.support).sum::<u64>() as f64)
}

/// The mean over the classes that images have or are taken for, as scikit-learn has it where it is told no labels.
pub(super) fn macro_mean(counts: &[Count], figure: impl Fn(Count) -> f64) -> f64 {
    super::mean(counts.iter().filter(|count| !count.is_absent()).map(|&count| figure(count)))
}

/// The mean recall of the classes that have images.
pub(super) fn balanced_accuracy(counts: &[Count]) -> f64 {
    super::mean(counts.iter().filter(|count| count.support > 0).map(|count| count.recall()))
}

/// The share of images that are predicted rightly.
pub(super) fn accuracy(counts: &[Count]) -> f64 {
    weighted(counts, Count::recall)
}

/// Images, hits, Σ support·predicted, Σ support², Σ predicted².
fn sums(counts: &[Count]) -> [f64; 5] {
    counts.iter().fold([0.; 5], |[n, hits, both, support, predicted], count| {
        let (s, p) = (count.support as f64, count.predicted as f64);
        [n + s, hits + count.hits as f64, both + s * p, support + s * s, predicted + p * p]
    })
}

/// Cohen's kappa, unweighted: (observed − expected agreement) / (1 − expected agreement); `None` where all are of one class and
/// predicted as it, so that no other agreement is to be expected.
pub(super) fn cohen_kappa(counts: &[Count]) -> Option<f64> {
    let [n, hits, both, ..] = sums(counts);
    (both < n * n).then(|| (hits * n - both) / (n * n - both))
}

/// Matthews' correlation coefficient for several classes (Gorodkin 2004).
pub(super) fn mcc(counts: &[Count]) -> f64 {
    let [n, hits, both, support, predicted] = sums(counts);
    ratio(hits * n - both, ((n * n - support) * (n * n - predicted)).sqrt())
}
