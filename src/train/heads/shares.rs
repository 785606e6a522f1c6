//! Discriminants of fewer images than features, from the images' inner products.

use crate::error::{Error, Result};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use ndarray::{Array1, Array2};

/// Weights are sums over the images' features: how often each image counts in each class's, \[images, classes\], and biases.
pub(super) struct Shares {
    pub(super) of: Mat<f64>,
    pub(super) bias: Array1<f64>,
}

/// A·B on this thread: the same whatever their number. Folds are computed side by side.
pub(super) fn product(a: MatRef<f64>, b: MatRef<f64>) -> Mat<f64> {
    let mut product = Mat::zeros(a.nrows(), b.ncols());
    matmul(&mut product, Accum::Replace, a, b, 1., Par::Seq);
    product
}

impl Shares {
    /// Of discriminants as `Sums::solve` has them, of images with so many features whose inner products XXᵀ are `gram`, \[images, images\], and that
    /// have these `labels`.
    ///
    /// With C the features around their classes' means the covariance is keep·CᵀC + add·I, and its inverse
    /// (I − Cᵀ(CCᵀ + add/keep·I)⁻¹C)/add (Woodbury): a factor of as many rows as there are images.
    pub(super) fn new(
        mut gram: Mat<f64>,
        labels: &[usize],
        classes: usize,
        features: usize,
        (strength, alike): (f64, bool),
    ) -> Result<Shares> {
        let images = labels.len();
        let mut counts = vec![0f64; classes];
        labels.iter().for_each(|&label| counts[label] += 1.);
        let average = Mat::from_fn(images, classes, |i, k| if labels[i] == k { 1. / counts[k] } else { 0. });
        // Xμ, μᵀμ and Cμ
        let products = product(gram.as_ref(), average.as_ref());
        let between = product(average.transpose(), products.as_ref());
        let mut solved = Mat::from_fn(images, classes, |i, k| products[(i, k)] - between[(labels[i], k)]);
        for j in 0..images {
            let row: Vec<f64> = (0..classes).map(|k| products[(j, k)]).collect();
            let below = gram.col_as_slice_mut(j)[j..].iter_mut().zip(&solved.col_as_slice(labels[j])[j..]);
            below.zip(&labels[j..]).for_each(|((value, around), &label)| *value -= around + row[label]);
        }
        let trace: f64 = (0..images).map(|i| gram[(i, i)]).sum();
        let (keep, add) = ((1. - strength) / images as f64, strength * trace / images as f64 / features as f64);
        (0..images).for_each(|i| gram[(i, i)] += add / keep);
        solve(gram, &mut solved)?;
        // What is solved for is around its classes' means, as Cμ is, so that Cᵀ times it is Xᵀ times it.
        let of = Mat::from_fn(images, classes, |i, k| (average[(i, k)] - solved[(i, k)]) / add);
        let norm = |k: usize| (0..images).map(|i| products[(i, k)] * of[(i, k)]).sum::<f64>();
        let bias: Array1<f64> = (0..classes).map(|k| prior(counts[k], images as f64) - 0.5 * norm(k)).collect();
        let mut shares = Shares { of, bias };
        if alike {
            let means = product(products.transpose(), shares.of.as_ref());
            shares = shares.alike(&Array2::from_shape_fn((classes, classes), |(j, k)| means[(j, k)]), &counts);
        }
        let Shares { mut of, mut bias } = shares;
        // As `Linear::without` has it.
        let present: Vec<usize> = (0..classes).filter(|&k| counts[k] > 0.).collect();
        let mean =
            |values: &dyn Fn(usize) -> f64| present.iter().map(|&k| values(k)).sum::<f64>() / present.len() as f64;
        let middle = mean(&|k| bias[k]) - 1.;
        for absent in (0..classes).filter(|&k| counts[k] == 0.) {
            (0..images).for_each(|i| of[(i, absent)] = mean(&|k| of[(i, k)]));
            bias[absent] = middle;
        }
        Ok(Shares { of, bias })
    }
}

/// The logarithm of a class's share, of one without images as of half an image.
pub(super) fn prior(count: f64, images: f64) -> f64 {
    (count.max(0.5) / images).ln()
}

/// That there is no covariance within the classes, and what to do.
pub(super) fn unvaried() -> Error {
    let what = "the features within the classes do not vary, as where each class has one image";
    Error::Train(format!("{what}; give more images a class, or --head softmax or ncm instead of lda"))
}

/// A symmetric positive definite matrix' inverse times `right`, in its place; the lower half is read.
fn solve(mut matrix: Mat<f64>, right: &mut Mat<f64>) -> Result<()> {
    let scratch = llt::factor::cholesky_in_place_scratch::<f64>(matrix.nrows(), Par::Seq, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    llt::factor::cholesky_in_place(matrix.as_mut(), Default::default(), Par::Seq, stack, Default::default())
        .map_err(|_| unvaried())?;
    llt::solve::solve_in_place(matrix.as_ref(), right.as_mut(), Par::Seq, stack);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::basis::Bases;
    use super::super::closed::Parted;
    use crate::metrics::softmax;
    use ndarray::Array2;
    use serde_json::Value;

    /// Of more images than features, and of fewer.
    #[test]
    fn each_half_is_judged_by_scikit_learns_discriminants_of_the_other() {
        let golden = include_str!("../../../tests/golden/discriminants.json");
        let cases: Vec<Value> = serde_json::from_str(golden).unwrap();
        let numbers = |v: &Value| v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
        for case in &cases {
            let labels: Vec<usize> = numbers(&case["labels"]).into_iter().map(|v| v as usize).collect();
            let (features, classes) = (case["features"].as_u64().unwrap() as usize, labels.iter().max().unwrap() + 1);
            let x = numbers(&case["x"]).into_iter().map(|v| v as f32).collect();
            let x = Array2::from_shape_vec((labels.len(), features), x).unwrap();
            let basis = Bases::new(x.view(), &[features]).first(features).unwrap();
            let fold: Vec<usize> = (0..labels.len()).map(|i| i % 2).collect();
            let parted = Parted::new(&basis, &labels, classes, &fold, true, true);
            for (strength, want) in case["halves"].as_object().unwrap() {
                let found = softmax(parted.logits((strength.parse().unwrap(), false)).unwrap().view());
                for (ours, want) in found.iter().zip(numbers(want)) {
                    assert!((f64::from(*ours) - want).abs() < 2e-4, "{strength}: {ours} against {want}");
                }
            }
        }
    }
}
