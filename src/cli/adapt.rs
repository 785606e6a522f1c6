//! The main job.

use super::progress::Reporter;
use super::{AdaptOptions, Device, Train, print, tables};
use adapt::data::{Dataset, ReadOptions, Split};
use adapt::onnx::Model;
use adapt::plan::{Plan, PlanOptions, preprocessing};
use adapt::report::{Adapted, HeadInfo, InputInfo, ModelInfo, OutDir, OutputInfo, Run, Seconds, json};
use adapt::train::{Features, Fit, Options, fit_softmax};
use adapt::verify::{IMAGES, verify};
use adapt::{Error, Result};
use std::collections::BTreeMap;
use std::time::Instant;

pub fn run(options: &AdaptOptions) -> Result<()> {
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: adapt::progress::Event| reporter.event(event);
    let (Train::Head, Device::Cpu) = (options.train, options.device);
    let mut clock = Clock { start: Instant::now(), last: Instant::now() };
    let mut seconds = Seconds::default();

    let mut model = match &options.onnx {
        Some(path) => Model::open(path)?,
        None => preprocessing::builtin()?,
    };
    let folder = options.data.as_deref().unwrap_or_else(|| unreachable!("clap requires --data"));
    let mut data = Dataset::read(folder, &ReadOptions { val: options.val, seed: options.seed }, &progress)?;
    let target = options.out.clone().unwrap_or_else(OutDir::next_default);
    let out = OutDir::create(&target, options.force)?;
    let backend = options.engine.resolve(&progress)?;
    let wanted = PlanOptions {
        preprocess: options.model.preprocess.clone(),
        cut: options.cut.clone(),
        output: options.output.clone(),
        size: options.model.size,
        threads: None,
    };
    let (plan, extractor) = Plan::make(&mut model, &backend, &wanted, &progress)?;
    let mut extractor = extractor.strict(options.strict);
    reporter.say(&tables::plan(&model, &plan, &data));
    strict(options, &data)?;
    seconds.read = clock.lap();

    let mut extract = |split| Features::extract(&mut data, split, &mut extractor, &progress);
    let train = extract(Split::Train)?;
    seconds.extract_train = clock.lap();
    // Before the training, so that an image that cannot be read costs no more time than it must.
    let (val, test) = (extract(Split::Val)?, extract(Split::Test)?);
    // With large models the memory of its session is needed again.
    drop(extractor);
    seconds.extract_eval = clock.lap();
    let fitting = Options { seed: options.seed, ..Options::default() };
    let fit = fit_softmax(train.rows.view(), &train.labels, data.classes.len(), &fitting, &progress)?;
    seconds.train = clock.lap();
    if options.verbosity.verbose {
        reporter.say(&tables::strengths(&fit));
    }

    let mut adapted = Adapted::new(&model, &plan, &fit.head)?;
    let (mut metrics, mut predictions) = (BTreeMap::new(), Vec::new());
    for features in [&train, &val, &test] {
        let (figures, rows) = features.evaluate(&adapted.head, &data.classes)?;
        predictions.extend(rows);
        // Figures on images that were trained on would only mislead.
        metrics.extend(figures.filter(|_| features.split != Split::Train).map(|m| (features.split.to_string(), m)));
    }
    adapted.describe(&plan, &data.classes, &metrics);
    out.write_model(&adapted, &plan, &data.classes)?;
    seconds.write = clock.lap();

    let sample = Features::sample([&test, &val, &train], IMAGES);
    let file = out.path("model.onnx");
    let images = (data.root.as_path(), &sample.paths[..]);
    let proof =
        verify(&file, &plan, adapted.activation, &backend, images, (&adapted.head, sample.rows.view()), &progress);
    let parity = match proof {
        Err(Error::Parity(what)) => {
            // That the model is wrong must be told, whatever becomes of its files.
            let kept = match out.reject() {
                Ok(folder) => format!("the files are kept in {}", folder.display()),
                Err(why) => why.to_string(),
            };
            return Err(Error::Parity(format!("{what}; {kept}")));
        }
        other => other?,
    };
    seconds.verify = clock.lap();
    seconds.total = clock.start.elapsed().as_secs_f64();
    let run = Run {
        version: env!("CARGO_PKG_VERSION"),
        command: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        seed: options.seed,
        model: ModelInfo {
            path: model.path.display().to_string(),
            sha256: model.sha256.clone(),
            opset: model.opset(),
            input: InputInfo::from(&plan.input),
            output: OutputInfo { name: adapted.output.clone() },
        },
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
    let text = if options.json { json(&run)? } else { tables::results(&run, &target, &sample.paths) };
    print(&text)
}

fn head_info(fit: Fit) -> HeadInfo {
    HeadInfo { l2: fit.l2, folds: fit.folds, iterations: fit.iterations, candidates: fit.candidates }
}

/// What the listing already skipped.
fn strict(options: &AdaptOptions, data: &Dataset) -> Result<()> {
    match data.skipped.first().filter(|_| options.strict) {
        Some(first) => Err(Error::data(data.root.join(&first.path), format!("{} (--strict)", first.reason))),
        None => Ok(()),
    }
}

struct Clock {
    start: Instant,
    last: Instant,
}

impl Clock {
    /// Seconds since the last call.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        (now - std::mem::replace(&mut self.last, now)).as_secs_f64()
    }
}
