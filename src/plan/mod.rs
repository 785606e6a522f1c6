//! What is going to be done: every decision that was made for the user, as one value that can be shown and stored.

mod activation;
pub mod baked;
mod depths;
pub mod evidence;
pub mod extra;
pub mod input;
mod inside;
mod known;
pub mod labels;
mod licence;
mod opener;
pub mod outliers;
pub mod preprocessing;
mod probe;
mod settled;
mod size;
mod trained;
mod windows_ml;

use crate::data::{Preprocessing, Spec, Task};
use crate::engine::{Backend, Cache, Extractor};
use crate::error::{Error, Result};
use crate::guard::within;
use crate::onnx::cut::{Classifier, Cut};
use crate::onnx::pooling::{Pooling, Tap};
use crate::onnx::{Model, metadata, statistics, surgery};
use crate::progress::{Event, Progress, emit};
use crate::tensor;
pub use activation::Activation;
pub use evidence::Evidence;
pub use input::Input;
pub use inside::{Inside, pack, trainable};
pub use known::known;
pub use licence::licence;
use opener::Opener;
pub use opener::steady;
pub use probe::{MOST_VALUES, probe};
use serde::Serialize;
pub use settled::{Settled, settle};
use std::time::Duration;
pub use trained::Trained;

/// More features than any known network has at its end by far: a head on them would take all memory.
const MOST_FEATURES: usize = 1 << 20;

/// Whether a network knows nothing yet: `adapt new` wrote it, or, in a file that says nothing of `adapt`, every batch norm is
/// as before any training.
pub fn is_initial(model: &Model) -> bool {
    match metadata::contract(&model.proto) {
        Ok(Some(contract)) => contract["initial"] == true,
        Ok(None) => statistics::are_initial(model.graph()),
        Err(_) => false,
    }
}

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
    /// What the images say of it, where nothing else does: its values, then its geometry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Nothing says what it is.
    #[serde(skip)]
    pub guessed: bool,
    /// The features' tensor in the original.
    pub cut: String,
    /// What stood behind it.
    pub classifier: Classifier,
    /// The output that the new head computes, as the original calls it.
    pub output: String,
    /// How the cut tensor becomes one row an image.
    pub pooling: Pooling,
    /// Tensors before the cut whose features the head takes, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taps: Vec<Tap>,
    /// Features an image.
    pub features: usize,
    /// What the labels are, where they are no classes.
    #[serde(skip_serializing_if = "Task::is_multiclass")]
    pub task: Task,
    /// What is trained.
    pub train: String,
    /// The kind of head.
    pub head: String,
    /// Who runs the frozen part: `onnxruntime` or `tract`, and its version.
    pub engine: EngineInfo,
    /// Where candle computes: `cpu`, or `cuda:N`.
    pub device: String,
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
        not_baked(model)?;
        let settled = settle(model, options, |trial, cut, input| runs(backend, trial, cut, input))?;
        let mut notes = settled.notes(model);
        let Settled { mut input, preprocessing: known, cut, .. } = settled;
        let opener = Opener::new(backend, &cut, options);
        let opened = opener.batch(model, &mut input, &mut notes)?;
        input.declare(model);
        let (engine, pooling, features) = opener.features(model, &input, opened)?;
        if features > MOST_FEATURES {
            let what =
                format!("'{}' holds {features} numbers for each image, more than a head can be trained on", cut.tensor);
            return Err(Error::model(&model.path, format!("{what}; choose another --cut, or a smaller --size")));
        }
        let plan = Plan {
            preprocessing: known.preprocessing.clone(),
            preprocessing_source: known.source,
            evidence: Vec::new(),
            guessed: known.guessed,
            cut: cut.tensor.clone(),
            classifier: cut.classifier,
            output: cut.output.clone(),
            pooling,
            taps: Vec::new(),
            features,
            task: Task::Multiclass,
            train: "head".into(),
            head: "softmax regression".into(),
            engine: EngineInfo { name: engine.name(), version: engine.version().into() },
            device: tensor::name(backend.device()),
            notes,
            surgery: cut,
            input,
        };
        let layout = plan.input.layout;
        Ok((plan, Extractor::new(engine, 0, known.preprocessing, layout)))
    }
}

