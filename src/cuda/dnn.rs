//! Convolutions by cuDNN, by algorithms that give the same bits each time where it has any.

use super::Memory;
use super::candidate::{Algorithm, Candidate, Key, ordered, told};
use super::conv::Way;
use crate::kernels::conv::Conv;
use crate::kernels::precision::Number;
use cudarc::cudnn::{CudnnError, result, sys};
use cudarc::driver::CudaStream;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::Arc;

/// Algorithms that want more memory than this for themselves are passed over.
const MOST_SPACE: usize = 1 << 30;
/// More algorithms than any of the three has, each for several kinds of numbers.
const ALGORITHMS: usize = 32;

/// A convolution as cuDNN knows it, and the algorithms that it can be computed by.
struct Plan {
    x: sys::cudnnTensorDescriptor_t,
    k: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
    /// The best is the last.
    candidates: Vec<Candidate>,
    /// Why the last that failed did, if one has.
    why: String,
    /// Whether what failed may do another time.
    again: bool,
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: each was made by its function, and goes once. Nobody could be told of a failure.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_filter_descriptor(self.k);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_convolution_descriptor(self.conv);
        }
    }
}

pub(super) struct Dnn {
    handle: sys::cudnnHandle_t,
    plans: HashMap<Key, Plan>,
    /// Whose work it does.
    _stream: Arc<CudaStream>,
}

// SAFETY: a handle may be used by any thread, by one at a time: it is inside a lock.
unsafe impl Send for Dnn {}

impl Drop for Dnn {
    fn drop(&mut self) {
        self.plans.clear();
        // SAFETY: it was made by `create_handle`.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

type Outcome<T> = std::result::Result<T, String>;

fn said(error: CudnnError) -> String {
    format!("{error:?}")
}

impl Plan {
    fn new(conv: &Conv, number: Number) -> std::result::Result<Plan, CudnnError> {
        let w = &conv.window;
        let int = |values: [usize; 4]| values.map(|value| value as i32);
        let mut plan = Plan {
            x: result::create_tensor_descriptor()?,
            k: result::create_filter_descriptor()?,
            y: result::create_tensor_descriptor()?,
            conv: result::create_convolution_descriptor()?,
            candidates: Vec::new(),
            why: String::new(),
            again: false,
        };
        let (rows, float) = (sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW, sys::cudnnDataType_t::CUDNN_DATA_FLOAT);
        let (kind, math) = match number {
            Number::F32 => (float, sys::cudnnMathType_t::CUDNN_FMA_MATH),
            // Which is TF32 where the device has it.
            Number::Tf32 => (float, sys::cudnnMathType_t::CUDNN_DEFAULT_MATH),
            Number::Bf16 => (sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16, sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH),
        };
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let pair = |values: [usize; 2]| values.map(|value| value as i32);
        let ([pad_y, pad_x], [step_y, step_x]) = (pair(w.before), pair(w.stride));
        let [hole_y, hole_x] = pair(w.dilation);
        // SAFETY: the descriptors were just made.
        unsafe {
            let x = int([conv.images, conv.inputs, w.input[0], w.input[1]]);
            result::set_tensor4d_descriptor(plan.x, rows, kind, x)?;
            let k = int([conv.outputs, conv.inputs / conv.groups, w.kernel[0], w.kernel[1]]);
            result::set_filter4d_descriptor(plan.k, kind, rows, k)?;
            let y = int([conv.images, conv.outputs, w.output[0], w.output[1]]);
            result::set_tensor4d_descriptor(plan.y, rows, kind, y)?;
            let own = &mut plan.conv;
            result::set_convolution2d_descriptor(*own, pad_y, pad_x, step_y, step_x, hole_y, hole_x, mode, float)?;
            result::set_convolution_group_count(*own, conv.groups as i32)?;
            result::set_convolution_math_type(*own, math)?;
        }
        Ok(plan)
    }

    fn run(
        &self,
        handle: sys::cudnnHandle_t,
        candidate: &Candidate,
        memories: [u64; 3],
        (space, bytes): (*mut c_void, usize),
    ) -> std::result::Result<(), CudnnError> {
        let [x, k, y] = memories.map(|pointer| pointer as *mut c_void);
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = ((&raw const one).cast(), (&raw const zero).cast());
        let (x_is, k_is, y_is, own) = (self.x, self.k, self.y, self.conv);
        // SAFETY: the memories are as large as the descriptors say; factors are read before this returns.
        unsafe {
            result::set_convolution_math_type(own, candidate.math)?;
            match candidate.algorithm {
                Algorithm::Forward(by) => {
                    result::convolution_forward(handle, one, x_is, x, k_is, k, own, by, space, bytes, zero, y_is, y)
                }
                Algorithm::ByInput(by) => result::convolution_backward_data(
                    handle, one, k_is, k, y_is, y, own, by, space, bytes, zero, x_is, x,
                ),
                Algorithm::ByKernel(by) => result::convolution_backward_filter(
                    handle, one, x_is, x, y_is, y, own, by, space, bytes, zero, k_is, k,
                ),
            }
        }
    }
}

/// Those that need no more than some space, each with whether it always gives the same bits; the fastest, by cuDNN's own
/// reckoning, last.
macro_rules! candidates {
    ($ask:path, $kind:expr, $handle:expr, $a:expr, $b:expr, $conv:expr, $c:expr) => {{
        // SAFETY: zeros are a value of each of its fields.
        let mut found = [unsafe { std::mem::zeroed() }; ALGORITHMS];
        let mut count = 0;
        // SAFETY: the descriptors are the plan's, and there is room for as many as are asked for.
        unsafe { $ask($handle, $a, $b, $conv, $c, ALGORITHMS as i32, &mut count, found.as_mut_ptr()) }.map_err(said)?;
        let found = found[..(count as usize).min(ALGORITHMS)].iter().rev();
        let good = found.filter(|p| p.status.result().is_ok() && p.memory <= MOST_SPACE);
        let candidate = |algorithm, space, math| Candidate { algorithm, space, math };
        let same = sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
        good.map(|p| (p.determinism == same, candidate($kind(p.algo), p.memory, p.mathType))).collect::<Vec<_>>()
    }};
}

impl Dnn {
    pub(super) fn new(stream: &Arc<CudaStream>) -> std::result::Result<Dnn, CudnnError> {
        let handle = result::create_handle()?;
        let dnn = Dnn { handle, plans: HashMap::new(), _stream: stream.clone() };
        // SAFETY: the stream lives as long as the handle.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }?;
        Ok(dnn)
    }

    fn plan(&mut self, key: Key) -> Outcome<&mut Plan> {
        use Algorithm::{ByInput, ByKernel, Forward};
        use result::{
            get_convolution_backward_data_algorithm as by_input,
            get_convolution_backward_filter_algorithm as by_kernel, get_convolution_forward_algorithm as forward,
        };
        let handle = self.handle;
        if self.plans.get(&key).is_some_and(|plan| plan.again) {
            self.plans.remove(&key);
        }
        Ok(match self.plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let (way, conv, number) = key;
                let mut plan = Plan::new(&conv, number).map_err(said)?;
                let (x, k, y, own) = (plan.x, plan.k, plan.y, plan.conv);
                let ask = || {
                    Ok::<_, String>(match way {
                        Way::Forward => candidates!(forward, Forward, handle, x, k, own, y),
                        Way::ByInput => candidates!(by_input, ByInput, handle, k, y, own, x),
                        Way::ByKernel => candidates!(by_kernel, ByKernel, handle, x, y, own, k),
                    })
                };
                match ask() {
                    Ok(found) => plan.candidates = ordered(found, number),
                    Err(why) => plan.why = why,
                }
                if number == Number::F32 {
                    let exact = sys::cudnnMathType_t::CUDNN_FMA_MATH;
                    plan.candidates.iter_mut().for_each(|candidate| candidate.math = exact);
                }
                place.insert(plan)
            }
        })
    }

