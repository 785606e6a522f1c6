//! Where a data set's pixels come from: files below a folder, members of a zip file, or the records of files that hold
//! many images.

use super::archive::Archive;
use super::dataset::Skipped;
use super::decode::{Pixels, Reduced, guarded, guarded_for, look, open, read};
use super::facts::Facts;
use super::parquet::Rows;
use super::preprocess::{Filter, Layout, Preprocessing, Resize};
use super::records::Part;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the images are that a data set's paths name. Cheap to clone, and read from many threads at once.
#[derive(Debug, Clone, Default)]
pub struct Source {
    place: PathBuf,
    /// Where paths begin.
    root: PathBuf,
    parts: Arc<[Part]>,
    archives: Arc<[Archive]>,
    rows: Arc<[Rows]>,
    /// Classes are no folders: a list names them.
    listed: bool,
    /// The line of a list that names an image, by its path.
    lines: Arc<HashMap<String, u64>>,
}

impl Source {
    /// Files below `place`; an empty one takes paths as they are.
    pub fn folder(place: impl Into<PathBuf>) -> Source {
        let place = place.into();
        Source { root: place.clone(), place, ..Source::default() }
    }

    /// As [`Source::folder`], with paths that stand for records of `parts`, members of `archives` or rows of `rows`.
    pub(super) fn files(
        place: impl Into<PathBuf>,
        parts: Vec<Part>,
        archives: Vec<Archive>,
        rows: Vec<Rows>,
    ) -> Source {
        Source { parts: parts.into(), archives: archives.into(), rows: rows.into(), ..Source::folder(place) }
    }

    /// Files below the folder of a list, with the lines that name them.
    pub(super) fn listed(table: &Path, lines: HashMap<String, u64>) -> Source {
        let root = table.parent().unwrap_or(Path::new("")).into();
        Source { place: table.into(), root, listed: true, lines: lines.into(), ..Source::default() }
    }

    /// With the lines of lists that name images.
    pub(super) fn with_lines(self, lines: HashMap<String, u64>) -> Source {
        Source { lines: lines.into(), ..self }
    }

    /// The image at `path` as one that is not used, and why; with its line where a list names it.
    pub fn skipped(&self, path: &str, reason: String) -> Skipped {
        let line = self.lines.get(path).map_or(String::new(), |line| format!(" (line {line} of the list)"));
        Skipped { path: path.into(), reason: reason + &line }
    }

    /// The folder or file that was named.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What to call the image at `path` in a message.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Whether a class is a folder, of files or of a zip file's members.
    pub fn has_folders(&self) -> bool {
        self.parts.is_empty() && self.rows.is_empty() && !self.listed
    }

    /// Whether paths are those of files, which none is that a zip file, Parquet or a file of records has in it.
    pub fn has_files(&self) -> bool {
        self.parts.is_empty() && self.archives.is_empty() && self.rows.is_empty()
    }

    /// Whether a list names the images.
    pub(super) fn is_list(&self) -> bool {
        self.listed
    }

    /// Whether `path` stands for a record of a file that holds many images.
    pub(super) fn has_record(&self, path: &str) -> bool {
        self.record(path).is_some()
    }

    fn record(&self, path: &str) -> Option<(&Part, u64)> {
        self.parts.iter().find_map(|part| Some((part, part.number(path)?)))
    }

    fn rows(&self, path: &str) -> Option<&Rows> {
        self.rows.iter().find(|rows| rows.has(path))
    }

    fn archive(&self, path: &str) -> Option<&Archive> {
        self.archives.iter().find(|archive| archive.has(path))
    }

