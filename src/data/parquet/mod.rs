//! Images in Parquet files, as Hugging Face data sets have them: a row an image, its file in the column.
//!
//! A row cannot be read without all before it, so the images are copied once, when they are listed, into a temporary file
//! without a name, which is gone when the data set is.

mod lists;
mod table;

use super::decode::{MAX_BYTES, io_reason};
use super::rows::named;
use super::scan::{Listing, beginning, has_extension, is_image_name, split_of};
use super::table::{Columns, are_splits, in_order, passed_over};
use super::task::Task;
use super::{Skipped, Split};
use crate::error::{Error, Result};
use crate::guard::quietly;
use crate::progress::{Event, Progress, emit};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use table::Table;

/// Rows that are decoded at once.
const ROWS: usize = 64;

/// The images of one data set's files, one behind the other.
#[derive(Debug)]
pub(super) struct Rows {
    prefix: String,
    file: Mutex<File>,
    /// Where each image begins and how long it is.
    places: Vec<(u64, u32)>,
}

/// What a row holds beside its image.
#[derive(Debug, Default, Clone, PartialEq)]
struct Cells {
    /// One for each label column.
    labels: Vec<Option<String>>,
    split: Option<String>,
    group: Option<String>,
}

/// Folders above a data set's files: a configuration and a split, as Hugging Face converts data sets.
const DEPTH: usize = 2;

/// The Parquet files that `place` is, or holds (or its folder `data`), in order of their names; else those in folders of
/// configurations and splits, where no such folder holds images. What has no bytes beside folders that do describes these.
pub(super) fn find(place: &Path) -> Vec<PathBuf> {
    if is_parquet(place) || beginning(place).starts_with(b"PAR1") {
        return vec![place.into()];
    }
    let mut found = [place.to_path_buf(), place.join("data")].into_iter().filter_map(|folder| within(&folder, false));
    let own = found.find(|(files, _)| !files.is_empty()).map(|(files, _)| files);
    let describe = |files: &Vec<PathBuf>| {
        let bytes = |file: &PathBuf| quietly(|| table::holds_bytes(file)).unwrap_or(true);
        below(place, DEPTH).is_none() && !files.iter().any(bytes)
    };
    own.filter(|files| !describe(files)).or_else(|| below(place, DEPTH)).unwrap_or_default()
}

fn is_parquet(path: &Path) -> bool {
    has_extension(path, &["parquet"]) && path.is_file()
}

/// The Parquet files in a folder, and the folders; `None` for one that is a class's, which may hold many images, where `classes`
/// are looked for.
fn within(folder: &Path, classes: bool) -> Option<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        match name.starts_with('.') {
            true => {}
            false if classes && is_image_name(&name) => return None,
            // What tells of images that lie beside it has none.
            false if name == "metadata.parquet" => {}
            false if is_parquet(&path) => files.push(path),
            false if entry.file_type().is_ok_and(|kind| !kind.is_file()) && path.is_dir() => folders.push(path),
            false => {}
        }
    }
    files.sort();
    folders.sort();
    Some((files, folders))
}

/// Those in a folder, or in folders so far below it; `None` where one of these holds images: then Parquet beside them is what
/// describes them, as `metadata.parquet`.
fn below(folder: &Path, depth: usize) -> Option<Vec<PathBuf>> {
    let (files, folders) = within(folder, depth < DEPTH)?;
    if depth == 0 {
        return Some(files);
    }
    let found = folders.iter().map(|folder| below(folder, depth - 1)).collect::<Option<Vec<_>>>()?;
    Some(if files.is_empty() { found.concat() } else { files })
}

/// The split that a file's name tells, or its folder's, as `partial-train/0000.parquet` below `place`; `None` for neither.
fn split_of_file(place: &Path, file: &Path) -> Option<Split> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let own = name(file);
    let folder = file.parent().filter(|folder| *folder != place).map(name).unwrap_or_default();
    let first = |name: &str| split_of(name.split(['-', '_', '.']).next().unwrap_or_default());
    first(&own).or_else(|| first(folder.strip_prefix("partial-").unwrap_or(&folder)))
}

