//! Images for a model that is ready: to be labelled by it, or to measure it.

use super::dataset::{Dataset, Item, Skipped, Split};
use super::scan::{Listing, holds_folders, is_image_name, list};
use super::source::Source;
use crate::error::{Error, Result};
use crate::progress::Progress;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Paths of the images that `paths` name, and of those in folders among them, at any depth and in order of their names.
/// A file that is named is taken whatever its extension.
///
/// # Errors
/// [`Error::Usage`] for a path that does not exist or is not UTF-8, and when there are no images at all.
pub fn images_below(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut images = Vec::new();
    for path in paths {
        let meta = path.metadata().map_err(|e| Error::Usage(format!("{}: {e}", path.display())))?;
        if !meta.is_dir() {
            let text = path.to_str().ok_or_else(|| Error::Usage(format!("{}: not UTF-8", path.display())))?;
            images.push(text.to_string());
            continue;
        }
        let visible = |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().as_encoded_bytes().starts_with(b".");
        let files = WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible);
        // What cannot be listed cannot be labelled; loops of links are errors here too.
        let files = files.flatten().filter(|e| e.file_type().is_file());
        images.extend(files.filter_map(|e| e.path().to_str().filter(|p| is_image_name(p)).map(str::to_string)));
    }
    match images.is_empty() {
        true => Err(Error::Usage("there are no images in what was named".into())),
        false => Ok(images),
    }
}

/// A labelled folder for a model with these classes: `root/test/<class>/**`, else `root/val/<class>/**`, else
/// `root/<class>/**`. Folders are matched to classes by name; those of other names are skipped.
///
/// # Errors
/// [`Error::Usage`] when `root` is not a folder, [`Error::Data`] when no folder has a class's name.
pub fn labelled(root: &Path, classes: &[String], progress: Progress) -> Result<Dataset> {
    if !root.is_dir() {
        return Err(Error::Usage(format!("{}: not a folder; give one of images", root.display())));
    }
    let splits = ["test", "val", "valid", "validation"].map(|name| root.join(name));
    let is_split = |p: &&PathBuf| holds_folders(p) && !classes.iter().any(|c| p.ends_with(c));
    let root = splits.iter().find(is_split).cloned().unwrap_or_else(|| root.to_path_buf());
    let Listing { splits, skipped, split_form, .. } = list(&root, progress)?;
    let mut data = Dataset { source: Source::folder(root), classes: classes.to_vec(), skipped, ..Dataset::default() };
    for (name, paths) in splits.into_values().flatten().filter(|_| !split_form) {
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
        let what = format!("no folder of images has the name of one of the model's classes, as {}", some.join(", "));
        return Err(Error::data(data.source.place(), what));
    }
    Ok(data)
}
