//! The work between the plan and the figures: a new head, or training inside the network.

use super::AdaptOptions;
use super::beginning::{Begun, Fitted, begin};
use super::clock::Clock;
use super::epochs::Epochs;
use super::inside::Job;
use super::progress::Reporter;
use adapt::data::{Dataset, Split, Task};
use adapt::engine::{Backend, Extractor, KeptRows};
use adapt::metrics::projection::principal;
use adapt::metrics::{Answers, Outlier, sigmoid};
use adapt::onnx::Model;
use adapt::plan::{Plan, available_threads};
use adapt::progress::{Event, Progress, emit};
use adapt::report::{Adapted, AnyHead, OutDir, Problems, TrainingInfo, csv};
use adapt::train::heads::thresholds;
use adapt::train::tune::{Epoch, readable};
use adapt::train::{Features, vary};
use adapt::verify::IMAGES;
use adapt::{Error, Result};
use ndarray::{Array2, Axis, concatenate, s};
use std::collections::BTreeMap;

/// What all stages look at.
pub struct Work<'a> {
    pub options: &'a AdaptOptions,
    pub model: &'a Model,
    pub plan: &'a Plan,
    pub backend: &'a Backend,
    pub out: &'a OutDir,
    pub reporter: &'a Reporter,
    pub progress: Progress<'a>,
}

/// What training made, and what it saw of the images that prove it.
pub struct Made {
    pub adapted: Adapted,
    /// The scores of each split's images.
    pub scores: [Features; 3],
    /// The images for the proof, the scores that training gives them, and their features where those were not trained.
    pub sample: Vec<String>,
    pub expected: Array2<f32>,
    pub features: Option<Array2<f32>>,
    /// The held-out images on a plane, by their features where those were not trained, else by their scores: `[images, 2]`
    pub map: Array2<f32>,
    pub head: Option<AnyHead>,
    /// What the nearest class mean reaches on the features as they were before any training, where they are known.
    pub nearest_mean: BTreeMap<Split, Answers>,
    /// What tells images that are unlike those of the training, where there are classes and the features were not trained.
    pub outlier: Option<Outlier>,
    /// From which probability on labels are given.
    pub thresholds: Vec<f32>,
    /// With what training decided.
    pub plan: Plan,
    pub training: Option<TrainingInfo>,
    /// What is wrong with the images, where it was looked for.
    pub problems: Option<Problems>,
}

/// A new head on frozen features.
pub fn head(work: &Work, data: &mut Dataset, mut extractor: Extractor, clock: &mut Clock) -> Result<Made> {
    // All before the training, so that an image that cannot be read costs no more time than it must.
    let mut parts = work.all_features(data, &mut extractor, clock)?;
    work.tells(&parts[0])?;
    // With large models the session's memory is needed again.
    drop(extractor);
    let fitted = Fitted::screened(work, &mut parts, data, clock, |work, features, data, spent| {
        work.choose(features, data, spent)
    })?;
    let (nearest_mean, outlier) = (work.nearest_mean(&parts, data)?, work.outlier(&parts[0], data));
    let plan = Plan { head: fitted.name, ..work.plan.with_taps(fitted.taps) };
    parts.iter_mut().for_each(|part| part.keep_columns(plan.features));
    clock.lap(|seconds| &mut seconds.train);
    let adapted = Adapted::with_hidden(work.model, &plan, fitted.hidden.as_ref(), &fitted.head)?;
    let sample = Features::sample(parts.iter().rev(), IMAGES);
    let map = map([&parts[1], &parts[2]]);
    let mut last = sample.rows.clone();
    if let Some(hidden) = &adapted.hidden {
        let own = parts.iter_mut().filter(|part| !part.paths.is_empty()).map(|part| &mut part.rows);
        own.chain([&mut last]).try_for_each(|rows| hidden.activated(rows.view()).map(|values| *rows = values))?;
    }
    let [train, val, test] = parts;
    let scores = [train.scored(&adapted.head)?, val.scored(&adapted.head)?, test.scored(&adapted.head)?];
    let mut told = fitted.told;
    if let AnyHead::Classes(head) = &mut told {
        head.held_out(&scores);
    }
    Ok(Made {
        scores,
        expected: adapted.head.logits(last.view())?,
        sample: sample.paths,
        features: Some(sample.rows),
        map,
        head: Some(told),
        nearest_mean,
        outlier,
        thresholds: fitted.thresholds,
        plan,
        adapted,
        training: None,
        problems: fitted.problems,
    })
}

