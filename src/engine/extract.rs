//! Images from disk through an engine, one row of values an image: features of a frozen part, or logits of a model.

use super::Engine;
use super::cache::Shelf;
use super::kept::{Keeper, KeptRows};
use super::load::{Batch, Beside, Looks, load, load_pixels};
use super::table::{Table, joined, recall};
use crate::data::{Facts, Layout, Preprocessing, Skipped, Source};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use ndarray::{Array2, ArrayViewD, Axis};
use rayon::prelude::*;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Images in one run of the engine. Fixed, so that results do not depend on the machine: more gain nothing on a CPU and
/// cost memory. Very large images go in smaller batches, and so do those of which a model makes very large tensors.
pub const BATCH: usize = 8;
/// The same on a GPU, most of which fewer would leave idle.
pub(super) const BATCH_ON_GPU: usize = 64;
/// Values that the images of one batch may have together: 64 MiB.
const MOST_VALUES: usize = 1 << 24;
/// Decoded batches that may wait for the engine.
const AHEAD: usize = 2;
/// Images that are decoded at once where each has a size of its own: what that will be is not known before.
const MOST_PIXELS: usize = 4;

/// An opened model with the way to feed it images.
pub struct Extractor {
    engine: Box<dyn Engine>,
    /// Their values make an image's row, one behind the other.
    outputs: Vec<usize>,
    preprocessing: Preprocessing,
    layout: Layout,
    strict: bool,
    pixels: bool,
    looks: Looks,
    columns: usize,
    shelf: Option<Shelf>,
}

/// What became of a list of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// One row for each image that could be read: `[images, values]`.
    pub rows: Array2<f32>,
    /// For each row, the image's place in the list.
    pub places: Vec<usize>,
    /// For each row what the image's pixels tell; nothing where the extractor does not look.
    pub facts: Vec<Facts>,
    /// Images that could not be read, and why.
    pub skipped: Vec<Skipped>,
}

impl Extractor {
    /// `output` is the place of the wanted output among the engine's.
    pub fn new(engine: Box<dyn Engine>, output: usize, preprocessing: Preprocessing, layout: Layout) -> Self {
        let outputs = vec![output];
        let (strict, pixels, looks, columns) = (false, false, Looks::Never, usize::MAX);
        Extractor { engine, outputs, preprocessing, layout, strict, pixels, looks, columns, shelf: None }
    }

    /// With the values of another output behind those of the first.
    pub fn and(mut self, output: usize) -> Self {
        self.outputs.push(output);
        self
    }

    /// With another engine in the place of its own, which gives the same and, as output `place`, what [`Extractor::keep`] keeps.
    pub fn keeping(mut self, engine: Box<dyn Engine>, place: usize) -> Self {
        self.outputs.push(place);
        Extractor { engine, ..self }
    }

    /// With another preprocessing, of the same size.
    pub fn with_preprocessing(self, preprocessing: Preprocessing) -> Self {
        Extractor { preprocessing, ..self }
    }

    /// Whether the model takes images as they are decoded, `[1, height, width, 3]` bytes: it preprocesses in its graph.
    pub fn on_pixels(self, pixels: bool) -> Self {
        Extractor { pixels, ..self }
    }

    /// Whose rows [`Extractor::run`] takes from the cache where they are there, and puts there where not.
    pub fn cached(self, shelf: Option<Shelf>) -> Self {
        Extractor { shelf, ..self }
    }

    /// Whose rows, from [`Extractor::run`], are their first `columns` values; the cache has all of them.
    pub fn narrowed(self, columns: usize) -> Self {
        Extractor { columns, ..self }
    }

    /// Whether [`Extractor::run`] tells of each image what its pixels do, too: from the same decoding, or the cache. Not of models
    /// that take images as they are decoded.
    pub fn look(&mut self, looks: bool) {
        self.looks = if looks { Looks::Always } else { Looks::Never };
    }

    /// Has [`Extractor::run`] keep in the cache, for later jobs, what the pixels tell of images that are decoded anyway.
    pub fn look_for_later(&mut self) {
        self.looks = Looks::ForLater;
    }

