//! How long work tells its caller where it stands, and how the caller stops it.

use crate::error::{Error, Result};
use std::ops::ControlFlow;

/// Something that long work tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A stage of `total` steps begins; the earlier one has ended.
    Stage {
        /// What is being done, in a word or two.
        name: &'a str,
        /// How many steps it takes; 0 when that is not known.
        total: u64,
    },
    /// So many more steps of the stage are done.
    Advance(u64),
    /// Between two steps of the stage something takes long, and is so far; it is over with its last step.
    Within {
        /// What is being done, in a word or two.
        name: &'a str,
        /// How many steps of it are done.
        done: u64,
        /// How many steps it takes.
        total: u64,
    },
    /// Something that the user should know; the work goes on.
    Warning(&'a str),
}

/// The caller's callback. Answering `Break` ends the work with [`Error::Interrupted`]; nothing half-written stays.
pub type Progress<'a> = &'a (dyn Fn(Event) -> ControlFlow<()> + Sync);

/// Sends `event`, and turns the answer `Break` into [`Error::Interrupted`].
pub fn emit(progress: Progress, event: Event) -> Result<()> {
    match progress(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted),
    }
}

/// The callback of a caller who does not want to know.
pub fn silent(_: Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
