//! Heads in closed form: linear discriminant analysis with a shrunk covariance, and the nearest class mean.

use super::super::folds::count;
use super::super::scale::Scaler;
use super::super::{LinearHead, check, whole};
use super::basis::{Basis, add_products, at, mirrored, widened};
use super::shares::{Shares, prior, product, unvaried};
use crate::error::{Error, Result};
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::solvers::{Llt, Solve};
use faer::{Accum, Mat, Side, get_global_parallelism};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Larger covariances take too long.
pub(super) const MOST_COORDINATES: usize = 4096;
/// Images whose values are widened at once.
const CHUNK: usize = 4096;

/// Sums over some images: enough for their classes' means and common covariance.
#[derive(Clone)]
struct Sums {
    /// The lower half of Σ x·xᵀ: \[features, features\]
    squares: Mat<f64>,
    /// Σ x by class: \[classes, features\]
    by_class: Array2<f64>,
    counts: Vec<f64>,
}

/// A linear classifier on standardised features.
pub(super) struct Linear {
    /// \[classes, features\]
    pub(super) weight: Array2<f64>,
    /// \[classes\]
    pub(super) bias: Array1<f64>,
}

impl Linear {
    /// \[images, classes\]
    pub(super) fn logits(&self, rows: ArrayView2<f32>) -> Array2<f32> {
        rows.dot(&self.weight.t().mapv(|w| w as f32)) + &self.bias.mapv(|b| b as f32)
    }

    /// A class without an image has no mean, and one in the middle of all would be found wherever the others are far. Instead it is
    /// always less likely than the others are on average, and so never the answer.
    fn without(mut self, counts: &[f64]) -> Linear {
        let present: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0.5).collect();
        if present.len() < counts.len() && !present.is_empty() {
            let mean = self.weight.select(Axis(0), &present).mean_axis(Axis(0)).unwrap_or_default();
            let bias = self.bias.select(Axis(0), &present).mean().unwrap_or_default() - 1.;
            for class in (0..counts.len()).filter(|&class| counts[class] <= 0.5) {
                self.weight.row_mut(class).assign(&mean);
                self.bias[class] = bias;
            }
        }
        self
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
            add_products(&mut squares, widened(part).transpose());
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

    /// \[classes, features\]
    fn means(&self) -> Array2<f64> {
        let mut means = self.by_class.clone();
        means.rows_mut().into_iter().zip(&self.counts).for_each(|(mut mean, &count)| mean /= count.max(1.));
        means
    }

    /// Class means of length 1: around a middle of them, or, where all classes have as many images, around that of all images, which
    /// features are standardised by, those of other folds among them.
    fn nearest_mean(&self, unequal: bool) -> Linear {
        let means = self.means();
        let linear = if unequal {
            Linear::alike(means.clone(), &means, &self.counts)
        } else {
            let lengths = means.map_axis(Axis(1), |mean| mean.dot(&mean).sqrt().max(f64::MIN_POSITIVE));
            Linear { weight: means / lengths.insert_axis(Axis(1)), bias: Array1::zeros(self.counts.len()) }
        };
        linear.without(&self.counts)
    }

