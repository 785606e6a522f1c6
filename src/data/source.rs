//! Where a data set's pixels come from: files below a folder.

use super::decode::{Pixels, decode, decode_with_alpha};
use std::path::{Path, PathBuf};

/// Where the images are that a data set's paths name. Cheap to clone, and read from many threads at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    place: PathBuf,
}

impl Source {
    /// Files below `place`; an empty one takes paths as they are.
    pub fn folder(place: impl Into<PathBuf>) -> Source {
        Source { place: place.into() }
    }

    /// The folder or file that was named.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What to call the image at `path` in a message.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.place.join(path)
    }

    /// Reads the image at `path`; with its opacity where `alpha` says so. See [`super::decode_bytes`].
    ///
    /// # Errors
    /// A short reason when it cannot be read or does not decode.
    pub fn decode(&self, path: &str, alpha: bool) -> Result<Pixels, String> {
        let path = self.place.join(path);
        if alpha { decode_with_alpha(&path) } else { decode(&path) }
    }
}
