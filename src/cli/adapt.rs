//! The main job.

use super::clock::Clock;
use super::device::{self, Before};
use super::finish::{Ended, describe, evaluate, finish};
use super::inside::Job;
use super::made::{Work, head, inside};
use super::progress::Reporter;
use super::resume::{self, Recipe};
use super::tables::quoted;
use super::training::Train;
use super::{AdaptOptions, classes_only, heads, rank, screen, tables};
use adapt::audit::imbalance;
use adapt::data::{Columns, Dataset, ReadOptions, Split};
use adapt::engine::{Backend, Extractor};
use adapt::graph::Extent;
use adapt::onnx::Model;
use adapt::plan::evidence::Trying;
use adapt::plan::{self, Plan, PlanOptions, preprocessing};
use adapt::progress::{Event, Progress, emit};
use adapt::rank::Ranked;
use adapt::report::{OutDir, bake};
use adapt::train::heads::kind;
use adapt::train::tune::CHECKPOINT;
use adapt::{Error, Result};
use std::path::Path;

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
    let clock = Clock::start();
    let opened = open(options, going_on, &progress)?;
    let target = opened.2.target().to_owned();
    work(options, going_on, opened, clock, &reporter).inspect_err(|error| {
        // Of what was asked for, or is damaged, going on makes nothing else.
        let in_vain = matches!(error, Error::Usage(_) | Error::Train(_));
        if !in_vain && OutDir::state_of(&target, CHECKPOINT).is_file() {
            let target = quoted(&target.display().to_string());
            reporter.say_beside(&format!("what was trained so far is kept: adapt --resume {target} goes on"));
        }
    })
}

/// From the opened model, images and folder on.
fn work(
    options: &AdaptOptions,
    going_on: Option<(&Path, &Recipe)>,
    (mut model, mut data, out, ranking): (Model, Dataset, OutDir, Vec<Ranked>),
    mut clock: Clock,
    reporter: &Reporter,
) -> Result<()> {
    let progress = |event: Event| reporter.event(event);
    let cache = options.cache.open();
    let before = Before { cache: cache.as_ref(), recipe: going_on.map(|(_, recipe)| recipe) };
    let (backend, mut plan, mut extractor) = settle(options, &mut model, &data, &before, &progress)?;
    let model = &model;
    let prepare = |plan: &Plan| {
        let Train::Inside(extent) = &options.train else { return Ok(None) };
        let work = Work { options, model, plan, backend: &backend, out: &out, reporter, progress: &progress };
        Job::prepare(&work, extent, &data, going_on.map(|(_, recipe)| recipe), &clock).map(Some)
    };
    let mut job = prepare(&plan);
    // What cannot be trained with deeper features may be without them, or the reason is told of the network itself.
    if matches!(job, Err(Error::Model { .. } | Error::Engine(_))) && !plan.taps.is_empty() {
        (plan.taps, plan.head) = (Vec::new(), kind(data.task).into());
        extractor = extractor.narrowed(plan.features);
        job = prepare(&plan);
    }
    let (job, plan) = (job?, &plan);
    let work = Work { options, model, plan, backend: &backend, out: &out, reporter, progress: &progress };
    reporter.say(&tables::plan(model, plan, &data, job.as_ref()));
    if options.verbosity.quiet {
        plan.notes.iter().try_for_each(|note| emit(&progress, Event::Warning(note)))?;
    }
    strict(options, &data)?;
    clock.lap(|seconds| &mut seconds.read);

    let mut made = match job {
        None => head(&work, &mut data, extractor, &mut clock)?,
        Some(job) => inside(&work, job, &mut data, extractor, &mut clock)?,
    };
    let (metrics, predictions) = evaluate(&made, &data)?;
    describe(&mut made, &metrics, &data, reporter);
    clock.lap(|seconds| &mut seconds.write);
    let fine_tuning = (options.train == Train::Head)
        .then(|| work.fine_tuning(&data, made.head.as_ref(), clock.seconds.train))
        .transpose()?;
    clock.lap(|seconds| &mut seconds.fine_tuning);
    let command = going_on.map_or_else(|| resume::told(std::env::args_os()), |(_, recipe)| recipe.command());
    let ended = Ended { command, ranking, made, metrics, predictions, fine_tuning };
    finish(ended, options, (model, &backend), &data, out, clock, reporter)
}

