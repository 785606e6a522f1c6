//! Lists of images with their labels: CSV and TSV.

use super::decimals::with_points;
use super::rows::{self, BATCH, Row, cut, named};
use super::scan::{Listing, beginning, has_extension, is_image_name, split_of};
use super::task::{self, Task};
use super::{Skipped, Split};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

/// Which columns hold what, and what the labels are; what is not told is guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Of images' paths, relative to the list's folder.
    pub path: Option<String>,
    /// Of the classes' names; of several columns the names, with commas between.
    pub label: Option<String>,
    /// Of `train`, `val` and `test`.
    pub split: Option<String>,
    /// What the labels stand for.
    pub task: Option<Task>,
    /// Of what belongs together, as a patient's images do; there are no groups where it is not told.
    pub groups: Option<String>,
}

impl Columns {
    /// All are guessed.
    pub const GUESSED: Columns = Columns { path: None, label: None, split: None, task: None, groups: None };

    /// The option of a column that is told, and the column.
    pub(super) fn named(&self) -> Option<(&'static str, &str)> {
        let told = [
            ("--groups", &self.groups),
            ("--label-column", &self.label),
            ("--path-column", &self.path),
            ("--split-column", &self.split),
        ];
        told.into_iter().find_map(|(flag, column)| Some((flag, column.as_deref()?)))
    }
}

pub(super) const PATHS: [&str; 9] =
    ["path", "file", "filename", "file_name", "filepath", "image", "image_path", "img", "name"];
pub(super) const LABELS: [&str; 8] = ["label", "labels", "class", "class_name", "category", "target", "species", "y"];
pub(super) const SPLITS: [&str; 5] = ["split", "set", "subset", "partition", "fold"];

/// Whether a file calls itself a list, or is text whose first line has several values.
pub(super) fn is_table(path: &Path) -> bool {
    if has_extension(path, &["csv", "tsv"]) {
        return path.is_file();
    }
    let begins = beginning(path);
    let line = begins.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let separated = line.iter().any(|byte| b",;\t".contains(byte));
    // The last letter may be cut.
    let text = std::str::from_utf8(&begins).map_or_else(|e| e.error_len().is_none(), |_| true);
    separated && text && !begins.contains(&0)
}

/// The places of path, labels, split and group in a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Places {
    pub path: usize,
    pub labels: Vec<usize>,
    pub split: Option<usize>,
    group: Option<usize>,
    /// A column that is called as one of splits, and holds none.
    passed: Option<usize>,
}

/// The images of a list by split and class; paths are as they are written, relative to the list's folder.
///
/// # Errors
/// [`Error::Data`] where columns cannot be told, or a line names several labels and classes are wanted; lines that are wrong
/// otherwise are skipped, with their numbers. [`Error::Interrupted`].
pub(super) fn read(table: &Path, columns: &Columns, progress: Progress) -> Result<Listing> {
    let bad = |what: String| Error::data(table, what);
    let (mut rows, delimiter) = rows::read(table, progress)?;
    let Some(first) = rows.first() else { return Err(bad("is empty".into())) };
    let names: Vec<String> = first.values().map(String::from).collect();
    let (places, headed) = places(&names, &rows, columns).map_err(bad)?;
    let commas = with_points(&mut rows[usize::from(headed)..], &places.labels, columns.task, delimiter);
    let body = &rows[usize::from(headed)..];
    let whole = body.iter().filter(|row| row.columns() == names.len());
    let labels = whole.flat_map(|row| places.labels.iter().map(move |&place| row.get(place)));
    let name = |&place: &usize| if headed { names[place].clone() } else { "value".into() };
    let targets: Vec<String> = places.labels.iter().map(name).collect();
    let mut listing = Listing::of(columns.task, targets, labels).map_err(bad)?;
    listing.notes.extend(commas);
    listing.notes.extend(places.passed.map(|place| passed_over(&names[place])));
    let mut seen: HashMap<PathBuf, (u64, String)> = HashMap::new();
    let folder = table.parent().unwrap_or(Path::new(""));
    emit(progress, Event::Stage { name: "looking for the images", total: 0 })?;
    for rows in body.chunks(BATCH) {
        for row in rows {
            let found = match row.columns() == names.len() {
                true => image(row, &places, &listing, &mut seen, folder),
                false => Err(format!("{} values, and there are {} columns", row.columns(), names.len())),
            };
            match found {
                Ok((_, label)) if listing.task.is_multiclass() && label.contains(';') => {
                    let (line, label) = (row.line, cut(&label).escape_debug().to_string());
                    return Err(bad(format!(
                        "line {line} names several labels ('{label}'); an image can have one class"
                    )));
                }
                Ok((split, label)) => {
                    let path = usual(row.get(places.path), folder);
                    listing.split_form |= split != Split::Train;
                    listing.groups.extend(places.group.map(|group| (path.clone(), row.get(group).into())));
                    listing.lines.insert(path.clone(), row.line);
                    listing.splits.entry(split).or_default().entry(label).or_default().push(path);
                }
                Err(reason) => {
                    listing.skipped.push(Skipped { path: format!("line {}", row.line), reason: cut(&reason) });
                }
            }
        }
        emit(progress, Event::Advance(rows.len() as u64))?;
    }
    listing.order = in_order(listing.splits.values().flat_map(|classes| classes.keys()));
    Ok(listing)
}

