//! Files that hold many small images, without a file for each: which there are, and their images and labels.

use super::dataset::Split;
use super::decode::{Pixels, io_reason};
use super::scan::{Listing, holds_folders, is_image_name};
use super::source::Source;
use super::{cifar, idx};
use crate::error::{Error, Result};
use image::{GrayImage, RgbImage};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The most images that one file may have: each takes some 70 bytes once listed.
pub(super) const MOST_IMAGES: u64 = 10_000_000;

/// Where a file's bytes are.
#[derive(Debug)]
pub(super) enum Store {
    /// On disk: read when asked for.
    File(Mutex<File>),
    /// Unpacked.
    Memory(Vec<u8>),
}

/// The images of one file: all of one size, one byte a value, at equal distances.
#[derive(Debug)]
pub(super) struct Part {
    /// What the paths of its images begin with.
    pub prefix: String,
    pub store: Store,
    /// How many images there are.
    pub count: u64,
    /// The first byte of the first image, and from there to the next image's.
    pub start: u64,
    pub stride: u64,
    pub height: u32,
    pub width: u32,
    /// Red, green and blue one behind the other; else grey.
    pub color: bool,
}

impl Part {
    /// The path of an image: `train-000123`.
    pub fn path(&self, number: u64) -> String {
        format!("{}-{number:06}", self.prefix)
    }

    /// Which image has that path.
    pub fn number(&self, path: &str) -> Option<u64> {
        let digits = path.strip_prefix(&self.prefix)?.strip_prefix('-')?;
        let number = digits.parse().ok()?;
        (number < self.count && self.path(number) == path).then_some(number)
    }

    /// The values of an image as they are stored.
    pub fn read(&self, number: u64) -> std::result::Result<Vec<u8>, String> {
        let plane = self.height as usize * self.width as usize;
        let size = if self.color { 3 * plane } else { plane };
        let mut values = vec![0; size];
        let start = self.start + number * self.stride;
        match &self.store {
            Store::Memory(bytes) => {
                let start = start as usize;
                values.copy_from_slice(bytes.get(start..start + size).ok_or("truncated")?);
            }
            Store::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut values)).map_err(io_reason)?;
            }
        }
        Ok(values)
    }

    /// The image that has these values.
    pub fn pixels(&self, values: Vec<u8>) -> std::result::Result<Pixels, String> {
        let plane = self.height as usize * self.width as usize;
        if !self.color {
            return GrayImage::from_raw(self.width, self.height, values).map(Pixels::Gray).ok_or("no pixels".into());
        }
        let mixed = (0..plane).flat_map(|i| [values[i], values[plane + i], values[2 * plane + i]]).collect();
        RgbImage::from_raw(self.width, self.height, mixed).map(Pixels::Rgb).ok_or("no pixels".into())
    }
}

/// A file with its labels.
pub(super) struct Labelled {
    pub part: Part,
    pub labels: Vec<u8>,
    pub split: Split,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Idx,
    Cifar10,
    Cifar100,
}

/// Other files of a folder that are looked into: one of a data set's few is among so many.
const MOST_LOOKED_INTO: usize = 100;

/// What a file is, by its name.
fn format_of(name: &str) -> Option<Format> {
    if idx::is_images(name) {
        return Some(Format::Idx);
    }
    match name.strip_suffix(".bin")? {
        "train" | "test" => Some(Format::Cifar100),
        "test_batch" => Some(Format::Cifar10),
        stem => stem.strip_prefix("data_batch_").filter(|n| n.parse::<u8>().is_ok()).map(|_| Format::Cifar10),
    }
}

