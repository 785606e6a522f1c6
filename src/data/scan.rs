//! Walks a dataset's folder: lists what is there by split and class, and decodes nothing.

use super::archive::{self, Archive};
use super::dataset::{Skipped, Split, quoted};
use super::source::Source;
use super::table::{self, Columns};
use super::task::Task;
use super::{parquet, records};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};
use walkdir::{DirEntry, WalkDir};

const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];
/// How many images are listed between two words to the caller.
pub(super) const BATCH: u64 = 256;

/// Images by class name, in byte order of the names; the paths are relative to the root.
pub(super) type Classes = BTreeMap<String, Vec<String>>;

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Whether the classes are below train, val and test.
    pub split_form: bool,
    /// Images by split (train only without that form) and class. A class folder without images is there, empty.
    pub splits: BTreeMap<Split, Classes>,
    /// The names of the folders that hold each split's images, where the classes are below these.
    pub folders: BTreeMap<Split, BTreeSet<String>>,
    /// The classes' names in an order of their own; empty where that of bytes is right.
    pub order: Vec<String>,
    /// What the labels are; where they are no classes, the keys of `splits` are their texts.
    pub task: Task,
    /// The names of a table's label columns.
    pub targets: Vec<String>,
    /// The group of each image, by its path; empty where a table tells none.
    pub groups: HashMap<String, String>,
    /// The line of each image in a list, by its path.
    pub lines: HashMap<String, u64>,
    pub skipped: Vec<Skipped>,
    /// Files that are not images by their names.
    pub others: u64,
    /// Images that are in no class folder.
    pub loose: u64,
    /// Folders beside train, val and test.
    pub ignored: Vec<String>,
    /// What else the user should know.
    pub notes: Vec<String>,
}

/// Whether a file of that name is considered.
pub(super) fn is_image_name(name: &str) -> bool {
    has_extension(Path::new(name), &EXTENSIONS)
}

/// Whether a file's extension, in any case, is one of these.
pub(super) fn has_extension(path: &Path, known: &[&str]) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    known.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// The first bytes of a file; none of what is none, or cannot be read.
pub(super) fn beginning(path: &Path) -> Vec<u8> {
    const LOOKED_AT: u64 = 4096;
    let mut found = Vec::new();
    // What calls itself an image is one, or a broken one.
    let image = path.to_str().is_some_and(is_image_name);
    if !image && path.is_file() {
        // What cannot be read is told by who reads it.
        let _ = File::open(path).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut found));
    }
    found
}

/// The split that a folder's name stands for, in any case: the words that Hugging Face's `datasets` looks for.
pub(super) fn split_of(name: &str) -> Option<Split> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "val" | "valid" | "validation" | "dev" => Some(Split::Val),
        "test" | "testing" | "eval" | "evaluation" => Some(Split::Test),
        _ => None,
    }
}

/// Whether `root` holds a training folder with class folders in it.
fn in_splits(root: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(root) else { return false };
    let train = |name: &OsStr| name.to_str().and_then(split_of) == Some(Split::Train);
    entries.flatten().any(|entry| train(&entry.file_name()) && holds_folders(&entry.path()))
}

pub(super) fn list(root: &Path, progress: Progress) -> Result<Listing> {
    emit(progress, Event::Stage { name: "listing images", total: 0 })?;
    let mut listing = Listing { split_form: in_splits(root), ..Listing::default() };
    // One walk from the root, so that a link from anywhere below to anywhere above is seen as the loop that it is.
    let mut walk = WalkDir::new(root).min_depth(1).follow_links(true).sort_by_file_name().into_iter();
    let mut seen = 0;
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == 0 => return Err(Error::io(root)(error.into())),
            Err(error) => {
                let path = error.path().map(|path| relative(root, path)).unwrap_or_default();
                if !path.split('/').any(|name| name.starts_with('.')) {
                    listing.skipped.push(Skipped { path, reason: walk_reason(&error) });
                }
                continue;
            }
        };
        let folder = entry.file_type().is_dir();
        if !listing.add(root, &entry) && folder {
            walk.skip_current_dir();
        }
        if !folder {
            seen += 1;
            if seen % BATCH == 0 {
                emit(progress, Event::Advance(BATCH))?;
            }
        }
    }
    emit(progress, Event::Advance(seen % BATCH))?;
    Ok(listing)
}

