//! MNIST's format, IDX, as <http://yann.lecun.com/exdb/mnist/> describes it: a big-endian magic number that tells type
//! and dimensions, the sizes of these, the values.

use super::dataset::Split;
use super::decode::{MAX_PIXELS, MAX_SIDE, io_reason};
use super::records::{Labelled, MOST_IMAGES, Part, Store};
use super::scan::{beginning, split_of};
use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bytes of three dimensions, and of one.
const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;
/// What may be unpacked into memory, in bytes.
const MOST_UNPACKED: u64 = 2 << 30;

/// Words of names that tell images from labels, or nothing.
const WORDS: [&str; 13] =
    ["images", "image", "imgs", "img", "labels", "label", "x", "y", "idx", "idx1", "idx3", "ubyte", "gz"];

/// Whether a file of that name holds images: as `train-images-idx3-ubyte.gz` does.
pub(super) fn is_images(name: &str) -> bool {
    stem(name).is_some()
}

/// Whether a file begins as one of images does, packed or not, and is not called as labels are.
pub(super) fn begins_as_images(path: &Path) -> bool {
    let tells_labels = |word: &str| ["labels", "label", "y", "idx1"].contains(&word);
    let name = file_name(path).to_lowercase();
    !name.split(['-', '_', '.']).any(tells_labels) && magic(path) == Some(IMAGES)
}

fn magic(path: &Path) -> Option<u32> {
    let (begins, mut number) = (beginning(path), [0; 4]);
    let read = match is_packed(path) {
        true => MultiGzDecoder::new(&begins[..]).read_exact(&mut number),
        false => (&begins[..]).read_exact(&mut number),
    };
    read.ok().map(|()| u32::from_be_bytes(number))
}

/// What images are called by, and their labels with them: what comes before `images` in the usual names; of others the words that are
/// left without those that tell what is in the file.
fn called(path: &Path) -> String {
    let name = file_name(path);
    let words = || name.split(['-', '_', '.']).filter(|word| !WORDS.contains(&word.to_lowercase().as_str()));
    let called = stem(name).map_or_else(|| words().collect::<Vec<_>>().join("-"), str::to_owned);
    if called.is_empty() { "images".into() } else { called }
}

