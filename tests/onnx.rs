//! ONNX files in and out: nothing lost, the right cut, the new head; what files and metadata tell, damaged ones included.

#[path = "onnx/branches.rs"]
mod branches;
#[allow(dead_code)]
#[path = "graph/build.rs"]
mod build;
#[path = "onnx/cases.rs"]
mod cases;
#[path = "onnx/choices.rs"]
mod choices;
mod common;
#[path = "onnx/contradictions.rs"]
mod contradictions;
#[path = "onnx/ends.rs"]
mod ends;
#[path = "onnx/files.rs"]
mod files;
#[path = "onnx/functions.rs"]
mod functions;
#[path = "onnx/hostile.rs"]
mod hostile;
#[path = "onnx/inputs.rs"]
mod inputs;
#[path = "onnx/large.rs"]
mod large;
#[path = "onnx/normalize.rs"]
mod normalize;
#[path = "onnx/old_heads.rs"]
mod old_heads;
#[path = "onnx/opsets.rs"]
mod opsets;
#[path = "onnx/quantised.rs"]
mod quantised;
#[path = "onnx/sources.rs"]
mod sources;
#[path = "onnx/sparse.rs"]
mod sparse;
#[path = "onnx/support.rs"]
mod support;
#[path = "onnx/together.rs"]
mod together;
#[path = "onnx/trials.rs"]
mod trials;
#[path = "onnx/twice.rs"]
mod twice;
#[path = "onnx/written.rs"]
mod written;

use adapt::onnx::Model;
use common::golden;

/// A model of `tests/golden/onnx`.
fn open(name: &str) -> Model {
    Model::open(golden(&format!("onnx/{name}.onnx"))).unwrap_or_else(|error| panic!("{error}"))
}
