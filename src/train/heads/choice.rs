//! Which heads are tried on which depths, and the one that is taken.

use super::super::path::{self, MOST_LOGITS};
use super::super::softmax::Truth;
use super::super::{LIMIT, LinearHead, TOLERANCE, check, folds, whole};
use super::basis::{Bases, Basis, at};
use super::calibrate::{Calibrated, usual_sharpness};
use super::candidates::{Candidate, Judge, USUAL_SHRINKAGE};
use super::closed::{Linear, MOST_COORDINATES, discriminants, nearest_mean};
use super::depths::depths;
use super::mlp::Mlp;
use super::regressions::{has_room, rows};
use super::uncompared::{ONE_GROUP, SINGLE, uncompared, unjudged};
use super::{Chosen, FOLDS, Kind, Wishes, curve};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::tensor::Device;
use ndarray::ArrayView2;
use std::time::Instant;

/// Fewer images are dealt into folds several times, until so many have been judged: chance weighs more there.
pub(super) const JUDGED: usize = 600;
const MOST_REPEATS: usize = 10;
/// Images from which on a perceptron is tried beside heads that take less time: of fewer it hardly learns more.
const MANY: usize = 5000;
/// Strengths for data sets with a class of one image, where none can be chosen.
const FEW_SHRINKAGE: f64 = 0.9;
const FEW_STEP: i32 = 4;

/// Chooses and fits a head on features `[images, features]`.
///
/// `columns` says how many of the features, from the first on, each depth takes: the cut's alone, then those of one tensor
/// before it more, and so on. Candidates whose `metric` is within one standard error of the best one's (over the images, of
/// the difference) are as good as it; of them the one with the lowest log-loss is taken, a perceptron where none else is among
/// them. The same call gives the same bits, but for a budget.
///
/// # Errors
/// Those of [`fit_softmax`](crate::train::fit_softmax).
pub fn choose(
    features: ArrayView2<f32>,
    columns: &[usize],
    labels: &[usize],
    classes: usize,
    wishes: &Wishes,
    progress: Progress,
) -> Result<Chosen> {
    check(features, labels, classes, &super::super::Options::default())?;
    let started = Instant::now();
    let in_time = || wishes.budget.is_none_or(|budget| started.elapsed() < budget);
    let first = || Bases::new(features, columns).first(columns[0]);
    let deals = deals(labels, classes, wishes);
    if deals.is_empty() {
        let why = if wishes.groups.is_empty() { SINGLE } else { ONE_GROUP };
        return uncompared(why, (features, &first()?), (labels, classes), wishes, progress);
    }
    let judge = Judge::new(labels, classes, &deals, wishes);
    let (mut candidates, kept) = tried(features, columns, &judge, wishes, &in_time, progress)?;
    if candidates.is_empty() {
        let why = unjudged(wishes, judge.vary());
        return uncompared(why, (features, &first()?), (labels, classes), wishes, progress);
    }
    // Whatever depths a head takes that is linear in them, it is simpler than one that is not.
    candidates.sort_by_key(|candidate| (candidate.kind == Kind::Mlp, candidate.taps, candidate.kind));
    let (place, compared) = judge.choose(&candidates);
    let candidate = &candidates[place];
    let basis = basis_of(kept, candidate.taps, features, columns)?;
    emit(progress, Event::Stage { name: "fitting the head", total: 1 })?;
    let (hidden, mut linear) = trained(&basis, labels, classes, candidate.form(), wishes, progress)?;
    emit(progress, Event::Advance(1))?;
    if let Some(shares) = judge.taken_from(candidate) {
        linear.bias -= &shares.mapv(f64::from);
    }
    let plain = head(&basis, &linear, hidden.is_some())?;
    // Regression is as sure as its log-loss wants; its few steps of many images in the folds say little of that.
    let usual = match candidate.kind == Kind::Softmax && labels.len() > JUDGED {
        true => Some(1.),
        false => usual_sharpness(hidden.as_ref(), &plain, features, labels)?,
    };
    let told = Calibrated::new((features, columns), &judge, (candidate, usual), &in_time, progress)?;
    linear.weight *= told.sharpness;
    linear.bias *= told.sharpness;
    let curve = || curve::curve(&basis, &judge, candidate, wishes, &in_time, progress);
    let curve = wishes.curve.then(curve).transpose()?;
    Ok(Chosen {
        head: head(&basis, &linear, hidden.is_some())?,
        hidden,
        kind: candidate.kind,
        place,
        compared,
        uncompared: None,
        folds: folds::count(&deals[0]),
        repeats: candidate.logits.len(),
        temperature: 1. / told.sharpness,
        out_of_fold: told.out_of_fold,
        uncalibrated: told.uncalibrated,
        fold: deals[0].clone(),
        by_fold: told.by_fold,
        curve,
    })
}

