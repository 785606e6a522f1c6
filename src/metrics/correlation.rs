//! How alike two lists of values are in their order.

/// Spearman's rank correlation, from −1 to 1: Pearson's of the ranks, equal values sharing the mean of theirs. 0 where one of
/// the lists has a single value throughout, or they are not equally long.
pub fn spearman(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return 0.;
    }
    let [a, b] = [a, b].map(ranks);
    let mean = (a.len() as f64 - 1.) / 2.;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    if scale > 0. { product(&a, &b) / scale } else { 0. }
}

/// From 0, in the order of the values.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let (mut ranks, mut start) = (vec![0.; values.len()], 0);
    for equal in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = start as f64 + (equal.len() as f64 - 1.) / 2.;
        equal.iter().for_each(|&i| ranks[i] = rank);
        start += equal.len();
    }
    ranks
}
