//! Heads for several labels, or for numbers, on one basis: at which strength, and how good by images that they did not learn from.

use super::super::softmax::Truth;
use super::super::{overflowed, path};
use super::Tried;
use super::basis::Basis;
use super::judge::mean;
use super::regressions::rows;
use super::ridge::{Best, Ridge};
use crate::error::Result;
use crate::progress::{Event, Progress};
use crate::tensor::Device;
use ndarray::{Array1, Array2, ArrayView2};
use std::ops::ControlFlow;

/// Strengths of the path of ridge regression.
const STRENGTHS: i32 = 13;

/// One that is compared.
pub(super) struct Attempt {
    pub(super) taps: usize,
    features: usize,
    pub(super) strength: f64,
    /// Each image's loss.
    losses: Vec<f64>,
    /// Every image's probabilities or values in each deal in which it was judged, or once without deals.
    pub(super) out_of_fold: Vec<Array2<f32>>,
    /// Of all images, where that costs nothing more.
    pub(super) fitted: Option<Fitted>,
}

/// Weight `[labels or targets, coordinates]` and bias on a basis.
pub(super) type Fitted = (Array2<f64>, Array1<f64>);

/// Ridge regression at its best strength, with each image left out by itself, or each fold.
pub(super) fn ridge(
    basis: &Basis,
    taps: usize,
    truths: ArrayView2<f32>,
    deals: &[Vec<usize>],
    (in_time, progress): (&dyn Fn() -> bool, Progress),
) -> Result<Attempt> {
    let (ridge, images) = (Ridge::new(basis, truths, progress)?, truths.nrows());
    let strengths: Vec<f64> = (0..STRENGTHS).map(|step| path::strength(basis.features(), images, step)).collect();
    let alphas: Vec<f64> = strengths.iter().map(|strength| strength * images as f64).collect();
    let Best { place, losses, errors } = ridge.best(&alphas, deals, in_time, progress)?;
    let out_of_fold = errors.iter().map(|left| ridge.out_of_fold(left)).collect();
    let (strength, fitted) = (strengths[place], Some(ridge.head(alphas[place])));
    Ok(Attempt { taps, features: basis.features(), strength, losses, out_of_fold, fitted })
}

/// Logistic regression at the strength that is best in the first deal, judged in all for which there is time.
pub(super) fn logistic(
    basis: &Basis,
    taps: usize,
    truths: ArrayView2<f32>,
    (deals, device): (&[Vec<usize>], &Device),
    in_time: &dyn Fn() -> bool,
    progress: Progress,
) -> Result<Attempt> {
    let rows = rows(basis.rows()?, Truth::Labels(truths), truths.ncols(), device)?;
    let quiet = |event: Event| match event {
        Event::Stage { .. } => ControlFlow::Continue(()),
        Event::Advance(_) => progress(Event::Advance(0)),
        other => progress(other),
    };
    let (mut strength, mut losses, mut out_of_fold) = (None, vec![0.; truths.nrows()], Vec::new());
    for fold in deals {
        let choice = path::cross_validate(&rows, fold, (basis.features(), strength), in_time, &quiet)?;
        let Some(choice) = choice else { break };
        strength = Some(choice.l2);
        let known = path::learnable(truths, fold);
        for (i, loss) in losses.iter_mut().enumerate() {
            let parts = truths.row(i).into_iter().zip(choice.out_of_fold.row(i)).zip(known.row(fold[i]));
            let own = parts.filter(|(_, known)| **known).map(|((&own, &p), _)| cross_entropy(own, p)).sum::<f64>();
            *loss += own / truths.ncols() as f64;
        }
        out_of_fold.push(choice.out_of_fold);
        if !in_time() {
            break;
        }
    }
    losses.iter_mut().for_each(|loss| *loss /= out_of_fold.len() as f64);
    let strength = strength.ok_or_else(overflowed)?;
    Ok(Attempt { taps, features: basis.features(), strength, losses, out_of_fold, fitted: None })
}

fn cross_entropy(own: f32, p: f32) -> f64 {
    let p = f64::from(if own > 0.5 { p } else { 1. - p });
    -p.max(f64::EPSILON).ln()
}

/// The place of the one to take, and all for people.
pub(super) fn compare(attempts: &[Attempt]) -> (usize, Vec<Tried>) {
    let loss = |attempt: &Attempt| mean(&attempt.losses).0;
    let best = attempts.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).expect("the cut is always tried");
    let tried = |own: &Attempt| {
        let differences: Vec<f64> = own.losses.iter().zip(&best.losses).map(|(own, best)| own - best).collect();
        let (behind, error) = mean(&differences);
        let Attempt { taps, features, strength, .. } = *own;
        Tried { taps, features, strength, loss: loss(own), behind: [behind, error] }
    };
    let compared: Vec<Tried> = attempts.iter().map(tried).collect();
    (compared.iter().position(|tried| tried.behind[0] <= tried.behind[1]).unwrap_or(0), compared)
}
