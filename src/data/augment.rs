//! Training images varied at random: another crop, mirrored, turned, other light and colours.

use super::decode::Pixels;
use super::jitter::Jitter;
use super::preprocess::{Layout, Preprocessing, Resize, checked, preprocess};
use super::resample::{Patch, resample_box};
use super::values::{suited, write};
use crate::random::{ChaCha8Rng, below, stream, uniform};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How much training images are varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Not at all.
    None,
    /// Crops of 60 to 100 % of the area, some of them mirrored.
    Light,
    /// Crops of 35 to 100 %; some mirrored; turned by up to 15 degrees; brightness, contrast and saturation by up to 40 %,
    /// hue by up to 18 degrees.
    Strong,
}

/// How training images are varied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    /// How much.
    pub level: Level,
    /// The share of them that is mirrored, left to right, at any level but none.
    pub hflip: f64,
    /// The share of them that is turned upside down by a mirror.
    pub vflip: f64,
}

impl From<Level> for Augment {
    /// Half of the images are mirrored, left to right.
    fn from(level: Level) -> Augment {
        Augment { level, hflip: 0.5, vflip: 0. }
    }
}

/// What the random numbers of one image depend on: nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// The run's seed.
    pub seed: u64,
    /// How many times the images have been gone through.
    pub epoch: u64,
    /// The image's path in its data set.
    pub path: &'a str,
}

/// What happens to one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variation {
    /// The part that is resized to the model's size, in pixels of the decoded image: first row, first column, height,
    /// width.
    pub crop: [u32; 4],
    /// Whether left becomes right.
    pub flip: bool,
    /// Whether top becomes bottom.
    pub upside_down: bool,
    /// Degrees by which the result is turned counter-clockwise around its centre; its borders are drawn out into the
    /// corners.
    pub degrees: f64,
    /// Other light and colours.
    pub jitter: Jitter,
}

impl Level {
    /// The least area of a crop, as a share of the image.
    fn scale(self) -> f64 {
        match self {
            Level::None => 1.0,
            Level::Light => 0.6,
            Level::Strong => 0.35,
        }
    }
}

/// Writes the model's input for `image`, varied by `how`, into `out`, as [`preprocess`] does: a random crop, resized
/// with the same filter, takes the place of its resize and crop. The same key gives the same values, on any thread and
/// in any order.
///
/// # Errors
/// As [`preprocess`].
pub fn preprocess_changed(
    image: &Pixels,
    p: &Preprocessing,
    layout: Layout,
    how: Augment,
    key: Key,
    out: &mut [f32],
) -> Result<(), String> {
    if how.level == Level::None {
        return preprocess(image, p, layout, out);
    }
    Variation::draw(how, (image.height(), image.width()), p, key).apply(image, p, layout, out)
}

impl Variation {
    /// The variation of an image of that height and width; whose path is `key`'s.
    pub fn draw(how: Augment, size: (u32, u32), p: &Preprocessing, key: Key) -> Variation {
        let digest = Sha256::digest(key.path.as_bytes());
        let place = digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let random = &mut stream(key.seed, "augment", key.epoch, place);
        let crop = crop(how.level.scale(), size, proportion(size, p), random);
        let flip = how.level != Level::None && uniform(random) < how.hflip;
        let (degrees, jitter) = match how.level {
            Level::Strong => (between(random, -15.0, 15.0), Jitter::draw(random)),
            _ => (0.0, Jitter::NONE),
        };
        // Drawn last, and only where it is wanted, so that the others are as they were without.
        let upside_down = how.level != Level::None && how.vflip > 0. && uniform(random) < how.vflip;
        Variation { crop, flip, upside_down, degrees, jitter }
    }

    /// Writes the model's input for `image`, so varied, into `out`.
    ///
    /// # Errors
    /// As [`preprocess`], and where the crop is not inside the image.
    pub fn apply(&self, image: &Pixels, p: &Preprocessing, layout: Layout, out: &mut [f32]) -> Result<(), String> {
        checked(p, out)?;
        let image = suited(image, p.color);
        let (height, width) = p.size();
        let mut values = resample_box(&image, p.filter, self.crop, (height, width))?;
        let channels = image.channels();
        if self.flip {
            mirror(&mut values, width as usize, channels);
        }
        if self.upside_down {
            let row = width as usize * channels;
            values = values.chunks_exact(row.max(1)).rev().flatten().copied().collect();
        }
        if self.degrees != 0.0 {
            values = turned(&values, height as usize, width as usize, channels, self.degrees);
        }
        self.jitter.apply(&mut values, channels);
        write(&Patch { values, height, width, top: 0, left: 0 }, channels, p, layout, out);
        Ok(())
    }
}

