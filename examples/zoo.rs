//! Imports every ONNX model of a folder into a program on candle and compares its outputs with ONNX Runtime's:
//! `cargo run --release --example zoo -- DIR`. One row a model: steps, parameters, the largest difference relative to
//! the largest output at batches of 1 and 3, and the seconds of each run. `--backward` also times forward and backward of
//! 8 images; `--slopes` compares the gradient by all parameters with central differences, in float64, relative.

use adapt::graph::{Program, Wanted};
use adapt::onnx::port::Port;
use adapt::progress::silent;
use adapt::{Backend, Choice, Model, Result};
use candle_core::{DType, Device, Tensor};
use ndarray::{ArrayD, Dimension, IxDyn};
use std::time::Instant;

/// Smooth images that differ from each other, in about the range of normalised photographs.
fn images(count: usize, dims: &[Option<usize>]) -> ArrayD<f32> {
    let shape: Vec<usize> = std::iter::once(count).chain(dims.iter().skip(1).map(|d| d.unwrap_or(1))).collect();
    ArrayD::from_shape_fn(IxDyn(&shape), |at| {
        let [image, channel, y, x] = [0, 1, 2, 3].map(|axis| at.as_array_view().get(axis).map_or(0., |&i| i as f32));
        let wave = (y * 0.031 + image).sin() + (x * 0.043 - channel).cos() + ((x + y) * 0.11 + image * 2.).sin() * 0.4;
        wave + 0.2 * channel - 0.1
    })
}

fn tensor(images: &ArrayD<f32>) -> Tensor {
    let values = images.iter().copied().collect::<Vec<f32>>();
    Tensor::from_vec(values, images.shape(), &Device::Cpu).expect("as many values as the shape says")
}

/// The largest difference relative to the largest value.
fn difference(ours: &Tensor, theirs: &ArrayD<f32>) -> f32 {
    let ours = ours.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1::<f32>()).unwrap_or_default();
    let scale = theirs.iter().fold(f32::MIN_POSITIVE, |largest, v| largest.max(v.abs()));
    if ours.len() != theirs.len() {
        return f32::INFINITY;
    }
    let far = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    ours.iter().zip(theirs).map(far).fold(0., f32::max) / scale
}

/// How far the slope of the summed outputs along a direction in all parameters is from central differences.
fn slope(program: &Program, input: &Tensor) -> Result<f64> {
    let program = program.to(DType::F64, &Device::Cpu)?;
    let parameters = program.initial()?;
    let candle = |error: candle_core::Error| adapt::Error::Engine(error.to_string());
    // Each weight moves in proportion to its own size, up or down as if by chance.
    let direct = |parameter: &Tensor| {
        let signs = (0..parameter.elem_count()).map(|i| (i as f64 * 2.399).sin());
        parameter * Tensor::from_vec(signs.collect::<Vec<_>>(), parameter.shape(), &Device::Cpu)?
    };
    let directions = parameters.iter().map(direct).collect::<candle_core::Result<Vec<_>>>().map_err(candle)?;
    let value = |step: f64| -> Result<f64> {
        let moved = parameters.iter().zip(&directions).map(|(p, d)| p + (d * step)?);
        let moved = moved.collect::<candle_core::Result<Vec<_>>>().map_err(candle)?;
        let outputs = program.forward(input, &moved)?;
        outputs.iter().map(|y| y.sqr()?.sum_all()?.to_scalar::<f64>()).sum::<candle_core::Result<f64>>().map_err(candle)
    };
    let (outputs, tape) = program.forward_saving(input, &parameters, &Wanted::parameters(&program))?;
    let grads: Vec<_> = outputs.iter().map(|output| (output * 2.).ok()).collect();
    let found = program.backward(tape, &grads)?.parameters;
    let along = found.iter().zip(&directions).filter_map(|(grad, d)| Some((grad.as_ref()?, d)));
    let along = along.map(|(grad, d)| (grad * d)?.sum_all()?.to_scalar::<f64>()).sum::<candle_core::Result<f64>>();
    let (along, step) = (along.map_err(candle)?, 1e-8);
    let numeric = (value(step)? - value(-step)?) / (2. * step);
    Ok((along - numeric).abs() / numeric.abs())
}

struct Options {
    backward: bool,
    slopes: bool,
}

fn row(path: &std::path::Path, runtime: &Backend, options: &Options) -> Result<String> {
    let model = Model::open(path)?;
    // Of a model that leaves them open; a fixed batch is run as it is, and three of it.
    let shape = [None, Some(3), Some(224), Some(224)];
    let started = Instant::now();
    let program = Program::import(&model, &shape)?;
    let parameters = program.initial()?;
    let imported = started.elapsed().as_secs_f32();
    let mut engine = runtime.open(&model, &shape, 2)?;
    let port = Port::of(&model, &shape).map_err(|what| adapt::Error::model(path, what))?;
    let mut cells = vec![format!("{:5} {:5}", program.steps(), parameters.len()), format!("{imported:5.2}")];
    for batch in [1, 3] {
        let input = images(batch * program.batch().unwrap_or(1), &port.dims);
        let theirs = engine.run(input.view())?;
        let started = Instant::now();
        let ours = program.forward(&tensor(&input), &parameters)?;
        let seconds = started.elapsed().as_secs_f32();
        let far = ours.iter().zip(&theirs).map(|(a, b)| difference(a, b)).fold(0., f32::max);
        cells.push(format!("{far:9.1e} {seconds:6.2}"));
    }
    if options.slopes {
        let input = images(program.batch().unwrap_or(1), &port.dims);
        cells.push(format!("{:9.1e}", slope(&program, &tensor(&input))?));
    }
    if options.backward {
        let input = tensor(&images(8 * program.batch().unwrap_or(1), &port.dims));
        let started = Instant::now();
        let (outputs, tape) = program.forward_saving(&input, &parameters, &Wanted::parameters(&program))?;
        let grads: Vec<_> = outputs.iter().map(|output| output.ones_like().ok()).collect();
        let found = program.backward(tape, &grads)?.parameters.iter().flatten().count();
        cells.push(format!("{found:5} {:6.2}", started.elapsed().as_secs_f32()));
    }
    Ok(cells.join("  "))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let told = |flag: &str| arguments.iter().any(|a| a == flag);
    let options = Options { backward: told("--backward"), slopes: told("--slopes") };
    let Some(folder) = arguments.iter().find(|a| !a.starts_with("--")) else {
        eprintln!("usage: zoo DIR [--backward] [--slopes]");
        return Ok(());
    };
    let runtime = Backend::resolve(Choice::Ort, None, true, &silent)?;
    let files =
        std::fs::read_dir(folder).map_err(adapt::Error::io(folder))?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    files.sort();
    println!("{:38} steps param import  batch 1: diff    s  batch 3: diff    s", "");
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        println!("{name:38} {}", row(&path, &runtime, &options).unwrap_or_else(|error| error.to_string()));
    }
    Ok(())
}
