//! One model's row.

use super::{Extra, gradients, zoo};
use adapt::fit_softmax;
use adapt::graph::Program;
use adapt::onnx::cut::{self, Classifier};
use adapt::plan::{available_threads, preprocessing};
use adapt::progress::silent;
use adapt::tensor::{DType, Device, Tensor};
use adapt::verify::{Expected, verify};
use adapt::{Adapted, Backend, Choice, Dataset, Error, Features, Model, OutDir, Plan, Result, Split};
use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What candle's outputs may differ by from ONNX Runtime's, relative to the largest.
const CANDLE: f32 = 1e-4;
/// The same for tract: what the proof at the end of a run allows the engine.
const TRACT: f32 = 1e-3;
/// What the outputs for two photos must differ by, for a comparison to say anything.
const DEPENDENCE: f32 = 0.03;
/// Batches that are compared.
const BATCHES: [usize; 2] = [1, 3];

/// The columns and their widths, the name's given; the last is as wide as it must be.
pub fn columns(name: usize, extra: &Extra) -> Vec<(&'static str, usize)> {
    let mut columns = vec![("model", name), ("operators", 9), ("parameters", 10), ("image", 7)];
    columns.extend([("candle 1", 8), ("candle 3", 8), ("tract 1", 8), ("tract 3", 8), ("adapted", 8)]);
    columns.extend(extra.slopes.then_some(("slope", 8)));
    columns.extend(extra.backward.then_some(("backward", 8)));
    columns.extend([("seconds", 7), ("MiB", 6), ("cut", 0)]);
    columns
}

/// A model's cells, and what it failed in.
#[derive(Default, Serialize, Deserialize)]
pub struct Row {
    pub cells: Vec<String>,
    pub failures: Vec<String>,
}

impl Row {
    /// Adds the cells that a stage of the work gives, `-` each where it fails.
    fn stage<T>(&mut self, name: &str, cells: usize, stage: Result<(Vec<String>, T)>) -> Option<T> {
        match stage {
            Ok((given, value)) => {
                self.cells.extend(given);
                Some(value)
            }
            Err(error) => {
                self.cells.extend(vec!["-".to_owned(); cells]);
                self.failures.push(format!("{name}: {error}"));
                None
            }
        }
    }

    /// `rounding` says what to think of a difference that is too large.
    fn differences(&mut self, name: &str, tolerance: f32, rounding: f32, found: Result<[f32; 2]>) {
        let cells = found.map(|found| (found.map(|d| format!("{d:.1e}")).to_vec(), found));
        let far = self.stage(name, 2, cells).map_or(0., |found| found[0].max(found[1]));
        if far > tolerance {
            self.failures.push(format!(
                "{name}: outputs differ by {far:.1e}, allowed {tolerance:.0e} (ONNX Runtime's own by {rounding:.1e} where \
                 the images are a millionth brighter)"
            ));
        }
    }
}

/// Images and what ONNX Runtime makes of them.
struct Sample {
    batch: usize,
    images: ArrayD<f32>,
    outputs: Vec<ArrayD<f32>>,
}

/// Three classes of photo-like images, for adapting.
pub fn images(folder: &Path) -> Result<PathBuf> {
    for (class, place) in (0..3).flat_map(|class| (0..6).map(move |place| (class, place))) {
        let folder = folder.join(format!("class{class}"));
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let (kind, own) = (zoo::photo(class), zoo::photo(100 + 10 * class + place));
        let pixel = |x: u32, y: u32| {
            let (x, y) = (x as f32 / 160., y as f32 / 160.);
            image::Rgb([0, 1, 2].map(|c| (128. + 40. * kind(c, y, x) + 20. * own(c, y, x)) as u8))
        };
        let file = folder.join(format!("{place}.png"));
        let saved = image::RgbImage::from_fn(160, 160, pixel).save(&file);
        saved.map_err(|e| Error::Engine(format!("{}: {e}", file.display())))?;
    }
    Ok(folder.to_path_buf())
}

/// Everything that is known of a model in the end.
pub fn measure(path: &Path, images: &Path, extra: &Extra) -> Row {
    let started = Instant::now();
    let mut row = Row::default();
    if let Err(error) = measure_into(&mut row, path, images, extra) {
        row.failures.push(error.to_string());
    }
    // A stage that was not reached.
    row.cells.resize(columns(0, extra).len() - 4, "-".into());
    row.cells.push(format!("{:.1}", started.elapsed().as_secs_f32()));
    row.cells.push(peak_memory().unwrap_or("-".into()));
    let cut = Model::open(path).ok().and_then(|model| cut::find(model.graph(), None, None).ok());
    row.cells.push(cut.map_or("-".into(), |cut| match cut.classifier {
        Classifier::None => format!("{} (no classifier)", cut.tensor),
        _ => cut.tensor,
    }));
    row
}

