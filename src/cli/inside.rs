//! Training inside the network: what is decided before the work, and the work.

use super::advice::facts;
use super::clock::Clock;
use super::cost::Cost;
use super::feeds::items;
use super::idle;
use super::made::Work;
use super::resume::Recipe;
use adapt::data::{Dataset, Split};
use adapt::engine::{BATCH, Extractor, KeptRows};
use adapt::graph::{Extent, Program, Wanted};
use adapt::plan::{self, Inside, available_threads};
use adapt::progress::{Event, emit};
use adapt::report::{Adapted, time};
use adapt::train::LinearHead;
use adapt::train::tune::{BatchNorms, CHECKPOINT, Network, Row, Settings, Targets, Tuned, Tuning, Wishes};
use adapt::verify::{difference, tolerance};
use adapt::{Error, Result};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How much further scores may differ before training than the proof allows: a head drawn by chance has smaller ones, without
/// a bias, and what training makes of the network is not known. What differs by more is no rounding any more.
const FAR: f64 = 30.;

/// A network that is going to be trained inside.
pub struct Job {
    /// With a head that knows nothing yet.
    pub adapted: Adapted,
    pub(super) inside: Inside,
    targets: Targets,
    pub(super) frozen: Option<Mutex<Extractor>>,
    /// How it is trained.
    pub settings: Settings,
    /// Where a step was tried.
    cost: Option<Cost>,
    /// How many train.
    pub(super) images: usize,
    /// To be written when training begins; none where it goes on.
    recipe: Option<Recipe>,
    /// Whether the network knows nothing yet.
    pub from_scratch: bool,
    /// Where no head is trained first: what the original's last layer has for each class.
    pub(super) known: Vec<Option<(Vec<f32>, f32)>>,
}

impl Job {
    /// Decides how `extent` of the network is trained (or does as the `recipe` of an earlier run says), and tries a step.
    pub fn prepare(
        work: &Work,
        extent: &Extent,
        data: &Dataset,
        recipe: Option<&Recipe>,
        clock: &Clock,
    ) -> Result<Job> {
        let (plan, targets) = (&work.plan.with_taps(work.plan.taps.len()), Targets::new(data));
        let classes = targets.count();
        let adapted =
            Adapted::new(work.model, plan, &LinearHead::by_chance(classes, plan.features, work.options.seed))?;
        // Advice is about the network without the features of other depths.
        let open = if plan.taps.is_empty() { Inside::open } else { Inside::try_open };
        let mut inside = open(&adapted.model, &adapted.logits, extent, work.backend, &plan.input)?;
        if let Some(batch) = inside.program.batch().filter(|batch| *batch > 1) {
            let what = format!("its graph takes {batch} images at once, whatever the step; train a head: --train head");
            return Err(Error::model(&work.model.path, what));
        }
        let images = data.split(Split::Train).count();
        let (task, wishes) = (facts(work, data, &targets, &inside), work.options.training.wishes());
        work.options.training.check_device(task.on_gpu)?;
        let settings = recipe.map_or_else(|| Settings::decide(&wishes, task), |recipe| recipe.settings.clone());
        idle::refuse(&work.options.training, &settings, &inside, data.split(Split::Val).next().is_some())?;
        if settings.bn == BatchNorms::Frozen {
            inside.depths.retain(|name, _| !inside.norms.contains(name));
        }
        if settings.bn == BatchNorms::Train {
            inside.follow()?;
        }
        let extractor = |engine| {
            Extractor::new(engine, 0, plan.preprocessing.clone(), plan.input.layout).strict(work.options.strict)
        };
        let frozen = inside.frozen.take().map(extractor).map(Mutex::new);
        let from_scratch = task.from_scratch;
        let (cost, known) = (None, Vec::new());
        let mut job =
            Job { adapted, inside, targets, frozen, settings, cost, images, recipe: None, from_scratch, known };
        // New weights know nothing, whatever their classes are called.
        if !job.probes(work) && !from_scratch && job.targets.are_classes() {
            job.known = plan::known(work.model, plan, &data.classes);
        }
        if let Some(recipe) = recipe {
            recipe.check(work.model, plan, data)?;
            job.recipe = (!recipe.counted).then(|| recipe.clone());
            return Ok(job);
        }
        let (few, whole) = job.agrees(work, data)?;
        let mut recipe = Recipe::new(work.model, plan, data, &job.settings)?;
        if job.settings.steps > 0 {
            let cost = Cost::measure(&job, work, data, &few, whole)?;
            let spent = Duration::from_secs_f64(clock.total());
            if let Some(budget) = wishes.budget {
                let steps = cost.within(budget, spent, job.settings.by_epoch(images)).min(job.settings.steps);
                job.settings = Settings::decide(&Wishes { steps: Some(steps), ..wishes.clone() }, task);
                job.settings.suit_few_steps(work.progress)?;
            }
            job.cost = Some(cost);
            let needed = job.estimate().map_or(0., |[_, all]| all) + spent.as_secs_f64();
            if let Some(budget) = wishes.budget.map(|budget| budget.as_secs_f64()).filter(|budget| needed > *budget) {
                let (needed, budget) = (time(needed), time(budget));
                let what = format!(
                    "--budget: {budget} are too few; with as little training as there can be it takes about {needed}"
                );
                emit(work.progress, Event::Warning(&what))?;
            }
        }
        recipe.settings = job.settings.clone();
        // All was judged: an interrupted run that is to be replaced can go.
        work.out.begin_anew()?;
        recipe.write(work.out)?;
        job.recipe = Some(recipe);
        Ok(job)
    }

