//! Stratified folds from a seed.

use sha2::{Digest, Sha256};

/// The fold of each image: every class is dealt round the folds in an order that SHA-256 of (seed, index) gives, so that
/// a seed means the same folds on every platform and in every release. The deal goes on where the last class ended: the
/// folds' sizes then differ by at most one.
pub(super) fn stratified(labels: &[usize], folds: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<(usize, [u8; 32], usize)> =
        labels.iter().enumerate().map(|(image, &label)| (label, key(seed, image), image)).collect();
    order.sort_unstable();
    let mut fold = vec![0; labels.len()];
    for (position, (_, _, image)) in order.into_iter().enumerate() {
        fold[image] = position % folds;
    }
    fold
}

/// How many folds there are, the fold of each image given.
pub(super) fn count(fold: &[usize]) -> usize {
    fold.iter().max().map_or(0, |last| last + 1)
}

fn key(seed: u64, image: usize) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update((image as u64).to_le_bytes()).finalize().into()
}
