//! What a data set holds, told from the images' headers.

use super::dataset::{Dataset, Item, Skipped, Split};
use super::task::Task;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

/// Images between two words to the caller.
const BATCH: usize = 256;
/// What is wrong with a name, and not with the disk: it is too long, has letters that the system does not take, or names a folder
/// where another image is a file.
const NAMES: [ErrorKind; 5] = [
    ErrorKind::InvalidFilename,
    ErrorKind::InvalidInput,
    ErrorKind::NotADirectory,
    ErrorKind::IsADirectory,
    ErrorKind::AlreadyExists,
];

/// A class and how many images it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// Its name.
    pub class: String,
    /// To train, to validate and to test.
    pub train: usize,
    /// See `train`.
    pub val: usize,
    /// See `train`.
    pub test: usize,
}

/// The values of a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetRange {
    /// Its name.
    pub target: String,
    /// The smallest value.
    pub min: f32,
    /// Their mean.
    pub mean: f64,
    /// The largest.
    pub max: f32,
}

/// A data set in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What it is: a folder, a zip file, a list, or files of many images.
    pub kind: &'static str,
    /// What the labels are, where they are no classes.
    #[serde(skip_serializing_if = "Task::is_multiclass")]
    pub task: Task,
    /// Images by split, where they have no classes that would tell.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, usize>,
    /// The targets, where the labels are numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetRange>,
    /// In the order in which a model will give them.
    pub classes: Vec<ClassCounts>,
    /// How many images have which format.
    pub formats: BTreeMap<String, usize>,
    /// The smallest, the middle and the largest by their pixels: height and width.
    pub sizes: Vec<[u32; 2]>,
    /// What is not used, and why.
    pub skipped: Vec<Skipped>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Does `work` on many images at a time; `take` gets what it gives, in order.
///
/// # Errors
/// Those of `take`, and [`Error::Interrupted`].
pub fn each_image<'a, T: Send>(
    items: impl Iterator<Item = &'a Item>,
    stage: &str,
    progress: Progress,
    work: impl Fn(&Item) -> T + Sync,
    mut take: impl FnMut(&Item, T) -> Result<()>,
) -> Result<()> {
    let items: Vec<&Item> = items.collect();
    emit(progress, Event::Stage { name: stage, total: items.len() as u64 })?;
    for items in items.chunks(BATCH) {
        let made: Vec<T> = items.par_iter().map(|item| work(item)).collect();
        items.iter().zip(made).try_for_each(|(item, made)| take(item, made))?;
        emit(progress, Event::Advance(items.len() as u64))?;
    }
    Ok(())
}

