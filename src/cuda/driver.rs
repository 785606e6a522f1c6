//! The device itself: NVIDIA's driver, run-time compiler, cuBLAS and cuDNN.

use super::conv::Way;
use super::dnn::Dnn;
use super::source::{SOURCE, compiler, cubin};
use super::staging::{STAGED, Stages};
use super::{GROUP, Memory, THREADS, Value, Work, kept, said, status};
use crate::guard::quietly;
use crate::kernels::conv::Conv;
use crate::kernels::precision::Number;
use candle_core::{Error, Result};
use cudarc::cublas::{CudaBlas, result::gemm_strided_batched_ex, sys as blas};
use cudarc::driver::result::{device, launch_kernel, mem_pool};
use cudarc::driver::sys::{CUevent_flags, CUmemPool_attribute as Attribute, CUmemoryPool};
use cudarc::driver::{CudaContext, CudaEvent, CudaFunction, CudaModule, CudaStream, DevicePtr, DriverError};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

/// Blocks that go over many values; more would find no room on any device.
const MOST_BLOCKS: usize = 1 << 12;

/// The kernels, once one was asked for.
#[derive(Default)]
struct Kernels {
    module: Option<Arc<CudaModule>>,
    functions: HashMap<String, CudaFunction>,
}

pub(super) struct Machine {
    stream: Arc<CudaStream>,
    /// Such as `sm_90`.
    architecture: String,
    /// The version of the kernels' compiler.
    compiler: String,
    kernels: Mutex<Kernels>,
    stages: Stages,
    /// Where memory is taken from; devices without have none.
    pool: Option<Pool>,
    blas: Mutex<CudaBlas>,
    dnn: Mutex<Dnn>,
}

#[derive(Clone, Copy)]
struct Pool(CUmemoryPool);

// SAFETY: any thread may use the device's pool at any time.
unsafe impl Send for Pool {}
unsafe impl Sync for Pool {}

impl Pool {
    /// The device's own. It keeps what was given back for the next step: else each wait would give it back to the system.
    fn of(context: &CudaContext) -> Option<Pool> {
        let mut most = u64::MAX;
        // SAFETY: the device is the context's, and the attribute is a number of 64 bits.
        let mut set = || unsafe {
            let pool = device::get_default_mem_pool(context.cu_device())?;
            mem_pool::set_attribute(pool, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, (&raw mut most).cast())?;
            Ok::<_, DriverError>(Pool(pool))
        };
        if context.has_async_alloc() { set().ok() } else { None }
    }
}

/// A moment.
pub(super) struct Mark(CudaEvent);

impl Mark {
    pub(super) fn since(&self, earlier: &Mark) -> Result<f64> {
        // The bindings panic where the driver lacks what they call, which those before CUDA 12.8 do.
        let asked = quietly(|| earlier.0.elapsed_ms(&self.0));
        let told = asked.map_err(|_| Error::msg("times on the GPU need a driver of CUDA 12.8 or later"))?;
        told.map(|milliseconds| f64::from(milliseconds) / 1e3).map_err(failed)
    }
}

fn failed(error: DriverError) -> Error {
    Error::msg(format!("CUDA: {}", said(&error)))
}

impl Machine {
    pub(super) fn open(ordinal: usize) -> std::result::Result<Machine, String> {
        status::complete(&status::libraries())?;
        // A library that lacks what it should have makes the bindings panic.
        quietly(|| Machine::make(ordinal)).unwrap_or_else(Err)
    }

