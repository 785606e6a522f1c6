//! Convolutions by cuDNN, in `f32` (not in TF32), by algorithms that give the same bits each time.

use super::conv::Way;
use crate::kernels::conv::Conv;
use cudarc::cudnn::{CudnnError, result, sys};
use cudarc::driver::CudaStream;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

/// Algorithms that want more memory than this for themselves are passed over.
const MOST_SPACE: usize = 1 << 30;
/// More algorithms than any of the three has.
const ALGORITHMS: usize = 10;

#[derive(Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    ByInput(sys::cudnnConvolutionBwdDataAlgo_t),
    ByKernel(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// A convolution as cuDNN knows it, and the algorithm that it is computed by.
struct Plan {
    x: sys::cudnnTensorDescriptor_t,
    k: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
    algorithm: Option<Algorithm>,
    space: usize,
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
    plans: HashMap<(Way, Conv), Plan>,
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
    fn new(conv: &Conv) -> std::result::Result<Plan, CudnnError> {
        let w = &conv.window;
        let int = |values: [usize; 4]| values.map(|value| value as i32);
        let mut plan = Plan {
            x: result::create_tensor_descriptor()?,
            k: result::create_filter_descriptor()?,
            y: result::create_tensor_descriptor()?,
            conv: result::create_convolution_descriptor()?,
            algorithm: None,
            space: 0,
        };
        let (rows, float) = (sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW, sys::cudnnDataType_t::CUDNN_DATA_FLOAT);
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        let pair = |values: [usize; 2]| values.map(|value| value as i32);
        let ([pad_y, pad_x], [step_y, step_x]) = (pair(w.before), pair(w.stride));
        let [hole_y, hole_x] = pair(w.dilation);
        // SAFETY: the descriptors were just made.
        unsafe {
            let x = int([conv.images, conv.inputs, w.input[0], w.input[1]]);
            result::set_tensor4d_descriptor(plan.x, rows, float, x)?;
            let k = int([conv.outputs, conv.inputs / conv.groups, w.kernel[0], w.kernel[1]]);
            result::set_filter4d_descriptor(plan.k, float, rows, k)?;
            let y = int([conv.images, conv.outputs, w.output[0], w.output[1]]);
            result::set_tensor4d_descriptor(plan.y, rows, float, y)?;
            let own = &mut plan.conv;
            result::set_convolution2d_descriptor(*own, pad_y, pad_x, step_y, step_x, hole_y, hole_x, mode, float)?;
            result::set_convolution_group_count(*own, conv.groups as i32)?;
            result::set_convolution_math_type(*own, sys::cudnnMathType_t::CUDNN_FMA_MATH)?;
        }
        Ok(plan)
    }
}

/// The fastest, by cuDNN's own reckoning, of those that always give the same bits and need no more than some space.
macro_rules! best {
    ($ask:path, $kind:expr, $handle:expr, $a:expr, $b:expr, $conv:expr, $c:expr) => {{
        // SAFETY: zeros are a value of each of its fields.
        let mut found = [unsafe { std::mem::zeroed() }; ALGORITHMS];
        let mut count = 0;
        // SAFETY: the descriptors are the plan's, and there is room for as many as are asked for.
        unsafe { $ask($handle, $a, $b, $conv, $c, ALGORITHMS as i32, &mut count, found.as_mut_ptr()) }.map_err(said)?;
        let mut found = found[..(count as usize).min(ALGORITHMS)].iter();
        let same = sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
        let best = found.find(|p| p.status.result().is_ok() && p.determinism == same && p.memory <= MOST_SPACE);
        let best = best.ok_or("it has no algorithm for this convolution that always gives the same bits")?;
        ($kind(best.algo), best.memory)
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

    fn plan(&mut self, way: Way, conv: &Conv) -> Outcome<&Plan> {
        if !self.plans.contains_key(&(way, *conv)) {
            let mut plan = Plan::new(conv).map_err(said)?;
            let (x, k, y, own) = (plan.x, plan.k, plan.y, plan.conv);
            let (algorithm, space) = match way {
                Way::Forward => {
                    best!(result::get_convolution_forward_algorithm, Algorithm::Forward, self.handle, x, k, own, y)
                }
                Way::ByInput => best!(
                    result::get_convolution_backward_data_algorithm,
                    Algorithm::ByInput,
                    self.handle,
                    k,
                    y,
                    own,
                    x
                ),
                Way::ByKernel => best!(
                    result::get_convolution_backward_filter_algorithm,
                    Algorithm::ByKernel,
                    self.handle,
                    x,
                    y,
                    own,
                    k
                ),
            };
            (plan.algorithm, plan.space) = (Some(algorithm), space);
            self.plans.insert((way, *conv), plan);
        }
        Ok(&self.plans[&(way, *conv)])
    }

    /// How many bytes [`Dnn::run`] wants for itself.
    pub(super) fn workspace(&mut self, way: Way, conv: &Conv) -> Outcome<usize> {
        Ok(self.plan(way, conv)?.space)
    }

    /// Computes one of map, kernel and output (in this order) from the other two.
    pub(super) fn run(&mut self, way: Way, conv: &Conv, memories: [u64; 3], space: (u64, usize)) -> Outcome<()> {
        let handle = self.handle;
        let plan = self.plan(way, conv)?;
        let [x, k, y] = memories.map(|pointer| pointer as *mut c_void);
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = ((&raw const one).cast(), (&raw const zero).cast());
        let (space, bytes) = (space.0 as *mut c_void, space.1);
        let (x_is, k_is, y_is, own) = (plan.x, plan.k, plan.y, plan.conv);
        // SAFETY: the memories are as large as the descriptors say; factors are read before this returns.
        let done = unsafe {
            match plan.algorithm {
                Some(Algorithm::Forward(by)) => {
                    result::convolution_forward(handle, one, x_is, x, k_is, k, own, by, space, bytes, zero, y_is, y)
                }
                Some(Algorithm::ByInput(by)) => result::convolution_backward_data(
                    handle, one, k_is, k, y_is, y, own, by, space, bytes, zero, x_is, x,
                ),
                Some(Algorithm::ByKernel(by)) => result::convolution_backward_filter(
                    handle, one, x_is, x, y_is, y, own, by, space, bytes, zero, k_is, k,
                ),
                None => return Err("a convolution without an algorithm".into()),
            }
        };
        done.map_err(said)
    }
}