/// What comes before `images`: `train`; `images` where nothing does.
fn stem(name: &str) -> Option<&str> {
    let (before, after) = name.split_once("images")?;
    let before = before.trim_end_matches(['-', '_', '.']);
    after.contains("idx3").then_some(if before.is_empty() { "images" } else { before })
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The split that a stem's last word names, and what is before that word.
fn split(stem: &str) -> (Split, &str) {
    let (family, word) = stem.rsplit_once(['-', '_', '.']).unwrap_or(("", stem));
    match split_of(word) {
        None if word.eq_ignore_ascii_case("t10k") => (Split::Test, family),
        None => (Split::Train, stem),
        Some(split) => (split, family),
    }
}

/// Of files that are there packed and unpacked, the unpacked one.
///
/// # Errors
/// [`Error::Data`] when they belong to several data sets, whose labels mean different things.
pub(super) fn chosen(place: &Path, files: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let files = unpacked(files);
    let stems: Vec<String> = files.iter().map(|path| called(path)).collect();
    let families: BTreeSet<&str> = stems.iter().map(|stem| split(stem).1).collect();
    let alike = stems.iter().collect::<BTreeSet<_>>().len() < stems.len();
    if families.len() > 1 || alike {
        let names = files.iter().map(|path| file_name(path));
        let some: Vec<_> = if alike { names.collect() } else { families.into_iter().collect() };
        let some = some.iter().take(5).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let what = format!("holds several data sets ({some}); give a folder with the files of one, or one images file");
        return Err(Error::data(place, what));
    }
    Ok(files)
}

/// In order of what they are called, those that are there packed, too, once.
fn unpacked(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    let plain = |path: &PathBuf| if is_packed(path) { path.with_extension("") } else { path.clone() };
    files.sort_by_cached_key(|path| (called(path), plain(path), is_packed(path)));
    files.dedup_by_key(|path| plain(path));
    files
}

/// The images with their labels, and the classes' names: the labels as numbers.
pub(super) fn read(files: &[PathBuf]) -> Result<(Vec<Labelled>, Vec<String>)> {
    let mut found = Vec::new();
    for path in files {
        let part = images(path)?;
        let labels = labels(path, part.count)?;
        found.push(Labelled { split: split(&part.prefix).0, part, labels });
    }
    let largest = found.iter().flat_map(|labelled| &labelled.labels).max();
    let names = largest.map_or(Vec::new(), |&largest| (0..=largest).map(|label| label.to_string()).collect());
    Ok((found, names))
}

/// Opens a file of images; one that is packed is unpacked into memory, as much as its header says.
pub(super) fn images(path: &Path) -> Result<Part> {
    let (mut reader, [count, height, width]) = open(path, IMAGES)?;
    let (count, pixels) = (u64::from(count), u64::from(height) * u64::from(width));
    if pixels == 0 || pixels > MAX_PIXELS || height.max(width) > MAX_SIDE {
        return Err(Error::data(path, format!("images of {height}x{width} pixels cannot be used")));
    }
    if count == 0 || count > MOST_IMAGES {
        return Err(Error::data(path, format!("says it has {count} images; 1 to {MOST_IMAGES} can be used")));
    }
    let size = count * pixels;
    let (store, start) = if is_packed(path) {
        if size > MOST_UNPACKED {
            let what = format!("unpacks to {size} bytes; unpack what is more than 2 GiB with gunzip first");
            return Err(Error::data(path, what));
        }
        (Store::Memory(rest(&mut *reader, path, size)?), 0)
    } else {
        let file = File::open(path).map_err(Error::io(path))?;
        let have = file.metadata().map_err(Error::io(path))?.len();
        // A header of four numbers.
        check_length(path, have.saturating_sub(16), size)?;
        (Store::File(Mutex::new(file)), 16)
    };
    Ok(Part { prefix: called(path), store, count, start, stride: pixels, height, width, color: false })
}

/// The labels that belong to the images at `images`: beside them, `labels-idx1` in place of `images-idx3`; or what begins as labels do
/// and is called alike.
fn labels(images: &Path, count: u64) -> Result<Vec<u8>> {
    let name = file_name(images).replacen("images", "labels", 1).replacen("idx3", "idx1", 1);
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let ways = [name.clone(), plain.to_string(), format!("{plain}.gz")].map(|name| images.with_file_name(name));
    let usual = ways.into_iter().find(|path| path.is_file() && path != images);
    let Some(path) = usual.map_or_else(|| alike(images), |path| Ok(Some(path)))? else {
        let name =
            if name == file_name(images) { format!("a file of labels called '{}'", called(images)) } else { name };
        return Err(Error::data(images, format!("has no labels; put {name} beside it")));
    };
    let path = path.as_path();
    let (mut reader, [have]) = open(path, LABELS)?;
    if u64::from(have) != count {
        let images = file_name(images);
        let what = format!("has {have} labels, but {images} has {count} images; they do not belong together");
        return Err(Error::data(path, what));
    }
    rest(&mut *reader, path, count)
}

/// What begins as labels do beside a file of images, and is called alike.
fn alike(images: &Path) -> Result<Option<PathBuf>> {
    let folder = images.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder))?;
    let files = entries.flatten().map(|entry| images.with_file_name(entry.file_name()));
    let own = called(images);
    match &unpacked(files.filter(|path| called(path) == own && magic(path) == Some(LABELS)).collect())[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, other, ..] => {
            let what = format!("has several files of labels, '{}' and '{}'", file_name(one), file_name(other));
            Err(Error::data(images, format!("{what}; leave the one that belongs to it")))
        }
    }
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// Opens a file and reads its header: the magic number, which must be `magic`, and the sizes behind it.
fn open<const N: usize>(path: &Path, magic: u32) -> Result<(Box<dyn Read>, [u32; N])> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut reader: Box<dyn Read> = if is_packed(path) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut number = || {
        let mut bytes = [0; 4];
        let read = reader.read_exact(&mut bytes);
        read.map_err(|e| Error::data(path, format!("{}; download it again", io_reason(e))))?;
        Ok(u32::from_be_bytes(bytes))
    };
    let found = number()?;
    if found != magic {
        let what = if magic == IMAGES { "images" } else { "labels" };
        let text = format!("begins with {found:#010x}, but IDX {what} with {magic:#010x}; is it the right file?");
        return Err(Error::data(path, text));
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = number()?;
    }
    Ok((reader, sizes))
}

/// What is behind the header: exactly `size` bytes.
fn rest(reader: &mut dyn Read, path: &Path, size: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more tells that there is too much; a header that promises more than there is costs no memory.
    let read = reader.take(size + 1).read_to_end(&mut bytes);
    read.map_err(|e| Error::data(path, format!("{}; download it again", io_reason(e))))?;
    check_length(path, bytes.len() as u64, size)?;
    Ok(bytes)
}

fn check_length(path: &Path, have: u64, size: u64) -> Result<()> {
    match have.cmp(&size) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(Error::data(
            path,
            format!("ends after {have} of the {size} bytes that it announces; download it again"),
        )),
        std::cmp::Ordering::Greater => {
            Err(Error::data(path, format!("goes on after the {size} bytes that it announces; download it again")))
        }
    }
}
