//! Where training stands, and whether it ends there.

use super::network::Tally;
use super::step::State;
use super::{Stop, Tuning};
use serde::{Deserialize, Serialize};

/// A row of `results.csv`: what an epoch came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1; 0 is the start, where nothing is trained yet.
    pub epoch: u64,
    /// Mean loss over the images trained on, as they were changed.
    pub train_loss: Option<f64>,
    /// The share of them that was right, where they have one class each.
    pub train_accuracy: Option<f64>,
    /// Mean loss of the validation images.
    pub val_loss: Option<f64>,
    /// The share of them that was right.
    pub val_accuracy: Option<f64>,
    /// The learning rate of the last step.
    pub lr: f64,
    /// Images trained on in a second.
    pub images_per_second: Option<f64>,
    /// Wall time of the epoch, its validation included.
    pub seconds: f64,
    /// Until the last epoch, if all take as long as those so far.
    pub seconds_left: Option<f64>,
}

/// Where training stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Steps done.
    pub(super) step: u64,
    /// Of this epoch's steps so far.
    pub(super) tally: Tally,
    /// Wall time of this epoch so far.
    pub(super) seconds: f64,
    pub(super) epochs: Vec<Epoch>,
    pub(super) best: Option<Best>,
}

/// What chooses the epoch: figures of the validation images, which weigh as their classes do in training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) epoch: u64,
    pub(super) accuracy: f64,
    pub(super) loss: f64,
}

impl Best {
    pub(super) fn better_than(&self, other: &Option<Best>) -> bool {
        other.is_none_or(|other| (self.accuracy, -self.loss) > (other.accuracy, -other.loss))
    }
}

/// A loss so many times that of guessing means nothing.
const TIMES: f64 = 20.;

impl Tuning<'_> {
    /// Why training ends with the epoch that was closed last, if it does: the same whether it was closed now, or by a run
    /// that goes on.
    pub(super) fn over(&self, state: &State) -> Option<Stop> {
        let standing = &state.standing;
        // A loss that is no number is none in a checkpoint.
        let sound = |epoch: &Epoch| epoch.epoch == 0 || epoch.val_loss.is_some_and(f64::is_finite);
        match self.blown_up(standing) {
            _ if self.val.images() > 0 && !standing.epochs.last().is_none_or(sound) => {
                Some(Stop::Diverged(self.broken(state, standing.step)))
            }
            Some(why) => Some(Stop::Diverged(why)),
            None => self.patience(standing),
        }
    }

    /// Whether no epoch had a lower loss than the last one, and that means something.
    pub(super) fn is_lowest(&self, standing: &Standing) -> bool {
        let losses = || standing.epochs.iter().filter_map(|epoch| epoch.train_loss);
        losses().next_back().is_none_or(|last| last <= self.most() && losses().all(|loss| last <= loss))
    }

    /// Losses above this mean nothing.
    pub(super) fn most(&self) -> f64 {
        TIMES * (self.targets.count() as f64).ln().max(1.)
    }

    /// Whether the last epoch is far worse than guessing, and no better than the first unless there are no more: its values are
    /// finite, and mean nothing.
    fn blown_up(&self, standing: &Standing) -> Option<String> {
        let losses: Vec<f64> = standing.epochs.iter().filter_map(|epoch| epoch.train_loss).collect();
        let (first, last) = (*losses.first()?, *losses.last()?);
        let over = standing.step == self.settings.steps;
        let (step, lr) = (standing.step, self.settings.lr);
        let why = format!(
            "step {step}: the epoch's mean loss is {last:.1e}, far worse than guessing; lower --lr (it is {lr:e})"
        );
        (last > self.most() && (over || losses.len() > 1 && last >= first)).then_some(why)
    }

    /// Whether the epochs so far were enough.
    fn patience(&self, standing: &Standing) -> Option<Stop> {
        let epoch = standing.epochs.last().map_or(0, |epoch| epoch.epoch);
        let idle = epoch - standing.best.map_or(epoch, |best| best.epoch);
        let most = self.settings.patience as u64;
        let over = most > 0 && idle >= most && standing.step < self.settings.steps;
        over.then(|| Stop::Patience(format!("no improvement on the validation images for {idle} epochs")))
    }
}