impl Plan {
    /// Plans for what the labels are: a class excludes the others, of several labels none does, and numbers have no activation.
    pub fn suit(&mut self, task: Task, model: &Model) {
        let before = Activation::of(model.graph(), &self.surgery);
        self.task = task;
        if task == Task::Regression {
            self.surgery.tail.retain(|&node| Activation::by(&model.graph().node[node]).is_none());
        }
        match (task, before) {
            (Task::Multiclass, Activation::Sigmoid) => {
                let what = "behind the new head a softmax takes the sigmoid's place: each class excludes the others";
                self.notes.push(what.into());
            }
            (Task::Multiclass, _) | (_, Activation::None) | (Task::Multilabel, Activation::Sigmoid) => {}
            (Task::Multilabel, _) => self.notes.push("behind the new head a sigmoid takes the softmax's place".into()),
            (Task::Regression, _) => self.notes.push("behind the new head there is no activation any more".into()),
        }
    }

    /// What gives the features of `model`, which is as the plan left it; with those of earlier runs, where there is a cache.
    pub fn cached(&self, extractor: Extractor, model: &Model, cache: Option<&Cache>) -> Extractor {
        self.shelved(extractor, model, cache, 1 + self.taps.len())
    }

    fn shelved(&self, mut extractor: Extractor, model: &Model, cache: Option<&Cache>, fewest: usize) -> Extractor {
        let shelf = cache.map(|cache| {
            let frozen = surgery::backbone(model, &self.surgery, &self.pooling);
            // What is before the cut is told by its name.
            let depth = |tap: &Tap| (format!("{tap:?}"), tap.features());
            let parts = [(String::new(), self.features)].into_iter().chain(self.taps.iter().map(depth)).collect();
            let settings = (&self.preprocessing, self.input.layout);
            cache.shelf(&frozen.fingerprint(), (parts, fewest), settings, extractor.engine())
        });
        extractor.cached(shelf)
    }

    /// The same for a job that takes the cut's features alone: where there is a cache, the frozen part gives those of the
    /// depths that a head may take from `images` images, too, and they are kept, so that no later job has to run it again.
    /// What an earlier one kept of the cut alone will do.
    pub fn cached_with_depths(
        &self,
        extractor: Extractor,
        (model, backend): (&Model, &Backend),
        images: usize,
        cache: Option<&Cache>,
    ) -> Extractor {
        if cache.is_none() {
            return extractor;
        }
        let mut deep = self.clone();
        let extractor = deep.deepen(model, backend, images, extractor);
        deep.shelved(extractor, model, cache, 1).narrowed(self.features)
    }
}

/// Refuses a model that preprocesses in its graph.
///
/// # Errors
/// [`Error::Model`], which tells what to give instead.
pub fn not_baked(model: &Model) -> Result<()> {
    let what = "its preprocessing is in its graph (--bake-preprocessing); give the model that was adapted";
    if baked::is_baked(model) { Err(Error::model(&model.path, what)) } else { Ok(()) }
}

/// Whether the part of a model up to a cut takes an image of this size, and gives the features that the old head took.
pub fn runs(backend: &Backend, model: &Model, cut: &Cut, input: &Input) -> bool {
    Opener::new(backend, cut, &PlanOptions::default()).runs(model, input)
}

/// Runs the frozen part of a model as it was [settled](settle), and the whole with an empty head: what cannot be adapted fails.
/// What takes longer than half a minute is not waited for.
///
/// # Errors
/// Those of [`Plan::make`].
pub fn try_out(model: &Model, settled: &Settled, backend: &Backend) -> Result<()> {
    const LONGEST: Duration = Duration::from_secs(30);
    let (model, cut, input, backend) = (model.clone(), settled.cut.clone(), settled.input.clone(), backend.clone());
    let tried = within(LONGEST, move || {
        let opener = Opener::new(&backend, &cut, &PlanOptions::default());
        let (_, pooling, features) = opener.features(&model, &input, None)?;
        opener.head_type(&model, &input, &pooling, features).map(drop)
    });
    tried.unwrap_or(Ok(()))
}

/// Whether nothing says what size images are to have.
pub fn size_is_open(model: &Model, options: &PlanOptions) -> bool {
    size::is_open(model, options).unwrap_or(false)
}

/// Threads that compute: as many as the machine has processors, unless the caller set another number for `rayon`.
pub fn available_threads() -> usize {
    rayon::current_num_threads()
}
