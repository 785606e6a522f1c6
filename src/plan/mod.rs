//! What is going to be done: every decision that was made for the user, as one value that can be shown and stored.

mod activation;
pub mod input;
pub mod labels;
pub mod preprocessing;
mod trained;

use crate::data::{Layout, Preprocessing, Spec};
use crate::engine::{Backend, Engine, Extractor};
use crate::error::{Error, Result};
use crate::onnx::cut::{self, Classifier, Cut};
use crate::onnx::graph::Index;
use crate::onnx::surgery::{self, Pooling};
use crate::onnx::{Model, batch};
use crate::progress::{Event, Progress, emit};
pub use activation::Activation;
pub use input::Input;
use ndarray::ArrayD;
use serde::Serialize;
pub use trained::Trained;

/// What a user may decide instead of [`Plan::make`].
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// `--preprocess`
    pub preprocess: Option<Spec>,
    /// `--cut`: the tensor that becomes the features.
    pub cut: Option<String>,
    /// `--output`: the output to adapt.
    pub output: Option<String>,
    /// `--size`: height and width in pixels, for models that take any.
    pub size: Option<(u32, u32)>,
    /// Threads of the engine; all of the machine's where `None`.
    pub threads: Option<usize>,
}

/// Everything that was decided before the work begins.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The image input, its layout and size.
    pub input: Input,
    /// How images become input values.
    #[serde(serialize_with = "as_hugging_face")]
    pub preprocessing: Preprocessing,
    /// How that was found.
    pub preprocessing_source: String,
    /// The features' tensor in the original.
    pub cut: String,
    /// What stood behind it.
    pub classifier: Classifier,
    /// The output that the new head computes, as the original calls it.
    pub output: String,
    /// How the cut tensor becomes one row an image.
    pub pooling: Pooling,
    /// Features an image.
    pub features: usize,
    /// What is trained.
    pub train: &'static str,
    /// The kind of head.
    pub head: &'static str,
    /// Who runs the frozen part: `onnxruntime` or `tract`, and its version.
    pub engine: EngineInfo,
    /// Where the head is trained.
    pub device: &'static str,
    /// What the user should know of these decisions.
    pub notes: Vec<String>,
    /// All that surgery needs.
    #[serde(skip)]
    pub surgery: Cut,
}

/// An engine's name and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineInfo {
    /// `onnxruntime` or `tract`.
    pub name: &'static str,
    /// As the engine gives it.
    pub version: String,
}

fn as_hugging_face<S: serde::Serializer>(p: &Preprocessing, s: S) -> std::result::Result<S::Ok, S::Error> {
    p.to_json().serialize(s)
}

impl Plan {
    /// Decides everything, and opens the frozen part in the engine: one blank image is run through it, so that a model
    /// that cannot run fails here. `model` comes back with a free batch where the graph allows it.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown tensor or a size that does not fit, [`Error::Model`] for a model that cannot be
    /// adapted, [`Error::Engine`] where the engine refuses it.
    pub fn make(
        model: &mut Model,
        backend: &Backend,
        options: &PlanOptions,
        progress: Progress,
    ) -> Result<(Plan, Extractor)> {
        emit(progress, Event::Stage { name: "plan", total: 0 })?;
        let (mut input, known) = preprocessing::resolve(model, options.preprocess.as_ref(), options.size)?;
        let path = model.path.display().to_string();
        let usage = |what: String| Error::Usage(format!("{path}: {what}"));
        let cut = cut::find(model.graph(), options.output.as_deref(), options.cut.as_deref()).map_err(usage)?;
        if !Index::new(model.graph()).ancestors(&[&cut.tensor]).1.contains(input.name.as_str()) {
            return Err(usage(format!(
                "the tensor '{}' does not depend on the image; choose another --cut",
                cut.tensor
            )));
        }
        let mut notes = notes(model, &cut, &known);
        let opener = Opener { backend, cut: &cut, threads: options.threads.unwrap_or_else(available_threads) };
        if let Some(fixed) = input.batch {
            match opener.free_batch(model, &input, fixed) {
                Some(freed) => {
                    notes.push(format!("the fixed batch of {fixed} became free (checked at batches of 1 and 3)"));
                    *model = freed;
                    input.batch = None;
                }
                None => notes.push(format!("the model's batch stays fixed at {fixed}: its graph depends on it")),
            }
        }
        let (engine, pooling, features) = opener.features(model, &input)?;
        let plan = Plan {
            preprocessing: known.preprocessing.clone(),
            preprocessing_source: known.source,
            cut: cut.tensor.clone(),
            classifier: cut.classifier,
            output: cut.output.clone(),
            pooling,
            features,
            train: "head",
            head: "softmax regression",
            engine: EngineInfo { name: engine.name(), version: engine.version().into() },
            device: "cpu",
            notes,
            surgery: cut,
            input,
        };
        let layout = plan.input.layout;
        Ok((plan, Extractor::new(engine, 0, known.preprocessing, layout)))
    }
}

