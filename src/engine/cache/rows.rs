//! A file of rows of features: who they are of, and a checksum of each.

use super::{EXTENSION, WIDEST};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

const MAGIC: &[u8; 8] = b"adaptft1";
const HASH: usize = 32;
const CHECK: usize = 8;

/// The SHA-256 of an image's content.
pub type ContentHash = [u8; HASH];

/// A file of rows.
pub(super) struct RowFile {
    file: Mutex<(File, bool)>,
    pub width: usize,
    pub digests: Vec<ContentHash>,
}

impl RowFile {
    /// Reads which images are in it; `None` where it is damaged.
    pub fn open(path: &Path) -> Option<RowFile> {
        let mut file = File::options().read(true).open(path).ok()?;
        let size = file.metadata().ok()?.len();
        let mut head = [0; MAGIC.len() + 8];
        file.read_exact(&mut head).ok()?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap_or_default()) as usize;
        let (width, count) = (number(MAGIC.len()), number(MAGIC.len() + 4));
        let whole =
            width > 0 && width <= WIDEST && size == (head.len() + count * HASH + CHECK + count * stride(width)) as u64;
        if &head[..MAGIC.len()] != MAGIC || !whole {
            return None;
        }
        let mut table = vec![0; count * HASH + CHECK];
        file.read_exact(&mut table).ok()?;
        let (digests, sum) = table.split_at(count * HASH);
        (check(&[&head, digests]) == sum).then(|| RowFile {
            file: Mutex::new((file, false)),
            width,
            digests: digests.as_chunks().0.to_vec(),
        })
    }

    /// A row; `None` where it is damaged.
    pub fn read(&self, row: usize) -> Option<Vec<f32>> {
        let start = MAGIC.len() + 8 + self.digests.len() * HASH + CHECK + row * stride(self.width);
        let mut bytes = vec![0; stride(self.width)];
        {
            let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let (file, used) = &mut *guard;
            if !std::mem::replace(used, true) {
                // Only for the order in which files go.
                let _ = file.set_modified(SystemTime::now());
            }
            file.seek(SeekFrom::Start(start as u64)).and_then(|_| file.read_exact(&mut bytes)).ok()?;
        }
        let (values, sum) = bytes.split_at(self.width * size_of::<f32>());
        let sound = check(&[&self.digests[row], values]) == sum;
        sound.then(|| values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }
}

/// Bytes of a row with its checksum.
fn stride(width: usize) -> usize {
    width * size_of::<f32>() + CHECK
}

fn check(parts: &[&[u8]]) -> [u8; CHECK] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    *hash.finalize().first_chunk().expect("a hash is longer")
}

/// Magic, width and count; the images' hashes and a checksum of all this; the rows, each with its own.
pub(super) fn write(folder: &Path, new: &[(ContentHash, Vec<f32>)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut head = MAGIC.to_vec();
    for number in [new[0].1.len(), new.len()] {
        head.extend((number as u32).to_le_bytes());
    }
    new.iter().for_each(|(digest, _)| head.extend(digest));
    head.extend(check(&[&head]));
    let mut file = tempfile::Builder::new().prefix(".new").tempfile_in(folder)?;
    let mut writer = io::BufWriter::new(file.as_file_mut());
    writer.write_all(&head)?;
    for (digest, row) in new {
        let values: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        writer.write_all(&values)?;
        writer.write_all(&check(&[digest, &values]))?;
    }
    writer.flush()?;
    drop(writer);
    let name = file.path().file_name().map(|name| name.to_string_lossy().trim_start_matches('.').to_owned());
    let target = folder.join(name.unwrap_or_default()).with_extension(EXTENSION);
    file.persist_noclobber(target).map(|_| ()).map_err(|e| e.error)
}
