//! JPEG files: whether they are complete, and their pixels at a reduced scale where they are to become far smaller.

use super::decode::{Frame, MAX_BYTES, MAX_PIXELS, Pixels, Reduced};
use super::preprocess::Resize;
use super::resample::resized;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};

/// The scales: a half, a quarter. The crate's eighth rounds down.
const REDUCTIONS: [u32; 2] = [4, 2];
/// How many times smaller a reduced image must still become. Colours, of which files mostly have half the resolution, are then
/// shrunk twice by the filter, which hides how a decoder shrinks (`docs/preprocessing.md` has the differences).
const STILL: u64 = 4;

/// A JPEG file's pixels at a half or a quarter of its size, if it will be resized to far less than that; `None` for all others,
/// and where anything is unusual.
pub(super) fn reduced(bytes: &[u8], resize: Resize) -> Option<Reduced> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return None;
    }
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(MAX_BYTES as usize);
    decoder.read_info().ok()?;
    let info = decoder.info().filter(|info| matches!(info.pixel_format, PixelFormat::L8 | PixelFormat::RGB24))?;
    let orientation = decoder.exif_data().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let size = turned(orientation, [height, width]);
    let (rows, columns) = resized(resize, size[0], size[1]);
    let far = |from: u32, to: u64, by: u32| u64::from(from) >= to.saturating_mul(u64::from(by) * STILL);
    let by = REDUCTIONS.into_iter().find(|&by| far(size[0], rows, by) && far(size[1], columns, by))?;
    if u64::from(width) * u64::from(height) > MAX_PIXELS || !is_complete(bytes) {
        return None;
    }
    let frame =
        Frame { size, by, over: over(orientation, [height, width].map(|side| side.next_multiple_of(by) - side)) };
    let (width, height) = decoder.scale(info.width.div_ceil(by as u16), info.height.div_ceil(by as u16)).ok()?;
    let values = decoder.decode().ok()?;
    let (width, height) = (u32::from(width), u32::from(height));
    let mut image: DynamicImage = match info.pixel_format {
        PixelFormat::L8 => GrayImage::from_raw(width, height, values)?.into(),
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, values)?.into(),
        _ => return None,
    };
    image.apply_orientation(orientation);
    let pixels = match image {
        DynamicImage::ImageLuma8(image) => Pixels::Gray(image),
        image => Pixels::Rgb(image.into_rgb8()),
    };
    Some(Reduced { pixels, frame })
}

/// Height and width after the turn.
fn turned(orientation: Orientation, [height, width]: [u32; 2]) -> [u32; 2] {
    match orientation {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            [width, height]
        }
        _ => [height, width],
    }
}

/// What is over at the top and the left after the turn, of what is over at the bottom and the right before it: a file's last
/// pixels, reduced, stand for more than it has.
fn over(orientation: Orientation, [bottom, right]: [u32; 2]) -> [u32; 2] {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => [0, 0],
        Orientation::FlipHorizontal => [0, right],
        Orientation::FlipVertical => [bottom, 0],
        Orientation::Rotate180 => [bottom, right],
        Orientation::Rotate90 => [0, bottom],
        Orientation::Rotate270 => [right, 0],
        Orientation::Rotate270FlipH => [right, bottom],
    }
}

/// Whether a JPEG's markers lead to its end marker. Searching for the last FF D9 would not do: thumbnails hold one.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Whatever is not a marker here is entropy-coded data: FF 00 is a data byte, D0 to D7 are restarts inside it.
        let Some(offset) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) else {
            return false;
        };
        at += offset + 1;
        match bytes.get(at) {
            None => return false,
            Some(0xd9) => return true,
            Some(0xff) => {}
            Some(0x00 | 0x01 | 0xd0..=0xd8) => at += 1,
            Some(_) => match bytes.get(at + 1..at + 3) {
                Some(&[high, low]) => at += 1 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        }
    }
}
