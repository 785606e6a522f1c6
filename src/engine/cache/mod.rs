//! Features that were computed before, kept in the user's cache folder under what they depend on: the frozen part and its
//! weights, the preprocessing, the engine, and the content of the image. Where an image lies, its class and its name are
//! none of it.
//!
//! A folder for each frozen part with its preprocessing and engine (a [`Shelf`]) holds files of rows, which are written
//! whole under another name and renamed: a killed run leaves at most an unfinished file, which nobody reads, and runs at the
//! same time do not meet. Every row has a checksum; what is damaged is computed again. A row has the features of the cut, and
//! behind them those of other tensors, each a part with a name: who wants some of them need not have wanted the same before.
//! The last part is what the image's pixels tell, where somebody looked.

mod rows;

use super::Engine;
use crate::data::facts::{self, Facts};
use crate::data::{Layout, Preprocessing};
use crate::error::{Error, Result};
use crate::onnx::hex;
use etcetera::BaseStrategy;
pub use rows::{ContentHash, Part};
use rows::{RowFile, merge, row_files, write};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Bytes that the cache may take; what was not used for longest goes first.
pub const LIMIT: u64 = 10 << 30;
/// Longer rows are whole maps, which would push everything else out.
const WIDEST: usize = 1 << 14;
/// To be raised when the same preprocessing, or the same engine as it is set up here, comes to give other values.
const CODE: u32 = 4;

/// The part that holds [`Facts`]; another name when the same pixels come to tell something else.
const FACTS: &str = "facts";

/// More small files than these are merged.
const MANY: usize = 32;

const EXTENSION: &str = "rows";
/// New rows are written when they are so many bytes, or so old: a killed run loses no more.
const FULL: usize = 16 << 20;
const OLD: Duration = Duration::from_secs(20);
/// Unfinished files of killed runs go after this time; to write one takes seconds.
const ABANDONED: Duration = Duration::from_secs(10 * 60);

/// The folder of all that was computed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

/// What is in a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Holding {
    /// Frozen parts with their preprocessing and engine.
    pub models: usize,
    /// Rows of features.
    pub rows: u64,
    /// Their size on disk.
    pub bytes: u64,
}

impl Cache {
    /// The cache in `folder`, or where the system keeps those of users; `None` where it has no such place.
    pub fn open(folder: Option<&Path>) -> Option<Cache> {
        let usual = || etcetera::choose_base_strategy().ok().map(|dirs| dirs.cache_dir().join("adapt"));
        Some(Cache { folder: folder.map(Path::to_path_buf).or_else(usual)? })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Rows of these parts, one behind the other, that the frozen part of that fingerprint gives in `engine` for images that
    /// are preprocessed so; where only the first `fewest` are known, of these.
    pub fn shelf(
        &self,
        fingerprint: &str,
        (parts, fewest): (Vec<Part>, usize),
        (p, layout): (&Preprocessing, Layout),
        engine: &dyn Engine,
    ) -> Shelf {
        let settings = serde_json::json!([CODE, fingerprint, p, layout, engine.name(), engine.version()]);
        let name = hex(&Sha256::digest(settings.to_string())[..16]);
        Shelf::open(self.clone(), self.folder.join(name), parts, fewest)
    }

    /// What it holds.
    ///
    /// # Errors
    /// [`Error::Io`] where a folder cannot be read.
    pub fn holding(&self) -> Result<Holding> {
        let (mut holding, mut shelves) = (Holding::default(), Vec::new());
        for (path, size, _) in self.files()? {
            holding.bytes += size;
            holding.rows += RowFile::open(&path).ok().flatten().map_or(0, |rows| rows.digests.len() as u64);
            shelves.extend(path.parent().map(Path::to_path_buf));
        }
        shelves.sort();
        shelves.dedup();
        Ok(Holding { models: shelves.len(), ..holding })
    }

    /// Removes what was not used for longest until at most `limit` bytes are left. Gives the bytes that went.
    ///
    /// # Errors
    /// [`Error::Io`] where a folder cannot be read.
    pub fn prune(&self, limit: u64) -> Result<u64> {
        let mut files = self.files()?;
        files.sort_by_key(|(_, _, used)| *used);
        let mut left: u64 = files.iter().map(|(_, size, _)| size).sum();
        let before = left;
        for (path, size, _) in &files {
            if left <= limit {
                break;
            }
            // Another run may have been faster.
            if fs::remove_file(path).is_ok() || !path.exists() {
                left -= size;
            }
        }
        for folder in self.shelves()? {
            // Fails while there is anything in it.
            let _ = fs::remove_dir(folder);
        }
        Ok(before - left)
    }

    /// Folders that are named as ours are.
    fn shelves(&self) -> Result<Vec<PathBuf>> {
        let own = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) && path.is_dir()
        };
        match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io(&self.folder)(e)),
            Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).filter(own).collect()),
        }
    }

    /// All files with their sizes and when they were used last. Those that a killed run left go.
    fn files(&self) -> Result<Vec<(PathBuf, u64, SystemTime)>> {
        let mut files = Vec::new();
        for shelf in self.shelves()? {
            // Another run may remove it meanwhile.
            for entry in fs::read_dir(&shelf).into_iter().flatten().flatten() {
                let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                if is_rows(&path) {
                    files.push((path, meta.len(), used));
                } else if used.elapsed().is_ok_and(|age| age > ABANDONED) {
                    let _ = fs::remove_file(&path);
                }
            }
        }
        Ok(files)
    }
}

