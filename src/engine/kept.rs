//! What a frozen part gave for a list of images, kept for the epochs of training behind it.

use crate::error::{Error, Result};
use memmap2::Mmap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// One row of values an image: in memory, or in a file without a name, which is gone when this is, however that ends.
pub struct KeptRows {
    width: usize,
    values: Values,
}

enum Values {
    Memory(Vec<f32>),
    Mapped(Mmap),
}

impl KeptRows {
    /// Puts row `place` behind `out`.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn read(&self, place: usize, out: &mut Vec<f32>) {
        let values = place * self.width..(place + 1) * self.width;
        match &self.values {
            Values::Memory(all) => out.extend_from_slice(&all[values]),
            Values::Mapped(bytes) => {
                let values = bytes[values.start * 4..values.end * 4].as_chunks().0;
                out.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
            }
        }
    }
}

/// Rows that are being collected.
pub(super) struct Keeper {
    width: usize,
    sink: Sink,
}

enum Sink {
    Memory(Vec<f32>),
    File(BufWriter<std::fs::File>, PathBuf),
}

impl Keeper {
    /// For rows of `width` values; in a file in `folder`, where one is given.
    pub(super) fn new(width: usize, folder: Option<&Path>) -> Result<Keeper> {
        let file = |folder: &Path| {
            let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
            Ok(Sink::File(BufWriter::new(file), folder.to_path_buf()))
        };
        Ok(Keeper { width, sink: folder.map_or(Ok(Sink::Memory(Vec::new())), file)? })
    }

    /// Keeps the end of an image's row, and gives the rest back.
    pub(super) fn take<'a>(&mut self, row: &'a [f32]) -> Result<&'a [f32]> {
        let short =
            || Error::Engine(format!("the frozen part gives {} values an image, not {}", row.len(), self.width));
        let rest = row.len().checked_sub(self.width).ok_or_else(short)?;
        let (rest, values) = row.split_at(rest);
        match &mut self.sink {
            Sink::Memory(all) => all.extend_from_slice(values),
            Sink::File(file, folder) => {
                let mut values = values.iter();
                values.try_for_each(|value| file.write_all(&value.to_le_bytes())).map_err(Error::io(&*folder))?;
            }
        }
        Ok(rest)
    }

    pub(super) fn done(self) -> Result<KeptRows> {
        let values = match self.sink {
            Sink::Memory(all) => Values::Memory(all),
            Sink::File(file, folder) => {
                let file = file.into_inner().map_err(|e| Error::io(&folder)(e.into_error()))?;
                if file.metadata().map_err(Error::io(&folder))?.len() == 0 {
                    // No map has nothing in it.
                    return Ok(KeptRows { width: self.width, values: Values::Memory(Vec::new()) });
                }
                // Sound: the file has no name, so nobody else can change it, and this program only reads it from now on.
                Values::Mapped(unsafe { Mmap::map(&file) }.map_err(Error::io(&folder))?)
            }
        };
        Ok(KeptRows { width: self.width, values })
    }
}
