//! Heads in closed form: linear discriminant analysis with a shrunk covariance, and the nearest class mean.

use super::super::folds::count;
use super::super::scale::Scaler;
use super::super::{LinearHead, check, whole};
use super::basis::Basis;
use crate::error::{Error, Result};
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Larger covariances take too long.
pub(super) const MOST_COORDINATES: usize = 4096;
/// Images whose values are widened at once.
const CHUNK: usize = 4096;

/// Sums over some images: enough for their classes' means and common covariance.
#[derive(Clone)]
struct Sums {
    /// Σ x·xᵀ: \[coordinates, coordinates\]
    squares: Mat<f64>,
    /// Σ x by class: \[classes, coordinates\]
    by_class: Array2<f64>,
    counts: Vec<f64>,
}

/// A linear classifier on a basis' coordinates.
pub(super) struct Linear {
    /// \[classes, coordinates\]
    pub(super) weight: Array2<f64>,
    /// \[classes\]
    pub(super) bias: Array1<f64>,
}

impl Linear {
    /// \[images, classes\]
    pub(super) fn logits(&self, rows: ArrayView2<f32>) -> Array2<f32> {
        rows.dot(&self.weight.t().mapv(|w| w as f32)) + &self.bias.mapv(|b| b as f32)
    }

    /// As it is stored.
    pub(super) fn stored(&self) -> LinearHead {
        LinearHead { weight: self.weight.mapv(|w| w as f32), bias: self.bias.mapv(|b| b as f32) }
    }
}

impl Sums {
    /// Without products where only means are wanted.
    fn new(rows: ArrayView2<f32>, labels: &[usize], classes: usize, products: bool) -> Sums {
        let size = if products { rows.ncols() } else { 0 };
        let mut squares = Mat::zeros(size, size);
        for part in rows.axis_chunks_iter(Axis(0), CHUNK).filter(|_| products) {
            let x = Mat::from_fn(part.nrows(), part.ncols(), |i, j| f64::from(part[[i, j]]));
            squares += x.transpose() * &x;
        }
        let (mut by_class, mut counts) = (Array2::zeros((classes, rows.ncols())), vec![0.; classes]);
        for (row, &label) in rows.rows().into_iter().zip(labels) {
            by_class.row_mut(label).zip_mut_with(&row, |sum, &value| *sum += f64::from(value));
            counts[label] += 1.;
        }
        Sums { squares, by_class, counts }
    }

    /// The sums over all images but these, in their place: the matrices are large.
    fn turn(&mut self, all: &Sums) {
        self.add(-1., all);
        self.squares *= faer::Scale(-1.);
        self.by_class *= -1.;
        self.counts.iter_mut().for_each(|count| *count *= -1.);
    }

    /// Adds another's sums, or takes them away.
    fn add(&mut self, sign: f64, other: &Sums) {
        self.squares += faer::Scale(sign) * &other.squares;
        self.by_class.scaled_add(sign, &other.by_class);
        self.counts.iter_mut().zip(&other.counts).for_each(|(all, some)| *all += sign * some);
    }

    /// \[classes, coordinates\]
    fn means(&self) -> Array2<f64> {
        let mut means = self.by_class.clone();
        means.rows_mut().into_iter().zip(&self.counts).for_each(|(mut mean, &count)| mean /= count.max(1.));
        means
    }

    fn nearest_mean(&self) -> Linear {
        let mut weight = self.means();
        for mut mean in weight.rows_mut() {
            mean /= mean.dot(&mean).sqrt().max(f64::MIN_POSITIVE);
        }
        Linear { weight, bias: Array1::zeros(self.counts.len()) }
    }

    /// The discriminants at a strength from above 0 to 1: Σ = (1 − s)·S + s·tr(S)/features·I with the pooled within-class
    /// covariance S, weights Σ⁻¹μ, biases −½μᵀΣ⁻¹μ + log π (Hastie, Tibshirani and Friedman, *The Elements of Statistical
    /// Learning*, 2nd edition, 4.3).
    fn solve(&self, strength: f64, features: usize) -> Result<Linear> {
        let (coordinates, images) = (self.squares.ncols(), self.counts.iter().sum::<f64>());
        let means = self.means();
        let mu = Mat::from_fn(coordinates, means.nrows(), |i, k| means[[k, i]]);
        let weighted = Mat::from_fn(means.nrows(), coordinates, |k, i| self.counts[k] * means[[k, i]]);
        let mut covariance = &self.squares - &mu * weighted;
        let trace: f64 = (0..coordinates).map(|i| covariance[(i, i)]).sum();
        let (keep, add) = ((1. - strength) / images, strength * trace / images / features as f64);
        covariance *= faer::Scale(keep);
        (0..coordinates).for_each(|i| covariance[(i, i)] += add);
        let solved = Llt::new(covariance.as_ref(), Side::Lower)
            .map_err(|_| Error::Train("the features within the classes do not vary".into()))?
            .solve(&mu);
        let weight = Array2::from_shape_fn(means.dim(), |(k, i)| solved[(i, k)]);
        // A class whose one image is held out is none that can be found, but no impossible one.
        let prior = |&count: &f64| (count.max(0.5) / images).ln();
        let bias = Array1::from_iter(self.counts.iter().map(prior)) - (&weight * &means).sum_axis(Axis(1)) * 0.5;
        Ok(Linear { weight, bias })
    }
}