impl Dataset {
    /// Looks at every image's header.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn summary(&self, progress: Progress) -> Result<Summary> {
        let (mut formats, mut sizes, mut unreadable) = (BTreeMap::new(), Vec::new(), Vec::new());
        let look = |item: &Item| self.source.look(&item.path);
        each_image(self.items.iter(), "looking at the images", progress, look, |item, found| {
            match found {
                Ok((format, size)) => {
                    *formats.entry(format).or_default() += 1;
                    sizes.push(size);
                }
                Err(reason) => unreadable.push(self.source.skipped(&item.path, reason)),
            }
            Ok(())
        })?;
        sizes.sort_by_key(|[height, width]| (u64::from(*height) * u64::from(*width), *height));
        let sizes = sizes.first().into_iter().chain(sizes.get(sizes.len() / 2)).chain(sizes.last()).copied().collect();
        let mut usable = self.clone();
        usable.remove_unreadable(unreadable);
        let [train, val, test] = Split::ALL.map(|split| usable.counts(split));
        let counts = |(place, class): (usize, &String)| {
            let (train, val, test) = (train[place], val[place], test[place]);
            ClassCounts { class: class.clone(), train, val, test }
        };
        let classes = self.classes.iter().enumerate().filter(|_| self.task != Task::Regression).map(counts).collect();
        Ok(Summary {
            kind: self.source.kind(),
            task: self.task,
            images: usable.images(),
            targets: usable.ranges(),
            classes,
            formats,
            sizes,
            skipped: usable.skipped,
            notes: self.notes.clone(),
        })
    }

    /// Images by split, where they have no classes.
    pub fn images(&self) -> BTreeMap<String, usize> {
        let counts = Split::ALL.map(|split| (split.to_string(), self.split(split).count()));
        counts.into_iter().filter(|(_, count)| *count > 0 && !self.task.is_multiclass()).collect()
    }

    /// The targets' values over all images, where the labels are numbers.
    pub fn ranges(&self) -> Vec<TargetRange> {
        if self.task != Task::Regression {
            return Vec::new();
        }
        let truth = self.truth(&self.items.iter().map(|item| item.label).collect::<Vec<_>>());
        let range = |(target, column): (&String, ndarray::ArrayView1<f32>)| TargetRange {
            target: target.clone(),
            min: column.fold(f32::INFINITY, |min, v| min.min(*v)),
            mean: column.iter().map(|&v| f64::from(v)).sum::<f64>() / column.len().max(1) as f64,
            max: column.fold(f32::NEG_INFINITY, |max, v| max.max(*v)),
        };
        self.classes.iter().zip(truth.columns()).map(range).collect()
    }

    /// Writes every image into `folder`, which must not exist, at its path as results call it, without what leads out of a folder:
    /// files as they are, records of files that hold many images as PNG. Gives how many were written, and which could not be. Where
    /// the labels are no folders' names, `labels.csv` in it lists them: it is the same data set.
    ///
    /// # Errors
    /// [`Error::Usage`] where the folder exists, [`Error::Data`] where no image can be written, [`Error::Io`],
    /// [`Error::Interrupted`]; nothing is left behind then.
    pub fn extract(&self, folder: &Path, progress: Progress) -> Result<(usize, Vec<Skipped>)> {
        if folder.symlink_metadata().is_ok() {
            let what = "exists already; give the name of a folder that is to be made";
            return Err(Error::Usage(format!("{}: {what}", folder.display())));
        }
        let beside = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let partial = tempfile::Builder::new().prefix(".extract").tempdir_in(beside).map_err(Error::io(beside))?;
        let (mut taken, mut skipped) = (HashSet::new(), Vec::new());
        let own = |item: &Item| (item.path.clone(), inside(&item.path));
        let places: HashMap<String, String> =
            self.items.iter().map(own).filter(|(_, place)| taken.insert(place.clone())).collect();
        let write = |item: &Item| match places.get(&item.path) {
            Some(place) => self.write(&item.path, &partial.path().join(place)),
            None => Ok(Some("another image has its place".into())),
        };
        each_image(self.items.iter(), "extracting", progress, write, |item, written| {
            skipped.extend(written?.map(|reason| self.source.skipped(&item.path, reason)));
            Ok(())
        })?;
        if let Some(first) = skipped.first().filter(|_| skipped.len() == self.items.len()) {
            let what = format!("none of the images could be written; first: {}: {}", first.path, first.reason);
            return Err(Error::data(self.source.place(), what));
        }
        if !(self.task.is_multiclass() && self.source.has_folders()) {
            let list = partial.path().join("labels.csv");
            fs::write(&list, self.list(&skipped, &places)).map_err(Error::io(&list))?;
        }
        let partial = partial.keep();
        if let Err(error) = fs::rename(&partial, folder) {
            let _ = fs::remove_dir_all(&partial);
            return Err(Error::io(folder)(error));
        }
        Ok((self.items.len() - skipped.len(), skipped))
    }

    /// The images but those skipped as a list: place, the labels in one column or the targets in one each, split.
    fn list(&self, skipped: &[Skipped], places: &HashMap<String, String>) -> Vec<u8> {
        let gone: HashSet<&str> = skipped.iter().map(|skipped| skipped.path.as_str()).collect();
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut write = |path: &str, labels: Vec<&str>, split: &str| {
            let row = std::iter::once(path).chain(labels).chain([split]);
            writer.write_record(row).expect("a list in memory takes rows of one length");
        };
        let numbers = self.task == Task::Regression;
        write("path", if numbers { self.classes.iter().map(String::as_str).collect() } else { vec!["label"] }, "split");
        for item in self.items.iter().filter(|item| !gone.contains(item.path.as_str())) {
            let text = self.texts()[item.label].as_str();
            let labels = if numbers { text.split(';').collect() } else { vec![text] };
            write(&places[&item.path], labels, &item.split.to_string());
        }
        writer.into_inner().unwrap_or_default()
    }

    /// Writes one image; answers why it cannot be, where that is the image's own fault.
    fn write(&self, path: &str, place: &Path) -> Result<Option<String>> {
        let bytes = match self.source.bytes(path) {
            Ok(bytes) => bytes,
            Err(reason) => return Ok(Some(reason)),
        };
        let written = fs::create_dir_all(place.parent().unwrap_or(place)).and_then(|()| fs::write(place, bytes));
        match written {
            Ok(()) => Ok(None),
            Err(e) if NAMES.contains(&e.kind()) => Ok(Some(format!("no file can be called so: {e}"))),
            Err(e) => Err(Error::io(place)(e)),
        }
    }
}

/// A path without what leads out of a folder: a root, a drive, `..`.
fn inside(path: &str) -> String {
    let name = |part: Component| match part {
        Component::Normal(name) => name.to_str().map(String::from),
        _ => None,
    };
    Path::new(path).components().filter_map(name).collect::<Vec<_>>().join("/")
}
