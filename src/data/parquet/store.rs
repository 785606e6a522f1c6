//! The images of Parquet files where they can be read in any order, and how much all that may be.

use super::table;
use crate::data::decode::{MAX_BYTES, io_reason};
use crate::data::records::MOST_IMAGES;
use crate::error::{Error, Result};
use crate::guard::quietly;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Images are as many bytes as their files or few more, since they are compressed: what is far more is none.
const TIMES: u64 = 16;
/// Bytes that the images of small files may have beyond that, …
const MORE: u64 = 1 << 30;
/// … and those of labels, splits and groups, which are kept in memory, a text for each row.
const TEXTS: u64 = 1 << 30;

/// Bytes that may still come: a file of a few may say the same image, or label, for each of a million rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub images: u64,
    pub texts: u64,
}

impl Room {
    pub fn of(files: &[PathBuf]) -> Room {
        let bytes: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum();
        Room { images: bytes.saturating_mul(TIMES).saturating_add(MORE), texts: TEXTS }
    }

    /// Takes a text in, if it is one.
    pub fn take(&mut self, text: Option<String>) -> std::result::Result<Option<String>, String> {
        let left = self.texts.checked_sub(text.as_ref().map_or(0, String::len) as u64);
        self.texts = left.ok_or_else(|| {
            format!(
                "its labels, splits and groups are more than {} MiB; shorten them, or give fewer files",
                TEXTS >> 20
            )
        })?;
        Ok(text)
    }
}

/// The images of one data set's files, one behind the other.
#[derive(Debug)]
pub(in crate::data) struct Rows {
    prefix: String,
    file: Mutex<File>,
    /// Where the next image begins.
    end: u64,
    /// Where each image begins and how long it is.
    places: Vec<(u64, u32)>,
    /// The numbers of rows that damaged files may have.
    pub(super) lost: Vec<Range<usize>>,
    pub(super) room: Room,
}

impl Rows {
    /// None yet.
    pub(super) fn new(prefix: String, room: Room) -> std::result::Result<Rows, String> {
        let file = Mutex::new(tempfile::tempfile().map_err(not_copied)?);
        Ok(Rows { prefix, file, end: 0, places: Vec::new(), lost: Vec::new(), room })
    }

    /// The path of an image: `row-000123`.
    pub(in crate::data) fn path(&self, number: usize) -> String {
        format!("{}row-{number:06}", self.prefix)
    }

    pub(in crate::data) fn count(&self) -> usize {
        self.places.len()
    }

    /// The paths of all that damaged files did not take away.
    pub(in crate::data) fn paths(&self) -> impl ExactSizeIterator<Item = String> {
        let there = |number: &usize| !self.lost.iter().any(|lost| lost.contains(number));
        (0..self.count()).filter(there).map(|number| self.path(number)).collect::<Vec<_>>().into_iter()
    }

    fn place(&self, path: &str) -> Option<(u64, u32)> {
        let digits = path.strip_prefix(&self.prefix)?.strip_prefix("row-")?;
        let number = digits.parse().ok()?;
        self.places.get(number).copied().filter(|_| self.path(number) == path)
    }

    /// Whether a path stands for a row.
    pub(in crate::data) fn has(&self, path: &str) -> bool {
        self.place(path).is_some()
    }

    /// The image file in the row that a path stands for.
    pub(in crate::data) fn read(&self, path: &str) -> std::result::Result<Vec<u8>, String> {
        let (start, length) = self.place(path).ok_or("no such row")?;
        let mut bytes = vec![0; length as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(io_reason)?;
        match bytes.is_empty() {
            true => Err("the row has no image in it".into()),
            false => Ok(bytes),
        }
    }

    /// Counts the rows that a file says it has, behind the first ones, without reading them.
    pub(super) fn pass(&mut self, file: &Path, first: usize) -> Result<()> {
        let count = quietly(|| table::rows(file)).unwrap_or(0);
        if (first + count) as u64 > MOST_IMAGES {
            return Err(Error::data(file, format!("more than {MOST_IMAGES} rows")));
        }
        self.places.truncate(first);
        self.places.resize(first + count, (self.end, 0));
        Ok(())
    }

    /// Puts an image behind the others.
    pub(super) fn add(&mut self, bytes: &[u8]) -> std::result::Result<(), String> {
        // A longer one is no image that is read, either.
        let bytes = if bytes.len() as u64 > MAX_BYTES { &[] } else { bytes };
        let left = self.room.images.checked_sub(bytes.len() as u64);
        self.room.images = left.ok_or("its images are far larger than the file; write them as PNG or JPEG files")?;
        self.file.get_mut().unwrap_or_else(PoisonError::into_inner).write_all(bytes).map_err(not_copied)?;
        self.places.push((self.end, bytes.len() as u32));
        self.end += bytes.len() as u64;
        Ok(())
    }
}

fn not_copied(error: std::io::Error) -> String {
    format!("its images cannot be copied into the temporary folder ({error}); set TMPDIR to another one")
}
