//! ONNX Runtime on a GPU: the CUDA provider of its library, where that has it.

use super::messages::in_short;
use crate::guard::quietly;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{CUDA, ExecutionProvider};
use ort::session::Session;
use ort::session::builder::SessionBuilder;

/// Sessions of this builder compute on the CUDA device of this number what they can there. In float32 alone, and without a search
/// for the fastest algorithms: a clock would choose among their roundings.
pub(super) fn on_gpu(builder: SessionBuilder, number: usize) -> ort::Result<SessionBuilder> {
    let mut builder = builder.with_deterministic_compute(true)?;
    let provider = CUDA::default().with_device_id(number as i32).with_tf32(false);
    provider.with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic).register(&mut builder)?;
    Ok(builder)
}

/// Whether the library that is loaded, whose environment this is, computes on the CUDA device of this number; why not, where it
/// does not.
pub(super) fn check(environment: &ort::environment::Environment, number: usize) -> Result<(), String> {
    let made = quietly(|| {
        if !CUDA::is_available().map_err(|e| e.message().to_owned())? {
            return Err("its library has no CUDA provider (that of the package onnxruntime-gpu has it)".to_owned());
        }
        let made = Session::builder(environment).and_then(|builder| on_gpu(builder, number));
        made.map(drop).map_err(|e| in_short(e.message()))
    });
    made.unwrap_or_else(Err)
}
