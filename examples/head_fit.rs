//! Times softmax regression on synthetic features: the default, whose strength is chosen along its path, and one of strength C.
//!
//! `cargo run --release --example head_fit -- IMAGES FEATURES CLASSES [C [FILE]]`; the features go into FILE as float32, image by
//! image, whose classes are 0, 1, …, 0, 1, …: `head_fit.py` fits scikit-learn's on them, in turn.

use adapt::progress::silent;
use adapt::train::{Fit, Options, fit_softmax};
use ndarray::Array2;
use std::time::Instant;

fn main() -> adapt::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let sizes: Vec<usize> = arguments.iter().take(3).filter_map(|a| a.parse().ok()).collect();
    let &[n, d, k] = sizes.as_slice() else {
        eprintln!("usage: head_fit IMAGES FEATURES CLASSES [C [FILE]]");
        std::process::exit(2);
    };
    let (x, labels) = (features(n, d, k), (0..n).map(|i| i % k.max(1)).collect::<Vec<usize>>());
    if let Some(file) = arguments.get(4) {
        let bytes: Vec<u8> = x.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(file, bytes).map_err(adapt::Error::io(std::path::Path::new(file)))?;
    }
    let timed = |options: &Options| -> adapt::Result<(f64, Fit)> {
        let start = Instant::now();
        let fit = fit_softmax(x.view(), &labels, k, options, &silent)?;
        Ok((start.elapsed().as_secs_f64(), fit))
    };
    for round in 1..=3 {
        if let Some(c) = arguments.get(3).and_then(|c| c.parse::<f64>().ok()) {
            let (seconds, fit) = timed(&Options { l2: Some(1. / (n as f64 * c)), ..Options::default() })?;
            println!("C {c}: {seconds:.3} s, {} steps, objective {:.10}", fit.iterations, fit.objective);
            continue;
        }
        let (seconds, fit) = timed(&Options::default())?;
        let (folds, tried, c) = (fit.folds, fit.candidates.len(), 1. / (n as f64 * fit.l2));
        println!(
            "round {round}: {seconds:.3} s, {folds} folds, {tried} strengths, C {c:.1e}, {} steps",
            fit.iterations
        );
        for c in fit.candidates.iter().filter(|_| round == 1) {
            println!("  l2 {:.2e}: log-loss {:.4} ± {:.4}, accuracy {:.4}", c.l2, c.log_loss, c.std_err, c.accuracy);
        }
    }
    Ok(())
}

/// Few directions carry most of the variance, as in a network's features; the classes overlap.
fn features(n: usize, d: usize, k: usize) -> Array2<f32> {
    let mut state = 88172645463325252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let rank = 40;
    let basis = Array2::from_shape_simple_fn((rank, d), &mut next);
    let centres = Array2::from_shape_simple_fn((k, rank), &mut next);
    let mut hidden = Array2::from_shape_simple_fn((n, rank), &mut next);
    for (i, mut row) in hidden.rows_mut().into_iter().enumerate() {
        row.scaled_add(0.5, &centres.row(i % k.max(1)));
    }
    let mut x = hidden.dot(&basis);
    x.mapv_inplace(|v| (v + 2.0 * next()).max(0.0));
    x
}
