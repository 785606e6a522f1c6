//! The reverse pass of a program: its time, and finite differences.

use super::row::failed;
use adapt::Result;
use adapt::graph::{Program, Wanted};
use adapt::tensor::{DType, Device, Tensor};
use std::time::Instant;

/// Seconds of forward and backward with the gradients by all parameters.
pub fn backward(program: &Program, parameters: &[Tensor], images: &Tensor) -> Result<f32> {
    let started = Instant::now();
    let (outputs, tape) = program.forward_saving(images, parameters, &Wanted::parameters(program))?;
    let grads: Vec<_> = outputs.iter().map(|output| output.ones_like().ok()).collect();
    program.backward(tape, &grads)?;
    Ok(started.elapsed().as_secs_f32())
}

/// How far the slope of the summed squares of the outputs for one image, along a direction in all parameters, is from
/// central differences; relative, in float64.
pub fn slope(program: &Program, images: &Tensor) -> Result<f64> {
    let images = images.narrow(0, 0, program.batch().unwrap_or(1)).map_err(failed)?;
    let program = program.to(DType::F64, &Device::Cpu)?;
    let parameters = program.initial()?;
    // Each weight moves in proportion to its own size, up or down as if by chance.
    let direct = |parameter: &Tensor| {
        let signs = (0..parameter.elem_count()).map(|i| (i as f64 * 2.399).sin());
        parameter * Tensor::from_vec(signs.collect::<Vec<_>>(), parameter.shape(), &Device::Cpu)?
    };
    let directions = parameters.iter().map(direct).collect::<candle_core::Result<Vec<_>>>().map_err(failed)?;
    let value = |step: f64| -> Result<f64> {
        let moved = parameters.iter().zip(&directions).map(|(p, d)| p + (d * step)?);
        let moved = moved.collect::<candle_core::Result<Vec<_>>>().map_err(failed)?;
        let outputs = program.forward(&images, &moved)?;
        outputs.iter().map(|y| y.sqr()?.sum_all()?.to_scalar::<f64>()).sum::<candle_core::Result<f64>>().map_err(failed)
    };
    let (outputs, tape) = program.forward_saving(&images, &parameters, &Wanted::parameters(&program))?;
    let grads: Vec<_> = outputs.iter().map(|output| (output * 2.).ok()).collect();
    let found = program.backward(tape, &grads)?.parameters;
    let along = found.iter().zip(&directions).filter_map(|(grad, d)| Some((grad.as_ref()?, d)));
    let along = along.map(|(grad, d)| (grad * d)?.sum_all()?.to_scalar::<f64>()).sum::<candle_core::Result<f64>>();
    let (along, step) = (along.map_err(failed)?, 1e-8);
    let numeric = (value(step)? - value(-step)?) / (2. * step);
    Ok((along - numeric).abs() / numeric.abs())
}
