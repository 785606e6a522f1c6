//! Batches of images from disk.

use super::cache::ContentHash;
use crate::data::{Layout, Preprocessing, Skipped, Source};
use ndarray::ArrayD;
use rayon::prelude::*;

/// Images as the engine takes them.
pub(super) struct Batch {
    pub input: ArrayD<f32>,
    pub places: Vec<usize>,
    /// Of the images, where they are asked for.
    pub hashes: Vec<ContentHash>,
    pub skipped: Vec<Skipped>,
}

/// One batch of the images that can be read, with their hashes where `hashed`. `start` is the chunk's place in the whole list.
pub(super) fn load<S: AsRef<str> + Sync>(
    source: &Source,
    chunk: &[S],
    start: usize,
    p: &Preprocessing,
    layout: Layout,
    hashed: bool,
) -> Batch {
    let size: usize = p.shape(1, layout).iter().product();
    let mut input = vec![0f32; size * chunk.len()];
    let one = |(path, out): (&S, &mut [f32])| {
        let content = source.content(path.as_ref())?;
        let hash = hashed.then(|| content.hash());
        content.values(p, layout, out)?;
        Ok(hash)
    };
    let results: Vec<std::result::Result<_, String>> =
        chunk.par_iter().zip(input.par_chunks_mut(size)).map(one).collect();
    let (mut places, mut hashes, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (i, result) in results.into_iter().enumerate() {
        match result {
            Ok(hash) => {
                // Rows of unreadable images are closed up.
                input.copy_within(i * size..(i + 1) * size, places.len() * size);
                places.push(start + i);
                hashes.extend(hash);
            }
            Err(reason) => skipped.push(Skipped { path: chunk[i].as_ref().into(), reason }),
        }
    }
    input.truncate(places.len() * size);
    let shape = p.shape(places.len(), layout).to_vec();
    let input = ArrayD::from_shape_vec(shape, input).expect("as many values as the shape says");
    Batch { input, places, hashes, skipped }
}

/// One image as it is decoded.
pub(super) fn load_pixels(source: &Source, path: &str, start: usize) -> Batch {
    let (image, places, skipped) = match source.decode(path, false) {
        Ok(image) => (image.to_rgb(), vec![start], Vec::new()),
        Err(reason) => (Default::default(), Vec::new(), vec![Skipped { path: path.into(), reason }]),
    };
    let shape = vec![places.len(), image.height() as usize, image.width() as usize, 3];
    let values = image.into_raw().into_iter().map(f32::from).collect();
    let input = ArrayD::from_shape_vec(shape, values).expect("as many values as the shape says");
    // Features are never taken of such a model.
    Batch { input, places, hashes: Vec::new(), skipped }
}
