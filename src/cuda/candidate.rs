//! What convolutions can be computed by.

use super::conv::Way;
use crate::kernels::conv::Conv;
use crate::kernels::precision::Number;
use cudarc::cudnn::sys;

/// What is computed of a convolution, and in which numbers.
pub(super) type Key = (Way, Conv, Number);

#[derive(Clone, Copy)]
pub(super) enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    ByInput(sys::cudnnConvolutionBwdDataAlgo_t),
    ByKernel(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// An algorithm, the bytes that it wants for itself, and the arithmetic that it is meant for.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) algorithm: Algorithm,
    pub(super) space: usize,
    pub(super) math: sys::cudnnMathType_t,
}

/// Behind the others those that always give the same bits: they are tried first. In bfloat16, in whose place TF32 does, there are
/// no others.
pub(super) fn ordered<T>(mut found: Vec<(bool, T)>, number: Number) -> Vec<T> {
    found.retain(|(same, _)| *same || number != Number::Bf16);
    found.sort_by_key(|(same, _)| *same);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// A line: what is computed, by what, and what failed for it before.
pub(super) fn told((way, conv, number): &Key, candidate: Option<&Candidate>, why: &str) -> String {
    let (w, Conv { images, inputs, outputs, groups, .. }) = (&conv.window, conv);
    let by = match candidate {
        None => "none".into(),
        Some(Candidate { algorithm, space, math }) => {
            let name = match algorithm {
                Algorithm::Forward(by) => format!("{by:?}"),
                Algorithm::ByInput(by) => format!("{by:?}"),
                Algorithm::ByKernel(by) => format!("{by:?}"),
            };
            let (name, math) = (name.rsplit("ALGO_").next().unwrap_or_default(), format!("{math:?}"));
            format!("{name} {} {} MiB", math.trim_start_matches("CUDNN_"), space.div_ceil(1 << 20))
        }
    };
    let failed = if why.is_empty() { String::new() } else { format!(" (before: {why})") };
    let ([h, y], [kh, ky], [step, _], [oh, oy]) = (w.input, w.kernel, w.stride, w.output);
    format!(
        "{way:?} {number:?} {images}x{inputs}x{h}x{y} by {kh}x{ky} step {step} groups {groups} to {outputs}x{oh}x{oy}: \
         {by}{failed}"
    )
}

#[cfg(test)]
mod tests {
    use super::{Algorithm, Candidate, Conv, Number, Way, ordered, sys, told};
    use crate::kernels::Window;

    /// The last is tried first.
    #[test]
    fn what_repeats_itself_is_tried_first() {
        let found = [(true, "slow"), (false, "faster"), (true, "fast"), (false, "fastest")];
        for number in [Number::F32, Number::Tf32] {
            assert_eq!(ordered(found.to_vec(), number), ["faster", "fastest", "slow", "fast"]);
        }
        assert_eq!(ordered(found.to_vec(), Number::Bf16), ["slow", "fast"]);
    }
    #[test]
    fn how_a_convolution_is_computed_is_told() {
        let [input, output, kernel, stride] = [[9, 8], [5, 4], [3, 3], [2, 2]];
        let window = Window { input, output, kernel, stride, dilation: [1; 2], before: [1; 2] };
        let conv = Conv { images: 64, inputs: 4, outputs: 6, groups: 2, window };
        let algorithm = Algorithm::ByInput(sys::cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
        let candidate = Candidate { algorithm, space: 5 << 20, math: sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH };
        let key = (Way::ByInput, conv, Number::Bf16);
        let what = "ByInput Bf16 64x4x9x8 by 3x3 step 2 groups 2 to 6x5x4: ";
        assert_eq!(told(&key, Some(&candidate), ""), format!("{what}1 TENSOR_OP_MATH 5 MiB"));
        assert_eq!(told(&key, None, "NOT_SUPPORTED"), format!("{what}none (before: NOT_SUPPORTED)"));
    }
}
