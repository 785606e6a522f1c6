//! Standardised features, their inner products, and the fewest coordinates that keep every one of these.

use super::super::LinearHead;
use super::super::scale::Scaler;
use crate::error::{Error, Result};
use faer::linalg::matmul::triangular::{BlockStructure, matmul};
use faer::linalg::solvers::Llt;
use faer::linalg::triangular_solve::solve_upper_triangular_in_place;
use faer::{Accum, Mat, MatRef, Par, Side, get_global_parallelism};
use ndarray::{Array1, Array2, ArrayView2, Axis, CowArray, Ix2, s};
use std::sync::OnceLock;

/// What is added to the Gram matrix' diagonal, relative to its mean, so that rounding leaves it positive definite.
const RIDGE: f64 = 1e-9;

/// More features than images span no more directions than there are images: then the rows of the Gram matrix' Cholesky factor
/// L (XXᵀ = LLᵀ) stand for the images, and any head whose penalty does not change under rotations is the same on them.
pub(super) struct Basis {
    scaler: Scaler,
    /// Standardised: \[images, features\]
    standardised: Array2<f32>,
    /// Every inner product of two images, \[images, images\], where there are more features than images.
    gram: Option<Mat<f64>>,
    /// L, and the same as float32, once somebody wants coordinates.
    factor: OnceLock<(Mat<f64>, Array2<f32>)>,
}

/// Gram matrices of growing sets of columns, so that each column is multiplied once.
pub(super) struct Bases<'a> {
    features: ArrayView2<'a, f32>,
    columns: &'a [usize],
    /// Its lower half.
    gram: Mat<f64>,
    done: usize,
}

impl<'a> Bases<'a> {
    /// `features`: \[images, features\]; each depth's end at one of `columns`.
    pub(super) fn new(features: ArrayView2<'a, f32>, columns: &'a [usize]) -> Bases<'a> {
        Bases { features, columns, gram: Mat::zeros(0, 0), done: 0 }
    }

    /// The basis of the first `columns` features, which must grow from call to call.
    pub(super) fn first(&mut self, columns: usize) -> Result<Basis> {
        let images = self.features.nrows();
        let part = self.features.slice(s![.., ..columns]);
        let scaler = Scaler::floored(part, 1. / (images as f64).sqrt(), self.columns);
        let x = Array2::from_shape_vec((images, columns), scaler.apply(part));
        let standardised = x.map_err(|e| Error::Train(e.to_string()))?;
        let gram = (columns > images).then(|| {
            if self.gram.nrows() == 0 {
                self.gram = Mat::zeros(images, images);
            }
            let new = widened(standardised.slice(s![.., self.done..]));
            add_products(&mut self.gram, new.as_ref());
            self.done = columns;
            mirrored(&self.gram)
        });
        Ok(Basis { scaler, standardised, gram, factor: OnceLock::new() })
    }
}

/// The rows at `places`, copied unless these are all.
pub(super) fn at<'a>(rows: ArrayView2<'a, f32>, places: &[usize]) -> CowArray<'a, f32, Ix2> {
    match places.iter().copied().eq(0..rows.nrows()) {
        true => rows.into(),
        false => rows.select(Axis(0), places).into(),
    }
}

pub(super) fn widened(rows: ArrayView2<f32>) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |i, j| f64::from(rows[[i, j]]))
}

/// Adds the lower half of X·Xᵀ.
pub(super) fn add_products(to: &mut Mat<f64>, x: MatRef<f64>) {
    use BlockStructure::{Rectangular, TriangularLower};
    let par = get_global_parallelism();
    matmul(to, TriangularLower, Accum::Add, x, Rectangular, x.transpose(), Rectangular, 1., par);
}

/// A symmetric matrix by its lower half.
pub(super) fn mirrored(lower: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(lower.nrows(), lower.ncols(), |i, j| lower[(i.max(j), i.min(j))])
}

impl Basis {
    /// How many features there are.
    pub(super) fn features(&self) -> usize {
        self.standardised.ncols()
    }

    /// How many numbers an image has in [`Basis::rows`].
    pub(super) fn coordinates(&self) -> usize {
        self.standardised.ncols().min(self.standardised.nrows())
    }

    /// The standardised features themselves: \[images, features\].
    pub(super) fn standardised(&self) -> ArrayView2<'_, f32> {
        self.standardised.view()
    }

    /// The inner products of all images, where there are more features than images.
    pub(super) fn gram(&self) -> Option<&Mat<f64>> {
        self.gram.as_ref()
    }

    /// The images in the fewest coordinates: \[images, coordinates\].
    pub(super) fn rows(&self) -> Result<ArrayView2<'_, f32>> {
        Ok(self.factor()?.map_or(self.standardised.view(), |(_, rows)| rows.view()))
    }

    fn factor(&self) -> Result<Option<&(Mat<f64>, Array2<f32>)>> {
        let Some(gram) = &self.gram else { return Ok(None) };
        if let Some(factor) = self.factor.get() {
            return Ok(Some(factor));
        }
        let (images, mut ridged) = (gram.nrows(), gram.clone());
        let ridge = RIDGE * (0..images).map(|i| gram[(i, i)]).sum::<f64>() / images as f64;
        (0..images).for_each(|i| ridged[(i, i)] += ridge.max(f64::MIN_POSITIVE));
        let factor = Llt::new(ridged.as_ref(), Side::Lower)
            .map_err(|_| Error::Train("the features are too degenerate for a head".into()))?;
        let lower = factor.L().to_owned();
        let rows = Array2::from_shape_fn((images, images), |(i, j)| lower[(i, j)] as f32);
        Ok(Some(self.factor.get_or_init(|| (lower, rows))))
    }

    /// A layer on standardised features as one on raw ones.
    pub(super) fn fold(&self, layer: &LinearHead) -> LinearHead {
        self.scaler.fold(layer)
    }

    /// Weights on coordinates, \[classes, coordinates\], as weights on standardised features.
    pub(super) fn spread(&self, weight: &Array2<f64>) -> Result<Array2<f32>> {
        let Some((lower, _)) = self.factor()? else { return Ok(weight.mapv(|w| w as f32)) };
        // L⁻ᵀwᵀ are the images' shares in the weights.
        let mut shares = Mat::from_fn(weight.ncols(), weight.nrows(), |i, k| weight[[k, i]]);
        solve_upper_triangular_in_place(lower.transpose(), shares.as_mut(), Par::Seq);
        Ok(Array2::from_shape_fn(weight.dim(), |(k, i)| shares[(i, k)] as f32).dot(&self.standardised))
    }

    /// A head on coordinates as one on raw features.
    pub(super) fn head(&self, weight: &Array2<f64>, bias: &Array1<f64>) -> Result<LinearHead> {
        Ok(self.fold(&LinearHead { weight: self.spread(weight)?, bias: bias.mapv(|b| b as f32) }))
    }
}
