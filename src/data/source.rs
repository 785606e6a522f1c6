//! Where a data set's pixels come from: files below a folder, or the records of files that hold many images.

use super::decode::{Pixels, decode, decode_with_alpha};
use super::records::Part;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the images are that a data set's paths name. Cheap to clone, and read from many threads at once.
#[derive(Debug, Clone, Default)]
pub struct Source {
    place: PathBuf,
    parts: Arc<[Part]>,
}

impl Source {
    /// Files below `place`; an empty one takes paths as they are.
    pub fn folder(place: impl Into<PathBuf>) -> Source {
        Source { place: place.into(), ..Source::default() }
    }

    /// As [`Source::folder`], with paths that stand for records of `parts`.
    pub(super) fn records(place: impl Into<PathBuf>, parts: Vec<Part>) -> Source {
        Source { place: place.into(), parts: parts.into() }
    }

    /// The folder or file that was named.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What to call the image at `path` in a message.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.place.join(path)
    }

    /// Whether some paths stand for records of a file that holds many images.
    pub fn has_records(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether `path` stands for such a record.
    pub(super) fn has_record(&self, path: &str) -> bool {
        self.parts.iter().any(|part| part.number(path).is_some())
    }

    /// Reads the image at `path`; with its opacity where `alpha` says so and it has any. See [`super::decode_bytes`].
    ///
    /// # Errors
    /// A short reason when it cannot be read or does not decode.
    pub fn decode(&self, path: &str, alpha: bool) -> Result<Pixels, String> {
        if let Some(record) = self.parts.iter().find_map(|part| Some((part, part.number(path)?))) {
            return record.0.decode(record.1);
        }
        let path = self.place.join(path);
        if alpha { decode_with_alpha(&path) } else { decode(&path) }
    }
}

/// The same place; what lies there is not compared.
impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        self.place == other.place && self.parts.len() == other.parts.len()
    }
}

impl Eq for Source {}
