//! Copies among the images of a job whose features are there already.

use super::facts::{Facts, look};
use super::near::{self, Pair};
use super::neighbours::{nearest, nearest_in};
use super::{Finding, copies, showing_nothing};
use crate::data::{Dataset, Item, Split};
use crate::error::Result;
use crate::progress::{Event, Progress};
use crate::train::Features;
use ndarray::{ArrayView1, Axis, concatenate};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Multiplications that a quick look may take: a few seconds.
const QUICK: f64 = 5e11;
/// Features of copies are at least this near to each other …
const NEAR: f32 = 0.95;
/// … and so many pairs of images are decoded again to be sure.
const MOST: usize = 1000;

/// The images of all splits, one behind the other.
fn items<'a>(data: &'a Dataset, parts: &[&Features]) -> Vec<&'a Item> {
    let by_path: HashMap<&str, &Item> = data.items.iter().map(|item| (item.path.as_str(), item)).collect();
    parts.iter().flat_map(|part| &part.paths).map(|path| by_path[path.as_str()]).collect()
}

/// All copies among the images, and those that show nothing: decodes every image once more, and compares as
/// [`super::Audit::of`] does.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn all_problems(data: &Dataset, parts: &[&Features], progress: Progress) -> Result<Vec<Finding>> {
    let items = items(data, parts);
    let looked = look(data, items.iter().copied(), progress)?;
    // Nothing is unreadable that has features, unless it has just changed.
    let readable: Vec<usize> = (0..items.len()).filter(|&place| looked[place].is_ok()).collect();
    let facts: Vec<Facts> = looked.into_iter().flatten().collect();
    let rows: Vec<_> = parts.iter().filter(|part| !part.paths.is_empty()).map(|part| part.rows.view()).collect();
    let Ok(mut rows) = concatenate(Axis(0), &rows) else { return Ok(Vec::new()) };
    if readable.len() < items.len() {
        rows = rows.select(Axis(0), &readable);
    }
    let items: Vec<&Item> = readable.iter().map(|&place| items[place]).collect();
    let near = nearest(rows.view(), near::CANDIDATES, "comparing features", progress)?;
    drop(rows);
    let mut found = copies(data.texts(), &items, &near::compare(&facts, &near, progress)?);
    found.extend(showing_nothing(data.texts(), &items, &facts));
    Ok(found)
}

/// Copies that the features show: images with the same features, and, where that is quickly done, training images whose
/// features are very near to those of one that is not there to train. Only these are decoded again, to be sure.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn quick_copies(data: &Dataset, parts: &[&Features], progress: Progress) -> Result<Vec<Finding>> {
    // Too short to be told of, but not to be stopped.
    let progress: Progress = &|_| progress(Event::Advance(0));
    let items = items(data, parts);
    let mut candidates = same_features(parts);
    candidates.extend(near_features(parts, progress)?);
    candidates.sort_unstable();
    candidates.dedup();
    let mut involved: Vec<usize> = candidates.iter().flatten().copied().collect();
    involved.sort_unstable();
    involved.dedup();
    if involved.is_empty() {
        return Ok(Vec::new());
    }
    let looked = look(data, involved.iter().map(|&place| items[place]), progress)?;
    let facts: HashMap<usize, Facts> =
        involved.into_iter().zip(looked).filter_map(|(place, facts)| Some((place, facts.ok()?))).collect();
    let pair = |&[a, b]: &[usize; 2]| Some(Pair::of([a, b], [facts.get(&a)?, facts.get(&b)?]));
    let pairs: Vec<Pair> = candidates.iter().filter_map(pair).collect();
    Ok(copies(data.texts(), &items, &pairs))
}

/// Each image with the first that has the same features, bit by bit.
fn same_features(parts: &[&Features]) -> Vec<[usize; 2]> {
    let key = |row: ArrayView1<f32>| {
        let mut hash = DefaultHasher::new();
        row.iter().for_each(|value| value.to_bits().hash(&mut hash));
        hash.finish()
    };
    let mut first = HashMap::new();
    let rows = parts.iter().flat_map(|part| part.rows.rows());
    let again = |(place, row)| match *first.entry(key(row)).or_insert(place) {
        before if before == place => None,
        before => Some([before, place]),
    };
    rows.enumerate().filter_map(again).collect()
}

/// Each image that is not there to train with the nearest that is, where they are very near: the nearest of these pairs.
fn near_features(parts: &[&Features], progress: Progress) -> Result<Vec<[usize; 2]>> {
    let starts = parts.iter().scan(0, |start, part| Some(std::mem::replace(start, *start + part.paths.len())));
    let parts: Vec<(usize, &&Features)> = starts.zip(parts).filter(|(_, part)| !part.paths.is_empty()).collect();
    let (train, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(_, part)| part.split == Split::Train);
    let [(first, train)] = train[..] else { return Ok(Vec::new()) };
    let work: f64 = others.iter().map(|(_, part)| part.rows.len() as f64 * train.paths.len() as f64).sum();
    if work > QUICK {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (start, part) in others {
        let lists = nearest_in(part.rows.view(), train.rows.view(), 1, "comparing features", progress)?;
        let close = lists.into_iter().flatten().zip(start..).filter(|(near, _)| near.cosine >= NEAR);
        found.extend(close.map(|(near, place)| (near.cosine, [first + near.place, place])));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.truncate(MOST);
    Ok(found.into_iter().map(|(_, [a, b])| [a.min(b), a.max(b)]).collect())
}
