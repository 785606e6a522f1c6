//! Which of several models suits a data set: each one's features of a sample once, and what tells of them without adapting
//! the model.

mod cost;
mod sample;

use crate::data::{Dataset, Item, Skipped};
use crate::engine::{Backend, Cache};
use crate::error::{Error, Result};
use crate::metrics::argmax;
use crate::metrics::separation::{nearest_agree, probe_agrees};
use crate::metrics::transfer::{h_score, logme};
use crate::onnx::graph::parameters;
use crate::onnx::{Model, surgery};
use crate::plan::evidence::Trying;
use crate::plan::{Plan, PlanOptions, preprocessing};
use crate::progress::{Event, Progress, emit, silent};
use crate::train::{Options, softmax_out_of_fold};
pub use cost::{Cost, Meter};
use ndarray::{Array2, Axis};
use prost::Message;
use serde::Serialize;
use std::path::PathBuf;

/// Weights of a head, features times classes, up to which the probe is a softmax regression: beyond, it would take minutes. Where
/// one model has more, ridge regression probes all of them.
const LARGEST_HEAD: usize = 400_000;

/// A model and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// Its file, or the embedded model's name.
    pub model: String,
    /// Size of the file in bytes, external data included; none where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Numbers among its stored tensors: weights, and the statistics of batch norms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// None where it could not be judged.
    #[serde(flatten)]
    pub judged: Option<Judged>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a model's features tell of the classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// Images of the sample that could be read.
    pub images: usize,
    /// Features an image.
    pub features: usize,
    /// How the preprocessing was found.
    pub preprocessing: String,
    /// The share of images whose nearest other one (cosine) has their class.
    pub neighbours: f64,
    /// The share of images that a linear probe gives their class which has not seen them.
    pub probe: f64,
    /// The standard error of that share.
    pub probe_error: f64,
    /// What the probe is.
    pub probe_kind: Probe,
    /// See [`logme`].
    pub logme: f64,
    /// See [`h_score`].
    pub h_score: f64,
    /// What running it takes.
    #[serde(flatten)]
    pub cost: Cost,
}

/// A linear classifier on frozen features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Softmax regression in five folds, each judged by the others', its strength that of the lowest loss.
    Softmax,
    /// Ridge regression on the classes' indicators, each image left out in closed form: for all models where one has too large a head.
    Ridge,
}

/// What models are ranked by.
pub struct Ranking<'a> {
    /// Its training images are used.
    pub data: &'a Dataset,
    /// Who runs the models.
    pub backend: &'a Backend,
    /// Where features are kept.
    pub cache: Option<&'a Cache>,
    /// What is decided for all models alike.
    pub options: PlanOptions,
    /// Images at most, spread over the classes as all are.
    pub images: usize,
    /// Chooses them, and the folds.
    pub seed: u64,
    /// Measures what running a frozen part takes, given how its images are shaped: [`Meter`] does, best in a process of its own.
    pub measure: &'a dyn Fn(&Model, &Plan) -> Result<Cost>,
    /// Hears of all of it.
    pub progress: Progress<'a>,
}

/// What a model may cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Milliseconds an image.
    pub ms: Option<f64>,
    /// Megabytes (10⁶ bytes) of the file.
    pub mb: Option<f64>,
}

impl Limits {
    /// Whether a model was judged and stays within them.
    pub fn allow(&self, ranked: &Ranked) -> bool {
        let within = |limit: Option<f64>, value: f64| limit.is_none_or(|limit| value <= limit);
        let mb = ranked.bytes.unwrap_or(0) as f64 / 1e6;
        let cheap = |judged: &Judged| within(self.ms, judged.cost.ms) && within(self.mb, mb);
        ranked.judged.as_ref().is_some_and(cheap)
    }
}