/// The images of each fold, and the sums over all others.
pub(super) struct Parted<'a> {
    basis: &'a Basis,
    labels: &'a [usize],
    classes: usize,
    /// Of all images.
    all: Sums,
    /// With the sums over all others, but where those of all folds are too much for memory: they are made again for each head.
    folds: Vec<(Vec<usize>, Option<Sums>)>,
}

impl<'a> Parted<'a> {
    /// `fold` says in which one each image is; discriminants need products. The sums of each fold are kept where `keep`.
    pub(super) fn new(
        basis: &'a Basis,
        labels: &'a [usize],
        classes: usize,
        fold: &[usize],
        products: bool,
        keep: bool,
    ) -> Parted<'a> {
        let all = Sums::new(basis.rows.select(Axis(0), &[]).view(), &[], classes, products);
        let mut parted = Parted { basis, labels, classes, all, folds: Vec::new() };
        for f in 0..count(fold) {
            let places: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] == f).collect();
            let own = parted.sums(&places);
            parted.all.add(1., &own);
            parted.folds.push((places, keep.then_some(own)));
        }
        for own in parted.folds.iter_mut().filter_map(|(_, own)| own.as_mut()) {
            own.turn(&parted.all);
        }
        parted
    }

    fn sums(&self, places: &[usize]) -> Sums {
        let labels: Vec<usize> = places.iter().map(|&i| self.labels[i]).collect();
        let products = self.all.squares.ncols() > 0;
        Sums::new(self.basis.rows.select(Axis(0), places).view(), &labels, self.classes, products)
    }

    /// Every image's logits by discriminants that did not learn from it: \[images, classes\].
    pub(super) fn logits(&self, strength: f64) -> Result<Array2<f32>> {
        self.out_of_fold(|others| others.solve(strength, self.basis.features))
    }

    /// The same by the nearest class mean: the scalar product with each class's mean of length 1, which orders the classes as
    /// the cosine does.
    pub(super) fn nearest_mean(&self) -> Result<Array2<f32>> {
        self.out_of_fold(|others| Ok(others.nearest_mean()))
    }

    fn out_of_fold(&self, fit: impl Fn(&Sums) -> Result<Linear>) -> Result<Array2<f32>> {
        let mut logits = Array2::zeros((self.basis.rows.nrows(), self.classes));
        for (places, others) in &self.folds {
            let linear = match others {
                Some(others) => fit(others)?,
                None => {
                    let mut others = self.sums(places);
                    others.turn(&self.all);
                    fit(&others)?
                }
            };
            let found = linear.logits(self.basis.rows.select(Axis(0), places).view());
            places.iter().zip(found.rows()).for_each(|(&i, row)| logits.row_mut(i).assign(&row));
        }
        Ok(logits)
    }
}

/// The discriminants of all images.
pub(super) fn discriminants(
    (rows, features): (ArrayView2<f32>, usize),
    labels: &[usize],
    classes: usize,
    strength: f64,
) -> Result<Linear> {
    if rows.ncols() > MOST_COORDINATES {
        let what =
            format!("{} features of {} images are too many for discriminant analysis", rows.ncols(), rows.nrows());
        return Err(Error::Train(format!("{what}; choose --head softmax")));
    }
    Sums::new(rows, labels, classes, true).solve(strength, features)
}

/// What costs nothing: the nearest class mean by the cosine, on features `[images, features]` standardised as heads' are.
///
/// # Errors
/// Those of [`fit_softmax`](crate::train::fit_softmax).
pub fn nearest_class_mean(features: ArrayView2<f32>, labels: &[usize], classes: usize) -> Result<LinearHead> {
    check(features, labels, classes, &super::super::Options::default())?;
    let scaler = Scaler::floored(features, 1. / (labels.len() as f64).sqrt(), &[features.ncols()]);
    let rows = Array2::from_shape_vec(features.dim(), scaler.apply(features));
    let linear = nearest_mean(rows.map_err(|e| Error::Train(e.to_string()))?.view(), labels, classes);
    whole(scaler.fold(&linear.stored()))
}

/// The nearest class mean of all images.
pub(super) fn nearest_mean(rows: ArrayView2<f32>, labels: &[usize], classes: usize) -> Linear {
    Sums::new(rows, labels, classes, false).nearest_mean()
}
