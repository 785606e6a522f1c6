//! Image files to 8-bit pixels. The files are untrusted: sizes are bounded before anything is decoded.

use super::jpeg;
use super::preprocess::{Layout, Preprocessing, Resize, preprocess_reduced};
use crate::guard::quietly;
use image::codecs::png::PngEncoder;
use image::error::{LimitErrorKind, UnsupportedErrorKind};
use image::{
    ColorType, DynamicImage, ExtendedColorType, GrayAlphaImage, GrayImage, ImageDecoder, ImageEncoder, ImageError,
    ImageFormat, ImageReader, Limits, RgbImage, RgbaImage,
};
use std::fs;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::path::Path;

/// The most pixels that an image may have: the size at which Pillow warns of a decompression bomb.
pub const MAX_PIXELS: u64 = 89_478_485;
/// The longest side in pixels, which JPEG cannot exceed either: the resampling weights grow with it.
pub const MAX_SIDE: u32 = 65_535;
/// The largest file, and the most that a decoder may allocate, in bytes: 8 bytes a pixel at 67 megapixels.
pub(super) const MAX_BYTES: u64 = 512 << 20;

/// A decoded image, 8 bits a value. Grey files stay grey, so that they are resized once and not three times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pixels {
    /// Three values a pixel: red, green, blue.
    Rgb(RgbImage),
    /// One value a pixel, which stands for all three.
    Gray(GrayImage),
    /// As `Rgb` with the opacity behind.
    Rgba(RgbaImage),
    /// As `Gray` with the opacity behind.
    GrayAlpha(GrayAlphaImage),
}

impl Pixels {
    /// Width in pixels.
    pub fn width(&self) -> u32 {
        match self {
            Pixels::Rgb(image) => image.width(),
            Pixels::Gray(image) => image.width(),
            Pixels::Rgba(image) => image.width(),
            Pixels::GrayAlpha(image) => image.width(),
        }
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        match self {
            Pixels::Rgb(image) => image.height(),
            Pixels::Gray(image) => image.height(),
            Pixels::Rgba(image) => image.height(),
            Pixels::GrayAlpha(image) => image.height(),
        }
    }

    /// How many values a pixel has here: 3 or 1, and one more with the opacity.
    pub fn channels(&self) -> usize {
        match self {
            Pixels::Rgb(_) => 3,
            Pixels::Gray(_) => 1,
            Pixels::Rgba(_) => 4,
            Pixels::GrayAlpha(_) => 2,
        }
    }

    /// In colour, without opacity.
    pub fn to_rgb(self) -> RgbImage {
        match self {
            Pixels::Rgb(image) => image,
            Pixels::Gray(image) => DynamicImage::from(image).into_rgb8(),
            Pixels::Rgba(image) => DynamicImage::from(image).into_rgb8(),
            Pixels::GrayAlpha(image) => DynamicImage::from(image).into_rgb8(),
        }
    }

    /// As the content of a PNG file.
    ///
    /// # Errors
    /// What the encoder says.
    pub fn to_png(&self) -> Result<Vec<u8>, String> {
        let color = match self {
            Pixels::Rgb(_) => ColorType::Rgb8,
            Pixels::Gray(_) => ColorType::L8,
            Pixels::Rgba(_) => ColorType::Rgba8,
            Pixels::GrayAlpha(_) => ColorType::La8,
        };
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new(&mut bytes);
        let written = encoder.write_image(self.values(), self.width(), self.height(), color.into());
        written.map(|()| bytes).map_err(|e| e.to_string())
    }

    /// The values, row after row from the top left: height * width * channels.
    pub fn values(&self) -> &[u8] {
        match self {
            Pixels::Rgb(image) => image.as_raw(),
            Pixels::Gray(image) => image.as_raw(),
            Pixels::Rgba(image) => image.as_raw(),
            Pixels::GrayAlpha(image) => image.as_raw(),
        }
    }
}

/// Reads and decodes the image file at `path`; see [`decode_bytes`].
///
/// # Errors
/// A short reason when the file cannot be read, is not a regular file, or does not decode.
pub fn decode(path: &Path) -> Result<Pixels, String> {
    decode_bytes(&read(path)?)
}

/// As [`decode`], with the opacity: that of an image which has none is full, 255.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_alpha(path: &Path) -> Result<Pixels, String> {
    guarded(&read(path)?, true)
}

pub(super) fn open(path: &Path) -> Result<BufReader<fs::File>, String> {
    let meta = fs::metadata(path).map_err(io_reason)?;
    // Opening a pipe would wait for its writer forever.
    if !meta.is_file() {
        return Err("not a regular file".into());
    }
    if meta.len() > MAX_BYTES {
        return Err(format!("file of more than {} MiB", MAX_BYTES >> 20));
    }
    fs::File::open(path).map(BufReader::new).map_err(io_reason)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut file = open(path)?.into_inner();
    let mut bytes = Vec::with_capacity(file.metadata().map_err(io_reason)?.len() as usize);
    file.by_ref().take(MAX_BYTES).read_to_end(&mut bytes).map_err(io_reason)?;
    Ok(bytes)
}

/// The format, and height and width, that an image's header tells.
pub(super) fn look(file: impl BufRead + Seek) -> Result<(String, [u32; 2]), String> {
    let reader = ImageReader::new(file).with_guessed_format().map_err(io_reason)?;
    let format = reader.format().ok_or("not an image")?;
    let name = format.extensions_str().first().copied().unwrap_or_default().to_owned();
    let size = quietly(|| reader.into_dimensions()).map_err(|_| "the decoder failed")?;
    size.map(|(width, height)| (name, [height, width])).map_err(reason)
}

