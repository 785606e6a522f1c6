//! Images a second of a training step: forward, softmax cross-entropy, backward by all parameters, AdamW.
//!
//! `cargo run --release --example train_step -- MODEL.onnx... [--batch 8] [--steps 5] [--threads 2] [--profile]`

use adapt::graph::{Program, Wanted};
use adapt::onnx::batch;
use adapt::tensor::{DType, Device, Tensor};
use adapt::train::loss::{Loss, LossKind, one_hot};
use adapt::train::optimizer::{Optimizer, OptimizerKind, Setting};
use adapt::train::tune::Network;
use adapt::{Error, Model, Result};
use clap::Parser;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Parser)]
struct Arguments {
    /// ONNX files.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Images in a step.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Steps that are timed, after one that is not.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Seconds by operator, forward and backward, of the timed steps' mean.
    #[arg(long)]
    profile: bool,
    /// The graph as it is in the file, nothing fused.
    #[arg(long)]
    plain: bool,
}

fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

fn measure(path: &Path, arguments: &Arguments) -> Result<()> {
    let mut model = Model::open(path)?;
    // As the plan does with a fixed batch.
    let input =
        model.inputs().next().and_then(|input| Some((input.name().to_owned(), (*input.tensor_type()?.1?.first()?)?)));
    if let Some((name, images)) = input {
        model = batch::free(&model, &name, images as usize, &batch::Shapes::new(), 0);
    }
    let dims: Vec<Option<usize>> = [None, Some(3), Some(224), Some(224)].into();
    let import = if arguments.plain { Program::import_plain } else { Program::import };
    let mut program = import(&model, &dims)?;
    drop(model);
    if arguments.profile {
        program = program.profiled();
    }
    let shape: Vec<usize> = program.input().dims[1..].iter().map(|dim| dim.unwrap_or(1)).collect();
    let network = Network::new(&program, &HashMap::new(), Wanted::parameters(&program))?;
    let one = Tensor::zeros([&[1], &shape[..]].concat(), DType::F32, &Device::Cpu).map_err(failed)?;
    let classes = program.forward(&one, &network.parameters)?[0].elem_count();
    let images = Tensor::randn(0f32, 1., arguments.batch * shape.iter().product::<usize>(), &Device::Cpu);
    let images = images.and_then(|images| images.to_vec1::<f32>()).map_err(failed)?;
    let labels: Vec<usize> = (0..arguments.batch).map(|i| i * 379 % classes).collect();
    let (targets, loss) = (one_hot(&labels, classes), Loss::new(LossKind::CrossEntropy));
    let rules = network.parameters.iter().map(Setting::usual).collect();
    let kind = OptimizerKind::AdamW { betas: (0.9, 0.999), eps: 1e-8 };
    let mut optimizer = Optimizer::new(kind, 0.01, &network.parameters, rules)?;
    let mut step = || -> Result<f64> {
        let (tally, grads) = network.gradients(&images, &shape, targets.view(), &loss)?;
        optimizer.step(&network.parameters, &grads, 1e-5)?;
        Ok(tally.mean_loss())
    };
    let first = step()?;
    program.profile();
    let (mut seconds, mut last) = (Vec::new(), first);
    for _ in 0..arguments.steps {
        let started = Instant::now();
        last = step()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let rate = |place: usize| seconds.get(place).map_or(f64::NAN, |seconds| arguments.batch as f64 / seconds);
    println!(
        "{} batch {} train {:.2} img/s (median {:.2}), loss {first:.4} -> {last:.4}, peak {} MiB",
        path.file_name().unwrap_or_default().to_string_lossy(),
        arguments.batch,
        rate(0),
        rate(arguments.steps / 2),
        peak_memory().unwrap_or(0),
    );
    let mut rows: Vec<_> = program.profile().into_iter().collect();
    rows.sort_by(|(_, a), (_, b)| (b[0] + b[1]).total_cmp(&(a[0] + a[1])));
    let total = seconds.iter().sum::<f64>() / arguments.steps as f64 * 1e3;
    let known: f64 = rows.iter().map(|(_, times)| times[0] + times[1]).sum::<f64>() / arguments.steps as f64 * 1e3;
    for (operator, times) in &rows {
        let [forward, backward] = times.map(|time| time / arguments.steps as f64 * 1e3);
        println!("  {operator:32} forward {forward:8.2} ms  backward {backward:8.2} ms");
    }
    if arguments.profile {
        println!("  loss, optimiser, rest            {:8.2} ms of {total:.2} ms", total - known);
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global();
    pool.map_err(|e| Error::Engine(e.to_string()))?;
    arguments.models.iter().try_for_each(|path| measure(path, &arguments))
}