/// A path as it is written, or with `/` for what Windows has between names where only that names a file.
pub(super) fn usual(path: &str, folder: &Path) -> String {
    let other = path.replace('\\', "/");
    if other != path && !folder.join(path).is_file() && folder.join(&other).is_file() { other } else { path.into() }
}

/// One name for all ways to write the path of a file below the list's folder.
fn plain(path: &str, folder: &Path) -> PathBuf {
    let path = Path::new(path);
    let root = if path.is_absolute() { std::path::absolute(folder).ok() } else { None };
    let below = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
    below.components().filter(|part| *part != Component::CurDir).collect()
}

/// The split and the label of a row's image, or why there is none.
fn image(
    row: &Row,
    places: &Places,
    listing: &Listing,
    seen: &mut HashMap<PathBuf, (u64, String)>,
    folder: &Path,
) -> std::result::Result<(Split, String), String> {
    let labels: Vec<&str> = places.labels.iter().map(|&place| row.get(place)).collect();
    let path = row.get(places.path);
    let split = places.split.map_or("", |split| row.get(split));
    let known = if split.is_empty() { Some(Split::Train) } else { split_of(split) };
    let Some(known) = known else {
        return Err(format!("'{}' is no split; give train, val or test", split.escape_debug()));
    };
    let label = listing.task.text(&labels, &listing.targets);
    let none = !listing.task.is_multilabel() && label.as_ref().is_ok_and(String::is_empty);
    if path.is_empty() || none {
        Err(format!("no {}", if path.is_empty() { "path" } else { "label" }))
    } else if let Err(what) = label {
        Err(what)
    } else if places.group.is_some_and(|group| row.get(group).is_empty()) {
        Err("no group".into())
    } else if let Some((before, other)) =
        seen.insert(plain(&usual(path, folder), folder), (row.line, label.clone().unwrap_or_default()))
    {
        let other = Some(other).filter(|other| label.as_ref().is_ok_and(|label| label != other));
        let other = other.map_or(String::new(), |other| format!(", as '{}'", other.escape_debug()));
        Err(format!("'{}' stands in line {before} already{other}", path.escape_debug()))
    } else if !folder.join(usual(path, folder)).is_file() {
        Err(format!("there is no file '{}'", path.escape_debug()))
    } else {
        label.map(|label| (known, label))
    }
}

/// The images' paths in a list, whatever else is in it, as they are written, and their lines.
///
/// # Errors
/// [`Error::Data`] where it cannot be told which column holds them; [`Error::Interrupted`].
pub(super) fn paths(table: &Path, progress: Progress) -> Result<Vec<(String, u64)>> {
    let (rows, _) = rows::read(table, progress)?;
    let image = |row: &Row| row.values().position(is_image_name);
    let Some(first) = rows.first() else { return Err(Error::data(table, "is empty")) };
    let headed = image(first).is_none();
    let title = || first.values().position(|title| PATHS.contains(&title.to_lowercase().as_str()));
    let titled = called_path(first.values(), rows.get(1).filter(|_| headed));
    let place = titled.or_else(|| rows.iter().take(2).find_map(image)).or_else(title).ok_or_else(|| {
        let shown = named(first.values().collect::<Vec<_>>().into_iter());
        Error::data(table, format!("it cannot be told which column holds the paths; call it path (it has: {shown})"))
    })?;
    let rows = rows.iter().skip(usize::from(headed)).filter(|row| row.columns() > place);
    let folder = table.parent().unwrap_or(Path::new(""));
    let rows = rows.map(|row| (usual(row.get(place), folder), row.line));
    Ok(rows.filter(|(path, _)| !path.is_empty()).collect())
}

/// The column that is called as one of paths, if its first value is an image's name; of several the first of the names.
fn called_path<'a>(titles: impl Iterator<Item = &'a str>, sample: Option<&Row>) -> Option<usize> {
    let titles: Vec<String> = titles.map(str::to_lowercase).collect();
    let begins = |place: &usize| sample.is_some_and(|row| *place < row.columns() && is_image_name(row.get(*place)));
    PATHS.iter().find_map(|name| titles.iter().position(|title| title == name).filter(begins))
}

