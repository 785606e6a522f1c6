#![warn(missing_docs)]
//! adapt
pub mod data;
pub mod engine;
pub mod error;
pub mod metrics;
pub mod onnx;
pub mod progress;
pub mod train;

pub use error::{Error, Result};
