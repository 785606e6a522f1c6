//! Training inside a network: its tail, or all of it, by gradient steps on batches of images.

mod checkpoint;
mod feed;
mod network;
mod settings;
mod standing;
mod step;
mod targets;

use super::loss::Loss;
use crate::error::{Error, Result};
use crate::graph::Program;
use crate::metrics::argmax;
use crate::progress::{Event, Progress, emit};
use crate::tensor::Tensor;
pub use checkpoint::{CHECKPOINT, NEW_CHECKPOINT, check};
use checkpoint::{Saved, Store};
pub use feed::{Change, Feed, readable};
pub use network::{Given, Network, Tally};
pub use settings::{BatchNorms, BatchSize, Optimizer as OptimizerChoice, Settings, Task, Wishes};
use standing::Best;
pub use standing::{Epoch, Standing};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use step::{Batch, Order, State};
pub use targets::Targets;

/// Batches that are loaded ahead.
const AHEAD: usize = 2;
/// Values of a batch from which on one alone is loaded ahead.
const LARGE: usize = 16 << 20;
/// Images that tell whether weights are sound, where there are none to validate.
const SAMPLE: usize = 32;
/// How often a long epoch is saved on its way.
const SAVED: Duration = Duration::from_secs(300);

/// Who is told of each epoch; those of an earlier part of a run that goes on come first.
pub type Row<'a> = &'a mut dyn FnMut(&Epoch) -> Result<()>;

/// What training came to.
pub struct Tuned {
    /// The trained values by their initializers' names.
    pub values: HashMap<String, Vec<f32>>,
    /// A row an epoch.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights these are, where validation chose them.
    pub best: Option<u64>,
    /// Why training ended before its last step, where it did so because of its own success or the lack of it.
    pub stopped: Option<String>,
    /// Why it could not go on, where it could not.
    pub diverged: Option<String>,
}

/// Why training ends before its last step.
enum Stop {
    Patience(String),
    Diverged(String),
}

/// All that training needs.
pub struct Tuning<'a> {
    /// The trained part; its first output is the logits.
    pub program: &'a Program,
    /// What is run in training instead, where batch norms follow the images: it has the same parameters.
    pub training: Option<&'a Program>,
    /// The trained parameters' names, and how many blocks lie between each and the end.
    pub depths: &'a HashMap<String, usize>,
    /// Values to begin with, of parameters that do not begin with the file's.
    pub start: HashMap<String, Vec<f32>>,
    /// How.
    pub settings: &'a Settings,
    /// What the images are to give.
    pub targets: &'a Targets,
    /// The images to train on.
    pub train: Feed<'a>,
    /// The images that choose the epoch; there may be none.
    pub val: Feed<'a>,
    /// Where the state is kept meanwhile, and found where a run goes on.
    pub checkpoint: Option<PathBuf>,
}

fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

