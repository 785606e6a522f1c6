//! Which of two engines runs a frozen part where both can: by one measured batch.

use super::Engine;
use crate::error::Result;
use ndarray::ArrayViewD;
use std::time::Instant;

/// What the second takes of the first's time at most where it is to be taken: near ties do not fall otherwise from run to run.
const CLEARLY: f64 = 0.9;

/// Seconds that an engine takes for a batch that it has run once before.
///
/// # Errors
/// The engine's.
pub fn seconds(engine: &mut dyn Engine, batch: ArrayViewD<f32>) -> Result<f64> {
    engine.run(batch.view())?;
    let start = Instant::now();
    engine.run(batch)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Whether the second engine is to be taken, by the seconds of both for the same batch: where it is clearly faster, or the first
/// fails and it does not.
pub fn is_second(seconds: &[Result<f64>; 2]) -> bool {
    let [first, second] = seconds.each_ref().map(|taken| *taken.as_ref().unwrap_or(&f64::INFINITY));
    second < CLEARLY * first
}
