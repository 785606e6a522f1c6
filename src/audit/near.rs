//! Copies of images: the same pixels, or what compression, resizing and slight crops make of them.
//!
//! Candidates are each image's nearest neighbours by features, which crops change little, and by a perceptual hash, which
//! compression changes little. Each pair is then aligned, and what is left of one image is judged by what is left of its
//! other neighbours: where all trousers look alike, copies look more alike than that.

use super::align::residual;
use super::neighbours::{Neighbour, nearest};
use crate::data::facts::{AREA, Facts, SIDE};
use crate::error::Result;
use crate::progress::{Event, Progress, emit};
use ndarray::{Array1, Array2};
use rayon::prelude::*;
use std::collections::HashMap;
use std::f32::consts::PI;

/// Candidates of an image by its features, …
pub const CANDIDATES: usize = 10;
/// … and by the hash, where copies that are not cropped come first.
const BY_HASH: usize = 4;
/// Frequencies of the hash in each direction, as in pHash; here with their values, not their signs alone.
const FREQUENCIES: usize = 8;
/// Hashes at this distance (1 − cosine) are of one image.
const SAME_HASH: f32 = 1.3e-3;
/// A residual below this is that of a copy; …
const SAME: f32 = 1.5e-3;
/// … one up to this only where it is small beside those of the other neighbours.
const LIKE: f32 = 0.02;
const RELATIVE: f32 = 0.025;
/// Which of the other neighbours, from the most similar on: up to two may be copies, too.
const OTHER: usize = 2;
/// How far mean colours of copies may lie apart, in levels, brightness aside, which crops change, …
const COLOURS: f32 = 12.;
/// … and with it, where nothing was cropped.
const LEVELS: f32 = 6.;
/// Grey levels' deviation of an image that shows something.
pub const BLANK: f32 = 2.;
/// Pairs that are aligned between two words to the caller.
const BATCH: usize = 4096;

/// Two images that were compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Their places; the first is the smaller.
    pub places: [usize; 2],
    /// Whether size and all pixels are the same, as they are decoded for a thumbnail.
    pub exact: bool,
    /// 1 − cosine of the hashes.
    pub hash: f32,
    /// What aligning leaves: see [`residual`].
    pub residual: f32,
    /// The residual of another neighbour: the smaller of both images'.
    pub reference: f32,
}

impl Pair {
    /// Two images on their own, without others to judge them by.
    pub fn of(places: [usize; 2], facts: [&Facts; 2]) -> Pair {
        let own = facts.map(|facts| hash(&facts.thumbnail));
        let mut pair = Pair::new(places, facts, || 1. - own[0].dot(&own[1]));
        pair.exact = facts[0].hash == facts[1].hash;
        if facts.iter().any(|facts| facts.spread() < BLANK) {
            (pair.hash, pair.residual) = (1., 1.);
        }
        pair
    }

    fn new(places: [usize; 2], facts: [&Facts; 2], hash: impl FnOnce() -> f32) -> Pair {
        let [one, other] = facts.map(|facts| facts.mean);
        let apart: [f32; 3] = std::array::from_fn(|i| one[i] - other[i]);
        let brightness = apart.iter().sum::<f32>() / 3.;
        let mut pair = Pair { places, exact: false, hash: 1., residual: 1., reference: 0. };
        if apart.iter().all(|apart| (apart - brightness).abs() < COLOURS) {
            pair.residual = residual(&facts[0].thumbnail, &facts[1].thumbnail);
        }
        if apart.iter().all(|apart| apart.abs() < LEVELS) {
            pair.hash = hash();
        }
        pair
    }

    /// Whether one is a copy of the other.
    pub fn is_copy(&self) -> bool {
        let relative = self.residual < LIKE && self.residual < RELATIVE * self.reference.max(0.).sqrt();
        self.exact || self.hash < SAME_HASH || self.residual < SAME || relative
    }

    /// How far they differ: 0 for the same pixels.
    pub fn distance(&self) -> f32 {
        if self.exact { 0. } else { self.residual.min(self.hash) }
    }
}

