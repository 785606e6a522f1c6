//! The logits of a folder's models: written once by ONNX Runtime, and compared with candle's program elsewhere, where there
//! may be no ONNX Runtime, but a GPU.
//!
//! `cargo run --release --example zoo_logits -- fixtures/zoo GOLDENS.safetensors --write`, then without `--write` and with
//! `--device cuda`.

#[path = "../fixtures/zoo/zoo.rs"]
mod zoo;

use adapt::graph::{Program, Wanted};
use adapt::plan::Input;
use adapt::plan::preprocessing::resolve;
use adapt::progress::silent;
use adapt::tensor::{DType, Device, Tensor, Wanted as WantedDevice};
use adapt::{Backend, Choice, Error, Model, Result};
use clap::Parser;
use ndarray::{ArrayD, IxDyn};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the proof of a run allows.
const ALLOWED: f32 = 1e-3;
/// Some networks magnify all rounding, and each device rounds in its own way: so many times what images that are a millionth
/// brighter change on the processor is no failure either.
const MAGNIFIED: f32 = 10.;
/// Copies to a GPU that a pass forwards and backwards may make: images, weights of the outputs, matrices of `Resize`, places of
/// `Gather`. None comes back before it is read.
const MOST_COPIES: u64 = 40;
/// Gradients are sums of many terms, and where an activation bends, rounding decides which way one goes: with random weights
/// one of MobileNet-v2 differs by 0.03, one of EfficientNet-B0, which magnifies all rounding (docs/zoo.md), by 0.05. Wrong ones
/// differ by their own size; what is sharp is the operators' tests.
const ALLOWED_OF_GRADIENTS: f32 = 1e-1;

#[derive(Parser)]
struct Arguments {
    /// The folder of the models, which may be skeletons
    folder: PathBuf,
    /// The file of their logits
    goldens: PathBuf,
    /// Write it, by ONNX Runtime
    #[arg(long)]
    write: bool,
    #[arg(long, default_value = "cpu")]
    device: WantedDevice,
    /// Compare the gradients by all parameters with the processor's, too
    #[arg(long)]
    gradients: bool,
    /// Only models whose names have this in them
    #[arg(long, default_value = "")]
    only: String,
}

fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

/// A model's file, its name, the model, and images for it.
type Read = (String, Model, Input, ArrayD<f32>);

fn read(path: &Path) -> Result<Read> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let model = zoo::expand(path)?;
    let (input, _) = resolve(&model, None, None)?;
    let photos = zoo::photos(&input, 10, 2);
    Ok((name, model, input, photos))
}

fn write(paths: &[PathBuf], goldens: &Path) -> Result<()> {
    let runtime = Backend::resolve(Choice::Ort, None, true, &silent)?;
    let mut all = HashMap::new();
    for path in paths {
        let (name, model, _, photos) = read(path)?;
        let logits = runtime.open(&model, &[], 2)?.run(photos.view())?.swap_remove(0);
        let shape = logits.shape().to_vec();
        let values: Vec<f32> = logits.into_iter().collect();
        let tensor = candle_core::Tensor::from_vec(values, shape, &candle_core::Device::Cpu).map_err(failed)?;
        println!("{name}");
        all.insert(name, tensor);
    }
    candle_core::safetensors::save(&all, goldens).map_err(failed)
}

fn array(tensor: &Tensor) -> Result<ArrayD<f32>> {
    let values = tensor.to_dtype(DType::F32).and_then(|tensor| tensor.flatten_all()?.to_vec1::<f32>());
    ArrayD::from_shape_vec(IxDyn(tensor.dims()), values.map_err(failed)?).map_err(|e| Error::Engine(e.to_string()))
}

/// Copies to and from a GPU so far.
fn copies(device: &Device) -> [u64; 2] {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(gpu) = device {
        let copies = gpu.copies();
        return [copies.up, copies.down];
    }
    let _ = device;
    [0; 2]
}

