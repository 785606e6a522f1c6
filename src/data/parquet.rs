//! Images in Parquet files, as Hugging Face data sets have them: a row an image, its file in the column.
//!
//! A row cannot be read without all before it, so the images are copied once, when they are listed, into a temporary file
//! without a name, which is gone when the data set is.

use super::decode::{MAX_BYTES, io_reason};
use super::records::MOST_IMAGES;
use super::scan::{Listing, has_extension, split_of};
use super::table::{Columns, LABELS, PATHS, SPLITS};
use super::{Skipped, Split};
use crate::error::{Error, Result};
use crate::guard::quietly;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

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
    label: Option<String>,
    split: Option<String>,
}

/// The Parquet files that `place` is, or holds (or its folder `data`), in order of their names.
fn find(place: &Path) -> Vec<PathBuf> {
    let is = |path: &Path| has_extension(path, &["parquet"]) && path.is_file();
    if is(place) {
        return vec![place.into()];
    }
    let within = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = entries.filter(|path| is(path)).collect();
        files.sort();
        files
    };
    Some(within(place)).filter(|files| !files.is_empty()).unwrap_or_else(|| within(&place.join("data")))
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
/// [`Error::Data`] for a damaged file, or one without images.
pub(super) fn images(place: &Path, prefix: String, columns: &Columns) -> Result<Option<Rows>> {
    Ok(copy(place, prefix, columns, false)?.map(|(rows, _, _)| rows))
}

/// The labelled images; `None` where `place` has no Parquet file.
///
/// # Errors
/// As [`images`], and where it cannot be told which column holds the labels.
pub(super) fn read(place: &Path, columns: &Columns) -> Result<Option<(Rows, Listing)>> {
    let Some((rows, cells, order)) = copy(place, String::new(), columns, true)? else { return Ok(None) };
    let mut listing = Listing { order, ..Listing::default() };
    for (number, (file, cells)) in cells.into_iter().enumerate() {
        let path = rows.path(number);
        let mut skip = |reason: String| listing.skipped.push(Skipped { path: path.clone(), reason });
        let split = match &cells.split {
            Some(split) => split_of(split),
            None => Some(file),
        };
        match (split, cells.label) {
            (None, _) => {
                let split = cells.split.unwrap_or_default();
                skip(format!("'{}' is no split; give train, val or test", split.escape_debug()));
            }
            (_, None) => skip("no label".into()),
            (Some(split), Some(label)) => {
                listing.split_form |= split != Split::Train;
                listing.splits.entry(split).or_default().entry(label).or_default().push(path);
            }
        }
    }
    if listing.order.is_empty() {
        listing.order = super::table::in_order(&listing);
    }
    Ok(Some((rows, listing)))
}

type Copied = (Rows, Vec<(Split, Cells)>, Vec<String>);

/// Copies the images of all files, and reads what stands beside them.
fn copy(place: &Path, prefix: String, columns: &Columns, labelled: bool) -> Result<Option<Copied>> {
    let files = find(place);
    if files.is_empty() {
        return Ok(None);
    }
    let file = tempfile::tempfile().map_err(Error::io(std::env::temp_dir()))?;
    let mut rows = Rows { prefix, file: Mutex::new(file), places: Vec::new() };
    let (mut cells, mut order, mut end) = (Vec::new(), Vec::new(), 0);
    for path in &files {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        // Of one file alone everything is for training, whatever it is called.
        let split = split_of(name.split(['-', '_', '.']).next().unwrap_or_default());
        let split = split.filter(|_| !place.is_file()).unwrap_or(Split::Train);
        let read = || Table::open(path, columns, labelled).and_then(|table| table.copy(&mut rows, &mut end));
        // A reader that fails on what strangers wrote is no bug of ours.
        let read = quietly(read).unwrap_or_else(|_| Err("damaged, or of a kind that is not known".into()));
        let (own, names) = read.map_err(|what| Error::data(path, what))?;
        cells.extend(own.into_iter().map(|cells| (split, cells)));
        if order.is_empty() {
            order = names;
        }
    }
    Ok(Some((rows, cells, order)))
}

/// A file with the places of its columns among the leaves of its schema.
struct Table {
    reader: SerializedFileReader<File>,
    image: usize,
    label: Option<usize>,
    split: Option<usize>,
    /// Names of the classes' numbers, as Hugging Face's `ClassLabel` has them.
    names: Vec<String>,
}

fn damaged(error: impl std::fmt::Display) -> String {
    format!("cannot be read: {error}")
}

