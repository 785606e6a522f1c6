//! The main job.

use super::inside::Job;
use super::made::{Clock, Made, Work, head, inside};
use super::progress::Reporter;
use super::resume::{self, Recipe};
use super::training::Train;
use super::{AdaptOptions, classes_only, device, print, rank, report, screen, tables};
use adapt::data::{Columns, Dataset, ReadOptions, Split};
use adapt::engine::Backend;
use adapt::metrics::{Classification, Figures};
use adapt::onnx::Model;
use adapt::plan::evidence::Trying;
use adapt::plan::{Plan, PlanOptions, Trained, licence, preprocessing};
use adapt::progress::{Event, Progress};
use adapt::report::recorded::write_scores;
use adapt::report::{Adapted, AnyHead, FineTuning, InputInfo, ModelInfo, OutDir, OutputInfo, Run, bake, csv, json};
use adapt::train::heads::kind;
use adapt::verify::{Expected, golden, verify, verify_baked};
use adapt::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub fn run(options: &AdaptOptions) -> Result<()> {
    if let Some(folder) = &options.resume {
        return resume::run(folder);
    }
    start(options, None)
}

/// Runs, from the beginning or from where an interrupted run was left.
pub fn start(options: &AdaptOptions, going_on: Option<(&Path, &Recipe)>) -> Result<()> {
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: Event| reporter.event(event);
    options.training.check(&options.train)?;
    if let Some(option) = options.heads.given().filter(|_| options.train != Train::Head) {
        return Err(Error::Usage(format!("{option} chooses between heads on frozen features; add --train head")));
    }
    options.engine.limit_threads();
    let mut clock = Clock::start();

    let (mut model, mut data, out) = open(options, going_on.map(|(folder, _)| folder), &progress)?;
    let (asked, cache) = (plan_options(options), options.cache.open());
    let (backend, mut plan, extractor) = device::plan(options, &mut model, &asked, &progress)?;
    if options.bake_preprocessing {
        let prover = options.engine.prover_of(&backend, &model, &plan.input, &progress)?;
        bake::can_bake(&model, &plan.preprocessing, &prover)?;
    }
    let extractor = {
        let data = &data.as_classes();
        let trying = Trying { backend: &backend, options: &asked, data, cache: cache.as_ref(), progress: &progress };
        trying.decide(&mut plan, &mut model, extractor)?
    };
    plan.train = options.train.to_string();
    plan.suit(data.task, &model);
    if !data.task.is_multiclass() {
        plan.head = kind(data.task).into();
    }
    let extractor = match options.train {
        Train::Head => options.heads.ready(&mut plan, (&model, &backend), &data, extractor),
        Train::Inside(_) => extractor,
    };
    let extractor = plan.cached(extractor.strict(options.strict), &model, cache.as_ref());
    let (model, plan) = (&model, &plan);
    let work = Work { options, model, plan, backend: &backend, out: &out, reporter: &reporter, progress: &progress };
    let job = match &options.train {
        Train::Head => None,
        Train::Inside(extent) => {
            let recipe = going_on.map(|(_, recipe)| recipe);
            Some(Job::prepare(&work, extent, &data, recipe, Duration::from_secs_f64(clock.total()))?)
        }
    };
    reporter.say(&tables::plan(model, plan, &data, job.as_ref()));
    strict(options, &data)?;
    clock.lap(|seconds| &mut seconds.read);

    let mut made = match job {
        None => head(&work, &mut data, extractor, &mut clock)?,
        Some(job) => inside(&work, job, &mut data, extractor, &mut clock)?,
    };
    let (metrics, predictions) = evaluate(&made, &data)?;
    describe(&mut made, &metrics, options, &data, &reporter);
    clock.lap(|seconds| &mut seconds.write);
    let fine_tuning = (options.train == Train::Head).then(|| work.fine_tuning(&data, made.head.as_ref()));
    clock.lap(|seconds| &mut seconds.fine_tuning);
    let ended = Ended { made, metrics, predictions, fine_tuning };
    finish(ended, options, (model, &backend), &data, out, clock, &reporter)
}

