//! A classifier that is ready: ours or anybody's, with what is needed to feed it and to read its output.

use super::activation::Activation;
use super::{available_threads, baked, extra, labels, outliers, preprocessing, settled};
use crate::data::{Spec, Task};
use crate::engine::{Backend, Engine, Extractor};
use crate::error::{Error, Result};
use crate::metrics::{Outlier, sigmoid, softmax};
use crate::onnx::cut::Classifier;
use crate::onnx::normalize::halves;
use crate::onnx::schema::ValueInfoProto;
use crate::onnx::{Model, metadata};
use crate::plan::Input;
use crate::plan::preprocessing::Sourced;
use ndarray::{Array2, ArrayView2};
use std::path::Path;

/// The engine that preprocesses images of any size in a graph.
const BAKES: &str = "onnxruntime";
const FEATURES: &str = "features";
const CHOICE: &str = "the choice alone, no value for each class";
const LIST: &str = "a list with names, no tensor";
const UNKNOWN: &str = "no classifier's values, as far as can be seen (a labels.txt with its class names beside it says \
                       otherwise)";

/// A classifier and how to use it.
pub struct Trained {
    /// The file.
    pub model: Model,
    /// Its image input.
    pub input: Input,
    /// How images become input values.
    pub preprocessing: Sourced,
    /// The output with one value a class.
    pub output: String,
    /// What that output means.
    pub activation: Activation,
    /// Names of the classes, labels or targets in the order of the output, where anything tells them.
    pub classes: Option<Vec<String>>,
    /// What it was trained for.
    pub task: Task,
    /// The probability from which on each label is given; none where it gives no labels.
    pub thresholds: Vec<f32>,
    /// `adapt` trained it: if for one class, its classes exclude each other, whatever the activation.
    ours: bool,
    /// The least probability of an answer that is to be taken, where it was asked for.
    pub threshold: Option<f32>,
    /// What tells images that are unlike those of the training, and the tensor that has the features for it.
    pub outlier: Option<(String, Outlier)>,
    /// It preprocesses in its graph.
    pub baked: bool,
    /// What its output holds where that is no value for each class.
    other: Option<&'static str>,
}

impl Trained {
    /// Opens a model that `adapt` wrote, or any classifier.
    ///
    /// # Errors
    /// Those of [`Model::open`] and of [`preprocessing::resolve`], and [`Error::Model`] for damaged metadata.
    pub fn open(path: &Path, spec: Option<&Spec>, size: Option<(u32, u32)>) -> Result<Trained> {
        Trained::of(Model::open(path)?, spec, size)
    }

    /// The same of a model that was read before.
    ///
    /// # Errors
    /// Those of [`Trained::open`] but reading.
    pub fn of(mut model: Model, spec: Option<&Spec>, size: Option<(u32, u32)>) -> Result<Trained> {
        // ONNX Runtime has no bfloat16 operators for a CPU.
        halves::widen_bfloat16(&mut model.proto);
        let (input, preprocessing) = preprocessing::resolve(&model, spec, size)?;
        extra::store(&mut model, &input);
        let classes = labels::find(&model)?.map(|(names, _)| names);
        let path = model.path.clone();
        let bad = |what: String| Error::model(&path, what);
        let contract = metadata::contract(&model.proto).map_err(bad)?.unwrap_or_default();
        // What is looked through for the output's meaning is a copy: the file runs as it is.
        let mut known = model.clone();
        let found = settled::find(&mut known, contract["output"].as_str(), None).map_err(bad)?.0;
        let stated = serde_json::from_value(contract["activation"].clone()).ok();
        let activation = stated.unwrap_or_else(|| Activation::of(known.graph(), &found));
        let ours = contract["classes"].is_array() || contract["targets"].is_array();
        let task = serde_json::from_value(contract["task"].clone()).unwrap_or_default();
        let count = if task == Task::Multilabel { classes.as_ref().map_or(0, Vec::len) } else { 0 };
        let thresholds: Vec<f32> = serde_json::from_value(contract["thresholds"].clone()).unwrap_or_default();
        if count > 0 && thresholds.len() != count {
            return Err(bad(format!("metadata adapt.contract has {} thresholds for {count} labels", thresholds.len())));
        }
        let threshold = contract["abstain"]["threshold"].as_f64().map(|threshold| threshold as f32);
        let outlier = if task == Task::Multiclass { outliers::of(&model)? } else { None };
        let baked = baked::is_baked(&model);
        let none = found.classifier == Classifier::None && activation == Activation::None && classes.is_none();
        let other = match none {
            _ if ours => None,
            _ if contract["task"] == "features" => Some(FEATURES),
            true => Some(UNKNOWN),
            false if !settled::is_tensor(&model, &found.output) => Some(LIST),
            false => found.decided.then_some(CHOICE),
        };
        Ok(Trained {
            output: found.output,
            model,
            input,
            preprocessing,
            activation,
            classes,
            task,
            thresholds,
            ours,
            threshold,
            outlier,
            baked,
            other,
        })
    }

