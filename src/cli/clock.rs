//! Where the time of a run goes.

use adapt::report::Seconds;
use std::time::Instant;

/// Times the stages of a run.
pub struct Clock {
    start: Instant,
    last: Instant,
    pub seconds: Seconds,
}

impl Clock {
    pub fn start() -> Clock {
        let now = Instant::now();
        Clock { start: now, last: now, seconds: Seconds::default() }
    }

    /// Adds the time since the last call to a stage's.
    pub fn lap(&mut self, stage: impl FnOnce(&mut Seconds) -> &mut f64) {
        let now = Instant::now();
        *stage(&mut self.seconds) += (now - std::mem::replace(&mut self.last, now)).as_secs_f64();
    }

    /// Seconds since the start.
    pub fn total(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}