/// Decodes an image file's content: JPEG, PNG, WebP, BMP, GIF (its first frame) or TIFF, told by the content itself.
///
/// The EXIF orientation is applied, 16-bit values become round(x / 257), palettes are expanded, and alpha is dropped
/// without blending, as Pillow's `convert('RGB')` does.
///
/// # Errors
/// A short reason: "empty file", "not an image", "truncated", "too large: ...", or what the decoder said.
pub fn decode_bytes(bytes: &[u8]) -> Result<Pixels, String> {
    guarded(bytes, false)
}

pub(super) fn guarded(bytes: &[u8], alpha: bool) -> Result<Pixels, String> {
    if bytes.is_empty() {
        return Err("empty file".into());
    }
    // A decoder's panic on a damaged file must cost that image only, not the run.
    quietly(|| decode_untrusted(bytes, alpha)).unwrap_or_else(|_| Err("the decoder failed".into()))
}

/// An image that may have been decoded at a reduced scale, because it is to become far smaller still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    /// Its pixels.
    pub pixels: Pixels,
    /// What they are of the image itself.
    pub frame: Frame,
}

/// Where an image's own pixels lie in those that were decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Rows and columns that the image itself has.
    pub size: [u32; 2],
    /// How many of them, in each direction, a decoded one stands for.
    pub by: u32,
    /// Rows above and columns left of it that the first decoded ones stand for as well.
    pub over: [u32; 2],
}

impl Frame {
    /// Of an image that is not reduced.
    pub fn of(pixels: &Pixels) -> Frame {
        Frame { size: [pixels.height(), pixels.width()], by: 1, over: [0; 2] }
    }
}

impl Reduced {
    /// Writes the model's input for the image into `out`, as [`super::preprocess()`] does.
    ///
    /// # Errors
    /// Those of [`super::preprocess()`].
    pub fn values(&self, p: &Preprocessing, layout: Layout, out: &mut [f32]) -> Result<(), String> {
        preprocess_reduced(&self.pixels, self.frame, p, layout, out)
    }
}

impl From<Pixels> for Reduced {
    fn from(pixels: Pixels) -> Reduced {
        Reduced { frame: Frame::of(&pixels), pixels }
    }
}

/// As [`guarded`], for an image that will be resized so with an antialiasing filter.
pub(super) fn guarded_for(bytes: &[u8], alpha: bool, resize: Resize) -> Result<Reduced, String> {
    match quietly(|| jpeg::reduced(bytes, resize)) {
        Ok(Some(image)) => Ok(image),
        // What that decoder does not take, the complete one may; what is wrong, it says.
        _ => guarded(bytes, alpha).map(Reduced::from),
    }
}

fn decode_untrusted(bytes: &[u8], alpha: bool) -> Result<Pixels, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(io_reason)?;
    let format = reader.format().ok_or("not an image")?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    let reader = {
        let mut reader = reader;
        reader.limits(limits.clone());
        reader
    };
    let mut decoder = reader.into_decoder().map_err(reason)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || width.max(height) > MAX_SIDE {
        return Err(format!("too large: {width}x{height} pixels"));
    }
    if width == 0 || height == 0 {
        return Err("no pixels".into());
    }
    // The JPEG decoder fills what is missing with grey and reports success.
    if format == ImageFormat::Jpeg && !jpeg::is_complete(bytes) {
        return Err("truncated".into());
    }
    limits.reserve(decoder.total_bytes()).map_err(reason)?;
    decoder.set_limits(limits).map_err(reason)?;
    // A damaged EXIF block does not make the pixels unusable.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(reason)?;
    image.apply_orientation(orientation);
    let gray = matches!(image.color(), ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16);
    Ok(match (gray, alpha) {
        (true, false) => Pixels::Gray(image.into_luma8()),
        (true, true) => Pixels::GrayAlpha(image.into_luma_alpha8()),
        (false, false) => Pixels::Rgb(image.into_rgb8()),
        (false, true) => Pixels::Rgba(image.into_rgba8()),
    })
}

pub(super) fn io_reason(error: std::io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "truncated".into(),
        _ => error.to_string(),
    }
}

fn reason(error: ImageError) -> String {
    if let ImageError::Limits(limit) = &error {
        return match limit.kind() {
            LimitErrorKind::DimensionError => "too large: more pixels than are allowed".into(),
            _ => "too large: more memory than is allowed".into(),
        };
    }
    if let ImageError::Unsupported(unsupported) = &error {
        let what = match unsupported.kind() {
            UnsupportedErrorKind::Color(ExtendedColorType::Unknown(bits)) => format!("pixels of {bits} bits"),
            UnsupportedErrorKind::GenericFeature(what) => what.chars().take(120).collect(),
            other => format!("{other:?}"),
        };
        return format!("a kind of {} file that is not read ({what}); save it as PNG", unsupported.format_hint());
    }
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(cause) = source {
        if cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::UnexpectedEof) {
            return "truncated".into();
        }
        source = cause.source();
    }
    let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    // The decoders' words for a file that ends too early.
    if ["unexpected end", "unexpected eof", "failed to fill whole buffer", "not enough bytes"]
        .iter()
        .any(|words| text.to_lowercase().contains(words))
    {
        return "truncated".into();
    }
    text.chars().take(200).collect()
}
