//! Images from disk through an engine, one row of values an image: features of a frozen part, or logits of a model.

use super::Engine;
use super::kept::{Keeper, KeptRows};
use crate::data::{Layout, Preprocessing, Skipped, Source, preprocess};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use ndarray::{Array2, ArrayD, Axis};
use rayon::prelude::*;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Images in one run of the engine. Fixed, so that results do not depend on the machine: more gain nothing on a CPU and
/// cost memory. Very large images go in smaller batches, and so do those of which a model makes very large tensors.
pub const BATCH: usize = 8;
/// Values that the images of one batch may have together: 64 MiB.
const MOST_VALUES: usize = 1 << 24;
/// Decoded batches that may wait for the engine.
const AHEAD: usize = 2;

/// An opened model with the way to feed it images.
pub struct Extractor {
    engine: Box<dyn Engine>,
    output: usize,
    preprocessing: Preprocessing,
    layout: Layout,
    strict: bool,
}

/// What became of a list of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// One row for each image that could be read: `[images, values]`.
    pub rows: Array2<f32>,
    /// For each row, the image's place in the list.
    pub places: Vec<usize>,
    /// Images that could not be read, and why.
    pub skipped: Vec<Skipped>,
}

struct Batch {
    input: ArrayD<f32>,
    places: Vec<usize>,
    skipped: Vec<Skipped>,
}

impl Extractor {
    /// `output` is the place of the wanted output among the engine's.
    pub fn new(engine: Box<dyn Engine>, output: usize, preprocessing: Preprocessing, layout: Layout) -> Self {
        Extractor { engine, output, preprocessing, layout, strict: false }
    }

    /// Whether the first image that cannot be read ends the work, instead of being skipped and listed.
    pub fn strict(self, strict: bool) -> Self {
        Extractor { strict, ..self }
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
        let mut values = Vec::new();
        let (places, skipped) = self.each(source, paths, stage, progress, &mut |rows| {
            values.extend_from_slice(rows);
            Ok(())
        })?;
        let columns = values.len() / places.len().max(1);
        let rows = Array2::from_shape_vec((places.len(), columns), values)
            .map_err(|_| Error::Engine("the model's output has a different size from batch to batch".into()))?;
        Ok(Rows { rows, places, skipped })
    }

    /// The same, keeping the rows of `width` values where training finds them again: in memory, or in a file in `folder`
    /// where one is given.
    ///
    /// # Errors
    /// Those of [`Extractor::run`], an image that cannot be read and a row of another width among them; [`Error::Io`].
    pub fn keep<S: AsRef<str> + Sync>(
        &mut self,
        source: &Source,
        paths: &[S],
        stage: &str,
        width: usize,
        folder: Option<&Path>,
        progress: Progress,
    ) -> Result<KeptRows> {
        let (mut keeper, mut values) = (Keeper::new(width, folder)?, 0);
        let (_, skipped) = self.each(source, paths, stage, progress, &mut |rows| {
            values += rows.len();
            keeper.add(rows)
        })?;
        if let Some(first) = skipped.first() {
            return Err(Error::data(source.locate(&first.path), &first.reason));
        }
        if values != paths.len() * width {
            return Err(Error::Engine(format!("the frozen part gives {values} values for {} images", paths.len())));
        }
        keeper.done()
    }

    /// Hands each batch's values to `take`; answers the places of the images that could be read, and the others.
    fn each<S: AsRef<str> + Sync>(
        &mut self,
        source: &Source,
        paths: &[S],
        stage: &str,
        progress: Progress,
        take: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<(Vec<usize>, Vec<Skipped>)> {
        emit(progress, Event::Stage { name: stage, total: paths.len() as u64 })?;
        let (mut places, mut skipped) = (Vec::new(), Vec::new());
        let (preprocessing, layout) = (self.preprocessing.clone(), self.layout);
        let (height, width) = preprocessing.size();
        let values_of_one = preprocessing.channels() * height as usize * width as usize;
        let batch = (MOST_VALUES / values_of_one.max(1)).clamp(1, self.engine.at_once());
        // A model that takes a fixed number at once gets whole numbers of it, not mostly filling.
        let batch = self.engine.input().fixed_batch().map_or(batch, |fixed| batch.next_multiple_of(fixed.max(1)));
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(AHEAD);
            scope.spawn(move || {
                for start in (0..paths.len()).step_by(batch) {
                    let chunk = &paths[start..(start + batch).min(paths.len())];
                    // The receiver is gone when the engine failed or the user stopped: nobody wants more.
                    if sender.send(load(source, chunk, start, &preprocessing, layout)).is_err() {
                        return;
                    }
                }
            });
            for batch in receiver {
                if let Some(first) = batch.skipped.first().filter(|_| self.strict) {
                    return Err(Error::data(source.locate(&first.path), format!("{} (--strict)", first.reason)));
                }
                let done = (batch.places.len() + batch.skipped.len()) as u64;
                if let Some(output) = self.run_batch(&batch, paths)? {
                    take(output.as_standard_layout().as_slice().expect("it is in the standard layout"))?;
                }
                places.extend(batch.places);
                skipped.extend(batch.skipped);
                emit(progress, Event::Advance(done))?;
            }
            Ok(())
        })?;
        Ok((places, skipped))
    }

    /// What the engine gives for a batch; nothing for an empty one.
    fn run_batch<S: AsRef<str>>(&mut self, batch: &Batch, paths: &[S]) -> Result<Option<ArrayD<f32>>> {
        let images = batch.places.len();
        if images == 0 {
            return Ok(None);
        }
        let output = self.engine.run_outputs(batch.input.view(), &[self.output])?.swap_remove(0);
        if output.ndim() == 0 || output.len_of(Axis(0)) != images {
            let shape = output.shape();
            return Err(Error::Engine(format!(
                "the model gives shape {shape:?} for {images} images: not one row an image"
            )));
        }
        if let Some(bad) = output.iter().position(|v| !v.is_finite()) {
            let path = paths[batch.places[bad / (output.len() / images)]].as_ref();
            let what = "the model's output is not finite; is its preprocessing right, or the file damaged?";
            return Err(Error::Engine(format!("{path}: {what}")));
        }
        Ok(Some(output))
    }
}

/// One batch of the images that can be read. `start` is the chunk's place in the whole list.
fn load<S: AsRef<str> + Sync>(source: &Source, chunk: &[S], start: usize, p: &Preprocessing, layout: Layout) -> Batch {
    let size: usize = p.shape(1, layout).iter().product();
    let mut input = vec![0f32; size * chunk.len()];
    let one =
        |(path, out): (&S, &mut [f32])| preprocess(&source.decode(path.as_ref(), p.color.has_alpha())?, p, layout, out);
    let results: Vec<_> = chunk.par_iter().zip(input.par_chunks_mut(size)).map(one).collect();
    let (mut places, mut skipped) = (Vec::new(), Vec::new());
    for (i, result) in results.into_iter().enumerate() {
        match result {
            Ok(()) => {
                // Rows of unreadable images are closed up.
                input.copy_within(i * size..(i + 1) * size, places.len() * size);
                places.push(start + i);
            }
            Err(reason) => skipped.push(Skipped { path: chunk[i].as_ref().into(), reason }),
        }
    }
    input.truncate(places.len() * size);
    let shape = p.shape(places.len(), layout).to_vec();
    Batch { input: ArrayD::from_shape_vec(shape, input).expect("as many values as the shape says"), places, skipped }
}
