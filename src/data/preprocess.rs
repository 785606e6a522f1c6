//! From decoded pixels to the values of a model's input: resize, crop, scale, normalise.

use super::decode::{Frame, Pixels};
use super::resample::resample;
use super::values::{suited, write};
use serde::{Deserialize, Serialize};

/// ImageNet's mean of each of red, green, blue, in 0 to 1.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's standard deviation of each of red, green, blue, in 0 to 1.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// The longest side in pixels that an image may be resized or cropped to.
pub const MAX_SIZE: u32 = 8192;

/// Which values a pixel of the result has, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red. Mean and std stay in the order red, green, blue.
    Bgr,
    /// One value: Pillow's luma of a colour image.
    Gray,
    /// Red, green, blue, opacity. Opacity is resized as a colour is; images without it are opaque.
    Rgba,
    /// Luma and opacity.
    GrayAlpha,
}

impl Color {
    /// How many values a pixel has.
    pub fn channels(self) -> usize {
        match self {
            Color::Gray => 1,
            Color::GrayAlpha => 2,
            Color::Rgb | Color::Bgr => 3,
            Color::Rgba => 4,
        }
    }

    /// Whether the last value of a pixel is its opacity.
    pub fn has_alpha(self) -> bool {
        matches!(self, Color::Rgba | Color::GrayAlpha)
    }

    /// What a model with so many channels most likely takes; `None` for other numbers than 1 to 4.
    pub fn of(channels: usize) -> Option<Color> {
        [Color::Gray, Color::GrayAlpha, Color::Rgb, Color::Rgba].into_iter().find(|color| color.channels() == channels)
    }
}

/// How pixels are weighted when an image is resized; all but `Nearest` widen when shrinking, so nothing aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The one nearest pixel; Pillow's number 0.
    Nearest,
    /// Linear interpolation; Pillow's number 2.
    Bilinear,
    /// Cubic interpolation with a = -0.5; Pillow's number 3.
    Bicubic,
    /// Windowed sinc over three lobes; Pillow's number 1.
    Lanczos,
    /// The mean of the covered pixels; Pillow's number 4.
    Box,
    /// As `Bilinear` but sharper; Pillow's number 5.
    Hamming,
}

/// What an image is resized to before the crop, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// It keeps its size.
    None,
    /// The shorter side becomes this; the longer keeps the proportion, truncated.
    Shortest(u32),
    /// The longer side becomes this; the shorter keeps the proportion, truncated.
    Longest(u32),
    /// Both sides, whatever the proportion was.
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
}

/// The order of the result's axes (of one image).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channel, row, column.
    Nchw,
    /// Row, column, channel.
    Nhwc,
}

impl Layout {
    /// The axes of a batch in this order.
    pub fn shape(self, images: usize, channels: usize, height: usize, width: usize) -> [usize; 4] {
        match self {
            Layout::Nchw => [images, channels, height, width],
            Layout::Nhwc => [images, height, width, channels],
        }
    }
}

/// How an image becomes a model's input: x = (pixel * scale - mean) / std after resize and centre crop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The result's channels.
    pub color: Color,
    /// The size before the crop.
    pub resize: Resize,
    /// The resampling filter.
    pub filter: Filter,
    /// Height and width of the centre crop in pixels; what lies outside the image is black. Required unless `resize`
    /// is exact.
    pub crop: Option<(u32, u32)>,
    /// What a pixel's value (0 to 255) is multiplied by first; 1/255 usually.
    pub scale: f32,
    /// Subtracted after scaling: red, green, blue, or one value when grey; then opacity, where the colour has it.
    pub mean: Vec<f32>,
    /// Divided by after subtracting, in the same order.
    pub std: Vec<f32>,
}

impl Preprocessing {
    /// The usual preprocessing of models trained on ImageNet: bilinear, shorter side to round(size / 0.875), centre
    /// crop. When `height` and `width` differ, the image is resized to exactly that and not cropped.
    pub fn imagenet(height: u32, width: u32) -> Preprocessing {
        let square = height == width;
        Preprocessing {
            color: Color::Rgb,
            resize: if square { Resize::Shortest(shorter_side(height)) } else { Resize::Exact { height, width } },
            filter: Filter::Bilinear,
            crop: square.then_some((height, width)),
            scale: 1.0 / 255.0,
            mean: IMAGENET_MEAN.to_vec(),
            std: IMAGENET_STD.to_vec(),
        }
    }

