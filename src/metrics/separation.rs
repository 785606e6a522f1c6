//! How well features separate classes, image by image, without training on more than closed forms.

use faer::linalg::solvers::{DenseSolveCore, Llt};
use faer::{Mat, Side};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// The ridge penalties that the linear probe tries, relative to the mean eigenvalue of the Gram matrix.
const PENALTIES: [f64; 3] = [0.01, 0.1, 1.0];

/// Whether each image's nearest other image (by the cosine of features around their mean) has its class.
///
/// `rows` is `[images, features]`.
pub fn nearest_agree(rows: ArrayView2<f32>, labels: &[usize]) -> Vec<bool> {
    let mut rows = centred(rows);
    for mut row in rows.rows_mut() {
        let norm = row.dot(&row).sqrt();
        if norm > 0. {
            row /= norm;
        }
    }
    let products = products(&rows);
    let nearest = |i: usize| {
        let others = products.col(i).iter().copied().enumerate().filter(|(j, _)| *j != i).collect::<Vec<_>>();
        others.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(j, _)| j)
    };
    (0..labels.len()).map(|i| nearest(i).is_some_and(|j| labels[j] == labels[i])).collect()
}

/// Whether a linear probe that has not seen the image gives its class: ridge regression with an intercept on one-hot classes,
/// leave-one-out in closed form ((ŷ_i - h_ii y_i) / (1 - h_ii); Allen 1974), with the best of three penalties. The intercept is
/// fitted without the image, too: a mean that knows its label would tell it (rows around the mean add up to nothing, so of
/// noise with more features than images every image would get its class). Then the classes' shares among all images take the
/// place of those without it: with its class a little rarer than the others, noise would do worse than chance.
///
/// `rows` is `[images, features]`; features are standardised.
pub fn probe_agrees(rows: ArrayView2<f32>, labels: &[usize], classes: usize) -> Vec<bool> {
    let mut rows = centred(rows);
    for mut column in rows.columns_mut() {
        let deviation = (column.dot(&column) / labels.len() as f64).sqrt();
        if deviation > 1e-6 {
            column /= deviation;
        }
    }
    let mut gram = products(&rows);
    let mean = (0..labels.len()).map(|i| gram[(i, i)]).sum::<f64>() / labels.len() as f64;
    if mean > 0. {
        gram *= faer::Scale(1. / mean);
    }
    let mut targets = Array2::<f64>::zeros((labels.len(), classes));
    labels.iter().enumerate().for_each(|(i, &label)| targets[[i, label]] = 1.);
    let fits = PENALTIES.into_iter().map(|penalty| left_out(&gram, &targets, penalty, labels));
    fits.max_by_key(|agree| agree.iter().filter(|&&agrees| agrees).count()).unwrap_or_default()
}

fn left_out(gram: &Mat<f64>, targets: &Array2<f64>, penalty: f64, labels: &[usize]) -> Vec<bool> {
    let count = labels.len();
    let mut penalised = gram.clone();
    (0..count).for_each(|i| penalised[(i, i)] += penalty);
    let Ok(factor) = Llt::new(penalised.as_ref(), Side::Lower) else { return vec![false; count] };
    // G(G + pI)⁻¹ = I − p(G + pI)⁻¹
    let inverse = factor.inverse();
    let hat = Array2::from_shape_fn((count, count), |(i, j)| {
        f64::from(u8::from(i == j)) - penalty * inverse[(i, j)] + 1. / count as f64
    });
    let fitted = hat.dot(targets);
    let shares = targets.mean_axis(Axis(0)).unwrap_or_default();
    let agrees = |i: usize| {
        let own = hat[[i, i]];
        let scores: Array1<f64> = (&fitted.row(i) - &(&targets.row(i) * own)) / (1. - own).max(1e-9);
        let scores = scores + (&targets.row(i) - &shares) / (count as f64 - 1.).max(1.);
        let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.is_some_and(|(class, _)| class == labels[i])
    };
    (0..count).map(agrees).collect()
}

/// Those of all rows with each other.
fn products(rows: &Array2<f64>) -> Mat<f64> {
    let rows = Mat::from_fn(rows.nrows(), rows.ncols(), |i, j| rows[[i, j]]);
    &rows * rows.transpose()
}

fn centred(rows: ArrayView2<f32>) -> Array2<f64> {
    let rows = rows.mapv(f64::from);
    let mean = rows.mean_axis(Axis(0)).unwrap_or_default();
    rows - &mean
}

/// What a classifier's probabilities tell of each image, in nats: their divergence from the mean of all. The mean over the
/// images is the mutual information of image and class: high where it is sure, and not always of the same.
///
/// `probabilities` is `[images, classes]`.
pub fn information(probabilities: ArrayView2<f32>) -> Vec<f64> {
    let probabilities = probabilities.mapv(|p| f64::from(p).max(0.));
    let mean = probabilities.mean_axis(Axis(0)).unwrap_or_default();
    let divergence = |row: ndarray::ArrayView1<f64>| {
        row.iter().zip(&mean).filter(|(p, _)| **p > 0.).map(|(p, mean)| p * (p / mean).ln()).sum()
    };
    probabilities.rows().into_iter().map(divergence).collect()
}
