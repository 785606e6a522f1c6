//! Heads for several labels at once, and for numbers: how strong, and on which depths.

use super::super::softmax::Truth;
use super::super::{LIMIT, LinearHead, TOLERANCE, folds, scale, whole};
use super::attempts::{Attempt, Fitted, compare, logistic, ridge};
use super::basis::{Bases, Basis};
use super::choice::repeats;
use super::closed::MOST_COORDINATES;
use super::curve::Curve;
use super::depths::worth;
use super::grown::Grown;
use super::regressions::rows;
use super::ridge::has_time;
use super::thresholds::thresholds;
use super::{FOLDS, Tried, Wishes, depths_named};
use crate::data::{Task, strata};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::tensor::Device;
use ndarray::{Array2, ArrayView2, Axis};
use std::time::Instant;

/// Images by which depths are compared.
const SAMPLE: usize = 1500;

/// The head that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Several {
    /// What it gives.
    pub task: Task,
    /// For the raw features of the first columns.
    pub head: LinearHead,
    /// The place in `compared`.
    pub place: usize,
    /// By growing depth.
    pub compared: Vec<Tried>,
    /// Folds of the cross-validation; 0 where each image was left out by itself.
    pub folds: usize,
    /// How often images were dealt into folds.
    pub repeats: usize,
    /// Every image's probabilities or values by heads that did not learn from it: `[images, labels or targets]`
    pub out_of_fold: Array2<f32>,
    /// Each image's fold, the first time; empty without folds.
    pub fold: Vec<usize>,
    /// Both of each further time that the images were dealt into folds.
    pub further: Vec<(Vec<usize>, Array2<f32>)>,
    /// The probability from which on a label is given, at which the F1 of `out_of_fold` is best; none for targets.
    pub thresholds: Vec<f32>,
    /// How its mean average precision, or mean R² over the targets, grows with the number of images, where that was wanted, or why
    /// there is no telling.
    pub curve: Option<std::result::Result<Curve, &'static str>>,
}

impl Several {
    /// How many tensors before the cut it takes features from.
    pub fn taps(&self) -> usize {
        self.compared[self.place].taps
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        format!("{}{}", kind(self.task), depths_named(self.taps()))
    }
}

/// The kind of head for a task, for people.
pub fn kind(task: Task) -> &'static str {
    match task {
        Task::Multiclass => "softmax regression",
        Task::Multilabel => "logistic regression of each label",
        Task::Regression => "ridge regression",
    }
}

/// Fits a head on features `[images, features]` for `truths` `[images, labels or targets]`: labels of 1 or 0, each with an L2
/// logistic regression, or numbers, with ridge regression. `columns` as for [`super::choose`]; of what is as good as the best
/// within one standard error of the difference, the head of the fewest depths is taken. The same call gives the same bits, but
/// for a budget.
///
/// # Errors
/// [`Error::Train`] for features that are not finite, too many of them for regression, fewer than two images, or truths that do not fit;
/// [`Error::Interrupted`].
pub fn choose_several(
    features: ArrayView2<f32>,
    columns: &[usize],
    truths: ArrayView2<f32>,
    task: Task,
    wishes: &Wishes,
    progress: Progress,
) -> Result<Several> {
    check(features, truths)?;
    has_time(task, truths.nrows(), columns[0])?;
    let within = |&&columns: &&usize| columns.min(truths.nrows()) <= MOST_COORDINATES;
    let columns = &columns[..columns[1..].iter().take_while(within).count() + 1];
    let started = Instant::now();
    let in_time = || wishes.budget.is_none_or(|budget| started.elapsed() < budget);
    let tried = depths(features, columns, (task, truths), (wishes, &in_time), progress)?;
    let deals = match task {
        Task::Regression if wishes.groups.is_empty() && wishes.folds.is_none() => Vec::new(),
        _ => deals(task, truths, wishes),
    };
    let attempt = |basis: &Basis, taps: usize| match task {
        Task::Multilabel => logistic(basis, taps, truths, (&deals, &wishes.device), &in_time, progress),
        _ => ridge(basis, taps, truths, &deals, (&in_time, progress)),
    };
    let mut attempts = attempts((features, columns), tried, attempt, &in_time, ("comparing heads", progress))?;
    let (place, compared) = compare(&attempts);
    let chosen = attempts.swap_remove(place);
    let basis = Bases::new(features, columns).first(columns[chosen.taps])?;
    emit(progress, Event::Stage { name: "fitting the head", total: 1 })?;
    let (weight, bias) = match chosen.fitted {
        Some(fitted) => fitted,
        None => fit(&basis, truths, chosen.strength, &wishes.device, progress)?,
    };
    emit(progress, Event::Advance(1))?;
    let (repeats, mut told) = (chosen.out_of_fold.len(), chosen.out_of_fold.into_iter());
    let out_of_fold = told.next().expect("it was judged");
    let thresholds = match task {
        Task::Multilabel => thresholds(truths, out_of_fold.view()),
        _ => Vec::new(),
    };
    let grown = Grown { basis: &basis, task, truths, strength: chosen.strength, out_of_fold: out_of_fold.view() };
    let fold = deals.first().map_or(&[][..], Vec::as_slice);
    let curve = wishes.curve.then(|| grown.curve(fold, wishes, &in_time, progress)).transpose()?;
    Ok(Several {
        task,
        head: whole(basis.head(&weight, &bias)?)?,
        place,
        compared,
        folds: deals.first().map_or(0, |fold| folds::count(fold)),
        repeats,
        out_of_fold,
        fold: fold.to_vec(),
        further: deals.into_iter().skip(1).zip(told).collect(),
        thresholds,
        curve,
    })
}

