//! Lists of images with their labels: CSV and TSV.

use super::records::MOST_IMAGES;
use super::scan::{Listing, has_extension, is_image_name, split_of};
use super::task::{self, Task};
use super::{Skipped, Split};
use crate::error::{Error, Result};
use csv::{ByteRecord, ReaderBuilder};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The largest list, in bytes: what is in quotes that do not end is read as one value.
const MOST_BYTES: u64 = 2 << 30;

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
}

pub(super) const PATHS: [&str; 9] =
    ["path", "file", "filename", "file_name", "filepath", "image", "image_path", "img", "name"];
pub(super) const LABELS: [&str; 8] = ["label", "labels", "class", "class_name", "category", "target", "species", "y"];
pub(super) const SPLITS: [&str; 5] = ["split", "set", "subset", "partition", "fold"];

/// Whether a file calls itself a list.
pub(super) fn is_table(path: &Path) -> bool {
    has_extension(path, &["csv", "tsv"]) && path.is_file()
}

/// The places of path, labels, split and group in a row.
#[derive(Debug, Clone, PartialEq)]
struct Places {
    path: usize,
    labels: Vec<usize>,
    split: Option<usize>,
    group: Option<usize>,
}

/// The images of a list by split and class; paths are as they are written, relative to the list's folder.
///
/// # Errors
/// [`Error::Data`] where columns cannot be told, or a line names several labels and classes are wanted; lines that are wrong
/// otherwise are skipped, with their numbers.
pub(super) fn read(table: &Path, columns: &Columns) -> Result<Listing> {
    let bad = |what: String| Error::data(table, what);
    let length = table.metadata().map_err(Error::io(table))?.len();
    if length > MOST_BYTES {
        return Err(bad(format!("has {length} bytes, more than a list of images needs; split it")));
    }
    let rows = rows(table)?;
    let Some(((_, first), others)) = rows.split_first() else { return Err(bad("is empty".into())) };
    let (places, headed) = places(first, others.first().map(|(_, row)| &row[..]), columns).map_err(bad)?;
    let body = &rows[usize::from(headed)..];
    let whole = body.iter().filter(|(_, row)| row.len() == first.len());
    let labels = whole.flat_map(|(_, row)| places.labels.iter().map(|&place| row[place].as_str()));
    let name = |&place: &usize| if headed { first[place].clone() } else { "value".into() };
    let targets: Vec<String> = places.labels.iter().map(name).collect();
    let mut listing = Listing::of(columns.task, targets, labels).map_err(bad)?;
    let mut seen: HashMap<&str, u64> = HashMap::new();
    let folder = table.parent().unwrap_or(Path::new(""));
    for (line, row) in body {
        let mut skip = |reason: String| {
            listing.skipped.push(Skipped { path: format!("line {line}"), reason });
        };
        if row.len() != first.len() {
            skip(format!("{} values, and there are {} columns", row.len(), first.len()));
            continue;
        }
        let labels: Vec<&str> = places.labels.iter().map(|&place| row[place].as_str()).collect();
        let path = row[places.path].as_str();
        let split = places.split.map_or("", |split| &row[split]);
        let group = places.group.map(|group| &row[group]);
        let known = if split.is_empty() { Some(Split::Train) } else { split_of(split) };
        let Some(known) = known else {
            skip(format!("'{}' is no split; give train, val or test", split.escape_debug()));
            continue;
        };
        if listing.task.is_multiclass() && labels[0].contains(';') {
            let label = labels[0].escape_debug();
            return Err(bad(format!("line {line} names several labels ('{label}'); an image can have one class")));
        }
        let label = listing.task.text(&labels, &listing.targets);
        let none = !listing.task.is_multilabel() && label.as_ref().is_ok_and(String::is_empty);
        if path.is_empty() || none {
            skip(format!("no {}", if path.is_empty() { "path" } else { "label" }));
        } else if let Err(what) = label {
            skip(what);
        } else if group.is_some_and(String::is_empty) {
            skip("no group".into());
        } else if let Some(before) = seen.insert(path, *line) {
            skip(format!("'{}' stands in line {before} already", path.escape_debug()));
        } else if !folder.join(path).is_file() {
            skip(format!("there is no file '{}'", path.escape_debug()));
        } else {
            listing.split_form |= known != Split::Train;
            let classes = listing.splits.entry(known).or_default();
            classes.entry(label.unwrap_or_default()).or_default().push(path.into());
            listing.groups.extend(group.map(|group| (path.to_owned(), group.clone())));
        }
    }
    listing.order = in_order(listing.splits.values().flat_map(|classes| classes.keys()));
    Ok(listing)
}