    /// Compares what training's program gives for a few images with what the engine that proves the result does, before any
    /// step: a program that differs by far more than the proof allows would fail there, after all the work. Answers those images,
    /// and the engine's seconds for one.
    fn agrees(&self, work: &Work, data: &Dataset) -> Result<(Vec<String>, f64)> {
        let plan = work.plan;
        let images: Vec<&str> = data.split(Split::Train).map(|item| item.path.as_str()).collect();
        let few: Vec<&str> = images.iter().step_by(images.len().div_ceil(BATCH).max(1)).copied().collect();
        let scores = self.adapted.scores();
        let prover = work.options.engine.prover_of(work.backend, &scores, &plan.input, work.progress)?;
        let engine = prover.open(&scores, &plan.input.axes(), available_threads())?;
        let mut extractor = Extractor::new(engine, 0, plan.preprocessing.clone(), plan.input.layout);
        let theirs = extractor.run(&data.source, &few, "comparing engines", work.progress)?;
        let read: Vec<String> = theirs.places.iter().map(|&place| few[place].to_owned()).collect();
        if read.is_empty() {
            return Ok((read, 0.));
        }
        // What gives features and scores may be another engine than the one that proves.
        if prover.name() != work.backend.name() {
            let engine = work.backend.open(&scores, &plan.input.axes(), available_threads())?;
            extractor = Extractor::new(engine, 0, plan.preprocessing.clone(), plan.input.layout);
            extractor.run(&data.source, &read, "comparing engines", work.progress)?;
        }
        let started = Instant::now();
        extractor.run(&data.source, &read, "comparing engines", work.progress)?;
        let seconds = started.elapsed().as_secs_f64() / read.len() as f64;
        let items = (read, vec![0; theirs.places.len()]);
        let ours = network(&self.inside, &self.inside.program, &HashMap::new())?
            .logits(&self.feed(work, data, &items, None))?;
        let (far, allowed) = (difference(theirs.rows.view(), ours.view()), FAR * tolerance(plan));
        if far <= allowed {
            return Ok((items.0, seconds));
        }
        let (engine, images) = (prover.name(), items.1.len());
        let what = format!("training would compute something else than {engine}: for {images} of the images");
        let what = format!("{what} their scores differ by {far:.1e} of their scale (allowed {allowed:.0e})");
        Err(Error::model(&work.model.path, format!("{what}; train a head on the frozen network: --train head")))
    }

    /// The tensor behind which all that is trained lies, if the rest is frozen.
    pub fn start(&self) -> Option<&str> {
        self.inside.start.as_deref()
    }

    /// How many tensors are trained, and how many values they have.
    pub fn trained(&self) -> (usize, usize) {
        let trained = self.inside.program.parameters().iter().filter(|p| self.inside.depths.contains_key(&p.name));
        trained.fold((0, 0), |(tensors, values), p| (tensors + 1, values + p.shape.iter().product::<usize>()))
    }

