//! How much of the engine's speed the feature pass (read, decode, resize, run) reaches: images a second with images from
//! disk, against the engine alone on tensors in memory, in turn.
//!
//! `cargo run --release --example extract -- [DATA] [ROUNDS] [MODEL.onnx]`

use adapt::data::{Dataset, Split};
use adapt::engine::{BATCH, Backend, Choice};
use adapt::{Model, Plan};
use ndarray::ArrayD;
use std::path::Path;
use std::time::Instant;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> adapt::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().map_or("fixtures/fashion", String::as_str);
    let rounds = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let progress = &adapt::progress::silent;
    let mut model = arguments.get(2).map_or_else(adapt::builtin, Model::open)?;
    let data = Dataset::read(Path::new(folder), &Default::default(), progress)?;
    let backend = Backend::resolve(Choice::Auto, None, false, progress)?;
    let (plan, mut backbone) = Plan::make(&mut model, &backend, &Default::default(), progress)?;
    // As the main job does, which tells blank, tiny and equal images from the same decoding.
    backbone.look(true);
    let paths: Vec<&str> = data.split(Split::Train).map(|i| i.path.as_str()).collect();
    let tensor = ArrayD::from_shape_fn(plan.input.shape(BATCH).to_vec(), |i| (i[1] + i[2] + i[3]) as f32 % 7.0 - 3.0);
    let (mut whole, mut alone, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up and does not count.
    for round in 0..=rounds {
        let start = Instant::now();
        let rows = backbone.run(&data.source, &paths, "extracting", progress)?;
        let from_disk = rows.places.len() as f64 / start.elapsed().as_secs_f64();
        let batches = paths.len().div_ceil(BATCH);
        let start = Instant::now();
        for _ in 0..batches {
            backbone.engine().run_outputs(tensor.view(), &[0])?;
        }
        let in_memory = (batches * BATCH) as f64 / start.elapsed().as_secs_f64();
        if round > 0 {
            whole.push(from_disk);
            alone.push(in_memory);
            ratios.push(from_disk / in_memory);
        }
    }
    let (whole, alone, ratio) = (median(whole), median(alone), median(ratios));
    println!("{} images, {} {}, {rounds} rounds in turn, medians", paths.len(), backend.name(), backend.version());
    println!("from disk {whole:.1} images/s, engine alone {alone:.1} images/s, ratio {ratio:.3}");
    Ok(())
}
