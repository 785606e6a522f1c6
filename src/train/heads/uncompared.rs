//! The head where nothing can be compared by cross-validation.

use super::basis::Basis;
use super::choice::{Form, head, trained};
use super::{Chosen, Kind, Wishes};
use crate::error::Result;
use crate::progress::Progress;
use ndarray::Array2;

/// Why nothing is compared.
pub(super) const SINGLE: &str = "most classes have one training image";
pub(super) const ONE_GROUP: &str = "most classes have training images of one group alone";
pub(super) const FEW: &str = "too few images are left beside each fold for discriminant analysis";

/// The head where there is nothing to compare by, and why.
pub(super) fn uncompared(
    why: &'static str,
    basis: &Basis,
    (labels, classes): (&[usize], usize),
    wishes: &Wishes,
    progress: Progress,
) -> Result<Chosen> {
    let kind = wishes.kind.unwrap_or(if wishes.beginning { Kind::Softmax } else { Kind::Ncm });
    let form = Form { kind, strength: None, weighted: false, start: &[] };
    let (hidden, linear) = trained(basis, labels, classes, form, wishes, progress)?;
    Ok(Chosen {
        head: head(basis, &linear, hidden.is_some())?,
        hidden,
        kind,
        place: 0,
        compared: Vec::new(),
        uncompared: Some(why),
        folds: 0,
        repeats: 0,
        temperature: 1.,
        out_of_fold: Array2::zeros((0, classes)),
        uncalibrated: Array2::zeros((0, classes)),
        fold: Vec::new(),
        by_fold: Vec::new(),
        curve: wishes.curve.then_some(Err(why)),
    })
}
