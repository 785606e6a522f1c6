#![warn(missing_docs)]
//! adapt
pub mod data;
pub mod engine;
pub mod error;
pub mod metrics;
pub mod onnx;
pub mod plan;
pub mod progress;
pub mod report;
pub mod train;
pub mod verify;

pub use error::{Error, Result};
