//! Preprocessing decided from the user's images, where nothing tells it: the conventions that people use are tried on a
//! sample, and compared by how well features separate the classes and how much the old head tells.

mod images;
mod runner;
mod scores;
mod trials;

use super::preprocessing::{Sourced, parsed};
use super::{Plan, PlanOptions, size};
use crate::data::{Dataset, Preprocessing};
use crate::engine::{Backend, Cache, Extractor};
use crate::error::{Error, Result};
use crate::onnx::Model;
use crate::progress::Progress;
use images::sample;
use runner::Runner;
use scores::is_noise;
use serde::Serialize;
use trials::{Sample, Trial};

/// Conventions for colour images, the commonest first.
const COLOUR: [&str; 14] = [
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
    "efficientnet-lite,color=bgr",
    "clip,color=bgr",
];
const GREY: [&str; 4] = ["imagenet,color=gray", "raw01,color=gray", "inception,color=gray", "raw255,color=gray"];
/// Fewer tell nothing.
pub(super) const LEAST: usize = 24;
/// Sides that are tried of a model that takes any, after the usual one.
const SIDES: [u32; 5] = [160, 192, 256, 288, 384];
/// Engines for all sizes are open at the same time: what their weights may take in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// What the images say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// How many images.
    pub images: usize,
    /// All that were compared on all of them, the commonest first.
    pub candidates: Vec<Candidate>,
    /// The place of the chosen one.
    pub chosen: usize,
    /// How far its score is above the runner-up's, and the standard error of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<[f64; 2]>,
    /// The place of the best other one that does not score the same for each image, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<usize>,
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

impl Evidence {
    fn chosen(&self) -> &Candidate {
        &self.candidates[self.chosen]
    }

    fn told(&self) -> String {
        let chosen = self.chosen();
        let percent = |share: f64| format!("{:.0} %", 100. * share);
        let other = self.runner_up.zip(self.margin).map(|(other, [margin, error])| {
            let near = if is_noise(margin, error) { ", within noise: the commoner one is taken" } else { "" };
            let side = if margin < 0. { "ahead" } else { "behind" };
            format!("; '{}' is {:.3} ± {error:.3} {side}{near}", self.candidates[other].spec, margin.abs())
        });
        format!(
            "preprocessing '{}' was chosen by trying it on {} of the images: nearest neighbours are right for {}, a linear \
             probe for {}{}",
            chosen.spec,
            self.images,
            percent(chosen.neighbours),
            percent(chosen.probe),
            other.unwrap_or_default()
        )
    }
}

/// A plan, the model as it left it, and what runs it.
type Made = (Plan, Model, Extractor);

/// What a decision is made with.
pub struct Trying<'a> {
    /// What runs the model.
    pub backend: &'a Backend,
    /// What the plan was made by.
    pub options: &'a PlanOptions,
    /// The images.
    pub data: &'a Dataset,
    /// Where features are kept for later runs.
    pub cache: Option<&'a Cache>,
    /// Told of the work.
    pub progress: Progress<'a>,
}

