//! What ONNX Runtime's settings are worth: images a second by threads, spinning, memory arena and batch, alone and beside threads
//! that decode, in turn. The settings that `adapt` has are marked.
//!
//! `cargo run --release --example settings -- [MODEL.onnx] [ROUNDS]`

use adapt::engine::{BATCH, runtime};
use adapt::onnx::Model;
use adapt::plan::available_threads;
use ndarray::ArrayD;
use ort::environment::Environment;
use ort::ep::CPU;
use ort::session::Session;
use ort::value::TensorRef;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

#[derive(Clone, Copy, PartialEq)]
struct Settings {
    threads: usize,
    spinning: bool,
    arena: bool,
    batch: usize,
}

/// Images of a measurement.
const IMAGES: usize = 32;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut model = arguments.first().map_or_else(adapt::builtin, Model::open)?;
    let rounds: usize = arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let library = runtime::locate(None)?.ok_or("ONNX Runtime is not installed: run `adapt runtime install`")?;
    let environment = runtime::environment(&library)?;
    let backend = adapt::Backend::resolve(adapt::Choice::Ort, None, true, &adapt::progress::silent)?;
    let (plan, _) = adapt::Plan::make(&mut model, &backend, &Default::default(), &adapt::progress::silent)?;
    let chosen = Settings { threads: available_threads(), spinning: false, arena: true, batch: BATCH };
    let mut all = vec![chosen];
    all.extend([1, chosen.threads * 2].map(|threads| Settings { threads, ..chosen }));
    all.push(Settings { spinning: true, ..chosen });
    all.push(Settings { arena: false, ..chosen });
    all.extend([1, 2, 4, 16, 32].map(|batch| Settings { batch, ..chosen }));
    let bytes = model.to_bytes()?;
    let mut sessions = Vec::new();
    for settings in &all {
        sessions.push(open(&environment, *settings, &bytes)?);
    }
    println!("{} rounds in turn, medians of images a second", rounds);
    println!(
        "{:>7} {:>8} {:>5} {:>5} {:>8} {:>16}",
        "threads", "spinning", "arena", "batch", "alone", "beside decoding"
    );
    let mut found = vec![[Vec::new(), Vec::new()]; all.len()];
    // The first round warms up and does not count.
    for round in 0..=rounds {
        for (place, settings) in all.iter().enumerate() {
            for (beside, found) in found[place].iter_mut().enumerate() {
                let input =
                    ArrayD::from_shape_fn(plan.input.shape(settings.batch).to_vec(), |i| (i[2] * i[3] % 7) as f32);
                let speed = beside_decoding(if beside == 1 { chosen.threads } else { 0 }, || {
                    let start = Instant::now();
                    for _ in 0..IMAGES / settings.batch {
                        let outputs = sessions[place].run(ort::inputs![TensorRef::from_array_view(&input)?])?;
                        black_box(outputs.len());
                    }
                    Ok::<_, ort::Error>(IMAGES as f64 / start.elapsed().as_secs_f64())
                })?;
                if round > 0 {
                    found.push(speed);
                }
            }
        }
    }
    for (settings, found) in all.iter().zip(found) {
        let Settings { threads, spinning, arena, batch } = *settings;
        let [alone, beside] = found.map(median);
        let mark = if *settings == chosen { "  <-" } else { "" };
        let word = |on: bool| if on { "on" } else { "off" };
        println!("{threads:>7} {:>8} {:>5} {batch:>5} {alone:>8.1} {beside:>16.1}{mark}", word(spinning), word(arena));
    }
    Ok(())
}

fn open(environment: &Environment, settings: Settings, model: &[u8]) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(settings.threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(settings.spinning)?
        .with_execution_providers([CPU::default().with_arena_allocator(settings.arena).build()])?
        .commit_from_memory(model)
}

/// Does the work beside so many threads that decode one PNG image over and over.
fn beside_decoding<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    let (done, mut png) = (AtomicBool::new(false), Vec::new());
    let pixels = image::RgbImage::from_fn(256, 256, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
    pixels.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).expect("a picture can be written");
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    black_box(image::load_from_memory(&png).expect("it was written a moment ago"));
                }
            });
        }
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
