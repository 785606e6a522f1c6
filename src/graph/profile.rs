//! Where the time of a program goes.

use crate::tensor::{Device, Moment, Result};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Seconds by operator: of all runs, forwards and backwards.
pub type Seconds = BTreeMap<String, [f64; 2]>;

/// What was done, which way, from when to when.
type Span = (String, Way, [Moment; 2]);

/// Sums up the time of operators, where that was asked for.
#[derive(Default)]
pub(super) struct Profile(Option<Mutex<Vec<Span>>>);

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

    /// Does the work on a device, and notes its time if anybody wants to know.
    pub(super) fn timed<T>(
        &self,
        device: &Device,
        operator: &str,
        way: Way,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Some(spans) = &self.0 else { return work() };
        let started = Moment::of(device)?;
        let made = work()?;
        let ended = Moment::of(device)?;
        if let Ok(mut spans) = spans.lock() {
            spans.push((operator.to_owned(), way, [started, ended]));
        }
        Ok(made)
    }

    /// What was noted, which begins anew.
    pub(super) fn take(&self) -> Result<Seconds> {
        let spans = self.0.as_ref().and_then(|spans| spans.lock().ok().map(|mut spans| std::mem::take(&mut *spans)));
        let mut seconds = Seconds::new();
        for (operator, way, [started, ended]) in spans.unwrap_or_default() {
            seconds.entry(operator).or_default()[way as usize] += ended.since(&started)?;
        }
        Ok(seconds)
    }
}