    /// Whether the first image that cannot be read ends the work, instead of being skipped and listed.
    pub fn strict(self, strict: bool) -> Self {
        Extractor { strict, ..self }
    }

    /// Whether the cache has any of its rows.
    pub fn is_known(&self) -> bool {
        self.shelf.as_ref().is_some_and(|shelf| !shelf.is_empty())
    }

    /// The engine inside.
    pub fn engine(&mut self) -> &mut dyn Engine {
        &mut *self.engine
    }

    /// Decodes, preprocesses and runs the images at `paths` of `source`, in order. Decoding overlaps with the
    /// engine's work; memory does not grow with the number of images but for the rows.
    ///
    /// # Errors
    /// [`Error::Engine`] when the engine fails or gives values that are not finite, [`Error::Data`] when it is strict
    /// and an image cannot be read, [`Error::Interrupted`].
    pub fn run<S: AsRef<str> + Sync>(
        &mut self,
        source: &Source,
        paths: &[S],
        stage: &str,
        progress: Progress,
    ) -> Result<Rows> {
        self.gather(source, paths, stage, None, progress)
    }

    /// The same; what a `keeper` takes of each row is not in the cache, so that every image is run for it.
    fn gather<S: AsRef<str> + Sync>(
        &mut self,
        source: &Source,
        paths: &[S],
        stage: &str,
        mut keeper: Option<&mut Keeper>,
        progress: Progress,
    ) -> Result<Rows> {
        let mut table = Table::new(paths.len(), self.columns);
        let mut shelf = self.shelf.take();
        let looks = self.looks == Looks::Always;
        let look = Some(&self.preprocessing).filter(|_| looks);
        let left = match &mut shelf {
            Some(shelf) if keeper.is_none() && !shelf.is_empty() => {
                recall(shelf, source, paths, look, &mut table, progress)?
            }
            _ => (0..paths.len()).collect(),
        };
        let mut skipped = Vec::new();
        if !left.is_empty() || paths.is_empty() {
            let paths: Vec<&str> = left.iter().map(|&place| paths[place].as_ref()).collect();
            let later = self.looks == Looks::ForLater && shelf.is_some();
            let beside = Beside { hashes: shelf.is_some(), facts: looks || later };
            skipped = self.each(source, &paths, stage, beside, progress, &mut |batch, rows| {
                let width = rows.len() / batch.places.len();
                let mut facts = std::mem::take(&mut batch.facts).into_iter();
                for (i, row) in rows.chunks_exact(width.max(1)).enumerate() {
                    let row = keeper.as_mut().map_or(Ok(row), |keeper| keeper.take(row))?;
                    let facts = facts.next();
                    let kept = shelf.as_mut().zip(batch.hashes.get(i));
                    if let Some(why) = kept.and_then(|(shelf, hash)| shelf.add(*hash, row, facts.as_ref())) {
                        emit(progress, Event::Warning(&why))?;
                    }
                    table.put(left[batch.places[i]], row, facts.filter(|_| looks))?;
                }
                Ok(())
            })?;
        }
        if let Some(why) = shelf.as_mut().and_then(Shelf::flush) {
            emit(progress, Event::Warning(&why))?;
        }
        self.shelf = shelf;
        Ok(table.done(skipped))
    }

    /// What the engine gives for images that are values already.
    ///
    /// # Errors
    /// [`Error::Engine`] when the engine fails, or gives not one row an image.
    pub fn rows(&mut self, input: ArrayViewD<f32>) -> Result<Array2<f32>> {
        let images = input.len_of(Axis(0));
        let outputs = self.engine.run_outputs(input, &self.outputs)?;
        joined(outputs, images).map_err(|_| Error::Engine("the model does not give one row an image".into()))
    }

    /// As [`Extractor::run`], but of each image's row the last `width` values are kept where training finds them again: in memory,
    /// or in a file in `folder` where one is given. One kept row for each image that could be read.
    ///
    /// # Errors
    /// Those of [`Extractor::run`]; [`Error::Io`].
    pub fn keep<S: AsRef<str> + Sync>(
        &mut self,
        source: &Source,
        paths: &[S],
        stage: &str,
        (width, folder): (usize, Option<&Path>),
        progress: Progress,
    ) -> Result<(Rows, KeptRows)> {
        let mut keeper = Keeper::new(width, folder)?;
        let rows = self.gather(source, paths, stage, Some(&mut keeper), progress)?;
        Ok((rows, keeper.done()?))
    }