/// What came out, before it is written and proven.
struct Ended {
    made: Made,
    metrics: BTreeMap<String, Figures>,
    predictions: Vec<u8>,
    fine_tuning: Option<FineTuning>,
}

/// Writes the model, proves it, and tells of all.
fn finish(
    ended: Ended,
    options: &AdaptOptions,
    (model, backend): (&Model, &Backend),
    data: &Dataset,
    out: OutDir,
    mut clock: Clock,
    reporter: &Reporter,
) -> Result<()> {
    let progress = |event: Event| reporter.event(event);
    let Ended { made, metrics, predictions, fine_tuning } = ended;
    let plan = &made.plan;
    out.write_model(&made.adapted, plan, &data.classes)?;
    clock.lap(|seconds| &mut seconds.write);

    let (file, images) = (out.path("model.onnx"), (&data.source, &made.sample[..]));
    let expected = Expected { logits: made.expected.view(), features: made.features.as_ref().map(|f| f.view()) };
    let prover = options.engine.prover_of(backend, &made.adapted.model, &plan.input, &progress)?;
    let proof = verify(&file, plan, made.adapted.activation, &prover, images, expected, &progress);
    let (out, parity) = proven(out, proof)?;
    let (out, baked) = if options.bake_preprocessing {
        out.replace_model(&made.adapted.baked(plan))?;
        let (out, baked) = proven(out, verify_baked(&file, &prover, images, made.expected.view(), &progress))?;
        (out, Some(baked))
    } else {
        (out, None)
    };
    let output = (&*made.adapted.output, made.adapted.activation);
    golden::write(&out.path(golden::FOLDER), plan, output, images, made.expected.view())?;
    clock.lap(|seconds| &mut seconds.verify);
    clock.seconds.total = clock.total();
    let run = Run {
        version: env!("CARGO_PKG_VERSION"),
        command: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        seed: options.seed,
        model: model_info(model, plan, &made.adapted),
        head: made.head,
        thresholds: made.thresholds,
        training: made.training,
        fine_tuning,
        data: data.into(),
        problems: made.problems,
        plan: plan.clone(),
        metrics,
        parity,
        baked,
        seconds: clock.seconds,
    };
    out.write_results(&run, &predictions)?;
    write_scores(&out, &made.scores, &made.map)?;
    let trained = Trained::of(made.adapted.model, None, None);
    match report::write(&out, &data.source, &trained, &prover, &progress) {
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(why) => reporter.say_beside(&format!("warning: without report.html: {why}")),
        Ok(()) => {}
    }
    let target = out.commit()?;
    reporter.finish();
    print(&if options.json { json(&run)? } else { tables::results(&run, &target, &made.sample) })?;
    // What was reached is kept; that it is not what was asked for is a failure all the same.
    match run.training.and_then(|training| training.diverged) {
        Some(why) => Err(Error::Train(format!("{why}; the best weights so far are in {}", target.display()))),
        None => Ok(()),
    }
}

/// Writes into the model's metadata what its users need.
fn describe(
    made: &mut Made,
    metrics: &BTreeMap<String, Figures>,
    options: &AdaptOptions,
    data: &Dataset,
    reporter: &Reporter,
) {
    made.adapted.describe(&made.plan, &data.classes, metrics);
    if !made.thresholds.is_empty() {
        made.adapted.give_from(&made.thresholds);
    }
    let abstention = match &made.head {
        Some(AnyHead::Classes(head)) => head.abstention.as_ref(),
        _ => None,
    };
    match abstention {
        Some(abstention) => {
            made.adapted.abstain(abstention);
            let (threshold, share) = (abstention.threshold, 100. * abstention.coverage);
            reporter
                .say(&format!("abstain  answers from {threshold:.3} on are to be taken: {share:.0} % of the images"));
        }
        None if options.heads.abstain.is_some() => {
            let what = "warning: --abstain: no probability is high enough for that; the model has no threshold";
            reporter.say_beside(what);
        }
        None => {}
    }
}

