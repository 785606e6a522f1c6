//! Several models side by side on a user's images, and the best of them.

mod scatter;

use super::measure::measured;
use super::options::{CacheOptions, ColumnOptions, EngineOptions, ModelOptions, Verbosity};
use super::progress::Reporter;
use super::tables::table;
use super::{AdaptOptions, classes_only, print, tell, tell_skipped};
use adapt::data::{Dataset, ReadOptions, Skipped, Split};
use adapt::engine::Cache;
use adapt::error::printable;
use adapt::onnx::Model;
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::{Event, Progress};
use adapt::rank::{Limits, Probe, Ranked, Ranking};
use adapt::report::json;
use adapt::{Error, Result};
use clap::Args;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write;
use std::path::PathBuf;

/// Images of the sample: the probe's standard error is then 0.01 at most.
const IMAGES: usize = 2000;

#[derive(Args)]
pub struct RankOptions {
    /// The models; the embedded EfficientNet-Lite0 joins them
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Labelled images: a folder, a zip file, a list (.csv, .tsv), Parquet, or MNIST's or CIFAR's files; those for training
    /// are used
    #[arg(long, value_name = "DIR|FILE")]
    pub data: PathBuf,
    /// Rank the files alone
    #[arg(long)]
    pub no_builtin: bool,
    #[command(flatten)]
    pub limits: LimitOptions,
    /// Training images that are looked at, at most
    #[arg(long, value_name = "N", default_value_t = IMAGES as u32, value_parser = clap::value_parser!(u32).range(2..=4000))]
    pub images: u32,
    /// Decides which these are, and the folds
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub columns: ColumnOptions,
    #[command(flatten)]
    pub model: ModelOptions,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub cache: CacheOptions,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// What the best model may cost.
#[derive(Args)]
pub struct LimitOptions {
    /// Of several models, the best that takes at most so many milliseconds for one image
    #[arg(long, value_name = "MS", value_parser = above_zero, help_heading = "Model")]
    pub max_ms: Option<f64>,
    /// Of several models, the best whose file has at most so many megabytes (a million bytes each)
    #[arg(long, value_name = "MB", value_parser = above_zero, help_heading = "Model")]
    pub max_mb: Option<f64>,
}

fn above_zero(text: &str) -> std::result::Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&value: &f64| value > 0. && value.is_finite())
        .ok_or_else(|| "give a number above 0".into())
}

impl LimitOptions {
    pub fn any(&self) -> bool {
        self.max_ms.is_some() || self.max_mb.is_some()
    }

    fn limits(&self) -> Limits {
        Limits { ms: self.max_ms, mb: self.max_mb }
    }

    fn shown(&self) -> String {
        let ms = self.max_ms.map(|ms| format!("{ms} ms an image"));
        let mb = self.max_mb.map(|mb| format!("{mb} MB"));
        ms.into_iter().chain(mb).collect::<Vec<_>>().join(" and ")
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Found<'a> {
    models: &'a [Ranked],
    best: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_within_limits: Option<Option<&'a str>>,
    skipped: &'a [Skipped],
}

pub fn run(options: &RankOptions) -> Result<()> {
    options.engine.limit_threads();
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: Event| reporter.event(event);
    let joins = cfg!(feature = "builtin-model") && !options.no_builtin;
    let files: Vec<Option<PathBuf>> = options.files.iter().cloned().map(Some).chain(joins.then_some(None)).collect();
    if files.is_empty() {
        return Err(Error::Usage("there is no model to rank; name some files".into()));
    }
    let read = ReadOptions { val: 0., seed: options.seed, columns: options.columns.columns() };
    let mut data = Dataset::read(&options.data, &read, &progress)?;
    classes_only(&data, "adapt rank")?;
    let (preprocess, size) = (options.model.preprocess.clone(), options.model.size);
    let job = Job {
        data: &data,
        images: options.images as usize,
        seed: options.seed,
        plan: PlanOptions { preprocess, size, ..PlanOptions::default() },
        engine: &options.engine,
        cache: options.cache.open(),
        progress: &progress,
    };
    let (ranked, unreadable) = job.rank(&files)?;
    reporter.finish();
    tell_lost(&data, &unreadable);
    data.skipped.extend(unreadable);
    tell_skipped(&data.skipped);
    let limits = options.limits.limits();
    let within = ranked.iter().find(|one| limits.allow(one)).map(|one| one.model.as_str());
    if options.json {
        let best_within_limits = options.limits.any().then_some(within);
        return print(&json(&Found {
            models: &ranked,
            best: &ranked[0].model,
            best_within_limits,
            skipped: &data.skipped,
        })?);
    }
    let mut text = shown(&ranked);
    let _ = writeln!(text, "best: {}", printable(&ranked[0].model));
    if options.limits.any() {
        let named = within.map_or("none".into(), printable);
        let _ = writeln!(text, "best within {}: {named}", options.limits.shown());
    }
    print(&text)
}

/// Says which classes are not judged, since none of their images can be read.
fn tell_lost(data: &Dataset, unreadable: &[Skipped]) {
    let lost: HashSet<&str> = unreadable.iter().map(|skipped| skipped.path.as_str()).collect();
    let mut readable = vec![false; data.classes.len()];
    data.split(Split::Train).for_each(|item| readable[item.label] |= !lost.contains(item.path.as_str()));
    for (name, _) in data.classes.iter().zip(readable).filter(|(_, readable)| !readable) {
        tell(&format!("warning: class '{}' is not judged: none of its images can be read", printable(name)));
    }
}

/// The best of the models of `--onnx`, within the limits, and what became of each.
///
/// # Errors
/// [`Error::Usage`] where none is within them, and those of ranking.
pub fn choose(
    options: &AdaptOptions,
    plan: PlanOptions,
    data: &Dataset,
    progress: Progress,
) -> Result<(Model, Vec<Ranked>)> {
    let job = Job {
        data,
        images: IMAGES,
        seed: options.seed,
        plan,
        engine: &options.engine,
        cache: options.cache.open(),
        progress,
    };
    let files: Vec<Option<PathBuf>> = options.onnx.iter().cloned().map(Some).collect();
    // Whoever adapts the chosen one tells of images that cannot be read.
    let (ranked, _) = job.rank(&files)?;
    let limits = options.limits.limits();
    let best = ranked.iter().find(|one| limits.allow(one));
    let file = |best: &Ranked| options.onnx.iter().find(|file| file.display().to_string() == best.model);
    if options.verbosity.quiet {
        not_ranked(&ranked).for_each(|line| tell(&format!("warning: {line}")));
    } else {
        tell(&shown(&ranked));
    }
    let Some(file) = best.and_then(file) else {
        let what = format!("none of the models of --onnx takes at most {}", options.limits.shown());
        return Err(Error::Usage(format!("{what}; allow more, or name others")));
    };
    Ok((Model::open(file)?, ranked))
}

/// Ranking with an engine of its own, and each model measured in a process of its own.
struct Job<'a> {
    data: &'a Dataset,
    images: usize,
    seed: u64,
    plan: PlanOptions,
    engine: &'a EngineOptions,
    cache: Option<Cache>,
    progress: Progress<'a>,
}

