//! Keeps other crates' panics from ending, or being printed by, the program, and their messages short.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, channel};
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

/// Runs `work` [quietly] on a thread with a deep stack, and gives up waiting for it after `limit`: the last resort where
/// another crate may not come to an end. The thread then goes on until the process ends, for nothing can stop it.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = channel();
    // Nobody waits any more where the time is over.
    let send = move || drop(sender.send(quietly(work)));
    thread::Builder::new().stack_size(STACK).spawn(send).map_err(|e| e.to_string())?;
    receiver.recv_timeout(limit).unwrap_or_else(|e| {
        Err(match e {
            RecvTimeoutError::Timeout => format!("it took more than {} s {GIVEN_UP}", limit.as_secs()),
            RecvTimeoutError::Disconnected => "it broke off".into(),
        })
    })
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