    fn make(ordinal: usize) -> std::result::Result<Machine, String> {
        let says = |what: &str| {
            let what = what.to_owned();
            move |error: DriverError| format!("{what}: {}", said(&error))
        };
        let context = CudaContext::new(ordinal).map_err(says(&format!("CUDA device {ordinal}")))?;
        // One stream runs everything in order: nothing has to be waited for.
        // SAFETY: no memory of this context is used on another stream.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(says("a CUDA stream"))?;
        let capability = context.compute_capability().map_err(says("the device's compute capability"))?;
        let (architecture, compiler) = (format!("sm_{}{}", capability.0, capability.1), compiler(capability)?);
        let blas = CudaBlas::new(stream.clone()).map_err(|e| format!("cuBLAS: {e:?}"))?;
        let dnn = Dnn::new(&stream).map_err(|e| format!("cuDNN: {e:?}"))?;
        let (pool, kernels, stages) = (Pool::of(&context), Mutex::default(), Stages::default());
        let (blas, dnn) = (Mutex::new(blas), Mutex::new(dnn));
        Ok(Machine { stream, architecture, compiler, kernels, stages, pool, blas, dnn })
    }

    /// The kernels, compiled where they were not before.
    fn module(&self) -> Result<Arc<CudaModule>> {
        let make = || cubin(&self.architecture);
        let key = [SOURCE, &self.architecture, &self.compiler];
        let code = kept::code(kept::folder().as_deref(), &key, make).map_err(Error::msg)?;
        self.stream.context().load_module(Ptx::from_binary(code)).map_err(failed)
    }

    pub(super) fn mark(&self) -> Result<Mark> {
        self.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map(Mark).map_err(failed)
    }

    /// Bytes that were in use at most, and those of the device that are taken now.
    pub(super) fn memory(&self) -> [u64; 2] {
        let mut most = 0u64;
        if let Some(Pool(pool)) = self.pool {
            // SAFETY: the attribute is a number of 64 bits. Without an answer it stays 0.
            let _ = unsafe {
                mem_pool::get_attribute(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, (&raw mut most).cast())
            };
        }
        [most, self.stream.context().mem_get_info().map_or(0, |(free, total)| (total - free) as u64)]
    }

    /// Gives back what the pool keeps, once all work has ended.
    pub(super) fn trim(&self) -> std::result::Result<(), DriverError> {
        let Some(Pool(pool)) = self.pool else { return Ok(()) };
        self.stream.synchronize()?;
        // SAFETY: the pool is the device's.
        unsafe { mem_pool::trim_to(pool, 0) }
    }

    pub(super) fn alloc(&self, len: usize) -> Result<Memory> {
        // SAFETY: what is in it is read by nobody before a kernel or a copy wrote it.
        let alloc = || unsafe { self.stream.alloc::<f32>(len.max(1).next_multiple_of(GROUP)) };
        let slice = alloc().or_else(|_| {
            // What the pool keeps may lie in pieces that are too small.
            self.trim()?;
            alloc()
        });
        let slice = slice.map_err(|error| {
            let free = self.stream.context().mem_get_info().map_or(0, |(free, _)| free >> 20);
            let (said, wanted) = (said(&error), (len * 4) >> 20);
            Error::msg(format!("the GPU has no {wanted} MiB left ({free} MiB are free; {said}): lower --batch-size"))
        })?;
        let (pointer, _) = slice.device_ptr(&self.stream);
        Ok(Memory { pointer, len, _keep: Box::new(slice) })
    }

