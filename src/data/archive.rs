//! A zip file of images, read without unpacking it.

use super::decode::{MAX_BYTES, io_reason};
use super::records::MOST_IMAGES;
use super::scan::{BATCH, Listing, beginning, has_extension, is_image_name, split_of};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// Methods of compression by their numbers, as PKWARE's APPNOTE.TXT (4.4.5) has them.
const METHODS: [(u16, &str); 8] = [
    (1, "Shrink"),
    (6, "Implode"),
    (9, "Deflate64"),
    (12, "bzip2"),
    (14, "LZMA"),
    (93, "Zstandard"),
    (95, "XZ"),
    (98, "PPMd"),
];

/// The same of what says that a member is encrypted.
const AES: u16 = 99;

/// A zip file and its members.
#[derive(Debug)]
pub(super) struct Archive {
    /// What stands before the members' names in the paths of images.
    prefix: String,
    zip: Mutex<ZipArchive<BufReader<File>>>,
    places: HashMap<String, usize>,
}

/// Whether a file calls itself one, or begins as one.
pub(super) fn is_archive(path: &Path) -> bool {
    has_extension(path, &["zip"]) && path.is_file() || beginning(path).starts_with(b"PK\x03\x04")
}

/// Why a member cannot be read, and what to do.
fn reason(error: ZipError) -> String {
    let again = "unpack the zip file and give the folder, or pack it with deflate";
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::CompressionMethodNotSupported(AES) => {
            "encrypted; unpack the zip file with its password and give the folder".into()
        }
        ZipError::CompressionMethodNotSupported(number) => match METHODS.iter().find(|(own, _)| *own == number) {
            Some((_, name)) => format!("compressed with {name}, which is not read; {again}"),
            None => format!("compressed by the method {number}, which is not read; {again}"),
        },
        other => other.to_string(),
    }
}

/// All of a member, which may lie when it says its size.
fn bounded(member: impl Read) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = member.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.downcast::<ZipError>().map_or_else(io_reason, reason))?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(format!("unpacks to more than {} MiB", MAX_BYTES >> 20)),
        false => Ok(bytes),
    }
}

/// A member's name with `/` between its parts, as some programs of Windows do not write it, without a root, and without the
/// `./` that others begin it with.
fn usual(name: &str) -> String {
    let parts = name.split(['/', '\\']).filter(|part| *part != ".");
    parts.collect::<Vec<_>>().join("/").trim_start_matches('/').into()
}

impl Archive {
    /// Reads the table of members.
    ///
    /// # Errors
    /// [`Error::Data`] where there is none; [`Error::Interrupted`].
    pub(super) fn open(path: &Path, prefix: String, progress: Progress) -> Result<Archive> {
        emit(progress, Event::Stage { name: "listing images", total: 0 })?;
        let file = File::open(path).map_err(Error::io(path))?;
        let zip = ZipArchive::new(BufReader::new(file));
        let zip = zip.map_err(|e| Error::data(path, format!("not a zip file, or cut short ({e}); make it again")))?;
        // Its own reader takes no more than fit into the file.
        if zip.len() as u64 > MOST_IMAGES {
            return Err(Error::data(
                path,
                format!("has {} members; at most {MOST_IMAGES} are read: split it", zip.len()),
            ));
        }
        let mut places = HashMap::new();
        for place in 0..zip.len() {
            places.extend(zip.name_for_index(place).and_then(|name| Some((usual(&name.ok()?), place))));
            if (place as u64 + 1).is_multiple_of(BATCH) {
                emit(progress, Event::Advance(BATCH))?;
            }
        }
        // A folder that is all of it.
        places.remove("");
        Ok(Archive { prefix, zip: Mutex::new(zip), places })
    }

    /// The members that are images by their names, in order of the names; what is hidden, or a Mac's own, is none.
    pub(super) fn images(&self) -> BTreeSet<&str> {
        let hidden = |name: &str| name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
        // A folder has an entry of its own, which may be called as an image is.
        let image = |name: &&str| is_image_name(name) && !name.ends_with('/') && !hidden(name);
        self.places.keys().map(String::as_str).filter(image).collect()
    }

    /// The path that stands for a member.
    pub(super) fn path(&self, member: &str) -> String {
        format!("{}{member}", self.prefix)
    }

    /// Whether a path stands for a member.
    pub(super) fn has(&self, path: &str) -> bool {
        path.strip_prefix(&self.prefix).is_some_and(|member| self.places.contains_key(member))
    }

    /// The content of the member that a path stands for.
    pub(super) fn read(&self, path: &str) -> std::result::Result<Vec<u8>, String> {
        let place = path.strip_prefix(&self.prefix).and_then(|member| self.places.get(member));
        let place = *place.ok_or("not in the zip file")?;
        let mut zip = self.zip.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = zip.by_index_raw(place).map_err(reason)?;
        if packed.encrypted() || packed.compression() != CompressionMethod::Deflated {
            drop(packed);
            return bounded(zip.by_index(place).map_err(reason)?);
        }
        let (crc, packed) = (packed.crc32(), bounded(packed)?);
        drop(zip);
        // Behind the lock, so that all threads inflate at the same time.
        let mut member = CrcReader::new(DeflateDecoder::new(&packed[..]));
        let bytes = bounded(&mut member)?;
        if member.crc().sum() == crc { Ok(bytes) } else { Err("damaged: its checksum is another".into()) }
    }

    /// The images by split and class, as those of a folder. A folder around all classes is passed over; images beside these, as a
    /// cover, are in none.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(super) fn list(&self, progress: Progress) -> Result<Listing> {
        let images: Vec<(&str, Vec<&str>)> =
            self.images().iter().map(|name| (*name, name.split('/').collect())).collect();
        // How many folders there are where there is not one.
        let folders = |level: usize| {
            let names = images.iter().filter(|(_, parts)| parts.len() > level + 1).map(|(_, parts)| parts[level]);
            names.collect::<BTreeSet<_>>().len()
        };
        let several = (0..).map(folders).find(|&count| count != 1).is_some_and(|count| count > 1);
        let around = |depth: usize| {
            let below = images.iter().filter(|(_, parts)| parts.len() > depth + 1);
            // Where one lies in the other to the end, a folder with images is a class.
            let inner = below.clone().any(|(_, parts)| parts.len() > depth + 2);
            let direct = below.clone().any(|(_, parts)| parts.len() == depth + 2);
            let classes = inner && (several || !direct);
            let mut firsts = below.map(|(_, parts)| parts[depth]);
            let first = firsts.next().filter(|first| classes && split_of(first).is_none())?;
            firsts.all(|other| other == first).then_some(())
        };
        let depth = (0..).find(|&depth| around(depth).is_none()).unwrap_or(0);
        let train = |parts: &[&str]| parts.len() > depth + 2 && split_of(parts[depth]) == Some(super::Split::Train);
        let split_form = images.iter().any(|(_, parts)| train(parts));
        let mut listing = Listing { split_form, ..Listing::default() };
        for (number, (name, parts)) in (1u64..).zip(&images) {
            match parts.get(depth..) {
                Some(parts) if !parts.is_empty() => listing.image(parts, self.path(name)),
                _ => listing.loose += 1,
            }
            if number.is_multiple_of(BATCH) {
                // They are counted already.
                emit(progress, Event::Advance(0))?;
            }
        }
        listing.ignored.dedup();
        let files = self.places.keys().filter(|name| !name.ends_with('/')).count();
        listing.others = (files - images.len()) as u64;
        Ok(listing)
    }
}