/// The network itself, from a head on that is trained first.
pub fn inside(work: &Work, mut job: Job, data: &mut Dataset, extractor: Extractor, clock: &mut Clock) -> Result<Made> {
    let Begun { probe, problems, mut kept, mut unseen, nearest_mean } = begin(work, &job, data, extractor, clock)?;
    if job.keeps() && kept.is_empty() {
        (_, kept) = job.keep(work, data, None)?;
        if !unseen.is_empty() {
            unseen = &[Split::Test];
        }
    }
    readable(data, unseen, work.plan.preprocessing.color.has_alpha(), work.options.strict, work.progress)?;
    job.recount(work, data);
    job.shorten(work, clock)?;
    let mut rows = Epochs::new(job.epochs());
    let mut told = Vec::new();
    let mut row = |epoch: &Epoch| {
        work.reporter.say_beside(&rows.row(epoch));
        told.push(epoch.clone());
        if rows.are_due() { work.out.write("results.csv", &csv(&told)?) } else { Ok(()) }
    };
    let tuned = job.train(work, data, probe.as_ref().map(|fitted| &fitted.head), &kept, &mut row)?;
    work.out.write("results.csv", &csv(&tuned.epochs)?)?;
    clock.lap(|seconds| &mut seconds.train);
    if let Some(what) = TrainingInfo::no_gain(&tuned) {
        emit(work.progress, Event::Warning(what))?;
    }
    job.put(work, &tuned)?;
    let is_start = tuned.best == Some(0) || job.settings.steps == 0;
    let engine = work.backend.open(&job.adapted.scores(), &work.plan.input.axes(), available_threads())?;
    let mut extractor = Extractor::new(engine, 0, work.plan.preprocessing.clone(), work.plan.input.layout);
    let mut scores = |split, kept: Option<&KeptRows>| match kept {
        Some(kept) => job.scores(work, data, split, kept, &tuned),
        None => Features::extract(data, split, &mut extractor, work.progress),
    };
    let scores = [scores(Split::Train, kept.first())?, scores(Split::Val, kept.get(1))?, scores(Split::Test, None)?];
    let sample = Features::sample(scores.iter().rev(), IMAGES).paths;
    let expected = job.logits(work, data, &sample, &tuned)?;
    clock.lap(|seconds| &mut seconds.extract_eval);
    let map = map([&scores[1], &scores[2]]);
    let training = Some(TrainingInfo::new(&job.settings, job.start(), tuned));
    let (adapted, plan) = job.finished(work, is_start, probe.as_ref())?;
    let (head, thresholds) = (probe.map(|fitted| fitted.told), thresholds_by(&scores[1], data));
    Ok(Made {
        adapted,
        scores,
        sample,
        expected,
        features: None,
        map,
        head,
        nearest_mean,
        outlier: None,
        thresholds,
        plan,
        training,
        problems,
    })
}

/// The thresholds that suit what the trained network gives for the validation images: a probe's suit the probe.
fn thresholds_by(val: &Features, data: &Dataset) -> Vec<f32> {
    match data.task {
        Task::Multilabel if val.paths.is_empty() => vec![0.5; data.classes.len()],
        Task::Multilabel => thresholds(data.truth(&val.labels).view(), val.rows.mapv(sigmoid).view()),
        _ => Vec::new(),
    }
}

/// The images of parts, one behind the other, on a plane.
fn map(parts: [&Features; 2]) -> Array2<f32> {
    let rows: Vec<_> = parts.into_iter().filter(|part| !part.paths.is_empty()).map(|part| part.rows.view()).collect();
    match rows.is_empty() {
        true => Array2::zeros((0, 2)),
        false => principal(concatenate(Axis(0), &rows).expect("rows of one network are as long").view()),
    }
}

impl Work<'_> {
    pub(super) fn features(&self, data: &mut Dataset, split: Split, extractor: &mut Extractor) -> Result<Features> {
        Features::extract(data, split, extractor, self.progress)
    }

    /// Refuses features at the cut of which the image has no part: what a head made of them would be rounding.
    fn tells(&self, train: &Features) -> Result<()> {
        if vary(train.rows.slice(s![.., ..self.plan.features])) {
            return Ok(());
        }
        let what =
            format!("its features at '{}' are the same for all images, so nothing can be learned", self.plan.cut);
        let what =
            format!("{what}; choose another tensor with --cut (adapt inspect lists them), or check --preprocess");
        Err(Error::model(&self.model.path, what))
    }

    /// Those of all splits, in order.
    pub(super) fn all_features(
        &self,
        data: &mut Dataset,
        extractor: &mut Extractor,
        clock: &mut Clock,
    ) -> Result<[Features; 3]> {
        let train = self.features(data, Split::Train, extractor)?;
        clock.lap(|seconds| &mut seconds.extract_train);
        let val = self.features(data, Split::Val, extractor)?;
        let test = self.features(data, Split::Test, extractor)?;
        clock.lap(|seconds| &mut seconds.extract_eval);
        Ok([train, val, test])
    }
}
