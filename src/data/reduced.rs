//! JPEG files decoded at a half, a quarter or an eighth of their size, where an image is made far smaller anyway: the
//! decoder then computes the low frequencies of each block alone, which is what averaging its pixels would leave.

use super::decode::{MAX_PIXELS, MAX_SIDE, Pixels, complete_jpeg};
use super::preprocess::Preprocessing;
use super::resample::resized;
use crate::guard::quietly;
use image::codecs::jpeg::JpegDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};
use std::io::Cursor;

/// What is decoded stays so many times as large as what it is resized to (Pillow's `reducing_gap` means the same): what the
/// image becomes is then off by 0.1 to 0.4 levels in the mean and 5 at most, at hard edges; with 2 it would be 12.
const GAP: u64 = 4;

/// The image, smaller; `None` where it is no such file, would not be made much smaller, or had better be decoded in full.
pub(super) fn decode(bytes: &[u8], p: &Preprocessing) -> Option<Pixels> {
    if !bytes.starts_with(&[0xff, 0xd8]) || p.color.has_alpha() {
        return None;
    }
    quietly(|| untrusted(bytes, p)).ok()?
}

fn untrusted(bytes: &[u8], p: &Preprocessing) -> Option<Pixels> {
    let mut decoder = Decoder::new(bytes);
    decoder.read_info().ok()?;
    let full = decoder.info()?;
    let (width, height) = (u32::from(full.width), u32::from(full.height));
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        return None;
    }
    let format = full.pixel_format;
    if !matches!(format, PixelFormat::L8 | PixelFormat::RGB24) || !complete_jpeg(bytes) {
        return None;
    }
    let orientation = JpegDecoder::new(Cursor::new(bytes)).ok()?.orientation().unwrap_or(Orientation::NoTransforms);
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let turned = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (rows, columns) = if turned { (width, height) } else { (height, width) };
    let (rows, columns) = resized(p.resize, rows, columns);
    let (rows, columns) = if turned { (columns, rows) } else { (rows, columns) };
    let side = |side: u64| u16::try_from(side.saturating_mul(GAP)).ok();
    let (columns, rows) = decoder.scale(side(columns)?, side(rows)?).ok()?;
    if (u32::from(columns), u32::from(rows)) == (width, height) {
        return None;
    }
    let values = decoder.decode().ok()?;
    let (columns, rows) = (columns.into(), rows.into());
    let mut image = match format {
        PixelFormat::L8 => DynamicImage::from(GrayImage::from_raw(columns, rows, values)?),
        _ => DynamicImage::from(RgbImage::from_raw(columns, rows, values)?),
    };
    image.apply_orientation(orientation);
    Some(if format == PixelFormat::L8 { Pixels::Gray(image.into_luma8()) } else { Pixels::Rgb(image.into_rgb8()) })
}
