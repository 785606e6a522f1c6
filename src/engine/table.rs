//! Rows of values for a list of images, in whatever order they come.

use super::cache::{ContentHash, Shelf};
use super::extract::Rows;
use crate::data::{Facts, Preprocessing, Skipped, Source};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use ndarray::{Array2, ArrayD, Axis, concatenate};
use rayon::prelude::*;

/// Images that are looked up in the cache between two words to the caller.
const LOOKED_UP: usize = 256;

/// Rows that come in any order.
pub(super) struct Table {
    images: usize,
    /// Of each row the first so many values.
    most: usize,
    width: usize,
    /// Those of all images, once one is known.
    values: Vec<f32>,
    places: Vec<usize>,
    /// What the pixels of these places tell, where that is asked for.
    facts: Vec<(usize, Facts)>,
}

impl Table {
    pub fn new(images: usize, most: usize) -> Table {
        Table { images, most, width: 0, values: Vec::new(), places: Vec::new(), facts: Vec::new() }
    }

    pub fn put(&mut self, place: usize, row: &[f32], facts: Option<Facts>) -> Result<()> {
        let row = &row[..row.len().min(self.most)];
        if self.places.is_empty() {
            self.width = row.len();
            self.values = vec![0.; self.images * row.len()];
        }
        if row.len() != self.width {
            return Err(Error::Engine("the model's output has a different size from batch to batch".into()));
        }
        self.values[place * self.width..(place + 1) * self.width].copy_from_slice(row);
        self.places.push(place);
        self.facts.extend(facts.map(|facts| (place, facts)));
        Ok(())
    }

    pub fn done(mut self, skipped: Vec<Skipped>) -> Rows {
        self.places.sort_unstable();
        self.facts.sort_unstable_by_key(|(place, _)| *place);
        // Rows of unreadable images are closed up.
        for (to, &from) in self.places.iter().enumerate() {
            self.values.copy_within(from * self.width..(from + 1) * self.width, to * self.width);
        }
        self.values.truncate(self.places.len() * self.width);
        let rows = Array2::from_shape_vec((self.places.len(), self.width), self.values).expect("rows of one width");
        let facts = self.facts.into_iter().map(|(_, facts)| facts).collect();
        Rows { rows, places: self.places, facts, skipped }
    }
}

/// Puts the rows that are known into `table`; answers the places of the other images. Where `look` names a preprocessing, with
/// what the pixels tell: images of which that was not kept are decoded for it, so.
pub(super) fn recall<S: AsRef<str> + Sync>(
    shelf: &mut Shelf,
    source: &Source,
    paths: &[S],
    look: Option<&Preprocessing>,
    table: &mut Table,
    progress: Progress,
) -> Result<Vec<usize>> {
    emit(progress, Event::Stage { name: "features from the cache", total: paths.len() as u64 })?;
    let mut left = Vec::new();
    for (chunk, start) in paths.chunks(LOOKED_UP).zip((0..).step_by(LOOKED_UP)) {
        let found: Vec<Option<Found>> =
            chunk.par_iter().map(|path| Found::of(shelf, source, path.as_ref(), look)).collect();
        let before = left.len();
        for (place, found) in (start..).zip(found) {
            let Some(Found { hash, row, facts, is_new }) = found else {
                left.push(place);
                continue;
            };
            if is_new && let Some(why) = shelf.add(hash, &row, facts.as_ref()) {
                emit(progress, Event::Warning(&why))?;
            }
            table.put(place, &row, facts)?;
        }
        emit(progress, Event::Advance((chunk.len() - (left.len() - before)) as u64))?;
    }
    Ok(left)
}

/// What the cache has of an image.
struct Found {
    hash: ContentHash,
    row: Vec<f32>,
    facts: Option<Facts>,
    /// Whether the facts were not in it.
    is_new: bool,
}

impl Found {
    fn of(shelf: &Shelf, source: &Source, path: &str, look: Option<&Preprocessing>) -> Option<Found> {
        let content = source.content(path).ok()?;
        let hash = content.hash();
        let (row, kept) = shelf.get(&hash)?;
        let Some(p) = look else { return Some(Found { hash, row, facts: None, is_new: false }) };
        let is_new = kept.is_none();
        let facts = kept.or_else(|| content.facts(p).ok())?;
        Some(Found { hash, row, facts: Some(facts), is_new })
    }
}

/// The outputs for some images as one row an image, in the standard layout; the shape of one that has no row an image.
pub(super) fn joined(outputs: Vec<ArrayD<f32>>, images: usize) -> std::result::Result<Array2<f32>, Vec<usize>> {
    let rows = |output: ArrayD<f32>| {
        let shape = output.shape().to_vec();
        if shape.first() != Some(&images) {
            return Err(shape);
        }
        let flat: Vec<f32> = output.as_standard_layout().iter().copied().collect();
        Array2::from_shape_vec((images, flat.len() / images.max(1)), flat).map_err(|_| shape)
    };
    let mut all = outputs.into_iter().map(rows).collect::<std::result::Result<Vec<_>, _>>()?;
    if all.len() == 1 {
        return Ok(all.swap_remove(0));
    }
    let views: Vec<_> = all.iter().map(|rows| rows.view()).collect();
    Ok(concatenate(Axis(1), &views).map_err(|_| vec![images])?.as_standard_layout().into_owned())
}
