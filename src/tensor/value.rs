//! A tensor on the CPU or on a GPU: making it, moving it, reading it.

use crate::cuda::{Array, Gpu};
use candle_core::{DType, Result, Shape, Tensor as Host, WithDType, bail};
use std::collections::HashMap;
use std::path::Path;

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub enum Device {
    /// In the memory of this machine.
    Cpu,
    /// On a GPU.
    Cuda(Gpu),
}

impl Device {
    /// Whether it is the CPU.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Device::Cpu)
    }

    fn same(&self, other: &Device) -> bool {
        match (self, other) {
            (Device::Cpu, Device::Cpu) => true,
            (Device::Cuda(a), Device::Cuda(b)) => a.same(b),
            _ => false,
        }
    }
}

/// Values in row-major order, or, on the CPU, a view of some.
#[derive(Debug, Clone)]
pub enum Tensor {
    /// candle's, on the CPU.
    Host(Host),
    /// On a GPU.
    Cuda(Cuda),
}

/// A tensor on a GPU. Its values are `f32` there (or, inside of a program, bfloat16), whatever type it is said to have: truth
/// values and counts are numbers.
#[derive(Debug, Clone)]
pub struct Cuda {
    pub(super) array: Array,
    pub(super) dtype: DType,
    pub(super) device: Device,
}

impl From<Host> for Tensor {
    fn from(host: Host) -> Tensor {
        Tensor::Host(host)
    }
}

impl Cuda {
    pub(super) fn tensor(array: Array, dtype: DType) -> Tensor {
        let device = Device::Cuda(array.gpu().clone());
        Tensor::Cuda(Cuda { array, dtype, device })
    }
}

/// candle's tensor behind one that lies on the CPU.
///
/// # Errors
/// Where it lies elsewhere.
pub fn host(tensor: &Tensor) -> Result<&Host> {
    match tensor {
        Tensor::Host(host) => Ok(host),
        Tensor::Cuda(_) => bail!("this operator runs on the CPU only"),
    }
}

/// candle's tensor of the same values, on the CPU.
///
/// # Errors
/// Of the device that they are on.
pub fn to_host(tensor: &Tensor) -> Result<Host> {
    match tensor {
        Tensor::Host(own) => Ok(own.clone()),
        Tensor::Cuda(own) => {
            let values = Host::from_vec(own.array.download()?, own.array.shape(), &candle_core::Device::Cpu)?;
            values.to_dtype(own.dtype)
        }
    }
}

/// The same values in the type that the tensor says: inside of a program a GPU's may be stored as bfloat16.
///
/// # Errors
/// Of the device.
pub fn whole(tensor: &Tensor) -> Result<Tensor> {
    Ok(match tensor {
        Tensor::Host(own) => Tensor::Host(own.clone()),
        Tensor::Cuda(own) => Cuda::tensor(own.array.floats()?, own.dtype),
    })
}

/// The same values, which do not change any more: a GPU rounds them once, however often they are multiplied.
pub fn rounded_once(tensor: &Tensor) -> Tensor {
    match tensor {
        Tensor::Host(own) => Tensor::Host(own.clone()),
        Tensor::Cuda(own) => Cuda::tensor(own.array.rounded_once(), own.dtype),
    }
}

/// The tensors of a safetensors file by name, on the CPU.
///
/// # Errors
/// Where the file cannot be read, or is none.
pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<HashMap<String, Tensor>> {
    let tensors = candle_core::safetensors::load(path, &candle_core::Device::Cpu)?;
    tensors.into_iter().map(|(name, tensor)| Ok((name, Tensor::Host(tensor).to_device(device)?))).collect()
}

impl Tensor {
    /// These values, in row-major order.
    ///
    /// # Errors
    /// Where they are not as many as the shape says.
    pub fn from_vec<S: Into<Shape>, D: WithDType>(values: Vec<D>, shape: S, device: &Device) -> Result<Tensor> {
        Tensor::Host(Host::from_vec(values, shape.into(), &candle_core::Device::Cpu)?).to_device(device)
    }

    /// The same.
    ///
    /// # Errors
    /// As there.
    pub fn from_slice<S: Into<Shape>, D: WithDType>(values: &[D], shape: S, device: &Device) -> Result<Tensor> {
        Tensor::Host(Host::from_slice(values, shape.into(), &candle_core::Device::Cpu)?).to_device(device)
    }

