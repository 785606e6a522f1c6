//! A file of rows of features: what parts they have, who they are of, and a checksum of each.

use super::{EXTENSION, FACTS, FULL, WIDEST, is_rows};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

const MAGIC: &[u8; 8] = b"adaptft2";
const HASH: usize = 32;
const CHECK: usize = 8;
/// Bytes of a part in the head: the start of its name's SHA-256, and its width.
const PART: usize = 16 + 4;
/// Parts that a row may have.
const MOST_PARTS: usize = 64;

/// The SHA-256 of an image's content.
pub type ContentHash = [u8; HASH];

/// What gives some of a row's values: a name that stands for it, and how many; 0 where it gives the whole row.
pub type Part = (String, usize);

/// A file of rows. It is opened for each reading: of open files a process may have few.
pub(super) struct RowFile {
    pub path: PathBuf,
    /// The starts of their names' hashes, and their widths.
    parts: Vec<([u8; 16], usize)>,
    pub digests: Vec<ContentHash>,
    used: AtomicBool,
}

impl RowFile {
    /// Reads which images are in it; `None` where it is damaged.
    ///
    /// # Errors
    /// Those of reading, which tell nothing of what is in it.
    pub fn open(path: &Path) -> io::Result<Option<RowFile>> {
        let mut file = File::open(path)?;
        match RowFile::read_head(path, &mut file) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            other => other,
        }
    }

    fn read_head(path: &Path, file: &mut File) -> io::Result<Option<RowFile>> {
        let size = file.metadata()?.len();
        let mut head = vec![0; MAGIC.len() + 8];
        file.read_exact(&mut head)?;
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |four| u32::from_le_bytes(*four) as usize);
        let (parts, count) = (number(&head[MAGIC.len()..]), number(&head[MAGIC.len() + 4..]));
        if &head[..MAGIC.len()] != MAGIC || !(1..=MOST_PARTS).contains(&parts) {
            return Ok(None);
        }
        let mut table = vec![0; parts * PART];
        file.read_exact(&mut table)?;
        let part = |bytes: &[u8]| (bytes.first_chunk().copied().unwrap_or_default(), number(&bytes[16..]));
        let parts: Vec<_> = table.chunks_exact(PART).map(part).collect();
        head.append(&mut table);
        let width = width(&parts);
        let whole = (1..=WIDEST).contains(&width)
            && size == (head.len() + count * HASH + CHECK) as u64 + count as u64 * stride(width) as u64;
        if !whole {
            return Ok(None);
        }
        let mut table = vec![0; count * HASH + CHECK];
        file.read_exact(&mut table)?;
        let (digests, sum) = table.split_at(count * HASH);
        let sound = check(&[&head, digests]) == sum;
        let (path, digests, used) = (path.to_path_buf(), digests.as_chunks().0.to_vec(), AtomicBool::new(false));
        Ok(sound.then_some(RowFile { path, parts, digests, used }))
    }

    /// Where these parts are in a row; `None` where it lacks one.
    pub fn columns(&self, wanted: &[Part]) -> Option<Vec<Range<usize>>> {
        let alone = self.parts.iter().filter(|(id, _)| *id != id_of(FACTS)).count() == 1;
        let one = |(name, width): &Part| {
            let mut start = 0;
            for (id, own) in &self.parts {
                if *id == id_of(name) && (*own == *width || *width == 0 && alone) {
                    return Some(start..start + own);
                }
                start += own;
            }
            None
        };
        wanted.iter().map(one).collect()
    }

    /// Whether its rows have the same parts as another's.
    pub fn is_alike(&self, other: &RowFile) -> bool {
        self.parts == other.parts
    }

    /// Its size on disk.
    pub fn bytes(&self) -> usize {
        self.digests.len() * (HASH + stride(width(&self.parts)))
    }

    /// A row; `None` where it is damaged.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(&self, row: usize) -> io::Result<Option<Vec<f32>>> {
        let stride = stride(width(&self.parts));
        let start = MAGIC.len() + 8 + self.parts.len() * PART + self.digests.len() * HASH + CHECK + row * stride;
        let mut bytes = vec![0; stride];
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start as u64))?;
        file.read_exact(&mut bytes)?;
        if !self.used.swap(true, Ordering::Relaxed) {
            // Only for the order in which files go.
            let _ = file.set_modified(SystemTime::now());
        }
        let (values, sum) = bytes.split_at(stride - CHECK);
        let sound = check(&[&self.digests[row], values]) == sum;
        Ok(sound.then(|| values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()))
    }

    /// Writes rows whose parts are as this one's.
    pub fn write_alike(&self, folder: &Path, rows: &[(ContentHash, Vec<f32>)]) -> io::Result<PathBuf> {
        write_parts(folder, &self.parts, rows)
    }
}

fn width(parts: &[([u8; 16], usize)]) -> usize {
    parts.iter().map(|(_, width)| width).sum()
}

/// Bytes of a row with its checksum.
fn stride(width: usize) -> usize {
    width * size_of::<f32>() + CHECK
}

fn id_of(name: &str) -> [u8; 16] {
    Sha256::digest(name).first_chunk().copied().expect("a hash is longer")
}

fn check(parts: &[&[u8]]) -> [u8; CHECK] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    *hash.finalize().first_chunk().expect("a hash is longer")
}

