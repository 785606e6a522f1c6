//! Where a tensor's values lie in the image.

use ndarray::{Array2, Array3, ArrayViewD, Axis};

/// Tokens that stand for no place: of the class, of distillation, registers.
const MOST_EXTRA: usize = 8;
/// Fewer places are no map.
const LEAST: usize = 4;

/// How a tensor of one image, `[1, …]`, covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub height: usize,
    pub width: usize,
    /// The axis of the channels.
    channels: usize,
    /// Tokens before the first one of a place.
    extra: usize,
}

impl Grid {
    /// Of a map, `[1, channels, height, width]` or with the channels last, or of tokens `[1, tokens, channels]`, laid in rows
    /// with the `image`'s proportion (height and width in pixels). `None` for other shapes.
    pub fn of(shape: &[usize], channels_last: bool, image: (u32, u32)) -> Option<Grid> {
        let grid = match *shape {
            [1, height, width, _] if channels_last => Grid { height, width, channels: 3, extra: 0 },
            [1, _, height, width] => Grid { height, width, channels: 1, extra: 0 },
            [1, tokens, _] => {
                let (rows, columns) = (u64::from(image.0), u64::from(image.1));
                let fits = |extra: usize| {
                    let places = (tokens - extra) as u64;
                    let height = (places * rows).checked_div(columns)?.isqrt();
                    let width = places.checked_div(height)?;
                    let whole = height * width == places && height * columns == width * rows;
                    whole.then_some(Grid { height: height as usize, width: width as usize, channels: 2, extra })
                };
                (0..=MOST_EXTRA.min(tokens)).find_map(fits)?
            }
            _ => return None,
        };
        (grid.height * grid.width >= LEAST).then_some(grid)
    }

    /// How many channels a tensor of this shape has.
    pub fn channels(&self, shape: &[usize]) -> usize {
        shape[self.channels]
    }

    /// The values in their places: `[channels, height, width]`.
    pub fn planes(&self, tensor: ArrayViewD<f32>) -> Option<Array3<f32>> {
        let mut tensor = tensor.index_axis(Axis(0), 0).to_owned();
        tensor.swap_axes(0, self.channels - 1);
        if self.channels == 3 {
            // What was the rows' axis is last now.
            tensor.swap_axes(1, 2);
        }
        let mut tensor = tensor.as_standard_layout().into_owned();
        if self.channels == 2 {
            tensor.slice_axis_inplace(Axis(1), (self.extra..).into());
        }
        let channels = tensor.len_of(Axis(0));
        tensor.as_standard_layout().into_owned().into_shape_with_order((channels, self.height, self.width)).ok()
    }
}

/// Channels times their weights, summed: `[height, width]`.
pub(super) fn weighted(planes: &Array3<f32>, weights: impl Iterator<Item = f32>) -> Array2<f32> {
    let (_, height, width) = planes.dim();
    let mut map = Array2::zeros((height, width));
    planes.outer_iter().zip(weights).for_each(|(plane, weight)| map.scaled_add(weight, &plane));
    map
}

/// A map in another size, bilinear between the centres of its places.
pub(super) fn resized(map: &Array2<f32>, height: usize, width: usize) -> Array2<f32> {
    let place = |i: usize, size: usize, from: usize| {
        let at = ((i as f32 + 0.5) * from as f32 / size as f32 - 0.5).clamp(0., (from - 1) as f32);
        let first = at as usize;
        (first, (first + 1).min(from - 1), at - first as f32)
    };
    let (rows, columns) = map.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let (top, bottom, down) = place(y, height, rows);
        let (left, right, along) = place(x, width, columns);
        let row = |y: usize| map[[y, left]] * (1. - along) + map[[y, right]] * along;
        row(top) * (1. - down) + row(bottom) * down
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, array};

    #[test]
    fn tokens_are_laid_in_the_image_s_proportion() {
        let of = |tokens: usize, image| Grid::of(&[1, tokens, 5], false, image).map(|g| (g.height, g.width, g.extra));
        assert_eq!(of(197, (224, 224)), Some((14, 14, 1)));
        assert_eq!(of(198, (224, 224)), Some((14, 14, 2)));
        assert_eq!(of(200, (224, 224)), Some((14, 14, 4)));
        assert_eq!(of(196, (224, 224)), Some((14, 14, 0)));
        assert_eq!(of(33, (64, 128)), Some((4, 8, 1)));
        assert_eq!(of(1, (224, 224)), None);
        assert_eq!(of(0, (224, 224)), None);
    }

    #[test]
    fn values_keep_their_places() {
        let map = Array::from_shape_fn((1, 2, 3, 4), |(_, c, y, x)| (c * 100 + y * 10 + x) as f32);
        let wanted = map.index_axis(Axis(0), 0).to_owned();
        let first = Grid::of(map.shape(), false, (3, 4)).unwrap();
        assert_eq!(first.planes(map.view().into_dyn()).unwrap(), wanted);
        let last = map.permuted_axes([0, 2, 3, 1]);
        let grid = Grid::of(last.shape(), true, (3, 4)).unwrap();
        assert_eq!(grid.planes(last.view().into_dyn()).unwrap(), wanted);
        let tokens = Array::from_shape_fn((1, 13, 2), |(_, t, c)| match t {
            0 => -1.,
            t => (c * 100 + (t - 1) / 4 * 10 + (t - 1) % 4) as f32,
        });
        let grid = Grid::of(tokens.shape(), false, (3, 4)).unwrap();
        assert_eq!(grid.planes(tokens.view().into_dyn()).unwrap(), wanted);
    }

    #[test]
    fn maps_are_resized_between_centres() {
        let map = array![[0f32, 1.]];
        assert_eq!(resized(&map, 1, 4), array![[0., 0.25, 0.75, 1.]]);
        assert_eq!(resized(&map, 2, 2), array![[0., 1.], [0., 1.]]);
    }
}
