//! What is wrong with a data set.

use super::options::{CacheOptions, ColumnOptions, EngineOptions, ModelOptions, Verbosity};
use super::progress::Reporter;
use super::tables::{quoted, table};
use super::{classes_only, print, tell_skipped};
use adapt::Result;
use adapt::audit::{Audit, FOUND, Kind};
use adapt::data::{Dataset, ReadOptions};
use adapt::error::printable;
use adapt::onnx::Model;
use adapt::plan::evidence::Trying;
use adapt::plan::{Plan, PlanOptions, preprocessing};
use adapt::progress::{Event, emit};
use adapt::report::{self, csv, json};
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;

/// Findings of a kind that the table shows.
const MOST: usize = 10;

#[derive(Args)]
pub struct AuditOptions {
    /// Labelled images: a folder, a zip file, a list (.csv, .tsv), Parquet, or MNIST's or CIFAR's files
    #[arg(long, value_name = "DIR|FILE")]
    pub data: PathBuf,
    /// The model whose features are compared [default: the embedded EfficientNet-Lite0]
    #[arg(long, value_name = "FILE")]
    pub onnx: Option<PathBuf>,
    /// Share of the training images held out for validation, where none are
    #[arg(long, value_name = "SHARE", default_value = "0.2", allow_negative_numbers = true)]
    pub val: f64,
    /// Decides which these are, and the folds
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    pub seed: u64,
    /// Print a CSV row for every image, worst first: a list to edit, which --data takes where the images lie; of a list
    /// its other columns are kept
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub columns: ColumnOptions,
    #[command(flatten)]
    pub model: ModelOptions,
    /// The tensor that holds the features [default: the last linear layer's input]
    #[arg(long, value_name = "TENSOR", help_heading = "Model")]
    pub cut: Option<String>,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub cache: CacheOptions,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

pub fn run(options: &AuditOptions) -> Result<()> {
    options.engine.limit_threads();
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: Event| reporter.event(event);
    let mut model = options.onnx.as_deref().map_or_else(preprocessing::builtin, Model::open)?;
    let read = ReadOptions { val: options.val, seed: options.seed, columns: options.columns.columns() };
    let data = Dataset::read(&options.data, &read, &progress)?;
    classes_only(&data, "adapt audit")?;
    let input = &options.model;
    let backend = options.engine.resolve(&progress)?;
    let (preprocess, cut) = (input.preprocess.clone(), options.cut.clone());
    let wanted = PlanOptions { preprocess, cut, size: input.size, ..PlanOptions::default() };
    let (mut plan, extractor) = Plan::prepare(&mut model, &backend, &wanted, &progress)?;
    let cache = options.cache.open();
    let trying =
        Trying { backend: &backend, options: &wanted, data: &data, cache: cache.as_ref(), progress: &progress };
    let extractor = trying.decide(&mut plan, &mut model, extractor)?;
    plan.notes.iter().filter(|note| note.contains("preprocessing")).for_each(|note| reporter.say(note));
    let (engine, images) = ((&model, &backend), data.items.len());
    let mut extractor = plan.cached_with_depths(extractor, engine, images, cache.as_ref());
    let audit = Audit::of(&data, &mut extractor, options.seed, &progress)?;
    reporter.finish();
    if options.json {
        return print(&json(&audit)?);
    }
    tell_skipped(&audit.skipped);
    if let Some(other) = data.task.mistaken(&data.classes).filter(|_| options.csv) {
        let what = format!("these classes look like {other}");
        emit(&progress, Event::Warning(&what))?;
    }
    if options.csv && !data.source.has_files() {
        let place = quoted(&printable(&data.source.place().display().to_string()));
        let what = format!("its paths are no files: use it in DIR once adapt data {place} --extract DIR has made them");
        emit(&progress, Event::Warning(&what))?;
    }
    if options.csv {
        let beside = data.beside(&read.columns, &FOUND, &progress)?;
        reporter.finish();
        return print(&String::from_utf8_lossy(&csv(&audit.table(&data, &beside))?));
    }
    print(&text(&audit, options))
}

fn text(audit: &Audit, options: &AuditOptions) -> String {
    let place = options.data.display().to_string();
    let mut text = format!("{}: {}\n", printable(&place), counts(audit));
    for shortcut in &audit.shortcuts {
        let (accuracy, majority) = (100. * shortcut.accuracy, 100. * shortcut.majority);
        let _ = writeln!(
            text,
            "{:13} alone tells {accuracy:.0} % of the labels ({majority:.0} % by chance)",
            shortcut.property
        );
    }
    let mut rows = Vec::new();
    for (kind, count) in &audit.counts {
        let own = audit.findings.iter().filter(|finding| finding.kind == *kind).take(MOST);
        rows.extend(own.map(|f| {
            let cells = [f.path.clone(), f.label.clone(), f.split.to_string(), f.suggestion.clone()];
            [vec![kind.to_string(), format!("{:.3}", f.score)], cells.to_vec()].concat()
        }));
        if *count > MOST {
            rows.push(vec![format!("… and {} more", count - MOST)]);
        }
    }
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["kind", "score", "path", "label", "split", "see"], 6, rows));
    }
    for note in &audit.notes {
        let _ = writeln!(text, "note: {}", printable(note));
    }
    if audit.findings.len() > audit.counts.len() * MOST {
        let _ = writeln!(text, "all of them: adapt audit --data {} --csv, or --json", quoted(&printable(&place)));
    }
    text
}

/// `600 images: 2 leaks, 31 suspects`
fn counts(audit: &Audit) -> String {
    let name = |kind: Kind, count: usize| match (kind, count) {
        (Kind::Unreadable | Kind::Blank | Kind::Tiny, _) | (_, 1) => format!("{count} {kind}"),
        _ => format!("{count} {kind}s"),
    };
    let found: Vec<String> = audit.counts.iter().map(|(kind, count)| name(*kind, *count)).collect();
    let found = if found.is_empty() { "nothing found".into() } else { found.join(", ") };
    format!("{}: {found}", report::images(audit.images))
}
