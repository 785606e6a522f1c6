//! What one look at an image's pixels tells.

use crate::data::{
    Color, Dataset, Filter, Item, Layout, Pixels, Preprocessing, Reduced, Resize, each_image, preprocess,
};
use crate::error::Result;
use crate::progress::Progress;
use sha2::{Digest, Sha256};

/// Side of a thumbnail in pixels.
pub const SIDE: usize = 32;
/// What an image becomes as a thumbnail.
pub const RESIZE: Resize = Resize::Exact { height: SIDE as u32, width: SIDE as u32 };
/// Values of a thumbnail.
pub const AREA: usize = SIDE * SIDE;

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
    /// SHA-256 of size and pixels as they are decoded for the thumbnail, however they are stored.
    pub hash: [u8; 32],
    /// The image in grey, squeezed to [`SIDE`] × [`SIDE`] pixels.
    pub thumbnail: Box<[u8; AREA]>,
}

impl Facts {
    /// Looks at an image of `size`, decoded for [`RESIZE`].
    ///
    /// # Errors
    /// One line when the image cannot be resized.
    pub fn of(image: &Reduced, format: String) -> std::result::Result<Facts, String> {
        let Reduced { pixels: image, frame } = image;
        let (height, width) = (image.height() as usize, image.width() as usize);
        let mut hash = Sha256::new();
        hash.update(format!("{:?}\n", frame.size));
        let (mut mean, mut border, mut range) = (Sum::default(), Sum::default(), [[u8::MAX, 0]; 3]);
        let mut row_of_rgb = Vec::with_capacity(width * 3);
        for (y, row) in image.values().chunks_exact((width * image.channels()).max(1)).enumerate() {
            row_of_rgb.clear();
            match image.channels() {
                1 | 2 => row.chunks_exact(image.channels()).for_each(|p| row_of_rgb.extend([p[0]; 3])),
                _ => row.chunks_exact(image.channels()).for_each(|p| row_of_rgb.extend(&p[..3])),
            }
            hash.update(&row_of_rgb);
            mean.add(&row_of_rgb);
            for pixel in row_of_rgb.as_chunks::<3>().0 {
                range.iter_mut().zip(pixel).for_each(|(range, v)| *range = [range[0].min(*v), range[1].max(*v)]);
            }
            match y == 0 || y + 1 == height {
                true => border.add(&row_of_rgb),
                false => [&row_of_rgb[..3], &row_of_rgb[row_of_rgb.len() - 3..]].iter().for_each(|end| border.add(end)),
            }
        }
        Ok(Facts {
            size: frame.size,
            format,
            mean: mean.mean(),
            border: border.mean(),
            range: range.into_iter().map(|[least, most]| most.saturating_sub(least)).max().unwrap_or(0),
            hash: hash.finalize().into(),
            thumbnail: thumbnail(image)?,
        })
    }

    /// The population standard deviation of the thumbnail's grey levels.
    pub fn spread(&self) -> f32 {
        let mean = self.thumbnail.iter().map(|&v| f32::from(v)).sum::<f32>() / AREA as f32;
        let square = self.thumbnail.iter().map(|&v| (f32::from(v) - mean).powi(2)).sum::<f32>();
        (square / AREA as f32).sqrt()
    }
}

#[derive(Default)]
struct Sum([u64; 3], u64);

impl Sum {
    fn add(&mut self, rgb: &[u8]) {
        let pixels = rgb.as_chunks::<3>().0;
        pixels.iter().for_each(|pixel| self.0.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += u64::from(*v)));
        self.1 += pixels.len() as u64;
    }

    fn mean(&self) -> [f32; 3] {
        self.0.map(|sum| (sum as f64 / self.1.max(1) as f64) as f32)
    }
}

fn thumbnail(image: &Pixels) -> std::result::Result<Box<[u8; AREA]>, String> {
    let p = Preprocessing {
        color: Color::Gray,
        resize: RESIZE,
        filter: Filter::Bilinear,
        crop: None,
        scale: 1.,
        mean: vec![0.],
        std: vec![1.],
    };
    let mut values = [0f32; AREA];
    preprocess(image, &p, Layout::Nchw, &mut values)?;
    Ok(Box::new(values.map(|v| v as u8)))
}

/// Decodes the images of `items` of `data`, in order: the facts of each, or why it cannot be read.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn look<'a>(
    data: &Dataset,
    items: impl Iterator<Item = &'a Item>,
    progress: Progress,
) -> Result<Vec<std::result::Result<Facts, String>>> {
    let mut facts = Vec::new();
    let one = |item: &Item| {
        let content = data.source.content(&item.path)?;
        // A format that the header does not tell does not decode either.
        let format = content.format();
        Facts::of(&content.decode_for(false, RESIZE)?, format?)
    };
    each_image(items, "looking at the images", progress, one, |_, found| {
        facts.push(found);
        Ok(())
    })?;
    Ok(facts)
}
