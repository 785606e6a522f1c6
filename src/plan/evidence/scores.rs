//! Which convention is the best, and by how much.

use super::{Candidate, Evidence};

/// Of conventions that are so many standard errors behind the best the commonest is taken.
const NOISE: f64 = 1.;
/// A smaller difference is nothing to choose by, however sure it is: an image of a thousand.
const NEGLIGIBLE: f64 = 0.001;

/// Whether a difference may well be chance, or does not matter.
pub(super) fn is_noise(difference: f64, error: f64) -> bool {
    difference <= (NOISE * error).max(NEGLIGIBLE)
}

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

/// The commonest of those that are not worse than the best but for noise.
pub(super) fn choose(scores: Vec<Scores>, images: usize) -> Option<Evidence> {
    let best = best(&scores)?;
    let near = |other: &Scores| {
        let (behind, error) = difference(&scores[best], other);
        is_noise(behind, error)
    };
    let chosen = scores.iter().position(near).unwrap_or(best);
    // What scores the same for each image is the same thing.
    let differs = |&i: &usize| i != chosen && scores[i].each != scores[chosen].each;
    let others = (0..scores.len()).filter(differs);
    let score = |i: &usize| scores[*i].candidate.score;
    let runner_up = others.max_by(|a, b| score(a).total_cmp(&score(b)));
    let margin = runner_up.map(|other| difference(&scores[chosen], &scores[other]).into());
    let candidates = scores.into_iter().map(|scores| scores.candidate).collect();
    Some(Evidence { images, candidates, chosen, margin, runner_up })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(spec: &str, each: &[f64]) -> Scores {
        let (spec, score) = (spec.into(), mean(each));
        Scores {
            candidate: Candidate { spec, neighbours: 0.5, probe: 0.5, information: None, score },
            each: each.into(),
        }
    }

    /// What is said of conventions, the commonest first, with these scores.
    fn told(each: &[(&str, &[f64])]) -> String {
        choose(each.iter().map(|(spec, each)| scores(spec, each)).collect(), 4).unwrap().told()
    }

    #[test]
    fn what_is_within_noise_is_the_commoner_one() {
        // 0.25 ± 0.25, one standard error, and 0.5 ± 0.29.
        let (low, high, higher) = ([0., 0., 1., 1.], [1., 0., 1., 1.], [1., 1., 1., 1.]);
        let near = told(&[("common", &low), ("rare", &high)]);
        assert!(near.contains("'common' was chosen"), "{near}");
        assert!(near.ends_with("'rare' is 0.250 ± 0.250 ahead, within noise: the commoner one is taken"), "{near}");
        let near = told(&[("common", &high), ("rare", &low)]);
        assert!(near.ends_with("'rare' is 0.250 ± 0.250 behind, within noise: the commoner one is taken"), "{near}");
        let far = told(&[("common", &low), ("rare", &higher)]);
        assert!(far.contains("'rare' was chosen") && far.ends_with("'common' is 0.500 ± 0.289 behind"), "{far}");
        // The same for every image, and so little that it is nothing.
        let little = high.map(|score| score + 1e-5);
        assert!(told(&[("common", &high), ("rare", &little)]).contains("'common' was chosen"));
    }

    #[test]
    fn the_runner_up_is_another_one() {
        let alone = told(&[("common", &[1., 0.]), ("same", &[1., 0.])]);
        assert!(alone.contains("'common' was chosen") && !alone.contains("behind"), "{alone}");
    }
}
