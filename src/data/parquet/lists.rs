//! Columns of lists: several labels an image.

use super::table::{Keep, Refused, damaged, short};
use crate::data::task::{SEPARATOR, Task};
use parquet::basic::Encoding;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::RowGroupReader;
use parquet::schema::types::SchemaDescriptor;
use serde_json::Value;
use std::collections::BTreeSet;

/// The most labels of a row group's images together.
const MOST_LABELS: u64 = 1 << 24;

/// The leaf of a column of this name that holds a list of plain values.
pub(super) fn column(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    schema.columns().iter().position(|column| {
        let parts = column.path().parts();
        column.max_rep_level() == 1 && parts.len() == 3 && parts[0] == name
    })
}

/// Refuses lists where they can be no labels.
///
/// # Errors
/// What to do instead.
pub(super) fn check(lists: bool, columns: &[String], task: Option<Task>) -> Result<(), String> {
    match (lists, columns) {
        (false, _) => Ok(()),
        (true, [one]) if task.is_some_and(|task| !task.is_multilabel()) => {
            let one = one.escape_debug();
            Err(format!("the column '{one}' holds lists, which are several labels an image; leave --task out"))
        }
        (true, [_]) => Ok(()),
        (true, _) => Err("of several label columns one holds lists; give that alone (--label-column)".into()),
    }
}

/// Each row's labels as one text; `None` for none, and in it for values that `keep` has no name for.
pub(super) fn texts(
    group: &dyn RowGroupReader,
    column: usize,
    count: usize,
    keep: &mut Keep,
) -> Result<Vec<Option<String>>, Refused> {
    // What the file says of a column is not what its pages hold.
    let (mut labels, mut pages) = (0, group.get_column_page_reader(column).map_err(damaged)?);
    while let Some(page) = pages.get_next_page().map_err(damaged)? {
        labels += u64::from(page.num_values());
        if labels > MOST_LABELS {
            return Err(format!("more than {MOST_LABELS} labels").into());
        }
        // A row is read at once.
        if page.encoding() == Encoding::DELTA_BYTE_ARRAY {
            return Err("the labels in its lists are stored as differences (DELTA_BYTE_ARRAY); write them plain"
                .to_string()
                .into());
        }
    }
    let rows = match group.get_column_reader(column).map_err(damaged)? {
        ColumnReader::Int32ColumnReader(reader) => rows(reader, count, keep, i32::to_string),
        ColumnReader::Int64ColumnReader(reader) => rows(reader, count, keep, i64::to_string),
        ColumnReader::ByteArrayColumnReader(reader) => {
            rows(reader, count, keep, |text| String::from_utf8_lossy(text.data()).trim().to_owned())
        }
        _ => Err("the labels in its lists are neither texts nor whole numbers".to_string().into()),
    }?;
    let joined = |names: Vec<String>| match names.iter().find(|name| name.contains(SEPARATOR)) {
        Some(name) => {
            Err(format!("the label '{}' has a {SEPARATOR} in its name; rename it", name.escape_debug()).into())
        }
        None => Ok(Some(names.join(&SEPARATOR.to_string())).filter(|text| !text.is_empty())),
    };
    rows.into_iter().map(joined).collect()
}

/// The values of each row's list.
fn rows<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    count: usize,
    keep: &mut Keep,
    show: impl Fn(&T::T) -> String,
) -> Result<Vec<Vec<String>>, Refused> {
    let mut one = || {
        // Levels tell lists that are empty, or not there, and values that are not there, from others: none is a label.
        let (mut found, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
        let read = reader.read_records(1, Some(&mut defined), Some(&mut repeated), &mut found);
        if read.map_err(damaged)?.0 != 1 {
            return Err(short());
        }
        let names = found.iter().filter_map(|value| keep(show(value)).transpose());
        Ok(names.collect::<Result<Vec<String>, String>>()?)
    };
    (0..count).map(|_| one()).collect()
}

/// What Hugging Face writes into a file of the names of a column's numbers, also of lists of them.
pub(super) fn class_names(metadata: Option<&Vec<KeyValue>>, column: &str) -> Vec<String> {
    let text = metadata.and_then(|list| list.iter().find(|entry| entry.key == "huggingface")?.value.as_deref());
    let json: Value = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let feature = &json["info"]["features"][column];
    let names = [feature, &feature["feature"], &feature[0]].into_iter().find_map(|known| known["names"].as_array());
    let names: Option<Vec<String>> = names.into_iter().flatten().map(|name| name.as_str().map(str::to_owned)).collect();
    let distinct = |names: &Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    names.filter(distinct).unwrap_or_default()
}