/// Refuses files of several configurations, which are different data sets.
fn one_configuration(place: &Path, files: &[PathBuf]) -> Result<()> {
    let configuration = |file: &PathBuf| {
        let mut folder = file.parent().unwrap_or(place);
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let split = split_of(name.strip_prefix("partial-").unwrap_or(name)).is_some();
        if split && folder != place {
            folder = folder.parent().unwrap_or(place);
        }
        folder.strip_prefix(place).unwrap_or(folder).display().to_string()
    };
    let names: BTreeSet<String> = files.iter().map(configuration).collect();
    if names.len() < 2 {
        return Ok(());
    }
    let shown = named(names.iter().map(String::as_str).collect::<Vec<_>>().into_iter());
    Err(Error::data(place, format!("holds several configurations of a data set ({shown}); give one of these folders")))
}

impl Rows {
    /// The path of an image: `row-000123`.
    pub(super) fn path(&self, number: usize) -> String {
        format!("{}row-{number:06}", self.prefix)
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    fn place(&self, path: &str) -> Option<(u64, u32)> {
        let digits = path.strip_prefix(&self.prefix)?.strip_prefix("row-")?;
        let number = digits.parse().ok()?;
        self.places.get(number).copied().filter(|_| self.path(number) == path)
    }

    /// Whether a path stands for a row.
    pub(super) fn has(&self, path: &str) -> bool {
        self.place(path).is_some()
    }

    /// The image file in the row that a path stands for.
    pub(super) fn read(&self, path: &str) -> std::result::Result<Vec<u8>, String> {
        let (start, length) = self.place(path).ok_or("no such row")?;
        let mut bytes = vec![0; length as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes)).map_err(io_reason)?;
        match bytes.is_empty() {
            true => Err("the row has no image in it".into()),
            false => Ok(bytes),
        }
    }

    fn add(&mut self, end: &mut u64, bytes: &[u8]) -> std::io::Result<()> {
        // A longer one is no image that is read, either.
        let bytes = if bytes.len() as u64 > MAX_BYTES { &[] } else { bytes };
        self.file.get_mut().unwrap_or_else(PoisonError::into_inner).write_all(bytes)?;
        self.places.push((*end, bytes.len() as u32));
        *end += bytes.len() as u64;
        Ok(())
    }
}

/// The images that `place` is or holds, without labels; `None` where it has no Parquet file.
///
/// # Errors
/// [`Error::Data`] for a damaged file, or one without images; [`Error::Interrupted`].
pub(super) fn images(place: &Path, prefix: String, columns: &Columns, progress: Progress) -> Result<Option<Rows>> {
    Ok(copy(place, prefix, columns, false, progress)?.map(|(rows, _, _)| rows))
}