impl Job<'_> {
    /// # Errors
    /// Those of [`Ranking::rank`], and the first model's where none can be judged.
    fn rank(&self, files: &[Option<PathBuf>]) -> Result<(Vec<Ranked>, Vec<Skipped>)> {
        let backend = self.engine.resolve(self.progress)?;
        let measure = |frozen: &Model, plan: &Plan| measured(frozen, plan, &backend, self.engine);
        let ranking = Ranking {
            data: self.data,
            backend: &backend,
            cache: self.cache.as_ref(),
            options: self.plan.clone(),
            images: self.images,
            seed: self.seed,
            measure: &measure,
            progress: self.progress,
        };
        let (ranked, unreadable) = ranking.rank(files)?;
        match ranked.iter().all(|one| one.judged.is_none()).then(|| ranked[0].error.clone()).flatten() {
            Some(why) => Err(Error::Engine(format!("none of the models can be ranked; the first one: {why}"))),
            None => Ok((ranked, unreadable)),
        }
    }
}

/// The table, accuracy against time, and what could not be judged.
fn shown(ranked: &[Ranked]) -> String {
    let judged: Vec<_> = ranked.iter().filter_map(|one| Some((one, one.judged.as_ref()?))).collect();
    let letters = ('A'..='Z').chain('a'..='z').map(String::from).chain(std::iter::repeat("·".into()));
    let rows = judged.iter().zip(letters.clone()).map(|((one, judged), letter)| {
        let memory = judged.cost.memory_bytes.map_or("?".into(), |bytes| format!("{:.0}", bytes as f64 / 1e6));
        vec![
            letter,
            one.model.clone(),
            format!("{:.3} ±{:.3}", judged.probe, judged.probe_error),
            format!("{:.3}", judged.neighbours),
            format!("{:.3}", judged.logme),
            format!("{:.2}", judged.h_score),
            judged.features.to_string(),
            format!("{:.2}", one.parameters.unwrap_or(0) as f64 / 1e6),
            format!("{:.1}", one.bytes.unwrap_or(0) as f64 / 1e6),
            format!("{:.1}", judged.cost.ms),
            memory,
        ]
    });
    let header = ["", "model", "probe", "1-NN", "LogME", "H", "features", "M weights", "MB", "ms", "memory MB"];
    let mut text = table(&header, 2, rows);
    let images = judged.first().map_or(0, |(_, judged)| judged.images);
    let probe = match judged.first().map(|(_, judged)| judged.probe_kind) {
        Some(Probe::Ridge) => "ridge regression, since softmax regression would take long for the largest",
        _ => "softmax regression",
    };
    let _ = writeln!(text, "probe: {probe}; on {images} training images, each judged by what has not seen it");
    let points: Vec<_> = judged.iter().zip(letters).map(|((_, j), letter)| (j.cost.ms, j.probe, letter)).collect();
    text += &scatter::scatter(&points);
    for line in not_ranked(ranked) {
        text = text + &line + "\n";
    }
    text
}

/// A line for each that could not be judged.
fn not_ranked(ranked: &[Ranked]) -> impl Iterator<Item = String> {
    ranked.iter().filter_map(|one| {
        let error = one.error.as_ref()?;
        // Most name the file.
        let model = if error.starts_with(&one.model) { "" } else { &format!("{}: ", one.model) };
        Some(format!("not ranked: {}{}", printable(model), printable(error)))
    })
}
