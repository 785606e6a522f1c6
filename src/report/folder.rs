//! Folders that a run may write to: whose they are, and that only one run writes there.

use super::out::{CHECKPOINTS, FILES, LOCK, RESUME};
use crate::error::{Error, Result};
use crate::verify::golden;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The folders above a target that did not exist before. Those that are empty in the end go again.
pub(super) struct Parents(Vec<PathBuf>);

impl Parents {
    pub(super) fn create(target: &Path) -> Result<Parents> {
        let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) else {
            return Ok(Parents(Vec::new()));
        };
        let missing = parent.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists());
        let made = Parents(missing.map(Path::to_path_buf).collect());
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        Ok(made)
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Makes the folder, or takes over what a killed run left. `None` on a file system that knows no locks.
pub(super) fn occupy(partial: &Path, target: &Path) -> Result<Option<File>> {
    match fs::create_dir(partial) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io(partial)(e)),
        // Its files are removed, and they would be those of another folder.
        Err(_) if partial.is_symlink() => {
            return Err(Error::Usage(format!("{} is a symbolic link; choose another --out", partial.display())));
        }
        Err(_) => replaceable(partial, true)?,
        Ok(()) => {}
    }
    let path = partial.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(_)) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let what = "another run is writing there; choose another --out, or wait for its end";
            Err(Error::Usage(format!("{}: {what}", target.display())))
        }
    }
}

/// Whether a run that is alive writes there.
pub(super) fn occupied(partial: &Path) -> bool {
    File::open(partial.join(LOCK)).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// A mount point cannot be renamed, which would come out when all the work is done.
#[cfg(unix)]
pub(super) fn no_mount_point(target: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (Some(_), Ok(own), Ok(above)) = (target.file_name(), target.symlink_metadata(), parent.metadata()) else {
        return Ok(());
    };
    if own.is_dir() && own.dev() != above.dev() {
        return Err(Error::Usage(format!("{} is a mount point; give a folder inside it", target.display())));
    }
    Ok(())
}

/// `OUT.suffix`.
pub(super) fn beside(target: &Path, suffix: &str) -> PathBuf {
    target.with_added_extension(suffix)
}

/// Removes a folder that holds nothing but a run's files, if it is there.
pub(super) fn clear(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        replaceable(folder, true)?;
        fs::remove_dir_all(folder).map_err(Error::io(folder))?;
    }
    Ok(())
}

/// What is known of a run that is to end in `folder` and did not: it may go on, or is at work. Of a folder that such a run left, too.
pub(super) fn unfinished(folder: &Path) -> Option<String> {
    let is_partial = folder.extension().is_some_and(|end| end == "partial");
    let target = if is_partial { folder.with_extension("") } else { folder.to_path_buf() };
    target.file_name()?;
    let partial = beside(&target, "partial");
    let to_do = if occupied(&partial) {
        "wait for its end".into()
    } else if partial.join(RESUME).is_file() {
        format!("go on with it: adapt --resume {}", target.display())
    } else if partial.join(LOCK).is_file() {
        "run it again".into()
    } else {
        return None;
    };
    Some(format!("its run is not finished; {to_do}"))
}

fn is_file(entry: &fs::DirEntry, named: impl Fn(&str) -> bool) -> bool {
    entry.file_name().to_str().is_some_and(named) && entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// Whether a folder holds nothing but a run's images and what they become.
fn is_golden(folder: &Path) -> bool {
    let named = |name: &str| [golden::TENSORS, golden::LIST].contains(&name) || name.starts_with(golden::IMAGE);
    let Ok(entries) = fs::read_dir(folder) else { return false };
    !folder.is_symlink() && entries.flatten().all(|entry| is_file(&entry, named))
}

pub(super) fn replaceable(folder: &Path, force: bool) -> Result<()> {
    let what = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            "is a file, or lies below one; choose another --out".to_string()
        }
        Err(e) => return Err(Error::io(folder)(e)),
        Ok(entries) => {
            let entries = entries.collect::<io::Result<Vec<_>>>().map_err(Error::io(folder))?;
            let own = |e: &fs::DirEntry| {
                let file = |n: &str| n == LOCK || n == RESUME || FILES.contains(&n) || CHECKPOINTS.contains(&n);
                is_file(e, file) || (e.file_name() == golden::FOLDER && is_golden(&e.path()))
            };
            match entries.iter().find(|e| !own(e)) {
                _ if entries.is_empty() => return Ok(()),
                Some(foreign) => {
                    let name = foreign.file_name();
                    format!("holds '{}', which adapt did not write; choose another --out", name.display())
                }
                None if !force => "exists already; choose another --out, or replace it with --force".into(),
                None => return Ok(()),
            }
        }
    };
    Err(Error::Usage(format!("{} {what}", folder.display())))
}
