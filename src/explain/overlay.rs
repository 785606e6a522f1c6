//! Maps shown over images.

use super::grid::resized;
use crate::data::{Color, Layout, Preprocessing, Source};
use image::{Rgb, RgbImage};
use ndarray::Array2;

/// Ten even steps of viridis (Smith and van der Walt, matplotlib): even for the eye, and in brightness too.
const VIRIDIS: [[u8; 3]; 10] = [
    [68, 1, 84],
    [72, 40, 120],
    [62, 74, 137],
    [49, 104, 142],
    [38, 130, 142],
    [31, 158, 137],
    [53, 183, 121],
    [109, 205, 89],
    [180, 222, 44],
    [253, 231, 37],
];
/// How much of the colour covers the image, where there is no relevance and where it is largest.
const COVER: [f32; 2] = [0.25, 0.65];

/// `image` with `map` over it, whose largest value gets the brightest colour: from dark violet over green to yellow. The map
/// covers the whole image; values below 0 count as 0.
pub fn overlay(image: &RgbImage, map: &Array2<f32>) -> RgbImage {
    let map = resized(map, image.height() as usize, image.width() as usize);
    let largest = map.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let relevance = (map[[y as usize, x as usize]] / largest).clamp(0., 1.);
        let (colour, cover) = (colour(relevance), COVER[0] + (COVER[1] - COVER[0]) * relevance);
        let own = image.get_pixel(x, y).0;
        Rgb(std::array::from_fn(|i| (f32::from(own[i]) * (1. - cover) + colour[i] * cover).round() as u8))
    })
}

/// Viridis, from 0 to 1.
fn colour(value: f32) -> [f32; 3] {
    let at = value * (VIRIDIS.len() - 1) as f32;
    let first = (at as usize).min(VIRIDIS.len() - 2);
    let along = at - first as f32;
    std::array::from_fn(|i| {
        let [low, high] = [first, first + 1].map(|place| f32::from(VIRIDIS[place][i]));
        low + (high - low) * along
    })
}

/// The pixels of an image that a model sees under a preprocessing: resized and cropped.
///
/// # Errors
/// A short reason where it cannot be read.
pub fn seen(source: &Source, path: &str, p: &Preprocessing) -> Result<RgbImage, String> {
    let color = if p.channels() < 3 { Color::Gray } else { Color::Rgb };
    let channels = color.channels();
    let plain = Preprocessing { color, scale: 1., mean: vec![0.; channels], std: vec![1.; channels], ..p.clone() };
    let (height, width) = plain.size();
    let mut values = vec![0.; plain.shape(1, Layout::Nhwc).iter().product()];
    source.values(path, &plain, Layout::Nhwc, &mut values)?;
    let pixels = values.chunks(channels).flat_map(|pixel| (0..3).map(|i| pixel[i.min(channels - 1)] as u8));
    RgbImage::from_raw(width, height, pixels.collect()).ok_or_else(|| "it has no pixels".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_largest_value_is_yellow_and_the_smallest_violet() {
        let image = RgbImage::from_pixel(2, 1, Rgb([100, 100, 100]));
        let shown = overlay(&image, &array![[-3., 7.]]);
        let mixed =
            |colour: [u8; 3], cover: f32| colour.map(|c| (100. * (1. - cover) + f32::from(c) * cover).round() as u8);
        assert_eq!(shown.get_pixel(0, 0).0, mixed(VIRIDIS[0], COVER[0]));
        assert_eq!(shown.get_pixel(1, 0).0, mixed(VIRIDIS[9], COVER[1]));
        // No relevance anywhere.
        let dark = overlay(&image, &array![[0.]]);
        assert_eq!(dark.get_pixel(1, 0).0, mixed(VIRIDIS[0], COVER[0]));
    }
}
