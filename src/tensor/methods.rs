//! Operations under candle's names; each is candle's on the CPU.

use super::Tensor;
use super::value::{Cuda, host};
use crate::cuda::Array;
use candle_core::{DType, InplaceOp1, InplaceOp2, Result, Tensor as Host, bail};

/// The array behind a tensor on a GPU.
pub(crate) fn array(tensor: &Tensor) -> Result<&Array> {
    match tensor {
        Tensor::Cuda(own) => Ok(&own.array),
        Tensor::Host(_) => bail!("a tensor on the CPU meets one on the GPU"),
    }
}

/// A tensor on a GPU of this array.
pub(crate) fn on_gpu(array: Array) -> Tensor {
    Cuda::tensor(array, DType::F32)
}

macro_rules! unary {
    ($($name:ident),*) => {
        $(
            #[doc = concat!("candle's `", stringify!($name), "`.\n\n# Errors\nOf the device.")]
            pub fn $name(&self) -> Result<Tensor> {
                self.map(stringify!($name), [0.; 2], Host::$name)
            }
        )*
    };
}

macro_rules! binary {
    ($($name:ident, $kernel:literal, $candle:ident;)*) => {
        $(
            #[doc = concat!("candle's `", stringify!($candle), "`.\n\n# Errors\nWhere the shapes do not fit.")]
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                self.meet(other, $kernel, Host::$candle)
            }
        )*
    };
}

macro_rules! compare {
    ($($name:ident, $broadcast:ident, $kernel:literal;)*) => {
        $(
            #[doc = concat!("candle's `", stringify!($broadcast), "`: 1 or 0.\n\n# Errors\nWhere the shapes do not fit.")]
            pub fn $broadcast(&self, other: &Tensor) -> Result<Tensor> {
                self.meet(other, $kernel, Host::$broadcast).map(Tensor::truth)
            }
        )*
    };
}

impl Tensor {
    fn map(&self, name: &str, numbers: [f32; 2], on_host: impl Fn(&Host) -> Result<Host>) -> Result<Tensor> {
        Ok(match self {
            Tensor::Host(own) => Tensor::Host(on_host(own)?),
            Tensor::Cuda(own) => Cuda::tensor(own.array.unary(name, numbers)?, own.dtype),
        })
    }

    fn meet(&self, other: &Tensor, name: &str, on_host: impl Fn(&Host, &Host) -> Result<Host>) -> Result<Tensor> {
        Ok(match self {
            Tensor::Host(own) => Tensor::Host(on_host(own, host(other)?)?),
            Tensor::Cuda(own) => Cuda::tensor(own.array.binary(array(other)?, name, [0.; 2])?, own.dtype),
        })
    }

    /// The same values in another arrangement.
    pub(super) fn arrange(
        &self,
        on_host: impl FnOnce(&Host) -> Result<Host>,
        on_gpu: impl FnOnce(&Array) -> Result<Array>,
    ) -> Result<Tensor> {
        Ok(match self {
            Tensor::Host(own) => Tensor::Host(on_host(own)?),
            Tensor::Cuda(own) => Cuda::tensor(on_gpu(&own.array)?, own.dtype),
        })
    }

    fn truth(self) -> Tensor {
        match self {
            Tensor::Cuda(own) => Tensor::Cuda(Cuda { dtype: DType::U8, ..own }),
            other => other,
        }
    }

    unary!(abs, ceil, cos, erf, exp, floor, log, neg, recip, relu, round, sign, sin, sqr, sqrt, tanh);

    binary! {
        plus, "add", add;
        minus, "sub", sub;
        times, "mul", mul;
        over, "div", div;
        mul, "mul", mul;
        broadcast_add, "add", broadcast_add;
        broadcast_sub, "sub", broadcast_sub;
        broadcast_mul, "mul", broadcast_mul;
        broadcast_div, "div", broadcast_div;
        broadcast_minimum, "minimum", broadcast_minimum;
        broadcast_maximum, "maximum", broadcast_maximum;
    }

    compare! {
        eq, broadcast_eq, "eq";
        ne, broadcast_ne, "ne";
        lt, broadcast_lt, "lt";
        le, broadcast_le, "le";
        gt, broadcast_gt, "gt";
        ge, broadcast_ge, "ge";
    }

    /// `scale · x + shift`
    ///
    /// # Errors
    /// Of the device.
    pub fn affine(&self, scale: f64, shift: f64) -> Result<Tensor> {
        self.map("affine", [scale as f32, shift as f32], |own| own.affine(scale, shift))
    }

    /// To a power.
    ///
    /// # Errors
    /// Of the device.
    pub fn powf(&self, power: f64) -> Result<Tensor> {
        self.map("powf", [power as f32, 0.], |own| own.powf(power))
    }

