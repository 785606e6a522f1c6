//! A head's temperature, and the scores by which it is told.

use super::super::{LinearHead, folds};
use super::Kind;
use super::basis::Bases;
use super::candidates::{Candidate, Judge};
use super::choice::{JUDGED, fit, head};
use super::judge::sharpness;
use crate::error::{Error, Result};
use crate::metrics::{of_fold, softmax};
use crate::progress::Progress;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Relative precision of the objective of heads that are judged and forgotten.
const TOLERANCE: f64 = 1e-4;

/// What heads give for images that they did not learn from.
pub(super) struct Calibrated {
    /// The factor of the logits.
    pub(super) sharpness: f64,
    /// Probabilities of the first deal, of each fold at the temperature of all others: that of a fold's own would flatter it.
    pub(super) out_of_fold: Array2<f32>,
    /// The same before the temperature.
    pub(super) uncalibrated: Array2<f32>,
    /// Accuracy, macro-F1 and log-loss of each fold of all deals.
    pub(super) by_fold: Vec<[f64; 3]>,
}

impl Calibrated {
    /// Of a candidate that is taken, on the features by which it was judged; `usual` is [`usual_sharpness`] of its head.
    pub(super) fn new(
        features: (ArrayView2<f32>, &[usize]),
        judge: &Judge,
        (candidate, usual): (&Candidate, Option<f64>),
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<Calibrated> {
        let unseen = unseen(features, judge, (candidate, usual), in_time, progress)?;
        let deals: Vec<&Array2<f32>> = unseen.as_ref().unwrap_or(&candidate.logits).iter().collect();
        let labels = judge.labels;
        let (mut probabilities, mut by_fold) = (Vec::new(), Vec::new());
        for (logits, fold) in deals.iter().zip(judge.deals) {
            let mut sharp = (*logits).clone();
            let parts: Vec<_> = (0..folds::count(fold)).map(|f| apart(labels, fold, f)).collect();
            for (f, [(held, _), (others, _)]) in parts.iter().enumerate() {
                let known: Vec<usize> = judge.known.iter().copied().filter(|&i| fold[i] != f).collect();
                let places = if known.is_empty() { others } else { &known };
                let factor = sharpness(&[logits], labels, places, usual) as f32;
                held.iter().for_each(|&i| sharp.row_mut(i).mapv_inplace(|z| z * factor));
            }
            let found = softmax(sharp.view());
            let figures =
                |[(held, own), _]: &[(Vec<usize>, Vec<usize>); 2]| of_fold(own, found.select(Axis(0), held).view());
            by_fold.extend(parts.iter().map(figures));
            probabilities.push(found);
        }
        Ok(Calibrated {
            sharpness: sharpness(&deals, labels, &judge.known, usual),
            out_of_fold: probabilities.swap_remove(0),
            uncalibrated: softmax(deals[0].view()),
            by_fold,
        })
    }
}

/// The places and labels of a fold's images, and of all others.
fn apart(labels: &[usize], fold: &[usize], f: usize) -> [(Vec<usize>, Vec<usize>); 2] {
    let (held, others): (Vec<usize>, Vec<usize>) = (0..fold.len()).partition(|&i| fold[i] == f);
    [held, others].map(|places| {
        let own = places.iter().map(|&i| labels[i]).collect();
        (places, own)
    })
}

/// The factor with which the score of a training image's class is above the mean of its scores by 2.7 + 1.6·ln(classes), on average over the
/// images. That is about where log-loss was lowest on images of their own of all data that were measured, of 3 to 88 classes with 1 to 10
/// images each (docs/heads.md). `None` where it is not above it. `features`: those that the head was trained on, and more columns maybe.
pub(super) fn usual_sharpness(
    hidden: Option<&LinearHead>,
    head: &LinearHead,
    features: ArrayView2<f32>,
    labels: &[usize],
) -> Result<Option<f64>> {
    let places: Vec<usize> = (0..labels.len()).step_by(labels.len().div_ceil(JUDGED)).collect();
    let rows = features.slice(s![.., ..hidden.unwrap_or(head).weight.ncols()]).select(Axis(0), &places);
    let logits = head.logits(hidden.map(|layer| layer.activated(rows.view())).transpose()?.unwrap_or(rows).view())?;
    let above = |(row, &i): (ArrayView1<f32>, &usize)| f64::from(row[labels[i]] - row.mean().unwrap_or_default());
    let above = logits.rows().into_iter().zip(&places).map(above).sum::<f64>() / places.len() as f64;
    let wanted = 2.7 + 1.6 * (logits.ncols() as f64).ln();
    Ok(Some(wanted / above).filter(|factor| *factor > 0. && factor.is_finite()))
}

/// Of few images, every one's logits in each deal, `[images, classes]`, by heads of the candidate's kind and strength that know nothing
/// of its fold. Those by which heads are compared know by what all images' features are standardised, and by what floor; of few images that
/// is enough to be too sure. Heads of fewer images are not as sure as one of all, or surer (discriminants are): so each one's logits are
/// taken times its usual factor over that of all images' head.
///
/// `None` of many images, of perceptrons, and where the others of a fold are too few for such a head. No deal but the first is begun when
/// time is up.
fn unseen(
    features: (ArrayView2<f32>, &[usize]),
    judge: &Judge,
    (candidate, usual): (&Candidate, Option<f64>),
    in_time: &dyn Fn() -> bool,
    progress: Progress,
) -> Result<Option<Vec<Array2<f32>>>> {
    if judge.labels.len() > JUDGED || candidate.kind == Kind::Mlp {
        return Ok(None);
    }
    let deals = judge.deals[..candidate.logits.len()].iter().enumerate();
    let dealt = |(_, fold): (usize, &Vec<usize>)| unseen_in(features, judge, (candidate, usual), fold, progress);
    match deals.take_while(|(deal, _)| *deal == 0 || in_time()).map(dealt).collect() {
        Err(Error::Train(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// The same of one deal.
fn unseen_in(
    (features, columns): (ArrayView2<f32>, &[usize]),
    judge: &Judge,
    (candidate, usual): (&Candidate, Option<f64>),
    fold: &[usize],
    progress: Progress,
) -> Result<Array2<f32>> {
    let labels = judge.labels;
    let by_others = |f| -> Result<(Vec<usize>, Array2<f32>)> {
        let [(held, _), (others, own)] = apart(labels, fold, f);
        let part = features.select(Axis(0), &others);
        let form = candidate.form_of(others.len(), labels.len());
        let basis = Bases::new(part.view(), columns).first(columns[candidate.taps])?;
        let all: Vec<usize> = (0..own.len()).collect();
        let linear = fit(&basis, &all, (&own, judge.classes), form, (TOLERANCE, judge.device), progress)?;
        let mut head = head(&basis, &linear, false)?;
        if let Some(shares) = judge.taken_from(candidate) {
            head.bias -= shares;
        }
        let own = usual_sharpness(None, &head, part.view(), &own)?;
        let factor = own.zip(usual).map_or(1., |(own, all)| own / all);
        let found = head.logits(features.select(Axis(0), &held).slice(s![.., ..head.weight.ncols()]))?;
        Ok((held, found * factor as f32))
    };
    let found: Vec<_> = (0..folds::count(fold)).into_par_iter().map(by_others).collect::<Result<_>>()?;
    let mut logits = Array2::zeros((labels.len(), judge.classes));
    for (held, found) in found {
        held.iter().zip(found.rows()).for_each(|(&i, row)| logits.row_mut(i).assign(&row));
    }
    Ok(logits)
}
