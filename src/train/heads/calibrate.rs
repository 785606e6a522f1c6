//! Scores by which a head's temperature is told.

use super::super::folds;
use super::Kind;
use super::basis::Bases;
use super::candidates::{Candidate, Judge};
use super::choice::{JUDGED, fit, head};
use super::judge::sharpness;
use crate::error::{Error, Result};
use crate::metrics::softmax;
use crate::progress::Progress;
use ndarray::{Array2, ArrayView2, Axis, s};

/// Relative precision of the objective of heads that are judged and forgotten.
const TOLERANCE: f64 = 1e-4;

/// Probabilities of each fold at the temperature of all others: that of a fold's own would flatter it.
pub(super) fn calibrated(logits: &Array2<f32>, labels: &[usize], fold: &[usize]) -> Array2<f32> {
    let mut sharp = logits.clone();
    for f in 0..folds::count(fold) {
        let others: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] != f).collect();
        let own: Vec<usize> = others.iter().map(|&i| labels[i]).collect();
        let factor = sharpness(&logits.select(Axis(0), &others), &own) as f32;
        (0..fold.len()).filter(|&i| fold[i] == f).for_each(|i| sharp.row_mut(i).mapv_inplace(|z| z * factor));
    }
    softmax(sharp.view())
}

/// Of few images, every one's logits, `[images, classes]`, by heads of the candidate's kind and strength that know nothing of its
/// fold. Those by which heads are compared know by what all images' features are standardised, and by what floor; of few images that
/// is enough to be too sure. Discriminants keep theirs: they are surer the fewer images they have, and would be told to be less sure than
/// is right for one of all images (measured: docs/heads.md).
///
/// `None` elsewhere, and where the others of a fold are too few for such a head.
pub(super) fn unseen(
    (features, columns): (ArrayView2<f32>, &[usize]),
    judge: &Judge,
    candidate: &Candidate,
    progress: Progress,
) -> Result<Option<Array2<f32>>> {
    let (labels, fold) = (judge.labels, &judge.deals[0]);
    if labels.len() > JUDGED || !matches!(candidate.kind, Kind::Ncm | Kind::Softmax) {
        return Ok(None);
    }
    let mut logits = Array2::zeros((labels.len(), judge.classes));
    for f in 0..folds::count(fold) {
        let (held, others): (Vec<usize>, Vec<usize>) = (0..fold.len()).partition(|&i| fold[i] == f);
        let own: Vec<usize> = others.iter().map(|&i| labels[i]).collect();
        let part = features.select(Axis(0), &others);
        let form = candidate.form_of(others.len(), labels.len());
        let found = Bases::new(part.view(), columns).first(columns[candidate.taps]).and_then(|basis| {
            let linear = fit((basis.rows.view(), basis.features), &own, judge.classes, form, TOLERANCE, progress)?;
            head(&basis, &linear, false)
        });
        let head = match found {
            Err(Error::Train(_)) => return Ok(None),
            found => found?,
        };
        let found = head.logits(features.select(Axis(0), &held).slice(s![.., ..head.weight.ncols()]))?;
        held.iter().zip(found.rows()).for_each(|(&i, row)| logits.row_mut(i).assign(&row));
    }
    if let Some(shares) = judge.shares.as_ref().filter(|_| candidate.adjusted) {
        logits -= shares;
    }
    Ok(Some(logits))
}
