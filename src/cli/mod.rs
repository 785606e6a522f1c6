//! Arguments, and one file for each command.

pub mod adapt;
mod advice;
pub mod audit;
mod beginning;
pub mod cache;
mod clock;
pub mod compare;
mod cost;
pub mod cut;
pub mod data;
pub mod device;
pub mod embed;
pub mod epochs;
pub mod eval;
pub mod explain;
mod feeds;
pub mod figures;
mod finish;
pub mod heads;
mod idle;
mod inside;
pub mod inspect;
pub mod made;
pub mod measure;
pub mod merge;
pub mod new;
pub mod options;
pub mod predict;
pub mod progress;
pub mod rank;
pub mod report;
pub mod resume;
pub mod runtime;
pub mod screen;
pub mod tables;
pub mod training;
pub mod verify;

use ::adapt::data::Skipped;
use ::adapt::error::printable;
use ::adapt::tensor::Wanted as Device;
use ::adapt::{Error, Result};
use clap::{Args, Parser, Subcommand};
pub use options::{CacheOptions, ColumnOptions, EngineOptions, ModelOptions, RunOptions, Verbosity, classes_only};
use std::io::Write;
use std::path::{Path, PathBuf};
use training::{Train, TrainingOptions};

const EXAMPLES: &str = "\
Examples:
  adapt --data photos/                            a new head on the embedded EfficientNet-Lite0
  adapt --onnx resnet50.onnx --data photos/       the same on your own model
  adapt rank *.onnx --data photos/                which model suits the images, and what it costs
  adapt --data labels.csv                         images from a list: classes, several labels, or numbers
  adapt --data photos/ --out runs/birds --val 0   all images for training, no validation split
  adapt inspect resnet50.onnx                     what the model is, and where it would be cut
  adapt predict runs/adapt-1/model.onnx new/      label and confidence of every image in a folder
  adapt explain runs/adapt-1/model.onnx new/ -o maps   where in each image it sees its class
  adapt embed resnet50.onnx new/ -o features.npy  one row of features for each of them

photos/ holds one folder a class, or train/, val/ and test/ with one folder a class in each.";

/// Adapts a pretrained ONNX vision model to your own classes, and proves the result in ONNX Runtime
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub adapt: AdaptOptions,
}

#[derive(Subcommand)]
pub enum Command {
    /// Shows what a model is: input, outputs, operators, where it would be cut
    Inspect(InspectOptions),
    /// Labels images, or whole folders of them
    Predict(PredictOptions),
    /// Measures a model on a labelled folder
    Eval(EvalOptions),
    /// Shows where in images a model sees the class that it names
    Explain(explain::ExplainOptions),
    /// Writes images' features: what a model gives at the cut
    Embed(embed::EmbedOptions),
    /// Writes a model's part up to a tensor as a model of its own
    Cut(cut::CutOptions),
    /// Writes a new network with initial weights
    New(new::NewOptions),
    /// Shows what a data set holds, or writes its images as files
    Data(data::DataOptions),
    /// Lists what is wrong with a data set: copies, leaks, wrong labels, images that show nothing
    Audit(Box<audit::AuditOptions>),
    /// Compares models by what their features tell of labelled images, and by what they cost
    Rank(Box<rank::RankOptions>),
    #[command(hide = true)]
    Measure(measure::MeasureOptions),
    /// Writes a run's report.html again, from its files
    Report(report::ReportOptions),
    /// Shows runs side by side, and how sure their differences are
    Compare(compare::CompareOptions),
    /// Checks on this machine, in any engine, what a run's model makes of three of its images
    Verify(verify::VerifyOptions),
    /// Shows or empties the cache of features
    Cache(cache::CacheCommand),
    /// Puts the tensors of a safetensors file into an ONNX file, by name
    Merge(merge::MergeOptions),
    /// Shows which ONNX Runtime is used, or fetches one
    Runtime(RuntimeOptions),
}