/// The engine, the plan, and what gives the features that it takes.
fn settle(
    options: &AdaptOptions,
    model: &mut Model,
    data: &Dataset,
    before: &Before,
    progress: Progress,
) -> Result<(Backend, Plan, Extractor)> {
    let (asked, cache) = (plan_options(options), before.cache);
    let (backend, mut plan, extractor) = device::plan(options, model, (&asked, data.items.len()), before, progress)?;
    if options.bake_preprocessing {
        let prover = options.engine.prover_of(&backend, model, &plan.input, progress)?;
        bake::can_bake(model, &plan.preprocessing, &prover)?;
    }
    let trying = Trying { backend: &backend, options: &asked, data: &data.as_classes(), cache, progress };
    let extractor = trying.decide(&mut plan, model, extractor)?;
    plan.train = options.train.to_string();
    plan.suit(data.task, model);
    plan.head = match options.train {
        Train::Inside(_) if !options.training.probes(plan::is_initial(model)) => "linear layer",
        _ => kind(data.task),
    }
    .into();
    let extractor = match options.train {
        Train::Head => options.heads.ready(&mut plan, (model, &backend), data, extractor, cache),
        // Behind the start of a tail there are no such features.
        Train::Inside(Extent::All) if begins_deep(options, model) => {
            let extractor = plan.deepen(model, &backend, data.items.len(), extractor);
            if !plan.taps.is_empty() {
                heads::name(&mut plan, "discriminants or regression");
            }
            plan.cached(extractor, model, cache)
        }
        Train::Inside(_) => plan.cached(extractor, model, cache),
    };
    let mut extractor = extractor.strict(options.strict);
    extractor.look(options.train == Train::Head || !options.drop.is_empty());
    Ok((backend, plan, extractor))
}

/// Whether training of the whole network may begin with a head on features of several depths. Choosing one takes much longer than
/// softmax regression; where images are dropped by it no clock may end that, so that a budget leaves no time for it. With
/// `--balanced` the loss is another than the one that discriminants are chosen by.
pub(super) fn begins_deep(options: &AdaptOptions, model: &Model) -> bool {
    let training = &options.training;
    let timed = training.budget.is_some() && options.drop.contains(&screen::Drop::Suspects);
    training.probes(plan::is_initial(model)) && !timed && !training.balanced
}

/// The model, the images, the folder for results, and what became of the models of which it was chosen.
fn open(
    options: &AdaptOptions,
    going_on: Option<(&Path, &Recipe)>,
    progress: Progress,
) -> Result<(Model, Dataset, OutDir, Vec<Ranked>)> {
    let one = match (&options.onnx[..], going_on) {
        ([], _) => Some(preprocessing::builtin()?),
        ([path], _) => Some(Model::open(path)?),
        // That choice may hang on times.
        (_, Some((_, recipe))) => Some(recipe.model(&options.onnx)?),
        _ => None,
    };
    if options.onnx.len() < 2 && options.limits.any() {
        return Err(Error::Usage("--max-ms and --max-mb choose among several models: name them behind --onnx".into()));
    }
    let folder = options.data.as_deref().unwrap_or_else(|| unreachable!("clap requires --data"));
    let columns = Columns { groups: options.groups.clone(), ..options.columns.columns() };
    // Folds hold out themselves, and the final head learns from all.
    let val = options.val.unwrap_or(if options.heads.cv.is_some() { 0. } else { ReadOptions::default().val });
    let read = ReadOptions { val, seed: options.seed, columns };
    let mut data = Dataset::read(folder, &read, progress)?;
    suits(options, &data)?;
    data.notes.extend(imbalance(&data).filter(|_| data.task.is_multiclass()));
    data.notes.extend(kept_one(options, &data));
    let out = match going_on {
        Some((target, _)) => OutDir::resume(target, options.force)?,
        None => OutDir::create(&options.out.clone().unwrap_or_else(OutDir::next_default), options.force)?,
    };
    let (model, ranking) = match one {
        Some(model) => (model, Vec::new()),
        None => rank::choose(options, plan_options(options), &data, progress)?,
    };
    Ok((model, data, out, ranking))
}

/// What to do where the default share held out to validate leaves one image to learn from. Training inside the network has no folds that
/// would tell figures in its place, and groups may not be dealt into any.
fn kept_one(options: &AdaptOptions, data: &Dataset) -> Option<String> {
    let is_asked = options.val.is_some() || options.train != Train::Head || data.groups.is_some();
    let [train, val] = [Split::Train, Split::Val].map(|split| data.counts(split));
    let few = train.iter().zip(val).filter(|(train, val)| **train == 1 && *val > 0).count();
    let is_few = data.task.is_multiclass() && data.val_from_train && 2 * few >= data.classes.len();
    let what = "have one image to train on, since one is held out to validate (--val)";
    let to_do = "--val 0 trains on all, and folds tell the figures";
    (is_few && !is_asked).then(|| format!("{few} of {} classes {what}; {to_do}", data.classes.len()))
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

/// What the listing already skipped.
fn strict(options: &AdaptOptions, data: &Dataset) -> Result<()> {
    match data.skipped.first().filter(|_| options.strict) {
        Some(first) => Err(Error::data(data.source.locate(&first.path), format!("{} (--strict)", first.reason))),
        None => Ok(()),
    }
}
