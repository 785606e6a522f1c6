//! The candidates, and their out-of-fold scores.

use super::super::folds::{count, distinct, known};
use super::basis::Basis;
use super::choice::Form;
use super::closed::{MOST_COORDINATES, Parted};
use super::judge::{Metric, log_loss, sharpness};
use super::{Kind, Wishes};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::tensor::Device;
use ndarray::{Array1, Array2};

/// Classes of which the largest has so many times the images of the smallest are taken for unbalanced.
const UNBALANCED: f32 = 1.5;
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
    pub(super) parts: Vec<f64>,
}

impl Candidate {
    pub(super) fn form(&self) -> Form<'_> {
        Form {
            kind: self.kind,
            strength: self.strength,
            alike: self.has_cosines(),
            weighted: self.weighted,
            start: &self.start,
        }
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
    /// The images of classes that have some in several folds of each deal. Of any other class no head can be right on an image without
    /// having seen it, however sure it may be of others.
    pub(super) known: Vec<usize>,
    /// How many classes these have.
    pub(super) found: usize,
    /// The logarithm of each class's share, where logits are adjusted by it.
    pub(super) shares: Option<Array1<f32>>,
    /// Whether nothing else is wanted.
    pub(super) balanced: bool,
    /// Of what is drawn.
    pub(super) seed: u64,
    /// Where regressions and perceptrons are computed.
    pub(super) device: &'a Device,
}

impl<'a> Judge<'a> {
    pub(super) fn new(labels: &'a [usize], classes: usize, deals: &'a [Vec<usize>], wishes: &'a Wishes) -> Judge<'a> {
        let known = known(labels, deals, classes);
        Judge {
            labels,
            classes,
            deals,
            found: distinct(&known.iter().map(|&i| labels[i]).collect::<Vec<_>>()),
            known,
            metric: wishes.metric,
            shares: shares(labels, classes, wishes.balanced),
            balanced: wishes.balanced,
            seed: wishes.seed,
            device: &wishes.device,
        }
    }

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
            let logits = parted.iter().map(|part| part.nearest_mean(self.shares.is_some())).collect::<Result<_>>()?;
            return Ok(self.candidates((kind, false), basis, (taps, None), logits, None));
        }
        match self.shrunk(&parted, *start, progress) {
            Ok((place, logits)) => {
                *start = place;
                let alike = |part: &Parted| part.logits((SHRINKAGES[place], true));
                let alike = self.shares.is_some().then(|| parted.iter().map(alike).collect()).transpose()?;
                Ok(self.candidates((kind, false), basis, (taps, Some(SHRINKAGES[place])), logits, alike))
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
            let logits =
                parted.iter().map(|part| part.logits((SHRINKAGES[place], false))).collect::<Result<Vec<_>>>()?;
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

    /// The logits of each deal less the classes' shares, where these are unequal.
    pub(super) fn adjusted(&self, logits: &[Array2<f32>]) -> Option<Vec<Array2<f32>>> {
        self.shares.as_ref().map(|shares| logits.iter().map(|logits| logits - shares).collect())
    }

    /// What a candidate's heads get taken from their logits: discriminants that count classes alike are made so.
    pub(super) fn taken_from(&self, candidate: &Candidate) -> Option<&Array1<f32>> {
        self.shares.as_ref().filter(|_| candidate.adjusted && !candidate.has_cosines())
    }

    /// A head as it is, and adjusted, where its logits then are given.
    pub(super) fn candidates(
        &self,
        (kind, weighted): (Kind, bool),
        basis: &Basis,
        (taps, strength): (usize, Option<f64>),
        logits: Vec<Array2<f32>>,
        adjusted: Option<Vec<Array2<f32>>>,
    ) -> Vec<Candidate> {
        let deals = logits.len();
        let make = |adjusted: bool, logits: Vec<Array2<f32>>| {
            let sharpness = sharpness(&[&logits[0]], self.labels, &self.known, None);
            let mut parts = vec![0.; self.labels.len()];
            for logits in &logits {
                let sharp = logits.mapv(|z| z * sharpness as f32);
                let own = self.metric.parts(sharp.view(), self.labels);
                parts.iter_mut().zip(own).for_each(|(sum, part)| *sum += part / deals as f64);
            }
            let (features, start) = (basis.features(), Vec::new());
            let made =
                Candidate { kind, taps, features, strength, adjusted, weighted, start, logits, sharpness, parts };
            self.credited(made)
        };
        let adjusted = adjusted.map(|logits| make(true, logits));
        let plain = (!self.balanced || adjusted.is_none()).then(|| make(false, logits));
        plain.into_iter().chain(adjusted).collect()
    }

    pub(super) fn loss(&self, logits: &Array2<f32>) -> f64 {
        log_loss(logits, self.labels, &self.known, sharpness(&[logits], self.labels, &self.known, None))
    }
}

/// The logarithms of the classes' shares, where they differ enough or are wanted.
fn shares(labels: &[usize], classes: usize, wanted: bool) -> Option<Array1<f32>> {
    let mut counts = Array1::<f32>::zeros(classes);
    labels.iter().for_each(|&label| counts[label] += 1.);
    let (least, most) = counts.iter().fold((f32::MAX, 0f32), |(least, most), &n| (least.min(n), most.max(n)));
    (wanted || most > UNBALANCED * least).then(|| counts.mapv(|n| (n / labels.len() as f32).ln()))
}