fn is_rows(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// A file, with the places of the parts in its rows, and of the facts.
struct Known {
    file: RowFile,
    columns: Vec<Range<usize>>,
    facts: Option<Range<usize>>,
}

/// Rows of one frozen part. What cannot be read or written counts as not there: no run fails for its cache.
pub struct Shelf {
    cache: Cache,
    folder: PathBuf,
    parts: Vec<Part>,
    /// As many of them as will do.
    fewest: usize,
    files: Vec<Known>,
    /// File and row of an image.
    places: HashMap<ContentHash, (usize, usize)>,
    new: Vec<(ContentHash, Vec<f32>)>,
    /// How many values these have, and whether there are facts behind them.
    form: (usize, bool),
    since: Instant,
    wrote: bool,
    failed: Option<String>,
}

impl Shelf {
    fn open(cache: Cache, folder: PathBuf, parts: Vec<Part>, fewest: usize) -> Shelf {
        let mut found = row_files(&folder);
        if found.iter().filter(|file| file.bytes() < FULL / 2).count() > MANY {
            // Another run may do the same, or the folder be another's: both are fine.
            let _ = merge(&folder, &found);
            found = row_files(&folder);
        }
        let (mut files, mut places) = (Vec::new(), HashMap::new());
        let width = |columns: &[Range<usize>]| columns[..fewest].iter().map(Range::len).sum::<usize>();
        for file in found {
            let Some(columns) = file.columns(&parts).or_else(|| file.columns(&parts[..fewest])) else { continue };
            if files.first().is_some_and(|first: &Known| width(&first.columns) != width(&columns)) {
                continue;
            }
            places.extend(file.digests.iter().enumerate().map(|(row, digest)| (*digest, (files.len(), row))));
            let facts = file.columns(&[facts_part()]).and_then(|mut columns| columns.pop());
            files.push(Known { file, columns, facts });
        }
        let (new, form, since, wrote, failed) = (Vec::new(), (0, false), Instant::now(), false, None);
        Shelf { cache, folder, parts, fewest, files, places, new, form, since, wrote, failed }
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The row of an image, and what its pixels tell where somebody looked.
    pub fn get(&self, digest: &ContentHash) -> Option<(Vec<f32>, Option<Facts>)> {
        let (file, row) = self.places.get(digest)?;
        let Known { file, columns, facts } = &self.files[*file];
        let row = file.read(*row).ok().flatten()?;
        let facts = facts.clone().and_then(|columns| Facts::from_values(&row[columns]));
        Some((columns.iter().flat_map(|columns| &row[columns.clone()]).copied().collect(), facts))
    }

    /// Keeps an image's row, and what its pixels tell, for later runs; now and then those that are new are written. Gives the
    /// reason where that does not work, the first time.
    pub fn add(&mut self, digest: ContentHash, row: &[f32], facts: Option<&Facts>) -> Option<String> {
        if row.is_empty() || row.len() + facts.map_or(0, |_| facts::VALUES) > WIDEST {
            return None;
        }
        let form = (row.len(), facts.is_some());
        let failed = if self.form != form { self.flush() } else { None };
        self.form = form;
        if self.new.is_empty() {
            self.since = Instant::now();
        }
        self.new.push((digest, [row, &facts.map_or(Vec::new(), Facts::values)].concat()));
        if self.new.len() * row.len() * size_of::<f32>() >= FULL || self.since.elapsed() >= OLD {
            return failed.or(self.flush());
        }
        failed
    }

    /// Writes what is new. Gives the reason where that does not work, the first time.
    pub(super) fn flush(&mut self) -> Option<String> {
        let new = std::mem::take(&mut self.new);
        if !new.is_empty() && self.failed.is_none() {
            let (width, looked) = self.form;
            let whole: usize = self.parts.iter().map(|(_, own)| own).sum();
            let count = if width < whole { self.fewest } else { self.parts.len() };
            let parts: Vec<Part> = self.parts[..count].iter().cloned().chain(looked.then(facts_part)).collect();
            match write(&self.folder, &parts, &new) {
                Ok(_) => self.wrote = true,
                Err(e) => {
                    self.failed = Some(format!("features are not kept for later runs: {}: {e}", self.folder.display()))
                }
            }
            return self.failed.clone();
        }
        None
    }
}

fn facts_part() -> Part {
    (FACTS.into(), facts::VALUES)
}

impl Drop for Shelf {
    /// However the work ended: what was computed is right.
    fn drop(&mut self) {
        let _ = self.flush();
        if self.wrote {
            let _ = self.cache.prune(LIMIT);
        }
    }
}