    /// `yes` where this is not 0, else `no`.
    ///
    /// # Errors
    /// Where the shapes differ.
    pub fn where_cond(&self, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Tensor::Host(own) => Tensor::Host(own.where_cond(host(yes)?, host(no)?)?),
            Tensor::Cuda(own) => Cuda::tensor(own.array.choose(array(yes)?, array(no)?)?, yes.dtype()),
        })
    }

    /// The product of two matrices.
    ///
    /// # Errors
    /// Where they do not fit.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        match self {
            Tensor::Host(own) => Ok(Tensor::Host(own.matmul(host(other)?)?)),
            Tensor::Cuda(own) => {
                let (&[m, k], &[inner, n]) = (self.dims(), other.dims()) else {
                    bail!("{:?} is multiplied by {:?}", self.dims(), other.dims())
                };
                if inner != k {
                    bail!("{:?} is multiplied by {:?}", self.dims(), other.dims());
                }
                let product = Array::products([1, m, k, n], (&own.array, false), (array(other)?, false))?;
                Ok(Cuda::tensor(product.reshape((m, n))?, own.dtype))
            }
        }
    }

    /// The sum over axes, which stay with length 1.
    ///
    /// # Errors
    /// Of the device.
    pub fn sum_keepdim(&self, axes: Vec<usize>) -> Result<Tensor> {
        self.arrange(|own| own.sum_keepdim(axes.clone()), |own| own.reduce("sum", &axes))
    }

    /// The sum of all, without axes.
    ///
    /// # Errors
    /// Of the device.
    pub fn sum_all(&self) -> Result<Tensor> {
        let all: Vec<usize> = (0..self.rank()).collect();
        self.arrange(Host::sum_all, |own| own.reduce("sum", &all)?.reshape(()))
    }

    /// The largest value of an axis, which stays with length 1.
    ///
    /// # Errors
    /// Of the device.
    pub fn max_keepdim(&self, axis: usize) -> Result<Tensor> {
        self.arrange(|own| own.max_keepdim(axis), |own| own.reduce("max", &[axis]))
    }

    /// The smallest value of an axis, which stays with length 1.
    ///
    /// # Errors
    /// Of the device.
    pub fn min_keepdim(&self, axis: usize) -> Result<Tensor> {
        self.arrange(|own| own.min_keepdim(axis), |own| own.reduce("min", &[axis]))
    }

    /// The place of the largest value of an axis, which stays with length 1.
    ///
    /// # Errors
    /// Of the device.
    pub fn argmax_keepdim(&self, axis: usize) -> Result<Tensor> {
        self.arrange(|own| own.argmax_keepdim(axis), |own| own.place("max", axis))
    }

    /// The place of the smallest value of an axis, which stays with length 1.
    ///
    /// # Errors
    /// Of the device.
    pub fn argmin_keepdim(&self, axis: usize) -> Result<Tensor> {
        self.arrange(|own| own.argmin_keepdim(axis), |own| own.place("min", axis))
    }

    /// On a GPU: a loss of these scores `[rows, classes]` by its kernel's name, as [`Array::loss`] has it. Its gradient, and
    /// the sum over the rows with the number of those that are right.
    ///
    /// # Errors
    /// Where the shapes do not fit, and on the CPU.
    pub fn loss(&self, name: &str, targets: &Tensor, share: f32) -> Result<[Tensor; 2]> {
        Ok(array(self)?.loss(name, array(targets)?, share)?.map(on_gpu))
    }

    /// On a GPU, in place: a step of an optimizer by its kernel's name, as [`Array::update`] has it.
    ///
    /// # Errors
    /// Where the sizes differ, and on the CPU.
    pub fn update(&self, name: &str, grad: &Tensor, moments: &[Tensor], numbers: &[f32]) -> Result<()> {
        let moments = moments.iter().map(array).collect::<Result<Vec<_>>>()?;
        array(self)?.update(name, array(grad)?, &moments, numbers)
    }

    /// On a GPU: a number without axes by which these tensors, of which there is one at least, are scaled, so that the root of
    /// the sum of all their squares is `max` at most; not a number where that root is not finite.
    ///
    /// # Errors
    /// On the CPU.
    pub fn clip_factor(tensors: &[&Tensor], max: f64) -> Result<Tensor> {
        let arrays = tensors.iter().map(|tensor| array(tensor)).collect::<Result<Vec<_>>>()?;
        Array::squares(&arrays)?.unary("clip_factor", [max as f32, 0.]).map(on_gpu)
    }

    /// candle's, on the CPU.
    ///
    /// # Errors
    /// On a GPU, and those of candle.
    pub fn inplace_op1(&self, operation: &impl InplaceOp1) -> Result<()> {
        host(self)?.inplace_op1(operation)
    }

    /// candle's, on the CPU.
    ///
    /// # Errors
    /// On a GPU, and those of candle.
    pub fn inplace_op2(&self, other: &Tensor, operation: &impl InplaceOp2) -> Result<()> {
        host(self)?.inplace_op2(host(other)?, operation)
    }

    /// candle's, on the CPU.
    ///
    /// # Errors
    /// On a GPU, and those of candle.
    pub fn index_select(&self, places: &Tensor, axis: usize) -> Result<Tensor> {
        Ok(Tensor::Host(host(self)?.index_select(host(places)?, axis)?))
    }

    /// candle's, on the CPU.
    ///
    /// # Errors
    /// On a GPU, and those of candle.
    pub fn index_add(&self, places: &Tensor, values: &Tensor, axis: usize) -> Result<Tensor> {
        Ok(Tensor::Host(host(self)?.index_add(host(places)?, host(values)?, axis)?))
    }

    /// Zeros of the same shape and type.
    ///
    /// # Errors
    /// Of the device.
    pub fn zeros_like(&self) -> Result<Tensor> {
        Tensor::zeros(self.shape(), self.dtype(), self.device())
    }

    /// Ones of the same shape and type.
    ///
    /// # Errors
    /// Of the device.
    pub fn ones_like(&self) -> Result<Tensor> {
        Tensor::ones(self.shape(), self.dtype(), self.device())
    }
}
