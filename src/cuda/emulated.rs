//! For tests, where there is no GPU: the same kernels, compiled as C++ (`emulated.hpp`) and run on the processor one
//! thread after another; products and convolutions by the kernels of the CPU, summed up in float64, so that they differ from
//! the CPU's as a device's do.

use super::conv::Way;
use super::source::{SOURCE, names};
use super::{GROUP, Memory, Value, Work};
use crate::kernels::conv::{self, Conv};
use crate::kernels::precision::Number;
use crate::kernels::{Activation, linear};
use candle_core::{Error, Result};
use half::bf16;
use libloading::Library;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Machine(Arc<Used>);

/// Bytes that are in use, and were at most.
#[derive(Default)]
struct Used {
    now: AtomicU64,
    most: AtomicU64,
}

/// A group of values, aligned as on a device. All bits set are no number: no kernel may leave them so.
type Group = u128;

/// Memory, and who counts it.
struct Values(Box<[UnsafeCell<Group>]>, Arc<Used>);

// SAFETY: they are written by kernels and copies alone, which run in order.
unsafe impl Send for Values {}
unsafe impl Sync for Values {}

impl Drop for Values {
    fn drop(&mut self) {
        self.1.now.fetch_sub(size_of_val(&*self.0) as u64, Ordering::Relaxed);
    }
}

/// Kernels run one at a time: their threads' state is global.
static KERNELS: OnceLock<std::result::Result<Mutex<Library>, String>> = OnceLock::new();

fn compile() -> std::result::Result<Mutex<Library>, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (source, library) = (folder.path().join("kernels.cpp"), folder.path().join("libkernels.so"));
    let entries: String = names().iter().map(|name| format!("ENTRY({name})\n")).collect();
    let text = format!("{}\n{SOURCE}\n{entries}", include_str!("emulated.hpp"));
    fs::write(&source, text).map_err(|e| e.to_string())?;
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let mut command = Command::new(&compiler);
    command.args(["-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-DTHREADS=8", "-o"]).arg(&library).arg(&source);
    let done = command.output().map_err(|e| format!("{compiler}, which compiles the emulated kernels: {e}"))?;
    if !done.status.success() {
        return Err(format!("{compiler}: {}", String::from_utf8_lossy(&done.stderr)));
    }
    // SAFETY: loading it runs nothing but the C++ library's own initialisers.
    unsafe { Library::new(&library) }.map(Mutex::new).map_err(|e| e.to_string())
}

fn kernels() -> std::result::Result<&'static Mutex<Library>, String> {
    KERNELS.get_or_init(compile).as_ref().map_err(Clone::clone)
}

/// # Safety
/// The memory must be alive, and nobody may write to it meanwhile.
unsafe fn slice<'a>(pointer: u64, len: usize) -> &'a [f32] {
    unsafe { std::slice::from_raw_parts(pointer as *const f32, len) }
}

/// # Safety
/// The memory must be alive, and nobody else may use it meanwhile.
unsafe fn slice_mut<'a>(pointer: u64, len: usize) -> &'a mut [f32] {
    unsafe { std::slice::from_raw_parts_mut(pointer as *mut f32, len) }
}

/// A moment.
pub(super) struct Mark(Instant);

impl Mark {
    pub(super) fn since(&self, earlier: &Mark) -> Result<f64> {
        Ok(self.0.duration_since(earlier.0).as_secs_f64())
    }
}

/// Values as a device would multiply them.
///
/// # Safety
/// As of [`slice`]; the memory must hold so many values of the number.
unsafe fn factors(memory: &Memory, len: usize, number: Number) -> Vec<f64> {
    let tf32 = |value: f32| f32::from_bits(value.to_bits().wrapping_add(1 << 12) & !0x1fff);
    unsafe {
        match number {
            Number::F32 => slice(memory.pointer, len).iter().map(|&value| value.into()).collect(),
            Number::Tf32 => slice(memory.pointer, len).iter().map(|&value| tf32(value).into()).collect(),
            Number::Bf16 => {
                let halves = std::slice::from_raw_parts(memory.pointer as *const bf16, len);
                halves.iter().map(|half| half.to_f64()).collect()
            }
        }
    }
}

/// Rounds sums to what a device writes.
fn round(sums: &[f64], to: &mut [f32]) {
    to.iter_mut().zip(sums).for_each(|(to, &sum)| *to = sum as f32);
}

impl Machine {
    pub(super) fn open(ordinal: usize) -> std::result::Result<Machine, String> {
        if ordinal > 0 {
            return Err(format!("there is no device {ordinal}, only 1 (emulated)"));
        }
        kernels().map(|_| Machine::default())
    }

