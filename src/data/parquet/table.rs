//! One Parquet file: its columns, and what is in them.

use super::lists::{self, class_names};
use super::store::Rows;
use super::{Cells, Found};
use crate::data::decode::io_reason;
use crate::data::records::MOST_IMAGES;
use crate::data::rows::named;
use crate::data::table::{Columns, LABELS, PATHS, SPLITS};
use crate::data::task;
use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::file::metadata::{FileMetaData, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::schema::types::ColumnDescriptor;
use std::fs::File;
use std::path::Path;

/// Rows between two words to the caller.
const ROWS: usize = 64;

/// A file with the places of its columns among the leaves of its schema.
pub(super) struct Table {
    reader: SerializedFileReader<File>,
    image: usize,
    labels: Vec<usize>,
    split: Option<usize>,
    group: Option<usize>,
    found: Found,
}

/// Why a file is not read.
pub(super) enum Refused {
    /// It is damaged, and says nothing of the files beside it.
    Damaged(String),
    /// It is not what was asked for, or cannot be copied.
    Other(String),
}

impl From<String> for Refused {
    fn from(what: String) -> Refused {
        Refused::Other(what)
    }
}

pub(super) fn damaged(error: impl std::fmt::Display) -> Refused {
    let what = error.to_string();
    let what = what.trim_start_matches("Parquet error: ");
    Refused::Damaged(format!("cannot be read: {what}; download it again, or write it with Snappy"))
}

/// A file that has fewer rows than it says.
pub(super) fn short() -> Refused {
    Refused::Damaged("cut short; download it again".into())
}

/// Whether a column holds bytes, among them images.
fn is_bytes(column: &ColumnDescriptor) -> bool {
    let text =
        column.converted_type() == ConvertedType::UTF8 || column.logical_type_ref() == Some(&LogicalType::String);
    column.physical_type() == Type::BYTE_ARRAY && !text
}

fn is_bounded(packing: &Compression) -> bool {
    !matches!(packing, Compression::GZIP(_) | Compression::BROTLI(_) | Compression::LZO)
}

/// Whether a file may have images in it: one that cannot be read may.
pub(super) fn holds_bytes(path: &Path) -> bool {
    metadata(path).is_none_or(|told| told.schema_descr().columns().iter().any(|column| is_bytes(column)))
}

/// How many rows a file says it has; 0 where that cannot be read, or is more than is read.
pub(super) fn rows(path: &Path) -> usize {
    let count = metadata(path).and_then(|told| u64::try_from(told.num_rows()).ok());
    count.filter(|count| *count <= MOST_IMAGES).unwrap_or(0) as usize
}

/// What a file says of itself, if it can be read.
fn metadata(path: &Path) -> Option<FileMetaData> {
    let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
    Some(reader.metadata().file_metadata().clone())
}

impl Table {
    pub fn open(path: &Path, columns: &Columns, labelled: bool) -> std::result::Result<Table, Refused> {
        let file = File::open(path).map_err(|error| Refused::Damaged(io_reason(error)))?;
        // Old forms of LZ4 unpack to what they like, whatever a page says.
        let lz4 = ReaderProperties::builder().set_backward_compatible_lz4(false).build();
        let options = ReadOptionsBuilder::new().with_reader_properties(lz4).build();
        let reader = SerializedFileReader::new_with_options(file, options).map_err(damaged)?;
        let file = reader.metadata().file_metadata();
        if file.num_rows() < 0 {
            return Err(Refused::Damaged(format!("says it has {} rows; download it again", file.num_rows())));
        }
        if file.num_rows() as u64 > MOST_IMAGES {
            return Err(format!("has {} rows; at most {MOST_IMAGES} are read", file.num_rows()).into());
        }
        let leaves: Vec<(String, bool, bool)> = file
            .schema_descr()
            .columns()
            .iter()
            .map(|column| (column.path().string(), is_bytes(column), column.max_rep_level() == 0))
            .collect();
        let of = |wanted: &str| leaves.iter().position(|(name, _, single)| *single && name == wanted);
        let bytes = |at: &usize| leaves[*at].1;
        let shown = || named(leaves.iter().map(|(name, ..)| name.as_str()));
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
        let image = image.filter(bytes).ok_or_else(|| match &columns.path {
            Some(name) => format!("the column '{}' (--path-column) holds no images", name.escape_debug()),
            None => format!("no column holds images; give --path-column (it has: {})", shown()),
        })?;
        if !labelled {
            let found = Found::default();
            return Ok(Table { image, labels: Vec::new(), split: None, group: None, found, reader });
        }
        let label = |name: &str| of(name).or_else(|| lists::column(file.schema_descr(), name));
        let labels = columns.label.as_ref().map(|names| task::columns(names, label)).transpose();
        let labels =
            labels.or_else(|name| asked(&Some(name.clone()), "--label-column").and(Err(task::unusable(&name))))?;
        let plain = || known(&LABELS);
        let list = || LABELS.iter().find_map(|name| lists::column(file.schema_descr(), name));
        let labels = labels.unwrap_or_else(|| plain().or_else(list).into_iter().collect());
        if labels.is_empty() || labels.contains(&image) {
            return Err(format!(
                "it cannot be told which column holds the labels; give --label-column (it has: {})",
                shown()
            )
            .into());
        }
        let split = asked(&columns.split, "--split-column")?.or_else(|| known(&SPLITS));
        let root = |&at: &usize| file.schema_descr().column(at).path().parts()[0].clone();
        let targets: Vec<String> =
            labels.iter().map(|at| if leaves[*at].2 { leaves[*at].0.clone() } else { root(at) }).collect();
        let lists = labels.iter().any(|&at| !leaves[at].2);
        lists::check(lists, &targets, columns.task)?;
        let classes = match &targets[..] {
            [one] => class_names(file.key_value_metadata(), one),
            _ => Vec::new(),
        };
        let split = split.filter(|at| *at != image && !labels.contains(at));
        let group = asked(&columns.groups, "--groups")?;
        if let Some(at) = group.filter(|at| *at == image || labels.contains(at) || split == Some(*at)) {
            return Err(format!(
                "'{}' (--groups) holds the images, the labels or the split",
                leaves[at].0.escape_debug()
            )
            .into());
        }
        let found = Found { classes, targets, lists, split: split.map(|at| leaves[at].0.clone()), ..Found::default() };
        Ok(Table { image, labels, split, group, found, reader })
    }

    /// Refuses columns that unpack to what they like: how large a page says it is bounds Snappy, Zstandard and LZ4 alone.
    fn check_packing(&self) -> std::result::Result<(), String> {
        let columns =
            || self.labels.iter().copied().chain([Some(self.image), self.split, self.group].into_iter().flatten());
        let own = |group: &RowGroupMetaData| columns().map(|at| group.column(at).compression()).collect::<Vec<_>>();
        let name = match self.reader.metadata().row_groups().iter().flat_map(own).find(|one| !is_bounded(one)) {
            None => return Ok(()),
            Some(Compression::GZIP(_)) => "gzip",
            Some(Compression::BROTLI(_)) => "Brotli",
            Some(_) => "LZO",
        };
        Err(format!(
            "compressed with {name}, which is not read; write it with Snappy, as Hugging Face does, or with Zstandard"
        ))
    }

    /// Copies the images behind those of `rows`; gives what stands beside each, and what is known of the label columns.
    /// `copied` is told how many were, and may end it.
    pub fn copy(
        self,
        rows: &mut Rows,
        copied: &dyn Fn(usize) -> std::result::Result<(), String>,
    ) -> std::result::Result<(Vec<Cells>, Found), Refused> {
        self.check_packing()?;
        let mut cells = Vec::new();
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group).map_err(damaged)?;
            let count = usize::try_from(group.metadata().num_rows()).map_err(damaged)?;
            if count as u64 > MOST_IMAGES {
                return Err(format!("more than {MOST_IMAGES} rows").into());
            }
            let before = rows.count();
            let ColumnReader::ByteArrayColumnReader(mut images) =
                group.get_column_reader(self.image).map_err(damaged)?
            else {
                return Err("its images are not bytes".to_string().into());
            };
            while rows.count() < before + count {
                let wanted = ROWS.min(before + count - rows.count());
                for _ in 0..wanted {
                    let image = next(&mut images)?;
                    rows.add(image.as_ref().map_or(&[][..], |image| image.data()))?;
                }
                copied(wanted)?;
                if rows.count() as u64 > MOST_IMAGES {
                    return Err(format!("more than {MOST_IMAGES} rows").into());
                }
            }
            // -1 stands for no label where numbers have names.
            let classes = &self.found.classes;
            let named = |label: String| match classes.is_empty() {
                true => Some(label).filter(|label| !label.is_empty()),
                false => label.parse::<usize>().ok().and_then(|number| classes.get(number).cloned()),
            };
            let room = &mut rows.room;
            let mut labels = Vec::new();
            for &column in &self.labels {
                let mut keep = |label| room.take(named(label));
                labels.push(match self.found.lists {
                    true => lists::texts(&*group, column, count, &mut keep)?,
                    false => texts(&*group, Some(column), count, &mut keep)?,
                });
            }
            let mut keep = |text| room.take(Some(text));
            let [splits, groups] = [self.split, self.group].map(|column| texts(&*group, column, count, &mut keep));
            let mut of =
                |row: usize| labels.iter_mut().map(|column: &mut Vec<Option<String>>| column[row].take()).collect();
            let beside = splits?.into_iter().zip(groups?).enumerate();
            cells.extend(beside.map(|(row, (split, group))| Cells { labels: of(row), split, group }));
        }
        Ok((cells, self.found))
    }
}

