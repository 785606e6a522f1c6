//! Image folders and files of many images as a labelled dataset with a reproducible validation split.

use super::groups::Groups;
use super::scan::{Classes, Listing, list, not_a_folder, one_file, several, split_of};
use super::source::Source;
use super::table::Columns;
use super::task::Task;
use crate::error::{Error, Result};
use crate::progress::Progress;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

/// What an image is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To fit weights.
    Train,
    /// To choose among fits.
    Val,
    /// To measure the chosen one.
    Test,
}

impl Split {
    /// In the order in which they are used.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        })
    }
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its path in the dataset's source, with `/` between the names.
    pub path: String,
    /// Its class: a place in [`Dataset::classes`]; where it has none, that of what it has in [`Dataset::truths`].
    pub label: usize,
    /// What it is used for.
    pub split: Split,
}

/// A file or folder that is not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its path in the dataset's source; a name that is not UTF-8 is shown with replacement characters.
    pub path: String,
    /// Why, in a few words.
    pub reason: String,
}

/// Labelled images, listed. Nothing has been decoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// Where the images are.
    pub source: Source,
    /// The names of the classes: of folders, in byte order, as torchvision's ImageFolder numbers them; of files, in the
    /// order of their numbers. For other tasks the names of the labels, or of the targets.
    pub classes: Vec<String>,
    /// What the labels are.
    pub task: Task,
    /// Where they are no classes, what images have, each different one once: `[texts, labels or targets]`; see
    /// [`Dataset::truth`].
    pub truths: Array2<f32>,
    /// The same as it was written.
    pub texts: Vec<String>,
    /// The images, by split, then class, then path.
    pub items: Vec<Item>,
    /// What is not used.
    pub skipped: Vec<Skipped>,
    /// What the user should know: a class missing from a split, files that were passed over.
    pub notes: Vec<String>,
    /// Whether the validation images were taken from the training images because no folder held any.
    pub val_from_train: bool,
    /// Which images belong together, where a list tells it.
    pub groups: Option<Groups>,
}

/// How a folder is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// The share of each class's training images that validates when there is no val folder: 0 or more, less than 1.
    pub val: f64,
    /// Chooses those images.
    pub seed: u64,
    /// Of a list.
    pub columns: Columns,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions::new(0.2, 0)
    }
}

impl ReadOptions {
    /// With columns that are guessed.
    pub const fn new(val: f64, seed: u64) -> ReadOptions {
        ReadOptions { val, seed, columns: Columns::GUESSED }
    }
}

impl Dataset {
    /// Lists `root/<class>/**`, or `root/{train,val,test}/<class>/**` when `root/train` holds folders; these may be called
    /// training; valid, validation, dev; testing, eval, evaluation, too, in any case. Of several folders of one split all are
    /// taken.
    ///
    /// Where `root` is a zip file of such folders, a list (CSV, TSV) of paths and labels, or Parquet files with the images in
    /// them (or a folder of some), that is read instead; so are MNIST's files (IDX, packed with gzip or not) and CIFAR's (binary) where `root` is or holds some.
    ///
    /// Images of one group (`columns.groups`) stand on one side: whole groups are held out then, so that each class gives
    /// about its share.
    ///
    /// Symbolic links are followed; hidden names are passed over. Without validation images, each class gives
    /// round(val * n) of its training images, at least 1 and never all. They are the first in order of the SHA-256 of
    /// seed and path: where an image goes then depends on itself, so that adding or removing another image moves at
    /// most those at the border, and no random generator has to be kept the same for ever.
    ///
    /// # Errors
    /// [`Error::Usage`] when `root` is not a folder, has no labels of the task, or `val` is not in range; [`Error::Data`] when there are fewer than
    /// two classes, a class has fewer than two images or a line break in its name; [`Error::Io`] when `root` cannot be
    /// read; [`Error::Interrupted`].
    pub fn read(root: &Path, options: &ReadOptions, progress: Progress) -> Result<Dataset> {
        if !(0.0..1.0).contains(&options.val) {
            return Err(Error::Usage(format!("val is {}; it must be at least 0 and less than 1", options.val)));
        }
        let meta = root.metadata();
        let meta = meta.map_err(|e| Error::Usage(format!("{}: {e}; give a folder of images", root.display())))?;
        let (source, mut listing) = match one_file(root, &options.columns, progress)? {
            Some(found) => found,
            None if meta.is_dir() => (Source::folder(root), list(root, progress)?),
            None => return Err(not_a_folder(root)),
        };
        let mut data = Dataset { source, task: listing.task, ..Dataset::default() };
        data.check_task(options.columns.task)?;
        data.skipped.append(&mut listing.skipped);
        data.note_ignored(&listing);
        data.notes.append(&mut listing.notes);
        let of = std::mem::take(&mut listing.groups);
        data.groups = options.columns.groups.clone().map(|column| Groups { column, of });
        match data.task {
            Task::Multiclass => data.take_classes(&mut listing),
            _ => data.take_truths(&mut listing)?,
        }
        data.check_names()?;
        data.check_form()?;
        data.note_numbers(options);
        data.note_missing(&listing);
        if !data.items.iter().any(|item| item.split == Split::Val) && options.val > 0.0 {
            data.val_from_train = true;
            data.choose_val(options);
        }
        data.check_sides()?;
        data.items.sort_by(|a, b| (a.split, a.label, &a.path).cmp(&(b.split, b.label, &b.path)));
        data.check_classes()?;
        Ok(data)
    }

