//! The images that are looked at, and their values under a convention.

use super::LEAST;
use crate::data::{Color, Content, Dataset, Item, Layout, Preprocessing, Split};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// The most images that are looked at.
pub(super) const MOST: usize = 600;
/// Classes among them.
const CLASSES: usize = 40;

/// Training images, spread over the classes; which ones depends on their paths alone. Of each group there is one, whose other
/// images would vouch for it, where there are groups enough.
pub(super) fn sample(data: &Dataset) -> Vec<&Item> {
    let hash = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
    let mut classes: Vec<Vec<&Item>> = data.classes.iter().map(|_| Vec::new()).collect();
    data.split(Split::Train).for_each(|item| classes[item.label].push(item));
    classes.sort_by_cached_key(|items| items.first().map(|item| hash(&data.classes[item.label])));
    classes.truncate(CLASSES);
    classes.iter_mut().for_each(|items| items.sort_by_cached_key(|item| hash(&item.path)));
    let rounds = classes.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..rounds).flat_map(|round| classes.iter().filter_map(move |items| items.get(round).copied()));
    let all: Vec<&Item> = turns.collect();
    let mut seen = HashSet::new();
    let is_new = |item: &&&Item| data.groups.as_ref().is_none_or(|groups| seen.insert(groups.of.get(&item.path)));
    let single: Vec<&Item> = all.iter().filter(is_new).copied().take(MOST).collect();
    if single.len() < LEAST { all.into_iter().take(MOST).collect() } else { single }
}

/// The same geometry, with pixels left as they are.
pub(super) fn plain(p: &Preprocessing) -> Preprocessing {
    let color = if p.channels() == 1 { p.color } else { Color::Rgb };
    Preprocessing { color, scale: 1., mean: vec![0.; p.channels()], std: vec![1.; p.channels()], ..p.clone() }
}

/// An image's bytes, channel after channel; none where it cannot be read.
pub(super) fn pixels(content: Option<Content>, plain: &Preprocessing) -> Vec<u8> {
    let mut values = vec![0.; plain.shape(1, Layout::Nchw).iter().product()];
    match content.map(|content| content.values(plain, Layout::Nchw, &mut values)) {
        Some(Ok(())) => values.into_iter().map(|value| value as u8).collect(),
        _ => Vec::new(),
    }
}

/// The input's values, as `data` gives them.
pub(super) fn values(pixels: &[u8], p: &Preprocessing, layout: Layout) -> Vec<f32> {
    let (channels, plane) = (p.channels(), pixels.len() / p.channels());
    let mut out = vec![0.; pixels.len()];
    for channel in 0..channels {
        let source = if p.color == Color::Bgr { channels - 1 - channel } else { channel };
        let (mean, std) = (p.mean[source], p.std[source]);
        let (start, step) = if layout == Layout::Nchw { (channel * plane, 1) } else { (channel, channels) };
        let places = out[start..].iter_mut().step_by(step);
        for (out, &pixel) in places.zip(&pixels[source * plane..(source + 1) * plane]) {
            *out = (f32::from(pixel) * p.scale - mean) / std;
        }
    }
    out
}
