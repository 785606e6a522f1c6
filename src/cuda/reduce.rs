//! Sums and extremes over axes, rows, and products of matrices.

use super::array::steps;
use super::{Array, Axes, Memory, Work};
use crate::kernels::precision::{Number, Precision};
use candle_core::{Result, bail};
use std::sync::Arc;

/// From so many values on, a block of threads makes an output together.
const TOGETHER: usize = 32;
/// Blocks that keep a large device busy: fewer have work that is shared out further.
pub(super) const BUSY: usize = 1 << 10;
/// Threads that do.
const MANY: usize = 1 << 16;

/// Into how many values, few enough for one thread, so many are parted evenly, if that is worth a pass.
fn evenly(count: usize) -> Option<usize> {
    (TOGETHER / 4..TOGETHER).rev().find(|&part| count.is_multiple_of(part))
}

impl Array {
    /// The sum, largest or smallest value (`sum`, `max`, `min`) over axes, which stay with length 1; in float32.
    ///
    /// # Errors
    /// Of the device.
    pub fn reduce(&self, name: &str, axes: &[usize]) -> Result<Array> {
        let (sizes, own) = (self.dims(), steps(self.dims()));
        let part = |gone: bool| {
            let chosen = (0..sizes.len()).filter(|axis| axes.contains(axis) == gone);
            let (sizes, steps): (Vec<usize>, Vec<usize>) = chosen.map(|axis| (sizes[axis], own[axis])).unzip();
            Ok::<_, candle_core::Error>((sizes.iter().product::<usize>(), Axes::one(&sizes, &steps)?))
        };
        let ((n, kept), (count, gone)) = (part(false)?, part(true)?);
        let shape: Vec<usize> =
            (0..sizes.len()).map(|axis| if axes.contains(&axis) { 1 } else { sizes[axis] }).collect();
        let first = axes.iter().copied().min().unwrap_or(0);
        // What lies side by side behind the axes, where they are side by side themselves.
        let inner = match sizes.get(first + axes.len()..) {
            Some(behind) if (first..first + axes.len()).all(|axis| axes.contains(&axis)) => behind.iter().product(),
            _ => 1usize,
        };
        let columns = inner >= TOGETHER;
        // Threads side by side go down columns: as a whole where these are many, else in parts that are joined then.
        if columns
            && n < MANY
            && count >= 2 * TOGETHER
            && let Some(part) = evenly(count)
        {
            let parts = self.reshape((n / inner, count / part, part, inner))?.reduce(name, &[2])?;
            return parts.reshape((n / inner, count / part, inner))?.reduce(name, &[1])?.reshape(shape);
        }
        // Few outputs of many values, as a bias's gradient is: all axes but the first are joined before it is.
        if axes.len() > 1 && sizes[first] > 1 && n < BUSY && count >= TOGETHER * sizes[first] {
            let others: Vec<usize> = axes.iter().copied().filter(|&axis| axis != first).collect();
            return self.reduce(name, &others)?.reduce(name, &[first]);
        }
        let made = Array::unset(&self.gpu, shape)?;
        let values = [self.map(), made.memory(), n.into(), count.into(), kept.into(), gone.into()];
        let alone = count < TOGETHER || columns && n >= MANY;
        let (way, work) = if alone { ("fold", Work::Each(n)) } else { ("reduce", Work::Blocks(n)) };
        self.gpu.launch(&format!("{way}_{name}"), work, values)?;
        Ok(made)
    }

