//! Damaged ONNX files through the whole reading path: no panic, no hang, no runaway memory.
//!
//! 2,000 files by default, as many as `ADAPT_FUZZ` says otherwise. File number n is the same everywhere and always:
//! `ADAPT_FUZZ_FROM=n ADAPT_FUZZ=1` makes it again, and keeps it in the target folder. The number of the file at hand
//! is kept in the target folder, should the process be killed.

#![allow(dead_code)] // Most of what makes models for tests/graph.rs makes the seeds here.

#[path = "graph/build.rs"]
mod build;
#[path = "graph/cases.rs"]
mod cases;
#[path = "graph/chains.rs"]
mod chains;
mod common;
#[path = "fuzz/grow.rs"]
mod grow;
#[path = "graph/maps.rs"]
mod maps;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "graph/parts.rs"]
mod parts;
#[path = "graph/picks.rs"]
mod picks;
#[path = "graph/resizes.rs"]
mod resizes;
#[path = "graph/sums.rs"]
mod sums;
#[path = "graph/values.rs"]
mod values;

use adapt::Model;
use adapt::graph::{self, Gradients, Program, Wanted};
use adapt::onnx::pooling::Pooling;
use adapt::onnx::schema::ModelProto;
use adapt::onnx::{batch, cut, surgery, weights};
use adapt::plan::{self, PlanOptions, input::Declared, labels, preprocessing};
use adapt::tensor::{Device, Tensor};
use build::{Graph, Rng};
use prost::Message;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// An importer is given up after 20 s, and a look at what can be trained after 60; each is asked, and two engines.
const LONGEST: Duration = Duration::from_secs(180);

/// 2 GiB, in KiB.
const MOST_MEMORY: u64 = 2 << 20;

/// Every small file among the goldens.
fn files() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().filter_map(Result::ok);
    let small = |entry: &walkdir::DirEntry| {
        entry.path().extension().is_some_and(|e| e == "onnx") && entry.metadata().is_ok_and(|m| m.len() < 20_000)
    };
    files.filter(small).filter_map(|entry| std::fs::read(entry.path()).ok()).collect()
}

/// A file to damage: a golden, or a model of some operators.
fn seed(files: &[Vec<u8>], rng: &mut Rng) -> ModelProto {
    if rng.size(0, 2) == 0 {
        let made = ModelProto::decode(&*files[rng.size(0, files.len() - 1)]);
        return made.unwrap_or_default();
    }
    let (_, case, _) = rng.pick(&cases::CASES);
    let mut graph = Graph::new(rng.size(0, 1 << 30) as u64);
    let output = case(&mut graph);
    graph.model(&output).proto
}

/// All that is done with a file, and what it computes of a grey image, and of two, with the gradients.
fn everything(bytes: Vec<u8>, tract: &adapt::Backend) -> bool {
    let Ok(model) = Model::from_bytes("<fuzz>", bytes) else { return false };
    let _ = (Declared::of(&model), labels::find(&model), preprocessing::resolve(&model, None, None));
    let _ = weights::to_safetensors(&model);
    for output in model.graph().output.iter().map(|output| output.name()) {
        cut::candidates(model.graph(), output);
    }
    if let Ok(found) = cut::find(model.graph(), None, None) {
        let pooling = Pooling::Mean(vec![2, 3]);
        let _ = surgery::backbone(&model, &found, &pooling).to_bytes();
        let adapted = surgery::attach(&model, &found, &pooling, &[0.; 6], &[0.; 2]);
        let _ = (adapted.to_bytes(), batch::free(&adapted, "x", 1, &Default::default(), 1).to_bytes());
    }
    for choice in 0..batch::CHOICES {
        let _ = batch::free(&model, "x", 1, &made_up(&model), choice).to_bytes();
    }
    let shape = [None, Some(3), Some(16), Some(16)];
    for taken in [224, 512] {
        let fits = |_: &Model, _: &cut::Cut, input: &plan::Input| input.height == taken;
        let _ = plan::settle(&mut model.clone(), &PlanOptions::default(), fits);
    }
    let _ = (batch::shapes_of(&model, "x"), graph::trainable(&model, &shape), tract.open(&model, &shape, 1));
    let Ok(program) = Program::import(&model, &shape) else { return false };
    for images in [1, 2] {
        let _ = run(&program, images);
    }
    true
}

