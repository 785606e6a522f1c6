//! Batches of images from disk.

use super::cache::ContentHash;
use crate::data::{Facts, Layout, Preprocessing, Skipped, Source};
use ndarray::ArrayD;
use rayon::prelude::*;

/// Images as the engine takes them.
pub(super) struct Batch {
    pub input: ArrayD<f32>,
    pub places: Vec<usize>,
    /// Of the images, where they are asked for.
    pub hashes: Vec<ContentHash>,
    /// The same.
    pub facts: Vec<Facts>,
    pub skipped: Vec<Skipped>,
}

/// What is asked for beside images' values.
#[derive(Clone, Copy)]
pub(super) struct Beside {
    pub hashes: bool,
    pub facts: bool,
}

/// Whether what pixels tell is asked for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Looks {
    Never,
    /// Of images that are decoded anyway, for the cache.
    ForLater,
    Always,
}

/// One batch of the images that can be read. `start` is the chunk's place in the whole list.
pub(super) fn load<S: AsRef<str> + Sync>(
    source: &Source,
    chunk: &[S],
    start: usize,
    p: &Preprocessing,
    layout: Layout,
    beside: Beside,
) -> Batch {
    let size: usize = p.shape(1, layout).iter().product();
    let mut input = vec![0f32; size * chunk.len()];
    let one = |(path, out): (&S, &mut [f32])| {
        let content = source.content(path.as_ref())?;
        let hash = beside.hashes.then(|| content.hash());
        let facts = match beside.facts {
            true => Some(content.values_and_facts(p, layout, out)?),
            false => content.values(p, layout, out).map(|()| None)?,
        };
        Ok((hash, facts))
    };
    let results: Vec<std::result::Result<_, String>> =
        chunk.par_iter().zip(input.par_chunks_mut(size)).map(one).collect();
    let (mut places, mut hashes, mut facts, mut skipped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (i, result) in results.into_iter().enumerate() {
        match result {
            Ok((hash, own)) => {
                // Rows of unreadable images are closed up.
                input.copy_within(i * size..(i + 1) * size, places.len() * size);
                places.push(start + i);
                hashes.extend(hash);
                facts.extend(own);
            }
            Err(reason) => skipped.push(source.skipped(chunk[i].as_ref(), reason)),
        }
    }
    input.truncate(places.len() * size);
    let shape = p.shape(places.len(), layout).to_vec();
    let input = ArrayD::from_shape_vec(shape, input).expect("as many values as the shape says");
    Batch { input, places, hashes, facts, skipped }
}

/// One image as it is decoded.
pub(super) fn load_pixels(source: &Source, path: &str, start: usize) -> Batch {
    let (image, places, skipped) = match source.decode(path, false) {
        Ok(image) => (image.to_rgb(), vec![start], Vec::new()),
        Err(reason) => (Default::default(), Vec::new(), vec![source.skipped(path, reason)]),
    };
    let shape = vec![places.len(), image.height() as usize, image.width() as usize, 3];
    let values = image.into_raw().into_iter().map(f32::from).collect();
    let input = ArrayD::from_shape_vec(shape, values).expect("as many values as the shape says");
    // Features are never taken of such a model.
    Batch { input, places, hashes: Vec::new(), facts: Vec::new(), skipped }
}
