//! Images in Parquet files, as Hugging Face data sets have them: a row an image, its file in the column.
//!
//! A row cannot be read without all before it, so the images are copied once, when they are listed, into a temporary file
//! without a name, which is gone when the data set is.

mod files;
mod lists;
mod store;
mod table;
#[cfg(test)]
mod tests;

use super::dataset::quoted;
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
use std::path::Path;
use store::Room;
pub(super) use store::Rows;
use table::{Refused, Table};

/// What a row holds beside its image.
#[derive(Debug, Default, Clone, PartialEq)]
struct Cells {
    /// One for each label column.
    labels: Vec<Option<String>>,
    split: Option<String>,
    group: Option<String>,
}

/// The images that `place` is or holds, without labels, and the files that are damaged; `None` where it has no Parquet file.
///
/// # Errors
/// [`Error::Data`] where all files are damaged, or one has no images; [`Error::Interrupted`].
pub(super) fn images(
    place: &Path,
    prefix: String,
    columns: &Columns,
    progress: Progress,
) -> Result<Option<(Rows, Vec<Skipped>)>> {
    let found = copy(place, prefix, columns, false, progress)?;
    Ok(found.map(|(rows, _, found)| (rows, found.damaged.into_iter().map(|(file, _)| file).collect())))
}

/// The labelled images; `None` where `place` has no Parquet file.
///
/// # Errors
/// As [`images`], and where it cannot be told which column holds the labels.
pub(super) fn read(place: &Path, columns: &Columns, progress: Progress) -> Result<Option<(Rows, Listing)>> {
    let Some((rows, mut cells, found)) = copy(place, String::new(), columns, true, progress)? else { return Ok(None) };
    let Found { classes: order, targets, lists, split, others, damaged } = found;
    let splits = || cells.iter().map(|(.., cells)| cells.split.as_deref().unwrap_or_default());
    let guess = split.clone().filter(|_| columns.split.is_none());
    let passed = guess.filter(|_| !are_splits(splits()));
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
    for (file, own) in damaged {
        // A split that lost all its files is there, empty: another one does not take its place.
        if let Some(own) = own.filter(|_| split.is_none() || passed.is_some()) {
            listing.split_form |= own != Split::Train;
            listing.splits.entry(own).or_default();
        }
        listing.skipped.push(file);
    }
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
    /// The files that are damaged, and their splits.
    damaged: Vec<(Skipped, Option<Split>)>,
}

impl Found {
    /// With what another file says.
    fn join(&mut self, other: Found) -> std::result::Result<(), &'static str> {
        if self.targets.is_empty() {
            *self = other;
        } else if self.lists != other.lists {
            return Err("it has one label where other files have lists, or the other way round");
        } else if self.classes.is_empty() {
            self.classes = other.classes;
        } else if !other.classes.is_empty() && self.classes != other.classes {
            return Err("its numbers stand for other classes than those of the files before it");
        }
        Ok(())
    }
}

/// The images; the number of each, the split of its file and what stands beside it; and what is known of the label columns.
type Copied = (Rows, Vec<(usize, Option<Split>, Cells)>, Found);

/// Copies the images of all files, and reads what stands beside them. Where labels are wanted, files of splits that are none of
/// ours are counted, so that a row has one number for all commands, and not read: they may have no labels, or others. Damaged files
/// are left out, with as many rows as they say they have, as long as there is another.
fn copy(place: &Path, prefix: String, columns: &Columns, labelled: bool, progress: Progress) -> Result<Option<Copied>> {
    let files = find(place);
    if files.is_empty() {
        return Ok(None);
    }
    let others = other_splits(place, &files);
    one_configuration(place, &files, &others)?;
    let mut rows = Rows::new(prefix, Room::of(&files)).map_err(|what| Error::data(place, what))?;
    let (mut cells, mut known, mut damaged) = (Vec::new(), Found::default(), Vec::new());
    emit(progress, Event::Stage { name: "copying images", total: 0 })?;
    let (stopped, mut not_read) = (Cell::new(false), 0);
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
            rows.pass(path, first)?;
            not_read += 1;
            continue;
        }
        // Of one file alone everything is for training, whatever it is called.
        let own = split_of_file(place, path).filter(|_| !place.is_file());
        let split = own.or((!others.contains_key(path)).then_some(Split::Train));
        let texts = rows.room.texts;
        let read = || Table::open(path, columns, labelled).and_then(|table| table.copy(&mut rows, &copied));
        // A reader that fails on what strangers wrote is no bug of ours.
        let read =
            quietly(read).unwrap_or_else(|_| Err(Refused::Damaged("damaged, or of a kind that is not known".into())));
        let (own, found) = match read {
            Err(_) if stopped.get() => return Err(Error::Interrupted),
            Err(Refused::Other(what)) => return Err(Error::data(path, what)),
            Err(Refused::Damaged(reason)) => {
                // What was read of it is dropped.
                rows.room.texts = texts;
                rows.pass(path, first)?;
                rows.lost.push(first..rows.count());
                let path = path.strip_prefix(place).unwrap_or(path).to_string_lossy().into_owned();
                damaged.push((Skipped { path, reason }, split));
                continue;
            }
            Ok(read) => read,
        };
        cells.extend((first..).zip(own).map(|(number, cells)| (number, split, cells)));
        known.join(found).map_err(|what| Error::data(path, what))?;
    }
    if let Some((first, _)) = damaged.first().filter(|_| damaged.len() == files.len() - not_read) {
        let all = if damaged.len() > 1 { "; none of the files can be read" } else { "" };
        let file = if place.is_file() { place.to_path_buf() } else { place.join(&first.path) };
        return Err(Error::data(file, format!("{}{all}", first.reason)));
    }
    (known.others, known.damaged) = (others.into_values().collect(), damaged);
    Ok(Some((rows, cells, known)))
}
