//! Whether to train inside the network, too: what that would take, and what is known of what it would gain.

use super::adapt::begins_deep;
use super::cost::step_seconds;
use super::made::Work;
use super::training::Train;
use adapt::data::{Dataset, Split};
use adapt::graph::Extent;
use adapt::onnx::{Model, statistics};
use adapt::plan::{self, Inside};
use adapt::progress::{Event, emit};
use adapt::report::{Adapted, AnyHead, FineTuning, Measured};
use adapt::train::LinearHead;
use adapt::train::tune::{Settings, Targets, Task, Wishes};
use adapt::{Error, Result};
use prost::Message;

/// What is tried of the network: README's example of a tail, and all of it.
const EXTENTS: [Extent; 2] = [Extent::Last(2), Extent::All];
/// Images of the step that is measured; few, since this is to cost next to nothing.
const IMAGES: usize = 2;
/// Bytes of weights up to which it is measured: copies for training would take memory and seconds.
const LARGEST: usize = 200 << 20;
/// Seconds of a budget that have to be left for it.
const LEAST_LEFT: f64 = 5.;
/// Values of an image up to which it is.
const LARGEST_IMAGE: usize = 3 * 640 * 640;

impl Work<'_> {
    /// Measures a step of training inside for a run that trained a head, which took so many seconds.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn fine_tuning(&self, data: &Dataset, head: Option<&AnyHead>, spent: f64) -> Result<FineTuning> {
        let mut measured = Vec::new();
        for extent in EXTENTS {
            emit(self.progress, Event::Advance(0))?;
            let found = self.measure(data, &extent, spent);
            let failed = found.is_err();
            measured.push(Measured::new(Train::Inside(extent).to_string(), found));
            // What stands in the way of a part stands in the way of all.
            if failed {
                break;
            }
        }
        Ok(FineTuning::new(measured, head, self.model, &data.counts(Split::Train)))
    }

    /// Epochs and seconds of the steps that `--train` would take by default, or why there are none.
    fn measure(&self, data: &Dataset, extent: &Extent, spent: f64) -> std::result::Result<(u64, f64), String> {
        let why = |error: Error| error.reason();
        if size(self.model) > LARGEST || self.plan.input.len() > LARGEST_IMAGE {
            return Err("not measured, since the network or its images are large".into());
        }
        if self.options.training.budget.is_some_and(|budget| budget.as_secs_f64() - spent < LEAST_LEFT) {
            return Err("not measured, since --budget leaves no time for it".into());
        }
        let deep = *extent == Extent::All && begins_deep(self.options, self.model);
        let taps = if deep { self.plan.taps.len() } else { 0 };
        let (plan, targets) = (self.plan.with_taps(taps), Targets::new(data));
        let head = LinearHead::by_chance(targets.count(), plan.features, self.options.seed);
        let adapted = Adapted::new(self.model, &plan, &head).map_err(why)?;
        let inside = Inside::try_open(&adapted.model, &adapted.logits, extent, self.backend, &plan.input);
        let inside = inside.map_err(why)?;
        if inside.program.batch().is_some_and(|batch| batch > 1) {
            return Err("its graph takes several images at once, whatever the step".into());
        }
        let settings = Settings::decide(&Wishes::default(), facts(self, data, &targets, &inside));
        let step: Result<f64> = step_seconds(&inside, &settings, targets.count(), IMAGES);
        let images = data.split(Split::Train).count();
        Ok((settings.steps.div_ceil(settings.by_epoch(images)), step.map_err(why)? * settings.steps as f64))
    }
}

/// Bytes of a model's stored tensors.
fn size(model: &Model) -> usize {
    model.graph().initializer.iter().map(Message::encoded_len).sum()
}

/// What decides how a part of the network is trained by default.
pub fn facts(work: &Work, data: &Dataset, targets: &Targets, inside: &Inside) -> Task {
    Task {
        images: data.split(Split::Train).count(),
        from_images: inside.start.is_none(),
        characters: targets.are_classes() && data.classes.iter().all(|class| class.chars().count() == 1),
        from_scratch: plan::is_initial(work.model),
        initial_norms: !inside.statistics.is_empty() && statistics::are_initial(work.model.graph()),
        on_gpu: !inside.program.device().is_cpu(),
        loss: targets.loss(),
        seed: work.options.seed,
    }
}
