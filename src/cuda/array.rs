//! Values on a device, always in row-major order.

use super::{Axes, Gpu, Map, Memory, Value, Work};
use candle_core::{Result, Shape, bail};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// An array on a device, of `f32`, or of bfloat16 where [`Array::is_half`]. Clones, and other shapes of it, share its memory.
#[derive(Clone)]
pub struct Array {
    pub(super) gpu: Gpu,
    pub(super) memory: Arc<Memory>,
    shape: Shape,
    /// Whether its values are stored as bfloat16, two in a word.
    pub(super) half: bool,
    /// The values in bfloat16, once they were multiplied so, where that is kept.
    pub(super) rounded: Option<Arc<OnceLock<Arc<Memory>>>>,
}

/// How far apart the places of each axis lie in row-major order.
pub(super) fn steps(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        steps[axis - 1] = steps[axis] * shape[axis];
    }
    steps
}

impl Axes {
    /// Axes of these sizes, and their steps in two tensors; those that can be are joined.
    pub(super) fn new(sizes: &[usize], first: &[usize], second: &[usize]) -> Result<Axes> {
        let mut joined: Vec<[usize; 3]> = Vec::new();
        for ((&size, &a), &b) in sizes.iter().zip(first).zip(second).filter(|((size, _), _)| **size != 1) {
            match joined.last_mut() {
                Some(outer) if outer[1] == a * size && outer[2] == b * size => *outer = [outer[0] * size, a, b],
                _ => joined.push([size, a, b]),
            }
        }
        let mut axes = Axes { size: [1; 8], first: [0; 8], second: [0; 8] };
        let Some(skip) = axes.size.len().checked_sub(joined.len()) else {
            bail!("a tensor of shape {sizes:?} has too many axes for the GPU")
        };
        for (i, [size, a, b]) in joined.into_iter().enumerate() {
            (axes.size[skip + i], axes.first[skip + i], axes.second[skip + i]) = (size as i32, a as i32, b as i32);
        }
        Ok(axes)
    }

    /// With steps in one tensor alone.
    pub(super) fn one(sizes: &[usize], first: &[usize]) -> Result<Axes> {
        Axes::new(sizes, first, &vec![0; sizes.len()])
    }
}

impl Array {
    /// An array whose memory holds nothing yet: a kernel has to write all of it.
    pub(super) fn unset(gpu: &Gpu, shape: impl Into<Shape>) -> Result<Array> {
        Array::unset_as(false, gpu, shape)
    }

    /// The same, of bfloat16 where that is wanted.
    pub(super) fn unset_as(half: bool, gpu: &Gpu, shape: impl Into<Shape>) -> Result<Array> {
        let shape = shape.into();
        let memory = Arc::new(gpu.alloc(half, shape.elem_count())?);
        Ok(Array { gpu: gpu.clone(), memory, shape, half, rounded: None })
    }

    /// Values from the host.
    ///
    /// # Errors
    /// Where they are not as many as the shape says, or the device has no room.
    pub fn upload(gpu: &Gpu, values: &[f32], shape: impl Into<Shape>) -> Result<Array> {
        let shape = shape.into();
        if values.len() != shape.elem_count() {
            bail!("{} values for a tensor of shape {shape:?}", values.len());
        }
        Ok(Array { gpu: gpu.clone(), memory: Arc::new(gpu.upload(values)?), shape, half: false, rounded: None })
    }

    /// The same value everywhere.
    ///
    /// # Errors
    /// Where the device has no room.
    pub fn full(gpu: &Gpu, value: f32, shape: impl Into<Shape>) -> Result<Array> {
        Array::unset(gpu, shape)?.filled(value)
    }

    /// This one with the same value everywhere.
    pub(super) fn filled(self, value: f32) -> Result<Array> {
        self.gpu.launch("fill", Work::Each(self.len()), [self.map(), self.len().into(), value.into()])?;
        Ok(self)
    }

    /// The values, on the host, once all work before has ended.
    ///
    /// # Errors
    /// Of the device.
    pub fn download(&self) -> Result<Vec<f32>> {
        let mut values = self.gpu.download(&self.floats()?.memory)?;
        values.truncate(self.len());
        Ok(values)
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The same.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.shape.elem_count()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its values are stored as bfloat16.
    pub fn is_half(&self) -> bool {
        self.half
    }

    /// The same values stored as bfloat16, or as float32.
    pub(super) fn stored(&self, half: bool) -> Result<Array> {
        if self.half == half {
            return Ok(self.clone());
        }
        let made = Array::unset_as(half, &self.gpu, self.dims())?;
        let values = [self.map(), made.map(), self.len().into(), 0f32.into(), 0f32.into()];
        self.gpu.launch("unary_same", Work::Each(self.len()), values)?;
        Ok(made)
    }

    /// The same values stored as float32.
    ///
    /// # Errors
    /// Of the device.
    pub fn floats(&self) -> Result<Array> {
        self.stored(false)
    }

    /// For a kernel that reads or writes either kind.
    pub(super) fn map(&self) -> Value {
        Value { map: Map { pointer: self.memory.pointer, half: self.half.into() } }
    }

    /// For one that knows float32 alone.
    pub(super) fn memory(&self) -> Value {
        assert!(!self.half, "a kernel that knows float32 alone is given bfloat16");
        (&*self.memory).into()
    }

    /// The same values, which do not change any more: however often they are multiplied, they are rounded for it once.
    pub fn rounded_once(&self) -> Array {
        Array { rounded: Some(Arc::default()), ..self.clone() }
    }

    /// The same values in another shape.
    ///
    /// # Errors
    /// Where that has more or fewer.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Array> {
        let shape = shape.into();
        if shape.elem_count() != self.len() {
            bail!("a tensor of shape {:?} is reshaped to {shape:?}", self.shape);
        }
        Ok(Array { shape, ..self.clone() })
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Array({:?} on {:?})", self.shape.dims(), self.gpu)
    }
}