/// The images' paths in a list, whatever else is in it, as they are written.
///
/// # Errors
/// [`Error::Data`] where it cannot be told which column holds them.
pub(super) fn paths(table: &Path) -> Result<Vec<String>> {
    let rows = rows(table)?;
    let image = |(_, row): &(u64, Vec<String>)| row.iter().position(|value| is_image_name(value));
    let Some((_, first)) = rows.first() else { return Err(Error::data(table, "is empty")) };
    let headed = image(&rows[0]).is_none();
    let title = || first.iter().position(|title| PATHS.contains(&title.to_lowercase().as_str()));
    let place = rows.iter().take(2).find_map(image).or_else(title).ok_or_else(|| {
        let shown = first.join(", ");
        Error::data(table, format!("it cannot be told which column holds the paths; call it path (it has: {shown})"))
    })?;
    let rows = rows.into_iter().skip(usize::from(headed)).filter_map(|(_, row)| row.into_iter().nth(place));
    Ok(rows.filter(|path| !path.is_empty()).collect())
}

/// Each row that is not empty, with its line's number, its values without the space around them.
fn rows(table: &Path) -> Result<Vec<(u64, Vec<String>)>> {
    let bad = |what: String| Error::data(table, what);
    let bytes = std::fs::read(table).map_err(Error::io(table))?;
    // A mark that Windows puts before UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = [b'\t', b',', b';'].into_iter().find(|d| head.contains(d)).unwrap_or(b',');
    let mut reader = ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(bytes);
    let (mut rows, mut record) = (Vec::new(), ByteRecord::new());
    let (mut line, mut counted) = (1, 0);
    loop {
        let more = reader.read_byte_record(&mut record);
        if !more.map_err(|e| bad(e.to_string()))? {
            return Ok(rows);
        }
        // The reader's own count is one behind where lines end with two signs.
        let mut start = record.position().map_or(0, |position| position.byte() as usize);
        while matches!(bytes.get(start), Some(b'\r' | b'\n')) {
            start += 1;
        }
        line += bytes[counted..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        counted = start;
        let text = |field: &[u8]| std::str::from_utf8(field).map(|text| text.trim().to_owned());
        let row: std::result::Result<Vec<_>, _> = record.iter().map(text).collect();
        rows.push((line, row.map_err(|_| bad(format!("line {line} is not UTF-8; save the list as UTF-8")))?));
        if rows.len() as u64 > MOST_IMAGES {
            return Err(bad(format!("has more than {MOST_IMAGES} lines")));
        }
    }
}

/// Where path, label and split are, and whether the first row names the columns.
fn places(
    first: &[String],
    second: Option<&[String]>,
    columns: &Columns,
) -> std::result::Result<(Places, bool), String> {
    let asked =
        |name: &Option<String>, flag: &str| match name {
            None => Ok(None),
            Some(name) => first.iter().position(|title| title == name).map(Some).ok_or_else(|| {
                format!("has no column '{}' ({flag}); it has: {}", name.escape_debug(), first.join(", "))
            }),
        };
    let image = |row: &[String]| row.iter().position(|value| is_image_name(value));
    let of = |name: &str| first.iter().position(|title| title == name);
    let labels = columns.label.as_ref().map(|names| task::columns(names, of)).transpose();
    let labels = labels.or_else(|name| asked(&Some(name), "--label-column").map(|_| None))?;
    let group = asked(&columns.groups, "--groups")?;
    let asked = [asked(&columns.path, "--path-column")?, asked(&columns.split, "--split-column")?];
    let headed = labels.is_some() || group.is_some() || asked.iter().any(Option::is_some) || image(first).is_none();
    let sample = if headed { second } else { Some(first) };
    let title = |names: &[&str]| first.iter().position(|title| names.contains(&title.to_lowercase().as_str()));
    let named = |names: &[&str]| title(names).filter(|_| headed);
    let path = asked[0].or(sample.and_then(image)).or(named(&PATHS));
    let split = asked[1].or(named(&SPLITS));
    let split = split.or_else(|| sample?.iter().position(|value| split_of(value).is_some()));
    // Of several the first of these names.
    let labels = labels.or_else(|| LABELS.iter().find_map(|name| named(&[name])).map(|place| vec![place]));
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
            Ok((Places { path, labels, split, group }, headed))
        }
        (path, _) => {
            let (what, flag) = if path.is_none() { ("paths", "--path-column") } else { ("labels", "--label-column") };
            Err(format!("it cannot be told which column holds the {what}; give {flag} (it has: {})", first.join(", ")))
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
