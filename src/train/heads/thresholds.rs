//! From which probability on a label is given.

use ndarray::{ArrayView1, ArrayView2};

/// The threshold of a label that no image has, or all have.
const EVEN: f32 = 0.5;

/// For each label, 1 or 0 in `truths` `[images, labels]`, the threshold of `probabilities` with the best F1: halfway from the
/// least probability that it takes to the next one.
pub fn thresholds(truths: ArrayView2<f32>, probabilities: ArrayView2<f32>) -> Vec<f32> {
    let of = |(truth, probabilities): (ArrayView1<f32>, ArrayView1<f32>)| {
        let mut rows: Vec<(f32, bool)> =
            probabilities.iter().copied().zip(truth.iter().map(|own| *own > 0.5)).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        let all = rows.iter().filter(|row| row.1).count();
        let (mut hits, mut best) = (0, (0., EVEN));
        for (given, pair) in rows.windows(2).enumerate().filter(|_| all < rows.len()) {
            hits += usize::from(pair[0].1);
            let f1 = 2. * hits as f64 / (given + 1 + all) as f64;
            if pair[1].0 < pair[0].0 && f1 > best.0 {
                best = (f1, pair[1].0 + (pair[0].0 - pair[1].0) / 2.);
            }
        }
        // Or all are given it.
        if let Some(last) = rows.last().filter(|_| all > 0 && all < rows.len())
            && 2. * all as f64 / (rows.len() + all) as f64 > best.0
        {
            best.1 = last.0 / 2.;
        }
        best.1
    };
    truths.columns().into_iter().zip(probabilities.columns()).map(of).collect()
}