    /// Computes one of map, kernel and output (in this order) from the other two. An algorithm that fails, for want of
    /// memory or since it cannot do this one after all, is not tried again.
    pub(super) fn run(
        &mut self,
        key: Key,
        memories: [u64; 3],
        alloc: impl Fn(usize) -> candle_core::Result<Memory>,
    ) -> Outcome<()> {
        let (handle, plan) = (self.handle, self.plan(key)?);
        let mut short = false;
        while let Some(candidate) = plan.candidates.last() {
            let space = alloc(candidate.space.div_ceil(4));
            short |= space.is_err();
            let done = space.map_err(|e| e.to_string()).and_then(|space| {
                let space = (space.pointer as *mut c_void, candidate.space);
                plan.run(handle, candidate, memories, space).map_err(said)
            });
            let Err(error) = done else { return Ok(()) };
            short |= error.contains("ALLOC");
            plan.why = error;
            plan.candidates.pop();
        }
        // Another time there may be more memory; what cannot be done at all is not planned again.
        plan.again = short;
        Err(if plan.why.is_empty() { "it has no algorithm for this convolution".into() } else { plan.why.clone() })
    }

    /// A line for each convolution so far: by what it is computed, and what failed for it last.
    pub(super) fn told(&self) -> Vec<String> {
        let line = |(key, plan): (&Key, &Plan)| told(key, plan.candidates.last(), &plan.why);
        let mut lines: Vec<_> = self.plans.iter().map(line).collect();
        lines.sort();
        lines
    }
}
