//! Numbers predicted from images: one or more targets.

use super::mean;
use crate::error::{Error, Result};
use ndarray::{ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

/// One target's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerTarget {
    /// Its name.
    pub target: String,
    /// The coefficient of determination, 1 − Σ(y − ŷ)² / Σ(y − ȳ)². Where all y are equal: 1 if every ŷ is right, else 0.
    pub r2: f64,
    /// The mean absolute error, in the target's unit.
    pub mae: f64,
    /// The root of the mean squared error, in the target's unit.
    pub rmse: f64,
}

/// How well predicted numbers match. Definitions are scikit-learn's, with `multioutput='uniform_average'`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Images; of a single one R² says nothing, and is 1 or 0 as for equal targets.
    pub n: usize,
    /// Mean R² over the targets (`r2_score`).
    pub r2: f64,
    /// Mean of the targets' mean absolute errors (`mean_absolute_error`).
    pub mae: f64,
    /// Mean of the targets' roots (`root_mean_squared_error`).
    pub rmse: f64,
    /// In the order of the targets.
    pub per_target: Vec<PerTarget>,
}

impl Regression {
    /// Judges `predicted` `[images, targets]` by `truth`, of the same shape.
    ///
    /// # Errors
    /// [`Error::Usage`] when the sizes do not match, there is nothing to judge, or a value is not finite.
    pub fn new(truth: ArrayView2<f32>, predicted: ArrayView2<f32>, targets: &[String]) -> Result<Regression> {
        if truth.dim() != predicted.dim() || truth.ncols() != targets.len() {
            let ((rows, columns), (n, k)) = (predicted.dim(), truth.dim());
            let what = format!("{rows}×{columns} predictions for {n}×{k} values of {} targets", targets.len());
            return Err(Error::Usage(what));
        }
        if truth.is_empty() {
            return Err(Error::Usage("there are no values to judge by".into()));
        }
        if !truth.iter().chain(&predicted).all(|value| value.is_finite()) {
            return Err(Error::Usage("a value to judge by, or a predicted one, is not finite".into()));
        }
        let columns = targets.iter().zip(truth.columns()).zip(predicted.columns());
        let per_target: Vec<_> = columns.map(|((name, y), p)| per_target(name, y, p)).collect();
        Ok(Regression {
            n: truth.nrows(),
            r2: mean(per_target.iter().map(|t| t.r2)),
            mae: mean(per_target.iter().map(|t| t.mae)),
            rmse: mean(per_target.iter().map(|t| t.rmse)),
            per_target,
        })
    }
}

fn per_target(name: &str, truth: ArrayView1<f32>, predicted: ArrayView1<f32>) -> PerTarget {
    let centre = mean(truth.iter().map(|&y| y.into()));
    let errors: Vec<f64> = truth.iter().zip(predicted).map(|(&y, &p)| f64::from(y) - f64::from(p)).collect();
    let squares: f64 = errors.iter().map(|e| e * e).sum();
    let spread: f64 = truth.iter().map(|&y| (f64::from(y) - centre).powi(2)).sum();
    let r2 = match (spread > 0., squares > 0.) {
        (true, _) => 1. - squares / spread,
        (false, wrong) => f64::from(u8::from(!wrong)),
    };
    let rmse = (squares / errors.len() as f64).sqrt();
    PerTarget { target: name.into(), r2, mae: mean(errors.iter().map(|e| e.abs())), rmse }
}
