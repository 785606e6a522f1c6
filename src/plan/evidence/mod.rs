//! Preprocessing decided from the user's images, where nothing tells it: the conventions that people use are tried on a
//! sample, and compared by how well features separate the classes and how much the old head tells.

mod images;
mod scores;

use super::preprocessing::{Sourced, parsed};
use super::{Activation, Plan, available_threads};
use crate::data::{Dataset, Item, Preprocessing, Split};
use crate::engine::{Backend, Engine, Extractor};
use crate::error::{Error, Result};
use crate::metrics::separation::{information, nearest_agree, probe_agrees};
use crate::onnx::cut::Classifier;
use crate::onnx::{Model, surgery};
use crate::progress::{Event, Progress, emit};
use images::{pixels, plain, sample, values};
use ndarray::{Array2, ArrayD};
use rayon::prelude::*;
use scores::{Scores, best, choose, difference, mean};
use serde::Serialize;

/// Conventions for colour images, the commonest first.
const COLOUR: [&str; 12] = [
    "imagenet",
    "raw01",
    "inception",
    "raw255",
    "caffe",
    "efficientnet-lite",
    "clip",
    "imagenet,color=bgr",
    "raw01,color=bgr",
    "inception,color=bgr",
    "raw255,color=bgr",
    "caffe,color=rgb",
];
const GREY: [&str; 4] = ["imagenet,color=gray", "raw01,color=gray", "inception,color=gray", "raw255,color=gray"];
/// Images that are looked at, first by all conventions, then by those that can still be the best.
const IMAGES: [usize; 3] = [64, 200, 600];
/// Fewer tell nothing.
pub(super) const LEAST: usize = 24;
/// How much better than the commonest class neighbours or a probe must be.
const CHANCE: f64 = 0.1;
/// Conventions that are so many standard errors worse on these images are out.
const HOPELESS: [f64; 3] = [3., 1.5, f64::MAX];
const BATCH: usize = 8;

/// What the images say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// How many images.
    pub images: usize,
    /// All that were compared on all of them, the commonest first.
    pub candidates: Vec<Candidate>,
    /// The place of the chosen one.
    pub chosen: usize,
    /// How far its score is above the best other one's, and the standard error of that.
    pub margin: [f64; 2],
    /// That other one's place.
    pub runner_up: usize,
}

/// A preprocessing and how it fares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// As `--preprocess` takes it.
    pub spec: String,
    /// The share of images whose nearest neighbour has their class, leave-one-out.
    pub neighbours: f64,
    /// The share that a linear probe gives their class, leave-one-out.
    pub probe: f64,
    /// What the old head tells of an image, in nats.
    pub information: Option<f64>,
    /// The mean of the first two, and the third relative to the most that it could be.
    pub score: f64,
}

/// A convention that is being tried.
struct Trial {
    spec: String,
    preprocessing: Preprocessing,
    features: Vec<f32>,
    old: Vec<f32>,
}

/// Decides the preprocessing of `plan` by the training images of `data` where it is a guess. Gives the extractor with it.
///
/// # Errors
/// [`Error::Engine`], [`Error::Interrupted`].
pub fn decide(
    plan: &mut Plan,
    model: &Model,
    backend: &Backend,
    data: &Dataset,
    extractor: Extractor,
    progress: Progress,
) -> Result<Extractor> {
    let specs: &[&str] = match plan.input.channels {
        _ if !plan.guessed || plan.input.data_type == "uint8" => return Ok(extractor),
        3 => &COLOUR,
        1 => &GREY,
        _ => return Ok(extractor),
    };
    let items = sample(data, IMAGES[2]);
    if items.len() < LEAST {
        return Ok(extractor);
    }
    let mut tester = Tester::new(plan, model, backend, data, items)?;
    // The order of equal channels is nobody's concern.
    let equal = plan.input.channels == 3 && tester.are_grey()?;
    let specs = specs.iter().filter(|spec| !equal || !spec.contains("color="));
    let values = tester.compare(specs.map(|spec| spec.to_string()).collect(), false, progress)?;
    let Some(values) = values else { return Ok(extractor) };
    let best = values.candidates[values.chosen].spec.clone();
    let side = plan.input.height;
    let mut shapes = vec![best.clone(), format!("{best},crop=none")];
    if plan.input.height == plan.input.width {
        shapes.push(format!("{best},resize=long:{side},crop={side}x{side}"));
    }
    let shapes = tester.compare(shapes, true, progress)?.unwrap_or_else(|| values.clone());
    let spec = shapes.candidates[shapes.chosen].spec.clone();
    let preprocessing = parsed(&spec)?.resolve(plan.input.height, plan.input.width)?;
    let extractor = extractor.with_preprocessing(preprocessing.clone());
    plan.preprocessing = preprocessing;
    plan.preprocessing_source = format!("trying conventions on {} of the images: '{spec}'", values.images);
    plan.notes.retain(|note| !note.starts_with(Sourced::GUESS));
    plan.notes.extend([&values, &shapes].map(Evidence::told));
    plan.evidence = vec![values, shapes];
    Ok(extractor)
}

