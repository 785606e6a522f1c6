//! Antialiased resizing of 8-bit images as Pillow does it, computing only the part that the crop keeps.

use super::decode::{Frame, MAX_PIXELS, Pixels};
use super::preprocess::{Filter, Preprocessing, Resize};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use std::cell::RefCell;

/// A thread gives a larger buffer back, so that one huge image does not hold memory until the end.
const KEPT_BYTES: usize = 64 << 20;

/// How many pixels the widest filter reaches to each side, at equal sizes: Lanczos.
const REACH: f64 = 3.0;

thread_local! {
    // Callers decode on several threads; each keeps its own buffers for the next image.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// One axis: which pixels of the resized image are kept, where they go, and which part of the source they come from.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// Length of the source in pixels.
    source: u32,
    /// First source position, and how far it reaches: fractions of pixels.
    start: f64,
    length: f64,
    /// How many pixels are computed, and after how many of padding they are placed.
    kept: u32,
    pad: u32,
}

impl Axis {
    fn new(source: u32, resized: u64, out: u32) -> Axis {
        let kept = resized.min(u64::from(out)) as u32;
        let scale = f64::from(source) / resized as f64;
        let start = (resized - u64::from(kept)) / 2;
        let start = (start as f64 * scale).min(f64::from(source));
        let length = (f64::from(kept) * scale).min(f64::from(source) - start);
        Axis { source, start, length, kept, pad: (out - kept) / 2 }
    }

    /// The same part of a source that was decoded with so many pixels, each of which stands for `by`, the first for `over` outside
    /// as well.
    fn reduced(self, pixels: u32, by: u32, over: u32) -> Axis {
        let start = (self.start + f64::from(over)) / f64::from(by);
        Axis { source: pixels, start, length: (self.length / f64::from(by)).min(f64::from(pixels) - start), ..self }
    }
}

/// The computed rectangle of the result; the rest is padding.
#[derive(Debug, Clone)]
pub(super) struct Patch {
    /// Its values, row after row: height * width * channels.
    pub values: Vec<u8>,
    /// Size in pixels.
    pub height: u32,
    /// Size in pixels.
    pub width: u32,
    /// Rows of padding above it.
    pub top: u32,
    /// Columns of padding left of it.
    pub left: u32,
}

/// Resizes and crops `image`, whose pixels are what `frame` says, as `p` says. The resized image itself is never made: a 1x60000
/// image whose shorter side is to be 256 would be 15 million pixels tall.
pub(super) fn resample(image: &Pixels, frame: Frame, p: &Preprocessing) -> Result<Patch, String> {
    let [height, width] = frame.size;
    if width == 0 || height == 0 {
        return Err("no pixels".into());
    }
    let (out_height, out_width) = p.size();
    let (resized_height, resized_width) = resized(p.resize, height, width);
    // These two weigh pixels by a threshold, where rounding of the crop's position would choose another pixel than
    // resizing everything does; for the others that rounding is far below a level.
    let exact = matches!(p.filter, Filter::Nearest | Filter::Box) && resized_height * resized_width <= MAX_PIXELS;
    let axis = |source, resized: u64, out| Axis::new(source, resized, if exact { resized as u32 } else { out });
    let (y, x) = (axis(height, resized_height, out_height), axis(width, resized_width, out_width));
    let mut values = convolved(
        image,
        p.filter,
        y.reduced(image.height(), frame.by, frame.over[0]),
        x.reduced(image.width(), frame.by, frame.over[1]),
    )?;
    let (y, x) = (Axis::new(height, resized_height, out_height), Axis::new(width, resized_width, out_width));
    if exact {
        let (rows, columns) = ((resized_height - u64::from(y.kept)) / 2, (resized_width - u64::from(x.kept)) / 2);
        let channels = image.channels();
        let rows = values.chunks_exact(resized_width as usize * channels).skip(rows as usize).take(y.kept as usize);
        let columns = columns as usize * channels..(columns as usize + x.kept as usize) * channels;
        values = rows.flat_map(|row| &row[columns.clone()]).copied().collect();
    }
    Ok(Patch { values, height: y.kept, width: x.kept, top: y.pad, left: x.pad })
}

