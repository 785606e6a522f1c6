//! Images for a model that is ready: to be labelled by it, or to measure it.

use super::archive::{self, Archive};
use super::dataset::{Dataset, Item, Skipped, Split};
use super::groups::Groups;
use super::parquet::{self, Rows};
use super::records::{self, Part};
use super::scan::{
    BATCH, Classes, Listing, holds_folders, is_image_name, list, not_a_folder, one_file, several, split_of,
};
use super::source::Source;
use super::table::{self, Columns, is_table};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The images that `paths` name, and those in folders among them, at any depth and in order of their names: where they
/// are, and their paths. A file that is named is taken whatever its extension; zip files, lists, Parquet, MNIST's and CIFAR's files,
/// and folders that hold some, stand for all of their images; of a list only the paths are read. Of a folder with image files and
/// Parquet both are taken, or the files alone where the Parquet has no images, and a warning says so. What is skipped are damaged
/// files of Parquet beside others.
///
/// # Errors
/// [`Error::Usage`] for a path that does not exist or is not UTF-8, and when there are no images at all;
/// [`Error::Data`] for a damaged file of many images, [`Error::Interrupted`].
pub fn images_below(paths: &[PathBuf], progress: Progress) -> Result<(Source, Vec<String>, Vec<Skipped>)> {
    let mut below = Below::default();
    paths.iter().try_for_each(|path| below.take(path, progress))?;
    let Below { images, records, archives, tables, lines, skipped } = below;
    match images.is_empty() {
        true => Err(Error::Usage("there are no images in what was named".into())),
        false => Ok((Source::files("", records, archives, tables).with_lines(lines), images, skipped)),
    }
}

/// What was named so far.
#[derive(Default)]
struct Below {
    images: Vec<String>,
    records: Vec<Part>,
    archives: Vec<Archive>,
    tables: Vec<Rows>,
    lines: HashMap<String, u64>,
    skipped: Vec<Skipped>,
}

impl Below {
    fn take(&mut self, path: &Path, progress: Progress) -> Result<()> {
        let text = || path.to_str().ok_or_else(|| Error::Usage(format!("{}: not UTF-8", path.display())));
        let meta = path.metadata().map_err(|e| Error::Usage(format!("{}: {e}", path.display())))?;
        if archive::is_archive(path) {
            let archive = Archive::open(path, format!("{}/", text()?), progress)?;
            self.images.extend(archive.images().into_iter().map(|member| archive.path(member)));
            self.archives.push(archive);
            return Ok(());
        }
        let prefix = format!("{}/", path.to_string_lossy());
        match parquet::images(path, prefix.clone(), &Columns::GUESSED, progress) {
            Ok(None) => {}
            rows => return text().and_then(|_| self.take_rows(path, &prefix, rows, progress)),
        }
        if is_table(path) {
            let folder = path.parent().unwrap_or(Path::new(""));
            for (row, line) in table::paths(path, progress)? {
                let below = folder.join(row).to_string_lossy().into_owned();
                self.lines.insert(below.clone(), line);
                self.images.push(below);
            }
        } else if let Some(parts) = records::images(path)? {
            self.images.extend(parts.iter().flat_map(|part| (0..part.count).map(|number| part.path(number))));
            self.records.extend(parts);
        } else if meta.is_dir() {
            self.images.extend(files_below(path, progress)?);
        } else {
            self.images.push(text()?.to_string());
        }
        Ok(())
    }