impl Trying<'_> {
    /// Decides the preprocessing of `plan` by the training images where it is a guess, and the size of images where the model
    /// takes any. Gives the extractor with it; for another size `plan` and `model` are as [`Plan::prepare`] makes them.
    ///
    /// # Errors
    /// [`Error::Engine`], [`Error::Interrupted`].
    pub fn decide(&self, plan: &mut Plan, model: &mut Model, extractor: Extractor) -> Result<Extractor> {
        let specs: &[&str] = match plan.input.channels {
            _ if !plan.guessed => return Ok(extractor),
            3 => &COLOUR,
            1 => &GREY,
            _ => return Ok(extractor),
        };
        let sample = Sample { data: self.data, items: sample(self.data), progress: self.progress };
        if sample.items.len() < LEAST {
            return Ok(extractor);
        }
        // Bytes are pixels as they are: what is open are the order of the channels and the geometry.
        let bytes = plan.input.data_type == "uint8";
        let side = [plan.input.height, plan.input.width];
        let mut runners = vec![self.runner(plan, model)?];
        // The order of equal channels is nobody's concern.
        let equal = plan.input.channels == 3 && sample.are_grey(&resolved("raw255", side)?);
        let mut trials: Vec<Trial> = Vec::new();
        let worth = |spec: &&&str| (!equal || !spec.contains("color=")) && (!bytes || spec.starts_with("raw255"));
        for spec in specs.iter().filter(worth) {
            let mut preprocessing = resolved(spec, side)?;
            // Conventions for values differ in their filters, too, which is of no weight, but costs a pass over the images.
            if let Some(Preprocessing { resize, filter, crop, .. }) = trials.first().map(|first| &first.preprocessing) {
                preprocessing = Preprocessing { resize: *resize, filter: *filter, crop: *crop, ..preprocessing };
            }
            trials.push(Trial::new(spec, preprocessing, &mut runners[0], 0));
        }
        let Some(values) = sample.compare(trials, &mut runners)? else { return Ok(extractor) };
        let best = values.chosen().spec.clone();
        let shapes = shapes(&best, side);
        let trials = shapes.iter().map(|spec| Ok(Trial::new(spec, resolved(spec, side)?, &mut runners[0], 0)));
        let geometry = sample.compare(trials.collect::<Result<_>>()?, &mut runners)?;
        let geometry = geometry.unwrap_or_else(|| values.clone());
        let mut spec = geometry.chosen().spec.clone();
        let mut evidence = vec![values, geometry];
        let mut extractor = extractor;
        if side[0] == side[1] && size::is_open(model, self.options)? {
            let shape = shapes.iter().position(|shape| *shape == spec).unwrap_or(0);
            let found = self.sizes(&sample, runners, (plan, model), &spec, |side| sized(&best, shape, side))?;
            if let Some((sizes, other)) = found {
                spec = sizes.chosen().spec.clone();
                evidence.push(sizes);
                if let Some((its_plan, its_model, its_extractor)) = other {
                    (*plan, *model, extractor) = (its_plan, its_model, its_extractor);
                }
            }
        }
        plan.preprocessing = resolved(&spec, [plan.input.height, plan.input.width])?;
        plan.preprocessing_source = format!("trying conventions on {} of the images: '{spec}'", evidence[0].images);
        plan.notes.retain(|note| !note.starts_with(Sourced::GUESS));
        plan.notes.extend(evidence.iter().map(Evidence::told));
        plan.evidence = evidence;
        Ok(extractor.with_preprocessing(plan.preprocessing.clone()))
    }

    fn runner(&self, plan: &Plan, model: &Model) -> Result<Runner> {
        Runner::new(plan, model, self.backend, self.cache)
    }

    /// Compares sizes, at which `spec` becomes what `sized` says. With the plan, the model and the extractor for another size
    /// than the plan's where that is better.
    fn sizes(
        &self,
        sample: &Sample,
        mut runners: Vec<Runner>,
        (plan, model): (&Plan, &Model),
        spec: &str,
        sized: impl Fn(u32) -> String,
    ) -> Result<Option<(Evidence, Option<Made>)>> {
        let own = plan.input.height;
        let mut trials = vec![Trial::new(spec, resolved(spec, [own; 2])?, &mut runners[0], 0)];
        let prepared = |spec: &str| {
            let (preprocess, mut its) = (Some(parsed(spec)?), model.clone());
            let options = PlanOptions { preprocess, ..self.options.clone() };
            let (mut its_plan, extractor) = Plan::prepare(&mut its, self.backend, &options, self.progress)?;
            its_plan.surgery.data_type = plan.surgery.data_type;
            // The model is as the first plan left it: what was changed is told there.
            let known = |note: &String| plan.notes.contains(note);
            let new: Vec<String> = its_plan.notes.into_iter().filter(|note| !known(note)).collect();
            its_plan.notes = plan.notes.iter().cloned().chain(new).collect();
            its_plan.guessed = plan.guessed;
            Ok((its_plan, its, extractor))
        };
        let most = MOST_BYTES / size::weights(model).max(1);
        for side in SIDES.into_iter().filter(|&side| side != own).take(most as usize) {
            match prepared(&sized(side)) {
                Ok((its_plan, its, _)) => {
                    runners.push(self.runner(&its_plan, &its)?);
                    let (spec, place) = (sized(side), runners.len() - 1);
                    trials.push(Trial::new(&spec, its_plan.preprocessing, &mut runners[place], place));
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                // Not a size that the model takes.
                Err(_) => {}
            }
        }
        if trials.len() == 1 {
            return Ok(None);
        }
        let Some(found) = sample.compare(trials, &mut runners)? else { return Ok(None) };
        let chosen = found.chosen().spec.clone();
        drop(runners);
        let other = if chosen == spec { None } else { Some(prepared(&chosen)?) };
        Ok(Some((found, other)))
    }
}

fn resolved(spec: &str, [height, width]: [u32; 2]) -> Result<Preprocessing> {
    parsed(spec)?.resolve(height, width)
}

/// A convention with the usual resize and crop, squashed, and padded where that is a square.
fn shapes(spec: &str, [height, width]: [u32; 2]) -> Vec<String> {
    let mut shapes = vec![spec.to_owned(), format!("{spec},crop=none")];
    if height == width {
        shapes.push(format!("{spec},resize=long:{width},crop={width}x{width}"));
    }
    shapes
}

/// One of [`shapes`] for another side.
fn sized(spec: &str, shape: usize, side: u32) -> String {
    match shape {
        0 => format!("{spec},crop={side}x{side}"),
        1 => format!("{spec},resize={side}x{side}"),
        _ => format!("{spec},resize=long:{side},crop={side}x{side}"),
    }
}
