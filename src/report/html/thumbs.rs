//! Small pictures of images, inside the page.

use super::pictures::Shown;
use crate::data::decode::MAX_PIXELS;
use crate::data::{Preprocessing, Resize, Source};
use crate::explain::{overlay, seen};
use crate::report::maps::Map;
use crate::report::recorded::Recorded;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path};

/// The longest side in pixels. Smaller images keep their size.
const SIDE: u32 = 64;
/// JPEG's quality, 1 to 100.
const QUALITY: u8 = 72;
/// The most pictures.
const MOST: usize = 2500;
/// The most bytes of all of them, as they are in the page.
const MOST_BYTES: usize = 3 << 20;
/// The most pixels that are decoded for them: some seconds of work, and a thousand photos of two megapixels.
const MOST_PIXELS: u64 = 2_000_000_000;
/// The most maps, and the most pixels that a model may see of an image whose map is shown.
const MOST_MAPS: usize = 100;
const MOST_SEEN: u64 = 1 << 22;

/// A picture.
#[derive(Debug, Clone, Serialize)]
pub struct Thumb {
    /// The image's row in the report.
    pub id: usize,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// As a `data:` URI.
    pub uri: String,
}

/// Pictures of the images at `paths`, in the order in which they are wanted (`(row, path)`), as far as the limits let them be.
/// What cannot be read any more has none: how many these are is told, too.
pub fn make(source: &Source, wanted: &[(usize, &str)]) -> (Vec<Thumb>, usize) {
    let (mut pixels, mut seen, mut chosen, mut missing) = (0, HashSet::new(), Vec::new(), 0);
    for &(row, path) in wanted.iter().filter(|(row, _)| seen.insert(*row)) {
        let Ok((_, [height, width])) = source.look(path) else {
            missing += 1;
            continue;
        };
        let own = u64::from(height) * u64::from(width);
        if own > MAX_PIXELS {
            missing += 1;
            continue;
        }
        pixels += own;
        if pixels > MOST_PIXELS || chosen.len() == MOST {
            break;
        }
        chosen.push((row, path));
    }
    let thumbs: Vec<_> = chosen.par_iter().filter_map(|&(row, path)| thumb(source, row, path)).collect();
    missing += chosen.len() - thumbs.len();
    let mut bytes = 0;
    let fits = |thumb: &Thumb| {
        bytes += thumb.uri.len();
        bytes <= MOST_BYTES
    };
    (thumbs.into_iter().take_while(fits).collect(), missing)
}

fn thumb(source: &Source, id: usize, path: &str) -> Option<Thumb> {
    let image =
        source.content(path).and_then(|content| content.decode_for(false, Resize::Longest(SIDE))).ok()?.pixels.to_rgb();
    let longest = image.width().max(image.height());
    let image = match longest > SIDE {
        true => {
            let side = |n: u32| (n * SIDE / longest).max(1);
            image::imageops::thumbnail(&image, side(image.width()), side(image.height()))
        }
        false => image,
    };
    encoded(id, &image)
}

fn encoded(id: usize, image: &RgbImage) -> Option<Thumb> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(image).ok()?;
    let uri = format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg));
    Some(Thumb { id, width: image.width(), height: image.height(), uri })
}

/// What the model sees of the images that have a picture and a map, with the map over it; `p` is how it sees them.
pub fn overlays(source: &Source, recorded: &Recorded, thumbs: &[Thumb], p: &Preprocessing) -> Vec<Thumb> {
    let maps = recorded.maps.iter().flat_map(|maps| &maps.images).take(MOST_MAPS);
    let maps: HashMap<&str, &Map> = maps.map(|map| (map.path.as_str(), map)).collect();
    let (height, width) = p.size();
    if u64::from(height) * u64::from(width) > MOST_SEEN {
        return Vec::new();
    }
    let side = |n: u32| (n * SIDE / height.max(width)).clamp(1, n);
    let overlay = |thumb: &Thumb| {
        let path = recorded.held_out[thumb.id].path.as_str();
        let map = maps.get(path)?.values()?;
        let small = image::imageops::thumbnail(&seen(source, path, p).ok()?, side(width), side(height));
        encoded(thumb.id, &overlay(&small, &map))
    };
    thumbs.par_iter().filter_map(overlay).collect()
}

/// Whether a path stays in the folder in which it begins.
pub fn is_below(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Which rows have what.
pub fn shown(thumbs: &[Thumb], overlays: &[Thumb]) -> Shown {
    let rows = |thumbs: &[Thumb]| thumbs.iter().map(|thumb| (thumb.id, [thumb.width, thumb.height])).collect();
    Shown { thumbs: rows(thumbs), overlays: rows(overlays) }
}