/// The labelled images; `None` where `place` has no Parquet file.
///
/// # Errors
/// As [`images`], and where it cannot be told which column holds the labels.
pub(super) fn read(place: &Path, columns: &Columns, progress: Progress) -> Result<Option<(Rows, Listing)>> {
    let Some((rows, mut cells, found)) = copy(place, String::new(), columns, true, progress)? else { return Ok(None) };
    let Found { classes: order, targets, lists, split } = found;
    let of = |cells: &Cells| cells.split.clone().unwrap_or_default();
    let splits: Vec<String> = cells.iter().map(|(_, cells)| of(cells)).collect();
    let guess = split.filter(|_| columns.split.is_none());
    let passed = guess.filter(|_| !are_splits(splits.iter().map(String::as_str)));
    if passed.is_some() {
        cells.iter_mut().for_each(|(_, cells)| cells.split = None);
    }
    let labels = cells.iter().flat_map(|(_, cells)| cells.labels.iter().flatten().map(String::as_str));
    let listing = Listing::of(columns.task.or(lists.then_some(Task::Multilabel)), targets, labels)
        .map_err(|what| Error::data(place, what))?;
    let notes = passed.iter().map(|column| passed_over(column)).collect();
    let mut listing = Listing { order, notes, ..listing };
    for (number, (file, cells)) in cells.into_iter().enumerate() {
        let path = rows.path(number);
        let mut skip = |reason: String| listing.skipped.push(Skipped { path: path.clone(), reason });
        let split = match &cells.split {
            Some(split) => split_of(split),
            None => Some(file),
        };
        let none = !listing.task.is_multilabel() && cells.labels.contains(&None);
        let labels: Vec<&str> = cells.labels.iter().map(|label| label.as_deref().unwrap_or_default()).collect();
        match (split, listing.task.text(&labels, &listing.targets)) {
            (None, _) => {
                let split = cells.split.unwrap_or_default();
                skip(format!("'{}' is no split; give train, val or test", split.escape_debug()));
            }
            _ if none => skip("no label".into()),
            (_, Err(what)) => skip(what),
            _ if columns.groups.is_some() && cells.group.as_ref().is_none_or(String::is_empty) => {
                skip("no group".into())
            }
            (Some(split), Ok(label)) => {
                listing.split_form |= split != Split::Train;
                listing.groups.extend(cells.group.map(|group| (path.clone(), group)));
                listing.splits.entry(split).or_default().entry(label).or_default().push(path);
            }
        }
    }
    if listing.order.is_empty() {
        listing.order = in_order(listing.splits.values().flat_map(|classes| classes.keys()));
    }
    Ok(Some((rows, listing)))
}

fn not_copied(error: std::io::Error) -> String {
    format!("its images cannot be copied into the temporary folder ({error}); set TMPDIR to another one")
}

/// What is known of the label columns.
#[derive(Debug, Default)]
struct Found {
    /// Names of the classes' numbers in their order, as Hugging Face's `ClassLabel` has them.
    classes: Vec<String>,
    /// The columns' names.
    targets: Vec<String>,
    /// Whether each image has a list of labels.
    lists: bool,
    /// The split column's name.
    split: Option<String>,
}

/// The images, what stands beside each, and what is known of the label columns.
type Copied = (Rows, Vec<(Split, Cells)>, Found);

/// Copies the images of all files, and reads what stands beside them.
fn copy(place: &Path, prefix: String, columns: &Columns, labelled: bool, progress: Progress) -> Result<Option<Copied>> {
    let files = find(place);
    if files.is_empty() {
        return Ok(None);
    }
    one_configuration(place, &files)?;
    let file = tempfile::tempfile().map_err(|e| Error::data(place, not_copied(e)))?;
    let mut rows = Rows { prefix, file: Mutex::new(file), places: Vec::new() };
    let (mut cells, mut known, mut end) = (Vec::new(), Found::default(), 0);
    emit(progress, Event::Stage { name: "copying images", total: 0 })?;
    let stopped = Cell::new(false);
    let copied = |images: usize| match emit(progress, Event::Advance(images as u64)) {
        Ok(()) => Ok(()),
        Err(error) => {
            stopped.set(true);
            Err(error.to_string())
        }
    };
    for path in &files {
        // Of one file alone everything is for training, whatever it is called.
        let split = split_of_file(place, path).filter(|_| !place.is_file()).unwrap_or(Split::Train);
        let read = || Table::open(path, columns, labelled).and_then(|table| table.copy(&mut rows, &mut end, &copied));
        // A reader that fails on what strangers wrote is no bug of ours.
        let read = quietly(read).unwrap_or_else(|_| Err("damaged, or of a kind that is not known".into()));
        let why = |what| if stopped.get() { Error::Interrupted } else { Error::data(path, what) };
        let (own, found) = read.map_err(why)?;
        cells.extend(own.into_iter().map(|cells| (split, cells)));
        if known.targets.is_empty() {
            known = found;
        } else if known.lists != found.lists {
            return Err(Error::data(path, "it has one label where other files have lists, or the other way round"));
        } else if known.classes.is_empty() {
            known.classes = found.classes;
        } else if !found.classes.is_empty() && known.classes != found.classes {
            return Err(Error::data(path, "its numbers stand for other classes than those of the files before it"));
        }
    }
    Ok(Some((rows, cells, known)))
}
