//! Ridge regression at many strengths at once, each image judged by the regression that has not seen it.

use super::super::folds::count;
use super::basis::Basis;
use super::closed::MOST_COORDINATES;
use crate::data::Task;
use crate::error::{Error, Result};
use crate::guard::heeding;
use crate::progress::{Event, Progress, emit};
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// Refuses ridge regression in so many coordinates that their eigenvectors take too long.
///
/// # Errors
/// [`Error::Train`].
pub(super) fn has_time(task: Task, images: usize, features: usize) -> Result<()> {
    if task != Task::Regression || images.min(features) <= MOST_COORDINATES {
        return Ok(());
    }
    let what = format!("{features} features of {images} images are too many for ridge regression");
    Err(Error::Train(format!(
        "{what}; choose another tensor with --cut (adapt inspect lists them); with --train, --probe off"
    )))
}

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

/// The best of several strengths, as far as it was judged.
pub(super) struct Best {
    pub(super) place: usize,
    /// Each image's mean squared error over its targets, standardised, the mean over the deals.
    pub(super) losses: Vec<f64>,
    /// What [`Ridge::left_out`] gives, or [`Ridge::folds_left_out`] of each deal.
    pub(super) errors: Vec<Array2<f64>>,
}

impl Ridge {
    /// Of `targets` `[images, targets]` on a basis, whose rows are centred.
    ///
    /// # Errors
    /// [`Error::Train`] where the features have no eigenvectors that can be found, and [`Error::Interrupted`].
    pub(super) fn new(basis: &Basis, targets: ArrayView2<f32>, progress: Progress) -> Result<Ridge> {
        let rows = basis.rows()?;
        let x = Mat::from_fn(rows.nrows(), rows.ncols(), |i, j| f64::from(rows[[i, j]]));
        // Minutes of thousands of coordinates.
        let found = heeding(progress, move || {
            let found = (x.transpose() * &x).self_adjoint_eigen(Side::Lower).ok()?;
            let (values, vectors) = (found.S().column_vector(), found.U().to_owned());
            Some((values.iter().map(|value| value.max(0.)).collect(), x * &vectors, vectors))
        })?;
        let (values, scores, vectors) =
            found.ok_or_else(|| Error::Train("the features are too degenerate for a head".into()))?;
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

    /// The same of regressions without each image's fold: with Z = (X·V, 1) and D = (Λ + αI, images) those of all others are
    /// (D − ZᵀZ)⁻¹(ZᵀY − ZᵀY), the products subtracted being the fold's own. When time is up, further folds are judged at the strength alone
    /// that was best until then. `poll` is asked before each solution whether to go on.
    ///
    /// # Errors
    /// [`Error::Train`] where a fold leaves nothing to learn from, and those of `poll`.
    pub(super) fn folds_left_out(
        &self,
        alphas: &[f64],
        fold: &[usize],
        in_time: &dyn Fn() -> bool,
        poll: &dyn Fn() -> Result<()>,
    ) -> Result<(usize, Array2<f64>)> {
        let (images, last) = (self.targets.nrows() as f64, self.values.len());
        let mut errors = vec![Array2::zeros(self.targets.dim()); alphas.len()];
        // The strengths that are judged, and the sums of their squared errors.
        let (mut judged, mut squares) = ((0..alphas.len()).collect::<Vec<_>>(), vec![0.; alphas.len()]);
        let best = |judged: &[usize], squares: &[f64]| {
            judged.iter().copied().min_by(|&a, &b| squares[a].total_cmp(&squares[b])).unwrap_or(0)
        };
        for f in 0..count(fold) {
            if f > 0 && !in_time() {
                judged = vec![best(&judged, &squares)];
            }
            let own: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] == f).collect();
            let z = Mat::from_fn(own.len(), last + 1, |i, j| if j < last { self.scores[(own[i], j)] } else { 1. });
            let y = Mat::from_fn(own.len(), self.targets.ncols(), |i, k| self.targets[[own[i], k]]);
            let (gram, products) = (z.transpose() * &z, z.transpose() * &y);
            // Standardised targets add up to 0.
            let sums = Mat::from_fn(last + 1, y.ncols(), |j, k| if j < last { self.shares[(j, k)] } else { 0. });
            for &place in &judged {
                poll()?;
                let mut others = -&gram;
                let alpha = alphas[place];
                (0..=last).for_each(|j| others[(j, j)] += if j < last { self.values[j] + alpha } else { images });
                let solver = Llt::new(others.as_ref(), Side::Lower)
                    .map_err(|_| Error::Train("the features are too degenerate for a head".into()))?;
                let left = &y - &z * solver.solve(&sums - &products);
                for (i, &to) in own.iter().enumerate() {
                    for (k, error) in errors[place].row_mut(to).iter_mut().enumerate() {
                        *error = left[(i, k)];
                        squares[place] += *error * *error;
                    }
                }
            }
        }
        let place = best(&judged, &squares);
        Ok((place, errors.swap_remove(place)))
    }

    /// The best of `alphas` with each image left out by itself or, where there are deals, each fold of the first; it is judged in all of
    /// them for which there is time.
    ///
    /// # Errors
    /// Those of [`Ridge::folds_left_out`].
    pub(super) fn best(
        &self,
        alphas: &[f64],
        deals: &[Vec<usize>],
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<Best> {
        let poll = || emit(progress, Event::Advance(0));
        let square = |row: ArrayView1<f64>| row.dot(&row) / row.len() as f64;
        let squares = |errors: &Array2<f64>| errors.rows().into_iter().map(square).collect::<Vec<f64>>();
        let (place, errors) = match deals.first() {
            Some(fold) => self.folds_left_out(alphas, fold, in_time, &poll)?,
            None => {
                let tried = alphas.iter().map(|&alpha| self.left_out(alpha)).enumerate();
                let sum = |errors: &Array2<f64>| errors.iter().map(|error| error * error).sum::<f64>();
                tried.min_by(|a, b| sum(&a.1).total_cmp(&sum(&b.1))).expect("strengths were tried")
            }
        };
        let (mut losses, mut errors) = (squares(&errors), vec![errors]);
        for fold in deals.iter().skip(1).take_while(|_| in_time()) {
            let (_, more) = self.folds_left_out(&alphas[place..=place], fold, in_time, &poll)?;
            losses.iter_mut().zip(squares(&more)).for_each(|(sum, more)| *sum += more);
            errors.push(more);
        }
        losses.iter_mut().for_each(|loss| *loss /= errors.len() as f64);
        Ok(Best { place, losses, errors })
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

#[cfg(test)]
mod tests {
    use super::super::basis::Bases;
    use super::*;
    use crate::progress::silent;
    use std::cell::Cell;

    #[test]
    fn folds_heed_clock_and_interrupts() {
        let made = |(i, j): (usize, usize)| ((i * 7 + j * 13 + 1) as f32 * 12.9898).sin();
        let (x, y) = (Array2::from_shape_fn((40, 6), made), Array2::from_shape_fn((40, 2), |(i, j)| made((i, j + 9))));
        let ridge = Ridge::new(&Bases::new(x.view(), &[6]).first(6).unwrap(), y.view(), &silent).unwrap();
        let (alphas, asked) = ([1000., 30., 1., 0.03], Cell::new(0));
        let fold: Vec<usize> = (0..40).map(|i| i % 5).collect();
        let poll = || {
            asked.set(asked.get() + 1);
            Ok(())
        };
        ridge.folds_left_out(&alphas, &fold, &|| true, &poll).unwrap();
        assert_eq!(asked.replace(0), 20);
        let (place, late) = ridge.folds_left_out(&alphas, &fold, &|| false, &poll).unwrap();
        assert_eq!(asked.replace(0), 4 + 4, "what the first fold found best is judged on");
        let alone = ridge.folds_left_out(&alphas[place..=place], &fold, &|| true, &poll).unwrap();
        assert_eq!((0, late), alone);
        let refused = ridge.folds_left_out(&alphas, &fold, &|| true, &|| Err(Error::Interrupted));
        assert!(matches!(refused, Err(Error::Interrupted)));
        // Nothing that was begun is waited for.
        let stopped = |_: Event| std::ops::ControlFlow::Break(());
        let refused = Ridge::new(&Bases::new(x.view(), &[6]).first(6).unwrap(), y.view(), &stopped);
        assert!(matches!(refused, Err(Error::Interrupted)));
        // Of several deals the errors are the mean.
        let deals = [fold.clone(), fold.iter().rev().map(|f| f / 2).collect(), fold];
        let one = |deal: usize| ridge.best(&alphas[1..2], &deals[deal..=deal], &|| true, &silent).unwrap().losses;
        let all = ridge.best(&alphas[1..2], &deals, &|| true, &silent).unwrap();
        let mean = |i: usize| [0, 1, 2].map(|deal| one(deal)[i]).iter().sum::<f64>() / 3.;
        assert!(all.errors.len() == 3 && (0..40).all(|i| (all.losses[i] - mean(i)).abs() < 1e-12));
        assert_eq!(ridge.best(&alphas, &deals, &|| false, &silent).unwrap().errors.len(), 1);
    }
}
