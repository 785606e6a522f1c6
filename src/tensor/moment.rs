//! How long a device takes.

#[cfg(feature = "cuda")]
use super::Device;
#[cfg(not(feature = "cuda"))]
use candle_core::Device;
use candle_core::Result;
use std::time::Instant;

/// A moment in a device's work: when all that was asked of it before is done.
pub enum Moment {
    /// On the CPU, which has done it when it says so.
    Host(Instant),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda(crate::cuda::Mark),
}

impl Moment {
    /// This one.
    ///
    /// # Errors
    /// Of the device.
    pub fn of(device: &Device) -> Result<Moment> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => gpu.mark().map(Moment::Cuda),
            _ => Ok(Moment::Host(Instant::now())),
        }
    }

    /// Seconds from an earlier one of the same device, once it has come so far.
    ///
    /// # Errors
    /// Of the device, and where they are of two.
    pub fn since(&self, earlier: &Moment) -> Result<f64> {
        match (self, earlier) {
            (Moment::Host(own), Moment::Host(earlier)) => Ok(own.duration_since(*earlier).as_secs_f64()),
            #[cfg(feature = "cuda")]
            (Moment::Cuda(own), Moment::Cuda(earlier)) => own.since(earlier),
            #[cfg(feature = "cuda")]
            _ => candle_core::bail!("two moments of different devices"),
        }
    }
}
