//! How a network is trained: what the user decides, and the defaults for the rest.

use crate::data::augment::Level;
use crate::error::Result;
use crate::progress::{Event, Progress, emit};
use crate::tensor::Precision;
use crate::train::loss::LossKind;
use crate::train::optimizer::OptimizerKind;
use crate::train::schedule::Schedule;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// There is no cycle of fewer steps.
const CYCLE: u64 = 3;
/// Steps from which on a pretrained network stands Adam's usual rate; fewer have their share of it (docs/performance.md).
const ENOUGH: u64 = 50;

/// Which optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam with decoupled weight decay
    AdamW,
    /// Adam, the decay in the gradient
    Adam,
    /// Gradient descent with Nesterov's momentum
    Sgd,
}

impl Optimizer {
    /// With PyTorch's defaults.
    pub fn kind(self, momentum: f64) -> OptimizerKind {
        let (betas, eps) = ((0.9, 0.999), 1e-8);
        match self {
            Optimizer::AdamW => OptimizerKind::AdamW { betas, eps },
            Optimizer::Adam => OptimizerKind::Adam { betas, eps },
            Optimizer::Sgd => OptimizerKind::Sgd { momentum, nesterov: momentum > 0. },
        }
    }

    /// The largest learning rate of so many steps, where the user gives none.
    pub fn usual_lr(self, from_scratch: bool, steps: u64) -> f64 {
        match (self, from_scratch) {
            (Optimizer::Sgd, true) => 0.05,
            (Optimizer::Sgd, false) => 0.01,
            (_, true) => 1e-3,
            // Exporters fold batch norms into weights, which makes many of them small beside a step of Adam's. The first of these change
            // every weight by all of the rate, whatever its gradient, which so few others do not make good.
            (_, false) => steps.clamp(1, ENOUGH) as f64 / (5_000 * ENOUGH) as f64,
        }
    }
}

/// What becomes of batch norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BatchNorms {
    /// Statistics, scale and shift stay as they are
    Frozen,
    /// Statistics stay; scale and shift are trained
    Affine,
    /// The batch's own statistics in training; the stored ones follow them, and are exported
    Train,
}

/// Images of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchSize {
    /// So many.
    Images(usize),
    /// All there are.
    All,
}

/// What a user may decide; the rest is [decided](Settings::decide).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes {
    /// Times that each image is seen.
    pub epochs: Option<usize>,
    /// Steps in all, instead of epochs.
    pub steps: Option<u64>,
    /// Images of a step.
    pub batch_size: Option<BatchSize>,
    /// The largest learning rate.
    pub lr: Option<f64>,
    /// The optimiser.
    pub optimizer: Option<Optimizer>,
    /// Of SGD.
    pub momentum: Option<f64>,
    /// Decoupled for AdamW; not on biases and scales.
    pub weight_decay: Option<f64>,
    /// How the learning rate goes.
    pub schedule: Option<Schedule>,
    /// Epochs in which the learning rate rises.
    pub warmup: Option<f64>,
    /// The share of a target that is spread over all classes.
    pub label_smoothing: Option<f64>,
    /// Decay of the moving average of the weights; 0 for none.
    pub ema: Option<f64>,
    /// The largest norm of all gradients together; 0 for none.
    pub clip_grad: Option<f64>,
    /// The learning rate's factor from each block to the one before.
    pub layer_decay: Option<f64>,
    /// How images are changed.
    pub augment: Option<Level>,
    /// The share of them that is mirrored.
    pub hflip: Option<f64>,
    /// The share of them that is mirrored upside down.
    pub vflip: Option<f64>,
    /// Of mixup's Beta distribution; 0 for none.
    pub mixup: Option<f64>,
    /// Of CutMix's Beta distribution; 0 for none.
    pub cutmix: Option<f64>,
    /// What becomes of batch norms.
    pub bn: Option<BatchNorms>,
    /// Epochs without improvement after which training ends; 0 for never.
    pub patience: Option<usize>,
    /// The loss.
    pub loss: Option<LossKind>,
    /// Whether each class counts alike, however many images it has.
    pub balanced: bool,
    /// What a GPU computes gradients with.
    pub precision: Option<Precision>,
    /// Wall time for all of it.
    pub budget: Option<Duration>,
}

/// All of it, decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Steps in all.
    pub steps: u64,
    /// Images of a step.
    pub batch_size: usize,
    /// The largest learning rate.
    pub lr: f64,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Of SGD.
    pub momentum: f64,
    /// Not on biases and scales.
    pub weight_decay: f64,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// Steps in which it rises.
    pub warmup: u64,
    /// The share of a target that is spread over all classes.
    pub label_smoothing: f64,
    /// 0 for none.
    pub ema: f64,
    /// 0 for none.
    pub clip_grad: f64,
    /// 1 for none.
    pub layer_decay: f64,
    /// How images are changed.
    pub augment: Level,
    /// The share of them that is mirrored where they are changed.
    pub hflip: f64,
    /// The share of them that is mirrored upside down.
    #[serde(default)]
    pub vflip: f64,
    /// 0 for none.
    pub mixup: f64,
    /// 0 for none.
    pub cutmix: f64,
    /// What becomes of batch norms.
    pub bn: BatchNorms,
    /// 0 for never.
    pub patience: usize,
    /// The loss.
    pub loss: LossKind,
    /// Whether each class counts alike.
    pub balanced: bool,
    /// What gradients are computed with.
    #[serde(default, skip_serializing_if = "Precision::is_full")]
    pub precision: Precision,
    /// Of everything that is drawn.
    pub seed: u64,
}