    /// Height and width of the result in pixels; (0, 0) for one that [`Preprocessing::validate`] refuses.
    pub fn size(&self) -> (u32, u32) {
        match (self.crop, self.resize) {
            (Some(size), _) => size,
            (None, Resize::Exact { height, width }) => (height, width),
            (None, _) => (0, 0),
        }
    }

    /// How many values a pixel of the result has.
    pub fn channels(&self) -> usize {
        self.color.channels()
    }

    /// The shape of so many images' values.
    pub fn shape(&self, images: usize, layout: Layout) -> [usize; 4] {
        let (height, width) = self.size();
        layout.shape(images, self.channels(), height as usize, width as usize)
    }

    /// Checks what the types leave open.
    ///
    /// # Errors
    /// One line that names the wrong value: a size outside 1 to 8192, no crop where the size would depend on the
    /// image, a mean or std of the wrong length, a value that is not finite, a std of 0.
    pub fn validate(&self) -> Result<(), String> {
        let side = |what: &str, n: u32| match n {
            1..=MAX_SIZE => Ok(()),
            _ => Err(format!("{what} {n} is outside 1 to {MAX_SIZE} pixels")),
        };
        match self.resize {
            Resize::Exact { height, width } => side("resize", height).and(side("resize", width))?,
            Resize::Shortest(edge) | Resize::Longest(edge) => side("resize", edge)?,
            Resize::None => {}
        }
        match (self.crop, self.resize) {
            (Some((height, width)), _) => side("crop", height).and(side("crop", width))?,
            (None, Resize::Exact { .. }) => {}
            _ => return Err("without a crop the size depends on the image; give a crop or an exact resize".into()),
        }
        if !self.scale.is_finite() || self.scale == 0.0 {
            return Err(format!("scale {} must be a finite number other than 0", self.scale));
        }
        for (what, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != self.channels() {
                let (have, need) = (values.len(), self.channels());
                return Err(format!("{what} has {have} values; {need} are needed"));
            }
            if values.iter().any(|v| !v.is_finite()) {
                return Err(format!("{what} must be finite numbers"));
            }
        }
        if self.std.contains(&0.0) {
            return Err("std must not be 0".into());
        }
        // Finite parts can still overflow f32 together.
        let extreme = self.tables().iter().flatten().any(|v| !v.is_finite());
        if extreme { Err("scale, mean and std give values that are not finite".into()) } else { Ok(()) }
    }

    /// The result for each pixel value, one table per channel in red, green, blue order.
    pub(super) fn tables(&self) -> Vec<[f32; 256]> {
        let table = |(&mean, &std): (&f32, &f32)| {
            let (scale, mean, std) = (f64::from(self.scale), f64::from(mean), f64::from(std));
            std::array::from_fn(|pixel| ((pixel as f64 * scale - mean) / std) as f32)
        };
        self.mean.iter().zip(&self.std).map(table).collect()
    }
}

/// round(size / 0.875), within the limit: 256 for 224.
pub(super) fn shorter_side(size: u32) -> u32 {
    ((f64::from(size) / 0.875).round() as u32).min(MAX_SIZE.max(size))
}

/// Writes the model's input for `image` into `out`: channels * height * width values in `layout`.
///
/// Runs on the calling thread only; call it from several for several images. Values do not depend on the thread.
///
/// # Errors
/// One line when `p` is not valid, `out` has the wrong length, or the image cannot be resized.
pub fn preprocess(image: &Pixels, p: &Preprocessing, layout: Layout, out: &mut [f32]) -> Result<(), String> {
    preprocess_reduced(image, Frame::of(image), p, layout, out)
}

/// As [`preprocess`], for an image that may have been decoded at a reduced scale.
pub(super) fn preprocess_reduced(
    image: &Pixels,
    frame: Frame,
    p: &Preprocessing,
    layout: Layout,
    out: &mut [f32],
) -> Result<(), String> {
    checked(p, out)?;
    let image = suited(image, p.color);
    let patch = resample(&image, frame, p)?;
    write(&patch, image.channels(), p, layout, out);
    Ok(())
}

/// Whether `p` is valid, and `out` as long as it says.
pub(super) fn checked(p: &Preprocessing, out: &[f32]) -> Result<(), String> {
    p.validate()?;
    let needed = p.channels() * p.size().0 as usize * p.size().1 as usize;
    match out.len() == needed {
        true => Ok(()),
        false => Err(format!("the output has {} values; {needed} are needed", out.len())),
    }
}