/// Every pair of images that may be copies, with what speaks for it, by places. Images that show nothing are compared by
/// their pixels alone. `near`: the neighbours of each by its features.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn compare(facts: &[Facts], near: &[Vec<Neighbour>], progress: Progress) -> Result<Vec<Pair>> {
    let hashes = hashes(facts);
    let own = |near: &[Vec<Neighbour>]| -> Vec<[usize; 2]> {
        let lists = near.iter().enumerate();
        lists.flat_map(|(i, list)| list.iter().map(move |other| [i.min(other.place), i.max(other.place)])).collect()
    };
    let alike = nearest(hashes.view(), BY_HASH, "comparing hashes", progress)?;
    let blank: Vec<bool> = facts.par_iter().map(|facts| facts.spread() < BLANK).collect();
    let mut places = [own(near), own(&alike)].concat();
    places.retain(|places| !places.iter().any(|&place| blank[place]));
    places.par_sort_unstable();
    places.dedup();
    emit(progress, Event::Stage { name: "comparing images", total: places.len() as u64 })?;
    let mut pairs = Vec::with_capacity(places.len());
    for some in places.chunks(BATCH) {
        pairs.par_extend(some.par_iter().map(|&[a, b]| {
            let hash = || 1. - hashes.row(a).dot(&hashes.row(b));
            Pair::new([a, b], [&facts[a], &facts[b]], hash)
        }));
        emit(progress, Event::Advance(some.len() as u64))?;
    }
    judge(facts.len(), &mut pairs);
    pairs.extend(same_pixels(facts));
    pairs.sort_by_key(|pair| (pair.places, !pair.exact));
    pairs.dedup_by_key(|pair| pair.places);
    Ok(pairs)
}

/// Sets the references.
fn judge(images: usize, pairs: &mut [Pair]) {
    // The most similar of each image: as many as a pair needs that is one of them itself.
    let mut least = vec![[f32::INFINITY; OTHER + 2]; images];
    for pair in pairs.iter() {
        for place in pair.places {
            let list = &mut least[place];
            let rank = list.partition_point(|other| *other <= pair.residual);
            if rank < list.len() {
                list[rank..].rotate_right(1);
                list[rank] = pair.residual;
            }
        }
    }
    for pair in pairs {
        let other = pair.places.map(|place| {
            let list = &least[place];
            list[if pair.residual <= list[OTHER] { OTHER + 1 } else { OTHER }]
        });
        // An image with few neighbours has no reference: then none is better than one that all others would pass.
        pair.reference = other.into_iter().filter(|other| other.is_finite()).fold(LIKE, f32::min);
    }
}

/// Each image with the same pixels as an earlier one, with the first such.
fn same_pixels(facts: &[Facts]) -> Vec<Pair> {
    let mut first = HashMap::new();
    let again = |(place, facts): (usize, &Facts)| match *first.entry(facts.hash).or_insert(place) {
        before if before == place => None,
        before => Some(Pair { places: [before, place], exact: true, hash: 0., residual: 0., reference: 0. }),
    };
    facts.iter().enumerate().filter_map(again).collect()
}

/// The low frequencies of a thumbnail but the mean, as a vector of length 1.
fn hash(thumbnail: &[u8; AREA]) -> Array1<f32> {
    let wave = |frequency: usize, x: usize| (PI * frequency as f32 * (x as f32 + 0.5) / SIDE as f32).cos();
    // Orthonormal but for a factor that all have.
    let scale = |frequency: usize| if frequency == 0 { 0.5f32.sqrt() } else { 1. };
    let table = Array2::from_shape_fn((FREQUENCIES, SIDE), |(frequency, x)| scale(frequency) * wave(frequency, x));
    let image = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| f32::from(thumbnail[y * SIDE + x]));
    let low = table.dot(&image).dot(&table.t());
    let low: Array1<f32> = low.iter().skip(1).copied().collect();
    let length = low.dot(&low).sqrt().max(1e-6);
    low / length
}

/// Those of all images: `[images, 63]`.
fn hashes(facts: &[Facts]) -> Array2<f32> {
    let rows: Vec<f32> = facts.par_iter().flat_map_iter(|facts| hash(&facts.thumbnail)).collect();
    let shape = (facts.len(), FREQUENCIES * FREQUENCIES - 1);
    Array2::from_shape_vec(shape, rows).expect("hashes of one length")
}
