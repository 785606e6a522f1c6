//! A head's temperature, and the scores by which it is told.

use super::super::folds;
use super::Kind;
use super::basis::Bases;
use super::candidates::{Candidate, Judge};
use super::choice::{JUDGED, fit, head};
use super::judge::sharpness;
use crate::error::{Error, Result};
use crate::metrics::{of_fold, softmax};
use crate::progress::Progress;
use ndarray::{Array2, ArrayView2, Axis, s};

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
    /// Of a candidate that is taken, on the features by which it was judged.
    pub(super) fn new(
        features: (ArrayView2<f32>, &[usize]),
        judge: &Judge,
        candidate: &Candidate,
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<Calibrated> {
        let unseen = unseen(features, judge, candidate, in_time, progress)?;
        let deals: Vec<&Array2<f32>> = unseen.as_ref().unwrap_or(&candidate.logits).iter().collect();
        let labels = judge.labels;
        let (mut probabilities, mut by_fold) = (Vec::new(), Vec::new());
        for (logits, fold) in deals.iter().zip(judge.deals) {
            let mut sharp = (*logits).clone();
            let parts: Vec<_> = (0..folds::count(fold)).map(|f| apart(labels, fold, f)).collect();
            for (f, [(held, _), (others, _)]) in parts.iter().enumerate() {
                let known: Vec<usize> = judge.known.iter().copied().filter(|&i| fold[i] != f).collect();
                let places = if known.is_empty() { others } else { &known };
                let factor = sharpness(&[logits], labels, places) as f32;
                held.iter().for_each(|&i| sharp.row_mut(i).mapv_inplace(|z| z * factor));
            }
            let found = softmax(sharp.view());
            let figures =
                |[(held, own), _]: &[(Vec<usize>, Vec<usize>); 2]| of_fold(own, found.select(Axis(0), held).view());
            by_fold.extend(parts.iter().map(figures));
            probabilities.push(found);
        }
        Ok(Calibrated {
            sharpness: sharpness(&deals, labels, &judge.known),
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

/// Of few images, every one's logits in each deal, `[images, classes]`, by heads of the candidate's kind and strength that know nothing
/// of its fold. Those by which heads are compared know by what all images' features are standardised, and by what floor; of few images that
/// is enough to be too sure. Discriminants keep theirs: they are surer the fewer images they have, and would be told to be less sure than
/// is right for one of all images (measured: docs/heads.md).
///
/// `None` elsewhere, and where the others of a fold are too few for such a head. No deal but the first is begun when time is up.
fn unseen(
    features: (ArrayView2<f32>, &[usize]),
    judge: &Judge,
    candidate: &Candidate,
    in_time: &dyn Fn() -> bool,
    progress: Progress,
) -> Result<Option<Vec<Array2<f32>>>> {
    if judge.labels.len() > JUDGED || !(candidate.finds_rare() || candidate.kind == Kind::Softmax) {
        return Ok(None);
    }
    let deals = judge.deals[..candidate.logits.len()].iter().enumerate();
    let dealt = |(_, fold): (usize, &Vec<usize>)| unseen_in(features, judge, candidate, fold, progress);
    match deals.take_while(|(deal, _)| *deal == 0 || in_time()).map(dealt).collect() {
        Err(Error::Train(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// The same of one deal.
fn unseen_in(
    (features, columns): (ArrayView2<f32>, &[usize]),
    judge: &Judge,
    candidate: &Candidate,
    fold: &[usize],
    progress: Progress,
) -> Result<Array2<f32>> {
    let labels = judge.labels;
    let mut logits = Array2::zeros((labels.len(), judge.classes));
    for f in 0..folds::count(fold) {
        let [(held, _), (others, own)] = apart(labels, fold, f);
        let part = features.select(Axis(0), &others);
        let form = candidate.form_of(others.len(), labels.len());
        let basis = Bases::new(part.view(), columns).first(columns[candidate.taps])?;
        let all: Vec<usize> = (0..own.len()).collect();
        let linear = fit(&basis, &all, (&own, judge.classes), form, (TOLERANCE, judge.device), progress)?;
        let head = head(&basis, &linear, false)?;
        let found = head.logits(features.select(Axis(0), &held).slice(s![.., ..head.weight.ncols()]))?;
        held.iter().zip(found.rows()).for_each(|(&i, row)| logits.row_mut(i).assign(&row));
    }
    if let Some(shares) = judge.taken_from(candidate) {
        logits -= shares;
    }
    Ok(logits)
}
