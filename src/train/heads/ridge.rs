//! Ridge regression at many strengths at once, each image judged by the regression that has not seen it.

use super::super::folds::count;
use super::basis::Basis;
use crate::error::{Error, Result};
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// (XᵀX + αI)⁻¹ for any α, by the eigenvectors V of XᵀX = V·Λ·Vᵀ, with rows X around their mean.
pub(super) struct Ridge {
    /// X·V: \[images, coordinates\]
    scores: Mat<f64>,
    vectors: Mat<f64>,
    values: Vec<f64>,
    /// (X·V)ᵀ·Y: \[coordinates, targets\]
    shares: Mat<f64>,
    /// Standardised: \[images, targets\]
    targets: Array2<f64>,
    means: Array1<f64>,
    deviations: Array1<f64>,
}

impl Ridge {
    /// Of `targets` `[images, targets]` on a basis, whose rows are centred.
    ///
    /// # Errors
    /// [`Error::Train`] where the features have no eigenvectors that can be found.
    pub(super) fn new(basis: &Basis, targets: ArrayView2<f32>) -> Result<Ridge> {
        let rows = basis.rows()?;
        let x = Mat::from_fn(rows.nrows(), rows.ncols(), |i, j| f64::from(rows[[i, j]]));
        let found = (x.transpose() * &x).self_adjoint_eigen(Side::Lower);
        let found = found.map_err(|_| Error::Train("the features are too degenerate for a head".into()))?;
        let values = found.S().column_vector().iter().map(|value| value.max(0.)).collect();
        let vectors = found.U().to_owned();
        let scores = x * &vectors;
        let targets = targets.mapv(f64::from);
        let means = targets.mean_axis(Axis(0)).unwrap_or_default();
        let deviations = targets.std_axis(Axis(0), 0.).mapv(|deviation| if deviation > 0. { deviation } else { 1. });
        let targets = (targets - &means) / &deviations;
        let y = Mat::from_fn(targets.nrows(), targets.ncols(), |i, k| targets[[i, k]]);
        let shares = scores.transpose() * y;
        Ok(Ridge { scores, vectors, values, shares, targets, means, deviations })
    }

    /// (Λ + αI)⁻¹·(X·V)ᵀ·Y
    fn solved(&self, alpha: f64) -> Mat<f64> {
        let floor = f64::MIN_POSITIVE;
        Mat::from_fn(self.shares.nrows(), self.shares.ncols(), |j, k| {
            self.shares[(j, k)] / (self.values[j] + alpha).max(floor)
        })
    }

    /// What each image's standardised targets differ in from what the regression without it predicts, `[images, targets]`: the
    /// residuals over 1 less each image's leverage (Allen 1974; the free bias has a leverage of 1/images).
    pub(super) fn left_out(&self, alpha: f64) -> Array2<f64> {
        let predicted = &self.scores * self.solved(alpha);
        let images = self.targets.nrows();
        let leverage = |i: usize| {
            let parts = self.values.iter().enumerate().map(|(j, value)| self.scores[(i, j)].powi(2) / (value + alpha));
            1. / images as f64 + parts.sum::<f64>()
        };
        let beside: Vec<f64> = (0..images).map(|i| (1. - leverage(i)).max(f64::EPSILON)).collect();
        Array2::from_shape_fn(self.targets.dim(), |(i, k)| (self.targets[[i, k]] - predicted[(i, k)]) / beside[i])
    }

    /// The same of regressions without each image's fold, for each of `alphas`: with Z = (X·V, 1) and D = (Λ + αI, images) those
    /// of all others are (D − ZᵀZ)⁻¹(ZᵀY − ZᵀY), the products subtracted being the fold's own.
    ///
    /// # Errors
    /// [`Error::Train`] where a fold leaves nothing to learn from.
    pub(super) fn folds_left_out(&self, alphas: &[f64], fold: &[usize]) -> Result<Vec<Array2<f64>>> {
        let (images, last) = (self.targets.nrows() as f64, self.values.len());
        let mut errors = vec![Array2::zeros(self.targets.dim()); alphas.len()];
        for f in 0..count(fold) {
            let own: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] == f).collect();
            let z = Mat::from_fn(own.len(), last + 1, |i, j| if j < last { self.scores[(own[i], j)] } else { 1. });
            let y = Mat::from_fn(own.len(), self.targets.ncols(), |i, k| self.targets[[own[i], k]]);
            let (squares, products) = (z.transpose() * &z, z.transpose() * &y);
            // Standardised targets add up to 0.
            let sums = Mat::from_fn(last + 1, y.ncols(), |j, k| if j < last { self.shares[(j, k)] } else { 0. });
            for (alpha, errors) in alphas.iter().zip(&mut errors) {
                let mut others = -&squares;
                (0..=last).for_each(|j| others[(j, j)] += if j < last { self.values[j] + alpha } else { images });
                let solver = Llt::new(others.as_ref(), Side::Lower)
                    .map_err(|_| Error::Train("the features are too degenerate for a head".into()))?;
                let left = &y - &z * solver.solve(&sums - &products);
                let rows = own.iter().enumerate();
                rows.for_each(|(i, &to)| {
                    errors.row_mut(to).iter_mut().enumerate().for_each(|(k, e)| *e = left[(i, k)])
                });
            }
        }
        Ok(errors)
    }

    /// What each image is predicted to have by the regression without it, of which `left` is what it differs by: `[images,
    /// targets]`.
    pub(super) fn out_of_fold(&self, left: &Array2<f64>) -> Array2<f32> {
        let values = (&self.targets - left) * &self.deviations + &self.means;
        values.mapv(|value| value as f32)
    }

    /// The regression of all images for the targets as they are: weight `[targets, coordinates]`, bias `[targets]`.
    pub(super) fn head(&self, alpha: f64) -> (Array2<f64>, Array1<f64>) {
        let weight = &self.vectors * self.solved(alpha);
        let scaled = |(k, j): (usize, usize)| weight[(j, k)] * self.deviations[k];
        (Array2::from_shape_fn((weight.ncols(), weight.nrows()), scaled), self.means.clone())
    }
}
