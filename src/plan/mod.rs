//! What is going to be done: every decision that was made for the user, as one value that can be shown and stored.

mod activation;
pub mod extra;
pub mod input;
pub mod labels;
mod opener;
pub mod preprocessing;
mod probe;
mod size;
mod trained;

use crate::data::{Preprocessing, Spec};
use crate::engine::{Backend, Extractor};
use crate::error::{Error, Result};
use crate::onnx::Model;
use crate::onnx::cut::{self, Classifier, Cut};
use crate::onnx::graph::Index;
use crate::onnx::normalize::halves;
use crate::onnx::surgery::{self, Pooling};
use crate::progress::{Event, Progress, emit};
pub use activation::Activation;
pub use input::Input;
use opener::Opener;
pub use probe::probe;
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
    /// Decides everything, opens the frozen part in the engine as [`Plan::prepare`] does, and runs the whole with an empty
    /// head, so that a model that cannot be adapted fails here.
    ///
    /// # Errors
    /// Those of [`Plan::prepare`], and [`Error::Model`] for a model that cannot be adapted.
    pub fn make(
        model: &mut Model,
        backend: &Backend,
        options: &PlanOptions,
        progress: Progress,
    ) -> Result<(Plan, Extractor)> {
        surgery::takes_a_head(model).map_err(|what| Error::model(&model.path, what))?;
        let (mut plan, extractor) = Plan::prepare(model, backend, options, progress)?;
        let opener = Opener::new(backend, &plan.surgery, options);
        plan.surgery.data_type = opener.head_type(model, &plan.input, &plan.pooling, plan.features)?;
        Ok((plan, extractor))
    }

    /// Decides all but the new head, and opens the frozen part in the engine: few images are run through it, so that a
    /// model that cannot run fails here. `model` comes back ready for use: with the batch that works (free where the graph
    /// allows it), further inputs stored, `bfloat16` widened.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown tensor or a size that does not fit, [`Error::Model`] for a model without an image
    /// input, [`Error::Engine`] where the engine refuses it.
    pub fn prepare(
        model: &mut Model,
        backend: &Backend,
        options: &PlanOptions,
        progress: Progress,
    ) -> Result<(Plan, Extractor)> {
        emit(progress, Event::Stage { name: "plan", total: 0 })?;
        let widened = halves::widen_bfloat16(&mut model.proto);
        let (mut input, mut known) = preprocessing::resolve(model, options.preprocess.as_ref(), options.size)?;
        let open = size::is_open(model, options)?;
        let path = model.path.display().to_string();
        let usage = |what: String| Error::Usage(format!("{path}: {what}"));
        let cut = cut::find(model.graph(), options.output.as_deref(), options.cut.as_deref()).map_err(usage)?;
        if !Index::new(model.graph()).ancestors(&[&cut.tensor]).1.contains(input.name.as_str()) {
            return Err(usage(format!(
                "the tensor '{}' does not depend on the image; choose another --cut",
                cut.tensor
            )));
        }
        let opener = Opener::new(backend, &cut, options);
        let found = if open { size::search(model, &opener, options, &input) } else { None };
        let sized = found.as_ref().map(|(other, _)| size::note(&input, other));
        if let Some((other, sourced)) = found {
            (input, known) = (other, sourced);
        }
        let mut notes = notes(model, &cut, &known, widened);
        notes.extend(sized);
        notes.extend(extra::store(model, &input));
        let opened = opener.batch(model, &mut input, &mut notes)?;
        let (engine, pooling, features) = opener.features(model, &input, opened)?;
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

/// What the user should know of what was found. `widened`: the file's `bfloat16` has become `float32`.
pub fn notes(model: &Model, cut: &Cut, known: &preprocessing::Sourced, widened: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if known.guessed {
        notes.push(format!("preprocessing is a guess ({}); give --preprocess if you know better", known.source));
    }
    let others: Vec<_> = model.graph().output.iter().map(|o| o.name()).filter(|o| *o != cut.output).collect();
    if !others.is_empty() {
        notes.push(format!("of the outputs only '{}' is adapted; dropped: {}", cut.output, others.join(", ")));
    }
    if cut.decided {
        notes.push(format!("the output '{}' gave the choice alone: it now gives a value for each class", cut.output));
    }
    if cut.heads > 1 {
        let which = if cut.tokens.is_empty() { String::new() } else { format!(", tokens {:?}", cut.tokens) };
        notes.push(format!("one head on '{}'{which} takes the place of {} joined ones", cut.tensor, cut.heads));
    }
    if cut.classifier == Classifier::None {
        let what = if cut.tensor == cut.output { "the output" } else { "ahead of the final activation," };
        notes.push(format!("no classifier was found: {what} '{}' is taken as the features", cut.tensor));
    }
    if widened {
        notes.push("the file's bfloat16 is exported as float32, which ONNX Runtime can run on a CPU".into());
    }
    notes
}

/// The machine's threads.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
