//! Runs side by side.

use super::{figures, print, tables, tell};
use adapt::Result;
use adapt::error::printable;
use adapt::metrics::Figures;
use adapt::report::compare::{Compared, Side, compare};
use adapt::report::recorded::Recorded;
use adapt::report::{json, precise};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct CompareOptions {
    /// The folders of runs; the further ones are compared with the first
    #[arg(required = true, num_args = 2..)]
    pub runs: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(options: &CompareOptions) -> Result<()> {
    let runs = options.runs.iter().map(|run| Recorded::read(run)).collect::<Result<Vec<_>>>()?;
    let places: Vec<_> = options.runs.iter().map(|run| run.canonicalize().ok()).collect();
    if let Some(twice) = (1..runs.len()).find(|&i| places[..i].contains(&places[i])) {
        let name = printable(&options.runs[twice].to_string_lossy());
        tell(&format!("warning: {name} is named twice: it is compared with itself"));
    }
    let compared = compare(&runs)?;
    tell_of_data(&runs, &compared);
    print(&if options.json { json(&compared)? } else { text(&compared) })
}

/// Says where runs may have other images by the same names, and where images belong together but it is not clear which.
fn tell_of_data(runs: &[Recorded], compared: &Compared) {
    let path = |run: &Recorded| run.run["data"]["path"].as_str().unwrap_or("?").to_string();
    let first = path(&runs[0]);
    // As paths: a slash at the end makes no other place.
    for run in runs.iter().filter(|run| Path::new(&path(run)) != Path::new(&first)) {
        let (folder, own) = (run.folder.display(), path(run));
        tell(&printable(&format!(
            "warning: {folder} has its images from {own}, not {first}: those of one name are taken for the same"
        )));
    }
    if let Some(why) = &compared.ungrouped {
        let what = "intervals count images of one group as if nothing joined them, and may be too narrow";
        tell(&printable(&format!("note: {why}; {what}")));
    }
}

/// Groups of the images, where whole ones were drawn.
fn groups(compared: &Compared) -> Option<usize> {
    compared.runs.first()?.figures.groups()
}

/// The differences that are shown, as far as there are any.
const ROWS: [&str; 13] = [
    "accuracy",
    "balanced_accuracy",
    "subset_accuracy",
    "hamming_loss",
    "micro_f1",
    "macro_f1",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "r2",
    "mae",
    "rmse",
];

/// Those of them that are the better the lower.
const LOWER: [&str; 5] = ["hamming_loss", "log_loss", "brier", "mae", "rmse"];

/// A run's figures, with intervals for those that have some.
fn headline(figures: &Figures) -> Vec<String> {
    let plain = |value: f64| format!("{value:.4}");
    match figures {
        Figures::Classes(m) => {
            let with = |name: &str, value: f64| figures::with_interval(value, m.intervals.get(name));
            vec![with("accuracy", m.accuracy), with("macro_f1", m.macro_f1), plain(m.log_loss), plain(m.ece)]
        }
        Figures::Labels(m) => {
            let with = |name: &str, value: f64| figures::with_interval(value, m.intervals.get(name));
            vec![with("micro_f1", m.micro_f1), with("macro_f1", m.macro_f1), plain(m.hamming_loss), plain(m.log_loss)]
        }
        Figures::Values(m) => {
            let with = |name: &str, value: f64| figures::in_any_unit(value, m.intervals.get(name));
            vec![with("r2", m.r2), with("mae", m.mae), with("rmse", m.rmse)]
        }
    }
}

fn text(compared: &Compared) -> String {
    let mut header = vec!["run", "model", "trained", "seconds"];
    header.extend(match compared.runs.first().map(|side| &side.figures) {
        Some(Figures::Labels(_)) => ["micro-F1", "macro-F1", "Hamming loss", "log-loss"].as_slice(),
        Some(Figures::Values(_)) => &["R²", "MAE", "RMSE"],
        _ => &["accuracy", "macro-F1", "log-loss", "ECE"],
    });
    let row = |side: &Side| {
        let seconds = side.seconds.map_or("?".into(), |s| format!("{s:.1}"));
        // What heads differ in is their kind.
        let trained = if side.train == "head" { &side.head } else { &side.train };
        let begin = vec![side.run.clone(), side.model.clone(), trained.clone(), seconds];
        [begin, headline(&side.figures)].concat()
    };
    let mut text = tables::table(&header, 3, compared.runs.iter().map(row));
    let split = compared.split.to_string();
    let brackets = figures::brackets([(split.as_str(), compared.images, groups(compared))]);
    text += &format!("on the {} {split} images that all of them have; {brackets}\n", compared.images);
    let left = compared.runs.iter().map(|side| (side.own_images - compared.images, &side.run)).filter(|(n, _)| *n > 0);
    let left: Vec<_> = left.map(|(n, run)| format!("{n} of {}", printable(run))).collect();
    if !left.is_empty() {
        text += &format!("left out, since not all runs have them under the same label: {}\n", left.join(", "));
    }
    for against in &compared.differences {
        text += &format!("\n{} less {}\n", printable(&against.run), printable(&against.against));
        let rows = ROWS.into_iter().filter_map(|name| {
            let found = against.figures.get(name)?;
            let better = (found.difference > 0.) != LOWER.contains(&name);
            let sure = match found.interval {
                None if groups(compared).is_some() => "too few groups to tell",
                None => "too few images to tell",
                Some([low, high]) if low == high => "the same on all resamples",
                Some([low, high]) if low <= 0. && high >= 0. => "may be chance",
                Some(_) if better => "better, not by chance",
                Some(_) => "worse, not by chance",
            };
            let shown = |value: f64| match name {
                "mae" | "rmse" if value >= 0. => format!("+{}", precise(value)),
                "mae" | "rmse" => precise(value),
                _ => format!("{value:+.4}"),
            };
            let interval =
                found.interval.map_or("–".into(), |[low, high]| format!("{} to {}", shown(low), shown(high)));
            Some(vec![name.replace('_', " "), shown(found.difference), interval, sure.into()])
        });
        text += &tables::table(&["", "difference", "95 % interval", ""], 1, rows);
    }
    text
}