impl Listing {
    /// That of a table with these label columns and labels, before any row.
    ///
    /// # Errors
    /// What is wrong where classes are wanted from several columns.
    pub(super) fn of<'a>(
        wanted: Option<Task>,
        targets: Vec<String>,
        labels: impl Iterator<Item = &'a str> + Clone,
    ) -> std::result::Result<Listing, String> {
        let task = wanted.unwrap_or_else(|| Task::of(targets.len(), labels));
        if task.is_multiclass() && targets.len() > 1 {
            return Err("several label columns name no one class; give one, or another --task".into());
        }
        Ok(Listing { task, targets, ..Listing::default() })
    }

    /// Takes an entry in. False: what is below it must not be walked.
    fn add(&mut self, root: &Path, entry: &DirEntry) -> bool {
        let folder = entry.file_type().is_dir();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            return false;
        }
        let Some(parts) = parts(root, entry.path()) else {
            if folder || is_image_name(&entry.file_name().to_string_lossy()) {
                let reason = "the name is not valid UTF-8".into();
                self.skipped.push(Skipped { path: relative(root, entry.path()), reason });
            } else {
                self.others += 1;
            }
            return false;
        };
        let split = if self.split_form { split_of(parts[0]) } else { Some(Split::Train) };
        // How many folders lead to a class, itself included.
        let depth = if self.split_form { 2 } else { 1 };
        if folder {
            match split {
                None => self.ignored.push(parts[0].to_string()),
                Some(split) if parts.len() == depth => drop(self.class(split, parts[depth - 1])),
                Some(_) => {}
            }
            return split.is_some();
        }
        if !is_image_name(parts[parts.len() - 1]) {
            self.others += 1;
        } else if !entry.file_type().is_file() {
            let reason = "not a regular file".into();
            self.skipped.push(Skipped { path: parts.join("/"), reason });
        } else {
            self.image(&parts, parts.join("/"));
        }
        true
    }

    /// Takes an image in by the names that lead to it.
    pub(super) fn image(&mut self, parts: &[&str], path: String) {
        let (split, depth) = if self.split_form { (split_of(parts[0]), 2) } else { (Some(Split::Train), 1) };
        match split {
            Some(split) if parts.len() > depth => {
                if self.split_form {
                    let folders = self.folders.entry(split).or_default();
                    // There are few of them, and many images.
                    if !folders.contains(parts[0]) {
                        folders.insert(parts[0].to_string());
                    }
                }
                self.class(split, parts[depth - 1]).push(path);
            }
            None if parts.len() > 1 => self.ignored.push(parts[0].to_string()),
            _ => self.loose += 1,
        }
    }

    fn class(&mut self, split: Split, name: &str) -> &mut Vec<String> {
        self.splits.entry(split).or_default().entry(name.to_string()).or_default()
    }
}

/// What the user should know of a split that is in folders of several names.
pub(super) fn several<'a>(split: Split, folders: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    (folders.len() > 1)
        .then(|| format!("{split} is in several folders, and all of them are taken: {}", quoted(folders)))
}

/// The names that lead from `root` to `path`; `None` when one is not UTF-8.
fn parts<'a>(root: &Path, path: &'a Path) -> Option<Vec<&'a str>> {
    let names = path.strip_prefix(root).ok()?.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    names.collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
}

/// `path` for a person, where it may not be UTF-8.
fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Whether `path` is a folder with a folder in it that is not hidden.
pub(super) fn holds_folders(path: &Path) -> bool {
    let hidden = |entry: &std::fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    entries.flatten().any(|entry| !hidden(&entry) && entry.path().is_dir())
}

fn walk_reason(error: &walkdir::Error) -> String {
    if error.loop_ancestor().is_some() {
        return "a symbolic link to a folder that contains it".into();
    }
    match error.io_error() {
        Some(io) if io.kind() == std::io::ErrorKind::NotFound => "a broken symbolic link".into(),
        Some(io) => io.to_string(),
        None => "cannot be read".into(),
    }
}

/// What a file of many images, a zip file or a list holds; `None` where `root` is another thing.
pub(super) fn one_file(root: &Path, columns: &Columns, progress: Progress) -> Result<Option<(Source, Listing)>> {
    let table = table::is_table(root) || !parquet::find(root).is_empty();
    if let Some((flag, column)) = columns.named().filter(|_| !table) {
        let (place, column) = (root.display(), column.escape_debug());
        let what = format!("{flag} names a column, and this is neither a list of images (.csv, .tsv) nor Parquet");
        return Err(Error::Usage(format!("{place}: {what}; give one that has a column '{column}'")));
    }
    if archive::is_archive(root) {
        let archive = Archive::open(root, String::new(), progress)?;
        let listing = archive.list(progress)?;
        return Ok(Some((Source::files(root, Vec::new(), vec![archive], Vec::new()), listing)));
    }
    if table::is_table(root) {
        let mut listing = table::read(root, columns, progress)?;
        return Ok(Some((Source::listed(root, std::mem::take(&mut listing.lines)), listing)));
    }
    if let Some((rows, listing)) = parquet::read(root, columns, progress)? {
        return Ok(Some((Source::files(root, Vec::new(), Vec::new(), vec![rows]), listing)));
    }
    records::read(root)
}

pub(super) fn not_a_folder(root: &Path) -> Error {
    if root.try_exists().is_ok_and(|is_there| !is_there) && !root.is_symlink() {
        return Error::Usage(format!("{}: does not exist", root.display()));
    }
    let what = "not a folder of images, a zip file, a list (.csv, .tsv), a Parquet file, nor a file of MNIST's, or CIFAR's by \
                its name";
    Error::Usage(format!("{}: {what}", root.display()))
}