impl Ranking<'_> {
    /// Judges these models (the embedded one where there is no file), the best probe first; of equal ones the smaller file. Those that cannot be judged come last, each with its reason.
    /// Then the images that could not be read.
    ///
    /// # Errors
    /// [`Error::Data`] where fewer than two classes have training images that can be read, and [`Error::Interrupted`].
    pub fn rank(&self, files: &[Option<PathBuf>]) -> Result<(Vec<Ranked>, Vec<Skipped>)> {
        let items = sample::sample(self.data, self.images, self.seed);
        let first = items.first().map(|item| item.label);
        if items.iter().all(|item| Some(item.label) == first) {
            let what = "all training images are of one class: there is nothing to tell apart";
            return Err(Error::data(self.data.source.place(), what));
        }
        let (mut ranked, mut features, mut skipped): (Vec<Ranked>, _, _) = (Vec::new(), Vec::new(), Vec::new());
        let is_ridge = |one: &Ranked| one.judged.as_ref().is_some_and(|judged| judged.probe_kind == Probe::Ridge);
        for file in files {
            let name = file.as_ref().map_or(preprocessing::BUILTIN.into(), |file| file.display().to_string());
            let mut one = Ranked { model: name, bytes: None, parameters: None, judged: None, error: None };
            let judged = file.as_ref().map_or_else(preprocessing::builtin, Model::open).and_then(|model| {
                one.bytes = Some(model.proto.encoded_len() as u64);
                one.parameters = Some(parameters(model.graph()));
                self.judge(model, &one.model, &items, &mut skipped)
            });
            match judged {
                Ok(None) => {
                    let first = skipped.first().map(|first| format!("; first: {}: {}", first.path, first.reason));
                    let what = "fewer than two classes have two training images or more that can be read, \
                                which judging a model takes (--val 0 holds none out)";
                    return Err(Error::data(self.data.source.place(), what.to_owned() + &first.unwrap_or_default()));
                }
                Ok(Some((judged, own))) => {
                    let by_ridge = judged.probe_kind == Probe::Ridge;
                    one.judged = Some(judged);
                    features.extend((!by_ridge).then_some((ranked.len(), own)));
                }
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => one.error = Some(error.to_string()),
            }
            ranked.push(one);
            // Shares by different probes would not stand in one order.
            if ranked.iter().any(is_ridge) {
                for (place, own) in features.drain(..) {
                    emit(self.progress, Event::Advance(0))?;
                    ranked[place].judged.iter_mut().for_each(|judged| judged.by(Probe::Ridge, &own.by_ridge()));
                }
            }
        }
        // Not by time, which is another in every run.
        let worth =
            |one: &Ranked| (one.judged.as_ref().map_or(-1., |judged| judged.probe), std::cmp::Reverse(one.bytes));
        ranked.sort_by(|a, b| worth(b).partial_cmp(&worth(a)).unwrap_or(std::cmp::Ordering::Equal));
        Ok((ranked, skipped))
    }

    /// Nothing where fewer than two classes have images that can be read; `skipped` are those that cannot.
    fn judge(
        &self,
        mut model: Model,
        name: &str,
        items: &[&Item],
        skipped: &mut Vec<Skipped>,
    ) -> Result<Option<(Judged, Sample)>> {
        let (mut plan, extractor) = Plan::make(&mut model, self.backend, &self.options, self.progress)?;
        let (backend, options) = (self.backend, &self.options);
        let trying = Trying { backend, options, data: self.data, cache: self.cache, progress: self.progress };
        let extractor = trying.decide(&mut plan, &mut model, extractor)?;
        let images = self.data.items.len();
        let mut extractor = plan.cached_with_depths(extractor, (&model, backend), images, self.cache);
        // What the audit and the head of the model that is chosen will want to know.
        extractor.look_for_later();
        let paths: Vec<&str> = items.iter().map(|item| item.path.as_str()).collect();
        let stage = format!("features of {}", name.rsplit(['/', '\\']).next().unwrap_or(name));
        let found = extractor.run(&self.data.source, &paths, &stage, self.progress)?;
        drop(extractor);
        // The same of every model.
        *skipped = found.skipped;
        let labels = found.places.iter().map(|&place| items[place].label).collect();
        let sample = several(found.rows, labels);
        let Sample { rows, labels, classes } = &sample;
        if *classes < 2 {
            return Ok(None);
        }
        // Each takes a minute where images, features and classes are many.
        emit(self.progress, Event::Stage { name: "judging features", total: 4 })?;
        let done = || emit(self.progress, Event::Advance(1));
        let (kind, agree) = self.probe(&sample)?;
        done()?;
        let near = share(&nearest_agree(rows.view(), labels));
        done()?;
        let logme = logme(rows.view(), labels, *classes);
        done()?;
        let h_score = h_score(rows.view(), labels, *classes);
        done()?;
        emit(self.progress, Event::Stage { name: "measuring", total: 0 })?;
        let cost = (self.measure)(&surgery::backbone(&model, &plan.surgery, &plan.pooling), &plan);
        // An interruption reaches whoever measures, too.
        emit(self.progress, Event::Advance(0))?;
        let mut judged = Judged {
            images: labels.len(),
            features: rows.ncols(),
            preprocessing: plan.preprocessing_source,
            neighbours: near,
            probe: 0.,
            probe_error: 0.,
            probe_kind: kind,
            logme,
            h_score,
            cost: cost?,
        };
        judged.by(kind, &agree);
        Ok(Some((judged, sample)))
    }

    /// Whether each image gets its class by a probe that has not seen it.
    fn probe(&self, sample: &Sample) -> Result<(Probe, Vec<bool>)> {
        let Sample { rows, labels, classes } = sample;
        if rows.ncols() * classes > LARGEST_HEAD {
            return Ok((Probe::Ridge, sample.by_ridge()));
        }
        let options = Options { seed: self.seed, ..Options::default() };
        // Its two short stages would be told for each model.
        let poll = |event: Event| match event {
            Event::Stage { .. } => silent(event),
            Event::Advance(_) => (self.progress)(Event::Advance(0)),
            event => (self.progress)(event),
        };
        let found = softmax_out_of_fold(rows.view(), labels, *classes, &options, &poll)?;
        let given = found.rows().into_iter().map(argmax);
        Ok((Probe::Softmax, given.zip(labels).map(|(given, label)| given == *label).collect()))
    }
}