    /// The discriminants at a strength from above 0 to 1: Σ = (1 − s)·S + s·tr(S)/features·I with the pooled within-class
    /// covariance S, weights Σ⁻¹μ, biases −½μᵀΣ⁻¹μ + log π (Hastie, Tibshirani and Friedman, *The Elements of Statistical
    /// Learning*, 2nd edition, 4.3).
    ///
    /// A mean of few images is far from the middle of all by chance, for which −½μᵀΣ⁻¹μ takes the class down. Where classes are to count
    /// `alike`, weights are Σ⁻¹μ/√(μᵀΣ⁻¹μ), with μ around a middle of the classes' means: the order of the cosines where the covariance
    /// is that of a sphere, as is used for speakers of whom there are a few words (within-class covariance normalisation; Dehak et al.
    /// 2011, *Front-End Factor Analysis for Speaker Verification*, 2.4).
    fn solve(&self, (strength, alike): (f64, bool)) -> Result<Linear> {
        let (features, images) = (self.squares.ncols(), self.counts.iter().sum::<f64>());
        let means = self.means();
        let mu = Mat::from_fn(features, means.nrows(), |i, k| means[[k, i]]);
        let weighted = Mat::from_fn(means.nrows(), features, |k, i| self.counts[k] * means[[k, i]]);
        let mut covariance = self.squares.clone();
        let (lower, par) = (BlockStructure::TriangularLower, get_global_parallelism());
        let all = BlockStructure::Rectangular;
        matmul(&mut covariance, lower, Accum::Add, &mu, all, &weighted, all, -1., par);
        let trace: f64 = (0..features).map(|i| covariance[(i, i)]).sum();
        let (keep, add) = ((1. - strength) / images, strength * trace / images / features as f64);
        covariance *= faer::Scale(keep);
        (0..features).for_each(|i| covariance[(i, i)] += add);
        let solved = Llt::new(covariance.as_ref(), Side::Lower).map_err(|_| unvaried())?.solve(&mu);
        let weight = Array2::from_shape_fn(means.dim(), |(k, i)| solved[(i, k)]);
        let linear = if alike {
            Linear::alike(weight, &means, &self.counts)
        } else {
            let priors = self.counts.iter().map(|&count| prior(count, images));
            let bias = Array1::from_iter(priors) - (&weight * &means).sum_axis(Axis(1)) * 0.5;
            Linear { weight, bias }
        };
        Ok(linear.without(&self.counts))
    }
}

/// The images of each fold, and what heads of all others need.
pub(super) struct Parted<'a> {
    basis: &'a Basis,
    labels: &'a [usize],
    classes: usize,
    /// Of all images, for the means and, where there are as many images as features, discriminants.
    all: Sums,
    /// With the sums over all others, but where those of all folds are too much for memory: they are made again for each head.
    folds: Vec<(Vec<usize>, Option<Sums>)>,
}