/// Whether a column that nobody named holds splits: at least every second value is one, or none.
pub(super) fn are_splits<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    let (mut splits, mut all) = (0usize, 0);
    values.for_each(|value| {
        splits += usize::from(value.is_empty() || split_of(value).is_some());
        all += 1;
    });
    2 * splits >= all
}

/// What the user should know of a column that is called as one of splits, and holds others.
pub(super) fn passed_over(column: &str) -> String {
    let what = "holds other values than train, val and test, and is not used";
    format!("the column '{}' {what}; give --split-column if it is the split", cut(column).escape_debug())
}

/// Where path, label and split are, and whether the first row names the columns.
pub(super) fn places(first: &[String], rows: &[Row], columns: &Columns) -> std::result::Result<(Places, bool), String> {
    let shown = || named(first.iter().map(String::as_str));
    let asked = |name: &Option<String>, flag: &str| match name {
        None => Ok(None),
        Some(name) => first
            .iter()
            .position(|title| title == name)
            .map(Some)
            .ok_or_else(|| format!("has no column '{}' ({flag}); it has: {}", name.escape_debug(), shown())),
    };
    let image = |row: &Row| row.values().position(is_image_name);
    let of = |name: &str| first.iter().position(|title| title == name);
    let labels = columns.label.as_ref().map(|names| task::columns(names, of)).transpose();
    let labels = labels.or_else(|name| asked(&Some(name.clone()), "--label-column").and(Err(task::unusable(&name))))?;
    let group = asked(&columns.groups, "--groups")?;
    let asked = [asked(&columns.path, "--path-column")?, asked(&columns.split, "--split-column")?];
    let headed = labels.is_some()
        || group.is_some()
        || asked.iter().any(Option::is_some)
        || rows.first().and_then(image).is_none();
    let body = &rows[usize::from(headed)..];
    let sample = body.first();
    let title = |names: &[&str]| first.iter().position(|title| names.contains(&title.to_lowercase().as_str()));
    let called = |names: &[&str]| title(names).filter(|_| headed);
    // A row may have more values than the first.
    let within = |place: &usize| *place < first.len();
    let titled = called_path(first.iter().map(String::as_str), sample.filter(|_| headed));
    let path = asked[0].or(titled).or(sample.and_then(image).filter(within)).or(called(&PATHS));
    let holds = |place: usize| are_splits(body.iter().filter(|row| row.columns() > place).map(|row| row.get(place)));
    let guess = called(&SPLITS).filter(|_| asked[1].is_none());
    let split = asked[1].or(guess.filter(|&place| holds(place)));
    let shows = |row: &Row| {
        (0..row.columns().min(first.len())).find(|&place| split_of(row.get(place)).is_some() && holds(place))
    };
    let split = split.or_else(|| shows(sample?));
    // Of several the first of these names.
    let labels = labels.or_else(|| LABELS.iter().find_map(|name| called(&[name])).map(|place| vec![place]));
    let rest = || {
        let taken = [path, split, group];
        let mut rest = (0..first.len()).filter(|place| !taken.contains(&Some(*place)));
        rest.next().filter(|_| rest.next().is_none())
    };
    match (path, labels.or_else(|| rest().map(|place| vec![place]))) {
        (Some(path), Some(labels)) if !labels.contains(&path) => {
            let split = split.filter(|split| *split != path && !labels.contains(split));
            if let Some(group) = group.filter(|group| labels.contains(group) || split == Some(*group)) {
                return Err(format!("'{}' (--groups) holds the labels or the split", first[group].escape_debug()));
            }
            let used = |place: &usize| [Some(path), split, group].contains(&Some(*place)) || labels.contains(place);
            let passed = guess.filter(|place| !used(place));
            Ok((Places { path, labels, split, group, passed }, headed))
        }
        (Some(path), Some(_)) if columns.label.is_some() => {
            Err(format!("'{}' (--label-column) holds the paths", first[path].escape_debug()))
        }
        (path, _) => {
            let (what, flag) = if path.is_none() { ("paths", "--path-column") } else { ("labels", "--label-column") };
            Err(format!("it cannot be told which column holds the {what}; give {flag} (it has: {})", shown()))
        }
    }
}

/// Classes that are whole numbers are in the order of the numbers.
pub(super) fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let names: BTreeSet<&String> = names.collect();
    let numbers: Option<Vec<(i64, &String)>> = names.iter().map(|name| Some((name.parse().ok()?, *name))).collect();
    let mut numbers = numbers.unwrap_or_default();
    numbers.sort();
    numbers.into_iter().map(|(_, name)| name.clone()).collect()
}
