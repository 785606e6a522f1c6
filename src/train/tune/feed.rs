//! Images for training: what the trained part of a network takes, batch by batch.

use crate::data::augment::{self, Augment, Level};
use crate::data::{Dataset, Item, Layout, Preprocessing, Source, Split, each_image};
use crate::engine::{Extractor, KeptRows};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::random;
use ndarray::{ArrayD, Axis};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Labelled images and the way to the trained part's input.
pub struct Feed<'a> {
    /// Where the images are.
    pub source: &'a Source,
    /// Their paths.
    pub paths: &'a [String],
    /// Each one's class, or what it has, as [`crate::data::Item::label`].
    pub labels: &'a [usize],
    /// How an image becomes the model's input.
    pub preprocessing: &'a Preprocessing,
    /// The order of its axes.
    pub layout: Layout,
    /// What the frozen part gave for each image, where that was kept.
    pub kept: Option<&'a KeptRows>,
    /// The frozen part, where it runs on each image anew.
    pub frozen: Option<&'a Mutex<Extractor>>,
    /// The shape of the trained part's input for one image.
    pub shape: &'a [usize],
}

/// How images are changed: how much, and by what is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// How much.
    pub augment: Augment,
    /// Of what is drawn.
    pub seed: u64,
    /// How often each image was seen before.
    pub epoch: u64,
}

impl Feed<'_> {
    /// How many images there are.
    pub fn images(&self) -> usize {
        self.labels.len()
    }

    /// The values for the images at `places`, one behind the other.
    ///
    /// # Errors
    /// [`Error::Data`] when an image that could be read before cannot any more; those of the frozen part.
    pub fn load(&self, places: &[usize], change: Change) -> Result<Vec<f32>> {
        if let Some(kept) = self.kept {
            let mut values = Vec::new();
            places.iter().for_each(|&place| kept.read(place, &mut values));
            return Ok(values);
        }
        let Some(frozen) = self.frozen else { return self.images_at(places, change).map(|(images, _)| images) };
        let mut frozen = frozen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at_once, mut values) = (frozen.engine().at_once(), Vec::new());
        for piece in places.chunks(at_once) {
            let (images, shape) = self.images_at(piece, change)?;
            let images = ArrayD::from_shape_vec(shape.to_vec(), images).map_err(|e| Error::Engine(e.to_string()))?;
            let found = frozen.engine().run_outputs(images.view(), &[0])?.swap_remove(0);
            if found.ndim() == 0 || found.len_of(Axis(0)) != piece.len() || found.shape()[1..] != *self.shape {
                let what = format!("the frozen part gives {:?} for {} images", found.shape(), piece.len());
                return Err(Error::Engine(what));
            }
            values.extend(found);
        }
        Ok(values)
    }

    /// The preprocessed images, one behind the other, and their shape.
    fn images_at(&self, places: &[usize], change: Change) -> Result<(Vec<f32>, [usize; 4])> {
        let shape = self.preprocessing.shape(places.len(), self.layout);
        let size = shape[1..].iter().product::<usize>();
        let mut images = vec![0.; places.len() * size];
        let slots = images.par_chunks_exact_mut(size.max(1)).zip(places);
        slots.try_for_each(|(slot, &place)| self.image(&self.paths[place], change, slot))?;
        Ok((images, shape))
    }

    fn image(&self, path: &str, change: Change, slot: &mut [f32]) -> Result<()> {
        let mut made = || {
            if change.augment.level == Level::None {
                return self.source.values(path, self.preprocessing, self.layout, slot);
            }
            let pixels = self.source.decode(path, self.preprocessing.color.has_alpha())?;
            let key = augment::Key { seed: change.seed, epoch: change.epoch, path };
            augment::preprocess_changed(&pixels, self.preprocessing, self.layout, change.augment, key, slot)
        };
        made().map_err(|why| Error::data(self.source.locate(path), format!("{why}; it could be read before")))
    }
}

/// The order in which an epoch sees its images (Fisher and Yates).
pub fn order(images: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    let mut stream = random::stream(seed, "order", epoch, 0);
    (1..images).rev().for_each(|last| order.swap(last, random::below(&mut stream, last + 1)));
    order
}

/// Decodes every image of these splits, so that one that cannot be read is known before the training and not in its midst.
/// Such images leave `data` and are listed in `data.skipped`.
///
/// # Errors
/// [`Error::Data`] for the first of them where `strict`, or when a class is left with too few images; [`Error::Interrupted`].
pub fn readable(data: &mut Dataset, splits: &[Split], alpha: bool, strict: bool, progress: Progress) -> Result<()> {
    let asked = data.items.iter().filter(|item| splits.contains(&item.split));
    let mut skipped = Vec::new();
    let reason = |item: &Item| data.source.decode(&item.path, alpha).err();
    each_image(asked, "looking through the images", progress, reason, |item, reason| {
        skipped.extend(reason.map(|reason| data.source.skipped(&item.path, reason)));
        Ok(())
    })?;
    match skipped.first() {
        None => Ok(()),
        Some(first) if strict => {
            Err(Error::data(data.source.locate(&first.path), format!("{} (--strict)", first.reason)))
        }
        Some(_) => {
            data.remove_unreadable(skipped);
            data.check_classes()
        }
    }
}
