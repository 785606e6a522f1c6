//! Rows of values for a list of images, in whatever order they come.

use super::cache::Shelf;
use super::extract::Rows;
use crate::data::{Skipped, Source};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use ndarray::Array2;
use rayon::prelude::*;

/// Images that are looked up in the cache between two words to the caller.
const LOOKED_UP: usize = 256;

/// Rows that come in any order.
pub(super) struct Table {
    images: usize,
    width: usize,
    /// Those of all images, once one is known.
    values: Vec<f32>,
    places: Vec<usize>,
}

impl Table {
    pub fn new(images: usize) -> Table {
        Table { images, width: 0, values: Vec::new(), places: Vec::new() }
    }

    pub fn put(&mut self, place: usize, row: &[f32]) -> Result<()> {
        if self.places.is_empty() {
            self.width = row.len();
            self.values = vec![0.; self.images * row.len()];
        }
        if row.len() != self.width {
            return Err(Error::Engine("the model's output has a different size from batch to batch".into()));
        }
        self.values[place * self.width..(place + 1) * self.width].copy_from_slice(row);
        self.places.push(place);
        Ok(())
    }

    pub fn done(mut self, skipped: Vec<Skipped>) -> Rows {
        self.places.sort_unstable();
        // Rows of unreadable images are closed up.
        for (to, &from) in self.places.iter().enumerate() {
            self.values.copy_within(from * self.width..(from + 1) * self.width, to * self.width);
        }
        self.values.truncate(self.places.len() * self.width);
        let rows = Array2::from_shape_vec((self.places.len(), self.width), self.values).expect("rows of one width");
        Rows { rows, places: self.places, skipped }
    }
}

/// Puts the rows that are known into `table`; answers the places of the other images.
pub(super) fn recall<S: AsRef<str> + Sync>(
    shelf: &Shelf,
    source: &Source,
    paths: &[S],
    table: &mut Table,
    progress: Progress,
) -> Result<Vec<usize>> {
    emit(progress, Event::Stage { name: "features from the cache", total: paths.len() as u64 })?;
    let mut left = Vec::new();
    let find = |path: &S| source.content(path.as_ref()).ok().and_then(|content| shelf.get(&content.hash()));
    for (chunk, start) in paths.chunks(LOOKED_UP).zip((0..).step_by(LOOKED_UP)) {
        let found: Vec<Option<Vec<f32>>> = chunk.par_iter().map(find).collect();
        let before = left.len();
        for (place, row) in (start..).zip(found) {
            match row {
                Some(row) => table.put(place, &row)?,
                None => left.push(place),
            }
        }
        emit(progress, Event::Advance((chunk.len() - (left.len() - before)) as u64))?;
    }
    Ok(left)
}
