//! What a run writes: the model and its metadata, labels, configurations, predictions, figures, a report; and what is made of
//! these files later.

pub mod bake;
pub mod compare;
pub mod export;
mod fine_tuning;
mod folder;
mod head;
pub mod html;
pub mod maps;
mod numbers;
pub mod out;
mod problems;
pub mod recorded;

use crate::data::{Dataset, Split, TargetRange};
use crate::error::{Error, Result};
use crate::metrics::Figures;
use crate::plan::{Input, Plan};
use crate::rank::Ranked;
use crate::train::tune::{Epoch, Settings, Tuned};
pub use crate::verify::Baked;
use crate::verify::Parity;
pub use export::Adapted;
pub use fine_tuning::{FineTuning, Measured, THIS_NETWORK, predicted_by};
pub use head::{AnyHead, HeadInfo, SeveralInfo};
pub use numbers::{digits, images, precise, short, time};
pub use out::OutDir;
pub use problems::Problems;
use serde::Serialize;
use std::collections::BTreeMap;

/// `run.json`: what was done, with what, and how well it went.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// This program's version.
    pub version: &'static str,
    /// The command line.
    pub command: Vec<String>,
    /// The seed of the split and the folds.
    pub seed: u64,
    /// The models of which it was chosen, the best first; none where one was named, and where an interrupted run was gone on with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ranking: Vec<Ranked>,
    /// The model that was adapted, and what it became.
    pub model: ModelInfo,
    /// Every decision.
    pub plan: Plan,
    /// How the head came about, or what it was before the network was trained with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<AnyHead>,
    /// The probability from which on the model gives each label.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f32>,
    /// How the network was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingInfo>,
    /// Where a head was trained: what training inside the network would take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tuning: Option<FineTuning>,
    /// The images.
    pub data: DataInfo,
    /// What is wrong with them, where it was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problems: Option<Problems>,
    /// By split: `val`, `test`.
    pub metrics: BTreeMap<String, Figures>,
    /// The proof.
    pub parity: Parity,
    /// That of the model which takes bytes: how far its probabilities are from those of the one with our preprocessing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baked: Option<Baked>,
    /// Wall time by stage.
    pub seconds: Seconds,
}

/// The model's identity and its two ends.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    /// The original file.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// What it says of its licence, if anything.
    pub licence: Option<String>,
    /// Its opset.
    pub opset: i64,
    /// The adapted model's input.
    pub input: InputInfo,
    /// The adapted model's output.
    pub output: OutputInfo,
}

/// An input as `run.json` and the contract tell it.
#[derive(Debug, Clone, Serialize)]
pub struct InputInfo {
    /// The graph input's name.
    pub name: String,
    /// `nchw` or `nhwc`.
    pub layout: crate::data::Layout,
    /// Height and width in pixels.
    pub size: [u32; 2],
    /// 3; 1 for grey, 2 for grey and opacity, 4 for colours and opacity.
    pub channels: usize,
}

impl From<&Input> for InputInfo {
    fn from(input: &Input) -> Self {
        let size = [input.height, input.width];
        InputInfo { name: input.name.clone(), layout: input.layout, size, channels: input.channels }
    }
}

/// An output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputInfo {
    /// The graph output's name.
    pub name: String,
    /// What has become of the scores in it.
    pub activation: crate::plan::Activation,
}

/// Training inside the network.
#[derive(Debug, Clone, Serialize)]
pub struct TrainingInfo {
    /// The tensor before which all stayed frozen, if there is one.
    pub frozen_before: Option<String>,
    /// How it was trained.
    pub settings: Settings,
    /// The epoch whose weights were kept, where validation images chose it; 0 is the start.
    pub best_epoch: Option<u64>,
    /// That no epoch was better, and what is made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_gain: Option<&'static str>,
    /// Why training ended before its last step.
    pub stopped: Option<String>,
    /// Why it could not go on.
    pub diverged: Option<String>,
    /// A row an epoch.
    pub epochs: Vec<Epoch>,
}

