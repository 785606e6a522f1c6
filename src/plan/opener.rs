//! Tries in the engine what a plan decides: the batch, how features are pooled, the new head.

use super::probe::{MOST_VALUES, close, probe, tolerance};
use super::{Input, PlanOptions, available_threads};
use crate::data::Layout;
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::onnx::Model;
use crate::onnx::batch::{self, Shapes};
use crate::onnx::cut::{Classifier, Cut};
use crate::onnx::graph::{Index, graph_tensors};
use crate::onnx::schema::data_type;
use crate::onnx::surgery::{self, Pooling};
use ndarray::{ArrayD, Axis};
use std::path::Path;

const MIXED: &str = "what the model gives for an image depends on the others of its batch";

/// The frozen part, if it is open already.
type Opened = Option<Box<dyn Engine>>;

/// Opens frozen parts of a model.
pub(super) struct Opener<'a> {
    backend: &'a Backend,
    cut: &'a Cut,
    threads: usize,
}

impl<'a> Opener<'a> {
    pub(super) fn new(backend: &'a Backend, cut: &'a Cut, options: &PlanOptions) -> Self {
        Opener { backend, cut, threads: options.threads.unwrap_or_else(available_threads) }
    }

    fn open(&self, model: &Model, pooling: &Pooling, input: &Input) -> Result<Box<dyn Engine>> {
        self.start(&surgery::backbone(model, self.cut, pooling), input)
    }

    fn start(&self, model: &Model, input: &Input) -> Result<Box<dyn Engine>> {
        self.backend.open(model, &input.axes(), self.threads)
    }

    /// Whether the frozen part takes an image of this size, and gives the features that the old head took.
    pub(super) fn runs(&self, model: &Model, input: &Input) -> bool {
        let rows = self.open(model, &Pooling::None, input).and_then(|mut engine| tried(&mut *engine, input, 1));
        rows.is_ok_and(|rows| {
            let axes = &rows.shape()[1.min(rows.ndim())..];
            self.cut.features.is_none_or(|count| axes.contains(&count) || axes.iter().product::<usize>() == count)
        })
    }

    /// Finds the batch that works, and sets it in `model` and `input`: free if possible. `notes` get what the user should
    /// know. Gives the frozen part if it was opened on the way.
    pub(super) fn batch(&self, model: &mut Model, input: &mut Input, notes: &mut Vec<String>) -> Result<Opened> {
        let Some(fixed) = input.batch else { return self.declared_free(model, input, notes) };
        let Ok(before) = self.open(model, &Pooling::None, input) else { return Ok(None) };
        if self.is_mixed(model, input) {
            notes.push(format!("the model's batch stays fixed at {fixed}: {MIXED}"));
            return Ok(Some(before));
        }
        if is_large(input) {
            notes
                .push(format!("the model's batch stays fixed at {fixed}: its images are too large to try others with"));
            return Ok(Some(before));
        }
        match self.freed(before, model, input, fixed) {
            Ok(freed) => {
                notes.push(format!("the fixed batch of {fixed} became free (checked at batches of 1 and 3)"));
                (*model, input.batch) = (freed, None);
                Ok(None)
            }
            Err(before) => {
                notes.push(format!("the model's batch stays fixed at {fixed}: its graph depends on it"));
                Ok(Some(before))
            }
        }
    }

    /// The model with a free batch that computes the same as `before`, which is its frozen part for `fixed` images; or that
    /// again, where the graph resists.
    fn freed(
        &self,
        mut before: Box<dyn Engine>,
        model: &Model,
        input: &Input,
        fixed: usize,
    ) -> std::result::Result<Model, Box<dyn Engine>> {
        // Most networks need no more than their ends freed, and no shapes for that.
        let freed = batch::free(model, &input.name, fixed, &Shapes::new(), 0);
        if self.same(&mut *before, &freed, input) {
            return Ok(freed);
        }
        let Some(shapes) = self.shapes(model, input, fixed) else { return Err(before) };
        let mut last = freed.proto;
        for choice in 0..batch::CHOICES {
            let freed = batch::free(model, &input.name, fixed, &shapes, choice);
            if last != freed.proto && self.same(&mut *before, &freed, input) {
                return Ok(freed);
            }
            last = freed.proto;
        }
        Err(before)
    }

