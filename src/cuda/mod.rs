//! Arrays and operations on an NVIDIA GPU: cuBLAS for products, cuDNN for convolutions, own kernels for the rest.
//!
//! The kernels lie in `source/` as CUDA C and are compiled by NVIDIA's run-time compiler when a device first computes (the
//! machine code is kept for later runs). Every library is loaded when a device is opened: a program built with the feature `cuda` starts where there is none. In one built with
//! `cuda-emulated` the same kernels run on this machine's processor (`emulated.rs`), for tests.
//!
//! Values are float32, or bfloat16, which convolutions make while they compute in it ([`Precision`]). Kernels read both (`In`
//! and `Out` of `common.cu`) and compute in float32; who cannot takes [`Array::floats`].
//!
//! [`Precision`]: crate::kernels::precision::Precision
//!
//! All work of a device runs in order on one stream. Sums have a fixed order, so that the same run gives the same bits.

mod arrange;
mod array;
#[cfg(not(feature = "cuda-emulated"))]
mod candidate;
mod conv;
#[cfg(not(feature = "cuda-emulated"))]
mod dnn;
#[cfg(not(feature = "cuda-emulated"))]
mod driver;
#[cfg(feature = "cuda-emulated")]
mod emulated;
#[cfg(any(test, not(feature = "cuda-emulated")))]
mod kept;
mod loss;
mod pointwise;
mod reduce;
mod source;
#[cfg(not(feature = "cuda-emulated"))]
mod staging;
mod status;
mod update;
mod window;

pub use array::Array;
use candle_core::{Result, bail};
#[cfg(not(feature = "cuda-emulated"))]
use driver as machine;
#[cfg(feature = "cuda-emulated")]
use emulated as machine;
use machine::Machine;
pub use source::cubin;
pub use status::{Library, Status, libraries, status};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the driver says, in words.
#[cfg(not(feature = "cuda-emulated"))]
fn said(error: &cudarc::driver::DriverError) -> String {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|_| format!("{error:?}"))
}

/// Threads of a block, as `source/common.cu` has it.
#[cfg(not(feature = "cuda-emulated"))]
const THREADS: usize = 256;
/// Values that kernels read at once, as `source/common.cu` has it: memory is as long as a whole number of them.
const GROUP: usize = 4;
/// More values do not fit into one array: kernels count in `int`, and step beyond the end once.
const MOST: usize = 1 << 30;

/// A device that computes. Clones are the same device.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    ordinal: usize,
    machine: Machine,
    uploads: AtomicU64,
    downloads: AtomicU64,
}

/// Memory on the device; it is given back when this goes.
struct Memory {
    pointer: u64,
    len: usize,
    _keep: Box<dyn Any + Send + Sync>,
}

/// A moment in a device's work.
pub struct Mark(machine::Mark);

impl Mark {
    /// Seconds from an earlier one, once the device has come so far.
    ///
    /// # Errors
    /// Of the device.
    pub fn since(&self, earlier: &Mark) -> Result<f64> {
        self.0.since(&earlier.0)
    }
}

/// How often values were copied between the host and a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    /// To the device.
    pub up: u64,
    /// From the device; each waits for all work before it.
    pub down: u64,
}

/// An argument of a kernel, in its C type.
#[repr(C)]
union Value {
    pointer: u64,
    int: i32,
    float: f32,
    axes: Axes,
    window: [i32; 12],
    map: Map,
}

/// `In` and `Out` of `source/common.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Map {
    pointer: u64,
    half: i32,
}

/// `Axes` of `source/common.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Axes {
    size: [i32; 8],
    first: [i32; 8],
    second: [i32; 8],
}

impl From<&Memory> for Value {
    fn from(memory: &Memory) -> Value {
        Value { pointer: memory.pointer }
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        // What is larger than an array may be stands for a bound that is never met.
        Value { int: count.min(MOST) as i32 }
    }
}

impl From<f32> for Value {
    fn from(float: f32) -> Value {
        Value { float }
    }
}

impl From<Axes> for Value {
    fn from(axes: Axes) -> Value {
        Value { axes }
    }
}

/// How a kernel shares out its work.
#[derive(Clone, Copy)]
enum Work {
    /// So many values, one after another.
    Each(usize),
    /// So many blocks, whose threads work together.
    Blocks(usize),
}

impl Gpu {
    /// The device of this number, as CUDA counts them; with its libraries loaded.
    ///
    /// # Errors
    /// What is missing, in one line: no such device, a driver or library that is not there or too old.
    pub fn open(ordinal: usize) -> std::result::Result<Gpu, String> {
        let machine = Machine::open(ordinal)?;
        let (uploads, downloads) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Gpu(Arc::new(Inner { ordinal, machine, uploads, downloads })))
    }

    /// Its number.
    pub fn ordinal(&self) -> usize {
        self.0.ordinal
    }

    /// The copies so far.
    pub fn copies(&self) -> Copies {
        Copies { up: self.0.uploads.load(Ordering::Relaxed), down: self.0.downloads.load(Ordering::Relaxed) }
    }

    /// Whether the two are one device, opened once.
    pub fn same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A moment in the device's work: when all that was asked of it before is done.
    ///
    /// # Errors
    /// Of the device.
    pub fn mark(&self) -> Result<Mark> {
        self.0.machine.mark().map(Mark)
    }

    /// Bytes that were in use at most, and those of the device that are taken now, other programs' too.
    pub fn memory(&self) -> [u64; 2] {
        self.0.machine.memory()
    }

    /// Gives back to the system what is kept of memory for later work.
    pub fn trim(&self) {
        // What cannot be given back stays kept.
        let _ = self.0.machine.trim();
    }

    /// A line for each convolution so far, forwards, by its input and by its kernel: the algorithm, arithmetic and memory that
    /// it is computed by, and what failed before. Nothing where they are emulated.
    pub fn convolutions(&self) -> Vec<String> {
        self.0.machine.convolutions()
    }

    /// Memory for so many values, of half a word each or of a whole one.
    fn alloc(&self, half: bool, len: usize) -> Result<Memory> {
        if len > MOST {
            bail!("{len} values are too many for one array on the GPU: {MOST} are the most");
        }
        self.0.machine.alloc(if half { len.div_ceil(2) } else { len })
    }

    fn upload(&self, values: &[f32]) -> Result<Memory> {
        self.0.uploads.fetch_add(1, Ordering::Relaxed);
        let memory = self.alloc(false, values.len())?;
        if !values.is_empty() {
            self.0.machine.upload(values, &memory)?;
        }
        Ok(memory)
    }

    /// Places for a kernel, which reads their bits.
    fn upload_places(&self, places: &[u32]) -> Result<Memory> {
        self.upload(&places.iter().map(|&place| f32::from_bits(place)).collect::<Vec<_>>())
    }

    fn download(&self, memory: &Memory) -> Result<Vec<f32>> {
        self.0.downloads.fetch_add(1, Ordering::Relaxed);
        if memory.len == 0 { Ok(Vec::new()) } else { self.0.machine.download(memory) }
    }

    /// Runs a kernel of `source/` by its name.
    fn launch<const N: usize>(&self, kernel: &str, work: Work, values: [Value; N]) -> Result<()> {
        if matches!(work, Work::Each(0) | Work::Blocks(0)) {
            return Ok(());
        }
        self.0.machine.launch(kernel, work, &values)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Gpu({})", self.0.ordinal)
    }
}
