//! Shapes and arrangements under candle's names; each is candle's on the CPU.

use super::Tensor;
use super::methods::array;
use super::value::{Cuda, host};
use crate::cuda::Array;
use candle_core::{DType, Result, Shape, Tensor as Host, bail};

impl Tensor {
    /// The sizes of its axes.
    pub fn dims(&self) -> &[usize] {
        self.shape().dims()
    }

    /// The size of one.
    ///
    /// # Errors
    /// Where it has fewer.
    pub fn dim(&self, axis: usize) -> Result<usize> {
        self.shape()
            .dims()
            .get(axis)
            .copied()
            .ok_or_else(|| candle_core::Error::msg(format!("there is no axis {axis}")))
    }

    /// The sizes of both.
    ///
    /// # Errors
    /// Where it has other than two.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        self.shape().dims2()
    }

    /// How many axes it has.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// How many values it has.
    pub fn elem_count(&self) -> usize {
        self.shape().elem_count()
    }

    /// Whether its values lie in row-major order.
    pub fn is_contiguous(&self) -> bool {
        match self {
            Tensor::Host(own) => own.is_contiguous(),
            Tensor::Cuda(_) => true,
        }
    }

    /// The same values in row-major order.
    ///
    /// # Errors
    /// Of the device.
    pub fn contiguous(&self) -> Result<Tensor> {
        self.arrange(Host::contiguous, |own| Ok(own.clone()))
    }

    /// The same values in memory of their own.
    ///
    /// # Errors
    /// Of the device.
    pub fn copy(&self) -> Result<Tensor> {
        self.arrange(Host::copy, |own| own.copy())
    }

    /// The same values, said to be of another type.
    ///
    /// # Errors
    /// Of the device.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        Ok(match self {
            Tensor::Host(own) => Tensor::Host(own.to_dtype(dtype)?),
            Tensor::Cuda(own) => Cuda::tensor(own.array.clone(), dtype),
        })
    }

    /// The same values in another shape.
    ///
    /// # Errors
    /// Where that has more or fewer.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        self.arrange(|own| own.reshape(shape.clone()), |own| own.reshape(shape.clone()))
    }

    /// On one axis.
    ///
    /// # Errors
    /// Of the device.
    pub fn flatten_all(&self) -> Result<Tensor> {
        self.arrange(Host::flatten_all, |own| own.reshape(own.len()))
    }

    /// An axis and all behind it as one.
    ///
    /// # Errors
    /// Where there is no such axis.
    pub fn flatten_from(&self, axis: usize) -> Result<Tensor> {
        let Some((outer, inner)) = self.dims().split_at_checked(axis) else { bail!("there is no axis {axis}") };
        let shape = [outer, &[inner.iter().product()]].concat();
        self.arrange(|own| own.flatten_from(axis), |own| own.reshape(shape))
    }

    /// Without an axis of length 1.
    ///
    /// # Errors
    /// Where there is no such axis.
    pub fn squeeze(&self, axis: usize) -> Result<Tensor> {
        let mut shape = self.dims().to_vec();
        if shape.get(axis) == Some(&1) {
            shape.remove(axis);
        }
        self.arrange(|own| own.squeeze(axis), |own| own.reshape(shape))
    }

    /// With one axis of length 1 more.
    ///
    /// # Errors
    /// Where there is no such place.
    pub fn unsqueeze(&self, axis: usize) -> Result<Tensor> {
        let mut shape = self.dims().to_vec();
        if axis <= shape.len() {
            shape.insert(axis, 1);
        }
        self.arrange(|own| own.unsqueeze(axis), |own| own.reshape(shape))
    }

    /// The axes in this order.
    ///
    /// # Errors
    /// Of the device.
    pub fn permute(&self, order: impl AsRef<[usize]>) -> Result<Tensor> {
        self.arrange(|own| own.permute(order.as_ref()), |own| own.permute(order.as_ref()))
    }

    /// Two axes exchanged.
    ///
    /// # Errors
    /// Of the device.
    pub fn transpose(&self, one: usize, other: usize) -> Result<Tensor> {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(one, other);
        self.permute(order)
    }

    /// The last two axes exchanged.
    ///
    /// # Errors
    /// Of the device.
    pub fn t(&self) -> Result<Tensor> {
        let rank = self.rank();
        if rank < 2 { bail!("a tensor of {rank} axes is transposed") } else { self.transpose(rank - 2, rank - 1) }
    }

    /// `length` places of an axis from `start` on.
    ///
    /// # Errors
    /// Where it has fewer.
    pub fn narrow(&self, axis: usize, start: usize, length: usize) -> Result<Tensor> {
        self.arrange(|own| own.narrow(axis, start, length), |own| own.narrow(axis, start, length))
    }

    /// Repeated along its axes of length 1, and along new ones in front.
    ///
    /// # Errors
    /// Where the shape does not fit.
    pub fn broadcast_as(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        self.arrange(|own| own.broadcast_as(shape.clone()), |own| own.broadcast_as(shape.clone()))
    }

    /// The whole repeated so many times along each axis.
    ///
    /// # Errors
    /// Of the device.
    pub fn repeat(&self, times: Vec<usize>) -> Result<Tensor> {
        if let Tensor::Host(own) = self {
            return Ok(Tensor::Host(own.repeat(times)?));
        }
        let mut x = self.clone();
        for (axis, &times) in times.iter().enumerate().filter(|(_, times)| **times != 1) {
            x = Tensor::cat(&vec![&x; times], axis)?;
        }
        Ok(x)
    }

    /// Zeros before and behind an axis.
    ///
    /// # Errors
    /// Of the device.
    pub fn pad_with_zeros(&self, axis: usize, before: usize, behind: usize) -> Result<Tensor> {
        let mut shape = self.dims().to_vec();
        shape[axis] += before + behind;
        self.arrange(
            |own| own.pad_with_zeros(axis, before, behind),
            |own| Array::pasted(&[(own, before)], axis, &shape),
        )
    }

    /// Tensors one behind the other along an axis.
    ///
    /// # Errors
    /// Where the others differ.
    pub fn cat<T: AsRef<Tensor>>(parts: &[T], axis: usize) -> Result<Tensor> {
        let Some(first) = parts.first().map(AsRef::as_ref) else { bail!("nothing is joined") };
        if first.device().is_cpu() {
            let parts = parts.iter().map(|part| host(part.as_ref()).cloned()).collect::<Result<Vec<_>>>()?;
            return Ok(Tensor::Host(Host::cat(&parts, axis)?));
        }
        let mut shape = first.dims().to_vec();
        shape[axis] = 0;
        let mut places = Vec::with_capacity(parts.len());
        for part in parts.iter().map(AsRef::as_ref) {
            places.push((array(part)?, shape[axis]));
            shape[axis] += part.dim(axis)?;
        }
        Ok(Cuda::tensor(Array::pasted(&places, axis, &shape)?, first.dtype()))
    }

    /// Writes another's values to their places along an axis of this, from `start` on, in this memory.
    ///
    /// # Errors
    /// Where they do not fit.
    pub fn slice_set(&self, other: &Tensor, axis: usize, start: usize) -> Result<()> {
        match self {
            Tensor::Host(own) => own.slice_set(host(other)?, axis, start),
            Tensor::Cuda(own) => {
                let other = other.to_device(self.device())?;
                array(&other)?.paste(&own.array, axis, start)
            }
        }
    }
}

impl AsRef<Tensor> for Tensor {
    fn as_ref(&self) -> &Tensor {
        self
    }
}
