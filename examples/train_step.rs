//! Images a second of a training step (forward, softmax cross-entropy, backward by all parameters, AdamW) and of a forward
//! pass alone, on the processor or a GPU.
//!
//! `cargo run --release --example train_step -- MODEL.onnx... [--batch 8] [--steps 5] [--threads 2] [--profile]
//! [--device cuda --precision tf32 --together 10]`

#[path = "../fixtures/zoo/zoo.rs"]
mod zoo;

use adapt::graph::{Program, Seconds, Wanted};
use adapt::onnx::batch;
use adapt::tensor::{Device, Number, Precision, Tensor, Wanted as WantedDevice};
use adapt::train::loss::{Loss, LossKind, one_hot};
use adapt::train::optimizer::{Optimizer, OptimizerKind, Setting};
use adapt::train::tune::{Given, Network, Tally};
use adapt::{Error, Result};
use clap::Parser;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

#[derive(Clone, Copy, clap::ValueEnum)]
enum Factors {
    F32,
    /// In convolutions, as PyTorch does it by default.
    Tf32,
    Bf16,
}

impl Factors {
    fn precision(self) -> Precision {
        match self {
            Factors::F32 => Precision::default(),
            Factors::Tf32 => Precision::GPU,
            Factors::Bf16 => Precision { conv: Number::Bf16, product: Number::Bf16 },
        }
    }
}

#[derive(Parser)]
struct Arguments {
    /// ONNX files; skeletons of fixtures/zoo get their values.
    #[arg(required = true)]
    models: Vec<PathBuf>,
    /// Images in a step.
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Times that are taken, after one that is not.
    #[arg(long, default_value = "5")]
    steps: NonZeroUsize,
    /// Steps whose time is taken together: a GPU is not waited for in between.
    #[arg(long, default_value = "1")]
    together: NonZeroUsize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, default_value = "cpu")]
    device: WantedDevice,
    /// What a GPU multiplies, in training steps and forward passes.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Factors,
    /// Seconds by operator, forward and backward, of the timed steps' mean.
    #[arg(long)]
    profile: bool,
    /// The graph as it is in the file, nothing fused.
    #[arg(long)]
    plain: bool,
    /// A line of JSON for each model.
    #[arg(long)]
    json: bool,
}

fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

/// In MiB: of this process, or of the GPU's memory that it used.
fn peak_memory(device: &Device) -> u64 {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(gpu) = device {
        return gpu.memory()[0] >> 20;
    }
    let _ = device;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}

fn program(path: &Path, arguments: &Arguments, device: &Device) -> Result<Program> {
    let mut model = zoo::expand(path)?;
    // As the plan does with a fixed batch.
    let input =
        model.inputs().next().and_then(|input| Some((input.name().to_owned(), (*input.tensor_type()?.1?.first()?)?)));
    if let Some((name, images)) = input {
        model = batch::free(&model, &name, images as usize, &batch::Shapes::new(), 0);
    }
    let dims: Vec<Option<usize>> = [None, Some(3), Some(224), Some(224)].into();
    let import = if arguments.plain { Program::import_plain } else { Program::import };
    let program = import(&model, &dims)?.on(device)?;
    Ok(if arguments.profile { program.profiled() } else { program })
}

/// Seconds of each of so many runs of the work, sorted.
fn timed(runs: usize, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut seconds = Vec::new();
    for _ in 0..runs {
        let started = Instant::now();
        work()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

/// Does work on each of so many batches, which another thread makes ahead, as training does.
fn ahead(
    count: usize,
    make: impl Fn() -> Result<Tensor> + Send,
    mut work: impl FnMut(Tensor) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(2);
        // Nobody waits for more where the work failed.
        scope.spawn(move || (0..count).try_for_each(|_| sender.send(make()).ok()));
        receiver.into_iter().try_for_each(|input| work(input?))
    })
}