/// Writes rows, all of these parts in this order, as a file of their own.
pub(super) fn write(folder: &Path, parts: &[Part], rows: &[(ContentHash, Vec<f32>)]) -> io::Result<PathBuf> {
    let known: usize = parts.iter().map(|(_, own)| own).sum();
    let width = |own: usize| if own == 0 { rows[0].1.len() - known } else { own };
    let parts: Vec<_> = parts.iter().map(|(name, own)| (id_of(name), width(*own))).collect();
    write_parts(folder, &parts, rows)
}

/// Magic, the numbers of parts and images; the parts; the images' hashes and a checksum of all this; the rows, each with its own.
fn write_parts(folder: &Path, parts: &[([u8; 16], usize)], rows: &[(ContentHash, Vec<f32>)]) -> io::Result<PathBuf> {
    let mut head = MAGIC.to_vec();
    [parts.len(), rows.len()].iter().for_each(|number| head.extend((*number as u32).to_le_bytes()));
    for (id, width) in parts {
        head.extend(id);
        head.extend((*width as u32).to_le_bytes());
    }
    rows.iter().for_each(|(digest, _)| head.extend(digest));
    head.extend(check(&[&head]));
    let mut file = within(folder, || tempfile::Builder::new().prefix(".new").tempfile_in(folder))?;
    let mut writer = io::BufWriter::new(file.as_file_mut());
    writer.write_all(&head)?;
    for (digest, row) in rows {
        let values: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        writer.write_all(&values)?;
        writer.write_all(&check(&[digest, &values]))?;
    }
    writer.flush()?;
    drop(writer);
    let random = file.path().file_name().map(|name| name.to_string_lossy().trim_start_matches('.').to_owned());
    // In the order of their names files are in that of time.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
    let target = folder.join(format!("{now:020}-{}", random.unwrap_or_default())).with_extension(EXTENSION);
    file.persist_noclobber(&target).map_err(|e| e.error)?;
    Ok(target)
}

/// Makes a folder, and something in it; both again where another run, which takes empty folders away, came between.
fn within<T>(folder: &Path, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    fs::create_dir_all(folder)?;
    match make() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder)?;
            make()
        }
        other => other,
    }
}

/// The files of a folder, the oldest first. What was read and is damaged goes; what cannot be read may be another's.
pub(super) fn row_files(folder: &Path) -> Vec<RowFile> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| is_rows(path));
    paths.sort();
    let open = |path: PathBuf| match RowFile::open(&path) {
        Ok(None) => {
            let _ = fs::remove_file(&path);
            None
        }
        other => other.ok().flatten(),
    };
    paths.into_iter().filter_map(open).collect()
}

/// Writes the rows of many small files into few, and removes those.
pub(super) fn merge(folder: &Path, files: &[RowFile]) -> io::Result<()> {
    let mut small: Vec<&RowFile> = files.iter().filter(|file| file.bytes() < FULL / 2).collect();
    while let Some(first) = small.last().copied() {
        let (alike, others): (Vec<&RowFile>, Vec<_>) = small.into_iter().partition(|file| file.is_alike(first));
        small = others;
        let (mut rows, mut bytes, mut seen, mut written) = (Vec::new(), 0, HashSet::new(), Vec::new());
        // What was written last is sound where something before it was not.
        for (file, row) in alike.iter().rev().flat_map(|file| (0..file.digests.len()).map(move |row| (file, row))) {
            let digest = file.digests[row];
            let Some(values) = file.read(row)?.filter(|_| seen.insert(digest)) else { continue };
            bytes += values.len() * size_of::<f32>();
            rows.push((digest, values));
            if bytes >= FULL {
                written.push(first.write_alike(folder, &std::mem::take(&mut rows))?);
                bytes = 0;
            }
        }
        if !rows.is_empty() {
            written.push(first.write_alike(folder, &rows)?);
        }
        // What is gone was merged by another run, too: rows that are there twice do no harm.
        let failed: Vec<io::Error> = alike.iter().filter_map(|file| fs::remove_file(&file.path).err()).collect();
        if let Some(why) = failed.into_iter().find(|e| e.kind() != io::ErrorKind::NotFound) {
            // They are another user's: the same rows are not to pile up with each run.
            written.iter().try_for_each(fs::remove_file)?;
            return Err(why);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_was_not_written_to_its_end_is_none() {
        let place = tempfile::tempdir().unwrap();
        let parts: [Part; 2] = [("a".into(), 2), (FACTS.into(), 1)];
        let rows: Vec<_> = (0u8..3).map(|i| ([i; HASH], vec![f32::from(i), 0.5, -1.])).collect();
        let whole = write(place.path(), &parts, &rows).unwrap();
        let bytes = fs::read(&whole).unwrap();
        let file = RowFile::open(&whole).unwrap().unwrap();
        assert_eq!(
            (0..3).map(|row| file.read(row).unwrap().unwrap()).collect::<Vec<_>>(),
            rows.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>()
        );
        for length in 0..bytes.len() {
            let cut = place.path().join("cut.rows");
            fs::write(&cut, &bytes[..length]).unwrap();
            assert!(RowFile::open(&cut).unwrap().is_none(), "{length}");
            // It goes, and what is whole is found.
            assert_eq!(row_files(place.path()).len(), 1, "{length}");
            assert!(!cut.exists() && whole.exists(), "{length}");
        }
    }

    #[test]
    fn a_folder_that_another_run_takes_away_is_made_again() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("of/a/shelf");
        let taken = Cell::new(false);
        let make = || {
            if !taken.replace(true) {
                fs::remove_dir(&folder)?;
            }
            File::create(folder.join("x"))
        };
        assert!(within(&folder, make).is_ok());
    }
}