/// Each image's fold, for each deal; none where most classes, and most images, are of classes that no fold can judge.
pub(super) fn deals(labels: &[usize], classes: usize, wishes: &Wishes) -> Vec<Vec<usize>> {
    let counts = folds::separate(labels, &wishes.groups, classes);
    let judged = labels.iter().filter(|&&label| counts[label] > 1).count();
    let several: Vec<usize> = counts.iter().copied().filter(|&count| count > 1).collect();
    if 2 * several.len() < classes && (2 * judged < labels.len() || several.len() < 2) {
        return Vec::new();
    }
    let folds = folds::at_most(wishes.folds.unwrap_or(FOLDS), several);
    folds::deals(labels, &wishes.groups, folds, wishes.seed, repeats(labels.len(), wishes))
}

/// How often so many images are dealt into folds: few several times, and any twice at least where folds are asked for.
pub(super) fn repeats(images: usize, wishes: &Wishes) -> usize {
    let least = if wishes.folds.is_some() { 2 } else { 1 };
    JUDGED.div_ceil(images).clamp(least, MOST_REPEATS)
}

/// A basis, and how many taps it takes.
type Kept = Option<(usize, Basis)>;

/// The kept basis, where it takes so many taps, or it is made.
fn basis_of(kept: Kept, taps: usize, features: ArrayView2<f32>, columns: &[usize]) -> Result<Basis> {
    match kept {
        Some((own, basis)) if own == taps => Ok(basis),
        other => {
            drop(other);
            Bases::new(features, columns).first(columns[taps])
        }
    }
}

/// The kinds that are compared on the same features, of which the cut has so many.
fn kinds(judge: &Judge, features: usize, wishes: &Wishes, progress: Progress) -> Result<Vec<Kind>> {
    let mut kinds = match wishes.kind {
        Some(kind) => vec![kind],
        None if wishes.beginning => vec![Kind::Lda, Kind::Softmax],
        None => vec![Kind::Ncm, Kind::Lda, Kind::Softmax],
    };
    let (coordinates, alone) = (features.min(judge.labels.len()), wishes.kind.is_some());
    if kinds.contains(&Kind::Softmax) && !has_room(judge, coordinates, alone, MOST_LOGITS, progress)? {
        kinds.retain(|kind| *kind != Kind::Softmax);
    }
    Ok(kinds)
}

/// The heads that are worth a comparison, on the depths that are, and a basis that may be wanted again.
fn tried(
    features: ArrayView2<f32>,
    columns: &[usize],
    judge: &Judge,
    wishes: &Wishes,
    in_time: &dyn Fn() -> bool,
    progress: Progress,
) -> Result<(Vec<Candidate>, Kept)> {
    let labels = judge.labels;
    let within = |&&columns: &&usize| columns.min(labels.len()) <= MOST_COORDINATES;
    let columns = &columns[..columns[1..].iter().take_while(within).count() + 1];
    let alone = wishes.kind.is_some();
    let kinds = kinds(judge, columns[0], wishes, progress)?;
    let (mut bases, mut candidates) = (Bases::new(features, columns), Vec::new());
    let (mut shrinkage, mut kept) = (USUAL_SHRINKAGE, None);
    let depths = depths(features, columns, judge, wishes, progress)?;
    emit(progress, Event::Stage { name: "comparing heads", total: depths.len() as u64 + 1 })?;
    for taps in depths {
        if taps > 0 && !in_time() {
            break;
        }
        let basis = bases.first(columns[taps])?;
        for &kind in &kinds {
            if !candidates.is_empty() && !in_time() {
                break;
            }
            candidates.extend(match kind {
                Kind::Ncm | Kind::Lda => judge.closed(&basis, taps, (kind, alone), &mut shrinkage, progress)?,
                Kind::Softmax if taps == 0 => judge.regression(&basis, taps, in_time, progress)?,
                _ => Vec::new(),
            });
        }
        // What takes long to make again are products of few images.
        if basis.gram().is_some() && judge.best(&candidates) == Some(taps) {
            kept = Some((taps, basis));
        }
        emit(progress, Event::Advance(1))?;
    }
    // Regression takes longest, and what depth is good for the one is good for the other.
    let deepest = judge.best(&candidates).filter(|_| kinds.contains(&Kind::Softmax) && in_time());
    if let Some(taps) = deepest.filter(|taps| *taps > 0) {
        let basis = basis_of(kept, taps, features, columns)?;
        candidates.extend(judge.regression(&basis, taps, in_time, progress)?);
        kept = Some((taps, basis));
    }
    let suits = wishes.kind.is_none() && !wishes.beginning && labels.len() >= MANY;
    if wishes.kind == Some(Kind::Mlp) || suits && in_time() {
        let taps = judge.best(&candidates).unwrap_or(0);
        let basis = basis_of(kept, taps, features, columns)?;
        match judge.perceptrons(&basis, taps, in_time, progress) {
            // Features that are far out in some images, say.
            Err(Error::Train(_)) if !candidates.is_empty() => {}
            found => candidates.extend(found?),
        }
        kept = Some((taps, basis));
    }
    emit(progress, Event::Advance(1))?;
    Ok((candidates, kept))
}

