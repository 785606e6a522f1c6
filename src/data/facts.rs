//! What one look at an image's pixels tells.

use super::decode::Reduced;
use super::preprocess::{Color, Filter, Layout, Preprocessing, Resize, preprocess_reduced};
use sha2::{Digest, Sha256};

/// Side of a thumbnail in pixels.
pub const SIDE: usize = 32;
/// Values of a thumbnail.
pub const AREA: usize = SIDE * SIDE;
/// Bytes of a format's name that are kept.
const NAME: usize = 8;
/// Bytes of [`Facts`] that are kept: size, format, mean, border, range, hash and thumbnail.
const BYTES: usize = 2 * 4 + NAME + 3 * 4 + 3 * 4 + 1 + 32 + AREA;
/// Bytes that a float32 holds as a whole number, whoever copies it.
const HELD: usize = 3;
/// Values that [`Facts::values`] gives.
pub const VALUES: usize = BYTES.div_ceil(HELD);

/// Of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Height and width in pixels.
    pub size: [u32; 2],
    /// As the decoder calls it: `jpg`, `png`, ….
    pub format: String,
    /// Mean red, green and blue, 0 to 255.
    pub mean: [f32; 3],
    /// The same of the outermost pixels.
    pub border: [f32; 3],
    /// How far the values of red, green or blue lie apart at most, over all pixels.
    pub range: u8,
    /// SHA-256 of size and pixels as they are decoded for the model, however they are stored.
    pub hash: [u8; 32],
    /// The image in grey, squeezed to [`SIDE`] × [`SIDE`] pixels.
    pub thumbnail: Box<[u8; AREA]>,
}

impl Facts {
    /// Looks at a decoded image.
    ///
    /// # Errors
    /// One line when the image cannot be resized.
    pub fn of(decoded: &Reduced, format: String) -> Result<Facts, String> {
        let Reduced { pixels: image, frame } = decoded;
        let (height, width) = (image.height() as usize, image.width() as usize);
        let mut hash = Sha256::new();
        hash.update(format!("{:?}\n", frame.size));
        let (mut all, mut border) = (Sum::default(), Sum::default());
        let mut row_of_rgb = Vec::with_capacity(width * 3);
        for (y, row) in image.values().chunks_exact((width * image.channels()).max(1)).enumerate() {
            row_of_rgb.clear();
            match image.channels() {
                1 | 2 => row.chunks_exact(image.channels()).for_each(|p| row_of_rgb.extend([p[0]; 3])),
                3 => row_of_rgb.extend(row),
                _ => row.chunks_exact(image.channels()).for_each(|p| row_of_rgb.extend(&p[..3])),
            }
            hash.update(&row_of_rgb);
            all.add(&row_of_rgb);
            match y == 0 || y + 1 == height {
                true => border.add(&row_of_rgb),
                false => [&row_of_rgb[..3], &row_of_rgb[row_of_rgb.len() - 3..]].iter().for_each(|end| border.add(end)),
            }
        }
        Ok(Facts {
            size: frame.size,
            format,
            mean: all.mean(),
            border: border.mean(),
            range: all.range(),
            hash: hash.finalize().into(),
            thumbnail: thumbnail(decoded)?,
        })
    }

    /// The population standard deviation of the thumbnail's grey levels.
    pub fn spread(&self) -> f32 {
        let mean = self.thumbnail.iter().map(|&v| f32::from(v)).sum::<f32>() / AREA as f32;
        let square = self.thumbnail.iter().map(|&v| (f32::from(v) - mean).powi(2)).sum::<f32>();
        (square / AREA as f32).sqrt()
    }

    /// All of it as [`VALUES`] whole numbers that float32 holds, to be kept beside features.
    pub fn values(&self) -> Vec<f32> {
        let mut bytes: Vec<u8> = self.size.iter().flat_map(|side| side.to_le_bytes()).collect();
        let name = self.format.bytes().chain(std::iter::repeat(0)).take(NAME);
        bytes.extend(name);
        bytes.extend(self.mean.iter().chain(&self.border).flat_map(|value| value.to_le_bytes()));
        bytes.push(self.range);
        bytes.extend(self.hash);
        bytes.extend(self.thumbnail.iter());
        let whole = |held: &[u8]| held.iter().rev().fold(0, |whole, byte| (whole << 8) | u32::from(*byte)) as f32;
        bytes.chunks(HELD).map(whole).collect()
    }

    /// What [`Facts::values`] gave; `None` for other values.
    pub fn from_values(values: &[f32]) -> Option<Facts> {
        let bytes: Vec<u8> =
            values.iter().flat_map(|value| (*value as u32).to_le_bytes().into_iter().take(HELD)).collect();
        let mut rest = bytes.get(..BYTES).filter(|_| values.len() == VALUES)?;
        let mut take = |count: usize| rest.split_off(..count);
        let size = take(8)?.as_chunks().0.iter().map(|side| u32::from_le_bytes(*side)).collect::<Vec<_>>();
        let format = std::str::from_utf8(take(NAME)?).ok()?.trim_end_matches('\0').to_owned();
        let colours: Vec<f32> = take(24)?.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        Some(Facts {
            size: *size.first_chunk()?,
            format,
            mean: *colours.first_chunk()?,
            border: *colours.last_chunk()?,
            range: *take(1)?.first()?,
            hash: *take(32)?.first_chunk()?,
            thumbnail: Box::new(*take(AREA)?.first_chunk()?),
        })
    }
}

/// Values that are added at once: vectors of pixels.
const LANES: usize = 48;

/// Of red, green and blue: sums, smallest and largest values, and how many pixels there were.
struct Sum([u64; 3], [u8; LANES], [u8; LANES], u64);

impl Default for Sum {
    fn default() -> Sum {
        Sum([0; 3], [u8::MAX; LANES], [0; LANES], 0)
    }
}

impl Sum {
    /// Adds pixels, of a row at most.
    fn add(&mut self, rgb: &[u8]) {
        let mut sums = [0u32; LANES];
        for values in rgb.chunks(LANES) {
            for (i, &value) in values.iter().enumerate() {
                sums[i] += u32::from(value);
                self.1[i] = self.1[i].min(value);
                self.2[i] = self.2[i].max(value);
            }
        }
        sums.iter().enumerate().for_each(|(i, &sum)| self.0[i % 3] += u64::from(sum));
        self.3 += rgb.len() as u64 / 3;
    }

    fn mean(&self) -> [f32; 3] {
        self.0.map(|sum| (sum as f64 / self.3.max(1) as f64) as f32)
    }

    /// How far the values of one colour lie apart at most.
    fn range(&self) -> u8 {
        let of = |colour: usize| {
            let own = |values: &[u8; LANES]| -> Vec<u8> { values.iter().skip(colour).step_by(3).copied().collect() };
            own(&self.2).into_iter().max().unwrap_or(0).saturating_sub(own(&self.1).into_iter().min().unwrap_or(0))
        };
        (0..3).map(of).max().unwrap_or(0)
    }
}

fn thumbnail(image: &Reduced) -> Result<Box<[u8; AREA]>, String> {
    let p = Preprocessing {
        color: Color::Gray,
        resize: Resize::Exact { height: SIDE as u32, width: SIDE as u32 },
        filter: Filter::Bilinear,
        crop: None,
        scale: 1.,
        mean: vec![0.],
        std: vec![1.],
    };
    let mut values = [0f32; AREA];
    preprocess_reduced(&image.pixels, image.frame, &p, Layout::Nchw, &mut values)?;
    Ok(Box::new(values.map(|v| v as u8)))
}
