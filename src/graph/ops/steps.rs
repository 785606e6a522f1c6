//! Steps of windows that a stranger's file may have: memory of the kernels grows with them.

use crate::kernels::Window;
use crate::kernels::conv::Conv;
use crate::tensor::Result;

/// Rows times columns of a step times channels: a step of 32 over 1,024 channels.
const MOST: usize = 1 << 20;

/// A window whose step behind its only position, where it has but one, is no longer than it takes to leave the map.
pub(super) fn shortened(mut window: Window) -> Window {
    for axis in (0..2).filter(|&axis| window.output[axis] == 1) {
        let span = window.dilation[axis] * (window.kernel[axis] - 1);
        let leaves = (window.input[axis] + window.before[axis]).saturating_sub(span).max(1);
        window.stride[axis] = window.stride[axis].min(leaves);
    }
    window
}

/// Refuses steps over rows and columns for which kernels that look at each channel by itself would take too much memory.
pub(super) fn bounded(conv: Conv) -> Result<Conv> {
    let ([rows, columns], channels) = (conv.window.stride, conv.groups);
    if channels > 1
        && [conv.inputs, conv.outputs] == [channels; 2]
        && rows.saturating_mul(columns).saturating_mul(channels) > MOST
    {
        candle_core::bail!("its steps of {rows} rows and {columns} columns are too wide for {channels} channels");
    }
    Ok(conv)
}

#[cfg(test)]
mod tests {
    use super::super::conv::window;
    use super::*;
    use tract_onnx::prelude::tvec;
    use tract_onnx::tract_core::ops::cnn::{PaddingSpec, PoolSpec};
    use tract_onnx::tract_core::ops::nn::DataFormat;

    /// Over maps of 8×8 in each of 64 channels by itself, with so much padding behind them.
    fn depthwise(kernel: usize, stride: usize, behind: usize) -> Result<Conv> {
        let spec = PoolSpec {
            data_format: DataFormat::NCHW,
            kernel_shape: tvec!(kernel, kernel),
            padding: PaddingSpec::Explicit(tvec!(0, 0), tvec!(behind, behind)),
            dilations: None,
            strides: Some(tvec!(stride, stride)),
            input_channels: 64,
            output_channels: 64,
        };
        let (window, _) = window(&spec, &[1, 64, 8, 8])?;
        bounded(Conv { images: 1, inputs: 64, outputs: 64, groups: 64, window })
    }

    #[test]
    fn steps_cost_no_more_memory_than_maps_do() {
        let steps = |kernel, stride, behind| {
            let window = depthwise(kernel, stride, behind).unwrap().window;
            (window.output, window.stride)
        };
        // One position on a map that was padded to 4096×4096.
        assert_eq!(steps(3, 4096, 4088), ([1, 1], [6, 6]));
        // As many as there are steps for, and one on a map that a shorter step would not leave.
        assert_eq!((steps(3, 2, 1), steps(7, 2, 0)), (([4, 4], [2, 2]), ([1, 1], [2, 2])));
        // Several that are as far from each other take memory for each channel.
        let refused = depthwise(1, 2048, 4088).unwrap_err().to_string();
        assert!(refused.contains("2048 rows") && refused.contains("64 channels"), "{refused}");
    }
}