fn check(features: ArrayView2<f32>, truths: ArrayView2<f32>) -> Result<()> {
    scale::check_finite(features)?;
    let images = truths.nrows();
    if features.nrows() == images && images > 1 && truths.ncols() > 0 && features.ncols() > 0 {
        return Ok(());
    }
    let what = format!("{:?} features for {:?} labels", features.dim(), truths.dim());
    Err(Error::Train(format!("{what}; at least two images are needed")))
}

/// One on each of these depths, as long as there is time.
fn attempts(
    (features, columns): (ArrayView2<f32>, &[usize]),
    tried: Vec<usize>,
    attempt: impl Fn(&Basis, usize) -> Result<Attempt>,
    in_time: &dyn Fn() -> bool,
    (name, progress): (&'static str, Progress),
) -> Result<Vec<Attempt>> {
    emit(progress, Event::Stage { name, total: tried.len() as u64 })?;
    let (mut bases, mut attempts) = (Bases::new(features, columns), Vec::new());
    for taps in tried {
        if taps > 0 && !in_time() {
            break;
        }
        attempts.push(attempt(&bases.first(columns[taps])?, taps)?);
        emit(progress, Event::Advance(1))?;
    }
    Ok(attempts)
}

/// How the images are dealt into folds: small sets several times.
fn deals(task: Task, truths: ArrayView2<f32>, wishes: &Wishes) -> Vec<Vec<usize>> {
    let (images, strata) = (truths.nrows(), strata(task, truths));
    // Regression is judged once, unless folds are asked for: its own are whole parts of one solution.
    let once = task == Task::Regression && wishes.folds.is_none();
    let repeats = if once { 1 } else { repeats(images, wishes) };
    let most = if wishes.groups.is_empty() { images } else { folds::distinct(&wishes.groups) };
    let folds = wishes.folds.unwrap_or(FOLDS).min(most).max(2);
    folds::deals(&strata, &wishes.groups, folds, wishes.seed, repeats)
}

/// The depths that are worth a comparison: the cut alone, and the one at which ridge regression is best, on a part of many
/// images. Also of labels, taken for numbers: regression on them is what discriminants are for classes.
fn depths(
    features: ArrayView2<f32>,
    columns: &[usize],
    (task, truths): (Task, ArrayView2<f32>),
    (wishes, in_time): (&Wishes, &dyn Fn() -> bool),
    progress: Progress,
) -> Result<Vec<usize>> {
    let tried = worth(columns.len());
    if tried.len() == 1 {
        return Ok(tried);
    }
    let parts = truths.nrows().div_ceil(SAMPLE);
    let part = folds::stratified(&vec![0; truths.nrows()], parts, wishes.seed);
    let own: Vec<usize> = (0..part.len()).filter(|&i| part[i] == 0).collect();
    let (features, truths) = (features.select(Axis(0), &own), truths.select(Axis(0), &own));
    // What an image's own group tells of it is nothing that the depth is to be chosen by.
    let groups: Vec<usize> = own.iter().filter_map(|&i| wishes.groups.get(i).copied()).collect();
    let deals = match folds::distinct(&groups) {
        0 => Vec::new(),
        1 => return Ok(vec![0]),
        // One will do.
        _ => deals(task, truths.view(), &Wishes { groups, ..wishes.clone() })[..1].to_vec(),
    };
    let attempt = |basis: &Basis, taps: usize| ridge(basis, taps, truths.view(), &deals, (in_time, progress));
    let attempts = attempts((features.view(), columns), tried, attempt, in_time, ("comparing depths", progress))?;
    let best = attempts[compare(&attempts).0].taps;
    Ok(if best == 0 { vec![0] } else { vec![0, best] })
}

/// Logistic regression of all images. A label that no image has, or all have, tells nothing: its probability is that of one
/// more image that is as likely to have it as not.
fn fit(basis: &Basis, truths: ArrayView2<f32>, strength: f64, on: &Device, progress: Progress) -> Result<Fitted> {
    let (images, labels) = truths.dim();
    let rows = rows(basis.rows()?, Truth::Labels(truths), labels, on)?;
    let mut model = rows.model(vec![true; images]);
    let poll = || emit(progress, Event::Advance(0));
    rows.solve(std::slice::from_mut(&mut model), |_| strength, TOLERANCE, LIMIT, poll)?;
    let head = super::super::head(&model, labels)?;
    let (mut weight, mut bias) = (head.weight.mapv(f64::from), head.bias.mapv(f64::from));
    for (label, column) in truths.columns().into_iter().enumerate() {
        let own = f64::from(column.sum());
        if own == 0. || own == images as f64 {
            weight.row_mut(label).fill(0.);
            bias[label] = ((own + 0.5) / (images as f64 - own + 0.5)).ln();
        }
    }
    Ok((weight, bias))
}