    /// The same with adapt's own preprocessing, which its metadata tell, in place of that in its graph, if it has one there.
    ///
    /// # Errors
    /// [`Error::Model`] for a graph that was changed since, and those of [`Trained::of`].
    pub fn unbaked(self) -> Result<Trained> {
        if self.baked { Trained::of(baked::behind(self.model)?, None, None) } else { Ok(self) }
    }

    /// Itself where this engine runs all that is in its graph, else [`Trained::unbaked`].
    ///
    /// # Errors
    /// Those of [`Trained::unbaked`].
    pub fn suited(self, backend: &Backend) -> Result<Trained> {
        if backend.name() == BAKES { Ok(self) } else { self.unbaked() }
    }

    /// Whether the output can be read as a value for each class: a classifier is behind it, or anything names classes.
    ///
    /// # Errors
    /// [`Error::Usage`], with what can be done with the model instead.
    pub fn labels(&self) -> Result<()> {
        let Some(holds) = self.other else { return Ok(()) };
        let (path, output) = (self.model.path.display(), &self.output);
        let instead = "`adapt embed` gives its features, and `adapt --onnx` trains a classifier on them";
        Err(Error::Usage(format!("{path}: no label can be told: its output '{output}' holds {holds}; {instead}")))
    }

    /// A probability for each class or label from the model's output, `[images, classes]` both, or the targets' values; the
    /// same as training's for a model that `adapt` wrote. Those of labels, and of another's sigmoid, need not sum to 1.
    pub fn probabilities(&self, output: ArrayView2<f32>) -> Array2<f32> {
        match (self.task, self.activation) {
            (Task::Multiclass, _) => {}
            (Task::Multilabel, Activation::None) => return output.mapv(sigmoid),
            _ => return output.to_owned(),
        }
        if self.ours && self.activation == Activation::Sigmoid {
            let logit = |p: f32| f64::from(p).clamp(1e-30, 1.0 - f64::EPSILON);
            return softmax(output.mapv(|p| (logit(p) / (1.0 - logit(p))).ln() as f32).view());
        }
        self.activation.probabilities(output)
    }

    /// The model in an engine, giving its output's rows.
    pub fn extractor(&self, backend: &Backend) -> Result<Extractor> {
        self.extractor_of(&self.model, backend)
    }

    /// The same with the features for the outlier's score behind each row, where the model has one.
    pub fn extractor_with_features(&self, backend: &Backend) -> Result<Extractor> {
        let Some((tensor, _)) = &self.outlier else { return self.extractor(backend) };
        let mut model = self.model.clone();
        let outputs = model.proto.graph.get_or_insert_default().output.len();
        // Without a type: engines find it themselves.
        let info = ValueInfoProto { name: Some(tensor.clone()), ..Default::default() };
        model.proto.graph.get_or_insert_default().output.push(info);
        Ok(self.extractor_of(&model, backend)?.and(outputs))
    }

    fn extractor_of(&self, model: &Model, backend: &Backend) -> Result<Extractor> {
        let engine = self.opened(model, backend)?;
        let place = self.model.graph().output.iter().position(|o| o.name() == self.output).unwrap_or(0);
        Ok(Extractor::new(engine, place, self.preprocessing.preprocessing.clone(), self.input.layout)
            .on_pixels(self.baked))
    }

    /// The model in an engine.
    pub fn open_in(&self, backend: &Backend) -> Result<Box<dyn Engine>> {
        self.opened(&self.model, backend)
    }

    fn opened(&self, model: &Model, backend: &Backend) -> Result<Box<dyn Engine>> {
        if self.baked && backend.name() != BAKES {
            let what = "it preprocesses images of any size in its graph, which only ONNX Runtime runs";
            let to_do = "use --engine ort (`adapt runtime install`), or adapt without --bake-preprocessing";
            return Err(Error::model(&self.model.path, format!("{what}; {to_do}")));
        }
        let axes = if self.baked { [None, None, None, Some(3)] } else { self.input.axes() };
        backend.open(model, &axes, available_threads())
    }

    /// A name for each of `count` outputs: the class names, or numbers where there are none.
    ///
    /// # Errors
    /// [`Error::Model`] when there are names, but not as many.
    pub fn names(&self, count: usize) -> Result<Vec<String>> {
        match &self.classes {
            None => Ok((0..count).map(|i| i.to_string()).collect()),
            Some(names) if names.len() == count => Ok(names.clone()),
            Some(names) => Err(Error::model(
                &self.model.path,
                format!("it has {count} outputs an image and {} class names", names.len()),
            )),
        }
    }
}
