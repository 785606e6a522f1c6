//! Progress on standard error: a bar on a terminal, plain lines elsewhere. Ctrl-C stops at the next event.

use super::tell;
use adapt::error::printable;
use adapt::progress::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static STOP: AtomicBool = AtomicBool::new(false);

/// Shows events. One a process: it takes over Ctrl-C.
pub struct Reporter {
    quiet: bool,
    verbose: bool,
    stage: Mutex<Option<Stage>>,
}

/// What stands on a terminal: of a stage of known length, and of others before and after the first step.
const BAR: &str = "{msg:34} {bar:24} {pos}/{len}  {per_sec}  {eta} left";
const SPINNER: &str = "{msg:34} {spinner}";
const COUNT: &str = "{msg:34} {spinner} {pos}  {per_sec}";
/// What takes less within a stage is not shown.
const QUICK: Duration = Duration::from_secs(1);
/// How often what tells no steps moves.
const TICK: Duration = Duration::from_millis(200);

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

struct Stage {
    name: String,
    total: u64,
    done: u64,
    start: Instant,
    bar: ProgressBar,
    /// When something within it began that is not over.
    within: Option<Instant>,
}

impl Reporter {
    pub fn new(quiet: bool, verbose: bool) -> Reporter {
        // Fails only where a handler is set already, which nobody but this does.
        let _ = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
        Reporter { quiet, verbose, stage: Mutex::new(None) }
    }

    /// The library's callback.
    pub fn event(&self, event: Event) -> ControlFlow<()> {
        let mut stage = self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match event {
            Event::Stage { name, total } => {
                self.end(stage.take());
                *stage = Some(self.begin(name, total));
            }
            Event::Advance(steps) => {
                if let Some(stage) = stage.as_mut() {
                    if stage.total == 0 && stage.done == 0 && steps > 0 {
                        stage.bar.disable_steady_tick();
                        stage.bar.set_style(style(COUNT));
                    }
                    stage.done += steps;
                    stage.bar.set_position(stage.done);
                }
            }
            Event::Within { name, done, total } => {
                if let Some(stage) = stage.as_mut() {
                    let since = *stage.within.get_or_insert_with(Instant::now);
                    if done >= total {
                        stage.within = None;
                        stage.bar.set_message(stage.name.clone());
                    } else if since.elapsed() > QUICK {
                        stage.bar.set_message(format!("{name}: {done} of {total}"));
                    }
                }
            }
            Event::Warning(text) => {
                let line = format!("warning: {}", printable(text));
                match stage.as_ref() {
                    Some(stage) => stage.bar.suspend(|| tell(&line)),
                    None => tell(&line),
                }
            }
        }
        if STOP.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Ends the last stage.
    pub fn finish(&self) {
        self.end(self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
    }

    /// A line for people, on standard error.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.finish();
            tell(text);
        }
    }

    /// A line for people that does not end the stage.
    pub fn say_beside(&self, text: &str) {
        if self.quiet {
            return;
        }
        match self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_ref() {
            Some(stage) => stage.bar.suspend(|| tell(text)),
            None => tell(text),
        }
    }

    fn begin(&self, name: &str, total: u64) -> Stage {
        let known = Some(total).filter(|&total| total > 0);
        let bar = ProgressBar::with_draw_target(known, ProgressDrawTarget::stderr());
        if self.quiet || !stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_style(style(if known.is_some() { BAR } else { SPINNER }));
        bar.set_message(name.to_string());
        if known.is_none() {
            // It moves before the first step, too, which the largest folder's names come before.
            bar.enable_steady_tick(TICK);
        }
        Stage { name: name.into(), total, done: 0, start: Instant::now(), bar, within: None }
    }

    fn end(&self, stage: Option<Stage>) {
        let Some(stage) = stage else { return };
        stage.bar.finish_and_clear();
        // Stages that count nothing are over at once.
        if self.quiet || (stage.total == 0 && !self.verbose) {
            return;
        }
        let seconds = stage.start.elapsed().as_secs_f64();
        let count = match stage.total {
            0 if stage.done == 0 => String::new(),
            total if total == 0 || total == stage.done => format!(" {}", stage.done),
            total => format!(" {} of {total}", stage.done),
        };
        let rate =
            if stage.done >= 20 { format!(" ({:.0}/s)", stage.done as f64 / seconds.max(1e-9)) } else { String::new() };
        tell(&format!("{}:{count} in {seconds:.1} s{rate}", stage.name));
    }
}
