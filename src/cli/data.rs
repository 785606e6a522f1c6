//! What a data set holds, and its images as files.

use super::options::{ColumnOptions, Verbosity};
use super::progress::Reporter;
use super::tables::table;
use super::{print, tell, tell_skipped};
use adapt::Result;
use adapt::data::{Dataset, ReadOptions, Summary, Task};
use adapt::error::printable;
use adapt::progress::Event;
use adapt::report::{self, json, precise};
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct DataOptions {
    /// Labelled images: a folder, a zip file, a list (.csv, .tsv), Parquet, or MNIST's or CIFAR's files
    pub data: PathBuf,
    /// Writes the images into this new folder, at the paths that predictions.csv calls them by
    #[arg(long, value_name = "DIR")]
    pub extract: Option<PathBuf>,
    /// Share of the training images held out for validation, where none are
    #[arg(long, value_name = "SHARE", default_value = "0.2", allow_negative_numbers = true)]
    pub val: f64,
    /// Decides which these are
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    pub seed: u64,
    #[command(flatten)]
    pub columns: ColumnOptions,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

pub fn run(options: &DataOptions) -> Result<()> {
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: Event| reporter.event(event);
    let read = ReadOptions { val: options.val, seed: options.seed, columns: options.columns.columns() };
    let data = Dataset::read(&options.data, &read, &progress)?;
    if let Some(folder) = &options.extract {
        let (written, skipped) = data.extract(folder, &progress)?;
        reporter.finish();
        let skipped: Vec<_> = data.skipped.iter().chain(&skipped).collect();
        if let Some(other) = data.task.mistaken(&data.classes).filter(|_| folder.join("labels.csv").is_file()) {
            tell(&format!("labels.csv: the classes look like {other}"));
        }
        if options.json {
            return print(&json(&serde_json::json!({ "folder": folder, "written": written, "skipped": skipped }))?);
        }
        tell_skipped(skipped);
        let folder = printable(&folder.display().to_string());
        return print(&format!("{folder}: {}\n", report::images(written)));
    }
    let summary = data.summary(&progress)?;
    reporter.finish();
    if options.json {
        return print(&json(&summary)?);
    }
    let images: usize = summary.formats.values().sum();
    let formats: Vec<String> = summary.formats.iter().map(|(format, count)| format!("{count} {format}")).collect();
    let place = printable(&options.data.display().to_string());
    let mut text = format!("{place}: a {} of {} ({})\n", summary.kind, report::images(images), formats.join(", "));
    if let [[h, w], [mh, mw], [lh, lw]] = summary.sizes[..] {
        let _ = writeln!(text, "sizes: {h}x{w} to {lh}x{lw}, the middle one {mh}x{mw} (height x width)");
    }
    text.push('\n');
    text.push_str(&labels(&summary));
    for note in &summary.notes {
        let _ = writeln!(text, "note: {}", printable(note));
    }
    tell_skipped(&summary.skipped);
    print(&text)
}

/// Classes or labels with their images, or the targets with their values.
fn labels(summary: &Summary) -> String {
    let count = |split: &str| summary.images.get(split).map(|count| format!("{count} {split}"));
    let images = ["train", "val", "test"].into_iter().filter_map(count).collect::<Vec<_>>().join(", ");
    if summary.task == Task::Regression {
        let rows = summary.targets.iter().map(|t| {
            let values = [f64::from(t.min), t.mean, f64::from(t.max)].map(precise);
            std::iter::once(t.target.clone()).chain(values).collect()
        });
        return format!("{}images: {images}\n", table(&["target", "min", "mean", "max"], 1, rows));
    }
    let rows = summary.classes.iter().map(|c| {
        let counts = [c.train, c.val, c.test].map(|count| count.to_string());
        std::iter::once(c.class.clone()).chain(counts).collect()
    });
    match summary.task {
        Task::Multilabel => format!("{}images: {images}\n", table(&["label", "train", "val", "test"], 1, rows)),
        _ => table(&["class", "train", "val", "test"], 1, rows),
    }
}