impl Judged {
    /// Takes the share of a probe, whose hits these are.
    fn by(&mut self, kind: Probe, agree: &[bool]) {
        let probe = share(agree);
        self.probe_kind = kind;
        self.probe = probe;
        self.probe_error = (probe * (1. - probe) / agree.len() as f64).sqrt();
    }
}

fn share(agree: &[bool]) -> f64 {
    agree.iter().filter(|&&agrees| agrees).count() as f64 / agree.len() as f64
}

/// Features of images, `[images, features]`, and their classes: tens of megabytes a model.
struct Sample {
    rows: Array2<f32>,
    labels: Vec<usize>,
    classes: usize,
}

impl Sample {
    fn by_ridge(&self) -> Vec<bool> {
        probe_agrees(self.rows.view(), &self.labels, self.classes)
    }
}

/// The images of classes with two or more, and their classes numbered anew: one image alone tells nothing of its class.
fn several(rows: Array2<f32>, labels: Vec<usize>) -> Sample {
    let mut counts = vec![0; labels.iter().max().map_or(0, |most| most + 1)];
    labels.iter().for_each(|&label| counts[label] += 1);
    let mut numbers = vec![None; counts.len()];
    let kept = (0..counts.len()).filter(|&class| counts[class] > 1);
    let classes = kept.enumerate().map(|(number, class)| numbers[class] = Some(number)).count();
    let places: Vec<usize> = (0..labels.len()).filter(|&place| numbers[labels[place]].is_some()).collect();
    let labels = labels.iter().filter_map(|&label| numbers[label]).collect();
    Sample { rows: rows.select(Axis(0), &places), labels, classes }
}