    pub(super) fn mark(&self) -> Result<Mark> {
        Ok(Mark(Instant::now()))
    }

    pub(super) fn memory(&self) -> [u64; 2] {
        [&self.0.most, &self.0.now].map(|bytes| bytes.load(Ordering::Relaxed))
    }

    pub(super) fn trim(&self) -> Result<()> {
        Ok(())
    }

    pub(super) fn alloc(&self, len: usize) -> Result<Memory> {
        let groups = len.max(1).div_ceil(GROUP);
        let values: Box<[_]> = (0..groups).map(|_| UnsafeCell::new(Group::MAX)).collect();
        let bytes = size_of_val(&*values) as u64;
        self.0.most.fetch_max(self.0.now.fetch_add(bytes, Ordering::Relaxed) + bytes, Ordering::Relaxed);
        Ok(Memory { pointer: values.as_ptr() as u64, len, _keep: Box::new(Values(values, self.0.clone())) })
    }

    pub(super) fn upload(&self, values: &[f32], to: &Memory) -> Result<()> {
        // SAFETY: it was just made.
        unsafe { slice_mut(to.pointer, to.len) }.copy_from_slice(values);
        Ok(())
    }

    pub(super) fn download(&self, memory: &Memory) -> Result<Vec<f32>> {
        // SAFETY: kernels have ended when their calls have.
        Ok(unsafe { slice(memory.pointer, memory.len) }.to_vec())
    }

    pub(super) fn launch(&self, kernel: &str, work: Work, values: &[Value]) -> Result<()> {
        let library = kernels().map_err(Error::msg)?;
        let library = library.lock().map_err(|_| Error::msg("an emulated kernel broke off"))?;
        let mut arguments: Vec<*const c_void> = values.iter().map(|value| (&raw const *value).cast()).collect();
        type Entry = unsafe extern "C" fn(i32, i32, *mut *const c_void);
        let (blocks, together) = match work {
            Work::Each(_) => (3, 0),
            Work::Blocks(count) => (count.min(3) as i32, 1),
        };
        // SAFETY: the kernel is of the list that the library was made with; its arguments are as the caller says.
        unsafe {
            let entry = library.get::<Entry>(format!("enter_{kernel}").as_bytes()).map_err(Error::wrap)?;
            entry(blocks, together, arguments.as_mut_ptr());
        }
        Ok(())
    }

    pub(super) fn products(
        &self,
        [batch, m, k, n]: [usize; 4],
        number: Number,
        a: (&Memory, bool),
        b: (&Memory, bool),
        c: &Memory,
    ) -> Result<()> {
        // SAFETY: the factors are as large as the sizes say; the output was just made.
        let (x, y, z) = unsafe {
            let (x, y) = (factors(a.0, batch * m * k, number), factors(b.0, batch * k * n, number));
            (x, y, slice_mut(c.pointer, c.len))
        };
        let mut sums = vec![0.; batch * m * n];
        linear::products([batch, m, k, n], (&x, a.1), (&y, b.1), &mut sums);
        round(&sums, z);
        Ok(())
    }

    pub(super) fn conv(&self, way: Way, conv: &Conv, number: Number, memories: [&Memory; 3]) -> Result<()> {
        let lens = [conv.x_len(), conv.k_len(), conv.y_len()];
        // SAFETY: the memories are as large as the convolution says, and the output is another than the inputs.
        let read = |place: usize| unsafe { factors(memories[place], lens[place], number) };
        let made = match way {
            Way::Forward => 2,
            Way::ByInput => 0,
            Way::ByKernel => 1,
        };
        let mut values = vec![0.; lens[made]];
        match way {
            Way::Forward => conv::forward(conv, &read(0), &read(1), None, Activation::None, &mut values),
            Way::ByInput => conv::by_input(conv, &read(1), &read(2), &mut values),
            Way::ByKernel => conv::by_kernel(conv, &read(0), &read(2), &mut values),
        }
        // SAFETY: the same.
        unsafe {
            if number == Number::Bf16 {
                let halves = std::slice::from_raw_parts_mut(memories[made].pointer as *mut bf16, values.len());
                halves.iter_mut().zip(values).for_each(|(half, value)| *half = bf16::from_f32(value as f32));
            } else {
                round(&values, slice_mut(memories[made].pointer, values.len()));
            }
        }
        Ok(())
    }
    pub(super) fn convolutions(&self) -> Vec<String> {
        Vec::new()
    }
}