impl<'a> Parted<'a> {
    /// `fold` says in which one each image is. Of more features than images, discriminants need no sums; of fewer they need
    /// `products`, and the sums of each fold are kept where `keep`.
    pub(super) fn new(
        basis: &'a Basis,
        labels: &'a [usize],
        classes: usize,
        fold: &[usize],
        products: bool,
        keep: bool,
    ) -> Parted<'a> {
        let none = basis.standardised().select(Axis(0), &[]);
        let all = Sums::new(none.view(), &[], classes, products && basis.gram().is_none());
        let mut parted = Parted { basis, labels, classes, all, folds: Vec::new() };
        let sums = !products || basis.gram().is_none();
        for f in 0..count(fold) {
            let places: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] == f).collect();
            let own = sums.then(|| parted.sums(&places));
            own.iter().for_each(|own| parted.all.add(1., own));
            parted.folds.push((places, own.filter(|_| keep)));
        }
        for own in parted.folds.iter_mut().filter_map(|(_, own)| own.as_mut()) {
            own.turn(&parted.all);
        }
        parted
    }

    fn sums(&self, places: &[usize]) -> Sums {
        let labels: Vec<usize> = places.iter().map(|&i| self.labels[i]).collect();
        let products = self.all.squares.ncols() > 0;
        Sums::new(self.basis.standardised().select(Axis(0), places).view(), &labels, self.classes, products)
    }

    /// Every image's logits by discriminants of a strength, which may count classes alike, that did not learn from it: \[images, classes\].
    pub(super) fn logits(&self, form: (f64, bool)) -> Result<Array2<f32>> {
        match self.basis.gram() {
            Some(gram) => self.by_images(gram, form),
            None => self.out_of_fold(|others| others.solve(form)),
        }
    }

    /// The same of more features than images, the folds side by side.
    fn by_images(&self, gram: &Mat<f64>, form: (f64, bool)) -> Result<Array2<f32>> {
        let fold = |(held, _): &(Vec<usize>, Option<Sums>)| -> Result<Array2<f32>> {
            let mut is_held = vec![false; self.labels.len()];
            held.iter().for_each(|&i| is_held[i] = true);
            let others: Vec<usize> = (0..self.labels.len()).filter(|&i| !is_held[i]).collect();
            let labels: Vec<usize> = others.iter().map(|&i| self.labels[i]).collect();
            let own = part(gram, &others, &others);
            let Shares { of, bias } = Shares::new(own, &labels, self.classes, self.basis.features(), form)?;
            let found = product(part(gram, held, &others).as_ref(), of.as_ref());
            Ok(Array2::from_shape_fn((held.len(), self.classes), |(i, k)| (found[(i, k)] + bias[k]) as f32))
        };
        let found: Vec<Array2<f32>> = self.folds.par_iter().map(fold).collect::<Result<_>>()?;
        let mut logits = Array2::zeros((self.labels.len(), self.classes));
        for ((held, _), found) in self.folds.iter().zip(found) {
            held.iter().zip(found.rows()).for_each(|(&i, row)| logits.row_mut(i).assign(&row));
        }
        Ok(logits)
    }

    /// The same by the nearest class mean: the scalar product with each class's mean of length 1, which orders the classes as the cosine
    /// does; `unequal` as in [`Sums::nearest_mean`].
    pub(super) fn nearest_mean(&self, unequal: bool) -> Result<Array2<f32>> {
        self.out_of_fold(|others| Ok(others.nearest_mean(unequal)))
    }

    fn out_of_fold(&self, fit: impl Fn(&Sums) -> Result<Linear>) -> Result<Array2<f32>> {
        let mut logits = Array2::zeros((self.labels.len(), self.classes));
        for (places, others) in &self.folds {
            let linear = match others {
                Some(others) => fit(others)?,
                None => {
                    let mut others = self.sums(places);
                    others.turn(&self.all);
                    fit(&others)?
                }
            };
            let found = linear.logits(self.basis.standardised().select(Axis(0), places).view());
            places.iter().zip(found.rows()).for_each(|(&i, row)| logits.row_mut(i).assign(&row));
        }
        Ok(logits)
    }
}

/// Some rows and columns of a matrix.
fn part(of: &Mat<f64>, rows: &[usize], columns: &[usize]) -> Mat<f64> {
    Mat::from_fn(rows.len(), columns.len(), |i, j| of[(rows[i], columns[j])])
}

/// The discriminants of the images at `places`, which have these labels; `form` as in [`Parted::logits`].
pub(super) fn discriminants(
    basis: &Basis,
    places: &[usize],
    labels: &[usize],
    classes: usize,
    form: (f64, bool),
) -> Result<Linear> {
    let (images, features) = (places.len(), basis.features());
    if images.min(features) > MOST_COORDINATES {
        let what = format!("{features} features of {images} images are too many for discriminant analysis");
        return Err(Error::Train(format!("{what}; choose --head softmax")));
    }
    let rows = at(basis.standardised(), places);
    if features <= images {
        return Sums::new(rows.view(), labels, classes, true).solve(form);
    }
    let gram = match basis.gram() {
        Some(gram) => part(gram, places, places),
        None => {
            let mut lower = Mat::zeros(images, images);
            add_products(&mut lower, widened(rows.view()).as_ref());
            mirrored(&lower)
        }
    };
    let Shares { of, bias } = Shares::new(gram, labels, classes, features, form)?;
    let of = Array2::from_shape_fn((classes, images), |(k, i)| of[(i, k)] as f32);
    Ok(Linear { weight: of.dot(&rows.view()).mapv(f64::from), bias })
}

/// What costs nothing: the nearest class mean by the cosine around a middle of the means, on features `[images, features]` standardised
/// as heads' are.
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
    Sums::new(rows, labels, classes, false).nearest_mean(true)
}
