//! One value after another.

use super::array::steps;
use super::reduce::BUSY;
use super::{Array, Axes, Map, Value, Work};
use crate::kernels::function::Function;
use crate::kernels::pointwise::Grid;
use candle_core::{Result, Shape, bail};
use half::bf16;

/// How far apart a tensor's places are along the axes of one that it is broadcast to.
pub(super) fn broadcast_steps(own: &[usize], to: &[usize]) -> Result<Vec<usize>> {
    let Some(extra) = to.len().checked_sub(own.len()) else {
        bail!("a tensor of shape {own:?} is broadcast to {to:?}")
    };
    let own_steps = steps(own);
    let step = |axis: usize| match axis.checked_sub(extra).map(|axis| (own[axis], own_steps[axis])) {
        None | Some((1, _)) => Ok(0),
        Some((size, step)) if size == to[axis] => Ok(step),
        Some(_) => bail!("a tensor of shape {own:?} is broadcast to {to:?}"),
    };
    (0..to.len()).map(step).collect()
}

/// Into how many parts the outer places of channels are parted, and how many those have each: where the channels are few, since
/// each part of each is a block's work. What they give is added up behind.
pub(super) fn shared(outer: usize, channels: usize) -> (usize, usize) {
    let parts = BUSY.div_ceil(channels.max(1)).min(outer).max(1);
    let each = outer.div_ceil(parts);
    (outer.div_ceil(each.max(1)).max(1), each)
}

/// How the channels of a grid are summed up, [`shared`] out: in how many parts, by how many blocks, and what their kernels are
/// told of that.
fn summed(grid: &Grid) -> (usize, Work, [Value; 5]) {
    let (parts, each) = shared(grid.outer, grid.channels);
    let n = parts * grid.channels;
    (parts, Work::Blocks(n), [n, grid.outer, grid.channels, grid.inner, each].map(Value::from))
}

/// A function's kernels, forwards and backwards, and its numbers.
fn named(function: Function) -> (&'static str, &'static str, [f32; 2]) {
    match function {
        Function::Sigmoid => ("sigmoid", "sigmoid_back", [0.; 2]),
        Function::Silu => ("silu", "silu_back", [0.; 2]),
        Function::HardSwish => ("hard_swish", "hard_swish_back", [0.; 2]),
        Function::HardSigmoid(a, b) => ("hard_sigmoid", "hard_sigmoid_back", [a as f32, b as f32]),
        Function::Gelu => ("gelu", "gelu_back", [0.; 2]),
    }
}

/// Functions of bfloat16 that are bfloat16, gradients in front of activations beside; others are float32 as under PyTorch's
/// `autocast`. What comparisons give is the same in both.
const HALVES: [&str; 24] = [
    "abs",
    "add",
    "add_clip",
    "affine",
    "clip",
    "eq",
    "ge",
    "gelu",
    "gt",
    "hard_sigmoid",
    "hard_swish",
    "le",
    "lt",
    "maximum",
    "minimum",
    "mul",
    "ne",
    "neg",
    "relu",
    "sigmoid",
    "sign",
    "silu",
    "sub",
    "tanh",
];

impl Array {
    /// A function of each value: `unary_NAME` of `source/pointwise.cu`, with its two numbers.
    ///
    /// # Errors
    /// Of the device.
    pub fn unary(&self, name: &str, [p, q]: [f32; 2]) -> Result<Array> {
        let made = Array::unset_as(self.half && HALVES.contains(&name), &self.gpu, self.dims())?;
        let values = [self.map(), made.map(), self.len().into(), p.into(), q.into()];
        self.gpu.launch(&format!("unary_{name}"), Work::Each(self.len()), values)?;
        Ok(made)
    }

    /// A function of two values at each place, both broadcast as numpy does: `binary_NAME` of `source/pointwise.cu`. The
    /// gradient in front of an activation is stored as that; what else bfloat16 meets float32 in, but for an array of one value,
    /// is float32.
    ///
    /// # Errors
    /// Where the shapes do not fit, and those of the device.
    pub fn binary(&self, other: &Array, name: &str, [p, q]: [f32; 2]) -> Result<Array> {
        let shape = if self.dims() == other.dims() {
            self.shape().clone()
        } else {
            self.shape().broadcast_shape_binary_op(other.shape(), "a function of two tensors")?
        };
        let (first, second) =
            (broadcast_steps(self.dims(), shape.dims())?, broadcast_steps(other.dims(), shape.dims())?);
        let axes = Axes::new(shape.dims(), &first, &second)?;
        let fits = |own: &Array| own.half || own.len() == 1;
        let half = match name.ends_with("_back") {
            true => self.half,
            false => HALVES.contains(&name) && (self.half || other.half) && fits(self) && fits(other),
        };
        let made = Array::unset_as(half, &self.gpu, shape)?;
        let n = made.len();
        let values = [self.map(), other.map(), made.map(), n.into(), axes.into(), p.into(), q.into()];
        self.gpu.launch(&format!("binary_{name}"), Work::Each(n), values)?;
        Ok(made)
    }

    /// An activation.
    ///
    /// # Errors
    /// Of the device.
    pub fn active(&self, function: Function) -> Result<Array> {
        let (name, _, numbers) = named(function);
        self.unary(name, numbers)
    }

    /// Its gradient by this input, given that by the output.
    ///
    /// # Errors
    /// Of the device.
    pub fn active_back(&self, grad: &Array, function: Function) -> Result<Array> {
        let (_, name, numbers) = named(function);
        self.binary(grad, name, numbers)
    }