    /// The number of images of each class in `split`, or with each label; for targets all.
    pub fn counts(&self, split: Split) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for item in self.split(split) {
            match self.task {
                // Items are the caller's to change.
                Task::Multiclass => counts.get_mut(item.label).into_iter().for_each(|count| *count += 1),
                task => counts.iter_mut().zip(self.truths.row(item.label)).for_each(|(count, &value)| {
                    *count += usize::from(task == Task::Regression || value > 0.5);
                }),
            }
        }
        counts
    }

    /// The images of `split`.
    pub fn split(&self, split: Split) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.split == split)
    }

    /// Moves images that could not be read, or are not wanted, from the items to the skipped.
    pub fn remove_unreadable(&mut self, unreadable: Vec<Skipped>) {
        let paths: std::collections::HashSet<&str> = unreadable.iter().map(|s| s.path.as_str()).collect();
        self.items.retain(|item| !paths.contains(item.path.as_str()));
        self.skipped.extend(unreadable);
    }

    /// Classes and items from the listing; the classes are those that have training images.
    fn take_classes(&mut self, listing: &mut Listing) {
        let train = listing.splits.remove(&Split::Train).unwrap_or_default();
        let (empty, mut full): (Vec<_>, Vec<_>) = train.into_iter().partition(|(_, paths)| paths.is_empty());
        let order: HashMap<&str, usize> = listing.order.iter().enumerate().map(|(i, name)| (&**name, i)).collect();
        // What has no order of its own keeps that of bytes.
        full.sort_by_key(|(name, _)| order.get(name.as_str()));
        if !empty.is_empty() {
            let names = empty.iter().map(|(name, _)| name.as_str());
            self.notes.push(format!("class folders without images are left out: {}", quoted(names)));
        }
        for (name, paths) in full {
            let (label, split) = (self.classes.len(), Split::Train);
            self.items.extend(paths.into_iter().map(|path| Item { path, label, split }));
            self.classes.push(name);
        }
        let labels: HashMap<&str, usize> = self.classes.iter().enumerate().map(|(i, name)| (&**name, i)).collect();
        for (&split, classes) in &mut listing.splits {
            let mut unknown = Vec::new();
            for (name, paths) in std::mem::take(classes) {
                if let Some(&label) = labels.get(name.as_str()) {
                    self.items.extend(paths.into_iter().map(|path| Item { path, label, split }));
                } else if let Some(path) = paths.first() {
                    if self.source.has_folders() {
                        let folder = path.split('/').take(2).collect::<Vec<_>>().join("/");
                        let reason = format!("no training images of this class ({} images)", paths.len());
                        self.skipped.push(Skipped { path: folder, reason });
                    } else {
                        let reason = format!("no training images of its class, '{}'", name.escape_debug());
                        self.skipped.extend(paths.into_iter().map(|path| self.source.skipped(&path, reason.clone())));
                    }
                    unknown.push(name);
                }
            }
            if !unknown.is_empty() {
                let names = quoted(unknown.iter().map(String::as_str));
                self.notes.push(format!("{split} has classes that train has not; they are skipped: {names}"));
            }
        }
    }

    /// Says which classes a split lacks, for the splits that have a folder.
    fn note_missing(&mut self, listing: &Listing) {
        for &split in listing.splits.keys() {
            let counts = self.counts(split);
            let missing: Vec<&str> =
                self.classes.iter().zip(&counts).filter(|(_, n)| **n == 0).map(|(name, _)| name.as_str()).collect();
            if missing.len() == self.classes.len() {
                let of = if self.task.is_multilabel() && self.split(split).next().is_some() {
                    " with any of the labels"
                } else {
                    ""
                };
                self.notes.push(format!("{split} has no images{of}"));
            } else if !missing.is_empty() {
                self.notes.push(format!("{split} has no images of: {}", quoted(missing.into_iter())));
            }
        }
    }

    fn note_ignored(&mut self, listing: &Listing) {
        let names = |folders: &BTreeSet<String>, split| several(split, folders.iter().map(String::as_str));
        self.notes.extend(listing.folders.iter().filter_map(|(&split, folders)| names(folders, split)));
        let none = Classes::default();
        let train = listing.splits.get(&Split::Train).unwrap_or(&none);
        let like_splits = train.keys().map(String::as_str).filter(|name| split_of(name).is_some());
        let like_splits = quoted(like_splits);
        if !listing.split_form && !like_splits.is_empty() {
            let why = "there is no train folder with class folders";
            self.notes.push(format!("{like_splits} are read as classes, because {why}"));
        }
        if listing.others > 0 {
            self.notes.push(format!("{} files with other extensions were ignored", listing.others));
        }
        if listing.loose > 0 {
            self.notes.push(format!("{} images outside of class folders were ignored", listing.loose));
        }
        if !listing.ignored.is_empty() {
            let names = quoted(listing.ignored.iter().map(String::as_str));
            self.notes.push(format!("folders beside train, val and test were ignored: {names}"));
        }
    }
}

/// Names for a message: the first ten.
pub(super) fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{}'", name.escape_debug())).collect();
    match names.len() {
        0..=10 => names.join(", "),
        n => format!("{} and {} more", names[..10].join(", "), n - 10),
    }
}
