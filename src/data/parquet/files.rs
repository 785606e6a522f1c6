//! Which Parquet files a data set has, and what their names tell.

use super::table;
use crate::data::Split;
use crate::data::rows::named;
use crate::data::scan::{beginning, has_extension, is_image_name, split_of};
use crate::error::{Error, Result};
use crate::guard::quietly;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Folders above a data set's files: a configuration and a split, as Hugging Face converts data sets.
const DEPTH: usize = 2;

/// The Parquet files that `place` is, or holds (or its folder `data`), in order of their names; else those in folders of
/// configurations and splits, where no such folder holds images. What has no bytes beside folders that do describes these.
pub(in crate::data) fn find(place: &Path) -> Vec<PathBuf> {
    if is_parquet(place) || beginning(place).starts_with(b"PAR1") {
        return vec![place.into()];
    }
    let mut found = [place.to_path_buf(), place.join("data")].into_iter().filter_map(|folder| within(&folder, false));
    let own = found.find(|(files, _)| !files.is_empty()).map(|(files, _)| files);
    let describe = |files: &Vec<PathBuf>| {
        let bytes = |file: &PathBuf| quietly(|| table::holds_bytes(file)).unwrap_or(true);
        below(place, DEPTH).is_none() && !files.iter().any(bytes)
    };
    own.filter(|files| !describe(files)).or_else(|| below(place, DEPTH)).unwrap_or_default()
}

fn is_parquet(path: &Path) -> bool {
    has_extension(path, &["parquet"]) && path.is_file()
}

/// The Parquet files in a folder, and the folders; `None` for one that is a class's, which may hold many images, where `classes`
/// are looked for.
fn within(folder: &Path, classes: bool) -> Option<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        match name.starts_with('.') {
            true => {}
            false if classes && is_image_name(&name) => return None,
            // What tells of images that lie beside it has none.
            false if name == "metadata.parquet" => {}
            false if is_parquet(&path) => files.push(path),
            false if entry.file_type().is_ok_and(|kind| !kind.is_file()) && path.is_dir() => folders.push(path),
            false => {}
        }
    }
    files.sort();
    folders.sort();
    Some((files, folders))
}

/// Those in a folder, or in folders so far below it; `None` where one of these holds images: then Parquet beside them is what
/// describes them, as `metadata.parquet`.
fn below(folder: &Path, depth: usize) -> Option<Vec<PathBuf>> {
    let (files, folders) = within(folder, depth < DEPTH)?;
    if depth == 0 {
        return Some(files);
    }
    let found = folders.iter().map(|folder| below(folder, depth - 1)).collect::<Option<Vec<_>>>()?;
    Some(if files.is_empty() { found.concat() } else { files })
}

/// The last part of a path, as text.
fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// A folder's name without what says that it has a part of a split alone.
fn whole(folder: &str) -> &str {
    folder.strip_prefix("partial-").unwrap_or(folder)
}

/// The split that a file's name tells, or its folder's, as `partial-train/0000.parquet` below `place`; `None` for neither.
pub(super) fn split_of_file(place: &Path, file: &Path) -> Option<Split> {
    let folder = file.parent().filter(|folder| *folder != place).map(name).unwrap_or_default();
    let first = |name: &str| split_of(name.split(['-', '_', '.']).next().unwrap_or_default());
    first(name(file)).or_else(|| first(whole(folder)))
}

/// The splits of files that are called as those of train, val or test beside them are, by names that are none of these, as
/// `extra-00000-of-00001.parquet` and `default/extra/0000.parquet`.
pub(super) fn other_splits(place: &Path, files: &[PathBuf]) -> HashMap<PathBuf, String> {
    let (known, rest): (Vec<&PathBuf>, Vec<_>) = files.iter().partition(|file| split_of_file(place, file).is_some());
    let folder = |path: &PathBuf| path.parent().map(Path::to_path_buf).unwrap_or_default();
    let beside: HashSet<PathBuf> = known.iter().map(|file| folder(file)).collect();
    let above: HashSet<PathBuf> =
        beside.iter().filter(|own| *own != place && split_of(whole(name(own))).is_some()).map(folder).collect();
    let word = |file: &PathBuf| {
        let own = folder(file);
        let shard = name(file).split_once("-of-").and_then(|(shard, _)| shard.rsplit_once('-'));
        let shard = shard.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
        match shard {
            Some((split, _)) if beside.contains(&own) => Some(split.to_owned()),
            _ => (own != place && above.contains(&folder(&own))).then(|| name(&own).to_owned()),
        }
    };
    rest.into_iter().filter_map(|file| Some((file.clone(), word(file)?))).collect()
}

/// Refuses files of several configurations, which are different data sets.
pub(super) fn one_configuration(place: &Path, files: &[PathBuf], others: &HashMap<PathBuf, String>) -> Result<()> {
    let configuration = |file: &PathBuf| {
        let mut folder = file.parent().unwrap_or(place);
        let is_split = split_of(whole(name(folder))).is_some();
        if (is_split || others.get(file).is_some_and(|other| other == name(folder))) && folder != place {
            folder = folder.parent().unwrap_or(place);
        }
        folder.strip_prefix(place).unwrap_or(folder).display().to_string()
    };
    let names: BTreeSet<String> = files.iter().map(configuration).collect();
    if names.len() < 2 {
        return Ok(());
    }
    let shown = named(names.iter().map(String::as_str).collect::<Vec<_>>().into_iter());
    Err(Error::data(place, format!("holds several configurations of a data set ({shown}); give one of these folders")))
}