/// The next value of a column without lists; `None` for a null. One alone: each may be as long as a page, however short they
/// are stored.
fn next<T: DataType>(reader: &mut ColumnReaderImpl<T>) -> std::result::Result<Option<T::T>, Refused> {
    let (mut found, mut levels) = (Vec::new(), Vec::new());
    let (records, ..) = reader.read_records(1, Some(&mut levels), None, &mut found).map_err(damaged)?;
    if records == 1 { Ok(found.pop()) } else { Err(short()) }
}

/// What becomes of a text: it is taken in, also by another name; `None` for what is no text.
pub(super) type Keep<'a> = dyn FnMut(String) -> std::result::Result<Option<String>, String> + 'a;

/// A column's values as texts.
fn texts(
    group: &dyn RowGroupReader,
    column: Option<usize>,
    count: usize,
    keep: &mut Keep,
) -> std::result::Result<Vec<Option<String>>, Refused> {
    let Some(column) = column else { return Ok(vec![None; count]) };
    fn shown<T: DataType>(
        mut reader: ColumnReaderImpl<T>,
        count: usize,
        keep: &mut Keep,
        show: impl Fn(&T::T) -> String,
    ) -> std::result::Result<Vec<Option<String>>, Refused> {
        let mut one = || Ok(next(&mut reader)?.map_or(Ok(None), |value| keep(show(&value)))?);
        (0..count).map(|_| one()).collect()
    }
    let unsigned = matches!(
        group.metadata().column(column).column_descr().converted_type(),
        ConvertedType::UINT_32 | ConvertedType::UINT_64
    );
    match group.get_column_reader(column).map_err(damaged)? {
        ColumnReader::Int32ColumnReader(reader) if unsigned => {
            shown(reader, count, keep, |v| v.cast_unsigned().to_string())
        }
        ColumnReader::Int64ColumnReader(reader) if unsigned => {
            shown(reader, count, keep, |v| v.cast_unsigned().to_string())
        }
        ColumnReader::Int32ColumnReader(reader) => shown(reader, count, keep, i32::to_string),
        ColumnReader::Int64ColumnReader(reader) => shown(reader, count, keep, i64::to_string),
        ColumnReader::FloatColumnReader(reader) => shown(reader, count, keep, f32::to_string),
        ColumnReader::DoubleColumnReader(reader) => shown(reader, count, keep, f64::to_string),
        ColumnReader::BoolColumnReader(reader) => shown(reader, count, keep, bool::to_string),
        ColumnReader::ByteArrayColumnReader(reader) => {
            shown(reader, count, keep, |text| String::from_utf8_lossy(text.data()).trim().to_owned())
        }
        _ => Err("its labels, splits or groups are neither texts nor numbers".to_string().into()),
    }
}