/// Resizes the part of `image` that `crop` names (first row, first column, height, width) to `size` (height, width), as
/// Pillow's `resize` does with a `box`: pixels just outside weigh in at the borders.
pub(super) fn resample_box(
    image: &Pixels,
    filter: Filter,
    [top, left, height, width]: [u32; 4],
    size: (u32, u32),
) -> Result<Vec<u8>, String> {
    let axis = |source: u32, start: u32, length: u32, kept| {
        let inside = length > 0 && start.checked_add(length).is_some_and(|end| end <= source);
        let (start, length) = (f64::from(start), f64::from(length));
        inside.then_some(Axis { source, start, length, kept, pad: 0 }).ok_or("the crop is not inside the image")
    };
    let (y, x) = (axis(image.height(), top, height, size.0)?, axis(image.width(), left, width, size.1)?);
    convolved(image, filter, y, x)
}

fn convolved(image: &Pixels, filter: Filter, y: Axis, x: Axis) -> Result<Vec<u8>, String> {
    let values = RESIZER.with_borrow_mut(|resizer| {
        let values = convolve(resizer, image, filter, y, x);
        if resizer.size_of_internal_buffers() > KEPT_BYTES {
            resizer.reset_internal_buffers();
        }
        values
    });
    values.map_err(|e| format!("cannot be resized: {e}"))
}

/// Height and width after resizing. The longer side is truncated, as torchvision's Resize does.
pub(super) fn resized(resize: Resize, height: u32, width: u32) -> (u64, u64) {
    let (h, w) = (u64::from(height), u64::from(width));
    match resize {
        Resize::None => (h, w),
        Resize::Exact { height, width } => (height.into(), width.into()),
        Resize::Shortest(edge) => {
            let edge = u64::from(edge);
            if h <= w { (edge, edge * w / h) } else { (edge * h / w, edge) }
        }
        Resize::Longest(edge) => {
            let edge = u64::from(edge);
            // Something is left of any image.
            if h >= w { (edge, (edge * w / h).max(1)) } else { ((edge * h / w).max(1), edge) }
        }
    }
}

fn convolve(resizer: &mut Resizer, image: &Pixels, filter: Filter, y: Axis, x: Axis) -> Result<Vec<u8>, String> {
    let kind = match image.channels() {
        1 => PixelType::U8,
        2 => PixelType::U8x2,
        3 => PixelType::U8x3,
        _ => PixelType::U8x4,
    };
    let source = ImageRef::new(x.source, y.source, image.values(), kind).map_err(|e| e.to_string())?;
    // Pillow filters along rows first and rounds to 8 bits in between, which clips what a bicubic overshoots: the other
    // order, the library's own, is off by up to 11 levels at sharp edges. Only rows that the columns need are filtered.
    let reach = REACH * (y.length / f64::from(y.kept)).max(1.0) + 1.0;
    let first = (y.start - reach).floor().max(0.0);
    let rows = ((y.start + y.length + reach).ceil().min(f64::from(y.source)) - first) as u32;
    if u64::from(rows) * u64::from(x.kept) > MAX_PIXELS {
        // A tall image made much wider: an intermediate larger than any image we accept. Columns first is small then.
        return pass(resizer, &source, kind, filter, y, x);
    }
    let band = Axis { start: first, length: f64::from(rows), kept: rows, ..y };
    let band = pass(resizer, &source, kind, filter, band, x)?;
    let band = ImageRef::new(x.kept, rows, &band, kind).map_err(|e| e.to_string())?;
    let y = Axis { source: rows, start: y.start - first, ..y };
    pass(resizer, &band, kind, filter, y, Axis { start: 0.0, length: f64::from(x.kept), ..x })
}

fn pass(
    resizer: &mut Resizer,
    source: &ImageRef,
    kind: PixelType,
    filter: Filter,
    y: Axis,
    x: Axis,
) -> Result<Vec<u8>, String> {
    let mut out = Image::new(x.kept, y.kept, kind);
    let algorithm = match filter {
        Filter::Nearest => ResizeAlg::Nearest,
        Filter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Filter::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Filter::Lanczos => ResizeAlg::Convolution(FilterType::Lanczos3),
        Filter::Box => ResizeAlg::Convolution(FilterType::Box),
        Filter::Hamming => ResizeAlg::Convolution(FilterType::Hamming),
    };
    let options =
        ResizeOptions::new().resize_alg(algorithm).crop(x.start, y.start, x.length, y.length).use_alpha(false);
    resizer.resize(source, &mut out, &options).map_err(|e| e.to_string())?;
    Ok(out.into_vec())
}
