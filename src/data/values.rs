//! From 8-bit pixels to a model's channels, and to its values.

use super::decode::Pixels;
use super::preprocess::{Color, Layout, Preprocessing};
use super::resample::Patch;
use image::{DynamicImage, GrayAlphaImage, GrayImage};
use std::borrow::Cow;

/// Looks the patch's values, `values` a pixel, up in the tables of scale, mean and std; what is around it is black.
pub(super) fn write(patch: &Patch, values: usize, p: &Preprocessing, layout: Layout, out: &mut [f32]) {
    let (height, width) = (p.size().0 as usize, p.size().1 as usize);
    let channels = p.channels();
    // The order of the tables is that of the output; the pixel's value for channel c of BGR is its value 2 - c.
    let mut tables: Vec<(usize, [f32; 256])> = p.tables().into_iter().enumerate().collect();
    if p.color == Color::Bgr {
        tables.reverse();
    }
    let padded = (patch.height as usize, patch.width as usize) != (height, width);
    for (channel, (source, table)) in tables.iter().enumerate() {
        let source = match values {
            values if p.color.has_alpha() && *source + 1 == channels => values - 1,
            1 | 2 => 0,
            _ => *source,
        };
        let (start, step) = match layout {
            Layout::Nchw => (channel * height * width, 1),
            Layout::Nhwc => (channel, channels),
        };
        if padded {
            let plane = out[start..].iter_mut().step_by(step).take(height * width);
            plane.for_each(|value| *value = table[0]);
        }
        write_channel(patch, values, source, table, width, &mut out[start..], step);
    }
}

/// Looks channel `source` of the patch up in `table`; `out` begins at the channel's first value, rows of `width`.
fn write_channel(
    patch: &Patch,
    channels: usize,
    source: usize,
    table: &[f32; 256],
    width: usize,
    out: &mut [f32],
    step: usize,
) {
    let rows = patch.values.chunks_exact(patch.width as usize * channels);
    for (row, values) in rows.enumerate() {
        let start = ((row + patch.top as usize) * width + patch.left as usize) * step;
        let pixels = values[source..].iter().step_by(channels);
        if step == 1 {
            out[start..].iter_mut().zip(pixels).for_each(|(out, &pixel)| *out = table[usize::from(pixel)]);
        } else {
            let places = out[start..].iter_mut().step_by(step);
            places.zip(pixels).for_each(|(out, &pixel)| *out = table[usize::from(pixel)]);
        }
    }
}

/// The image with opacity where the model takes it, without where not; grey where the model takes that.
pub(super) fn suited(image: &Pixels, color: Color) -> Cow<'_, Pixels> {
    let image = match (image, color.has_alpha()) {
        (Pixels::Rgb(rgb), true) => Cow::Owned(Pixels::Rgba(DynamicImage::from(rgb.clone()).into_rgba8())),
        (Pixels::Gray(gray), true) => {
            Cow::Owned(Pixels::GrayAlpha(DynamicImage::from(gray.clone()).into_luma_alpha8()))
        }
        (Pixels::Rgba(rgba), false) => Cow::Owned(Pixels::Rgb(DynamicImage::from(rgba.clone()).into_rgb8())),
        (Pixels::GrayAlpha(gray), false) => Cow::Owned(Pixels::Gray(DynamicImage::from(gray.clone()).into_luma8())),
        _ => Cow::Borrowed(image),
    };
    match (&*image, color) {
        (Pixels::Rgb(rgb), Color::Gray) => {
            let values = rgb.as_raw().chunks_exact(3).map(luma).collect();
            Cow::Owned(Pixels::Gray(GrayImage::from_raw(rgb.width(), rgb.height(), values).unwrap_or_default()))
        }
        (Pixels::Rgba(rgba), Color::GrayAlpha) => {
            let values = rgba.as_raw().chunks_exact(4).flat_map(|pixel| [luma(pixel), pixel[3]]).collect();
            let gray = GrayAlphaImage::from_raw(rgba.width(), rgba.height(), values);
            Cow::Owned(Pixels::GrayAlpha(gray.unwrap_or_default()))
        }
        _ => image,
    }
}

/// Pillow's `convert('L')` of one pixel.
pub(super) fn luma(p: &[u8]) -> u8 {
    ((u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471 + 0x8000) >> 16) as u8
}
