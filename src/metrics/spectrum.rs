//! Singular values of a matrix of features, and what targets are in its singular vectors.

use ndarray::{Array2, Axis};
use rayon::prelude::*;

/// Squared singular values below this share of the largest are rounding.
const ROUNDING: f64 = 1e-11;
/// Steps of the QL iteration for one eigenvalue; a few are needed.
const STEPS: usize = 50;

/// Of a matrix X = U·diag(s)·Vᵀ.
pub(super) struct Spectrum {
    /// s², those that are rounding left out; in no order.
    pub squares: Vec<f64>,
    /// Uᵀ·Y for the one-hot classes Y: `[squares, classes]`.
    pub targets: Array2<f64>,
}

impl Spectrum {
    /// Of `rows`, `[images, features]`: by the smaller one of X·Xᵀ and Xᵀ·X. Singular vectors are never made: the steps that
    /// would make them are done with the targets.
    pub fn of(rows: Array2<f64>, labels: &[usize], classes: usize) -> Spectrum {
        let mut one_hot = Array2::zeros((labels.len(), classes));
        labels.iter().enumerate().for_each(|(image, &label)| one_hot[[image, label]] = 1.);
        let wide = rows.nrows() <= rows.ncols();
        let (matrix, targets) =
            if wide { (rows.dot(&rows.t()), one_hot) } else { (rows.t().dot(&rows), rows.t().dot(&one_hot)) };
        let (values, targets) = eigen(matrix, targets);
        let largest = values.iter().copied().fold(0., f64::max);
        let kept: Vec<usize> = (0..values.len()).filter(|&i| values[i] > ROUNDING * largest).collect();
        let mut targets = targets.select(Axis(0), &kept);
        let squares: Vec<f64> = kept.iter().map(|&i| values[i]).collect();
        if !wide {
            // Uᵀ·Y = diag(1/s)·Vᵀ·Xᵀ·Y
            targets.rows_mut().into_iter().zip(&squares).for_each(|(mut row, square)| row /= square.sqrt());
        }
        Spectrum { squares, targets }
    }
}

/// Eigenvalues of a symmetric matrix = Q·diag(λ)·Qᵀ, and Qᵀ·targets. Householder's reduction to three diagonals, then QL with
/// implicit shifts (as EISPACK's `tred2` and `tql2`, without Q).
fn eigen(mut matrix: Array2<f64>, mut targets: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let size = matrix.nrows();
    let mut beside = vec![0.; size];
    for (k, made) in beside.iter_mut().enumerate().take(size.saturating_sub(2)) {
        *made = reduce(&mut matrix, &mut targets, k);
    }
    if size > 1 {
        beside[size - 2] = matrix[[size - 1, size - 2]];
    }
    let mut diagonal = matrix.diag().to_vec();
    (0..size).for_each(|at| isolate(&mut diagonal, &mut beside, &mut targets, at));
    (diagonal, targets)
}

/// Reflects rows and columns behind `k` so that column `k` is zero but next to the diagonal; gives what is there.
fn reduce(matrix: &mut Array2<f64>, targets: &mut Array2<f64>, k: usize) -> f64 {
    let size = matrix.nrows();
    let mut v: Vec<f64> = (k + 1..size).map(|i| matrix[[i, k]]).collect();
    let norm = dot(&v, &v).sqrt();
    let made = if v[0] > 0. { -norm } else { norm };
    v[0] -= made;
    let length = dot(&v, &v).sqrt();
    if length == 0. {
        return made;
    }
    v.iter_mut().for_each(|x| *x /= length);
    let values = matrix.as_slice_mut().expect("it is in the standard layout");
    let behind = &mut values[(k + 1) * size..];
    let product: Vec<f64> = behind.par_chunks(size).map(|row| dot(&row[k + 1..], &v)).collect();
    let along = dot(&product, &v);
    let w: Vec<f64> = product.iter().zip(&v).map(|(p, v)| 2. * (p - along * v)).collect();
    behind.par_chunks_mut(size).zip(v.par_iter().zip(&w)).for_each(|(row, (&vi, &wi))| {
        row[k + 1..].iter_mut().zip(v.iter().zip(&w)).for_each(|(a, (vj, wj))| *a -= vi * wj + wi * vj);
    });
    let mut below = targets.slice_mut(ndarray::s![k + 1.., ..]);
    let parts = ndarray::ArrayView1::from(&v).dot(&below);
    below.rows_mut().into_iter().zip(&v).for_each(|(mut row, &v)| row.scaled_add(-2. * v, &parts));
    made
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Eight sums, which the compiler makes a vector.
    let (a8, b8) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.; 8];
    a8.0.iter().zip(b8.0).for_each(|(a, b)| (0..8).for_each(|i| sums[i] += a[i] * b[i]));
    sums.iter().sum::<f64>() + a8.1.iter().zip(b8.1).map(|(a, b)| a * b).sum::<f64>()
}

/// Rotates until the value at `at` stands alone.
fn isolate(diagonal: &mut [f64], beside: &mut [f64], targets: &mut Array2<f64>, at: usize) {
    let size = diagonal.len();
    for _ in 0..STEPS {
        let small = |i: usize| beside[i].abs() <= f64::EPSILON * (diagonal[i].abs() + diagonal[i + 1].abs());
        let end = (at..size - 1).find(|&i| small(i)).unwrap_or(size - 1);
        if end == at {
            return;
        }
        let g = (diagonal[at + 1] - diagonal[at]) / (2. * beside[at]);
        let root = g.hypot(1.);
        let mut g = diagonal[end] - diagonal[at] + beside[at] / (g + root.copysign(g));
        let (mut sine, mut cosine, mut shift) = (1., 1., 0.);
        let mut early = false;
        for i in (at..end).rev() {
            let (f, b) = (sine * beside[i], cosine * beside[i]);
            let r = f.hypot(g);
            beside[i + 1] = r;
            if r == 0. {
                diagonal[i + 1] -= shift;
                beside[end] = 0.;
                early = true;
                break;
            }
            (sine, cosine) = (f / r, g / r);
            let difference = diagonal[i + 1] - shift;
            let r = (diagonal[i] - difference) * sine + 2. * cosine * b;
            shift = sine * r;
            diagonal[i + 1] = difference + shift;
            g = cosine * r - b;
            let (mut upper, mut lower) = targets.multi_slice_mut((ndarray::s![i, ..], ndarray::s![i + 1, ..]));
            upper.iter_mut().zip(lower.iter_mut()).for_each(|(x, y)| {
                (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
            });
        }
        if !early {
            diagonal[at] -= shift;
            beside[at] = g;
            beside[end] = 0.;
        }
    }
}