    /// The gradient in front of a clip, whose output this is. Bounds that are not numbers hold nothing back.
    ///
    /// # Errors
    /// Where the shapes do not fit, and those of the device.
    pub fn clip_back(&self, grad: &Array, bounds: [f32; 2]) -> Result<Array> {
        self.binary(grad, "clip_back", self.stored_bounds(bounds))
    }

    /// Bounds as they are among these values.
    fn stored_bounds(&self, bounds: [f32; 2]) -> [f32; 2] {
        if self.half { bounds.map(|bound| bf16::from_f32(bound).to_f32()) } else { bounds }
    }

    /// `yes` where this is not 0, else `no`; all of one shape.
    ///
    /// # Errors
    /// Where the shapes differ, and those of the device.
    pub fn choose(&self, yes: &Array, no: &Array) -> Result<Array> {
        if self.dims() != yes.dims() || self.dims() != no.dims() {
            bail!("a choice between shapes {:?} and {:?} by {:?}", yes.dims(), no.dims(), self.dims());
        }
        let made = Array::unset_as(yes.half && no.half, &self.gpu, self.dims())?;
        let values = [self.map(), yes.map(), no.map(), made.map(), self.len().into()];
        self.gpu.launch("choose", Work::Each(self.len()), values)?;
        Ok(made)
    }

    /// Times a scale plus a shift, with one value a channel of the grid, between two bounds.
    ///
    /// # Errors
    /// Of the device.
    pub fn scale_shift(&self, grid: &Grid, s: &Array, t: &Array, [low, high]: [f32; 2]) -> Result<Array> {
        let (made, s, t) = (Array::unset_as(self.half, &self.gpu, self.dims())?, s.floats()?, t.floats()?);
        let (n, channels, inner) = (self.len().into(), grid.channels.into(), grid.inner.into());
        let values = [self.map(), s.memory(), t.memory(), made.map(), n, channels, inner, low.into(), high.into()];
        self.gpu.launch("scale_shift", Work::Each(self.len()), values)?;
        Ok(made)
    }

    /// Its gradient by the input; this is its output. Bounds that are not numbers hold nothing back.
    ///
    /// # Errors
    /// Of the device.
    pub fn scale_shift_back(&self, grad: &Array, grid: &Grid, s: &Array, bounds: [f32; 2]) -> Result<Array> {
        let [low, high] = self.stored_bounds(bounds);
        let (made, s) = (Array::unset_as(self.half, &self.gpu, self.dims())?, s.floats()?);
        let (n, channels, inner) = (self.len().into(), grid.channels.into(), grid.inner.into());
        let values = [self.map(), grad.map(), s.memory(), made.map(), n, channels, inner, low.into(), high.into()];
        self.gpu.launch("scale_shift_back", Work::Each(self.len()), values)?;
        Ok(made)
    }

    /// Its gradients by scale and shift, `[channels]` each; this is its output.
    ///
    /// # Errors
    /// Of the device.
    pub fn scale_shift_sums(&self, grad: &Array, x: &Array, grid: &Grid, bounds: [f32; 2]) -> Result<[Array; 2]> {
        if self.is_empty() {
            let none = || Array::full(&self.gpu, 0., grid.channels);
            return Ok([none()?, none()?]);
        }
        let [low, high] = self.stored_bounds(bounds).map(Value::from);
        let (parts, work, [n, outer, channels, inner, each]) = summed(grid);
        let sums = || Array::unset(&self.gpu, (parts, grid.channels));
        let (s, t, y, dy, x) = (sums()?, sums()?, self.map(), grad.map(), x.map());
        let values = [y, dy, x, s.memory(), t.memory(), n, outer, channels, inner, each, low, high];
        self.gpu.launch("scale_shift_sums", work, values)?;
        Ok([s.joined(grid.channels)?, t.joined(grid.channels)?])
    }

    /// The gradient in front of a bias, with one value a channel of the grid, and of bounds, whose output this is; and its sums
    /// `[channels]`. Bounds that are not numbers hold nothing back; without any the gradient stays the same.
    ///
    /// # Errors
    /// Of the device.
    pub fn bias_back(&self, grad: &Array, grid: &Grid, bounds: Option<[f32; 2]>) -> Result<[Array; 2]> {
        let made = match bounds {
            Some(_) => Array::unset_as(self.half, &self.gpu, self.dims())?,
            None => grad.clone(),
        };
        if self.is_empty() {
            return Ok([made, Array::full(&self.gpu, 0., grid.channels)?]);
        }
        let nowhere = Value { map: Map { pointer: 0, half: 0 } };
        let [low, high] = self.stored_bounds(bounds.unwrap_or([f32::NAN; 2])).map(Value::from);
        let (parts, work, [n, outer, channels, inner, each]) = summed(grid);
        let sums = Array::unset(&self.gpu, (parts, grid.channels))?;
        let (y, dy, dx) = (self.map(), grad.map(), bounds.map_or(nowhere, |_| made.map()));
        let values = [y, dy, dx, sums.memory(), n, outer, channels, inner, each, low, high];
        self.gpu.launch("bias_back", work, values)?;
        Ok([made, sums.joined(grid.channels)?])
    }

    /// The sum of parts `[parts, ...]`, of this shape.
    pub(super) fn joined(self, shape: impl Into<Shape>) -> Result<Array> {
        if self.dims()[0] == 1 { self.reshape(shape) } else { self.reduce("sum", &[0])?.reshape(shape) }
    }

    /// This shape and another's, broadcast against each other.
    ///
    /// # Errors
    /// Where they do not fit.
    pub fn broadcast_as(&self, shape: impl Into<Shape>) -> Result<Array> {
        let shape = shape.into();
        if shape.dims() == self.dims() {
            return Ok(self.clone());
        }
        let steps = broadcast_steps(self.dims(), shape.dims())?;
        self.arranged(shape, &steps, 0)
    }
}