/// What the user should know of what was found.
fn notes(model: &Model, cut: &Cut, known: &preprocessing::Sourced) -> Vec<String> {
    let mut notes = Vec::new();
    if known.guessed {
        notes.push(format!("preprocessing is a guess ({}); give --preprocess if you know better", known.source));
    }
    let others: Vec<_> = model.graph().output.iter().map(|o| o.name()).filter(|o| *o != cut.output).collect();
    if !others.is_empty() {
        notes.push(format!("of the outputs only '{}' is adapted; dropped: {}", cut.output, others.join(", ")));
    }
    if cut.classifier == Classifier::None {
        notes.push(format!("no classifier was found: the output '{}' is taken as the features", cut.output));
    }
    notes
}

/// Opens frozen parts of a model.
struct Opener<'a> {
    backend: &'a Backend,
    cut: &'a Cut,
    threads: usize,
}

impl Opener<'_> {
    fn open(&self, model: &Model, pooling: &Pooling, input: &Input) -> Result<Box<dyn Engine>> {
        let frozen = surgery::backbone(model, self.cut, pooling);
        let shape = input.shape(1).map(Some);
        let shape = [input.batch, shape[1], shape[2], shape[3]];
        self.backend.open(&frozen, &shape, self.threads)
    }

    /// The frozen part with what pools it, and how many features an image it gives.
    fn features(&self, model: &Model, input: &Input) -> Result<(Box<dyn Engine>, Pooling, usize)> {
        let mut engine = self.open(model, &Pooling::None, input)?;
        let shape = probe(&mut *engine, input, 1)?.shape().to_vec();
        let pooling = Pooling::of(&shape, self.cut.features, input.layout == Layout::Nhwc);
        let pooling = pooling.filter(|_| shape[0] == 1).ok_or_else(|| {
            let what = format!("the tensor '{}' has shape {shape:?} for one image: no features", self.cut.tensor);
            Error::Usage(format!("{}: {what}; choose another --cut", model.path.display()))
        })?;
        if pooling != Pooling::None {
            engine = self.open(model, &pooling, input)?;
        }
        let features = probe(&mut *engine, input, 1)?.len();
        Ok((engine, pooling, features))
    }

    /// The model with a free batch, if it then computes the same, image by image, at batches of 1 and 3.
    fn free_batch(&self, model: &Model, input: &Input, fixed: usize) -> Option<Model> {
        let freed = batch::free(model, &input.name, fixed);
        let free_input = Input { batch: None, ..input.clone() };
        let mut before = self.open(model, &Pooling::None, input).ok()?;
        let mut after = self.open(&freed, &Pooling::None, &free_input).ok()?;
        for images in [1, 3] {
            let (old, new) = (probe(&mut *before, input, images).ok()?, probe(&mut *after, input, images).ok()?);
            let scale = old.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
            let same = old.shape() == new.shape() && old.iter().zip(&new).all(|(a, b)| (a - b).abs() <= 1e-4 * scale);
            if !same {
                return None;
            }
        }
        Some(freed)
    }
}

/// What the model gives for `images` smooth patterns, each of its own.
fn probe(engine: &mut dyn Engine, input: &Input, images: usize) -> Result<ArrayD<f32>> {
    let len = input.len();
    let value = |i: usize| {
        let (image, place) = (i / len, (i % len) as f32 / len as f32);
        0.5 + 0.5 * (place * (20.0 + 7.0 * image as f32)).sin()
    };
    let values = (0..images * len).map(value).collect();
    let batch = ArrayD::from_shape_vec(input.shape(images).to_vec(), values).expect("as many values as the shape says");
    Ok(engine.run(batch.view())?.swap_remove(0))
}

/// The machine's threads.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
