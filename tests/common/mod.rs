//! What several tests need.

#![allow(dead_code)]

use adapt::engine::runtime::{self, Found};
use adapt::engine::{Backend, Choice};
use adapt::progress::silent;
use std::path::PathBuf;
use std::sync::LazyLock;

/// ONNX Runtime as a user gets it: found where it lies, else fetched. Once a test process.
///
/// Panics with the reason where it cannot be had: a test that needs it must not pass without it.
pub fn runtime() -> &'static Found {
    static FOUND: LazyLock<Found> = LazyLock::new(|| {
        let found = runtime::locate(None).and_then(|found| found.map_or_else(|| runtime::install(&silent), Ok));
        found.unwrap_or_else(|error| panic!("the tests need ONNX Runtime, which cannot be had: {error}"))
    });
    &FOUND
}

/// The engine that is ONNX Runtime.
pub fn onnx_runtime() -> Backend {
    runtime();
    Backend::resolve(Choice::Ort, None, true, &silent).expect("ONNX Runtime loads")
}

/// The engine that is tract.
pub fn tract() -> Backend {
    Backend::resolve(Choice::Tract, None, true, &silent).expect("tract is always there")
}

/// A file of `tests/golden`.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}