    /// The first place along an axis that holds its extreme (`max`, `min`), as a number; the axis stays with length 1.
    ///
    /// # Errors
    /// Where the axis is empty, and those of the device.
    pub fn place(&self, name: &str, axis: usize) -> Result<Array> {
        let mut shape = self.dims().to_vec();
        let (count, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        if count == 0 {
            bail!("an empty axis has no extreme");
        }
        shape[axis] = 1;
        let made = Array::unset(&self.gpu, shape)?;
        let values = [self.map(), made.memory(), made.len().into(), count.into(), inner.into()];
        self.gpu.launch(&format!("place_{name}"), Work::Each(made.len()), values)?;
        Ok(made)
    }

    /// Softmax of rows of this width.
    ///
    /// # Errors
    /// Of the device.
    pub fn softmax(&self, width: usize) -> Result<Array> {
        let (made, rows) = (Array::unset(&self.gpu, self.dims())?, self.len() / width);
        let values = [self.map(), made.memory(), rows.into(), width.into()];
        self.gpu.launch("softmax", Work::Blocks(rows), values)?;
        Ok(made)
    }

    /// Its gradient by the input; this is its output.
    ///
    /// # Errors
    /// Of the device.
    pub fn softmax_back(&self, grad: &Array, width: usize) -> Result<Array> {
        let (made, rows) = (Array::unset(&self.gpu, self.dims())?, self.len() / width);
        let values = [self.map(), grad.map(), made.memory(), rows.into(), width.into()];
        self.gpu.launch("softmax_back", Work::Blocks(rows), values)?;
        Ok(made)
    }

    /// Rows less their mean, by their deviation, times a scale, plus a bias: as many values as a row has.
    ///
    /// # Errors
    /// Of the device.
    pub fn layer_norm(&self, epsilon: f64, scale: &Array, bias: &Array) -> Result<Array> {
        let (made, width) = (Array::unset(&self.gpu, self.dims())?, scale.len());
        let rows = self.len() / width.max(1);
        let (scale, bias, epsilon) = (scale.floats()?, bias.floats()?, (epsilon as f32).into());
        let values = [self.map(), scale.memory(), bias.memory(), made.memory(), rows.into(), width.into(), epsilon];
        self.gpu.launch("layer_norm", Work::Blocks(rows), values)?;
        Ok(made)
    }

    /// Its gradients by this input, by the scale and by the bias (`[width]` each).
    ///
    /// # Errors
    /// Of the device.
    pub fn layer_norm_back(&self, epsilon: f64, scale: &Array, grad: &Array) -> Result<[Array; 3]> {
        let (dx, products) =
            (Array::unset_as(self.half, &self.gpu, self.dims())?, Array::unset(&self.gpu, self.dims())?);
        let (scale, width) = (scale.floats()?, scale.len());
        let rows = self.len() / width.max(1);
        let values = [
            self.map(),
            scale.memory(),
            grad.map(),
            dx.map(),
            products.memory(),
            rows.into(),
            width.into(),
            (epsilon as f32).into(),
        ];
        self.gpu.launch("layer_norm_back", Work::Blocks(rows), values)?;
        let sum = |x: &Array| x.reshape((rows, width))?.reduce("sum", &[0])?.reshape(width);
        Ok([dx, sum(&products)?, sum(grad)?])
    }

    /// Products of `[m, k]` and `[k, n]` matrices, `batch` of each (`counts` is `[batch, m, k, n]`), each stored transposed
    /// where `.1` says so.
    ///
    /// # Errors
    /// Where the sizes do not fit, and those of the device.
    pub fn products(counts: [usize; 4], a: (&Array, bool), b: (&Array, bool)) -> Result<Array> {
        let [batch, m, k, n] = counts;
        if a.0.len() != batch * m * k || b.0.len() != batch * k * n {
            bail!("matrices of shapes {:?} and {:?} are multiplied as {counts:?}", a.0.dims(), b.0.dims());
        }
        if batch * m * n == 0 || k == 0 {
            return Array::full(&a.0.gpu, 0., (batch, m, n));
        }
        let (made, number) = (Array::unset(&a.0.gpu, (batch, m, n))?, Precision::current().product);
        let [x, y] = [a.0.as_factor(number)?, b.0.as_factor(number)?];
        a.0.gpu.0.machine.products(counts, number, (&x, a.1), (&y, b.1), &made.memory)?;
        Ok(made)
    }

    /// These values as they are multiplied.
    pub(super) fn as_factor(&self, number: Number) -> Result<Arc<Memory>> {
        let rounded = self.rounded.as_ref().filter(|_| number == Number::Bf16);
        if let Some(rounded) = rounded.and_then(|rounded| rounded.get()) {
            return Ok(rounded.clone());
        }
        let made = self.stored(number == Number::Bf16)?.memory;
        if let Some(rounded) = rounded {
            let _ = rounded.set(made.clone());
        }
        Ok(made)
    }
}
