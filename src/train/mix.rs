//! Mixup and CutMix: batches whose images are mixed with their neighbours, and the targets with them.

use crate::error::{Error, Result};
use crate::random::{ChaCha8Rng, below, stream, uniform};
use ndarray::Array2;
use rand_distr::{Beta, Distribution};

/// How strongly images are mixed; 0 turns a form off. Where both are on, each batch takes one of them, by a coin
/// (timm's `switch_prob` of 0.5).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mix {
    /// α of mixup (arXiv 1710.09412): λ of Beta(α, α), x ← λ·x + (1 − λ)·x', t likewise.
    pub mixup: f64,
    /// α of CutMix (arXiv 1905.04899): a box of 1 − λ of the area comes from x', and t is mixed by the areas.
    pub cutmix: f64,
}

/// Where a batch's values lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Images.
    pub images: usize,
    /// Channels of each.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// [images, height, width, channels] instead of [images, channels, height, width].
    pub channels_last: bool,
}

/// Which batch: all that the random numbers depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlace {
    /// The run's.
    pub seed: u64,
    /// Counted from 0.
    pub epoch: u64,
    /// In its epoch, from 0.
    pub batch: u64,
}

impl Mix {
    /// Mixes a batch and its targets [images, classes] in place. Image i is mixed with image i − 1, and the first with the
    /// last (as torchvision's `MixUp` and `CutMix` do); one λ or box holds for the batch.
    ///
    /// # Errors
    /// [`Error::Train`] when the sizes do not fit, or a strength is not a number that Beta takes.
    pub fn apply(
        &self,
        pixels: &mut [f32],
        shape: BatchShape,
        targets: &mut Array2<f32>,
        place: BatchPlace,
    ) -> Result<()> {
        let each = shape.channels * shape.height * shape.width;
        if pixels.len() != each * shape.images || targets.nrows() != shape.images {
            return Err(Error::Train("a batch to mix has another size than its shape says".into()));
        }
        if each == 0 || shape.images < 2 || (self.mixup == 0.0 && self.cutmix == 0.0) {
            return Ok(());
        }
        let mut random = stream(place.seed, "mix", place.epoch, place.batch);
        let cut = self.mixup == 0.0 || (self.cutmix != 0.0 && uniform(&mut random) < 0.5);
        let alpha = if cut { self.cutmix } else { self.mixup };
        let beta =
            Beta::new(alpha, alpha).map_err(|_| Error::Train(format!("images cannot be mixed by α = {alpha}")))?;
        let lambda = beta.sample(&mut random);
        let lambda = if cut {
            let area = Area::random(&mut random, lambda, shape);
            roll(pixels, each, |to, from| area.runs(shape, |run| to[run.clone()].copy_from_slice(&from[run])));
            1.0 - area.share(shape)
        } else {
            roll(pixels, each, |to, from| blend(to, from, lambda as f32));
            lambda
        };
        let (classes, mut flat) = (targets.ncols(), targets.iter().copied().collect::<Vec<_>>());
        roll(&mut flat, classes, |to, from| blend(to, from, lambda as f32));
        targets.iter_mut().zip(flat).for_each(|(to, mixed)| *to = mixed);
        Ok(())
    }
}

fn blend(to: &mut [f32], from: &[f32], lambda: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = lambda * *to + (1.0 - lambda) * from);
}

/// Gives each row of `each` values to `mix`, with the row before it as it was; from the end, so that it still is.
fn roll(values: &mut [f32], each: usize, mix: impl Fn(&mut [f32], &[f32])) {
    let rows = values.len().checked_div(each).unwrap_or(0);
    if rows == 0 {
        return;
    }
    let last = values[(rows - 1) * each..].to_vec();
    for row in (1..rows).rev() {
        let (before, own) = values.split_at_mut(row * each);
        mix(&mut own[..each], &before[(row - 1) * each..]);
    }
    mix(&mut values[..each], &last);
}

/// A box of pixels.
struct Area {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Area {
    /// Around a pixel chosen evenly, with half sides of √(1 − λ)/2 of the image's, cut off at its edges.
    fn random(random: &mut ChaCha8Rng, lambda: f64, shape: BatchShape) -> Area {
        let (x, y) = (below(random, shape.width), below(random, shape.height));
        let half = |side: usize| (0.5 * (1.0 - lambda).sqrt() * side as f64) as usize;
        let (w, h) = (half(shape.width), half(shape.height));
        Area {
            top: y.saturating_sub(h),
            bottom: (y + h).min(shape.height),
            left: x.saturating_sub(w),
            right: (x + w).min(shape.width),
        }
    }

    fn share(&self, shape: BatchShape) -> f64 {
        ((self.bottom - self.top) * (self.right - self.left)) as f64 / (shape.height * shape.width) as f64
    }

    /// The places of its values in an image, run by run.
    fn runs(&self, shape: BatchShape, mut each: impl FnMut(std::ops::Range<usize>)) {
        let (planes, values) = if shape.channels_last { (1, shape.channels) } else { (shape.channels, 1) };
        for plane in 0..planes {
            for row in self.top..self.bottom {
                let start = (plane * shape.height + row) * shape.width;
                each((start + self.left) * values..(start + self.right) * values);
            }
        }
    }
}
