//! Times the default head on synthetic features: `cargo run --release --example head_fit -- IMAGES FEATURES CLASSES`.

use adapt::progress::silent;
use adapt::train::{Options, fit_softmax};
use ndarray::Array2;
use std::time::Instant;

fn main() -> adapt::Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let &[n, d, k] = sizes.as_slice() else {
        eprintln!("usage: head_fit IMAGES FEATURES CLASSES");
        std::process::exit(2);
    };
    let mut state = 88172645463325252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let labels: Vec<usize> = (0..n).map(|i| i % k.max(1)).collect();
    // Few directions carry most of the variance, as in a network's features; the classes overlap.
    let rank = 40;
    let basis = Array2::from_shape_simple_fn((rank, d), &mut next);
    let centres = Array2::from_shape_simple_fn((k, rank), &mut next);
    let mut hidden = Array2::from_shape_simple_fn((n, rank), &mut next);
    for (mut row, &label) in hidden.rows_mut().into_iter().zip(&labels) {
        row.scaled_add(0.5, &centres.row(label));
    }
    let mut x = hidden.dot(&basis);
    x.mapv_inplace(|v| (v + 2.0 * next()).max(0.0));
    for round in 1..=3 {
        let start = Instant::now();
        let fit = fit_softmax(x.view(), &labels, k, &Options::default(), &silent)?;
        println!(
            "round {round}: {:.3} s, {} folds, {} strengths, C {:.1e}, {} steps",
            start.elapsed().as_secs_f64(),
            fit.folds,
            fit.candidates.len(),
            1.0 / (n as f64 * fit.l2),
            fit.iterations
        );
        for c in fit.candidates.iter().filter(|_| round == 1) {
            println!("  l2 {:.2e}: log-loss {:.4} ± {:.4}, accuracy {:.4}", c.l2, c.log_loss, c.std_err, c.accuracy);
        }
    }
    Ok(())
}
