//! The head where nothing can be compared by cross-validation.

use super::basis::Basis;
use super::calibrate::usual_sharpness;
use super::choice::{Form, head, trained};
use super::{Chosen, Kind, Wishes};
use crate::error::Result;
use crate::progress::Progress;
use ndarray::{Array2, ArrayView2};

/// Why nothing is compared.
pub(super) const SINGLE: &str = "most classes have one training image";
pub(super) const ONE_GROUP: &str = "most classes have training images of one group alone";
const FEW: &str = "too few images are left beside each fold for discriminant analysis";
const OVERFLOW: &str = "the head's losses are not finite, as where features span too many orders of magnitude";

/// Why no head could be judged by folds that there are; `vary` tells whether there are images enough for discriminants.
pub(super) fn unjudged(wishes: &Wishes, vary: bool) -> &'static str {
    match wishes.kind {
        Some(Kind::Softmax | Kind::Mlp) => OVERFLOW,
        None if vary => OVERFLOW,
        _ => FEW,
    }
}

/// The head of these features, `[images, features]`, where there is nothing to compare by, and why.
pub(super) fn uncompared(
    why: &'static str,
    (features, basis): (ArrayView2<f32>, &Basis),
    (labels, classes): (&[usize], usize),
    wishes: &Wishes,
    progress: Progress,
) -> Result<Chosen> {
    // Of ten classes regression is above the nearest class mean by a hair; of a hundred it is far below (docs/heads.md).
    let kind = wishes.kind.unwrap_or(if wishes.beginning { Kind::Softmax } else { Kind::Ncm });
    let form = Form { kind, strength: None, alike: false, weighted: false, start: &[] };
    let (hidden, mut linear) = trained(basis, labels, classes, form, wishes, progress)?;
    let plain = head(basis, &linear, hidden.is_some())?;
    let sharpness = usual_sharpness(hidden.as_ref(), &plain, features, labels)?.unwrap_or(1.);
    linear.weight *= sharpness;
    linear.bias *= sharpness;
    Ok(Chosen {
        head: head(basis, &linear, hidden.is_some())?,
        hidden,
        kind,
        place: 0,
        compared: Vec::new(),
        uncompared: Some(why),
        folds: 0,
        repeats: 0,
        temperature: 1. / sharpness,
        out_of_fold: Array2::zeros((0, classes)),
        uncalibrated: Array2::zeros((0, classes)),
        fold: Vec::new(),
        by_fold: Vec::new(),
        curve: wishes.curve.then_some(Err(why)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_that_of_the_kind() {
        let of = |kind, beginning| Wishes { kind, beginning, ..Wishes::default() };
        assert_eq!(unjudged(&of(Some(Kind::Lda), false), false), FEW);
        assert_eq!(unjudged(&of(None, true), false), FEW);
        for kind in [Some(Kind::Softmax), Some(Kind::Mlp), None] {
            assert_eq!(unjudged(&of(kind, kind.is_none()), true), OVERFLOW);
        }
        // Few images are no reason for what needs no covariance.
        assert_eq!(unjudged(&of(Some(Kind::Softmax), false), false), OVERFLOW);
    }
}
