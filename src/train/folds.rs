//! Stratified folds from a seed, of images or of whole groups of images.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Differences of deviations that are rounding.
const ALIKE: f64 = 1e-9;

/// The fold of each image, for up to so many deals; images of one of `groups` share it, where there are any. Groups are dealt as
/// evenly as can be the first time, and then in orders that the seed gives. Of deals that part the images alike there is one.
pub(super) fn deals(labels: &[usize], groups: &[usize], folds: usize, seed: u64, repeats: usize) -> Vec<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let deal = |repeat: usize| {
        let seed = seed.wrapping_add((repeat as u64) << 32);
        match groups.is_empty() {
            true => stratified(labels, folds, seed),
            false => grouped(labels, groups, folds, seed, repeat == 0),
        }
    };
    (0..repeats).map(deal).filter(|fold| seen.insert(in_order(fold))).collect()
}

/// Folds numbered as images come to them.
fn in_order(fold: &[usize]) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    fold.iter()
        .map(|own| {
            let next = numbers.len();
            *numbers.entry(own).or_insert(next)
        })
        .collect()
}

/// As many folds as are wanted, or as the median class has images (or groups, by `counts`); two at least. A class with fewer is missing
/// in some folds' training, which costs it, and not all others.
pub(super) fn at_most(wanted: usize, counts: Vec<usize>) -> usize {
    wanted.min(median(counts)).max(2)
}

/// What the median class has.
pub(super) fn median(mut counts: Vec<usize>) -> usize {
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// The places of the images whose class has some in several folds of every deal; all images where there are none such.
pub(super) fn known(labels: &[usize], deals: &[impl AsRef<[usize]>], classes: usize) -> Vec<usize> {
    let mut apart = vec![true; classes];
    for fold in deals {
        let (mut first, mut spread) = (vec![None; classes], vec![false; classes]);
        for (&label, &own) in labels.iter().zip(fold.as_ref()) {
            spread[label] |= *first[label].get_or_insert(own) != own;
        }
        apart.iter_mut().zip(spread).for_each(|(all, own)| *all &= own);
    }
    let some: Vec<usize> = (0..labels.len()).filter(|&i| apart[labels[i]]).collect();
    if some.is_empty() { (0..labels.len()).collect() } else { some }
}

/// How many different groups there are.
pub(super) fn distinct(groups: &[usize]) -> usize {
    groups.iter().collect::<BTreeSet<_>>().len()
}

/// How many images, or groups of images, each class has.
pub fn separate(labels: &[usize], groups: &[usize], classes: usize) -> Vec<usize> {
    let group = |image: usize| groups.get(image).copied().unwrap_or(image);
    let pairs: BTreeSet<(usize, usize)> = labels.iter().enumerate().map(|(i, &label)| (label, group(i))).collect();
    let mut counts = vec![0; classes];
    pairs.into_iter().for_each(|(label, _)| counts[label] += 1);
    counts
}

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

/// Whole groups dealt as scikit-learn's `StratifiedGroupKFold` does: each to the fold that leaves the classes' shares in the folds
/// most alike; of equally good ones to that with the fewest images. With `sorted` those whose classes are the most unequal come
/// first, and of groups that are alike, else of all, the order is what the seed gives. There may be fewer folds than asked for.
fn grouped(labels: &[usize], groups: &[usize], folds: usize, seed: u64, sorted: bool) -> Vec<usize> {
    let classes = labels.iter().max().map_or(0, |last| last + 1);
    let (mut counts, mut own) = (vec![0f64; classes], BTreeMap::<usize, BTreeMap<usize, f64>>::new());
    for (&label, &group) in labels.iter().zip(groups) {
        counts[label] += 1.;
        *own.entry(group).or_default().entry(label).or_default() += 1.;
    }
    let mut order: Vec<(&usize, &BTreeMap<usize, f64>)> = own.iter().collect();
    order.sort_by_cached_key(|(group, _)| key(seed, **group));
    let unequal = |own: &BTreeMap<usize, f64>| {
        let mean = own.values().sum::<f64>() / classes as f64;
        own.values().map(|count| count * count).sum::<f64>() / classes as f64 - mean * mean
    };
    if sorted {
        order.sort_by(|a, b| unequal(b.1).total_cmp(&unequal(a.1)));
    }
    let (mut shares, mut sizes) = (vec![vec![0f64; classes]; folds], vec![0f64; folds]);
    let mut fold_of = BTreeMap::new();
    for (group, own) in order {
        // How unequal the folds would be in the group's classes, with it in this one.
        let spread =
            |at: usize| own.iter().map(|(&k, count)| deviation(&shares, k, at, count / counts[k])).sum::<f64>();
        let mut best = (f64::INFINITY, 0);
        for at in 0..folds {
            let spread = spread(at);
            let alike = (spread - best.0).abs() <= ALIKE;
            if spread < best.0 - ALIKE || alike && sizes[at] < sizes[best.1] {
                best = (spread, at);
            }
        }
        own.iter().for_each(|(&k, count)| shares[best.1][k] += count / counts[k]);
        sizes[best.1] += own.values().sum::<f64>();
        fold_of.insert(*group, best.1);
    }
    // No fold is empty.
    let numbers: Vec<usize> = (0..folds).map(|f| sizes[..f].iter().filter(|size| **size > 0.).count()).collect();
    groups.iter().map(|group| numbers[fold_of[group]]).collect()
}

/// That of a class's shares in the folds, with so much more in one of them.
fn deviation(shares: &[Vec<f64>], class: usize, at: usize, more: f64) -> f64 {
    let share = |f: usize| shares[f][class] + if f == at { more } else { 0. };
    let mean = (0..shares.len()).map(share).sum::<f64>() / shares.len() as f64;
    ((0..shares.len()).map(|f| (share(f) - mean).powi(2)).sum::<f64>() / shares.len() as f64).sqrt()
}

fn key(seed: u64, image: usize) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update((image as u64).to_le_bytes()).finalize().into()
}
