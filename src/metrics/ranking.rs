//! How well scores rank what belongs to a class before what does not.

/// What is true of the scores that are at least as high as each one: how many belong (`hits`), how many do not (`misses`);
/// from the highest score down, a row for each different one.
fn curve(belongs: &[bool], scores: &[f32]) -> Vec<[f64; 2]> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut rows, mut sums) = (Vec::new(), [0.; 2]);
    for (place, &i) in order.iter().enumerate() {
        sums[usize::from(!belongs[i])] += 1.;
        // Equal scores are passed at once: nothing tells which of them comes first. 0 and -0 are equal.
        if order.get(place + 1).is_none_or(|&next| scores[next] != scores[i]) {
            rows.push(sums);
        }
    }
    rows
}

/// The area under the ROC curve: the probability that what belongs has a higher score than what does not, ties counting half
/// (`roc_auc_score`). `None` where all belong or none does.
pub fn roc_auc(belongs: &[bool], scores: &[f32]) -> Option<f64> {
    let rows = curve(belongs, scores);
    let [hits, misses] = *rows.last()?;
    let area = |(sum, [h0, m0]): (f64, [f64; 2]), &[h, m]: &[f64; 2]| (sum + (m - m0) * (h + h0) / 2., [h, m]);
    (hits > 0. && misses > 0.).then(|| rows.iter().fold((0., [0.; 2]), area).0 / (hits * misses))
}

/// Average precision: Σ (recallₙ − recallₙ₋₁)·precisionₙ over the different scores (`average_precision_score`). `None` where
/// none belongs, where scikit-learn says 0.
pub fn average_precision(belongs: &[bool], scores: &[f32]) -> Option<f64> {
    let rows = curve(belongs, scores);
    let [hits, _] = *rows.last()?;
    let step = |(sum, before): (f64, f64), &[h, m]: &[f64; 2]| (sum + (h - before) * h / (h + m), h);
    (hits > 0.).then(|| rows.iter().fold((0., 0.), step).0 / hits)
}
