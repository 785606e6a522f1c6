//! What rows are; the losses of one row of logits, and their derivatives.

use ndarray::{Array1, ArrayView1, ArrayView2};

/// What the rows are.
#[derive(Clone, Copy)]
pub(super) enum Truth<'a> {
    /// One class each.
    Classes(&'a [usize]),
    /// Labels that each has, 1, or has not, 0: `[rows, labels]`.
    Labels(ArrayView2<'a, f32>),
}

impl Truth<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Truth::Classes(labels) => labels.len(),
            Truth::Labels(rows) => rows.nrows(),
        }
    }
}

/// The biases that give each label the share of the rows marked that have it, as if half of one more had.
pub(super) fn biases(rows: ArrayView2<f32>, marked: &[bool]) -> Vec<f32> {
    let own = rows.rows().into_iter().zip(marked).filter(|(_, marked)| **marked);
    let none = (0., Array1::<f32>::zeros(rows.ncols()));
    let (count, sums) = own.fold(none, |(count, sums), (row, _)| (count + 1., sums + row));
    let shares = sums.iter().map(|own| (own + 0.5) / (count + 1.));
    shares.map(|share: f32| (share / (1. - share)).ln()).collect()
}

/// The cross-entropy of one row at logits + length·slopes, its first and second derivative; writes softmax − onehot.
pub(super) fn softmax_row(
    z: &[f64],
    s: &[f32],
    length: f64,
    label: usize,
    exps: &mut [f64],
    residual: &mut [f32],
) -> [f64; 3] {
    let mut max = f64::NEG_INFINITY;
    for ((e, &z), &s) in exps.iter_mut().zip(z).zip(s) {
        *e = z + length * f64::from(s);
        max = max.max(*e);
    }
    let (own, mut total) = (exps[label], 0.0);
    for e in exps.iter_mut() {
        *e = (*e - max).exp();
        total += *e;
    }
    let (mut mean, mut square) = (0.0, 0.0);
    for ((e, &s), r) in exps.iter().zip(s).zip(residual.iter_mut()) {
        let (p, s) = (e / total, f64::from(s));
        mean += p * s;
        square += p * s * s;
        *r = p as f32;
    }
    residual[label] = (exps[label] / total - 1.0) as f32;
    [total.ln() + max - own, mean - f64::from(s[label]), (square - mean * mean).max(0.0)]
}

/// The same of one row's labels, with a sigmoid each; writes sigmoid − labels.
pub(super) fn sigmoid_row(z: &[f64], s: &[f32], length: f64, own: ArrayView1<f32>, residual: &mut [f32]) -> [f64; 3] {
    let mut sums = [0.; 3];
    for (((&z, &s), &own), r) in z.iter().zip(s).zip(own).zip(residual) {
        let (s, own) = (f64::from(s), f64::from(own));
        let z = z + length * s;
        let (loss, p) = binary(z, own);
        sums[0] += loss;
        sums[1] += (p - own) * s;
        sums[2] += p * (1. - p) * s * s;
        *r = (p - own) as f32;
    }
    sums
}

/// −t·log σ(z) − (1 − t)·log(1 − σ(z)) without overflow, and σ(z).
pub(super) fn binary(z: f64, t: f64) -> (f64, f64) {
    let e = (-z.abs()).exp();
    (z.max(0.) - z * t + e.ln_1p(), if z >= 0. { 1. } else { e } / (1. + e))
}
