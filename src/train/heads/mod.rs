//! The head that suits the data: several kinds on features of growing depth, compared by cross-validation.

mod basis;
mod candidates;
mod closed;
mod curve;
mod judge;

use super::{LIMIT, LinearHead, TOLERANCE, check, folds, path, whole};
use crate::error::Result;
use crate::metrics::softmax;
use crate::progress::{Event, Progress, emit};
use basis::{Bases, Basis};
use candidates::{Candidate, Judge, USUAL_SHRINKAGE, rows};
use closed::{Linear, discriminants, nearest_mean};
pub use curve::{Curve, Point};
pub use judge::Metric;
use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant};

/// Fewer images are dealt into folds several times, until so many have been judged: chance weighs more there.
const JUDGED: usize = 600;
const MOST_REPEATS: usize = 10;
/// Classes of which the largest has so many times the images of the smallest are taken for unbalanced.
const UNBALANCED: f32 = 1.5;
/// Strengths for data sets with a class of one image, where none can be chosen.
const FEW_SHRINKAGE: f64 = 0.9;
const FEW_STEP: i32 = 4;

/// A kind of head, the simplest first. All of them are linear in the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nearest class mean by the cosine of standardised features.
    Ncm,
    /// Linear discriminant analysis with a shrunk covariance.
    Lda,
    /// Softmax regression with an L2 penalty.
    Softmax,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Kind::Ncm => "nearest class mean",
            Kind::Lda => "discriminant analysis",
            Kind::Softmax => "softmax regression",
        })
    }
}

/// How a head is chosen.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Decides which images share a fold.
    pub seed: u64,
    /// The kind; the best one where `None`.
    pub kind: Option<Kind>,
    /// By what.
    pub metric: Metric,
    /// Folds; fewer where the smallest class has fewer images.
    pub folds: usize,
    /// Whether rare classes are to be chosen as readily as others: logits are adjusted by the classes' shares.
    pub balanced: bool,
    /// Whether a learning curve is wanted.
    pub curve: bool,
    /// After this time no further candidate is begun.
    pub budget: Option<Duration>,
}

impl Default for Wishes {
    /// Seed 0, the best kind by macro-F1 in 5 folds, in any time.
    fn default() -> Self {
        Wishes { seed: 0, kind: None, metric: Metric::MacroF1, folds: 5, balanced: false, curve: false, budget: None }
    }
}

/// A head that was compared, with the figures of images that it did not learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its kind.
    pub kind: Kind,
    /// Tensors before the cut whose features it takes, too.
    pub taps: usize,
    /// How many features that makes.
    pub features: usize,
    /// LDA's shrinkage, or the penalty on the mean loss of softmax regression.
    pub strength: Option<f64>,
    /// Whether the logarithms of the classes' shares were taken from its logits (Menon et al. 2021, arXiv 2007.07314).
    pub adjusted: bool,
    /// The metric that chooses, the higher the better: log-loss is negative.
    pub score: f64,
    /// How much less that is than the best one's, and the standard error of this over the images.
    pub behind: [f64; 2],
    /// Share of images whose class is found.
    pub accuracy: f64,
    /// Mean F1 over the classes.
    pub macro_f1: f64,
    /// Mean −ln(probability of the true class), with the temperature at its best.
    pub log_loss: f64,
}

/// The head that was chosen, and what it was compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// For the raw features of the first columns.
    pub head: LinearHead,
    /// What it is.
    pub kind: Kind,
    /// The place in `compared`.
    pub place: usize,
    /// All candidates, the simplest first.
    pub compared: Vec<Compared>,
    /// Folds of the cross-validation; 0 where a class has one image only, and nothing could be compared.
    pub folds: usize,
    /// How often images were dealt into folds.
    pub repeats: usize,
    /// What logits were divided by, so that the probabilities are as sure as they are right.
    pub temperature: f64,
    /// Every image's probabilities by heads of that kind that did not learn from it, the first time; `[0, classes]` without
    /// folds.
    pub out_of_fold: Array2<f32>,
    /// The same before the temperature.
    pub uncalibrated: Array2<f32>,
    /// Each image's fold, the first time.
    pub fold: Vec<usize>,
    /// How its accuracy grows with the number of images.
    pub curve: Option<Curve>,
}

impl Chosen {
    /// How many tensors before the cut it takes features from.
    pub fn taps(&self) -> usize {
        self.compared.get(self.place).map_or(0, |chosen| chosen.taps)
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        let taps = match self.taps() {
            0 => String::new(),
            1 => " on two depths".into(),
            taps => format!(" on {} depths", taps + 1),
        };
        format!("{}{taps}", self.kind)
    }
}

