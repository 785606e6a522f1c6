//! Comparisons with a tensor or a number, under candle's names.

use super::Tensor;
use super::methods::array;
use super::value::{Cuda, host};
use candle_core::{DType, Result, Tensor as Host, bail};

/// What a tensor is compared with.
pub trait Operand {
    /// On the CPU, and on a GPU under this name.
    fn compare(self, own: &Tensor, name: &str) -> Result<Tensor>;
}

fn by_name<T: candle_core::scalar::TensorOrScalar>(own: &Host, other: T, name: &str) -> Result<Host> {
    match name {
        "eq" => own.eq(other),
        "ne" => own.ne(other),
        "gt" => own.gt(other),
        "lt" => own.lt(other),
        other => bail!("no comparison {other}"),
    }
}

impl Operand for f64 {
    fn compare(self, own: &Tensor, name: &str) -> Result<Tensor> {
        Ok(match own {
            Tensor::Host(own) => Tensor::Host(by_name(own, self, name)?),
            Tensor::Cuda(own) => Cuda::tensor(own.array.unary(name, [self as f32, 0.])?, DType::U8),
        })
    }
}

impl Operand for &Tensor {
    fn compare(self, own: &Tensor, name: &str) -> Result<Tensor> {
        Ok(match own {
            Tensor::Host(own) => Tensor::Host(by_name(own, host(self)?, name)?),
            Tensor::Cuda(own) => Cuda::tensor(own.array.binary(array(self)?, name, [0.; 2])?, DType::U8),
        })
    }
}

impl Tensor {
    /// 1 where equal, else 0.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn eq(&self, other: impl Operand) -> Result<Tensor> {
        other.compare(self, "eq")
    }

    /// 1 where different, else 0.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn ne(&self, other: impl Operand) -> Result<Tensor> {
        other.compare(self, "ne")
    }

    /// 1 where larger, else 0.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn gt(&self, other: impl Operand) -> Result<Tensor> {
        other.compare(self, "gt")
    }

    /// 1 where smaller, else 0.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn lt(&self, other: impl Operand) -> Result<Tensor> {
        other.compare(self, "lt")
    }
}
