//! What training inside the network takes, measured on a step and a few images.

use super::feeds::judges_frozen;
use super::inside::{Job, network};
use super::made::Work;
use adapt::data::augment::Augment;
use adapt::data::{Dataset, Split};
use adapt::plan::Inside;
use adapt::train::loss::{Loss, LossKind};
use adapt::train::tune::{Change, Network, Settings, Tally};
use adapt::{Error, Result};
use ndarray::Array2;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The share of a budget that training may take; the rest is for what is not foreseen.
const SHARE_OF_BUDGET: f64 = 0.8;
/// A pass forwards, of the seconds of a step.
const FORWARDS: f64 = 1. / 3.;

/// How often training looks at images for each one that is held out, where the frozen network's figures on these are worth a pass.
const DWARFED: u64 = 20;

impl Job {
    /// Whether a pass of the frozen network over the held-out images is nothing beside training: then the nearest class mean's figures
    /// are told, too. Where images' frozen part is kept, or a budget stands, it is something.
    pub fn dwarfs_a_pass(&self, work: &Work, data: &Dataset) -> bool {
        let held = data.items.len() - data.split(Split::Train).count();
        let seen = self.settings.steps.saturating_mul(self.settings.batch_size as u64);
        let long = seen >= DWARFED * held as u64 && !self.keeps() && work.options.training.budget.is_none();
        long && held > 0 && data.task.is_multiclass()
    }
}

/// Seconds.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Of a step, with the images for it.
    step: f64,
    /// Of the validation behind each epoch.
    validation: f64,
    /// Of what comes before training: what is frozen, a look at all images. Of the head that is trained first only the features; how long
    /// the rest takes is known once it is there.
    before: f64,
    /// Of its validation, and of the scores of all images at the end.
    behind: f64,
}

impl Cost {
    /// Of training by a job. `few` are some of its images, and `whole` what the whole network takes for one, with reading it.
    pub fn measure(job: &Job, work: &Work, data: &Dataset, few: &[String], whole: f64) -> Result<Cost> {
        let step = step_seconds(&job.inside, &job.settings, job.classes(), usize::MAX)?;
        let items = (few.to_vec(), vec![0; few.len()]);
        let feed = job.feed(work, data, &items, None);
        let places: Vec<usize> = (0..few.len()).collect();
        let augment = Augment { level: job.settings.augment, hflip: job.settings.hflip, vflip: job.settings.vflip };
        let mut load = 0.;
        // The second time nothing is set up any more.
        for _ in 0..2 {
            let started = Instant::now();
            feed.load(&places, Change { augment, seed: 0, epoch: 0 })?;
            load = started.elapsed().as_secs_f64() / few.len().max(1) as f64;
        }
        let [train, val] = [Split::Train, Split::Val].map(|split| data.split(split).count() as f64);
        let own = if job.keeps() { 0. } else { load };
        let kept = if job.keeps() { [train, val] } else { [0., 0.] };
        let batch = job.settings.batch_size as f64;
        let (all, decode) = (data.items.len() as f64, load.min(whole));
        // Every image is decoded once before the training, if not for features or for what is kept.
        let looked_at = match (work.options.drop.is_empty(), job.probes(work)) {
            (false, _) => all * (whole + decode) + (kept[0] + kept[1]) * load,
            (true, true) if job.dwarfs_a_pass(work, data) => all * whole,
            // The features of images that are kept come from the same pass.
            (true, true) => {
                let own = if judges_frozen(data) { whole } else { load };
                train * whole + kept[1] * own + (all - train - kept[1]) * decode
            }
            (true, false) => (kept[0] + kept[1]) * load + (all - kept[0] - kept[1]) * decode,
        };
        // From what is kept only the trained part is left to run.
        let scores = match job.keeps() {
            true => (all - train - val) * whole + (train + val) * FORWARDS * step / batch,
            false => all * whole,
        };
        let validation = val * (own + FORWARDS * step / batch);
        // Before the first epoch there is a validation, too.
        Ok(Cost { step: step + batch * own, validation, before: looked_at, behind: validation + scores })
    }

    /// Of a step, with the images for it.
    pub fn step(&self) -> f64 {
        self.step
    }

    /// What is left of it when training begins.
    pub fn of_training(self) -> Cost {
        Cost { before: 0., ..self }
    }

    /// Of all that is left to do.
    pub fn total(&self, steps: u64, by_epoch: u64) -> f64 {
        self.before + self.behind + steps as f64 * self.step + steps.div_ceil(by_epoch) as f64 * self.validation
    }

    /// The steps of as many epochs as fit into what is left of a budget; of a part of one where none does, but one step.
    pub fn within(&self, budget: Duration, spent: Duration, by_epoch: u64) -> u64 {
        let left = SHARE_OF_BUDGET * budget.saturating_sub(spent).as_secs_f64() - self.before - self.behind;
        match (left / (by_epoch as f64 * self.step + self.validation)) as u64 {
            0 => (((left - self.validation) / self.step) as u64).max(1),
            epochs => by_epoch * epochs,
        }
    }
}

/// Seconds of a step on made images, of which at most `most` are tried.
pub fn step_seconds(inside: &Inside, settings: &Settings, classes: usize, most: usize) -> Result<f64> {
    let program = inside.training.as_ref().unwrap_or(&inside.program);
    let network = Network { precision: settings.precision, ..network(inside, program, &HashMap::new())? };
    let shape = &inside.shape;
    let images = settings.batch_size.min(network.at_once(shape)).min(most);
    // Not zeros: processors may compute with those faster.
    let values: Vec<f32> = (0..images * shape.iter().product::<usize>()).map(|i| (i as f32 * 0.37).sin()).collect();
    let targets = Array2::from_elem((images, classes), 1. / classes as f32);
    let input = network.input(values, images, shape)?;
    let mut seconds = f64::MAX;
    for _ in 0..2 {
        let started = Instant::now();
        let found = network.gradients(&input, targets.view(), &Loss::new(LossKind::CrossEntropy));
        match found.and_then(|(given, _)| given.read(&mut Tally::default())) {
            // Made images may lie outside of any range: only the time is of interest.
            Ok(_) | Err(Error::Train(_)) => seconds = seconds.min(started.elapsed().as_secs_f64()),
            Err(error) => return Err(error),
        }
    }
    Ok(seconds * settings.batch_size as f64 / images as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_has_room_for_what_is_done_once() {
        let cost = Cost { step: 0.5, validation: 2., before: 20., behind: 10. };
        assert_eq!((cost.total(20, 10), cost.total(21, 10)), (30. + 10. + 4., 30. + 10.5 + 6.));
        // Of 100 seconds 80 are planned with; 10 are spent. An epoch of ten steps takes 7.
        let steps = |budget| cost.within(Duration::from_secs(budget), Duration::from_secs(10), 10);
        assert_eq!((steps(110), steps(60), steps(50), steps(20)), (10 * 7, 10, 1, 1));
        // Six seconds are too few for an epoch of seven; two are for what validates.
        let just = Cost { before: 16., ..cost };
        assert_eq!(just.within(Duration::from_secs(50), Duration::from_secs(10), 10), 8);
        // Where training begins only what comes behind it is left to do; what the head took is in what was spent.
        let begun = |spent| cost.of_training().within(Duration::from_secs(110), Duration::from_secs(spent), 10);
        assert_eq!((begun(10), begun(60), begun(105)), (10 * 10, 10 * 4, 1));
    }
}
