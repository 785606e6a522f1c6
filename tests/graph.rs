//! Programs on candle: every operator and whole models against ONNX Runtime, gradients against finite differences.

#[path = "graph/build.rs"]
mod build;
#[path = "graph/cases.rs"]
mod cases;
#[path = "graph/check.rs"]
mod check;
mod common;
#[path = "graph/models.rs"]
mod models;
#[path = "graph/operators.rs"]
mod operators;
