//! The rows of a list (CSV, TSV), in bounded memory whatever is in it.

use super::records::MOST_IMAGES;
use super::scan::is_image_name;
use super::table::PATHS;
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::path::Path;

/// The largest list, in bytes.
const MOST_BYTES: u64 = 2 << 30;
/// Columns of a list, …
const MOST_COLUMNS: usize = 4096;
/// … bytes of a row (what is in quotes that do not end is read as one value), …
const LONGEST: usize = 1 << 20;
/// … and values of all rows: each takes four bytes beside its text.
const MOST_VALUES: usize = 100_000_000;
/// Rows between two words to the caller.
pub(super) const BATCH: usize = 4096;
/// Characters of a value, and names of columns, that a message shows.
const SHOWN: usize = 200;
const NAMED: usize = 20;

/// A row that is not empty.
#[derive(Debug)]
pub(super) struct Row {
    /// The line that it begins in.
    pub line: u64,
    /// Its values one behind the other, and where each ends.
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Row {
    pub fn columns(&self) -> usize {
        self.ends.len()
    }

    /// The value of a column, without the space around it.
    pub fn get(&self, column: usize) -> &str {
        let start = column.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text[start..self.ends[column] as usize].trim()
    }

    pub fn values(&self) -> impl Iterator<Item = &str> {
        (0..self.columns()).map(|column| self.get(column))
    }

    /// Writes the value of a column with a point where it has a comma.
    pub fn put_point(&mut self, column: usize) {
        let start = column.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let own = start..self.ends[column] as usize;
        let value = self.text[own.clone()].replace(',', ".");
        let mut text = std::mem::take(&mut self.text).into_string();
        text.replace_range(own, &value);
        self.text = text.into();
    }
}

/// Each row that is not empty, and what stands between values.
///
/// # Errors
/// [`Error::Data`] for what is larger than a list of images needs, with the line's number, and what is not UTF-8;
/// [`Error::Interrupted`].
pub(super) fn read(table: &Path, progress: Progress) -> Result<(Vec<Row>, u8)> {
    let bad = |what: String| Error::data(table, what);
    let length = table.metadata().map_err(Error::io(table))?.len();
    if length > MOST_BYTES {
        return Err(bad(format!("has {length} bytes, more than a list of images needs; split it")));
    }
    emit(progress, Event::Stage { name: "reading the list", total: 0 })?;
    let bytes = std::fs::read(table).map_err(Error::io(table))?;
    // A mark that Windows puts before UTF-8.
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let head = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let told = told(head);
    rest = &rest[told.map_or(0, |_| rest.len().min(head.len() + 1))..];
    let delimiter = told.unwrap_or_else(|| delimiter(head));
    let mut reader = ReaderBuilder::new().delimiter(delimiter).build();
    let (mut rows, mut values, mut line) = (Vec::<Row>::new(), 0, if told.is_some() { 2 } else { 1 });
    // Whether the last row has a value over several lines, and an odd number of quotation marks.
    let mut open = false;
    let (mut text, mut ends) = (vec![0; LONGEST], vec![0; MOST_COLUMNS + 1]);
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    loop {
        let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += lines(&rest[..empty]);
        let before = rest;
        let Some([length, columns]) =
            record(&mut reader, &mut rest, &mut text, &mut ends).map_err(|what| bad(format!("line {line} {what}")))?
        else {
            return match rows.last() {
                Some(last) if open => {
                    Err(bad(format!("line {}: a quotation mark begins a value that does not end", last.line)))
                }
                _ => Ok((rows, delimiter)),
            };
        };
        let raw = &before[empty..before.len() - rest.len()];
        open = text[..length].contains(&b'\n') && raw.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        let row = row(line, &text[..length], &ends[..columns]);
        rows.push(row.ok_or_else(|| bad(format!("line {line} is not UTF-8; save the list as UTF-8")))?);
        values += columns;
        if rows.len() as u64 > MOST_IMAGES || values > MOST_VALUES {
            return Err(bad(format!("has more than {MOST_IMAGES} lines or {MOST_VALUES} values; split it")));
        }
        line += lines(raw);
        if rows.len().is_multiple_of(BATCH) {
            emit(progress, Event::Advance(BATCH as u64))?;
        }
    }
}

/// What a first line `sep=;` tells Excel, which shows no such line, of what stands between values.
fn told(head: &[u8]) -> Option<u8> {
    let line = head.strip_suffix(b"\r").unwrap_or(head);
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let (name, value) = line.split_at_checked(4)?;
    let one = value.first().filter(|one| value.len() == 1 && (**one == b'\t' || one.is_ascii_graphic()));
    one.copied().filter(|one| name.eq_ignore_ascii_case(b"sep=") && *one != b'"')
}

/// What stands between the values of a first line: a tab, a comma or a semicolon. Of several, the first by which an image's name or
/// a usual title of such a column stands alone: with decimal commas semicolons stand between values, and labels between commas
/// may have some.
fn delimiter(head: &[u8]) -> u8 {
    let own: Vec<u8> = [b'\t', b',', b';'].into_iter().filter(|one| head.contains(one)).collect();
    let alone = |one: &&u8| {
        head.split(|byte| byte == *one).any(|value| {
            let value = String::from_utf8_lossy(value.trim_ascii()).trim_matches('"').to_lowercase();
            let whole = !own.iter().any(|other| value.as_bytes().contains(other));
            whole && (is_image_name(&value) || PATHS.contains(&value.as_str()))
        })
    };
    own.iter().find(alone).or(own.first()).copied().unwrap_or(b',')
}

/// Reads the next record that is not empty from the start of `rest`: the length of its text and how many values it has; `None`
/// at the end.
fn record(
    reader: &mut Reader,
    rest: &mut &[u8],
    text: &mut [u8],
    ends: &mut [usize],
) -> std::result::Result<Option<[usize; 2]>, String> {
    let (mut length, mut columns) = (0, 0);
    loop {
        let (result, read, written, ended) = reader.read_record(rest, &mut text[length..], &mut ends[columns..]);
        *rest = &rest[read..];
        (length, columns) = (length + written, columns + ended);
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::End => return Ok(None),
            ReadRecordResult::Record if columns <= MOST_COLUMNS => return Ok(Some([length, columns])),
            ReadRecordResult::OutputFull => {
                return Err(format!(
                    "has more than {LONGEST} bytes; is a quotation mark missing at the end of a value?"
                ));
            }
            ReadRecordResult::Record | ReadRecordResult::OutputEndsFull => {
                return Err(format!("has more than {MOST_COLUMNS} columns; leave those out that are not needed"));
            }
        }
    }
}

/// `None` for what is not UTF-8.
fn row(line: u64, text: &[u8], ends: &[usize]) -> Option<Row> {
    let text = std::str::from_utf8(text).ok()?;
    // Halves of a character on both sides of a comma are none.
    let whole = ends.iter().all(|&end| text.is_char_boundary(end));
    let ends = ends.iter().map(|&end| end as u32).collect();
    whole.then(|| Row { line, text: text.into(), ends })
}

/// As much of a value as says which it is.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Names of columns for a message: the first of them.
pub(super) fn named<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let names: Vec<String> = names.take(NAMED).map(cut).collect();
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