fn measure(path: &Path, arguments: &Arguments, device: &Device) -> Result<()> {
    let program = program(path, arguments, device)?;
    let shape: Vec<usize> = program.input().dims[1..].iter().map(|dim| dim.unwrap_or(1)).collect();
    let mut network = Network::new(&program, &HashMap::new(), Wanted::parameters(&program))?;
    network.precision = arguments.precision.precision();
    let (count, mut rng) = (arguments.batch * shape.iter().product::<usize>(), zoo::Rng(1));
    let images: Vec<f32> = (0..count).map(|_| rng.normal(0., 1.) as f32).collect();
    // On the host once, and copied each step, as PyTorch's side does.
    let dims = [&[arguments.batch], &shape[..]].concat();
    let images = Tensor::from_vec(images, dims, &Device::Cpu).map_err(failed)?;
    let input = || images.to_device(device).map_err(failed);
    let classes = program.forward(&input()?, &network.parameters)?[0].elem_count() / arguments.batch;
    let labels: Vec<usize> = (0..arguments.batch).map(|i| i * 379 % classes).collect();
    let (targets, loss) = (one_hot(&labels, classes), Loss::new(LossKind::CrossEntropy));
    let rules = network.parameters.iter().map(Setting::usual).collect();
    let kind = OptimizerKind::AdamW { betas: (0.9, 0.999), eps: 1e-8 };
    let mut optimizer = Optimizer::new(kind, 0.01, &network.parameters, rules)?;
    let (mut losses, mut hosts) = (Vec::new(), Vec::new());
    let mut steps = || -> Result<()> {
        let (mut all, mut tally, mut first) = (Given::default(), Tally::default(), None);
        ahead(arguments.together.get(), input, |input| {
            let started = Instant::now();
            let (given, grads) = network.gradients(&input, targets.view(), &loss)?;
            optimizer.step(&network.parameters, &grads, 1e-5)?;
            all.add(given);
            first.get_or_insert_with(|| started.elapsed().as_secs_f64());
            Ok(())
        })?;
        // Steps behind the first may wait until there is room for what they ask of the GPU.
        hosts.extend(first);
        all.read(&mut tally)?;
        losses.push(tally.mean_loss());
        Ok(())
    };
    steps()?;
    program.profile()?;
    let training = timed(arguments.steps.get(), &mut steps)?;
    // That of the steps before is none of them.
    hosts[1..].sort_by(f64::total_cmp);
    let (profile, peak) = (program.profile()?, peak_memory(device));
    let forward = || -> Result<()> {
        let mut outputs = Vec::new();
        ahead(arguments.together.get(), input, |input| {
            outputs.push(network.precision.during(|| program.forward(&input, &network.parameters))?);
            Ok(())
        })?;
        outputs.iter().try_for_each(|outputs| outputs[0].flatten_all()?.to_vec1::<f32>().map(|_| ())).map_err(failed)
    };
    forward()?;
    let forwards = timed(arguments.steps.get(), forward)?;
    let (middle, together) = (arguments.steps.get() / 2, arguments.together.get() as f64);
    let rate = |seconds: f64| arguments.batch as f64 * together / seconds;
    let [best, train, forward] = [training[0], training[middle], forwards[middle]].map(rate);
    let host = [hosts[1 + middle], training[middle] / together];
    print_speed(path, arguments, &Speed { best, train, forward, host, losses, peak });
    if arguments.profile {
        print_profile(profile, training.iter().sum(), arguments.steps.get() as f64 * together);
        print_convolutions(device);
    }
    Ok(())
}

struct Speed {
    /// Images a second of training at best, usually, and of forward passes.
    best: f64,
    train: f64,
    forward: f64,
    /// Seconds until all of a training step was asked of the device, and of the whole step.
    host: [f64; 2],
    /// The mean of each time's steps, that before the first included.
    losses: Vec<f64>,
    peak: u64,
}

fn print_speed(path: &Path, arguments: &Arguments, speed: &Speed) {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let Speed { best, train, forward, host: [host, step], ref losses, peak } = *speed;
    let (first, loss) = (losses[0], losses[losses.len() - 1]);
    if arguments.json {
        let host = host / step;
        let row = serde_json::json!({
            "model": name, "train": train, "forward": forward, "peak": peak, "first": first, "loss": loss, "host": host
        });
        println!("{row}");
        return;
    }
    println!(
        "{name} batch {} train {best:.2} img/s (median {train:.2}), forward {forward:.2} img/s, loss {loss:.4}, \
         peak {peak} MiB, host {:.2} of {:.2} ms a step",
        arguments.batch,
        host * 1e3,
        step * 1e3,
    );
}

/// How the GPU computes them.
fn print_convolutions(device: &Device) {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(gpu) = device {
        gpu.convolutions().iter().for_each(|line| println!("  {line}"));
    }
    let _ = device;
}

fn print_profile(profile: Seconds, total: f64, steps: f64) {
    let mut rows: Vec<_> = profile.into_iter().collect();
    rows.sort_by(|(_, a), (_, b)| (b[0] + b[1]).total_cmp(&(a[0] + a[1])));
    for (operator, times) in &rows {
        let [forward, backward] = times.map(|time| time / steps * 1e3);
        println!("  {operator:32} forward {forward:8.2} ms  backward {backward:8.2} ms");
    }
    let known = rows.iter().map(|(_, times)| times[0] + times[1]).sum::<f64>() / steps * 1e3;
    let total = total / steps * 1e3;
    println!("  loss, optimiser, rest            {:8.2} ms of {total:.2} ms", total - known);
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build_global();
    pool.map_err(|e| Error::Engine(e.to_string()))?;
    let device = arguments.device.open().map_err(Error::Usage)?;
    arguments.models.iter().try_for_each(|path| measure(path, &arguments, &device))
}