    /// A row of values.
    ///
    /// # Errors
    /// Of the device.
    pub fn from_iter<D: WithDType>(values: impl IntoIterator<Item = D>, device: &Device) -> Result<Tensor> {
        Tensor::Host(Host::from_iter(values, &candle_core::Device::Cpu)?).to_device(device)
    }

    /// A number, or an array of them.
    ///
    /// # Errors
    /// Of the device.
    pub fn new<A: candle_core::NdArray>(values: A, device: &Device) -> Result<Tensor> {
        Tensor::Host(Host::new(values, &candle_core::Device::Cpu)?).to_device(device)
    }

    /// The same value everywhere.
    ///
    /// # Errors
    /// Of the device.
    pub fn full<D: WithDType, S: Into<Shape>>(value: D, shape: S, device: &Device) -> Result<Tensor> {
        Ok(match device {
            Device::Cpu => Tensor::Host(Host::full(value, shape, &candle_core::Device::Cpu)?),
            Device::Cuda(gpu) => Cuda::tensor(Array::full(gpu, value.to_f64() as f32, shape)?, D::DTYPE),
        })
    }

    /// Zeros.
    ///
    /// # Errors
    /// Of the device.
    pub fn zeros<S: Into<Shape>>(shape: S, dtype: DType, device: &Device) -> Result<Tensor> {
        Ok(match device {
            Device::Cpu => Tensor::Host(Host::zeros(shape, dtype, &candle_core::Device::Cpu)?),
            Device::Cuda(gpu) => Cuda::tensor(Array::full(gpu, 0., shape)?, dtype),
        })
    }

    /// Ones.
    ///
    /// # Errors
    /// Of the device.
    pub fn ones<S: Into<Shape>>(shape: S, dtype: DType, device: &Device) -> Result<Tensor> {
        Ok(match device {
            Device::Cpu => Tensor::Host(Host::ones(shape, dtype, &candle_core::Device::Cpu)?),
            Device::Cuda(gpu) => Cuda::tensor(Array::full(gpu, 1., shape)?, dtype),
        })
    }

    /// The whole numbers from `start` on, before `end`.
    ///
    /// # Errors
    /// Of the device.
    pub fn arange<D: WithDType>(start: D, end: D, device: &Device) -> Result<Tensor> {
        Tensor::Host(Host::arange(start, end, &candle_core::Device::Cpu)?).to_device(device)
    }

    /// The same values on another device.
    ///
    /// # Errors
    /// Of the devices.
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        if self.device().same(device) {
            return Ok(self.clone());
        }
        match (self, device) {
            (Tensor::Host(own), Device::Cuda(gpu)) => {
                let dense = own.to_dtype(DType::F32)?.contiguous()?;
                let (storage, layout) = dense.storage_and_layout();
                let candle_core::Storage::Cpu(storage) = &*storage else { bail!("a tensor is not on the CPU") };
                let values = &storage.as_slice::<f32>()?[layout.start_offset()..][..dense.elem_count()];
                Ok(Cuda::tensor(Array::upload(gpu, values, own.dims())?, own.dtype()))
            }
            _ => Tensor::Host(to_host(self)?).to_device(device),
        }
    }

    /// Where it lies.
    pub fn device(&self) -> &Device {
        match self {
            Tensor::Host(_) => &Device::Cpu,
            Tensor::Cuda(own) => &own.device,
        }
    }

    /// The type of its values.
    pub fn dtype(&self) -> DType {
        match self {
            Tensor::Host(own) => own.dtype(),
            Tensor::Cuda(own) => own.dtype,
        }
    }

    /// The sizes of its axes.
    pub fn shape(&self) -> &Shape {
        match self {
            Tensor::Host(own) => own.shape(),
            Tensor::Cuda(own) => own.array.shape(),
        }
    }

    /// All values in row-major order.
    ///
    /// # Errors
    /// Where it has other than one axis, or values of another type.
    pub fn to_vec1<D: WithDType>(&self) -> Result<Vec<D>> {
        to_host(self)?.to_vec1()
    }

    /// The only value of a tensor without axes.
    ///
    /// # Errors
    /// Where it has any, or values of another type.
    pub fn to_scalar<D: WithDType>(&self) -> Result<D> {
        to_host(self)?.to_scalar()
    }
}
