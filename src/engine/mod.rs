//! Who runs a frozen graph: ONNX Runtime where its library is to be had, tract where not; candle where one asks for it.
//!
//! [`Backend::resolve`] makes the choice once; [`Backend::open`] then turns models into [`Engine`]s. An engine takes a
//! batch of images as an `ndarray` array and gives every output as one.

pub mod cache;
pub(crate) mod candle;
mod extract;
mod kept;
mod load;
mod messages;
mod onnxruntime;
mod port;
#[cfg(feature = "cuda")]
mod provider;
pub mod runtime;
mod table;
mod tract;
pub mod trial;

use crate::error::{Error, Result};
use crate::guard::one_line;
use crate::onnx::Model;
pub use crate::onnx::port::{Kind, Port};
use crate::progress::{Event, Progress, emit};
use crate::tensor::Device;
pub use cache::{Cache, Shelf};
pub use extract::{BATCH, Extractor, Rows};
pub use kept::KeptRows;
use ndarray::{ArrayD, ArrayViewD};
use runtime::Found;
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
    /// candle, which trains inside networks; chosen by itself on a GPU alone
    Candle,
}

/// A model ready to run.
pub trait Engine: Send {
    /// `onnxruntime`, `tract` or `candle`.
    fn name(&self) -> &'static str;

    /// The engine's version, such as `1.32.0`.
    fn version(&self) -> &str;

    /// The model's input.
    fn input(&self) -> &Port;

    /// The names of the model's outputs, in order.
    fn outputs(&self) -> &[String];

    /// Images that a run should have at most, so that the tensors inside do not take too much memory.
    fn at_once(&self) -> usize {
        BATCH
    }

    /// The number of images that go through the graph together, whatever the model says; `None` where all of a batch do.
    fn together(&self) -> Option<usize> {
        None
    }

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

/// The engine that was chosen, loaded, and the device that candle computes on.
#[derive(Debug, Clone)]
pub struct Backend(Kept, Device);

#[derive(Debug, Clone)]
enum Kept {
    Ort(Found, ort::environment::Environment, Care),
    Tract,
    Candle,
}

/// How a model is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// To run it.
    Whole,
    /// To run it on the CUDA device of this number.
    #[cfg(feature = "cuda")]
    OnGpu(usize),
    /// To see whether it runs.
    Hollow,
}

impl Backend {
    /// Decides by rule which engine is used, and loads it.
    ///
    /// `Auto` and `Ort` take ONNX Runtime where it is found (see [`runtime`]) and fetch it where it is not, unless
    /// `offline`. Where it cannot be had, `Auto` takes tract with one warning and `Ort` fails. A library that a person
    /// named and that cannot be used is an error under both.
    pub fn resolve(choice: Choice, ort_lib: Option<&Path>, offline: bool, progress: Progress) -> Result<Backend> {
        match choice {
            Choice::Tract => return Ok(Backend(Kept::Tract, Device::Cpu)),
            Choice::Candle => return Ok(Backend(Kept::Candle, Device::Cpu)),
            Choice::Auto | Choice::Ort => {}
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
            Ok(found) => Ok(Backend(Kept::Ort(found.clone(), runtime::environment(&found)?, Care::Whole), Device::Cpu)),
            Err(why) if choice == Choice::Ort => {
                Err(Error::Engine(format!("{why}: run `adapt runtime install`, or choose another engine")))
            }
            Err(why) => {
                let said = format!("{why}; tract is used instead, several times slower: run `adapt runtime install`");
                emit(progress, Event::Warning(&said))?;
                Ok(Backend(Kept::Tract, Device::Cpu))
            }
        }
    }

    /// The same engine; what candle computes, which is all training inside a network too, it computes on this device.
    pub fn on(self, device: Device) -> Backend {
        Backend(self.0, device)
    }

    /// ONNX Runtime on the GPU that candle computes on, too.
    ///
    /// # Errors
    /// A line that says why its library cannot, or that there is no such engine or GPU.
    #[cfg(feature = "cuda")]
    pub fn on_gpu(&self) -> std::result::Result<Backend, String> {
        let (Kept::Ort(found, environment, _), Device::Cuda(gpu)) = (&self.0, &self.1) else {
            return Err(format!("{} is not for a GPU, or there is none", self.name()));
        };
        let number = gpu.ordinal();
        provider::check(environment, number).map_err(|why| format!("ONNX Runtime {}: {why}", self.version()))?;
        // What it gives differs by rounding: features are not to be taken for those of the other.
        let found = Found { version: Some(format!("{} on CUDA", self.version())), ..found.clone() };
        Ok(Backend(Kept::Ort(found, environment.clone(), Care::OnGpu(number)), self.1.clone()))
    }

    /// ONNX Runtime on the GPU that candle computes on, too.
    ///
    /// # Errors
    /// Always: this build knows no GPU.
    #[cfg(not(feature = "cuda"))]
    pub fn on_gpu(&self) -> std::result::Result<Backend, String> {
        Err("this adapt was built without CUDA".into())
    }

    /// Gives back what a GPU keeps of memory that candle does not use now.
    pub fn trim(&self) {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(gpu) = &self.1 {
            gpu.trim();
        }
    }

    /// The device that candle computes on.
    pub fn device(&self) -> &Device {
        &self.1
    }

    /// The same for a look at models, where it matters what runs and what shapes come out: almost no memory for weights, whose
    /// values are left away.
    #[must_use]
    pub fn hollow(&self) -> Backend {
        let kept = match &self.0 {
            Kept::Ort(found, environment, _) => Kept::Ort(found.clone(), environment.clone(), Care::Hollow),
            other => other.clone(),
        };
        Backend(kept, self.1.clone())
    }

    /// `onnxruntime`, `tract` or `candle`.
    pub fn name(&self) -> &'static str {
        match &self.0 {
            Kept::Ort(..) => onnxruntime::NAME,
            Kept::Tract => tract::NAME,
            Kept::Candle => candle::NAME,
        }
    }

    /// The engine's version.
    pub fn version(&self) -> &str {
        match &self.0 {
            Kept::Ort(found, ..) => found.version.as_deref().unwrap_or("unknown"),
            Kept::Tract => tract::VERSION,
            // What it gives differs by rounding: features are not to be taken for those of the other.
            Kept::Candle => candle::version(&self.1),
        }
    }

    /// Prepares a model for `threads` threads (0 counts as 1).
    ///
    /// `shape` gives the sizes of the input's dimensions that the file leaves open, `None` for the batch: tract and
    /// candle need them, ONNX Runtime runs fewer images at once where it is told that they are large. candle takes all threads there are. It may be empty. Fails, in one
    /// line, where the engine cannot run the model.
    pub fn open(&self, model: &Model, shape: &[Option<usize>], threads: usize) -> Result<Box<dyn Engine>> {
        let threads = threads.max(1);
        Ok(match &self.0 {
            Kept::Ort(_, environment, care) => {
                Box::new(onnxruntime::Session::open(environment, self.version(), model, shape, threads, *care)?)
            }
            Kept::Tract => Box::new(tract::Session::open(model, shape, threads)?),
            Kept::Candle => Box::new(candle::Session::open(model, shape, &self.1)?),
        })
    }
}

/// The error of an engine about a model.
pub(crate) fn refused(model: &Model, what: impl AsRef<str>) -> Error {
    Error::model(&model.path, one_line(what.as_ref()))
}