    /// How many values weights have behind what is frozen that are not trained all the same.
    pub fn untrained(&self) -> usize {
        let inside = &self.inside;
        let follows = |name: &String| inside.depths.contains_key(name) || inside.statistics.contains(name);
        let others = inside.program.parameters().iter().filter(|p| !follows(&p.name));
        others.map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// Keeps to the epochs that were planned, where some images cannot be read.
    pub fn recount(&mut self, work: &Work, data: &Dataset) {
        let images = data.split(Split::Train).count();
        let [before, now] = [self.images, images].map(|images| self.settings.by_epoch(images));
        // A run that goes on has settings that were counted so.
        if self.recipe.is_some() && work.options.training.steps.is_none() && self.settings.steps >= before {
            self.settings.steps = self.settings.steps / before * now;
            self.settings.warmup = self.settings.warmup * now / before;
        }
        self.images = images;
    }

    /// Takes steps off that a budget has no time for any more, now that training begins: what came before it, a head's fit above
    /// all, may have taken longer than was known.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn shorten(&mut self, work: &Work, clock: &Clock) -> Result<()> {
        let (Some(budget), Some(cost)) = (work.options.training.budget, self.cost) else { return Ok(()) };
        let (spent, planned) = (Duration::from_secs_f64(clock.total()), self.settings.steps);
        let steps = cost.of_training().within(budget, spent, self.settings.by_epoch(self.images));
        if steps < planned {
            self.settings.steps = steps;
            if work.options.training.lr.is_none() {
                self.settings.lr = self.settings.optimizer.usual_lr(self.from_scratch, steps);
            }
            let what = format!("--budget: {} were gone before training, which has {steps} steps", time(clock.total()));
            emit(work.progress, Event::Warning(&format!("{what} instead of {planned}")))?;
            self.settings.suit_few_steps(work.progress)?;
        }
        Ok(())
    }

    /// Seconds that a step takes, and all that is left to do.
    pub fn estimate(&self) -> Option<[f64; 2]> {
        self.cost.map(|cost| [cost.step(), cost.total(self.settings.steps, self.settings.by_epoch(self.images))])
    }

    /// Scores an image.
    pub(super) fn classes(&self) -> usize {
        self.targets.count()
    }

    /// Whether a head is trained first.
    pub fn probes(&self, work: &Work) -> bool {
        work.options.training.probes(self.from_scratch)
    }

    /// Epochs, the last perhaps not whole.
    pub fn epochs(&self) -> u64 {
        self.settings.steps.div_ceil(self.settings.by_epoch(self.images))
    }

    /// Trains, beginning with a probe's head, or else with what the original knows of the classes and with chance.
    /// `kept` is what [`Job::keep`] gave.
    pub fn train(
        &self,
        work: &Work,
        data: &Dataset,
        probe: Option<&LinearHead>,
        kept: &[KeptRows],
        row: Row,
    ) -> Result<Tuned> {
        if let Some(recipe) = &self.recipe {
            let mut recipe = recipe.clone();
            (recipe.settings, recipe.counted) = (self.settings.clone(), true);
            recipe.write(work.out)?;
        }
        // Whichever depths the head takes, what is trained takes all that there are.
        let whole = |head: LinearHead| self.targets.within(head.widened(self.adapted.head.weight.ncols()));
        let head = probe.cloned().map_or_else(|| self.drawn(work), whole);
        let [weight, bias] = self.adapted.names.clone();
        let start = [(weight, head.weight.into_iter().collect()), (bias, head.bias.to_vec())];
        let splits = [Split::Train, Split::Val].map(|split| items(data, split));
        let feeds = splits.iter().enumerate().map(|(i, items)| self.feed(work, data, items, kept.get(i)));
        let [train, val] = feeds.collect::<Vec<_>>().try_into().unwrap_or_else(|_| unreachable!("two splits"));
        let tuning = Tuning {
            program: &self.inside.program,
            training: self.inside.training.as_ref(),
            depths: &self.inside.depths,
            start: start.into(),
            settings: &self.settings,
            targets: &self.targets,
            train,
            val,
            checkpoint: Some(work.out.path(CHECKPOINT)),
        };
        let mut tuned = tuning.run(work.progress, row)?;
        self.targets.leave(&mut tuned.values, &self.adapted.names);
        Ok(tuned)
    }

    /// Puts the trained values into the adapted model.
    pub fn put(&mut self, work: &Work, tuned: &Tuned) -> Result<()> {
        self.adapted.train(work.model, work.plan, &tuned.values)
    }
}

/// A program with the file's values, but for these.
pub(super) fn network<'a>(
    inside: &Inside,
    program: &'a Program,
    values: &HashMap<String, Vec<f32>>,
) -> Result<Network<'a>> {
    let parameters = program.parameters().iter().map(|p| inside.depths.contains_key(&p.name)).collect();
    Network::new(program, values, Wanted { parameters, input: false })
}
