//! Batches of images from disk.

use super::cache::ContentHash;
use crate::data::{Facts, Layout, Preprocessing, Skipped, Source};
use ndarray::{ArrayD, CowArray, IxDyn};
use rayon::prelude::*;

/// What images are to the engine.
pub(super) enum Input {
    /// Their values, as it takes them.
    Values(ArrayD<f32>),
    /// Bytes, which become values when they are run: a whole photograph is large, and several wait.
    Bytes(ArrayD<u8>),
}

impl Input {
    pub fn values(&self) -> CowArray<'_, f32, IxDyn> {
        match self {
            Input::Values(values) => values.into(),
            Input::Bytes(bytes) => bytes.mapv(f32::from).into(),
        }
    }
}

/// Images for the engine.
pub(super) struct Batch {
    pub input: Input,
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
    let input = Input::Values(ArrayD::from_shape_vec(shape, input).expect("as many values as the shape says"));
    Batch { input, places, hashes, facts, skipped }
}

/// One image as it is decoded.
pub(super) fn load_pixels(source: &Source, path: &str, start: usize) -> Batch {
    let (image, places, skipped) = match source.decode(path, false) {
        Ok(image) => (image.to_rgb(), vec![start], Vec::new()),
        Err(reason) => (Default::default(), Vec::new(), vec![source.skipped(path, reason)]),
    };
    let shape = vec![places.len(), image.height() as usize, image.width() as usize, 3];
    let bytes = ArrayD::from_shape_vec(shape, image.into_raw()).expect("as many values as the shape says");
    let input = Input::Bytes(bytes);
    // Features are never taken of such a model.
    Batch { input, places, hashes: Vec::new(), facts: Vec::new(), skipped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_wait_as_bytes() {
        let place = tempfile::tempdir().unwrap();
        let bytes = vec![7; 40 * 30 * 3];
        image::RgbImage::from_raw(40, 30, bytes.clone()).unwrap().save(place.path().join("a.png")).unwrap();
        let batch = load_pixels(&Source::folder(place.path()), "a.png", 5);
        let Input::Bytes(found) = batch.input else { panic!("values") };
        assert_eq!((found.shape(), batch.places), (&[1, 30, 40, 3][..], vec![5]));
        assert_eq!(found.into_raw_vec_and_offset().0, bytes);
    }
}
