//! Images for a model that is ready: to be labelled by it, or to measure it.

use super::archive::{self, Archive};
use super::dataset::{Dataset, Item, Skipped, Split};
use super::parquet;
use super::records;
use super::scan::{BATCH, Listing, holds_folders, is_image_name, list, not_a_folder, one_file, split_of};
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
/// Parquet both are taken, or the files alone where the Parquet has no images, and a warning says so.
///
/// # Errors
/// [`Error::Usage`] for a path that does not exist or is not UTF-8, and when there are no images at all;
/// [`Error::Data`] for a damaged file of many images, [`Error::Interrupted`].
pub fn images_below(paths: &[PathBuf], progress: Progress) -> Result<(Source, Vec<String>)> {
    let (mut images, mut records, mut archives, mut tables) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut lines = HashMap::new();
    for path in paths {
        let text = || path.to_str().ok_or_else(|| Error::Usage(format!("{}: not UTF-8", path.display())));
        let meta = path.metadata().map_err(|e| Error::Usage(format!("{}: {e}", path.display())))?;
        if archive::is_archive(path) {
            let archive = Archive::open(path, format!("{}/", text()?), progress)?;
            images.extend(archive.images().into_iter().map(|member| archive.path(member)));
            archives.push(archive);
            continue;
        }
        let holds_tables = !parquet::find(path).is_empty();
        if holds_tables {
            let files = if meta.is_dir() { files_below(path, progress)? } else { Vec::new() };
            match parquet::images(path, format!("{}/", text()?), &Columns::GUESSED, progress) {
                Ok(found) => {
                    if let (Some(rows), false) = (&found, files.is_empty()) {
                        let what =
                            format!("both its {} and the {} images in its Parquet", counted(&files), rows.count());
                        warn(path, &format!("{what} are taken; name one of them to have it alone"), progress)?;
                    }
                    images.extend(files);
                    images.extend(found.iter().flat_map(|rows| (0..rows.count()).map(|number| rows.path(number))));
                    tables.extend(found);
                }
                Err(Error::Data { what, .. }) if !files.is_empty() => {
                    let what = format!("its {} are taken; its Parquet is not: {what}", counted(&files));
                    warn(path, &what, progress)?;
                    images.extend(files);
                }
                Err(error) => return Err(error),
            }
            continue;
        }
        if is_table(path) {
            let folder = path.parent().unwrap_or(Path::new(""));
            for (row, line) in table::paths(path, progress)? {
                let below = folder.join(row).to_string_lossy().into_owned();
                lines.insert(below.clone(), line);
                images.push(below);
            }
            continue;
        }
        if let Some(parts) = records::images(path)? {
            images.extend(parts.iter().flat_map(|part| (0..part.count).map(|number| part.path(number))));
            records.extend(parts);
            continue;
        }
        if !meta.is_dir() {
            images.push(text()?.to_string());
            continue;
        }
        images.extend(files_below(path, progress)?);
    }
    match images.is_empty() {
        true => Err(Error::Usage("there are no images in what was named".into())),
        false => Ok((Source::files("", records, archives, tables).with_lines(lines), images)),
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
/// these splits, as [`Dataset::read`] knows them), else `root/<class>/**`; of a zip file, a list, and MNIST's and CIFAR's files those for testing, if any. Folders are matched to
/// classes by name; those of other names are skipped. Where `columns` says that the labels are no classes, `classes` are the
/// labels or the targets of a list.
///
/// # Errors
/// [`Error::Usage`] when `root` is neither a folder nor a file of many images, [`Error::Data`] when no folder has a
/// class's name, or such a file is damaged.
pub fn labelled(root: &Path, classes: &[String], columns: &Columns, progress: Progress) -> Result<Dataset> {
    if let Some((source, mut listing)) = one_file(root, columns, progress)? {
        Dataset { source: source.clone(), task: listing.task, ..Dataset::default() }.check_task(columns.task)?;
        let best = [Split::Test, Split::Val, Split::Train].into_iter().find_map(|split| listing.splits.remove(&split));
        if !listing.task.is_multiclass() {
            let listing = Listing { splits: [(Split::Test, best.unwrap_or_default())].into(), ..listing };
            return Dataset::for_model(source, listing, classes);
        }
        return matched(source, best.unwrap_or_default(), listing.skipped, classes);
    }
    if !root.is_dir() {
        return Err(not_a_folder(root));
    }
    let folder = Dataset { source: Source::folder(root), ..Dataset::default() };
    folder.check_task(columns.task)?;
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root).map_err(Error::io(root))?.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(split_of);
    folders.retain(|path| holds_folders(path) && !classes.iter().any(|class| path.ends_with(class)));
    let of = |split: Split| folders.iter().find(|path| name(path) == Some(split));
    let root = of(Split::Test).or_else(|| of(Split::Val)).cloned().unwrap_or_else(|| root.to_path_buf());
    let Listing { splits, skipped, split_form, .. } = list(&root, progress)?;
    let found = splits.into_values().flatten().filter(|_| !split_form);
    matched(Source::folder(root), found, skipped, classes)
}

/// The images of `found` by class, those of which are known.
fn matched(
    source: Source,
    found: impl IntoIterator<Item = (String, Vec<String>)>,
    skipped: Vec<Skipped>,
    classes: &[String],
) -> Result<Dataset> {
    let mut data = Dataset { source, classes: classes.to_vec(), skipped, ..Dataset::default() };
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
