//! ONNX files in and out: nothing lost, the right cut, the new head; what files and metadata tell, damaged ones included.

#[path = "onnx/cases.rs"]
mod cases;
#[path = "onnx/choices.rs"]
mod choices;
mod common;
#[path = "onnx/files.rs"]
mod files;
#[path = "onnx/hostile.rs"]
mod hostile;
#[path = "onnx/sources.rs"]
mod sources;
#[path = "onnx/trials.rs"]
mod trials;

use adapt::onnx::Model;
use common::golden;

/// A model of `tests/golden/onnx`.
fn open(name: &str) -> Model {
    Model::open(golden(&format!("onnx/{name}.onnx"))).unwrap_or_else(|error| panic!("{error}"))
}