/// The files of images that `place` is or holds, all of one format; `None` where it holds none.
fn find(place: &Path) -> Result<Option<(Format, Vec<PathBuf>)>> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_string);
    if place.is_file() {
        let format = name(place).and_then(|name| format_of(&name));
        let format = format.or_else(|| idx::begins_as_images(place).then_some(Format::Idx));
        return Ok(format.map(|format| (format, vec![place.to_path_buf()])));
    }
    // What cannot be listed is told by whoever takes it for a folder of images.
    let Ok(entries) = std::fs::read_dir(place) else { return Ok(None) };
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for path in entries.flatten().map(|entry| entry.path()) {
        let Some(name) = name(&path).filter(|name| !name.starts_with('.')) else { continue };
        let format = format_of(&name);
        if format.is_none() && others.len() <= MOST_LOOKED_INTO && !is_image_name(&name) && path.is_file() {
            others.push(path.clone());
        }
        // Other files are called train.bin, too.
        let sure = |format| format != Format::Cifar100 || cifar::holds_names(place) || cifar::fits_100(&path);
        if let Some(format) = format.filter(|format| path.is_file() && sure(*format)) {
            files.push((format, path));
        }
    }
    if others.len() <= MOST_LOOKED_INTO {
        let images = others.into_iter().filter(|path| idx::begins_as_images(path));
        files.extend(images.map(|path| (Format::Idx, path)));
    }
    files.sort_by(|a, b| a.1.cmp(&b.1));
    let Some(&(format, _)) = files.first() else {
        if !holds_folders(place) && cifar::is_python(place) {
            let what = "CIFAR as Python's pickles cannot be read; give the folder of its binary version";
            return Err(Error::data(place, what));
        }
        return Ok(None);
    };
    if files.iter().any(|(other, _)| *other != format) {
        return Err(Error::data(place, "holds files of several data sets; give a folder that holds one of them"));
    }
    let files: Vec<PathBuf> = files.into_iter().map(|(_, path)| path).collect();
    Ok(Some((format, if format == Format::Idx { idx::chosen(place, files)? } else { files })))
}

/// Images that `place` is or holds, without labels; `None` where it is another thing. Their paths begin with `place`.
pub(super) fn images(place: &Path) -> Result<Option<Vec<Part>>> {
    let Some((format, files)) = find(place)? else { return Ok(None) };
    let open = |path: &PathBuf| {
        let mut part = match format {
            Format::Idx => idx::images(path)?,
            Format::Cifar10 => cifar::images(path, cifar::TEN)?,
            Format::Cifar100 => cifar::images(path, cifar::HUNDRED)?,
        };
        let named = path.with_file_name(&part.prefix);
        let text = named.to_str().ok_or_else(|| Error::Usage(format!("{}: not UTF-8", path.display())))?;
        part.prefix = text.to_string();
        Ok(part)
    };
    files.iter().map(open).collect::<Result<Vec<_>>>().map(Some)
}

/// Labelled images that `place` is or holds, and where to read them; `None` where it is another thing. A file that is
/// named itself is taken for training, whatever it is called.
pub(super) fn read(place: &Path) -> Result<Option<(Source, Listing)>> {
    let Some((format, files)) = find(place)? else { return Ok(None) };
    let (mut found, names) = match format {
        Format::Idx => idx::read(&files)?,
        Format::Cifar10 => cifar::read(&files, cifar::TEN)?,
        Format::Cifar100 => cifar::read(&files, cifar::HUNDRED)?,
    };
    if place.is_file() {
        found.iter_mut().for_each(|labelled| labelled.split = Split::Train);
    }
    let mut listing = Listing { split_form: true, order: names, ..Listing::default() };
    for Labelled { part, labels, split } in &found {
        let classes: &mut BTreeMap<_, Vec<_>> = listing.splits.entry(*split).or_default();
        let used: BTreeSet<u8> = labels.iter().copied().collect();
        for label in used {
            let numbers = (0u64..).zip(labels).filter(|(_, own)| **own == label).map(|(number, _)| number);
            let name = listing.order[usize::from(label)].clone();
            classes.entry(name).or_default().extend(numbers.map(|number| part.path(number)));
        }
    }
    let parts = found.into_iter().map(|labelled| labelled.part).collect();
    Ok(Some((Source::files(place, parts, Vec::new(), Vec::new()), listing)))
}
