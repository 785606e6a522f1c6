//! The candidates: their out-of-fold scores, and which of them is taken.

use super::super::folds::count;
use super::basis::Basis;
use super::choice::Form;
use super::closed::{MOST_COORDINATES, Parted};
use super::judge::{Metric, log_loss, mean, sharpness};
use super::{Compared, Kind};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::tensor::Device;
use ndarray::{Array1, Array2};
use std::cmp::Ordering;

/// Of discriminants.
const SHRINKAGES: [f64; 8] = [0.95, 0.85, 0.7, 0.5, 0.3, 0.1, 0.03, 0.01];
/// The place of the one that most data sets need.
pub(super) const USUAL_SHRINKAGE: usize = 2;
/// Values of all folds' covariances that are kept: 1 GiB.
const MOST_VALUES: usize = 1 << 27;
/// The cubes of all folds' covariances' sizes, which their factors take time for, at each of several shrinkages: minutes.
const MOST_WORK: f64 = 6e11;

/// What a head gives for images that it did not learn from.
pub(super) struct Candidate {
    pub(super) kind: Kind,
    pub(super) taps: usize,
    pub(super) features: usize,
    pub(super) strength: Option<f64>,
    pub(super) adjusted: bool,
    pub(super) weighted: bool,
    /// Of regression, parameters on the basis' coordinates that are near to those of all images.
    pub(super) start: Vec<f32>,
    /// For each deal of the images into folds, where time allowed it: `[images, classes]`.
    pub(super) logits: Vec<Array2<f32>>,
    /// The factor of the logits at which their log-loss is lowest.
    pub(super) sharpness: f64,
    /// Each image's part in the metric, the mean over the deals.
    parts: Vec<f64>,
}

impl Candidate {
    pub(super) fn form(&self) -> Form<'_> {
        Form { kind: self.kind, strength: self.strength, weighted: self.weighted, start: &self.start }
    }

    /// The same for a part of all images: a penalty stands against the sum of the losses.
    pub(super) fn form_of(&self, part: usize, all: usize) -> Form<'_> {
        let weaker = if self.kind == Kind::Softmax { all as f64 / part as f64 } else { 1. };
        Form { strength: self.strength.map(|strength| strength * weaker), start: &[], ..self.form() }
    }
}

/// What all candidates are judged on.
pub(super) struct Judge<'a> {
    pub(super) labels: &'a [usize],
    pub(super) classes: usize,
    /// Each image's fold, for each deal.
    pub(super) deals: &'a [Vec<usize>],
    pub(super) metric: Metric,
    /// The logarithm of each class's share, where logits are adjusted by it.
    pub(super) shares: Option<Array1<f32>>,
    /// Whether nothing else is wanted.
    pub(super) balanced: bool,
    /// Of what is drawn.
    pub(super) seed: u64,
    /// Where regressions and perceptrons are computed.
    pub(super) device: &'a Device,
}

