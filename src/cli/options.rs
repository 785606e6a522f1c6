//! Options that several commands take.

use adapt::data::{Columns, Dataset, Spec, Task};
use adapt::engine::{Backend, Cache, Choice};
use adapt::onnx::Model;
use adapt::plan::{Input, available_threads};
use adapt::progress::{Event, Progress, emit};
use adapt::{Error, Result};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct ModelOptions {
    /// How images become input values: a preset, what differs from it, or both, as imagenet,filter=bicubic
    /// [presets: imagenet, efficientnet-lite, inception, raw01, raw255, clip, caffe]
    #[arg(long, value_name = "SPEC", help_heading = "Model")]
    pub preprocess: Option<Spec>,
    /// Height and width in pixels, for models that take any size
    #[arg(long, value_name = "HxW", value_parser = size, help_heading = "Model")]
    pub size: Option<(u32, u32)>,
}

#[derive(Args)]
pub struct EngineOptions {
    /// Who runs the frozen part
    #[arg(long, value_enum, default_value = "auto", help_heading = "Engine")]
    pub engine: Choice,
    /// ONNX Runtime's shared library
    #[arg(long, value_name = "FILE", help_heading = "Engine")]
    pub ort_lib: Option<PathBuf>,
    /// Fetch nothing; without an ONNX Runtime on the machine, tract is used
    #[arg(long, help_heading = "Engine")]
    pub offline: bool,
    /// Threads that compute [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Engine")]
    pub threads: Option<u16>,
}

impl EngineOptions {
    /// Holds all computing to the threads that the user allows. To be called first: what computes makes its threads.
    pub fn limit_threads(&self) {
        if let Some(threads) = self.threads {
            // Fails only where there are threads already.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
        }
    }

    /// Who proves models that `backend` made: ONNX Runtime on the processor, if there is one, which is to run them, else tract:
    /// candle would be compared with itself.
    pub fn prover(&self, backend: &Backend, progress: Progress) -> Backend {
        if backend.name() == "onnxruntime" && backend.device().is_cpu() {
            return backend.clone();
        }
        let resolve = |choice: Choice| Backend::resolve(choice, self.ort_lib.as_deref(), true, progress);
        resolve(Choice::Ort).or_else(|_| resolve(Choice::Tract)).unwrap_or_else(|_| backend.clone())
    }

    /// Who proves this model: `backend` itself, with a warning, where ONNX Runtime cannot load it.
    pub fn prover_of(&self, backend: &Backend, model: &Model, input: &Input, progress: Progress) -> Result<Backend> {
        let prover = self.prover(backend, progress);
        if prover.name() != backend.name()
            && let Err(why) = prover.open(model, &input.axes(), available_threads())
        {
            emit(progress, Event::Warning(&format!("{why}; {} proves what it makes of it", backend.name())))?;
            return Ok(backend.clone());
        }
        Ok(prover)
    }

    pub fn resolve(&self, progress: Progress) -> Result<Backend> {
        Backend::resolve(self.engine, self.ort_lib.as_deref(), self.offline, progress)
    }
}

#[derive(Args)]
pub struct CacheOptions {
    /// Where features are kept from run to run, or off [env: ADAPT_CACHE] [default: adapt in the user's cache folder]
    // Not by clap, for which a variable that is set is an option that was given: --resume takes none.
    #[arg(long, value_name = "DIR|off", global = true, help_heading = "Engine")]
    pub cache: Option<PathBuf>,
}

impl CacheOptions {
    /// The cache, unless it is off.
    pub fn open(&self) -> Option<Cache> {
        let variable = || std::env::var_os("ADAPT_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
        let named = self.cache.clone().or_else(variable);
        Cache::open(named.as_deref()).filter(|_| named.as_deref() != Some(Path::new("off")))
    }
}

/// Of lists of images.
#[derive(Args)]
pub struct ColumnOptions {
    /// A list's column of paths [default: guessed]
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    pub path_column: Option<String>,
    /// A list's column of labels; several, with commas between, for several targets [default: guessed]
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    pub label_column: Option<String>,
    /// A list's column of train, val and test [default: guessed]
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    pub split_column: Option<String>,
    /// What the labels of a list are
    #[arg(long, value_enum, default_value = "auto", help_heading = "Lists")]
    pub task: Labels,
}

/// What labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Labels {
    /// As they look: several labels where any has a `;`, numbers where all are and some are not whole, else classes
    Auto,
    /// One class an image
    Multiclass,
    /// Any number of labels an image, with `;` between; or columns of 0 and 1
    Multilabel,
    /// Numbers
    Regression,
}

impl ColumnOptions {
    pub fn columns(&self) -> Columns {
        let task = match self.task {
            Labels::Auto => None,
            Labels::Multiclass => Some(Task::Multiclass),
            Labels::Multilabel => Some(Task::Multilabel),
            Labels::Regression => Some(Task::Regression),
        };
        let [path, label, split] = [&self.path_column, &self.label_column, &self.split_column].map(Clone::clone);
        Columns { path, label, split, task, groups: None }
    }
}

/// Refuses what makes sense for classes alone, before any work.
pub fn classes_only(data: &Dataset, what: &str) -> Result<()> {
    let labels = match data.task {
        Task::Multiclass => return Ok(()),
        Task::Multilabel => "an image may have several labels",
        Task::Regression => "the labels are numbers",
    };
    let place = data.source.place().display();
    Err(Error::Usage(format!("{what} is for one class an image, and in {place} {labels}")))
}

#[derive(Args)]
pub struct Verbosity {
    /// Print errors, warnings and results only
    #[arg(short, long, conflicts_with = "verbose", help_heading = "Printing")]
    pub quiet: bool,
    /// Print details too
    #[arg(short, long, help_heading = "Printing")]
    pub verbose: bool,
}

/// What every command takes that runs a model on images.
#[derive(Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub input: ModelOptions,
    #[command(flatten)]
    pub engine: EngineOptions,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// `HxW`, or one number for both.
pub fn size(text: &str) -> std::result::Result<(u32, u32), String> {
    let (height, width) = text.split_once(['x', 'X']).unwrap_or((text, text));
    let side = |s: &str| s.parse::<u32>().ok().filter(|n| (1..=8192).contains(n));
    side(height).zip(side(width)).ok_or_else(|| "give HEIGHTxWIDTH in pixels, as 224x224, up to 8192".into())
}

/// `CxHxW`.
pub fn input(text: &str) -> std::result::Result<(usize, u32, u32), String> {
    let wrong = || "give CHANNELSxHEIGHTxWIDTH, as 3x32x32: 1 to 4 channels, up to 8192 pixels".to_string();
    let (channels, sides) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let channels = channels.parse().ok().filter(|n| (1..=4).contains(n)).ok_or_else(wrong)?;
    let (height, width) = size(sides).map_err(|_| wrong())?;
    Ok((channels, height, width))
}

/// Bytes, as `500M` or `2G`.
pub fn bytes(text: &str) -> std::result::Result<u64, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let shift = match text[split..].trim_end_matches(['B', 'b']) {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => 64,
    };
    let size = text[..split].parse::<u64>().ok().and_then(|size| size.checked_mul(1u64.checked_shl(shift)?));
    size.ok_or_else(|| "give a size, as 500M or 2G".into())
}