    /// Hands each batch, with what is wanted `beside` it, and its values to `take`; answers the images that could not be read.
    fn each<S: AsRef<str> + Sync>(
        &mut self,
        source: &Source,
        paths: &[S],
        stage: &str,
        beside: Beside,
        progress: Progress,
        take: &mut dyn FnMut(&mut Batch, &[f32]) -> Result<()>,
    ) -> Result<Vec<Skipped>> {
        emit(progress, Event::Stage { name: stage, total: paths.len() as u64 })?;
        let mut skipped = Vec::new();
        let (preprocessing, layout, pixels) = (self.preprocessing.clone(), self.layout, self.pixels);
        let (height, width) = preprocessing.size();
        let values_of_one = preprocessing.channels() * height as usize * width as usize;
        let batch = (MOST_VALUES / values_of_one.max(1)).clamp(1, self.engine.at_once());
        // Images of different sizes fit into no batch.
        let batch = if pixels { 1 } else { batch };
        // A model that takes a fixed number at once gets whole numbers of it, not mostly filling.
        let batch = self
            .engine
            .input()
            .fixed_batch()
            .filter(|_| !pixels)
            .map_or(batch, |fixed| batch.next_multiple_of(fixed.max(1)));
        // As many batches at once as keep all threads decoding.
        let most = if pixels { MOST_PIXELS } else { MOST_VALUES / (values_of_one * batch).max(1) };
        let at_once = rayon::current_num_threads().div_ceil(batch).clamp(1, most.max(1));
        std::thread::scope(|scope| {
            // Room for as many, so that the next are decoded while these are run.
            let (sender, receiver) = sync_channel(AHEAD.max(at_once));
            scope.spawn(move || {
                let starts: Vec<usize> = (0..paths.len()).step_by(batch).collect();
                let one = |&start: &usize| match pixels {
                    true => load_pixels(source, paths[start].as_ref(), start),
                    false => {
                        let chunk = &paths[start..(start + batch).min(paths.len())];
                        load(source, chunk, start, &preprocessing, layout, beside)
                    }
                };
                for starts in starts.chunks(at_once) {
                    let batches: Vec<Batch> = starts.par_iter().map(one).collect();
                    for batch in batches {
                        // The receiver is gone when the engine failed or the user stopped: nobody wants more.
                        if sender.send(batch).is_err() {
                            return;
                        }
                    }
                }
            });
            for mut batch in receiver {
                if let Some(first) = batch.skipped.first().filter(|_| self.strict) {
                    return Err(Error::data(source.locate(&first.path), format!("{} (--strict)", first.reason)));
                }
                let done = (batch.places.len() + batch.skipped.len()) as u64;
                if let Some(rows) = self.run_batch(&batch, paths)? {
                    take(&mut batch, rows.as_slice().expect("it is in the standard layout"))?;
                }
                skipped.extend(batch.skipped);
                emit(progress, Event::Advance(done))?;
            }
            Ok(())
        })?;
        Ok(skipped)
    }

    /// What the engine gives for a batch, a row an image; nothing for an empty one.
    fn run_batch<S: AsRef<str>>(&mut self, batch: &Batch, paths: &[S]) -> Result<Option<Array2<f32>>> {
        let images = batch.places.len();
        if images == 0 {
            return Ok(None);
        }
        let outputs = self.engine.run_outputs(batch.input.values().view(), &self.outputs)?;
        let rows = joined(outputs, images).map_err(|shape| {
            Error::Engine(format!("the model gives shape {shape:?} for {images} images: not one row an image"))
        })?;
        if let Some(((row, _), _)) = rows.indexed_iter().find(|(_, value)| !value.is_finite()) {
            let path = paths[batch.places[row]].as_ref();
            let what = "the model's output is not finite; is its preprocessing right, or the file damaged?";
            return Err(Error::Engine(format!("{path}: {what}")));
        }
        Ok(Some(rows))
    }
}
