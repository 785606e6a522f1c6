#![warn(missing_docs)]
//! Adapts a pretrained ONNX vision model to a folder of labelled images, and proves the result in ONNX Runtime.
//!
//! The command `adapt` is a thin skin over this library. The steps, in the order in which data flows:
//!
//! | step | what does it |
//! |---|---|
//! | open a model | [`Model::open`], or [`builtin`] for the embedded one |
//! | list the images | [`Dataset::read`] |
//! | choose an engine | [`Backend::resolve`]: ONNX Runtime, or tract where there is none |
//! | plan | [`Plan::make`]: input, preprocessing, cut; opens the frozen part |
//! | extract | [`Features::extract`] |
//! | train | [`fit_softmax`] |
//! | surgery | [`Adapted::new`], [`Adapted::describe`] |
//! | write | [`OutDir::create`], [`OutDir::write_model`], [`OutDir::commit`] |
//! | verify | [`verify()`] |
//! | look at a run, compare runs | [`report::html::render`], [`report::compare::compare`] |
//!
//! [`graph::Program`] runs whole graphs on candle, forwards and backwards.
//!
//! Long steps take a [`progress::Progress`]: a callback that hears what is being done, and may stop it.
//!
//! # Example
#![doc = concat!("```no_run\n", include_str!("../examples/adapt.rs"), "\n```")]

pub mod audit;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod data;
pub mod engine;
pub mod error;
pub mod explain;
pub mod graph;
mod guard;
pub mod kernels;
pub mod metrics;
pub mod onnx;
pub mod plan;
pub mod progress;
pub mod random;
pub mod rank;
pub mod report;
pub mod tensor;
pub mod train;
pub mod verify;

pub use data::{Dataset, Split};
pub use engine::{Backend, Choice};
pub use error::{Error, Result};
pub use onnx::Model;
pub use plan::preprocessing::builtin;
pub use plan::{Plan, Trained};
pub use report::{Adapted, OutDir};
pub use train::{Features, fit_softmax};
pub use verify::verify;
