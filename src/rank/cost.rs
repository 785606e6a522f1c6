//! What running a model takes: time and memory.

use crate::engine::Engine;
use crate::error::Result;
use crate::plan::{Input, probe};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Runs before the clock is looked at: the first ones allocate, and fill caches.
const WARMING: usize = 2;
/// Runs that are timed, and the time after which fewer do.
const RUNS: usize = 25;
const LEAST: usize = 5;
const LONG: Duration = Duration::from_millis(1500);

/// Time and memory that a frozen part takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Milliseconds for one image alone, in all of the engine's threads: the median of several runs.
    pub ms: f64,
    /// Peak of the process's resident memory in bytes while it runs images one by one, above what it had before the model was
    /// opened; weights are in it. Linux alone tells it.
    pub memory_bytes: Option<u64>,
}

/// Knows the process's memory before a model was there. In a process that had other models the figure is too low: what they
/// gave back is used again.
pub struct Meter {
    before: Option<u64>,
}

impl Meter {
    /// To be called before the model is read.
    pub fn start() -> Meter {
        Meter { before: resident("VmRSS:") }
    }

    /// Runs made images through an engine, and does not count what its opening took for a while.
    ///
    /// # Errors
    /// The engine's.
    pub fn measure(self, engine: &mut dyn Engine, input: &Input) -> Result<Cost> {
        let image = probe(input, 1);
        for _ in 0..WARMING {
            engine.run_outputs(image.view(), &[0])?;
        }
        // Sets the peak to what there is now; where that is refused the peak includes opening the model.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let start = Instant::now();
        let mut times = Vec::new();
        while times.len() < LEAST || times.len() < RUNS && start.elapsed() < LONG {
            let run = Instant::now();
            engine.run_outputs(image.view(), &[0])?;
            times.push(run.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let peak = resident("VmHWM:");
        let memory_bytes = peak.zip(self.before).map(|(peak, before)| peak.saturating_sub(before));
        Ok(Cost { ms: times[times.len() / 2], memory_bytes })
    }
}

/// A figure of this process's memory in bytes, as Linux tells it.
fn resident(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
