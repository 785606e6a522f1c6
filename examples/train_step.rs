//! Images a second of a training step: forward, softmax cross-entropy, backward by all parameters, AdamW.
//!
//! `cargo run --release --example train_step -- MODEL.onnx... [--batch 8] [--steps 5] [--threads 2] [--profile]`

use adapt::graph::{Program, Wanted};
use adapt::{Error, Model, Result};
use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Tensor};
use clap::Parser;
use rayon::prelude::*;
use std::cell::RefCell;
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

/// AdamW (Loshchilov and Hutter 2019) on one parameter, in place.
struct AdamW {
    moments: RefCell<[Vec<f32>; 2]>,
    step: RefCell<i32>,
}

impl AdamW {
    fn new(count: usize) -> AdamW {
        AdamW { moments: RefCell::new([vec![0.; count], vec![0.; count]]), step: RefCell::new(0) }
    }
}

impl InplaceOp2 for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, _: &Layout, g: &CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(p), CpuStorage::F32(g)) = (p, g) else { candle_core::bail!("not f32") };
        let g = &g[layout.start_offset()..][..p.len()];
        let (mut moments, mut step) = (self.moments.borrow_mut(), self.step.borrow_mut());
        *step += 1;
        let (rate, decay, a, b) = (1e-5f32, 0.01f32, 0.9f32, 0.999f32);
        let (a_t, b_t) = (1. - a.powi(*step), (1. - b.powi(*step)).sqrt());
        let [m, v] = &mut *moments;
        let size = 1 << 14;
        let chunks =
            p.par_chunks_mut(size).zip(g.par_chunks(size)).zip(m.par_chunks_mut(size)).zip(v.par_chunks_mut(size));
        chunks.for_each(|(((p, g), m), v)| {
            for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                *m = a * *m + (1. - a) * g;
                *v = b * *v + (1. - b) * g * g;
                *p -= rate * (*m / a_t / (v.sqrt() / b_t + 1e-8) + decay * *p);
            }
        });
        Ok(())
    }
}

/// The mean of the cross-entropy over the images, and its gradient.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> candle_core::Result<(f32, Tensor)> {
    let flat = logits.flatten_from(1)?;
    let exp = flat.broadcast_sub(&flat.max_keepdim(1)?)?.exp()?;
    let p = exp.broadcast_div(&exp.sum_keepdim(1)?)?;
    let own = Tensor::new(labels, p.device())?.unsqueeze(1)?;
    let loss = p.gather(&own, 1)?.log()?.mean_all()?.to_scalar::<f32>()?;
    let ones = Tensor::full(-1f32, own.shape(), p.device())?;
    let grad = p.scatter_add(&own, &ones, 1)?.affine(1. / labels.len() as f64, 0.)?;
    Ok((-loss, grad.reshape(logits.shape())?))
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

fn measure(path: &Path, arguments: &Arguments) -> Result<()> {
    let model = Model::open(path)?;
    let dims: Vec<Option<usize>> = [None, Some(3), Some(224), Some(224)].into();
    let import = if arguments.plain { Program::import_plain } else { Program::import };
    let mut program = import(&model, &dims)?;
    drop(model);
    if arguments.profile {
        program = program.profiled();
    }
    let mut shape: Vec<usize> = program.input().dims.iter().map(|dim| dim.unwrap_or(1)).collect();
    shape[0] = arguments.batch;
    let images = Tensor::randn(0f32, 1., shape, &Device::Cpu).map_err(failed)?;
    let labels: Vec<u32> = (0..arguments.batch as u32).map(|i| i * 379 % 1000).collect();
    let parameters = program.initial()?;
    let optimisers: Vec<AdamW> = parameters.iter().map(|p| AdamW::new(p.elem_count())).collect();
    let wanted = Wanted::parameters(&program);
    let step = || -> Result<f32> {
        let (outputs, tape) = program.forward_saving(&images, &parameters, &wanted)?;
        let (loss, grad) = cross_entropy(&outputs[0], &labels).map_err(failed)?;
        let mut grads = vec![None; outputs.len()];
        grads[0] = Some(grad);
        let found = program.backward(tape, &grads)?;
        for ((parameter, grad), adamw) in parameters.iter().zip(&found.parameters).zip(&optimisers) {
            let Some(grad) = grad else { continue };
            parameter.inplace_op2(&grad.contiguous().map_err(failed)?, adamw).map_err(failed)?;
        }
        Ok(loss)
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
