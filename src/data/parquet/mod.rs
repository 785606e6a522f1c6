//! Images in Parquet files, as Hugging Face data sets have them: a row an image, its file in the column.
//!
//! A row cannot be read without all before it, so the images are copied once, when they are listed, into a temporary file
//! without a name, which is gone when the data set is.

mod files;
mod lists;
mod table;

use super::dataset::quoted;
use super::decode::{MAX_BYTES, io_reason};
use super::records::MOST_IMAGES;
use super::scan::{Listing, split_of};
use super::table::{Columns, are_splits, in_order, passed_over};
use super::task::Task;
use super::{Skipped, Split};
use crate::error::{Error, Result};
use crate::guard::quietly;
use crate::progress::{Event, Progress, emit};
pub(super) use files::find;
use files::{one_configuration, other_splits, split_of_file};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
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
    let Found { classes: order, targets, lists, split, others } = found;
    let of = |cells: &Cells| cells.split.clone().unwrap_or_default();
    let splits: Vec<String> = cells.iter().map(|(.., cells)| of(cells)).collect();
    let guess = split.filter(|_| columns.split.is_none());
    let passed = guess.filter(|_| !are_splits(splits.iter().map(String::as_str)));
    if passed.is_some() {
        cells.iter_mut().for_each(|(.., cells)| cells.split = None);
    }
    let labels = cells.iter().flat_map(|(.., cells)| cells.labels.iter().flatten().map(String::as_str));
    // Names that a file declares are classes, whatever they look like.
    let told = lists.then_some(Task::Multilabel).or((!order.is_empty()).then_some(Task::Multiclass));
    let listing = Listing::of(columns.task.or(told), targets, labels).map_err(|what| Error::data(place, what))?;
    let mut notes: Vec<String> = passed.iter().map(|column| passed_over(column)).collect();
    if !others.is_empty() {
        let names = quoted(others.iter().map(String::as_str));
        notes.push(format!("splits beside train, val and test were ignored: {names}"));
    }
    let mut listing = Listing { order, notes, ..listing };
    for (number, file, cells) in cells {
        let path = rows.path(number);
        let mut skip = |reason: String| listing.skipped.push(Skipped { path: path.clone(), reason });
        let split = match &cells.split {
            Some(split) => split_of(split),
            None if file.is_none() => continue,
            None => file,
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
    /// The names of files' splits that are none of ours.
    others: BTreeSet<String>,
}

/// The images; the number of each, the split of its file and what stands beside it; and what is known of the label columns.
type Copied = (Rows, Vec<(usize, Option<Split>, Cells)>, Found);

/// Copies the images of all files, and reads what stands beside them. Where labels are wanted, files of splits that are none of
/// ours are counted, so that a row has one number for all commands, and not read: they may have no labels, or others.
fn copy(place: &Path, prefix: String, columns: &Columns, labelled: bool, progress: Progress) -> Result<Option<Copied>> {
    let files = find(place);
    if files.is_empty() {
        return Ok(None);
    }
    let others = other_splits(place, &files);
    one_configuration(place, &files, &others)?;
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
        let first = rows.count();
        // A column that somebody names tells more than the files' names.
        if labelled && columns.split.is_none() && others.contains_key(path) {
            // Nobody asks for these images.
            let count = quietly(|| table::rows(path)).unwrap_or(0);
            if (first + count) as u64 > MOST_IMAGES {
                return Err(Error::data(path, format!("more than {MOST_IMAGES} rows")));
            }
            rows.places.resize(first + count, (end, 0));
            continue;
        }
        // Of one file alone everything is for training, whatever it is called.
        let own = split_of_file(place, path).filter(|_| !place.is_file());
        let split = own.or((!others.contains_key(path)).then_some(Split::Train));
        let read = || Table::open(path, columns, labelled).and_then(|table| table.copy(&mut rows, &mut end, &copied));
        // A reader that fails on what strangers wrote is no bug of ours.
        let read = quietly(read).unwrap_or_else(|_| Err("damaged, or of a kind that is not known".into()));
        let why = |what| if stopped.get() { Error::Interrupted } else { Error::data(path, what) };
        let (own, found) = read.map_err(why)?;
        cells.extend((first..).zip(own).map(|(number, cells)| (number, split, cells)));
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
    known.others = others.into_values().collect();
    Ok(Some((rows, cells, known)))
}