/// Shapes of what nodes make, of one image: any, for an engine's are too slow to have.
fn made_up(model: &Model) -> batch::Shapes {
    let sizes = |place: usize| (0..1 + place % 5).map(move |axis| [1, 3, 16, 48, 0, 64][(place * 7 + axis * 5) % 6]);
    let made = model.graph().node.iter().flat_map(|node| &node.output).enumerate();
    let made = made.map(|(place, output)| (output.clone(), sizes(place).collect()));
    std::iter::once(("x".to_owned(), vec![1, 3, 16, 16])).chain(made).collect()
}

/// Runs a program forwards and backwards, where it can.
fn run(program: &Program, images: usize) -> Option<Gradients> {
    let dims = program.input().dims.iter().enumerate();
    let dims: Vec<usize> = dims.map(|(axis, size)| size.unwrap_or(if axis == 0 { images } else { 16 })).collect();
    // As many images as a file insists on are the caller's to make.
    if dims.iter().product::<usize>() > 1 << 20 {
        return None;
    }
    let input = Tensor::full(0.5f32, dims, &Device::Cpu).ok()?;
    let (outputs, tape) =
        program.forward_saving(&input, &program.initial().ok()?, &Wanted::parameters(program)).ok()?;
    let ones: Option<Vec<_>> = outputs.iter().map(|output| output.ones_like().ok().map(Some)).collect();
    program.backward(tape, &ones?).ok()
}

/// The most memory that this process has held, in KiB; 0 where the system does not tell.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn no_damaged_file_panics_hangs_or_fills_the_memory() {
    let (from, count) = (number("ADAPT_FUZZ_FROM", 0), number("ADAPT_FUZZ", 2000));
    let (clock, (sender, at)) = (Instant::now(), channel());
    // As much stack as a program's own thread has.
    let work = thread::Builder::new().stack_size(8 << 20).spawn(move || try_files(from, count, &sender)).unwrap();
    let mut file = from;
    let ended = loop {
        match at.recv_timeout(LONGEST) {
            Ok(next) => file = next,
            Err(end) => break end,
        }
    };
    assert_ne!(ended, RecvTimeoutError::Timeout, "file {file} takes longer than {LONGEST:?}");
    let imported = work.join().unwrap_or_else(|_| panic!("file {file} failed"));
    eprintln!("{count} files in {:?}, {imported} imported, {} MiB at most", clock.elapsed(), peak() >> 10);
    // What is refused at once tells nothing about what comes behind.
    assert!(count < 1000 || (imported > count / 20 && imported < count), "{imported} of {count} files were imported");
}

/// Tells of each file before it tries it; gives how many could be imported.
fn try_files(from: u64, count: u64, at: &Sender<u64>) -> u64 {
    let files = files();
    let tract = common::tract();
    let note = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-file");
    let mut imported = 0;
    for file in from..from + count {
        let _ = (at.send(file), std::fs::write(&note, file.to_string()));
        let before = peak();
        let mut rng = Rng::new(file + 1);
        let bytes = mutate::damaged(seed(&files, &mut rng), &mut rng);
        if count == 1 {
            let _ = std::fs::write(note.with_extension("onnx"), &bytes);
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| everything(bytes, &tract)));
        imported += u64::from(done.unwrap_or_else(|_| panic!("file {file} panics")));
        let after = peak();
        assert!(after < MOST_MEMORY, "file {file}: {after} KiB of memory, {before} before it");
    }
    imported
}

#[test]
fn hostile_files_are_read_in_time() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/hostile");
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, start) = (entry.unwrap().path(), Instant::now());
        let read = Model::open(&path).and_then(|model| Program::import(&model, &[None, Some(3), Some(16), Some(16)]));
        assert!(start.elapsed() < LONGEST, "{}: {:?}", path.display(), start.elapsed());
        if path.to_string_lossy().contains("terabyte") {
            let error = read.err().unwrap_or_else(|| panic!("{} was imported", path.display())).to_string();
            assert!(error.contains("node"), "{error}");
        }
    }
}