impl Table {
    fn open(path: &Path, columns: &Columns, labelled: bool) -> std::result::Result<Table, String> {
        let reader = SerializedFileReader::new(File::open(path).map_err(io_reason)?).map_err(damaged)?;
        let file = reader.metadata().file_metadata();
        if file.num_rows() as u64 > MOST_IMAGES {
            return Err(format!("has {} rows; at most {MOST_IMAGES} are read", file.num_rows()));
        }
        let leaves: Vec<(String, Type, bool)> = file
            .schema_descr()
            .columns()
            .iter()
            .map(|column| (column.path().string(), column.physical_type(), column.max_rep_level() == 0))
            .collect();
        let of = |wanted: &str| leaves.iter().position(|(name, _, single)| *single && name == wanted);
        let bytes = |at: &usize| leaves[*at].1 == Type::BYTE_ARRAY;
        let shown = || leaves.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ");
        let known = |names: &[&str]| names.iter().find_map(|name| of(name));
        let asked = |name: &Option<String>, flag: &str| match name {
            None => Ok(None),
            Some(name) => {
                let found = of(&format!("{name}.bytes")).or_else(|| of(name)).map(Some);
                found.ok_or_else(|| format!("has no column '{}' ({flag}); it has: {}", name.escape_debug(), shown()))
            }
        };
        let embedded = || leaves.iter().position(|(name, _, single)| *single && name.ends_with(".bytes"));
        let image = asked(&columns.path, "--path-column")?.or_else(embedded).or_else(|| known(&PATHS));
        let image = image.filter(bytes);
        let image = image.ok_or_else(|| format!("no column holds images; give --path-column (it has: {})", shown()))?;
        let label = asked(&columns.label, "--label-column")?.or_else(|| known(&LABELS)).filter(|at| *at != image);
        if label.is_none() && labelled {
            return Err(format!(
                "it cannot be told which column holds the labels; give --label-column (it has: {})",
                shown()
            ));
        }
        let split = asked(&columns.split, "--split-column")?.or_else(|| known(&SPLITS));
        let label_name = label.map_or("", |at| leaves[at].0.as_str());
        let names = class_names(file.key_value_metadata(), label_name);
        let split = split.filter(|at| *at != image && Some(*at) != label);
        Ok(Table { image, label, split, names, reader })
    }

    /// Copies the images behind those of `rows`; gives what stands beside each, and the classes' names in their order.
    fn copy(self, rows: &mut Rows, end: &mut u64) -> std::result::Result<(Vec<Cells>, Vec<String>), String> {
        let mut cells = Vec::new();
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group).map_err(damaged)?;
            let count = usize::try_from(group.metadata().num_rows()).map_err(damaged)?;
            if count as u64 > MOST_IMAGES {
                return Err(format!("more than {MOST_IMAGES} rows"));
            }
            let before = rows.count();
            let ColumnReader::ByteArrayColumnReader(mut images) =
                group.get_column_reader(self.image).map_err(damaged)?
            else {
                return Err("its images are not bytes".into());
            };
            while rows.count() < before + count {
                let wanted = ROWS.min(before + count - rows.count());
                for image in values(&mut images, wanted)? {
                    rows.add(end, image.as_ref().map_or(&[], |image| image.data())).map_err(io_reason)?;
                }
                if rows.count() as u64 > MOST_IMAGES {
                    return Err(format!("more than {MOST_IMAGES} rows"));
                }
            }
            let labels = texts(&*group, self.label, count)?;
            let splits = texts(&*group, self.split, count)?;
            // -1 stands for no label where numbers have names.
            let named = |label: String| match self.names.is_empty() {
                true => Some(label).filter(|label| !label.is_empty()),
                false => label.parse::<usize>().ok().and_then(|number| self.names.get(number).cloned()),
            };
            cells.extend(
                labels.into_iter().zip(splits).map(|(label, split)| Cells { label: label.and_then(named), split }),
            );
        }
        Ok((cells, self.names))
    }
}

/// The next `count` values of a column without lists; `None` for nulls.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
) -> std::result::Result<Vec<Option<T::T>>, String> {
    let (mut found, mut levels) = (Vec::new(), Vec::new());
    let (records, read, _) = reader.read_records(count, Some(&mut levels), None, &mut found).map_err(damaged)?;
    if records != count {
        return Err("cut short; download it again".into());
    }
    // Without levels every value is there.
    if read == count {
        return Ok(found.into_iter().map(Some).collect());
    }
    let (most, mut found) = (levels.iter().copied().max().unwrap_or(0).max(1), found.into_iter());
    Ok(levels.into_iter().map(|level| if level == most { found.next() } else { None }).collect())
}

/// A column's values as texts.
fn texts(
    group: &dyn RowGroupReader,
    column: Option<usize>,
    count: usize,
) -> std::result::Result<Vec<Option<String>>, String> {
    let Some(column) = column else { return Ok(vec![None; count]) };
    fn shown<T: DataType>(
        mut reader: ColumnReaderImpl<T>,
        count: usize,
        show: impl Fn(&T::T) -> String,
    ) -> std::result::Result<Vec<Option<String>>, String> {
        Ok(values(&mut reader, count)?.iter().map(|value| value.as_ref().map(&show)).collect())
    }
    match group.get_column_reader(column).map_err(damaged)? {
        ColumnReader::Int32ColumnReader(reader) => shown(reader, count, i32::to_string),
        ColumnReader::Int64ColumnReader(reader) => shown(reader, count, i64::to_string),
        ColumnReader::BoolColumnReader(reader) => shown(reader, count, bool::to_string),
        ColumnReader::ByteArrayColumnReader(reader) => {
            shown(reader, count, |text| String::from_utf8_lossy(text.data()).trim().to_owned())
        }
        _ => Err("its labels or splits are neither texts nor whole numbers".into()),
    }
}

/// What Hugging Face writes into a file of the names of a column's numbers.
fn class_names(metadata: Option<&Vec<parquet::file::metadata::KeyValue>>, column: &str) -> Vec<String> {
    let text = metadata.and_then(|list| list.iter().find(|entry| entry.key == "huggingface")?.value.as_deref());
    let json: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let names = json["info"]["features"][column]["names"].as_array().cloned().unwrap_or_default();
    let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    let distinct = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    names.filter(distinct).unwrap_or_default()
}
