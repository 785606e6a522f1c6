//! Where the time of a program goes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// Seconds by operator: of all runs, forwards and backwards.
pub type Seconds = BTreeMap<String, [f64; 2]>;

/// Sums up the time of operators, where that was asked for.
#[derive(Default)]
pub(super) struct Profile(Option<Mutex<Seconds>>);

/// Which way a step runs.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Forward = 0,
    Backward = 1,
}

impl Profile {
    pub(super) fn on() -> Profile {
        Profile(Some(Mutex::default()))
    }

    /// Does the work, and notes its time if anybody wants to know.
    pub(super) fn timed<T>(&self, operator: &str, way: Way, work: impl FnOnce() -> T) -> T {
        let Some(seconds) = &self.0 else { return work() };
        let started = Instant::now();
        let made = work();
        if let Ok(mut seconds) = seconds.lock() {
            seconds.entry(operator.to_owned()).or_default()[way as usize] += started.elapsed().as_secs_f64();
        }
        made
    }

    /// What was noted, which begins anew.
    pub(super) fn take(&self) -> Seconds {
        let seconds = self.0.as_ref().and_then(|seconds| seconds.lock().ok().map(|mut s| std::mem::take(&mut *s)));
        seconds.unwrap_or_default()
    }
}