impl Judge<'_> {
    /// The heads of a kind in closed form on a basis, `alone` where no other kind is asked for. `start` is the place of the
    /// shrinkage to begin with, and then of the best one.
    pub(super) fn closed(
        &self,
        basis: &Basis,
        taps: usize,
        (kind, alone): (Kind, bool),
        start: &mut usize,
        progress: Progress,
    ) -> Result<Vec<Candidate>> {
        let fits = match kind {
            // Deeper features need to be weighed against each other.
            Kind::Ncm => taps == 0,
            _ => self.vary() && self.in_time(basis, taps == 0 && alone, progress)?,
        };
        if !fits {
            return Ok(Vec::new());
        }
        let deals = if kind == Kind::Ncm { self.deals } else { &self.deals[..self.deals_in_time(basis)] };
        let folds: usize = deals.iter().map(|fold| count(fold)).sum();
        let keep = folds * basis.coordinates().pow(2) <= MOST_VALUES;
        let part = |fold: &Vec<usize>| Parted::new(basis, self.labels, self.classes, fold, kind == Kind::Lda, keep);
        let parted: Vec<Parted> = deals.iter().map(part).collect();
        if kind == Kind::Ncm {
            let logits = parted.iter().map(Parted::nearest_mean).collect::<Result<_>>()?;
            return Ok(self.candidates((kind, false), basis, taps, None, logits));
        }
        match self.shrunk(&parted, *start, progress) {
            Ok((place, logits)) => {
                *start = place;
                Ok(self.candidates((kind, false), basis, taps, Some(SHRINKAGES[place]), logits))
            }
            // Features that are the same for all images of a class, say.
            Err(Error::Train(_)) if !alone => Ok(Vec::new()),
            Err(other) => Err(other),
        }
    }

    /// By how many deals time allows to judge discriminants; by none where a single one takes long.
    fn deals_in_time(&self, basis: &Basis) -> usize {
        let work = count(&self.deals[0]) as f64 * (basis.coordinates() as f64).powi(3);
        ((MOST_WORK / work) as usize).min(self.deals.len())
    }

    /// What would take long, where there are too many covariances of their size.
    pub(super) fn takes_long(&self, basis: &Basis) -> Option<String> {
        let (folds, size) = (count(&self.deals[0]), basis.coordinates());
        let long = size <= MOST_COORDINATES && self.deals_in_time(basis) == 0;
        long.then(|| format!("discriminant analysis on {} features in {folds} folds would take long", basis.features()))
    }

    /// Whether the covariances are of a size that time allows; says where there are too many of them. Where they are all that is
    /// asked for, that is an error.
    fn in_time(&self, basis: &Basis, alone: bool, progress: Progress) -> Result<bool> {
        match self.takes_long(basis) {
            None => Ok(basis.coordinates() <= MOST_COORDINATES),
            Some(what) if alone => Err(Error::Train(format!("{what}; give a lower --cv"))),
            Some(what) => {
                emit(progress, Event::Warning(&format!("{what} and is left out; a lower --cv has it")))?;
                Ok(false)
            }
        }
    }

    /// Whether images of one class are left beside each fold, so that there is a covariance.
    pub(super) fn vary(&self) -> bool {
        let largest = |fold: &Vec<usize>| {
            (0..count(fold)).map(|f| fold.iter().filter(|&&own| own == f).count()).max().unwrap_or(0)
        };
        self.deals.iter().all(|fold| fold.len() - largest(fold) > self.classes)
    }

    /// The place of the shrinkage with the lowest log-loss, and what discriminants give with it: from a first one on in both
    /// directions, as long as it falls.
    fn shrunk(&self, parted: &[Parted], start: usize, progress: Progress) -> Result<(usize, Vec<Array2<f32>>)> {
        let attempt = |place: usize| -> Result<_> {
            let logits = parted.iter().map(|part| part.logits(SHRINKAGES[place])).collect::<Result<Vec<_>>>()?;
            emit(progress, Event::Advance(0))?;
            Ok((logits.iter().map(|logits| self.loss(logits)).sum::<f64>(), place, logits))
        };
        let mut best = attempt(start)?;
        for down in [true, false] {
            // Where one direction was right, the other is wrong.
            while down || best.1 >= start {
                let next = if down { best.1.checked_sub(1) } else { Some(best.1 + 1) };
                let Some(next) = next.filter(|next| *next < SHRINKAGES.len()) else { break };
                let found = attempt(next)?;
                if found.0 >= best.0 {
                    break;
                }
                best = found;
            }
        }
        Ok((best.1, best.2))
    }

    /// As it is, and adjusted by the classes' shares; where their weights did that already, as it is.
    pub(super) fn candidates(
        &self,
        (kind, weighted): (Kind, bool),
        basis: &Basis,
        taps: usize,
        strength: Option<f64>,
        logits: Vec<Array2<f32>>,
    ) -> Vec<Candidate> {
        let deals = logits.len();
        let make = |adjusted: bool, logits: Vec<Array2<f32>>| {
            let sharpness = sharpness(&[&logits[0]], self.labels);
            let mut parts = vec![0.; self.labels.len()];
            for logits in &logits {
                let sharp = logits.mapv(|z| z * sharpness as f32);
                let own = self.metric.parts(sharp.view(), self.labels);
                parts.iter_mut().zip(own).for_each(|(sum, part)| *sum += part / deals as f64);
            }
            let (features, start) = (basis.features(), Vec::new());
            Candidate { kind, taps, features, strength, adjusted, weighted, start, logits, sharpness, parts }
        };
        // Means know nothing of how many images a class has.
        let shares = self.shares.as_ref().filter(|_| kind != Kind::Ncm && !weighted);
        let adjusted = shares.map(|shares| make(true, logits.iter().map(|logits| logits - shares).collect()));
        let plain = (!self.balanced || adjusted.is_none()).then(|| make(false, logits));
        plain.into_iter().chain(adjusted).collect()
    }

    pub(super) fn loss(&self, logits: &Array2<f32>) -> f64 {
        log_loss(logits, self.labels, sharpness(&[logits], self.labels))
    }

    /// How many taps the best one so far takes.
    pub(super) fn best(&self, candidates: &[Candidate]) -> Option<usize> {
        let score = |candidate: &&Candidate| mean(&candidate.parts).0;
        candidates.iter().max_by(|a, b| score(a).total_cmp(&score(b))).map(|candidate| candidate.taps)
    }

    /// The place of the one to take: of those that are not worse than the best by more than one standard error of the
    /// difference the one with the lowest log-loss, which is less subject to chance than counts of hits; a perceptron only where none
    /// that is linear is among them. And all of them for people.
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
                let loss = |logits: &Array2<f32>| log_loss(logits, self.labels, candidate.sharpness);
                Compared {
                    kind: candidate.kind,
                    taps: candidate.taps,
                    features: candidate.features,
                    strength: candidate.strength,
                    adjusted: candidate.adjusted,
                    weighted: candidate.weighted,
                    score: mean(&candidate.parts).0,
                    behind: behind(candidate),
                    accuracy: figures(Metric::Accuracy),
                    macro_f1: figures(Metric::MacroF1),
                    log_loss: candidate.logits.iter().map(loss).sum::<f64>() / candidate.logits.len() as f64,
                }
            })
            .collect();
        let as_good = compared.iter().enumerate().filter(|(_, c)| c.behind[0] <= c.behind[1]);
        let order = |c: &Compared| (c.kind == Kind::Mlp, c.log_loss);
        let place = as_good.min_by(|a, b| order(a.1).partial_cmp(&order(b.1)).unwrap_or(Ordering::Equal));
        (place.map_or(best, |(place, _)| place), compared)
    }
}
