//! CIFAR's binary version, as <https://www.cs.toronto.edu/~kriz/cifar.html> describes it: records of one label (two for
//! CIFAR-100: coarse, fine) and 32x32 pixels, red, green and blue one behind the other.

use super::dataset::Split;
use super::records::{Labelled, MOST_IMAGES, Part, Store};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const SIDE: u32 = 32;
const PIXELS: u64 = 3 * 32 * 32;

/// What differs between CIFAR-10 and CIFAR-100.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// Bytes before the pixels; the last one is the label.
    labels: u64,
    classes: usize,
    /// The file with the classes' names, one a line.
    names: &'static str,
}

pub(super) const TEN: Kind = Kind { labels: 1, classes: 10, names: "batches.meta.txt" };
pub(super) const HUNDRED: Kind = Kind { labels: 2, classes: 100, names: "fine_label_names.txt" };

/// Whether CIFAR-100's names are there.
pub(super) fn holds_names(folder: &Path) -> bool {
    folder.join(HUNDRED.names).is_file()
}

/// Whether a file has a length that CIFAR-100's can have.
pub(super) fn fits_100(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.len() > 0 && meta.len().is_multiple_of(PIXELS + HUNDRED.labels))
}

/// Whether a folder is the version for Python.
pub(super) fn is_python(folder: &Path) -> bool {
    [["data_batch_1", "batches.meta"], ["train", "meta"]]
        .iter()
        .any(|names| names.iter().all(|n| folder.join(n).is_file()))
}

/// The images with their labels, and the classes' names.
pub(super) fn read(files: &[PathBuf], kind: Kind) -> Result<(Vec<Labelled>, Vec<String>)> {
    let names = match files.first() {
        Some(first) => names(&first.with_file_name(kind.names), kind)?,
        None => Vec::new(),
    };
    let mut found = Vec::new();
    for path in files {
        let part = images(path, kind)?;
        let labels = labels(path, &part, names.len())?;
        let split = if part.prefix.starts_with("test") { Split::Test } else { Split::Train };
        found.push(Labelled { part, labels, split });
    }
    Ok((found, names))
}

pub(super) fn images(path: &Path, kind: Kind) -> Result<Part> {
    let file = File::open(path).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let stride = PIXELS + kind.labels;
    if length == 0 || !length.is_multiple_of(stride) {
        let what = format!("has {length} bytes, not a whole number of records of {stride}; download it again");
        return Err(Error::data(path, what));
    }
    let count = length / stride;
    if count > MOST_IMAGES {
        return Err(Error::data(path, format!("has {count} images; at most {MOST_IMAGES} can be used")));
    }
    let prefix = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let store = Store::File(Mutex::new(file));
    Ok(Part { prefix, store, count, start: kind.labels, stride, height: SIDE, width: SIDE, color: true })
}

fn labels(path: &Path, part: &Part, classes: usize) -> Result<Vec<u8>> {
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path).map_err(Error::io(path))?);
    let mut record = vec![0; part.stride as usize];
    let mut labels = Vec::new();
    for number in 0..part.count {
        reader.read_exact(&mut record).map_err(Error::io(path))?;
        let label = record[part.start as usize - 1];
        if usize::from(label) >= classes {
            let what = format!("record {number} has the label {label}, but there are {classes} classes; is it CIFAR?");
            return Err(Error::data(path, what));
        }
        labels.push(label);
    }
    Ok(labels)
}

/// The names in `path`; numbers where there is no such file.
fn names(path: &Path, kind: Kind) -> Result<Vec<String>> {
    if !path.is_file() {
        return Ok((0..kind.classes).map(|label| label.to_string()).collect());
    }
    let mut text = String::new();
    // Far more than a hundred names need.
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(1 << 16).read_to_string(&mut text).map_err(Error::io(path))?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect();
    let mut seen = HashSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(Error::data(path, format!("has the name '{twice}' twice; names must differ")));
    }
    if names.len() > 256 {
        return Err(Error::data(path, format!("has {} names; labels of one byte tell 256", names.len())));
    }
    Ok(names)
}