#[derive(Args)]
pub struct AdaptOptions {
    /// Labelled images: DIR/<class>/*, or DIR/{train,val,test}/<class>/*; a zip file of either; a list (.csv, .tsv) of
    /// paths and labels; Parquet with images in it; or MNIST's or CIFAR's files in DIR
    #[arg(long, value_name = "DIR|FILE", required_unless_present = "resume", help_heading = "Main")]
    pub data: Option<PathBuf>,
    /// The pretrained model; of several the one that adapt rank puts first [default: the embedded EfficientNet-Lite0]
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Main")]
    pub onnx: Vec<PathBuf>,
    /// Where the result goes [default: runs/adapt-1, then -2, …]
    #[arg(short, long, value_name = "DIR", help_heading = "Main")]
    pub out: Option<PathBuf>,
    /// Replace an earlier run in --out
    #[arg(long, help_heading = "Main")]
    pub force: bool,
    /// Go on with the run in this folder that was interrupted; takes no other option
    #[arg(long, value_name = "DIR", exclusive = true, help_heading = "Main")]
    pub resume: Option<PathBuf>,
    /// What is trained: head; last:N, the head and the last N blocks; all; or what comes behind a TENSOR
    #[arg(long, value_name = "PART", value_parser = training::train, default_value = "head", help_heading = "Training")]
    pub train: Train,
    /// Share of the training images held out for validation, where there is no val folder [default: 0.2; 0 with --cv]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, help_heading = "Training")]
    pub val: Option<f64>,
    /// Decides the split, the folds, and all that training draws: weights, orders, variations of images
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Training")]
    pub seed: u64,
    /// Leave training images out: copies of other ones; copies of images to validate or test; labels that look wrong
    #[arg(long, value_enum, value_name = "KIND,…", value_delimiter = ',', help_heading = "Training")]
    pub drop: Vec<screen::Drop>,
    /// Where a network is trained inside, and its frozen part runs: cpu; cuda or cuda:N, a GPU; auto, a GPU if there is one
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Training")]
    pub device: Device,
    /// Fail on the first image that cannot be read, instead of skipping and listing it
    #[arg(long, help_heading = "Training")]
    pub strict: bool,
    #[command(flatten)]
    pub columns: ColumnOptions,
    /// A list's column of what belongs together, as patients: one is never on both sides of a split or fold
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    pub groups: Option<String>,
    #[command(flatten)]
    pub heads: heads::HeadOptions,
    #[command(flatten)]
    pub training: TrainingOptions,
    #[command(flatten)]
    pub model: ModelOptions,
    #[command(flatten)]
    pub limits: rank::LimitOptions,
    /// The tensor that becomes the features [default: the last linear layer's input]
    #[arg(long, value_name = "TENSOR", help_heading = "Model")]
    pub cut: Option<String>,
    /// The output to adapt, where there are several; or any tensor of the graph, which becomes the output
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub output: Option<String>,
    /// Write a model that preprocesses in its graph: it takes images as they are decoded, bytes of any size
    #[arg(long, help_heading = "Model")]
    pub bake_preprocessing: bool,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub cache: CacheOptions,
    /// Print run.json on standard output instead of tables
    #[arg(long, help_heading = "Printing")]
    pub json: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

#[derive(Args)]
pub struct InspectOptions {
    /// The model
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub model: ModelOptions,
}

#[derive(Args)]
pub struct PredictOptions {
    /// A model that adapt wrote, or any classifier
    pub model: PathBuf,
    /// Images, folders of images, zip files, lists (.csv, .tsv) with a column of paths, Parquet
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunOptions,
}

#[derive(Args)]
pub struct EvalOptions {
    /// A model that adapt wrote, or any classifier whose class names are known
    pub model: PathBuf,
    /// Labelled images: DIR/<class>/*, or DIR/test/<class>/* (DIR/val where there is no test folder); a zip file of
    /// either; a list (.csv, .tsv) of paths and labels; Parquet with images in it; or MNIST's or CIFAR's files in DIR
    #[arg(long, value_name = "DIR|FILE")]
    pub data: PathBuf,
    #[command(flatten)]
    pub columns: ColumnOptions,
    /// A list's column of what belongs together, as patients: intervals are of whole groups then
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    pub groups: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunOptions,
}

#[derive(Args)]
pub struct RuntimeOptions {
    #[command(subcommand)]
    pub action: Option<RuntimeAction>,
    /// ONNX Runtime's shared library
    #[arg(long, value_name = "FILE", global = true)]
    pub ort_lib: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand, Clone, Copy)]
pub enum RuntimeAction {
    /// Shows which library is used, and what is at each place where one is looked for
    Status,
    /// Fetches ONNX Runtime with pip into the user's data folder
    Install,
}

/// Writes a line for people to standard error; `eprintln!` would panic where nobody reads it any more.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Lists images that could not be read.
pub fn tell_skipped<'a>(skipped: impl IntoIterator<Item = &'a Skipped>) {
    const MOST: usize = 10;
    let mut skipped = skipped.into_iter();
    for s in skipped.by_ref().take(MOST) {
        tell(&format!("warning: {}: {}", printable(&s.path), printable(&s.reason)));
    }
    match skipped.count() {
        0 => {}
        more => tell(&format!("warning: and {more} more")),
    }
}

/// Refuses to write a file that exists already, or cannot be, before any work.
pub fn vacant(out: &Path, force: bool) -> Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(Error::Usage(format!("{}: the folder {} does not exist", out.display(), folder.display())));
    }
    if out.is_dir() {
        return Err(Error::Usage(format!(
            "{}: a folder, where a file is to be written; choose another --out",
            out.display()
        )));
    }
    // A file would take its place.
    if out.exists() && !out.is_file() {
        return Err(Error::Usage(format!("{}: a device or a pipe, not a file; choose another --out", out.display())));
    }
    if out.exists() && !force {
        let what = format!("{}: exists already; choose another --out, or --force", out.display());
        return Err(Error::Usage(what));
    }
    Ok(())
}

/// Writes results to standard output. A reader that closed the pipe early, as `head` does, is no failure.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output")(e)),
        _ => Ok(()),
    }
}
