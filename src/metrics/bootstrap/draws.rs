//! What a resample draws with replacement.

use crate::random;
use std::collections::BTreeMap;

/// Images that are right, and that are wrong, from which on resamples tell how alike those of a group are.
const TELLING: f64 = 3.;
/// The same images give the same intervals.
const SEED: u64 = 0;

/// Images, each by itself or whole groups of them.
pub(in crate::metrics) struct Draws {
    images: usize,
    /// The images of each group; nothing where each is drawn by itself.
    groups: Vec<Vec<usize>>,
}

impl Draws {
    /// Of so many images; `groups` has the number of each one's, or nothing.
    pub fn new(images: usize, groups: &[usize]) -> Draws {
        let mut own = BTreeMap::<usize, Vec<usize>>::new();
        groups.iter().enumerate().for_each(|(image, &group)| own.entry(group).or_default().push(image));
        Draws { images, groups: own.into_values().collect() }
    }

    /// How many groups there are, where whole groups are drawn.
    pub fn groups(&self) -> Option<usize> {
        (!self.groups.is_empty()).then_some(self.groups.len())
    }

    /// How many are drawn, images or groups.
    pub fn count(&self) -> usize {
        self.groups().unwrap_or(self.images)
    }

    /// How many of them, images or groups, have an image of which that is so.
    pub fn count_where(&self, is: impl Fn(usize) -> bool) -> usize {
        match self.groups.is_empty() {
            true => (0..self.images).filter(|&image| is(image)).count(),
            false => self.groups.iter().filter(|own| own.iter().any(|&image| is(image))).count(),
        }
    }

    /// All images.
    pub fn all(&self) -> Vec<usize> {
        (0..self.images).collect()
    }

    /// The images of the resample of this number: as many draws as there are images or groups.
    pub fn resample(&self, number: u64) -> Vec<usize> {
        let (mut stream, count) = (random::stream(SEED, "bootstrap", 0, number), self.count());
        let drawn = (0..count).map(|_| random::below(&mut stream, count));
        match self.groups.is_empty() {
            true => drawn.collect(),
            false => drawn.flat_map(|group| self.groups[group].iter().copied()).collect(),
        }
    }

    /// How many images that nothing joins would tell as much of a share: those of which it would vary as it does over the resamples
    /// (Korn and Graubard 1998), no more than there are and no fewer than where the images of each group are all alike (Kish 1965),
    /// which is what is taken where nearly all images are right, or wrong: one mistake tells nothing of the others in its group. `spread` is
    /// the variance of what one image adds, `rare` the share of those that make it.
    pub fn independent(&self, share: f64, spread: f64, rare: f64, resampled: impl Iterator<Item = f64>) -> f64 {
        let images = self.images as f64;
        if self.groups.is_empty() {
            return images;
        }
        let squares: f64 = self.groups.iter().map(|own| (own.len() as f64).powi(2)).sum();
        let least = images * images / squares;
        let (count, squares) =
            resampled.fold((0., 0.), |(count, sum), value| (count + 1., sum + (value - share).powi(2)));
        if spread > 0. && rare * images > TELLING - 0.5 {
            (spread * count / squares).clamp(least, images)
        } else {
            least
        }
    }
}