    /// What it is, in a few words.
    pub(super) fn kind(&self) -> &'static str {
        match (self.parts.is_empty(), self.archives.is_empty(), self.listed) {
            _ if !self.rows.is_empty() => "Parquet data set",
            (false, ..) => "set of files of many images",
            (_, false, _) => "zip file",
            (.., true) => "list",
            _ => "folder",
        }
    }

    /// The format, and height and width, of the image at `path`, from its header.
    ///
    /// # Errors
    /// A short reason when it is no image.
    pub fn look(&self, path: &str) -> Result<(String, [u32; 2]), String> {
        if let Some((part, _)) = self.record(path) {
            return Ok(("raw".into(), [part.height, part.width]));
        }
        match (self.archive(path), self.rows(path)) {
            (Some(archive), _) => look(Cursor::new(archive.read(path)?)),
            (_, Some(rows)) => look(Cursor::new(rows.read(path)?)),
            _ => look(open(&self.root.join(path))?),
        }
    }

    /// The content of the image file at `path`; of a record a PNG file that is made of it.
    ///
    /// # Errors
    /// A short reason when it cannot be read.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        match self.content(path)? {
            Content::Record(part, values) => part.pixels(values)?.to_png(),
            Content::File(bytes) => Ok(bytes),
        }
    }

    /// Reads the image at `path` without decoding it.
    ///
    /// # Errors
    /// A short reason when it cannot be read.
    pub fn content(&self, path: &str) -> Result<Content<'_>, String> {
        if let Some((part, number)) = self.record(path) {
            return Ok(Content::Record(part, part.read(number)?));
        }
        match (self.archive(path), self.rows(path)) {
            (Some(archive), _) => archive.read(path),
            (_, Some(rows)) => rows.read(path),
            _ => read(&self.root.join(path)),
        }
        .map(Content::File)
    }

    /// The values of the image at `path`, as [`Content::values`] gives them.
    ///
    /// # Errors
    /// A short reason when it cannot be read, does not decode, or cannot be preprocessed.
    pub fn values(&self, path: &str, p: &Preprocessing, layout: Layout, out: &mut [f32]) -> Result<(), String> {
        self.content(path)?.values(p, layout, out)
    }

    /// Reads the image at `path`; with its opacity where `alpha` says so and it has any. See [`super::decode_bytes`].
    ///
    /// # Errors
    /// A short reason when it cannot be read or does not decode.
    pub fn decode(&self, path: &str, alpha: bool) -> Result<Pixels, String> {
        self.content(path)?.decode(alpha)
    }
}

/// An image as it is stored.
#[derive(Clone)]
pub enum Content<'a> {
    /// An image file's bytes.
    File(Vec<u8>),
    /// A record's values, and the file that it is one of.
    #[allow(private_interfaces)]
    Record(&'a Part, Vec<u8>),
}

impl Content<'_> {
    /// The format, from the content itself.
    ///
    /// # Errors
    /// A short reason when it is no image.
    pub fn format(&self) -> Result<String, String> {
        match self {
            Content::File(bytes) => look(Cursor::new(bytes)).map(|(format, _)| format),
            Content::Record(..) => Ok("raw".into()),
        }
    }

    /// The pixels; see [`Source::decode`].
    ///
    /// # Errors
    /// A short reason when it does not decode.
    pub fn decode(self, alpha: bool) -> Result<Pixels, String> {
        match self {
            Content::File(bytes) => guarded(&bytes, alpha),
            Content::Record(part, values) => part.pixels(values),
        }
    }

    /// Writes the model's input for the image into `out`, as [`super::preprocess()`] does.
    ///
    /// # Errors
    /// A short reason when it does not decode, or those of [`super::preprocess()`].
    pub fn values(self, p: &Preprocessing, layout: Layout, out: &mut [f32]) -> Result<(), String> {
        self.decode_as(p)?.values(p, layout, out)
    }

    /// The same, and what the pixels tell.
    ///
    /// # Errors
    /// The same.
    pub fn values_and_facts(self, p: &Preprocessing, layout: Layout, out: &mut [f32]) -> Result<Facts, String> {
        let format = self.format();
        let image = self.decode_as(p)?;
        image.values(p, layout, out)?;
        Facts::of(&image, format?)
    }

    /// What the pixels tell, as they are decoded for a model.
    ///
    /// # Errors
    /// A short reason when it does not decode.
    pub fn facts(self, p: &Preprocessing) -> Result<Facts, String> {
        let format = self.format();
        Facts::of(&self.decode_as(p)?, format?)
    }

    fn decode_as(self, p: &Preprocessing) -> Result<Reduced, String> {
        // One nearest pixel of fewer would be another pixel.
        let resize = if p.filter == Filter::Nearest { Resize::None } else { p.resize };
        self.decode_for(p.color.has_alpha(), resize)
    }

    /// The pixels for one who will resize them so with an antialiasing filter: a JPEG file that becomes far smaller is decoded
    /// at a reduced scale.
    ///
    /// # Errors
    /// A short reason when it does not decode.
    pub fn decode_for(self, alpha: bool, resize: Resize) -> Result<Reduced, String> {
        match self {
            Content::File(bytes) => guarded_for(&bytes, alpha, resize),
            Content::Record(part, values) => part.pixels(values).map(Reduced::from),
        }
    }

    /// SHA-256 of all that the pixels depend on.
    pub fn hash(&self) -> [u8; 32] {
        match self {
            Content::File(bytes) => Sha256::digest(bytes).into(),
            Content::Record(part, values) => {
                let form = format!("record {}x{} {}\n", part.height, part.width, part.color);
                Sha256::new().chain_update(form).chain_update(values).finalize().into()
            }
        }
    }
}

/// The same place; what lies there is not compared.
impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        let files = |source: &Source| (source.parts.len(), source.archives.len(), source.rows.len(), source.listed);
        self.place == other.place && files(self) == files(other)
    }
}

impl Eq for Source {}