/// The model, the images, and the folder for results.
fn open(options: &AdaptOptions, going_on: Option<&Path>, progress: Progress) -> Result<(Model, Dataset, OutDir)> {
    let one = match &options.onnx[..] {
        [] => Some(preprocessing::builtin()?),
        [path] => Some(Model::open(path)?),
        _ => None,
    };
    if one.is_some() && options.limits.any() {
        return Err(Error::Usage("--max-ms and --max-mb choose among several models: name them behind --onnx".into()));
    }
    let folder = options.data.as_deref().unwrap_or_else(|| unreachable!("clap requires --data"));
    let columns = Columns { groups: options.groups.clone(), ..options.columns.columns() };
    let read = ReadOptions { val: options.val, seed: options.seed, columns };
    let data = Dataset::read(folder, &read, progress)?;
    suits(options, &data)?;
    let out = match going_on {
        Some(target) => OutDir::resume(target, options.force)?,
        None => OutDir::create(&options.out.clone().unwrap_or_else(OutDir::next_default), options.force)?,
    };
    let model = one.map_or_else(|| rank::choose(options, plan_options(options), &data, progress), Ok)?;
    Ok((model, data, out))
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

/// Refuses options that the labels make no sense of.
fn suits(options: &AdaptOptions, data: &Dataset) -> Result<()> {
    options.heads.check(data)?;
    if options.onnx.len() > 1 && data.groups.is_some() {
        let what = "--groups: the choice among several models does not keep groups apart; give one --onnx";
        return Err(Error::Usage(what.into()));
    }
    let given = [
        (options.training.balanced, "--balanced"),
        (options.onnx.len() > 1, "a choice among several models (--onnx)"),
        (options.drop.contains(&screen::Drop::Suspects), "--drop suspects"),
        (options.training.loss.is_some(), "--loss"),
        (options.training.label_smoothing.is_some(), "--label-smoothing"),
    ];
    given.into_iter().filter(|(given, _)| *given).try_for_each(|(_, option)| classes_only(data, option))
}

/// Figures by split, and what is predicted for every image, as CSV.
fn evaluate(made: &Made, data: &Dataset) -> Result<(BTreeMap<String, Figures>, Vec<u8>)> {
    let (mut metrics, mut predictions) = (BTreeMap::new(), Vec::new());
    let header = ["path", "split", "label", "predicted"].map(String::from).into_iter();
    let mut rows = vec![header.chain(data.classes.iter().cloned()).collect()];
    for split in &made.scores {
        let figures = if data.task.is_multiclass() {
            let (figures, own) = split.evaluate(&data.classes)?;
            predictions.extend(own);
            let nearest_mean = made.nearest_mean.get(&split.split).copied();
            figures.map(|figures| Classification { nearest_mean, ..figures }.into())
        } else {
            let (figures, own) = split.judge(data, &made.thresholds)?;
            rows.extend(own);
            figures
        };
        // Figures on images that were trained on would only mislead.
        metrics.extend(figures.filter(|_| split.split != Split::Train).map(|m| (split.split.to_string(), m)));
    }
    Ok((metrics, if data.task.is_multiclass() { csv(&predictions)? } else { csv(&rows)? }))
}

/// A folder whose model is what it has to be; any other is set aside.
fn proven<T>(out: OutDir, proof: Result<T>) -> Result<(OutDir, T)> {
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
        licence: licence(model),
        opset: model.opset(),
        input: InputInfo::from(&plan.input),
        output: OutputInfo { name: adapted.output.clone(), activation: adapted.activation },
    }
}

/// What the listing already skipped.
fn strict(options: &AdaptOptions, data: &Dataset) -> Result<()> {
    match data.skipped.first().filter(|_| options.strict) {
        Some(first) => Err(Error::data(data.source.locate(&first.path), format!("{} (--strict)", first.reason))),
        None => Ok(()),
    }
}
