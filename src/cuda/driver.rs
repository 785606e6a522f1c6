//! The device itself: NVIDIA's driver, run-time compiler, cuBLAS and cuDNN.

use super::conv::Way;
use super::dnn::Dnn;
use super::source::cubin;
use super::{Memory, THREADS, Value, Work, said, status};
use crate::guard::quietly;
use crate::kernels::conv::Conv;
use candle_core::{Error, Result};
use cudarc::cublas::{CudaBlas, result::sgemm_strided_batched, sys::cublasOperation_t};
use cudarc::driver::result::launch_kernel;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, DevicePtr, DriverError};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Blocks that go over many values; more would find no room on any device.
const MOST_BLOCKS: usize = 1 << 12;

pub(super) struct Machine {
    stream: Arc<CudaStream>,
    module: Arc<CudaModule>,
    functions: Mutex<HashMap<String, CudaFunction>>,
    blas: Mutex<CudaBlas>,
    dnn: Mutex<Dnn>,
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
        let (major, minor) = context.compute_capability().map_err(says("the device's compute capability"))?;
        let code = Ptx::from_binary(cubin(&format!("sm_{major}{minor}"))?);
        let module = context.load_module(code).map_err(says("the kernels"))?;
        let blas = CudaBlas::new(stream.clone()).map_err(|e| format!("cuBLAS: {e:?}"))?;
        let dnn = Dnn::new(&stream).map_err(|e| format!("cuDNN: {e:?}"))?;
        let functions = Mutex::new(HashMap::new());
        Ok(Machine { stream, module, functions, blas: Mutex::new(blas), dnn: Mutex::new(dnn) })
    }

    pub(super) fn alloc(&self, len: usize) -> Result<Memory> {
        // SAFETY: what is in it is read by nobody before a kernel or a copy wrote it.
        let slice = unsafe { self.stream.alloc::<f32>(len.max(1)) };
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
        // SAFETY: the memory is as long as the values. From memory that is not page-locked the values are taken before
        // this returns.
        unsafe { cudarc::driver::result::memcpy_htod_async(to.pointer, values, self.stream.cu_stream()) }
            .map_err(failed)
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
        let mut functions = self.functions.lock().map_err(|_| Error::msg("a kernel could not be started"))?;
        if !functions.contains_key(kernel) {
            functions.insert(kernel.to_owned(), self.module.load_function(kernel).map_err(failed)?);
        }
        let function = &functions[kernel];
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
        (a, a_turned): (&Memory, bool),
        (b, b_turned): (&Memory, bool),
        c: &Memory,
    ) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(failed)?;
        let blas = self.blas.lock().map_err(|_| Error::msg("cuBLAS broke off"))?;
        let way = |turned| if turned { cublasOperation_t::CUBLAS_OP_T } else { cublasOperation_t::CUBLAS_OP_N };
        let (a_row, b_row) = (if a_turned { m } else { k }, if b_turned { k } else { n });
        let (one, zero) = (1f32, 0f32);
        // SAFETY: the matrices are as large as the sizes say; factors are read before this returns.
        let done = unsafe {
            sgemm_strided_batched(
                *blas.handle(),
                way(b_turned),
                way(a_turned),
                n as i32,
                m as i32,
                k as i32,
                &one,
                b.pointer as *const f32,
                b_row as i32,
                (k * n) as i64,
                a.pointer as *const f32,
                a_row as i32,
                (m * k) as i64,
                &zero,
                c.pointer as *mut f32,
                n as i32,
                (m * n) as i64,
                batch as i32,
            )
        };
        done.map_err(|e| Error::msg(format!("cuBLAS: {e:?}")))
    }

    pub(super) fn conv(&self, way: Way, conv: &Conv, memories: [&Memory; 3]) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(failed)?;
        let mut dnn = self.dnn.lock().map_err(|_| Error::msg("cuDNN broke off"))?;
        let space = dnn.workspace(way, conv).map_err(|e| Error::msg(format!("cuDNN: {e}")))?;
        let space = self.alloc(space.div_ceil(4))?;
        dnn.run(way, conv, memories.map(|memory| memory.pointer), (space.pointer, space.len * 4))
            .map_err(|e| Error::msg(format!("cuDNN: {e}")))
    }
}