impl Evidence {
    fn told(&self) -> String {
        let [chosen, other] = [self.chosen, self.runner_up].map(|place| &self.candidates[place]);
        let [margin, error] = self.margin;
        let percent = |share: f64| format!("{:.0} %", 100. * share);
        let near = if margin > error { "" } else { ", within noise" };
        let side = if margin < 0. { "ahead" } else { "behind" };
        format!(
            "preprocessing '{}' was chosen by trying it on {} of the images: nearest neighbours are right for {}, a linear \
             probe for {}; '{}' is {:.3} ± {error:.3} {side}{near}",
            chosen.spec,
            self.images,
            percent(chosen.neighbours),
            percent(chosen.probe),
            other.spec,
            margin.abs()
        )
    }
}

/// Runs conventions over the sample.
struct Tester<'a> {
    plan: &'a Plan,
    data: &'a Dataset,
    items: Vec<&'a Item>,
    engine: Box<dyn Engine>,
    /// What the old head's output means, where there is one.
    old: Option<Activation>,
}

impl<'a> Tester<'a> {
    fn new(
        plan: &'a Plan,
        model: &Model,
        backend: &Backend,
        data: &'a Dataset,
        items: Vec<&'a Item>,
    ) -> Result<Tester<'a>> {
        let open = |model: &Model| backend.open(model, &plan.input.axes(), available_threads());
        let cut = &plan.surgery;
        let whole = !matches!(cut.classifier, Classifier::None | Classifier::Chosen) && !cut.decided;
        let both = whole.then(|| open(&surgery::with_old_head(model, cut, &plan.pooling)).ok()).flatten();
        let old = both.is_some().then(|| Activation::of(model.graph(), cut));
        let engine = match both {
            Some(engine) => engine,
            None => open(&surgery::backbone(model, cut, &plan.pooling))?,
        };
        Ok(Tester { plan, data, items, engine, old })
    }

    /// Compares conventions in their values, or in their geometry. `None` where nothing can be told.
    fn compare(&mut self, specs: Vec<String>, geometry: bool, progress: Progress) -> Result<Option<Evidence>> {
        let (height, width) = (self.plan.input.height, self.plan.input.width);
        let mut trials: Vec<Trial> = Vec::new();
        for spec in specs {
            let mut preprocessing = parsed(&spec)?.resolve(height, width)?;
            // Conventions for values differ in their filters, too, which is of no weight, but costs a pass over the images.
            if let Some(first) = trials.first().filter(|_| !geometry) {
                let Preprocessing { resize, filter, crop, .. } = first.preprocessing;
                preprocessing = Preprocessing { resize, filter, crop, ..preprocessing };
            }
            trials.push(Trial { spec, preprocessing, features: Vec::new(), old: Vec::new() });
        }
        let (mut done, mut labels, mut scores) = (0, Vec::new(), Vec::new());
        for (count, hopeless) in IMAGES.into_iter().zip(HOPELESS) {
            let items: Vec<&Item> = self.items.iter().take(count).skip(done).copied().collect();
            if items.is_empty() {
                break;
            }
            done += items.len();
            let total = (items.len() * trials.len()) as u64;
            emit(progress, Event::Stage { name: "comparing preprocessings", total })?;
            let read = self.run(&items, &mut trials, progress)?;
            labels.extend(read);
            trials.retain(|trial| !trial.features.is_empty());
            scores = trials.iter().map(|trial| self.scores(trial, &labels)).collect::<Vec<Scores>>();
            let Some(best) = best(&scores).filter(|_| labels.len() >= LEAST) else { return Ok(None) };
            if done < self.items.len() {
                let near = |other: &Scores| {
                    let (behind, error) = difference(&scores[best], other);
                    behind <= hopeless * error
                };
                let near: Vec<bool> = scores.iter().map(near).collect();
                if near.iter().filter(|&&near| near).count() < 2 {
                    break;
                }
                let mut near = near.into_iter();
                trials.retain(|_| near.next().unwrap_or(true));
            }
        }
        // Features that tell no classes apart tell nothing of what they are made of.
        let most = self.data.counts(Split::Train).into_iter().max().unwrap_or(0);
        let chance = most as f64 / self.data.split(Split::Train).count().max(1) as f64;
        let told = choose(scores, labels.len());
        Ok(told.filter(|told| told.candidates.iter().any(|one| one.probe.max(one.neighbours) > chance + CHANCE)))
    }

    /// Whether the first images have three equal channels.
    fn are_grey(&self) -> Result<bool> {
        let p = parsed("raw255")?.resolve(self.plan.input.height, self.plan.input.width)?;
        let grey = |item: &&Item| {
            let values = pixels(self.data, item, &p);
            let plane = values.len() / 3;
            values[..plane] == values[plane..2 * plane] && values[..plane] == values[2 * plane..]
        };
        Ok(self.items.iter().take(LEAST).collect::<Vec<_>>().par_iter().all(|item| grey(item)))
    }

    /// Adds what each trial makes of these images; gives the labels of those that can be read.
    fn run(&mut self, items: &[&Item], trials: &mut [Trial], progress: Progress) -> Result<Vec<usize>> {
        let mut labels = Vec::new();
        for chunk in items.chunks(BATCH) {
            let mut kept: Vec<(Preprocessing, Vec<Vec<u8>>)> = Vec::new();
            for trial in trials.iter_mut() {
                let plain = plain(&trial.preprocessing);
                let place = kept.iter().position(|(known, _)| *known == plain);
                let place = place.unwrap_or_else(|| {
                    let read = |item: &&Item| pixels(self.data, item, &plain);
                    kept.push((plain.clone(), chunk.par_iter().map(read).collect()));
                    kept.len() - 1
                });
                let images: Vec<&Vec<u8>> = kept[place].1.iter().filter(|pixels| !pixels.is_empty()).collect();
                if !images.is_empty() {
                    self.add(trial, &images)?;
                }
            }
            let read = kept.first().map_or(&[][..], |(_, images)| &images[..]);
            labels.extend(chunk.iter().zip(read).filter(|(_, pixels)| !pixels.is_empty()).map(|(item, _)| item.label));
            emit(progress, Event::Advance((chunk.len() * trials.len()) as u64))?;
        }
        Ok(labels)
    }

    fn add(&mut self, trial: &mut Trial, images: &[&Vec<u8>]) -> Result<()> {
        let (p, layout) = (&trial.preprocessing, self.plan.input.layout);
        let values = images.iter().flat_map(|pixels| values(pixels, p, layout)).collect();
        let input = ArrayD::from_shape_vec(p.shape(images.len(), layout).to_vec(), values);
        let input = input.map_err(|e| Error::Engine(e.to_string()))?;
        let found = self.engine.run(input.view())?;
        // Wrong values can overflow: that convention is none.
        trial.features.extend(found[0].iter().map(|value| if value.is_finite() { *value } else { 0. }));
        if self.old.is_some() {
            trial.old.extend(found[1].iter().map(|value| if value.is_finite() { *value } else { 0. }));
        }
        Ok(())
    }

    fn scores(&self, trial: &Trial, labels: &[usize]) -> Scores {
        let images = labels.len();
        let rows =
            |values: &[f32]| Array2::from_shape_vec((images, values.len() / images.max(1)), values.to_vec()).ok();
        let features = rows(&trial.features).unwrap_or_default();
        let near = nearest_agree(features.view(), labels);
        let probe = probe_agrees(features.view(), labels, self.data.classes.len());
        let told = self.old.zip(rows(&trial.old).filter(|old| old.ncols() > 1));
        let told = told.map(|(activation, old)| information(activation.probabilities(old.view()).view()));
        let most = (images as f64).ln();
        let half = |agrees: bool| if agrees { 0.5 } else { 0. };
        let each =
            (0..images).map(|i| half(near[i]) + half(probe[i]) + told.as_ref().map_or(0., |told| told[i] / most));
        let each: Vec<f64> = each.collect();
        let share = |agree: &[bool]| agree.iter().filter(|&&agrees| agrees).count() as f64 / images.max(1) as f64;
        let candidate = Candidate {
            spec: trial.spec.clone(),
            neighbours: share(&near),
            probe: share(&probe),
            information: told.map(|told| mean(&told)),
            score: mean(&each),
        };
        Scores { candidate, each }
    }
}
