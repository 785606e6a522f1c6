//! Keeps other crates' panics from ending, or being printed by, the program, and their messages short.

use crate::error::{Error, Result as Outcome};
use crate::progress::{Event, Progress, emit};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Importers recurse along chains of sizes. In bytes; only what is used takes memory.
const STACK: usize = 256 << 20;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it becomes `Err` with the panic's text, and nothing is printed.
///
/// Call it inside the thread that does the work: the silence is the thread's own.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "a panic".into())
    })
}

/// How what [`within`] says of too long work ends.
const GIVEN_UP: &str = "and was given up";
/// What is said of work whose thread ended without an answer.
const BROKE_OFF: &str = "it broke off";
/// How often [`heeding`] asks.
const ASKED: Duration = Duration::from_millis(50);

/// Runs `work` [quietly] on a thread with a deep stack, and gives up waiting for it after `limit`: the last resort where
/// another crate may not come to an end. The thread then goes on until the process ends, for nothing can stop it.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    apart(work)?.recv_timeout(limit).unwrap_or_else(|e| {
        Err(match e {
            RecvTimeoutError::Timeout => format!("it took more than {} s {GIVEN_UP}", limit.as_secs()),
            RecvTimeoutError::Disconnected => BROKE_OFF.into(),
        })
    })
}

/// Runs `work` [quietly] on a thread with a deep stack.
fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Receiver<Result<T, String>>, String> {
    let (sender, receiver) = channel();
    // Nobody may wait any more.
    let send = move || drop(sender.send(quietly(work)));
    thread::Builder::new().stack_size(STACK).spawn(send).map_err(|e| e.to_string())?;
    Ok(receiver)
}

/// Runs `work`, which asks nobody whether to go on, on a thread of its own, and asks `progress` meanwhile. Where that ends the
/// waiting, the thread goes on until it is done or the process ends.
///
/// # Errors
/// [`Error::Interrupted`], and [`Error::Train`] with the text of a panic.
pub(crate) fn heeding<T: Send + 'static>(progress: Progress, work: impl FnOnce() -> T + Send + 'static) -> Outcome<T> {
    let receiver = apart(work).map_err(Error::Train)?;
    loop {
        emit(progress, Event::Advance(0))?;
        match receiver.recv_timeout(ASKED) {
            Err(RecvTimeoutError::Timeout) => {}
            done => return done.unwrap_or_else(|_| Err(BROKE_OFF.into())).map_err(Error::Train),
        }
    }
}

/// Whether an error comes from [`within`], out of time: then the same in another form is not worth as much time again.
pub(crate) fn gave_up(why: &str) -> bool {
    why.ends_with(GIVEN_UP)
}

/// An engine's message as one line of bearable length, without the source paths of the machine that built it.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 400;
    let built = |word: &&str| !word.contains("onnxruntime_src") && !word.contains(".cc:") && !word.contains(".h:");
    let line = text.split_whitespace().filter(built).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::silent;
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_cannot_be_stopped_is_not_waited_for() {
        let ((hold, held), asked) = (channel::<()>(), AtomicUsize::new(0));
        let third = |_: Event| match asked.fetch_add(1, Ordering::Relaxed) {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        assert!(matches!(heeding(&third, move || held.recv()), Err(Error::Interrupted)));
        drop(hold);
        assert_eq!((asked.into_inner(), heeding(&silent, || 7).unwrap()), (3, 7));
        let broken: Outcome<()> = heeding(&silent, || panic!("why"));
        assert!(matches!(broken, Err(Error::Train(why)) if why == "why"));
    }
}