/// The cells before time, memory and cut. Fails where nothing can be compared.
fn measure_into(row: &mut Row, path: &Path, images: &Path, extra: &Extra) -> Result<()> {
    let model = Model::open(path)?;
    let (input, _) = preprocessing::resolve(&model, None, None)?;
    let program = Program::import(&model, &input.axes()).and_then(|program| Ok((program.initial()?, program)));
    let program = program.map(|(parameters, program)| {
        let count: usize = parameters.iter().map(Tensor::elem_count).sum();
        (vec![program.steps().to_string(), format!("{:.2} M", count as f64 / 1e6)], (program, parameters))
    });
    let program = row.stage("import", 2, program);
    let runtime = Backend::resolve(Choice::Ort, None, true, &silent)?;
    let (samples, rounding) = samples(&model, &input, &runtime)?;
    let photos = samples.iter().find(|sample| sample.batch == BATCHES[1]).and_then(|sample| sample.outputs.first());
    let depends = photos.map_or(0., zoo::dependence);
    row.cells.push(format!("{:.1} %", depends * 100.));
    if depends < DEPENDENCE {
        row.failures.push("the outputs hardly depend on the image, so that comparing them says nothing".into());
    }
    match &program {
        Some((program, parameters)) => {
            row.differences(
                "candle",
                CANDLE,
                rounding,
                compare(&samples, |images| candle(program, parameters, images)),
            );
        }
        None => row.cells.extend(["-".into(), "-".into()]),
    }
    let tract = Backend::resolve(Choice::Tract, None, true, &silent)?;
    let engine = tract.open(&model, &input.axes(), available_threads());
    let compared = engine.and_then(|mut engine| compare(&samples, |images| engine.run(images.view())));
    row.differences("tract", TRACT, rounding, compared);
    row.stage("adapt", 1, adapt(model, images, &runtime).map(|far| (vec![format!("{far:.1e}")], ())));
    if let Some((program, parameters)) = &program {
        let few = tensor(&zoo::photos(&input, 0, 8 * program.batch().unwrap_or(1)))?;
        if extra.slopes {
            row.stage("slope", 1, gradients::slope(program, &few).map(|far| (vec![format!("{far:.1e}")], ())));
        }
        if extra.backward {
            let timed = gradients::backward(program, parameters, &few);
            row.stage("backward", 1, timed.map(|seconds| (vec![format!("{seconds:.2}")], ())));
        }
    }
    Ok(())
}

/// Photos and white noise of each batch; of a model with a fixed batch, as many times that. And how much the outputs
/// change where the images change by about what float32 rounds away: what no engine can be better than.
fn samples(model: &Model, input: &adapt::plan::Input, runtime: &Backend) -> Result<(Vec<Sample>, f32)> {
    let mut engine = runtime.open(model, &input.axes(), available_threads())?;
    let (mut samples, mut rounding) = (Vec::new(), 0f32);
    for batch in BATCHES {
        let count = batch * input.batch.unwrap_or(1);
        for images in [zoo::photos(input, 10, count), zoo::noise(input, 1, count)] {
            let outputs = engine.run(images.view())?;
            let brighter = engine.run((&images * (1. + 1e-6)).view())?;
            rounding = rounding.max(largest(&brighter, &outputs));
            samples.push(Sample { batch, images, outputs });
        }
    }
    Ok((samples, rounding))
}

/// The largest difference of any output.
fn largest(ours: &[ArrayD<f32>], theirs: &[ArrayD<f32>]) -> f32 {
    ours.iter().zip(theirs).map(|(a, b)| zoo::difference(a, b)).fold(0., f32::max)
}

/// The largest difference at each of [`BATCHES`].
fn compare(samples: &[Sample], mut run: impl FnMut(&ArrayD<f32>) -> Result<Vec<ArrayD<f32>>>) -> Result<[f32; 2]> {
    let mut found = [0f32; 2];
    for sample in samples {
        let far = largest(&run(&sample.images)?, &sample.outputs);
        let place = usize::from(sample.batch == BATCHES[1]);
        found[place] = found[place].max(far);
    }
    Ok(found)
}

fn candle(program: &Program, parameters: &[Tensor], images: &ArrayD<f32>) -> Result<Vec<ArrayD<f32>>> {
    let array = |tensor: &Tensor| {
        let values = tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1()).map_err(failed)?;
        ArrayD::from_shape_vec(IxDyn(tensor.dims()), values).map_err(|e| Error::Engine(e.to_string()))
    };
    program.forward(&tensor(images)?, parameters)?.iter().map(array).collect()
}

fn tensor(images: &ArrayD<f32>) -> Result<Tensor> {
    Tensor::from_vec(images.iter().copied().collect::<Vec<f32>>(), images.shape(), &Device::Cpu).map_err(failed)
}

pub fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

/// The whole of `adapt` on a few images: how far the written file is from what was trained.
fn adapt(mut model: Model, images: &Path, backend: &Backend) -> Result<f64> {
    let mut data = Dataset::read(images, &Default::default(), &silent)?;
    let (plan, mut backbone) = Plan::make(&mut model, backend, &Default::default(), &silent)?;
    let train = Features::extract(&mut data, Split::Train, &mut backbone, &silent)?;
    let fit = fit_softmax(train.rows.view(), &train.labels, data.classes.len(), &Default::default(), &silent)?;
    let mut adapted = Adapted::new(&model, &plan, &fit.head)?;
    adapted.describe(&plan, &data.classes, &Default::default());
    let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let out = OutDir::create(&folder.path().join("out"), false)?;
    out.write_model(&adapted, &plan, &data.classes)?;
    let sample = Features::sample([&train], 8);
    let (images, logits) = ((&data.source, &sample.paths[..]), adapted.head.logits(sample.rows.view())?);
    let trained = Expected { logits: logits.view(), features: Some(sample.rows.view()) };
    let file = out.path("model.onnx");
    Ok(verify(&file, &plan, adapted.activation, backend, images, trained, &silent)?.max_rel_logit_diff)
}

/// The most memory that this process has held, in MiB, where the system tells.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((kilobytes / 1024).to_string())
}