impl Tuning<'_> {
    /// Trains. The same call gives the same bits, whether it was interrupted and went on or not.
    ///
    /// # Errors
    /// [`Error::Interrupted`] (the checkpoint is kept), [`Error::Io`] where it cannot be written, and those of loading images
    /// and of the program. Values that are not finite end training without an error: the result says so.
    pub fn run(&self, progress: Progress, row: Row) -> Result<Tuned> {
        let settings = self.settings;
        let store = self.checkpoint.as_deref().map(Store);
        let mut state = self.begin()?;
        if let Some(store) = &store {
            store.load(&mut state)?;
        }
        state.standing.epochs.iter().try_for_each(&mut *row)?;
        let by_epoch = settings.by_epoch(self.train.images());
        emit(progress, Event::Stage { name: "training", total: settings.steps })?;
        if state.standing.step == 0 && state.standing.epochs.is_empty() {
            self.close_epoch(&mut state, 0, progress, row)?;
        }
        let mut stopped = self.over(&state);
        let first = if stopped.is_some() { settings.steps } else { state.standing.step };
        emit(progress, Event::Advance(first))?;
        let loading = state.network.clone();
        std::thread::scope(|scope| {
            let values = settings.batch_size * self.train.shape.iter().product::<usize>();
            let (sender, receiver) = sync_channel(if values < LARGE { AHEAD } else { 0 });
            scope.spawn(move || {
                let mut order = Order::default();
                for step in first..settings.steps {
                    // Nobody waits for more where training failed or was stopped.
                    if sender.send(self.load(&loading, step, &mut order)).is_err() {
                        return;
                    }
                }
            });
            if stopped.is_none() {
                stopped = self.steps(&mut state, receiver, by_epoch, store.as_ref(), progress, row)?;
            }
            Ok::<_, Error>(())
        })?;
        self.end(state, stopped)
    }

    /// Takes the steps; answers why they ended early, if they did.
    fn steps(
        &self,
        state: &mut State,
        batches: Receiver<Result<Batch>>,
        by_epoch: u64,
        store: Option<&Store>,
        progress: Progress,
        row: Row,
    ) -> Result<Option<Stop>> {
        let (mut started, mut saved) = (Instant::now(), Saved::not_yet());
        for batch in batches {
            let batch = batch?;
            if let Some(why) = self.step(state, &batch)? {
                return Ok(Some(Stop::Diverged(why)));
            }
            let step = state.standing.step;
            let epoch = step.div_ceil(by_epoch);
            // Validation or the next step would tell; here there is neither.
            if step == self.settings.steps && self.val.images() == 0 && !self.is_sound(state)? {
                return Ok(Some(Stop::Diverged(self.diverged(step, "the logits are"))));
            }
            // Who interrupts loses no step.
            let told = emit(progress, Event::Advance(1));
            if step.is_multiple_of(by_epoch) || step == self.settings.steps {
                state.standing.seconds += started.elapsed().as_secs_f64();
                self.close_epoch(state, epoch, progress, row)?;
                let over = self.over(state);
                let ends = over.is_some() || step == self.settings.steps || told.is_err();
                if let Some(store) = store.filter(|_| ends || saved.is_due()) {
                    saved.save(store, state)?;
                }
                started = Instant::now();
                if over.is_some() {
                    return Ok(over);
                }
            } else if let Some(store) = store.filter(|_| told.is_err() || saved.since() > SAVED) {
                if !state.read()? {
                    return Ok(Some(Stop::Diverged(self.broken(state, step))));
                }
                state.standing.seconds += started.elapsed().as_secs_f64();
                saved.save(store, state)?;
                started = Instant::now();
            }
            told?;
        }
        Ok(None)
    }

    /// Validates, keeps the best weights, and notes the epoch.
    fn close_epoch(&self, state: &mut State, epoch: u64, progress: Progress, row: Row) -> Result<()> {
        let started = Instant::now();
        let mut val = None;
        if self.val.images() > 0 {
            let (tally, best) = self.validate(state, epoch, progress)?;
            if best.loss.is_finite() && best.better_than(&state.standing.best) {
                state.standing.best = Some(best);
                state.keep()?;
            }
            val = Some(tally);
        }
        let (settings, standing) = (self.settings, &mut state.standing);
        let last = standing.step.saturating_sub(1);
        let trained = std::mem::take(&mut standing.seconds);
        let tally = Some(std::mem::take(&mut standing.tally)).filter(|tally| tally.images > 0);
        let seconds = trained + started.elapsed().as_secs_f64();
        let so_far = standing.epochs.iter().map(|epoch| epoch.seconds).sum::<f64>() + seconds;
        let left = settings.steps.saturating_sub(standing.step) as f64;
        let made = Epoch {
            epoch,
            train_loss: tally.map(|t| t.mean_loss()),
            train_accuracy: tally.filter(|_| self.targets.are_classes()).map(|t| t.accuracy()),
            val_loss: val.map(|t| t.mean_loss()),
            val_accuracy: val.filter(|_| self.targets.are_classes()).map(|t| t.accuracy()),
            lr: tally.map_or(0., |_| settings.lr_at(last)),
            images_per_second: tally.map(|t| t.images as f64 / trained.max(1e-9)),
            seconds,
            seconds_left: tally.map(|_| so_far * left / standing.step as f64),
        };
        row(&made)?;
        standing.epochs.push(made);
        Ok(())
    }

    /// The network with the weights that would be exported.
    fn exported(&self, state: &State) -> Network<'_> {
        let mut parameters = state.network.parameters.clone();
        state.places.iter().zip(state.current()).for_each(|(&place, current)| parameters[place] = current.clone());
        Network {
            program: self.program,
            parameters,
            wanted: state.network.wanted.clone(),
            precision: state.network.precision,
        }
    }

    /// Whether training images have scores that are numbers, by the weights that would be exported.
    fn is_sound(&self, state: &State) -> Result<bool> {
        let images = self.train.images();
        let places: Vec<usize> = (0..images).step_by(images.div_ceil(SAMPLE).max(1)).collect();
        Ok(self.exported(state).logits_at(&self.train, &places)?.iter().all(|logit| logit.is_finite()))
    }

    /// The validation images, by the weights that would be exported: what they give, and what chooses the epoch.
    fn validate(&self, state: &State, epoch: u64, progress: Progress) -> Result<(Tally, Best)> {
        let total = self.val.images() as u64;
        let told = |done: usize| {
            // Who interrupts is heard once the epoch is closed, and saved.
            let _ = progress(Event::Within { name: "validating", done: done as u64, total });
        };
        let places: Vec<usize> = (0..self.val.images()).collect();
        let logits = self.exported(state).logits_telling(&self.val, &places, &told)?;
        let targets = self.targets.of(self.val.labels);
        // Scores that are not finite are no error here: the next step tells of them.
        let mean = |loss: &Loss| loss.evaluate(logits.view(), targets.view()).map_or(f64::NAN, |(mean, _)| mean);
        // Without classes nothing is right or wrong, and the loss alone chooses.
        let classes = self.targets.are_classes();
        let rows = logits.rows().into_iter().zip(self.val.labels);
        let right: Vec<bool> = rows.map(|(row, label)| classes && argmax(row) == *label).collect();
        let tally = Tally {
            loss: mean(&Loss::new(self.settings.loss)) * self.val.images() as f64,
            correct: right.iter().filter(|right| **right).count(),
            images: self.val.images(),
        };
        let Some(weights) = &state.loss.class_weights else {
            return Ok((tally, Best { epoch, accuracy: tally.accuracy(), loss: tally.mean_loss() }));
        };
        // Where rare classes weigh more in training, they do in what it is judged by: else the start would win.
        let all: f64 = self.val.labels.iter().map(|&label| weights[label]).sum();
        let ours: f64 =
            right.iter().zip(self.val.labels).filter(|(right, _)| **right).map(|(_, &label)| weights[label]).sum();
        let loss = mean(&Loss { label_smoothing: 0., ..state.loss.clone() });
        Ok((tally, Best { epoch, accuracy: ours / all.max(f64::MIN_POSITIVE), loss }))
    }

    fn end(&self, state: State, stop: Option<Stop>) -> Result<Tuned> {
        let best = state.standing.best.map(|best| best.epoch);
        let kept = state.best.as_ref().filter(|_| best.is_some() || matches!(stop, Some(Stop::Diverged(_))));
        let parameters = kept.cloned().unwrap_or_else(|| state.current().cloned().collect());
        let value = |(name, tensor): (&String, &Tensor)| {
            Ok((name.clone(), tensor.flatten_all().and_then(|tensor| tensor.to_vec1()).map_err(failed)?))
        };
        let values = state.names.iter().zip(&parameters).map(value).collect::<Result<_>>()?;
        let (stopped, diverged) = match stop {
            None => (None, None),
            Some(Stop::Patience(why)) => (Some(why), None),
            Some(Stop::Diverged(why)) => (None, Some(why)),
        };
        Ok(Tuned { values, epochs: state.standing.epochs, best, stopped, diverged })
    }
}
