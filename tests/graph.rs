//! Programs on candle: every operator and whole models against ONNX Runtime, gradients against finite differences.

#[path = "graph/build.rs"]
mod build;
#[path = "graph/check.rs"]
mod check;
mod common;
#[path = "graph/maps.rs"]
mod maps;
#[path = "graph/models.rs"]
mod models;
#[path = "graph/operators.rs"]
mod operators;
#[path = "graph/parts.rs"]
mod parts;
#[path = "graph/sums.rs"]
mod sums;
#[path = "graph/values.rs"]
mod values;
