//! The tensors that programs and training compute with.
//!
//! They are candle's. Where the crate is built with the feature `cuda` they are either candle's, on the CPU, or arrays on a
//! GPU (`cuda`), under the same names of types and methods: whoever computes with them is written once.

#[cfg(feature = "cuda")]
mod arithmetic;
mod choice;
#[cfg(feature = "cuda")]
mod compare;
#[cfg(feature = "cuda")]
mod methods;
mod moment;
#[cfg(feature = "cuda")]
mod shapes;
#[cfg(feature = "cuda")]
mod value;

pub use crate::kernels::precision::{Number, Precision};
#[cfg(not(feature = "cuda"))]
pub use candle_core::safetensors::load;
pub use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Result, Storage, WithDType, bail};
#[cfg(not(feature = "cuda"))]
pub use candle_core::{Device, Tensor};
pub use choice::{Wanted, found, name};
#[cfg(feature = "cuda")]
pub(crate) use methods::{array, on_gpu};
pub use moment::Moment;
#[cfg(feature = "cuda")]
pub use value::{Device, Tensor, load};

/// candle's tensor behind one that lies on the CPU.
///
/// # Errors
/// Where it lies elsewhere.
#[cfg(not(feature = "cuda"))]
pub fn host(tensor: &Tensor) -> Result<&candle_core::Tensor> {
    Ok(tensor)
}

/// candle's tensor of the same values, on the CPU.
///
/// # Errors
/// Of the device that they are on.
#[cfg(not(feature = "cuda"))]
pub fn to_host(tensor: &Tensor) -> Result<candle_core::Tensor> {
    Ok(tensor.clone())
}

/// The same values in the type that the tensor says: inside of a program a GPU's may be stored as bfloat16.
///
/// # Errors
/// Of the device.
#[cfg(not(feature = "cuda"))]
pub fn whole(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.clone())
}

/// The same values, which do not change any more: a GPU rounds them once, however often they are multiplied.
#[cfg(not(feature = "cuda"))]
pub fn rounded_once(tensor: &Tensor) -> Tensor {
    tensor.clone()
}

#[cfg(feature = "cuda")]
pub use value::{host, rounded_once, to_host, whole};