impl TrainingInfo {
    /// What came of `settings`.
    pub fn new(settings: &Settings, start: Option<&str>, tuned: Tuned) -> TrainingInfo {
        TrainingInfo {
            frozen_before: start.map(str::to_owned),
            settings: settings.clone(),
            best_epoch: tuned.best,
            no_gain: TrainingInfo::no_gain(&tuned),
            stopped: tuned.stopped,
            diverged: tuned.diverged,
            epochs: tuned.epochs,
        }
    }

    /// What is told where the start was better than every epoch.
    pub fn no_gain(tuned: &Tuned) -> Option<&'static str> {
        let what = "no epoch was better on the validation images than the start, whose weights are taken: training did not help";
        (tuned.best == Some(0) && tuned.epochs.len() > 1).then_some(what)
    }
}

/// The data set in figures.
#[derive(Debug, Clone, Serialize)]
pub struct DataInfo {
    /// The folder.
    pub path: String,
    /// Names of the classes, labels or targets in the order of the output.
    pub classes: Vec<String>,
    /// Images by split and class or label; for targets all.
    pub counts: BTreeMap<String, Vec<usize>>,
    /// Images by split, where they have no classes that would tell.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, usize>,
    /// The column of what belongs together, and the number of groups by split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupsInfo>,
    /// The targets' values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetRange>,
    /// What was left out, and why.
    pub skipped: Vec<crate::data::Skipped>,
    /// What else was noticed.
    pub notes: Vec<String>,
}

/// Images that are on one side of each split and fold.
#[derive(Debug, Clone, Serialize)]
pub struct GroupsInfo {
    /// The list's column.
    pub column: String,
    /// Groups by split.
    pub counts: BTreeMap<String, usize>,
}

impl From<&Dataset> for DataInfo {
    fn from(data: &Dataset) -> Self {
        let counts = Split::ALL.map(|split| (split.to_string(), data.counts(split)));
        DataInfo {
            path: data.source.place().display().to_string(),
            classes: data.classes.clone(),
            counts: counts.into_iter().filter(|(_, counts)| counts.iter().any(|&n| n > 0)).collect(),
            images: data.images(),
            groups: data
                .groups
                .as_ref()
                .map(|groups| GroupsInfo { column: groups.column.clone(), counts: data.group_counts() }),
            targets: data.ranges(),
            skipped: data.skipped.clone(),
            notes: data.notes.clone(),
        }
    }
}

/// Wall seconds by stage.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seconds {
    /// Reading the model and the folder, choosing the engine, planning.
    pub read: f64,
    /// Features of the training images.
    pub extract_train: f64,
    /// Features of the validation and test images.
    pub extract_eval: f64,
    /// The search for copies, outliers and shortcuts among the images.
    pub audit: f64,
    /// The head, its cross-validation included; inside the network, that training.
    pub train: f64,
    /// A step of training inside, measured.
    pub fine_tuning: f64,
    /// Surgery, figures and files.
    pub write: f64,
    /// The written model in a fresh session.
    pub verify: f64,
    /// All of it.
    pub total: f64,
}

/// Any of the crate's values as indented JSON, with a line break at the end.
pub fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Engine(format!("writing JSON: {e}")))?;
    Ok(text + "\n")
}

/// What the columns of values are called in a table that has these of its `own`: as their labels or targets, those that would be there
/// twice with `(predicted)` behind it.
pub fn columns(names: &[String], own: &[&str]) -> Vec<String> {
    let column = |name: &String| {
        let mut column = name.clone();
        while own.contains(&column.as_str()) || column != *name && names.contains(&column) {
            column += " (predicted)";
        }
        column
    };
    names.iter().map(column).collect()
}

/// The rows as CSV with a header.
pub fn csv(rows: &[impl Serialize]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let error = |e: csv::Error| Error::Engine(format!("writing CSV: {e}"));
    rows.iter().try_for_each(|row| writer.serialize(row)).map_err(error)?;
    writer.into_inner().map_err(|e| Error::Engine(format!("writing CSV: {e}")))
}