/// Width by height of the part of an image that a model sees without variation: where the image is squeezed to its
/// size, the image's own.
fn proportion((height, width): (u32, u32), p: &Preprocessing) -> f64 {
    let (height, width) = match (p.resize, p.crop) {
        (Resize::Exact { .. }, None) => (height, width),
        _ => p.size(),
    };
    f64::from(width) / f64::from(height)
}

/// torchvision's `RandomResizedCrop.get_params`: an area of `scale` to 1 of the image, its proportion 3/4 to 4/3 of
/// `base`; the largest such part in the middle where ten tries do not fit.
fn crop(scale: f64, (height, width): (u32, u32), base: f64, random: &mut ChaCha8Rng) -> [u32; 4] {
    let (h, w) = (f64::from(height), f64::from(width));
    if scale >= 1.0 {
        return [0, 0, height, width];
    }
    let (narrowest, widest) = (base * 3.0 / 4.0, base * 4.0 / 3.0);
    for _ in 0..10 {
        let area = h * w * between(random, scale, 1.0);
        let proportion = between(random, narrowest.ln(), widest.ln()).exp();
        let rows = (area / proportion).sqrt().round_ties_even() as u32;
        let columns = (area * proportion).sqrt().round_ties_even() as u32;
        if (1..=height).contains(&rows) && (1..=width).contains(&columns) {
            let top = below(random, (height - rows) as usize + 1) as u32;
            let left = below(random, (width - columns) as usize + 1) as u32;
            return [top, left, rows, columns];
        }
    }
    let rows = if w / h < narrowest { (w / narrowest).round_ties_even().clamp(1.0, h) } else { h };
    let columns = if w / h > widest { (h * widest).round_ties_even().clamp(1.0, w) } else { w };
    let (rows, columns) = (rows as u32, columns as u32);
    [(height - rows) / 2, (width - columns) / 2, rows, columns]
}

/// Uniform in [low, high).
pub(super) fn between(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(random)
}

fn mirror(values: &mut [u8], width: usize, channels: usize) {
    let rows = values.chunks_exact_mut(width * channels);
    match channels {
        1 => rows.for_each(<[u8]>::reverse),
        2 => rows.for_each(|row| row.as_chunks_mut::<2>().0.reverse()),
        3 => rows.for_each(|row| row.as_chunks_mut::<3>().0.reverse()),
        _ => rows.for_each(|row| row.as_chunks_mut::<4>().0.reverse()),
    }
}

/// The pixels turned around the centre, each interpolated linearly from four, the nearest of the border outside.
fn turned(values: &[u8], height: usize, width: usize, channels: usize, degrees: f64) -> Vec<u8> {
    match channels {
        1 => turned_of::<1>(values, height, width, degrees),
        2 => turned_of::<2>(values, height, width, degrees),
        3 => turned_of::<3>(values, height, width, degrees),
        _ => turned_of::<4>(values, height, width, degrees),
    }
}

/// Positions are in 2⁻³² of a pixel, weights in 2⁻¹¹.
fn turned_of<const CHANNELS: usize>(values: &[u8], height: usize, width: usize, degrees: f64) -> Vec<u8> {
    let pixels = values.as_chunks::<CHANNELS>().0;
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (bottom, right) = ((height - 1) as f64, (width - 1) as f64);
    let fixed = |position: f64| (position * f64::from(2u32.pow(16)).powi(2)).round() as i64;
    let (last_x, last_y) = (fixed(right), fixed(bottom));
    let weight = |position: i64| (position as u32 >> 21) as i32;
    let mut out = vec![[0; CHANNELS]; height * width];
    for (row, line) in out.chunks_exact_mut(width).enumerate() {
        let (dx, dy) = (-right / 2.0, row as f64 - bottom / 2.0);
        let (mut x, mut y) = (fixed(cos * dx - sin * dy + right / 2.0), fixed(sin * dx + cos * dy + bottom / 2.0));
        for pixel in line {
            let (at_x, at_y) = (x.clamp(0, last_x), y.clamp(0, last_y));
            let (left, top) = ((at_x >> 32) as usize, (at_y >> 32) as usize);
            let (fx, fy) = (weight(at_x), weight(at_y));
            let (upper, lower) = (top * width, (top + 1).min(height - 1) * width);
            let next = (left + 1).min(width - 1);
            let (a, b) = (pixels[upper + left], pixels[upper + next]);
            let (c, d) = (pixels[lower + left], pixels[lower + next]);
            *pixel = std::array::from_fn(|i| {
                let [a, b, c, d] = [a[i], b[i], c[i], d[i]].map(i32::from);
                let (upper, lower) = ((a << 11) + fx * (b - a), (c << 11) + fx * (d - c));
                (((upper << 11) + fy * (lower - upper) + (1 << 21)) >> 22) as u8
            });
            x += fixed(cos);
            y += fixed(sin);
        }
    }
    out.into_flattened()
}
