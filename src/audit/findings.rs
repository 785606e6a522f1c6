//! From what was measured to what may be wrong with which image.

use super::near::{BLANK, Pair};
use super::neighbours::Neighbour;
use super::suspects::Judgement;
use super::{Finding, Kind};
use crate::data::{Facts, Item, Split};
use std::collections::BTreeMap;

/// Images with a shorter side below this show next to nothing, …
const TINY: u32 = 8;
/// … and so do those whose shorter side is this many times below the usual.
const SMALLER: u32 = 8;
/// Red, green and blue of an image of one colour vary by less over all pixels: what the thumbnail does not show, a spot on a
/// page or colours of one brightness, is there.
const FLAT: u8 = 16;
/// Deviations from the usual from which on an image is like no other.
const FAR: f64 = 3.;

pub(super) fn finding(classes: &[String], item: &Item, kind: Kind, score: f32, suggestion: String) -> Finding {
    let (path, label) = (item.path.clone(), classes[item.label].clone());
    Finding { path, label, split: item.split, kind, score, suggestion, other: None }
}

/// What copies mean: a leak where one image is there to train and the other is not, a conflict where labels differ, else a
/// duplicate (of two splits that do not train, the one of `val`). One finding of each kind an image, of its nearest copy; where a
/// training image is in conflict with others that train, of the nearest of these, since of the rest it is a leak, too. Of
/// images with the same pixels many are no pairs: they are all copies of all.
pub fn copies(classes: &[String], items: &[&Item], pairs: &[Pair]) -> Vec<Finding> {
    // The copy of each image and kind, whether it alone does not train, and how far it is.
    let mut nearest: BTreeMap<(usize, Kind), (bool, f32, usize)> = BTreeMap::new();
    let trains = |place: usize| items[place].split == Split::Train;
    let mut put = |place: usize, kind: Kind, distance: f32, other: usize| {
        let apart = trains(place) && !trains(other);
        let best = nearest.entry((place, kind)).or_insert((apart, distance, other));
        if (apart, distance) < (best.0, best.1) {
            *best = (apart, distance, other);
        }
    };
    let own = pairs.iter().filter(|pair| pair.is_copy()).map(|pair| (pair.places, pair.distance()));
    for ([a, b], distance) in own.chain(between(items, pairs)) {
        let differ = items[a].label != items[b].label;
        if differ {
            put(a, Kind::Conflict, distance, b);
            put(b, Kind::Conflict, distance, a);
        }
        match (trains(a), trains(b)) {
            (true, false) => put(a, Kind::Leak, distance, b),
            (false, true) => put(b, Kind::Leak, distance, a),
            _ if differ => {}
            // Of images to validate and to test, the one to test is not to go.
            _ if items[a].split < items[b].split => put(a, Kind::Duplicate, distance, b),
            _ if items[b].split < items[a].split => put(b, Kind::Duplicate, distance, a),
            _ => put(b, Kind::Duplicate, distance, a),
        }
    }
    let named = |((place, kind), (_, distance, other)): ((usize, Kind), (bool, f32, usize))| {
        let found = finding(classes, items[place], kind, 1. - distance, items[other].path.clone());
        Finding { other: Some(items[other].split), ..found }
    };
    nearest.into_iter().map(named).collect()
}

/// Of images with the same pixels, each with the first that trains, the first that does not, and the first of another label: all are
/// what one is.
fn between(items: &[&Item], pairs: &[Pair]) -> Vec<([usize; 2], f32)> {
    // The first of those with the same pixels, of each that is not it: such pairs all name it, or one that names it.
    let mut first: Vec<usize> = (0..items.len()).collect();
    let mut exact: Vec<[usize; 2]> = pairs.iter().filter(|pair| pair.exact).map(|pair| pair.places).collect();
    exact.sort_unstable_by_key(|[a, b]| (*b, *a));
    exact.iter().for_each(|&[a, b]| first[b] = first[b].min(first[a]));
    let mut groups = BTreeMap::<usize, Vec<usize>>::new();
    (0..items.len()).for_each(|place| groups.entry(first[place]).or_default().push(place));
    let mut found = Vec::new();
    for group in groups.into_values().filter(|group| group.len() > 2) {
        let of = |is: &dyn Fn(&Item) -> bool| group.iter().copied().find(|&place| is(items[place]));
        // One of the first two is the first of all, which has this label.
        let one = items[group[0]].label;
        let ends = [
            of(&|item| item.split == Split::Train),
            of(&|item| item.split != Split::Train),
            of(&|item| item.label != one),
        ];
        for &place in &group {
            let others = ends.iter().copied().flatten().filter(|other| *other != place);
            found.extend(others.map(|other| ([place.min(other), place.max(other)], 0.)));
        }
    }
    found
}

/// Labels that are probably wrong, with the likelier one.
pub fn mislabelled(classes: &[String], items: &[&Item], judgement: &Judgement) -> Vec<Finding> {
    let named = |&place: &usize| {
        let other = classes[judgement.other[place]].clone();
        finding(classes, items[place], Kind::Suspect, 1. - judgement.quality[place], other)
    };
    judgement.suspects.iter().map(named).collect()
}

/// Images that are one colour all over, or too small to show anything.
pub fn showing_nothing(classes: &[String], items: &[&Item], facts: &[Facts]) -> Vec<Finding> {
    let side = |facts: &Facts| facts.size[0].min(facts.size[1]);
    let mut sides: Vec<u32> = facts.iter().map(side).collect();
    sides.sort_unstable();
    let usual = sides.get(sides.len() / 2).copied().unwrap_or(0);
    let limit = TINY.max(usual.div_ceil(SMALLER));
    let mut found = Vec::new();
    for (item, facts) in items.iter().zip(facts) {
        if facts.spread() < BLANK && facts.range < FLAT {
            found.push(finding(classes, item, Kind::Blank, 1. - facts.spread() / BLANK, "one colour all over".into()));
        }
        if side(facts) < limit {
            let size = format!("{}x{} pixels", facts.size[0], facts.size[1]);
            found.push(finding(classes, item, Kind::Tiny, 1. - side(facts) as f32 / limit as f32, size));
        }
    }
    found
}

/// Images that are far from all others: the logarithm of the mean distance (1 − cosine) to the neighbours is more than three
/// deviations above the usual, both robust (median, and median absolute deviation times 1.4826).
pub fn outliers(classes: &[String], items: &[&Item], near: &[Vec<Neighbour>]) -> Vec<Finding> {
    let distance = |list: &Vec<Neighbour>| {
        let sum: f64 = list.iter().map(|other| f64::from(1. - other.cosine)).sum();
        // Copies have none, up to rounding.
        (sum / list.len().max(1) as f64).max(1e-6).ln()
    };
    let distances: Vec<f64> = near.iter().map(distance).collect();
    let usual = median(distances.clone());
    let deviation = 1.4826 * median(distances.iter().map(|distance| (distance - usual).abs()).collect());
    let far = items.iter().zip(&distances).map(|(item, distance)| (item, (distance - usual) / deviation.max(1e-3)));
    let far = far.filter(|(_, far)| *far > FAR);
    let named = |(item, far): (&&Item, f64)| {
        let reason = format!("{far:.1} deviations farther from all others than usual");
        finding(classes, item, Kind::Outlier, (1. - 1. / far) as f32, reason)
    };
    far.map(named).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.)
}