/// What the defaults hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Images to train on.
    pub images: usize,
    /// Whether images are changed before all that is trained: without a frozen part, that is.
    pub from_images: bool,
    /// Whether the classes are digits or letters.
    pub characters: bool,
    /// Whether the weights are still as they were drawn.
    pub from_scratch: bool,
    /// Whether what is trained has batch norms that have seen nothing yet.
    pub initial_norms: bool,
    /// Whether a GPU trains.
    pub on_gpu: bool,
    /// The loss that fits what images are to give; labels are smoothed for classes alone.
    pub loss: LossKind,
    /// Decides what is drawn.
    pub seed: u64,
}

impl Settings {
    /// The user's wishes, and what else has to be decided.
    pub fn decide(wishes: &Wishes, task: Task) -> Settings {
        let images = task.images.max(1);
        let batch_size = match wishes.batch_size {
            Some(BatchSize::All) => images,
            Some(BatchSize::Images(size)) => size.clamp(1, images),
            // Enough steps for a small set, few enough for a large one.
            None => (images / 8).next_power_of_two().clamp(8, 32).min(images),
        };
        let by_epoch = images.div_ceil(batch_size) as u64;
        // Small sets are seen more often: about as many steps as a few hundred images need.
        let usual = if task.from_scratch { 20 } else { (6_000 / images).clamp(5, 20) };
        let steps = wishes.steps.unwrap_or(wishes.epochs.unwrap_or(usual) as u64 * by_epoch);
        let optimizer = wishes.optimizer.unwrap_or(Optimizer::AdamW);
        Settings {
            steps,
            batch_size,
            lr: wishes.lr.unwrap_or(optimizer.usual_lr(task.from_scratch, steps)),
            optimizer,
            momentum: wishes.momentum.unwrap_or(0.9),
            weight_decay: wishes.weight_decay.unwrap_or(if optimizer == Optimizer::AdamW { 0.01 } else { 1e-4 }),
            // One-cycle is its own warm-up.
            schedule: wishes.schedule.unwrap_or(match wishes.warmup {
                Some(epochs) if epochs > 0. => Schedule::Cosine,
                _ if steps < CYCLE => Schedule::Constant,
                _ => Schedule::OneCycle,
            }),
            warmup: (wishes.warmup.unwrap_or(0.) * by_epoch as f64).round() as u64,
            label_smoothing: wishes.label_smoothing.unwrap_or(match wishes.loss.unwrap_or(task.loss) {
                LossKind::CrossEntropy if !task.from_scratch => 0.1,
                _ => 0.,
            }),
            ema: wishes.ema.unwrap_or(0.),
            clip_grad: wishes.clip_grad.unwrap_or(1.),
            // Less for the first layers of folded convolutions was worse on all sets that were tried (docs/design.md).
            layer_decay: wishes.layer_decay.unwrap_or(1.),
            augment: wishes.augment.unwrap_or(if task.from_images { Level::Light } else { Level::None }),
            // A letter mirrored is another, or none.
            hflip: wishes.hflip.unwrap_or(if task.characters { 0. } else { 0.5 }),
            vflip: wishes.vflip.unwrap_or(0.),
            mixup: wishes.mixup.unwrap_or(0.),
            cutmix: wishes.cutmix.unwrap_or(0.),
            // The statistics of one image mean nothing.
            bn: wishes.bn.unwrap_or(match task.initial_norms && batch_size > 1 {
                true => BatchNorms::Train,
                false => BatchNorms::Affine,
            }),
            patience: wishes.patience.unwrap_or(0),
            loss: wishes.loss.unwrap_or(task.loss),
            balanced: wishes.balanced,
            precision: wishes.precision.unwrap_or(if task.on_gpu { Precision::GPU } else { Precision::default() }),
            seed: task.seed,
        }
    }

    /// Changes what so few steps as a budget leaves have no room for, and tells that.
    ///
    /// # Errors
    /// [`crate::error::Error::Interrupted`].
    pub fn suit_few_steps(&mut self, progress: Progress) -> Result<()> {
        if self.schedule == Schedule::OneCycle && self.steps < CYCLE {
            self.schedule = Schedule::Constant;
            emit(
                progress,
                Event::Warning("--budget: there is no cycle of so few steps; the learning rate is constant"),
            )?;
        }
        if self.warmup > self.steps / 2 {
            self.warmup = self.steps / 2;
            emit(progress, Event::Warning(&format!("--budget: the warm-up is shortened to {} steps", self.warmup)))?;
        }
        Ok(())
    }

    /// The learning rate of a step, counted from 0.
    pub fn lr_at(&self, step: u64) -> f64 {
        self.lr * self.schedule.factor(step as usize, self.steps as usize, self.warmup as usize)
    }

    /// Steps of an epoch.
    pub fn by_epoch(&self, images: usize) -> u64 {
        images.div_ceil(self.batch_size.max(1)).max(1) as u64
    }
}
