//! The same values in another arrangement, and values picked by their places.

use super::array::steps;
use super::{Array, Axes, Work};
use candle_core::{Result, Shape, bail};

impl Array {
    /// The values of this shape that lie so far apart along each axis, from a start on.
    pub(super) fn arranged(&self, shape: impl Into<Shape>, steps: &[usize], start: usize) -> Result<Array> {
        let made = Array::unset_as(self.half, &self.gpu, shape)?;
        let (n, axes) = (made.len(), Axes::one(made.dims(), steps)?);
        let values = [self.map(), made.map(), n.into(), axes.into(), start.into()];
        self.gpu.launch("arrange", Work::Each(n), values)?;
        Ok(made)
    }

    /// The same values in memory of their own.
    ///
    /// # Errors
    /// Of the device.
    pub fn copy(&self) -> Result<Array> {
        self.arranged(self.dims(), &steps(self.dims()), 0)
    }

    /// The axes in this order.
    ///
    /// # Errors
    /// Of the device.
    pub fn permute(&self, order: &[usize]) -> Result<Array> {
        let own = steps(self.dims());
        let shape: Vec<usize> = order.iter().map(|&axis| self.dims()[axis]).collect();
        self.arranged(shape, &order.iter().map(|&axis| own[axis]).collect::<Vec<_>>(), 0)
    }

    /// `length` places of an axis from `start` on.
    ///
    /// # Errors
    /// Where the axis has fewer, and those of the device.
    pub fn narrow(&self, axis: usize, start: usize, length: usize) -> Result<Array> {
        let mut shape = self.dims().to_vec();
        if axis >= shape.len() || start + length > shape[axis] {
            bail!("{length} places from {start} on of axis {axis} of a tensor of shape {shape:?}");
        }
        if length == shape[axis] {
            return Ok(self.clone());
        }
        let own = steps(&shape);
        shape[axis] = length;
        self.arranged(shape, &own, start * own[axis])
    }

    /// Writes these values to their places along an axis of another's, from `start` on.
    ///
    /// # Errors
    /// Where they do not fit, and those of the device.
    pub fn paste(&self, into: &Array, axis: usize, start: usize) -> Result<()> {
        let own = self.dims();
        let others = |&(a, _): &(usize, _)| a != axis;
        let fits = own.len() == into.dims().len()
            && own.iter().zip(into.dims()).enumerate().filter(others).all(|(_, (a, b))| a == b);
        if !fits || own.get(axis).is_none_or(|length| start + length > into.dims()[axis]) {
            bail!("values of shape {own:?} are written to {:?}, axis {axis} from {start} on", into.dims());
        }
        let steps = steps(into.dims());
        let axes = Axes::one(own, &steps)?;
        let values = [self.map(), into.map(), self.len().into(), axes.into(), (start * steps[axis]).into()];
        self.gpu.launch("spread", Work::Each(self.len()), values)
    }

    /// An array of this shape that holds the parts at their places along an axis, and 0 elsewhere: in bfloat16 where all are.
    ///
    /// # Errors
    /// As for [`Array::paste`].
    pub fn pasted(parts: &[(&Array, usize)], axis: usize, shape: &[usize]) -> Result<Array> {
        let Some((first, _)) = parts.first() else { bail!("no parts are put together") };
        let covered = parts.iter().map(|(part, _)| part.dims().get(axis).copied().unwrap_or(0)).sum::<usize>();
        let mut made = Array::unset_as(parts.iter().all(|(part, _)| part.half), &first.gpu, shape)?;
        if covered < shape[axis] {
            made = made.filled(0.)?;
        }
        parts.iter().try_for_each(|(part, start)| part.paste(&made, axis, *start))?;
        Ok(made)
    }

    /// These places of an axis.
    ///
    /// # Errors
    /// Of the device. Places lie inside of the axis.
    pub fn take(&self, axis: usize, at: &[u32]) -> Result<Array> {
        let mut shape = self.dims().to_vec();
        let (length, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        if let Some(place) = at.iter().find(|place| **place as usize >= length) {
            bail!("place {place} of an axis of length {length}");
        }
        shape[axis] = at.len();
        let (made, places) = (Array::unset_as(self.half, &self.gpu, shape)?, self.gpu.upload_places(at)?);
        let (n, count) = (made.len(), at.len().into());
        let values = [self.map(), (&places).into(), made.map(), n.into(), count, inner.into(), length.into()];
        self.gpu.launch("take", Work::Each(n), values)?;
        Ok(made)
    }

    /// The opposite: an axis of `length` where each place has the sum of what [`Array::take`] reads there.
    ///
    /// # Errors
    /// As for [`Array::take`].
    pub fn give_back(&self, axis: usize, at: &[u32], length: usize) -> Result<Array> {
        let mut shape = self.dims().to_vec();
        let inner = shape[axis + 1..].iter().product::<usize>();
        if let Some(place) = at.iter().find(|place| **place as usize >= length) {
            bail!("place {place} of an axis of length {length}");
        }
        // For each place those that read it, in order.
        let mut starts = vec![0u32; length + 1];
        at.iter().for_each(|&place| starts[place as usize + 1] += 1);
        (0..length).for_each(|place| starts[place + 1] += starts[place]);
        let mut from: Vec<u32> = (0..at.len() as u32).collect();
        from.sort_by_key(|&reader| at[reader as usize]);
        shape[axis] = length;
        let made = Array::unset_as(self.half, &self.gpu, shape)?;
        let (starts, from) = (self.gpu.upload_places(&starts)?, self.gpu.upload_places(&from)?);
        let (n, count) = (made.len(), at.len().into());
        let places = [(&starts).into(), (&from).into()];
        let [starts, from] = places;
        let values = [self.map(), starts, from, made.map(), n.into(), count, inner.into(), length.into()];
        self.gpu.launch("give_back", Work::Each(n), values)?;
        Ok(made)
    }
}
