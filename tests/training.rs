//! The parts of training inside a network, against PyTorch.

#[path = "training/chosen.rs"]
mod chosen;
#[path = "training/losses.rs"]
mod losses;
#[path = "training/mixes.rs"]
mod mixes;
#[path = "training/optimizers.rs"]
mod optimizers;
#[path = "training/random.rs"]
mod random;
#[path = "training/resumed.rs"]
mod resumed;
#[path = "training/told.rs"]
mod told;
#[path = "training/trial.rs"]
mod trial;

/// What PyTorch computes (tests/golden/make_training.py).
fn golden(part: &str) -> serde_json::Value {
    let text = include_str!("golden/training.json");
    serde_json::from_str::<serde_json::Value>(text).unwrap()[part].take()
}

fn numbers(v: &serde_json::Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn close(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within * (1.0 + b.abs()), "{a} is not {b}");
}
