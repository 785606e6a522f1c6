//! Standardised features in the fewest coordinates that keep every inner product.

use super::super::LinearHead;
use super::super::scale::Scaler;
use crate::error::{Error, Result};
use faer::linalg::solvers::Llt;
use faer::linalg::triangular_solve::solve_upper_triangular_in_place;
use faer::{Mat, Par, Side};
use ndarray::{Array1, Array2, ArrayView2, s};

/// What is added to the Gram matrix' diagonal, relative to its mean, so that rounding leaves it positive definite.
const RIDGE: f64 = 1e-9;

/// More features than images span no more directions than there are images: then the rows of the Gram matrix' Cholesky factor
/// L (XXᵀ = LLᵀ) stand for the images, and any head whose penalty does not change under rotations is the same on them.
pub(super) struct Basis {
    scaler: Scaler,
    /// \[images, coordinates\]
    pub(super) rows: Array2<f32>,
    /// Features that these coordinates stand for.
    pub(super) features: usize,
    /// Standardised features and the factor, where the rows are the factor's.
    factor: Option<(Array2<f32>, Mat<f64>)>,
}

/// Gram matrices of growing sets of columns, so that each column is multiplied once.
pub(super) struct Bases<'a> {
    features: ArrayView2<'a, f32>,
    columns: &'a [usize],
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
        let scaled = scaler.apply(part);
        let x = Array2::from_shape_vec((images, columns), scaled).map_err(|e| Error::Train(e.to_string()))?;
        if columns <= images {
            return Ok(Basis { scaler, rows: x, features: columns, factor: None });
        }
        if self.gram.nrows() == 0 {
            self.gram = Mat::zeros(images, images);
        }
        let new = Mat::from_fn(images, columns - self.done, |i, j| f64::from(x[[i, self.done + j]]));
        self.gram += &new * new.transpose();
        self.done = columns;
        let mut gram = self.gram.clone();
        let ridge = RIDGE * (0..images).map(|i| gram[(i, i)]).sum::<f64>() / images as f64;
        (0..images).for_each(|i| gram[(i, i)] += ridge.max(f64::MIN_POSITIVE));
        let factor = Llt::new(gram.as_ref(), Side::Lower)
            .map_err(|_| Error::Train("the features are too degenerate for a head".into()))?;
        let lower = factor.L().to_owned();
        let rows = Array2::from_shape_fn((images, images), |(i, j)| lower[(i, j)] as f32);
        Ok(Basis { scaler, rows, features: columns, factor: Some((x, lower)) })
    }
}

impl Basis {
    /// The standardised features themselves: \[images, features\].
    pub(super) fn standardised(&self) -> ArrayView2<'_, f32> {
        self.factor.as_ref().map_or(self.rows.view(), |(x, _)| x.view())
    }

    /// A layer on standardised features as one on raw ones.
    pub(super) fn fold(&self, layer: &LinearHead) -> LinearHead {
        self.scaler.fold(layer)
    }

    /// A head on these coordinates, weight \[classes, coordinates\], as one on raw features.
    pub(super) fn head(&self, weight: &Array2<f64>, bias: &Array1<f64>) -> LinearHead {
        let standard = match &self.factor {
            None => weight.mapv(|w| w as f32),
            // L⁻ᵀwᵀ are the images' shares in the weights.
            Some((x, lower)) => {
                let mut shares = Mat::from_fn(weight.ncols(), weight.nrows(), |i, k| weight[[k, i]]);
                solve_upper_triangular_in_place(lower.transpose(), shares.as_mut(), Par::Seq);
                let shares = Array2::from_shape_fn(weight.dim(), |(k, i)| shares[(i, k)] as f32);
                shares.dot(x)
            }
        };
        self.scaler.fold(&LinearHead { weight: standard, bias: bias.mapv(|b| b as f32) })
    }
}
