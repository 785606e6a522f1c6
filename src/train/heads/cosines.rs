//! Class means as directions: heads that count classes alike, however many images each has.

use super::closed::Linear;
use super::shares::Shares;
use ndarray::{Array1, Array2, Axis};

/// A length beside that of a mean itself which is rounding.
const ROUNDING: f64 = 1e-12;

/// What each class's mean weighs in the middle of all: as the root of its number of images. By the number itself the middle lies at the
/// commonest class, which then has no direction of its own; alike, it has the chance that is in the means of few (docs/heads.md).
fn parts(counts: &[f64]) -> Array1<f64> {
    let roots: Array1<f64> = counts.iter().map(|count| if *count > 0.5 { count.sqrt() } else { 0. }).collect();
    let sum = roots.sum().max(f64::MIN_POSITIVE);
    roots / sum
}

/// What weights less those of the middle are divided by, and the biases, so that scores are the scalar products with class means of length
/// 1 around the middle: of the `products` μⱼᵀΣ⁻¹μₖ of the means.
fn lengths(products: &Array2<f64>, parts: &Array1<f64>) -> (Array1<f64>, Array1<f64>) {
    let middle = parts.dot(products);
    let own = middle.dot(parts);
    let length = |k: usize| {
        let least = (ROUNDING * products[[k, k]].abs()).max(f64::MIN_POSITIVE);
        (products[[k, k]] - 2. * middle[k] + own).max(least).sqrt()
    };
    let lengths: Array1<f64> = (0..products.ncols()).map(length).collect();
    let biases = (own - &middle) / &lengths;
    (lengths, biases)
}

impl Linear {
    /// Of weights Σ⁻¹μ, without biases.
    pub(super) fn alike(weight: Array2<f64>, means: &Array2<f64>, counts: &[f64]) -> Linear {
        let parts = parts(counts);
        let (lengths, bias) = lengths(&means.dot(&weight.t()), &parts);
        let middle = parts.dot(&weight);
        Linear { weight: (weight - &middle) / lengths.insert_axis(Axis(1)), bias }
    }
}

impl Shares {
    /// The same of weights that are sums over images; `products` as above.
    pub(super) fn alike(mut self, products: &Array2<f64>, counts: &[f64]) -> Shares {
        let parts = parts(counts);
        let (lengths, bias) = lengths(products, &parts);
        for i in 0..self.of.nrows() {
            let middle: f64 = parts.iter().enumerate().map(|(k, part)| part * self.of[(i, k)]).sum();
            (0..self.of.ncols()).for_each(|k| self.of[(i, k)] = (self.of[(i, k)] - middle) / lengths[k]);
        }
        Shares { of: self.of, bias }
    }
}
