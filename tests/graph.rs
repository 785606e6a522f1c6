//! Programs on candle: every operator and whole models against ONNX Runtime, gradients against finite differences.

#[path = "graph/build.rs"]
mod build;
#[path = "graph/cases.rs"]
mod cases;
#[path = "graph/chains.rs"]
mod chains;
#[path = "graph/check.rs"]
mod check;
mod common;
#[cfg(feature = "cuda")]
#[path = "graph/device.rs"]
mod device;
#[path = "graph/edges.rs"]
mod edges;
#[path = "graph/maps.rs"]
mod maps;
#[path = "graph/models.rs"]
mod models;
#[path = "graph/operators.rs"]
mod operators;
#[path = "graph/parts.rs"]
mod parts;
#[path = "graph/picks.rs"]
mod picks;
#[path = "graph/resizes.rs"]
mod resizes;
#[path = "graph/sums.rs"]
mod sums;
#[path = "graph/torch.rs"]
mod torch;
#[path = "graph/values.rs"]
mod values;
