//! Rows of many numbers as points on a plane.

use crate::random;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

/// More rows than these say little more of where the rows spread most.
const MOST: usize = 2000;
/// Rounds after which the axes are taken as they are; a map needs no more digits.
const ROUNDS: usize = 300;
/// How little a weight of an axis, which is of length 1, may still change in a round.
const CHANGE: f32 = 1e-6;

/// The first two principal components of each row (`PCA(2)` of scikit-learn, axes' signs included): `[rows, features]` to
/// `[rows, 2]`. Axes are those of at most 2,000 rows, evenly chosen; by orthogonal iteration (Golub and Van Loan, 8.2).
pub fn principal(rows: ArrayView2<f32>) -> Array2<f32> {
    let (n, features) = rows.dim();
    if n == 0 || features == 0 {
        return Array2::zeros((n, 2));
    }
    let largest = rows.iter().fold(0f32, |most, value| most.max(value.abs()));
    if largest > 0. && largest.is_finite() && !(1e-12..1e12).contains(&largest) {
        // Their squares would leave float32; a power of two takes nothing from them.
        let scale = 2f32.powi(-(largest.log2() as i32).clamp(-120, 120));
        return principal((&rows * scale).view()) / scale;
    }
    let places: Vec<usize> = (0..n.min(MOST)).map(|i| i * n / n.min(MOST)).collect();
    let sample = rows.select(Axis(0), &places);
    let centre = sample.mean_axis(Axis(0)).unwrap_or_default();
    let sample = sample - &centre;
    let mut stream = random::stream(0, "pca", 0, 0);
    let mut axes = Array2::from_shape_simple_fn((features, 2), || random::uniform(&mut stream) as f32 - 0.5);
    orthonormal(&mut axes);
    for _ in 0..ROUNDS {
        let mut next = sample.t().dot(&sample.dot(&axes));
        orthonormal(&mut next);
        let change = (&next - &axes).iter().fold(0f32, |most, d| most.max(d.abs()));
        axes = next;
        if change < CHANGE {
            break;
        }
    }
    // scikit-learn's sign: the largest weight is positive.
    for mut axis in axes.columns_mut() {
        let largest = axis.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or_default();
        axis *= if largest < 0. { -1. } else { 1. };
    }
    // Rows need not be copied for it.
    rows.dot(&axes) - centre.dot(&axes)
}

/// Gram and Schmidt, twice for the second column, which may nearly be the first. Where nothing but rounding is left of it, as
/// of rows on a line, it becomes 0.
fn orthonormal(axes: &mut Array2<f32>) {
    let norm = |axis: &Array1<f32>| axis.dot(axis).sqrt();
    let [mut first, mut second] = [0, 1].map(|column| axes.column(column).to_owned());
    let (length, before) = (norm(&first), norm(&second));
    first /= if length > 0. { length } else { 1. };
    for _ in 0..2 {
        let share = first.dot(&second);
        second.scaled_add(-share, &first);
    }
    let after = norm(&second);
    second *= if after > 1e-6 * before { 1. / after } else { 0. };
    axes.slice_mut(s![.., 0]).assign(&first);
    axes.slice_mut(s![.., 1]).assign(&second);
}