/// A head of all images on a basis: the hidden layer for raw features, where it has one, and the last.
pub(super) fn trained(
    basis: &Basis,
    labels: &[usize],
    classes: usize,
    form: Form,
    wishes: &Wishes,
    progress: Progress,
) -> Result<(Option<LinearHead>, Linear)> {
    let all: Vec<usize> = (0..labels.len()).collect();
    if form.kind != Kind::Mlp {
        return Ok((None, fit(basis, &all, (labels, classes), form, (TOLERANCE, &wishes.device), progress)?));
    }
    let found = Mlp::trained(basis, (labels, classes), all, (wishes.seed, &wishes.device), form.strength, progress)?;
    let [hidden, last] = found.layers()?;
    let last = Linear { weight: last.weight.mapv(f64::from), bias: last.bias.mapv(f64::from) };
    Ok((Some(whole(basis.fold(&hidden))?), last))
}

/// A last layer as it is stored: for raw features, where none is before it.
pub(super) fn head(basis: &Basis, last: &Linear, behind_hidden: bool) -> Result<LinearHead> {
    whole(match behind_hidden {
        true => last.stored(),
        false => basis.fold(&last.stored()),
    })
}

/// What a head is, but for its weights.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    pub(super) kind: Kind,
    /// One that suits few images where `None`.
    pub(super) strength: Option<f64>,
    /// Whether discriminants count classes alike.
    pub(super) alike: bool,
    pub(super) weighted: bool,
    /// Parameters that a regression begins with, if any.
    pub(super) start: &'a [f32],
}

/// A head that learns from the images at `places` of a basis; regressions to a tolerance, on a device.
pub(super) fn fit(
    basis: &Basis,
    places: &[usize],
    (labels, classes): (&[usize], usize),
    Form { kind, strength, alike, weighted, start }: Form,
    (tolerance, device): (f64, &Device),
    progress: Progress,
) -> Result<Linear> {
    let own: Vec<usize> = places.iter().map(|&i| labels[i]).collect();
    match kind {
        Kind::Ncm => Ok(nearest_mean(at(basis.standardised(), places).view(), &own, classes)),
        Kind::Lda => discriminants(basis, places, &own, classes, (strength.unwrap_or(FEW_SHRINKAGE), alike)),
        Kind::Softmax => {
            let mut rows = rows(at(basis.rows()?, places).view(), Truth::Classes(&own), classes, device)?;
            rows.balanced = weighted;
            let mut model = rows.model(vec![true; own.len()]);
            if !start.is_empty() {
                model.parameters.copy_from_slice(start);
            }
            let l2 = strength.unwrap_or_else(|| path::strength(basis.features(), own.len(), FEW_STEP));
            let poll = || emit(progress, Event::Advance(0));
            rows.solve(std::slice::from_mut(&mut model), |_| l2, tolerance, LIMIT, poll)?;
            let head = super::super::head(&model, classes)?;
            let weight = basis.spread(&head.weight.mapv(f64::from))?;
            Ok(Linear { weight: weight.mapv(f64::from), bias: head.bias.mapv(f64::from) })
        }
        Kind::Mlp => unreachable!("it is not linear in the features"),
    }
}
