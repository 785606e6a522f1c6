//! Who runs a frozen graph: ONNX Runtime where its library is to be had, tract where not.
//!
//! [`Backend::resolve`] makes the choice once; [`Backend::open`] then turns models into [`Engine`]s. An engine takes a
//! batch of images as an `ndarray` array and gives every output as one.

mod extract;
pub(crate) mod guard;
mod onnxruntime;
mod port;
pub mod runtime;
mod tract;
mod widen;

use crate::error::{Error, Result};
use crate::onnx::Model;
use crate::progress::{Event, Progress, emit};
pub use extract::{BATCH, Extractor, Rows};
use ndarray::{ArrayD, ArrayViewD};
pub use port::{Kind, Port};
use runtime::{Candidate, Found};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Which engine the user wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// ONNX Runtime, fetched if need be; tract where it cannot be had
    #[default]
    Auto,
    /// ONNX Runtime, or fail
    Ort,
    /// tract, which is built in
    Tract,
}

/// A model ready to run.
pub trait Engine: Send {
    /// `onnxruntime` or `tract`.
    fn name(&self) -> &'static str;

    /// The engine's version, such as `1.32.0`.
    fn version(&self) -> &str;

    /// The model's input.
    fn input(&self) -> &Port;

    /// The names of the model's outputs, in order.
    fn outputs(&self) -> &[String];

    /// Runs a batch of images and gives the outputs of the given indices, in the order given.
    ///
    /// `input` is `[images, …]` as the model's input has it (a model with a fixed batch is run several times). Each
    /// output is converted to float32. Fails where the shape does not fit, or a wanted output is not numeric.
    fn run_outputs(&mut self, input: ArrayViewD<f32>, wanted: &[usize]) -> Result<Vec<ArrayD<f32>>>;

    /// As [`Engine::run_outputs`] with all outputs in order.
    fn run(&mut self, input: ArrayViewD<f32>) -> Result<Vec<ArrayD<f32>>> {
        let all: Vec<usize> = (0..self.outputs().len()).collect();
        self.run_outputs(input, &all)
    }
}

/// The engine that was chosen, loaded.
#[derive(Debug, Clone)]
pub struct Backend(Option<(Found, ort::environment::Environment)>);

impl Backend {
    /// Decides by rule which engine is used, and loads it.
    ///
    /// `Auto` and `Ort` take ONNX Runtime where it is found (see [`runtime`]) and fetch it where it is not, unless
    /// `offline`. Where it cannot be had, `Auto` takes tract with one warning and `Ort` fails. A library that a person
    /// named and that cannot be used is an error under both.
    pub fn resolve(choice: Choice, ort_lib: Option<&Path>, offline: bool, progress: Progress) -> Result<Backend> {
        if choice == Choice::Tract {
            return Ok(Backend(None));
        }
        let found = match runtime::locate(ort_lib)? {
            Some(found) => Ok(found),
            None if offline => Err("ONNX Runtime is not installed".to_owned()),
            None => match runtime::install(progress) {
                Ok(found) => {
                    let said = format!("ONNX Runtime {} is now in {}", runtime::VERSION, found.path.display());
                    emit(progress, Event::Warning(&said))?;
                    Ok(found)
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => Err(error.to_string()),
            },
        };
        match found {
            Ok(found) => Ok(Backend(Some((found.clone(), runtime::environment(&found)?)))),
            Err(why) if choice == Choice::Ort => {
                Err(Error::Engine(format!("{why}: run `adapt runtime install`, or choose another engine")))
            }
            Err(why) => {
                let said = format!("{why}; tract is used instead, several times slower: run `adapt runtime install`");
                emit(progress, Event::Warning(&said))?;
                Ok(Backend(None))
            }
        }
    }

    /// `onnxruntime` or `tract`.
    pub fn name(&self) -> &'static str {
        if self.0.is_some() { onnxruntime::NAME } else { tract::NAME }
    }

    /// The engine's version.
    pub fn version(&self) -> &str {
        match &self.0 {
            Some((found, _)) => found.version.as_deref().unwrap_or("unknown"),
            None => tract::VERSION,
        }
    }

    /// The library in use, where it is ONNX Runtime.
    pub fn library(&self) -> Option<&Found> {
        self.0.as_ref().map(|(found, _)| found)
    }

    /// Prepares a model for `threads` threads (0 counts as 1).
    ///
    /// `shape` gives the sizes of the input's dimensions that the file leaves open, `None` for the batch: tract needs
    /// them, ONNX Runtime does not. It may be empty. Fails, in one line, where the engine cannot run the model.
    pub fn open(&self, model: &Model, shape: &[Option<usize>], threads: usize) -> Result<Box<dyn Engine>> {
        let threads = threads.max(1);
        Ok(match &self.0 {
            Some((_, environment)) => {
                Box::new(onnxruntime::Session::open(environment, self.version(), model, threads)?)
            }
            None => Box::new(tract::Session::open(model, shape, threads)?),
        })
    }
}

/// What is found at each place where ONNX Runtime is looked for, in order, for `adapt runtime status`.
pub fn why(ort_lib: Option<&Path>) -> Vec<Candidate> {
    runtime::candidates(ort_lib)
}

/// Whether tract, which also normalises graphs for training, can import a model; the error names the node.
pub fn importable(model: &Model, shape: &[Option<usize>]) -> Result<()> {
    tract::importable(model, shape)
}

/// The error of an engine about a model.
pub(crate) fn refused(model: &Model, what: impl AsRef<str>) -> Error {
    Error::model(&model.path, one_line(what.as_ref()))
}

/// An engine's message as one line of bearable length, without the source paths of the machine that built it.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 400;
    let built = |word: &&str| !word.contains("onnxruntime_src") && !word.contains(".cc:") && !word.contains(".h:");
    let line = text.split_whitespace().filter(built).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