    /// What Parquet at `path` holds, and the image files beside and below it.
    fn take_rows(
        &mut self,
        path: &Path,
        prefix: &str,
        rows: Result<Option<(Rows, Vec<Skipped>)>>,
        progress: Progress,
    ) -> Result<()> {
        let files = if path.is_dir() { files_below(path, progress)? } else { Vec::new() };
        match rows {
            Ok(found) => {
                let (rows, damaged) = found.unzip();
                let own: Vec<String> = rows.iter().flat_map(Rows::paths).collect();
                if !files.is_empty() {
                    let what = format!("both its {} and the {} images in its Parquet", counted(&files), own.len());
                    warn(path, &format!("{what} are taken; name one of them to have it alone"), progress)?;
                }
                self.images.extend(files.into_iter().chain(own));
                let below = |file: Skipped| Skipped { path: format!("{prefix}{}", file.path), ..file };
                self.skipped.extend(damaged.into_iter().flatten().map(below));
                self.tables.extend(rows);
            }
            Err(Error::Data { what, .. }) if !files.is_empty() => {
                let what = format!("its {} are taken; its Parquet is not: {what}", counted(&files));
                warn(path, &what, progress)?;
                self.images.extend(files);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The image files in a folder at any depth, in order of their names.
fn files_below(folder: &Path, progress: Progress) -> Result<Vec<String>> {
    emit(progress, Event::Stage { name: "listing images", total: 0 })?;
    let visible = |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().as_encoded_bytes().starts_with(b".");
    let files = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible);
    // What cannot be listed cannot be labelled; loops of links are errors here too.
    let files = files.flatten().filter(|e| e.file_type().is_file());
    let mut images = Vec::new();
    for (seen, file) in (1u64..).zip(files) {
        images.extend(file.path().to_str().filter(|path| is_image_name(path)).map(str::to_string));
        if seen.is_multiple_of(BATCH) {
            emit(progress, Event::Advance(BATCH))?;
        }
    }
    Ok(images)
}

fn counted(files: &[String]) -> String {
    format!("{} image {}", files.len(), if files.len() == 1 { "file" } else { "files" })
}

fn warn(place: &Path, what: &str, progress: Progress) -> Result<()> {
    emit(progress, Event::Warning(&format!("{}: {what}", place.display())))
}

/// Where the images of a data set are that was read before, so that they can be read again by their paths. A list is not read;
/// neither is a folder's content.
///
/// # Errors
/// [`Error::Usage`] when `place` is neither a folder nor a file of many images, [`Error::Data`] when such a file is damaged,
/// [`Error::Interrupted`].
pub fn reopen(place: &Path, progress: Progress) -> Result<Source> {
    if is_table(place) && place.is_file() {
        return Ok(Source::listed(place, HashMap::new()));
    }
    match one_file(place, &Columns::GUESSED, progress)? {
        Some((source, _)) => Ok(source),
        None if place.is_dir() => Ok(Source::folder(place)),
        None => Err(not_a_folder(place)),
    }
}

/// A labelled folder for a model with these classes: `root/test/<class>/**`, else `root/val/<class>/**` (or other names of
/// these splits, as [`Dataset::read`] knows them; of several folders of one split all), else `root/<class>/**`; of a zip file, a list, and MNIST's and CIFAR's files those for testing, if any. Folders are matched to
/// classes by name; those of other names are skipped. Where `columns` says that the labels are no classes, `classes` are the
/// labels or the targets of a list.
///
/// # Errors
/// [`Error::Usage`] when `root` is neither a folder nor a file of many images, [`Error::Data`] when no folder has a
/// class's name, or such a file is damaged.
pub fn labelled(root: &Path, classes: &[String], columns: &Columns, progress: Progress) -> Result<Dataset> {
    if let Some((source, mut listing)) = one_file(root, columns, progress)? {
        Dataset { source: source.clone(), task: listing.task, ..Dataset::default() }.check_task(columns.task)?;
        let best = [Split::Test, Split::Val, Split::Train].into_iter().find(|split| listing.splits.contains_key(split));
        let folders = best.and_then(|split| Some((split, listing.folders.remove(&split)?)));
        let note = folders.and_then(|(split, folders)| several(split, folders.iter().map(String::as_str)));
        let best = best.and_then(|split| listing.splits.remove(&split));
        let of = std::mem::take(&mut listing.groups);
        let groups = columns.groups.clone().map(|column| Groups { column, of });
        if !listing.task.is_multiclass() {
            let listing = Listing { splits: [(Split::Test, best.unwrap_or_default())].into(), ..listing };
            return Ok(Dataset { groups, ..Dataset::for_model(source, listing, classes)? });
        }
        return Ok(Dataset { groups, ..matched(source, best.unwrap_or_default(), listing.skipped, note, classes)? });
    }
    if !root.is_dir() {
        return Err(not_a_folder(root));
    }
    let folder = Dataset { source: Source::folder(root), ..Dataset::default() };
    folder.check_task(columns.task)?;
    let (folders, note) = measured(root, classes)?;
    let place = if let [one] = &folders[..] { one } else { root };
    let (mut found, mut skipped) = (Classes::new(), Vec::new());
    for folder in &folders {
        let listing = list(folder, progress)?;
        let prefix = folder.strip_prefix(place).ok().and_then(Path::to_str).unwrap_or_default();
        let below = |path: String| if prefix.is_empty() { path } else { format!("{prefix}/{path}") };
        skipped.extend(listing.skipped.into_iter().map(|one| Skipped { path: below(one.path), ..one }));
        for (class, paths) in listing.splits.into_values().flatten().filter(|_| !listing.split_form) {
            found.entry(class).or_default().extend(paths.into_iter().map(below));
        }
    }
    matched(Source::folder(place), found, skipped, note, classes)
}

/// The folders of `root` whose images measure a model: those for testing, else for validation, else `root`; and what the user
/// should know where there are several.
fn measured(root: &Path, classes: &[String]) -> Result<(Vec<PathBuf>, Option<String>)> {
    let mut found: Vec<(Split, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(root).map_err(Error::io(root))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // The name first: there may be a million images.
        let split = name.to_str().and_then(split_of);
        let split = split.filter(|_| !classes.iter().any(|class| name == class.as_str()) && holds_folders(&path));
        found.extend(split.map(|split| (split, path)));
    }
    found.sort();
    let best = [Split::Test, Split::Val].into_iter().find(|best| found.iter().any(|(split, _)| split == best));
    let Some(best) = best else { return Ok((vec![root.to_path_buf()], None)) };
    let folders: Vec<PathBuf> = found.into_iter().filter(|(split, _)| *split == best).map(|(_, path)| path).collect();
    let names: Vec<&str> = folders.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let note = several(best, names.into_iter());
    Ok((folders, note))
}

/// The images of `found` by class, those of which are known.
fn matched(
    source: Source,
    found: Classes,
    skipped: Vec<Skipped>,
    note: Option<String>,
    classes: &[String],
) -> Result<Dataset> {
    let notes = note.into_iter().collect();
    let mut data = Dataset { source, classes: classes.to_vec(), skipped, notes, ..Dataset::default() };
    for (name, paths) in found {
        match classes.iter().position(|c| *c == name) {
            Some(label) => data.items.extend(paths.into_iter().map(|path| Item { path, label, split: Split::Test })),
            None if paths.is_empty() => {}
            None => {
                let reason = format!("the model has no class of this name ({} images)", paths.len());
                data.skipped.push(Skipped { path: name, reason });
            }
        }
    }
    if data.items.is_empty() {
        let some: Vec<_> = classes.iter().take(5).map(|c| format!("'{c}'")).collect();
        let kind = if data.source.has_folders() { "folder" } else { "class" };
        let what = format!("no {kind} of images has the name of one of the model's classes, as {}", some.join(", "));
        return Err(Error::data(data.source.place(), data.with_reasons(&what)));
    }
    Ok(data)
}
