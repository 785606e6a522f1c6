//! Grey patches over an image, and what becomes of a probability.

use crate::data::{Color, Layout, Preprocessing};
use ndarray::{Array2, ArrayD, ArrayViewD, Axis, Slice};

/// Places along a side, and those that a patch covers: a bit more than a fifth of the side.
const PLACES: usize = 14;
const COVERED: usize = 3;
/// The middle of 0 to 255.
const GREY: f32 = 127.5;

/// Where patches go.
pub(super) struct Patches {
    /// Pixels.
    size: (usize, usize),
    /// Places in rows and columns.
    places: (usize, usize),
}

impl Patches {
    pub fn of(p: &Preprocessing) -> Patches {
        let (height, width) = (p.size().0 as usize, p.size().1 as usize);
        Patches { size: (height, width), places: (height.min(PLACES), width.min(PLACES)) }
    }

    /// The first places of each patch, row after row.
    pub fn corners(&self) -> impl Iterator<Item = (usize, usize)> {
        let last = |places: usize| places.saturating_sub(COVERED);
        let (rows, columns) = (last(self.places.0), last(self.places.1));
        (0..=rows).flat_map(move |row| (0..=columns).map(move |column| (row, column)))
    }

    /// The image under a patch.
    pub fn covered(
        &self,
        image: ArrayViewD<f32>,
        (row, column): (usize, usize),
        p: &Preprocessing,
        layout: Layout,
    ) -> ArrayD<f32> {
        let range = |place: usize, size: usize, places: usize| {
            let pixel = |place: usize| place.min(places) * size / places;
            Slice::from(pixel(place)..pixel(place + COVERED))
        };
        let (rows, columns) = (range(row, self.size.0, self.places.0), range(column, self.size.1, self.places.1));
        let (channels, first) = if layout == Layout::Nchw { (1, 2) } else { (3, 1) };
        let mut image = image.to_owned();
        let mut patch = image.slice_axis_mut(Axis(first), rows);
        patch.slice_axis_inplace(Axis(first + 1), columns);
        patch.axis_iter_mut(Axis(channels)).zip(greys(p)).for_each(|(mut channel, grey)| channel.fill(grey));
        image
    }

    /// For each place the mean of what patches on it took, `[rows, columns]`.
    pub fn map(&self, drops: &[f32]) -> Array2<f32> {
        let (mut sums, mut counts) = (Array2::zeros(self.places), Array2::<f32>::zeros(self.places));
        for ((row, column), drop) in self.corners().zip(drops) {
            for y in row..(row + COVERED).min(self.places.0) {
                for x in column..(column + COVERED).min(self.places.1) {
                    sums[[y, x]] += drop;
                    counts[[y, x]] += 1.;
                }
            }
        }
        sums / counts
    }
}

/// The values of a grey pixel, in the order of the model's channels; opacity is left as it is.
fn greys(p: &Preprocessing) -> Vec<f32> {
    let mut greys: Vec<f32> = p.mean.iter().zip(&p.std).map(|(mean, std)| (GREY * p.scale - mean) / std).collect();
    if p.color.has_alpha() {
        greys.pop();
    }
    if p.color == Color::Bgr {
        greys.reverse();
    }
    greys
}
