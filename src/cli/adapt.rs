//! The main job.

use super::progress::Reporter;
use super::{AdaptOptions, Device, Train, print, tables};
use adapt::data::{Dataset, ReadOptions, Split};
use adapt::engine::Extractor;
use adapt::metrics::Classification;
use adapt::onnx::Model;
use adapt::plan::{Plan, PlanOptions, preprocessing};
use adapt::progress::{Event, Progress};
use adapt::report::{Adapted, HeadInfo, InputInfo, ModelInfo, OutDir, OutputInfo, Run, Seconds, json};
use adapt::train::{Features, Fit, Options, Prediction, fit_softmax};
use adapt::verify::{IMAGES, Parity, verify};
use adapt::{Error, Result};
use std::collections::BTreeMap;
use std::time::Instant;

pub fn run(options: &AdaptOptions) -> Result<()> {
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: Event| reporter.event(event);
    let (Train::Head, Device::Cpu) = (options.train, options.device);
    let (mut clock, mut seconds) = (Clock::start(), Seconds::default());

    let (mut model, mut data, out) = open(options, &progress)?;
    let backend = options.engine.resolve(&progress)?;
    let (plan, extractor) = Plan::make(&mut model, &backend, &plan_options(options), &progress)?;
    reporter.say(&tables::plan(&model, &plan, &data));
    strict(options, &data)?;
    seconds.read = clock.lap();

    let sets = extract(&mut data, extractor.strict(options.strict), &mut clock, &mut seconds, &progress)?;
    let fitting = Options { seed: options.seed, ..Options::default() };
    let fit = fit_softmax(sets[0].rows.view(), &sets[0].labels, data.classes.len(), &fitting, &progress)?;
    seconds.train = clock.lap();
    if options.verbosity.verbose {
        reporter.say(&tables::strengths(&fit));
    }

    let mut adapted = Adapted::new(&model, &plan, &fit.head)?;
    let (metrics, predictions) = evaluate(&sets, &adapted, &data.classes)?;
    adapted.describe(&plan, &data.classes, &metrics);
    out.write_model(&adapted, &plan, &data.classes)?;
    seconds.write = clock.lap();

    let sample = Features::sample(sets.iter().rev(), IMAGES);
    let (file, images) = (out.path("model.onnx"), (&data.source, &sample.paths[..]));
    let expected = (&adapted.head, sample.rows.view());
    let proof = verify(&file, &plan, adapted.activation, &backend, images, expected, &progress);
    let (out, parity) = proven(out, proof)?;
    seconds.verify = clock.lap();
    seconds.total = clock.start.elapsed().as_secs_f64();
    let run = Run {
        version: env!("CARGO_PKG_VERSION"),
        command: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        seed: options.seed,
        model: model_info(&model, &plan, &adapted),
        head: head_info(fit),
        data: (&data).into(),
        plan,
        metrics,
        parity,
        seconds,
    };
    out.write_results(&run, &predictions)?;
    let target = out.commit()?;
    reporter.finish();
    print(&if options.json { json(&run)? } else { tables::results(&run, &target, &sample.paths) })
}

/// The model, the images, and the folder for results.
fn open(options: &AdaptOptions, progress: Progress) -> Result<(Model, Dataset, OutDir)> {
    let model = match &options.onnx {
        Some(path) => Model::open(path)?,
        None => preprocessing::builtin()?,
    };
    let folder = options.data.as_deref().unwrap_or_else(|| unreachable!("clap requires --data"));
    let data = Dataset::read(folder, &ReadOptions { val: options.val, seed: options.seed }, progress)?;
    let target = options.out.clone().unwrap_or_else(OutDir::next_default);
    Ok((model, data, OutDir::create(&target, options.force)?))
}

fn plan_options(options: &AdaptOptions) -> PlanOptions {
    PlanOptions {
        preprocess: options.model.preprocess.clone(),
        cut: options.cut.clone(),
        output: options.output.clone(),
        size: options.model.size,
        threads: None,
    }
}

/// Features of the images for training, validation and testing, in this order: all before the training, so that an image
/// that cannot be read costs no more time than it must.
fn extract(
    data: &mut Dataset,
    // Its session is gone afterwards: with large models the memory is needed again.
    mut extractor: Extractor,
    clock: &mut Clock,
    seconds: &mut Seconds,
    progress: Progress,
) -> Result<[Features; 3]> {
    let mut extract = |split| Features::extract(data, split, &mut extractor, progress);
    let train = extract(Split::Train)?;
    seconds.extract_train = clock.lap();
    let (val, test) = (extract(Split::Val)?, extract(Split::Test)?);
    seconds.extract_eval = clock.lap();
    Ok([train, val, test])
}

/// Figures by split, and what is predicted for every image.
fn evaluate(
    sets: &[Features],
    adapted: &Adapted,
    classes: &[String],
) -> Result<(BTreeMap<String, Classification>, Vec<Prediction>)> {
    let (mut metrics, mut predictions) = (BTreeMap::new(), Vec::new());
    for features in sets {
        let (figures, rows) = features.evaluate(&adapted.head, classes)?;
        predictions.extend(rows);
        // Figures on images that were trained on would only mislead.
        metrics.extend(figures.filter(|_| features.split != Split::Train).map(|m| (features.split.to_string(), m)));
    }
    Ok((metrics, predictions))
}

/// A folder whose model is what it has to be; any other is set aside.
fn proven(out: OutDir, proof: Result<Parity>) -> Result<(OutDir, Parity)> {
    match proof {
        Err(Error::Parity(what)) => {
            // That the model is wrong must be told, whatever becomes of its files.
            let kept = match out.reject() {
                Ok(folder) => format!("the files are kept in {}", folder.display()),
                Err(why) => why.to_string(),
            };
            Err(Error::Parity(format!("{what}; {kept}")))
        }
        other => Ok((out, other?)),
    }
}

fn model_info(model: &Model, plan: &Plan, adapted: &Adapted) -> ModelInfo {
    ModelInfo {
        path: model.path.display().to_string(),
        sha256: model.sha256.clone(),
        opset: model.opset(),
        input: InputInfo::from(&plan.input),
        output: OutputInfo { name: adapted.output.clone() },
    }
}

fn head_info(fit: Fit) -> HeadInfo {
    HeadInfo { l2: fit.l2, folds: fit.folds, iterations: fit.iterations, candidates: fit.candidates }
}

/// What the listing already skipped.
fn strict(options: &AdaptOptions, data: &Dataset) -> Result<()> {
    match data.skipped.first().filter(|_| options.strict) {
        Some(first) => Err(Error::data(data.source.locate(&first.path), format!("{} (--strict)", first.reason))),
        None => Ok(()),
    }
}

struct Clock {
    start: Instant,
    last: Instant,
}

impl Clock {
    fn start() -> Clock {
        let now = Instant::now();
        Clock { start: now, last: now }
    }

    /// Seconds since the last call.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        (now - std::mem::replace(&mut self.last, now)).as_secs_f64()
    }
}