    pub(super) fn upload(&self, values: &[f32], to: &Memory) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(failed)?;
        if STAGED.contains(&values.len()) && self.stages.upload(&self.stream, values, to.pointer).is_ok() {
            return Ok(());
        }
        // SAFETY: the memory is as long as the values, which stay until they have been taken.
        unsafe { cudarc::driver::result::memcpy_htod_async(to.pointer, values, self.stream.cu_stream()) }
            .map_err(failed)?;
        // From memory that is not page-locked only small copies are sure to be taken before the call returns.
        if values.len() < *STAGED.start() { Ok(()) } else { self.stream.synchronize().map_err(failed) }
    }

    pub(super) fn download(&self, memory: &Memory) -> Result<Vec<f32>> {
        self.stream.context().bind_to_thread().map_err(failed)?;
        let mut values = vec![0.; memory.len];
        // SAFETY: there is as much room as values; they are read after the stream has been waited for.
        let copied =
            unsafe { cudarc::driver::result::memcpy_dtoh_async(&mut values, memory.pointer, self.stream.cu_stream()) };
        copied.and_then(|()| self.stream.synchronize()).map_err(failed)?;
        Ok(values)
    }

    pub(super) fn launch(&self, kernel: &str, work: Work, values: &[Value]) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(failed)?;
        let mut kernels = self.kernels.lock().map_err(|_| Error::msg("a kernel could not be started"))?;
        if !kernels.functions.contains_key(kernel) {
            let module = kernels.module.take().map_or_else(|| self.module(), Ok)?;
            kernels.functions.insert(kernel.to_owned(), module.load_function(kernel).map_err(failed)?);
            kernels.module = Some(module);
        }
        let function = &kernels.functions[kernel];
        let blocks = match work {
            Work::Each(count) => count.div_ceil(THREADS).min(MOST_BLOCKS),
            Work::Blocks(count) => count.min(1 << 20),
        };
        let mut arguments: Vec<_> = values.iter().map(|value| (&raw const *value).cast_mut().cast()).collect();
        let (grid, block) = ((blocks as u32, 1, 1), (THREADS as u32, 1, 1));
        // SAFETY: the arguments are those of the kernel, whose memory is alive: it is given back in the stream's order.
        let started =
            unsafe { launch_kernel(function.cu_function(), grid, block, 0, self.stream.cu_stream(), &mut arguments) };
        started.map_err(failed)
    }

    /// `c = a·b` in row-major order is `cᵀ = bᵀ·aᵀ` in cuBLAS's column-major order.
    pub(super) fn products(
        &self,
        [batch, m, k, n]: [usize; 4],
        number: Number,
        (a, a_turned): (&Memory, bool),
        (b, b_turned): (&Memory, bool),
        c: &Memory,
    ) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(failed)?;
        let handle = self.blas.lock().map_err(|_| Error::msg("cuBLAS broke off"))?;
        let way =
            |turned| if turned { blas::cublasOperation_t::CUBLAS_OP_T } else { blas::cublasOperation_t::CUBLAS_OP_N };
        let float = blas::cudaDataType_t::CUDA_R_32F;
        let (factors, compute) = match number {
            Number::F32 => (float, blas::cublasComputeType_t::CUBLAS_COMPUTE_32F),
            Number::Tf32 => (float, blas::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32),
            Number::Bf16 => (blas::cudaDataType_t::CUDA_R_16BF, blas::cublasComputeType_t::CUBLAS_COMPUTE_32F),
        };
        let (a_row, b_row) = (if a_turned { m } else { k }, if b_turned { k } else { n });
        let (one, zero) = (1f32, 0f32);
        // SAFETY: the matrices are as large as the sizes say; factors are read before this returns.
        let done = unsafe {
            gemm_strided_batched_ex(
                *handle.handle(),
                way(b_turned),
                way(a_turned),
                n as i32,
                m as i32,
                k as i32,
                (&raw const one).cast(),
                b.pointer as *const c_void,
                factors,
                b_row as i32,
                (k * n) as i64,
                a.pointer as *const c_void,
                factors,
                a_row as i32,
                (m * k) as i64,
                (&raw const zero).cast(),
                c.pointer as *mut c_void,
                float,
                n as i32,
                (m * n) as i64,
                batch as i32,
                compute,
                blas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        done.map_err(|e| Error::msg(format!("cuBLAS: {e:?}")))
    }

    pub(super) fn conv(&self, way: Way, conv: &Conv, number: Number, memories: [&Memory; 3]) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(failed)?;
        let mut dnn = self.dnn.lock().map_err(|_| Error::msg("cuDNN broke off"))?;
        let pointers = memories.map(|memory| memory.pointer);
        dnn.run((way, *conv, number), pointers, |len| self.alloc(len)).map_err(|e| Error::msg(format!("cuDNN: {e}")))
    }
    pub(super) fn convolutions(&self) -> Vec<String> {
        self.dnn.lock().map(|dnn| dnn.told()).unwrap_or_default()
    }
}