    /// The shapes of the frozen part's tensors for `fixed` images; `None` where the engine does not tell.
    pub(super) fn shapes(&self, model: &Model, input: &Input, fixed: usize) -> Option<Shapes> {
        let (asking, names) = batch::shapes_of(&surgery::backbone(model, self.cut, &Pooling::None), &input.name)?;
        let mut engine = self.start(&asking, input).ok()?;
        let images = ArrayD::zeros(input.shape(fixed).to_vec());
        let found = engine.run(images.view()).ok()?;
        let shape = |sizes: &ArrayD<f32>| sizes.iter().map(|&size| size as usize).collect();
        Some(names.into_iter().zip(found.iter().map(shape)).collect())
    }

    /// As [`Opener::batch`] where the file says that any batch will do: exporters say so of graphs that insist on one.
    fn declared_free(&self, model: &mut Model, input: &mut Input, notes: &mut Vec<String>) -> Result<Opened> {
        let mut mixed = self.is_mixed(model, input);
        if !mixed && let Ok(mut engine) = self.open(model, &Pooling::None, input) {
            if is_large(input) {
                return Ok(Some(engine));
            }
            let rows = match engine.together() {
                Some(_) => self.three(model, input).and_then(|mut three| tried(&mut *three, input, 3)),
                None => tried(&mut *engine, input, 3),
            };
            if let Ok(rows) = rows
                && rows.shape().first() == Some(&3)
            {
                mixed = mixes(&mut *engine, input, &rows, is_half(model));
                if !mixed {
                    return Ok(Some(engine));
                }
            }
        }
        if mixed {
            notes.push(format!("{MIXED}: its batch is now fixed at 1"));
            (*model, input.batch) = (batch::fix(model, &input.name), Some(1));
            return Ok(None);
        }
        let (fixed, one) = (batch::fix(model, &input.name), Input { batch: Some(1), ..input.clone() });
        let mut single = self.open(&fixed, &Pooling::None, &one)?;
        tried(&mut *single, &one, 1)?;
        match self.freed(single, &fixed, &one, 1) {
            Ok(freed) => {
                notes.push("the graph insisted on single images; any batch works now (checked at 1 and 3)".into());
                *model = freed;
            }
            Err(_) => {
                let what = "the model declares a free batch but fails with 3 images: its batch is now fixed at 1";
                notes.push(what.into());
                (*model, input.batch) = (fixed, Some(1));
            }
        }
        Ok(None)
    }

    /// Whether `freed` computes the same as `before`, image by image, at batches of 1 and 3.
    fn same(&self, before: &mut dyn Engine, freed: &Model, input: &Input) -> bool {
        let input = Input { batch: None, ..input.clone() };
        let alone = before.together().is_some();
        let opened = if alone { self.three(freed, &input) } else { self.open(freed, &Pooling::None, &input) };
        let Ok(mut after) = opened else { return false };
        let mut given = |after: &mut dyn Engine, images| {
            Some((tried(before, &input, images).ok()?, tried(after, &input, images).ok()?))
        };
        let Some((old, new)) = given(&mut *after, 3) else { return false };
        let tolerance = tolerance(&old, is_half(freed));
        if !close(&old, &new, tolerance) {
            return false;
        }
        if alone {
            let Ok(other) = self.open(freed, &Pooling::None, &input) else { return false };
            after = other;
        }
        given(&mut *after, 1).is_some_and(|(old, new)| close(&old, &new, tolerance))
    }

    /// The frozen part for three images that go through it together, which engines that plan for single ones have to be told.
    fn three(&self, model: &Model, input: &Input) -> Result<Box<dyn Engine>> {
        let three = Input { batch: Some(3), ..input.clone() };
        self.open(&batch::fix_at(model, &input.name, 3), &Pooling::None, &three)
    }

    /// Whether the frozen part is known to mix the images of a batch.
    fn is_mixed(&self, model: &Model, input: &Input) -> bool {
        batch::is_mixed(&surgery::backbone(model, self.cut, &Pooling::None), &input.name)
    }

