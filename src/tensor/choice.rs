//! Which device is asked for, and which there are.

use super::Device;
use std::str::FromStr;

/// The device that a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The first GPU that can be used, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let number = |number: &str| number.parse().map(Wanted::Cuda).ok();
        let wanted = match text {
            "auto" => Some(Wanted::Auto),
            "cpu" => Some(Wanted::Cpu),
            "cuda" => Some(Wanted::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(number),
        };
        wanted.ok_or_else(|| "cpu, cuda, cuda:N (the N-th GPU from 0 on) and auto are the devices".into())
    }
}

impl Wanted {
    /// Opens it.
    ///
    /// # Errors
    /// Why it cannot be used, and what to do, in one line.
    pub fn open(self) -> Result<Device, String> {
        match self {
            Wanted::Cpu => Ok(Device::Cpu),
            #[cfg(not(feature = "cuda"))]
            Wanted::Auto => Ok(Device::Cpu),
            #[cfg(not(feature = "cuda"))]
            Wanted::Cuda(_) => {
                Err("this adapt was built without CUDA: install it with --features cuda, or give --device cpu".into())
            }
            #[cfg(feature = "cuda")]
            Wanted::Auto => match crate::cuda::status() {
                Ok(devices) if !devices.is_empty() => Wanted::Cuda(0).open(),
                _ => Ok(Device::Cpu),
            },
            #[cfg(feature = "cuda")]
            Wanted::Cuda(number) => crate::cuda::Gpu::open(number)
                .map(Device::Cuda)
                .map_err(|why| format!("{why} (`adapt runtime status` shows all; or give --device cpu)")),
        }
    }
}

/// `cpu` or `cuda:N`.
pub fn name(device: &Device) -> String {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => format!("cuda:{}", gpu.ordinal()),
        _ => "cpu".into(),
    }
}

/// A library or a GPU by its name, with what it is, or why it cannot be used.
pub type Found = (String, Result<String, String>);

/// What computing on a GPU takes, and the GPUs.
#[cfg(feature = "cuda")]
pub fn found() -> Vec<Found> {
    let libraries = crate::cuda::libraries().into_iter().map(|library| (library.name.to_owned(), library.outcome));
    let devices = match crate::cuda::status() {
        Ok(devices) if devices.is_empty() => vec![("cuda".into(), Err("the driver knows no GPU".into()))],
        Ok(devices) => devices.into_iter().map(|d| (format!("cuda:{}", d.ordinal), d.outcome)).collect(),
        Err(why) => vec![("cuda".into(), Err(why))],
    };
    libraries.chain(devices).collect()
}

/// What computing on a GPU takes, and the GPUs.
#[cfg(not(feature = "cuda"))]
pub fn found() -> Vec<Found> {
    vec![("cuda".into(), Err("this adapt was built without CUDA: install it with --features cuda".into()))]
}
