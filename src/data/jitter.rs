//! Other light and colours: torchvision's `ColorJitter`, on 8-bit pixels as Pillow computes it.

use super::augment::between;
use super::values::luma;
use crate::random::{ChaCha8Rng, below};

/// By which factors, and in which order. Grey images have no saturation and no hue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    /// 1 leaves it, 0 is black.
    pub brightness: f32,
    /// 1 leaves it, 0 is the mean grey everywhere.
    pub contrast: f32,
    /// 1 leaves it, 0 is grey.
    pub saturation: f32,
    /// Turns around the circle of colours: 0 leaves them.
    pub hue: f32,
    /// The order of these four, by number.
    pub order: [u8; 4],
}

impl Jitter {
    /// Nothing changes.
    pub const NONE: Jitter = Jitter { brightness: 1.0, contrast: 1.0, saturation: 1.0, hue: 0.0, order: [0, 1, 2, 3] };

    /// Factors 0.6 to 1.4, hues by up to a twentieth of the circle, in any order.
    pub(super) fn draw(random: &mut ChaCha8Rng) -> Jitter {
        let [brightness, contrast, saturation] = [(); 3].map(|()| between(random, 0.6, 1.4) as f32);
        let hue = between(random, -0.05, 0.05) as f32;
        let mut order = Jitter::NONE.order;
        for last in (1..4).rev() {
            order.swap(last, below(random, last + 1));
        }
        Jitter { brightness, contrast, saturation, hue, order }
    }

    /// Changes pixels of so many values; opacity stays.
    pub(super) fn apply(&self, values: &mut [u8], channels: usize) {
        match channels {
            1 => self.change::<1>(values),
            2 => self.change::<2>(values),
            3 => self.change::<3>(values),
            _ => self.change::<4>(values),
        }
    }

    fn change<const CHANNELS: usize>(&self, values: &mut [u8]) {
        let pixels = values.as_chunks_mut::<CHANNELS>().0;
        let coloured = CHANNELS > 2;
        for step in self.order {
            match step {
                0 if self.brightness != 1.0 => look_up(pixels, |value| blend(0.0, value, self.brightness)),
                1 if self.contrast != 1.0 => {
                    let mean = mean(pixels);
                    look_up(pixels, |value| blend(mean, value, self.contrast));
                }
                2 if coloured && self.saturation != 1.0 => {
                    let factor = self.saturation;
                    each(pixels, |rgb| rgb.map(|value| blend(luma_of(rgb), value, factor)));
                }
                3 if coloured && self.hue != 0.0 => {
                    let turn = 6.0 * self.hue.rem_euclid(1.0);
                    each(pixels, |rgb| turned(rgb, turn));
                }
                _ => {}
            }
        }
    }
}

/// Pillow's `Image.blend` of one value, in float32; it truncates and clips what comes out, as `as u8` does.
fn blend(from: f32, to: f32, factor: f32) -> f32 {
    from + factor * (to - from)
}

/// [`luma`] of whole numbers in float32, in which all of its sums are exact.
fn luma_of([r, g, b]: [f32; 3]) -> f32 {
    ((r * 19595.0 + g * 38470.0 + b * 7471.0 + 32768.0) / 65536.0) as i32 as f32
}

/// Every value but opacity through a table.
fn look_up<const CHANNELS: usize>(pixels: &mut [[u8; CHANNELS]], change: impl Fn(f32) -> f32) {
    let table: [u8; 256] = std::array::from_fn(|value| change(value as f32) as u8);
    let colours = if CHANNELS.is_multiple_of(2) { CHANNELS - 1 } else { CHANNELS };
    for pixel in pixels {
        pixel[..colours].iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    }
}

/// The mean luma, rounded.
fn mean<const CHANNELS: usize>(pixels: &[[u8; CHANNELS]]) -> f32 {
    let sum: u64 = pixels.iter().map(|pixel| u64::from(if CHANNELS > 2 { luma(pixel) } else { pixel[0] })).sum();
    (sum as f64 / pixels.len().max(1) as f64 + 0.5).floor() as f32
}

/// Changes the colour of every pixel. They are taken apart by colour, many at a time, so that the arithmetic is done on
/// several at once.
fn each<const CHANNELS: usize>(pixels: &mut [[u8; CHANNELS]], change: impl Fn([f32; 3]) -> [f32; 3]) {
    const AT_ONCE: usize = 64;
    let mut planes = [[0f32; AT_ONCE]; 3];
    for pixels in pixels.chunks_mut(AT_ONCE) {
        for (i, pixel) in pixels.iter().enumerate() {
            planes.iter_mut().zip(pixel).for_each(|(plane, &value)| plane[i] = f32::from(value));
        }
        let [r, g, b] = &mut planes;
        for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
            [*r, *g, *b] = change([*r, *g, *b]);
        }
        for (i, pixel) in pixels.iter_mut().enumerate() {
            pixel.iter_mut().zip(&planes).for_each(|(value, plane)| *value = plane[i] as u8);
        }
    }
}

/// Another hue of the model HSV, by sixths of the circle (0 to 6); saturation and value stay.
fn turned([r, g, b]: [f32; 3], turn: f32) -> [f32; 3] {
    // Comparisons, and no branches, can be done on several pixels at once.
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let smaller = |a: f32, b: f32| if a < b { a } else { b };
    let wrapped = |sixths: f32| if sixths >= 6.0 { sixths - 6.0 } else { sixths };
    let most = larger(larger(r, g), b);
    let chroma = most - smaller(smaller(r, g), b);
    let other = if most == g { (b - r, 2.0) } else { (r - g, 4.0) };
    let (difference, start) = if most == r { (g - b, 0.0) } else { other };
    // Where it is 0 there is no hue, and nothing comes of it.
    let hue = start + difference / larger(chroma, 1.0) + turn;
    let hue = wrapped(if hue < 0.0 { hue + 6.0 } else { hue });
    [5.0, 3.0, 1.0].map(|offset| {
        let k = wrapped(offset + hue);
        most - chroma * larger(smaller(smaller(k, 4.0 - k), 1.0), 0.0) + 0.5
    })
}