    /// The frozen part with what pools it, and how many features an image it gives. `opened` is it without pooling.
    pub(super) fn features(
        &self,
        model: &Model,
        input: &Input,
        opened: Opened,
    ) -> Result<(Box<dyn Engine>, Pooling, usize)> {
        let mut engine = opened.map_or_else(|| self.open(model, &Pooling::None, input), Ok)?;
        let rows = tried(&mut *engine, input, 1)?;
        steady(&model.path, &rows, &tried(&mut *engine, input, 1)?)?;
        let shape = rows.shape().to_vec();
        let told = || Pooling::channels_last(&Index::new(model.graph()), &self.cut.tensor);
        let told = if shape.len() == 4 { told() } else { None };
        let pooling =
            Pooling::of(&shape, self.cut.features, told.unwrap_or(input.layout == Layout::Nhwc), &self.cut.tokens);
        let pooling = pooling.filter(|_| shape[0] == 1 && !rows.is_empty()).ok_or_else(|| {
            let what = format!("the tensor '{}' has shape {shape:?} for one image: no features", self.cut.tensor);
            Error::Usage(format!("{}: {what}; choose another --cut", model.path.display()))
        })?;
        let mut features = rows.len();
        if pooling != Pooling::None {
            engine = self.open(model, &pooling, input)?;
            features = tried(&mut *engine, input, 1)?.len();
        }
        Ok((engine, pooling, features))
    }

    /// The data type of a head that the model runs with. Behind a chosen cut and without an old head it is a guess, and
    /// the other one is tried too.
    pub(super) fn head_type(&self, model: &Model, input: &Input, pooling: &Pooling, features: usize) -> Result<i32> {
        let guess = self.cut.data_type;
        let other = if guess == data_type::FLOAT { data_type::FLOAT16 } else { data_type::FLOAT };
        let guessed = matches!(self.cut.classifier, Classifier::Chosen | Classifier::None);
        let run = |data_type| self.try_head(model, input, pooling, features, data_type);
        match run(guess) {
            Ok(()) => Ok(guess),
            Err(_) if guessed && run(other).is_ok() => Ok(other),
            Err(error) => Err(error),
        }
    }

    /// One image through the whole adapted model, with a head of zeros for two classes.
    fn try_head(&self, model: &Model, input: &Input, pooling: &Pooling, features: usize, data_type: i32) -> Result<()> {
        let cut = Cut { data_type, ..self.cut.clone() };
        let adapted = surgery::attach(model, &cut, pooling, &vec![0.0; 2 * features], &[0.0; 2]);
        let rows = tried(&mut *self.start(&adapted, input)?, input, 1)?;
        if rows.len() == 2 {
            return Ok(());
        }
        let what = format!("with a new head for 2 classes it gives {:?} for one image", rows.shape());
        Err(Error::model(&model.path, what))
    }
}

/// Whether three images take more memory than a trial is worth.
fn is_large(input: &Input) -> bool {
    3 * input.len() > MOST_VALUES
}

/// Whether the first image alone gives something else than among `three`: normalisation by the batch, or quantisation to
/// its range. More than a hundredth of what sets images apart is no rounding.
fn mixes(engine: &mut dyn Engine, input: &Input, three: &ArrayD<f32>, half: bool) -> bool {
    let first = three.slice_axis(Axis(0), (0..1).into()).to_owned();
    let tolerance = (100.0 * tolerance(three, false)).max(tolerance(three, half));
    tried(engine, input, 1).is_ok_and(|alone| !close(&first, &alone, tolerance))
}

/// Refuses a model that gives something else for the same images when it runs `again`.
///
/// # Errors
/// [`Error::Model`], which tells so.
pub fn steady(path: &Path, rows: &ArrayD<f32>, again: &ArrayD<f32>) -> Result<()> {
    let what = "what it gives for an image depends on chance; export it for inference, not for training";
    if close(rows, again, 100.0 * tolerance(rows, false)) { Ok(()) } else { Err(Error::model(path, what)) }
}

/// Whether a model computes in float16, as far as its weights tell.
fn is_half(model: &Model) -> bool {
    graph_tensors(model.graph()).any(|tensor| tensor.data_type() == data_type::FLOAT16)
}

/// What the model gives for `images` made images.
pub(super) fn tried(engine: &mut dyn Engine, input: &Input, images: usize) -> Result<ArrayD<f32>> {
    Ok(engine.run(probe(input, images).view())?.swap_remove(0))
}