/// All gradients of the logits, weighted by what does not depend on the device; and the copies that they took.
fn gradients(program: &Program, images: &Tensor) -> Result<(Vec<ArrayD<f32>>, [u64; 2])> {
    let parameters = program.initial()?;
    let before = copies(program.device());
    let (outputs, tape) = program.forward_saving(images, &parameters, &Wanted::parameters(program))?;
    let weights: Vec<f32> = (0..outputs[0].elem_count()).map(|i| (i as f32 * 0.37).sin()).collect();
    let weights = Tensor::from_slice(&weights, outputs[0].dims(), outputs[0].device()).map_err(failed)?;
    let mut given = vec![None; outputs.len()];
    given[0] = Some(weights);
    let found = program.backward(tape, &given)?.parameters;
    let after = copies(program.device());
    let arrays = found.iter().flatten().map(array).collect::<Result<_>>()?;
    Ok((arrays, [after[0] - before[0], after[1] - before[1]]))
}

fn far(a: &[ArrayD<f32>], b: &[ArrayD<f32>]) -> f32 {
    a.iter().zip(b).map(|(a, b)| zoo::difference(a, b)).fold(0., f32::max)
}

/// What to say of a difference, given what the processor makes of brighter images, if that is needed.
fn judged(far: f32, allowed: f32, brighter: impl FnOnce() -> Result<f32>) -> Result<&'static str> {
    Ok(if far <= allowed {
        "ok"
    } else if far <= (MAGNIFIED * brighter()?).min(0.5) {
        "ROUNDING"
    } else {
        "FAILED"
    })
}

/// How far a model's logits are from the goldens, and its gradients from the processor's.
fn compare(path: &Path, goldens: &HashMap<String, Tensor>, device: &Device, backward: bool) -> Result<(String, bool)> {
    let (name, model, input, photos) = read(path)?;
    let program = Program::import(&model, &input.axes())?;
    let there = program.clone().on(device)?;
    let values: Vec<f32> = photos.iter().copied().collect();
    let images = Tensor::from_vec(values, photos.shape(), &Device::Cpu).map_err(failed)?;
    let brighter = images.affine(1. + 1e-6, 0.).map_err(failed)?;
    let golden = goldens.get(&name).ok_or_else(|| Error::Usage(format!("{name} is not in the goldens")))?;
    let logits = |program: &Program, images: &Tensor| array(&program.forward(images, &program.initial()?)?[0]);
    let apart = zoo::difference(&logits(&there, &images)?, &array(golden)?);
    let mut told = vec![judged(apart, ALLOWED, || {
        Ok(zoo::difference(&logits(&program, &brighter)?, &logits(&program, &images)?))
    })?];
    let mut line = format!("{name:48} logits {apart:8.1e}");
    if backward {
        let ((ours, [up, down]), (theirs, _)) = (gradients(&there, &images)?, gradients(&program, &images)?);
        let apart = far(&ours, &theirs);
        told.push(judged(apart, ALLOWED_OF_GRADIENTS, || Ok(far(&gradients(&program, &brighter)?.0, &theirs)))?);
        told.push(if up <= MOST_COPIES && down == 0 { "ok" } else { "FAILED" });
        line += &format!("  gradients {apart:8.1e}  copies {up:3} up {down:3} down");
    }
    let worst = ["FAILED", "ROUNDING"].into_iter().find(|worst| told.contains(worst)).unwrap_or("ok");
    Ok((format!("{line}  {worst}"), worst != "FAILED"))
}

fn run(arguments: &Arguments) -> Result<bool> {
    let mut paths = zoo::models(&arguments.folder)?;
    paths.retain(|path| path.to_string_lossy().contains(&arguments.only));
    if arguments.write {
        return write(&paths, &arguments.goldens).map(|()| true);
    }
    let device = arguments.device.open().map_err(Error::Usage)?;
    let goldens = adapt::tensor::load(&arguments.goldens, &Device::Cpu).map_err(failed)?;
    let mut all = !paths.is_empty();
    for path in &paths {
        // One that fails says nothing of the others.
        let (line, good) = compare(path, &goldens, &device, arguments.gradients)
            .unwrap_or_else(|error| (format!("{}: {error}  FAILED", path.display()), false));
        println!("{line}");
        all &= good;
    }
    Ok(all)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