/// Chooses and fits a head on features `[images, features]`.
///
/// `columns` says how many of the features, from the first on, each depth takes: the cut's alone, then those of one tensor
/// before it more, and so on. Candidates whose `metric` is within one standard error of the best one's (over the images, of
/// the difference) are as good as it; the simplest of them is taken. The same call gives the same bits, but for a budget.
///
/// # Errors
/// Those of [`fit_softmax`](super::fit_softmax).
pub fn choose(
    features: ArrayView2<f32>,
    columns: &[usize],
    labels: &[usize],
    classes: usize,
    wishes: &Wishes,
    progress: Progress,
) -> Result<Chosen> {
    let smallest = check(features, labels, classes, &super::Options::default())?;
    let started = Instant::now();
    let in_time = || wishes.budget.is_none_or(|budget| started.elapsed() < budget);
    let mut bases = Bases::new(features);
    if smallest < 2 {
        return uncompared(&bases.first(columns[0])?, labels, classes, wishes, progress);
    }
    let folds = wishes.folds.min(smallest).max(2);
    let repeats = JUDGED.div_ceil(labels.len()).clamp(1, MOST_REPEATS);
    let deals: Vec<Vec<usize>> = (0..repeats as u64)
        .map(|repeat| folds::stratified(labels, folds, wishes.seed.wrapping_add(repeat << 32)))
        .collect();
    let judge = Judge {
        labels,
        classes,
        deals: &deals,
        metric: wishes.metric,
        shares: shares(labels, classes, wishes.balanced),
        balanced: wishes.balanced,
    };
    let kinds = wishes.kind.map_or(vec![Kind::Ncm, Kind::Lda, Kind::Softmax], |kind| vec![kind]);
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut shrinkage = USUAL_SHRINKAGE;
    // Deep ones differ little from their neighbours.
    let worth = |taps: &usize| *taps <= 2 || taps.is_multiple_of(2) || taps + 1 == columns.len();
    for taps in (0..columns.len()).filter(worth) {
        if taps > 0 && !in_time() {
            break;
        }
        let basis = bases.first(columns[taps])?;
        candidates.extend(judge.closed(&basis, taps, &kinds, &mut shrinkage, progress)?);
        if taps == 0 && kinds.contains(&Kind::Softmax) {
            candidates.extend(judge.regression(&basis, taps, progress)?);
        }
    }
    // Regression takes longest, and what depth is good for the one is good for the other.
    let deepest = judge.best(&candidates).filter(|_| kinds.contains(&Kind::Softmax) && in_time());
    if let Some(taps) = deepest.filter(|taps| *taps > 0) {
        let basis = Bases::new(features).first(columns[taps])?;
        candidates.extend(judge.regression(&basis, taps, progress)?);
    }
    if candidates.is_empty() {
        return uncompared(&Bases::new(features).first(columns[0])?, labels, classes, wishes, progress);
    }
    candidates.sort_by_key(|candidate| (candidate.taps, candidate.kind));
    let (place, compared) = judge.choose(&candidates);
    let candidate = &candidates[place];
    let basis = Bases::new(features).first(columns[candidate.taps])?;
    emit(progress, Event::Stage { name: "fitting the head", total: 1 })?;
    let (kind, strength, view) = (candidate.kind, candidate.strength, (basis.rows.view(), basis.features));
    let mut linear = fit(view, labels, classes, kind, strength, progress)?;
    emit(progress, Event::Advance(1))?;
    if let Some(shares) = judge.shares.as_ref().filter(|_| candidate.adjusted) {
        linear.bias -= &shares.mapv(f64::from);
    }
    linear.weight *= candidate.sharpness;
    linear.bias *= candidate.sharpness;
    let curve = match wishes.curve && in_time() {
        true => curve::curve(&basis, (labels, classes), (kind, strength), &deals[0], wishes.seed, progress)?,
        false => None,
    };
    let sharp = candidate.logits[0].mapv(|z| z * candidate.sharpness as f32);
    Ok(Chosen {
        head: whole(basis.head(&linear.weight, &linear.bias))?,
        kind: candidate.kind,
        place,
        compared,
        folds,
        repeats,
        temperature: 1. / candidate.sharpness,
        out_of_fold: softmax(sharp.view()),
        uncalibrated: softmax(candidate.logits[0].view()),
        fold: deals[0].clone(),
        curve,
    })
}

/// The logarithms of the classes' shares, where they differ enough or are wanted.
fn shares(labels: &[usize], classes: usize, wanted: bool) -> Option<Array1<f32>> {
    let mut counts = Array1::<f32>::zeros(classes);
    labels.iter().for_each(|&label| counts[label] += 1.);
    let (least, most) = counts.iter().fold((f32::MAX, 0f32), |(least, most), &n| (least.min(n), most.max(n)));
    (wanted || most > UNBALANCED * least).then(|| counts.mapv(|n| (n / labels.len() as f32).ln()))
}

/// A head of a kind on rows of a basis, and how many features those stand for. Without a strength it is one that suits few
/// images.
fn fit(
    (coordinates, features): (ArrayView2<f32>, usize),
    labels: &[usize],
    classes: usize,
    kind: Kind,
    strength: Option<f64>,
    progress: Progress,
) -> Result<Linear> {
    match kind {
        Kind::Ncm => Ok(nearest_mean(coordinates, labels, classes)),
        Kind::Lda => discriminants((coordinates, features), labels, classes, strength.unwrap_or(FEW_SHRINKAGE)),
        Kind::Softmax => {
            let rows = rows(coordinates, labels, classes)?;
            let mut model = rows.model(vec![true; labels.len()]);
            let l2 = strength.unwrap_or_else(|| path::strength(features, labels.len(), FEW_STEP));
            let poll = || emit(progress, Event::Advance(0));
            rows.solve(std::slice::from_mut(&mut model), |_| l2, TOLERANCE, LIMIT, poll)?;
            let head = super::head(&model, classes)?;
            Ok(Linear { weight: head.weight.mapv(f64::from), bias: head.bias.mapv(f64::from) })
        }
    }
}

/// Nothing to compare by: a class has one image only.
fn uncompared(basis: &Basis, labels: &[usize], classes: usize, wishes: &Wishes, progress: Progress) -> Result<Chosen> {
    let kind = wishes.kind.unwrap_or(Kind::Ncm);
    let linear = fit((basis.rows.view(), basis.features), labels, classes, kind, None, progress)?;
    Ok(Chosen {
        head: whole(basis.head(&linear.weight, &linear.bias))?,
        kind,
        place: 0,
        compared: Vec::new(),
        folds: 0,
        repeats: 0,
        temperature: 1.,
        out_of_fold: Array2::zeros((0, classes)),
        uncalibrated: Array2::zeros((0, classes)),
        fold: Vec::new(),
        curve: None,
    })
}
