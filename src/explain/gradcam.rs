//! Class activation maps by gradients, through the part of the network behind a map.

use super::cam::ACTIVATIONS;
use super::grid::{Grid, weighted};
use super::{open, open_with, whole};
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::graph::{self, Extent, Program, Wanted};
use crate::onnx::Model;
use crate::onnx::cut::{Classifier, Cut};
use crate::onnx::graph::Index;
use crate::onnx::schema::{ValueInfoProto, data_type};
use crate::onnx::surgery::{self, Pooling, size, symbol, tensor_type};
use crate::plan::{Trained, pack, probe};
use crate::tensor::{DType, Device, Tensor};
use ndarray::{Array2, Array3, ArrayD, IxDyn};

/// Tensors before the head that are looked at.
const MOST_SEEN: usize = 48;
/// Maps among them that are tried.
const MOST_TRIED: usize = 4;
/// Classes whose scores are tried: one alone may not depend on a map, as behind a rectifier that holds it at zero.
const CLASSES_TRIED: usize = 8;

/// The part of the network behind a map.
pub(super) struct GradCam {
    pub tensor: String,
    /// The map's for one image, of which the values come first in what the part takes.
    shape: Vec<usize>,
    grid: Grid,
    program: Program,
    parameters: Vec<Tensor>,
}

impl GradCam {
    /// Behind `at`, or behind the last map on whose places the scores depend.
    ///
    /// # Errors
    /// [`Error::Usage`] for a tensor that is not there or no map, [`Error::Model`] where there is none, or where what comes
    /// behind cannot be run backwards.
    pub fn open(
        trained: &Trained,
        cut: &Cut,
        backend: &Backend,
        at: Option<&str>,
    ) -> Result<(Box<dyn Engine>, GradCam)> {
        let model = &trained.model;
        let scores = surgery::backbone(model, &Cut::at(&logits(trained, cut)), &Pooling::None);
        let path = model.path.display();
        if let Some(at) = at {
            let index = Index::new(scores.graph());
            let made = index.producer(at).is_some() && at != trained.output;
            if !made || !index.ancestors(&[scores.graph().output[0].name()]).1.contains(at) {
                let what = "is no tensor on the way to the scores (adapt inspect lists tensors)";
                return Err(Error::Usage(format!("{path}: --at {at}: {what}")));
            }
        }
        let starts = match at {
            Some(at) => vec![at.to_owned()],
            None => ahead(&scores, cut)?,
        };
        let starts: Vec<&str> = starts.iter().take(MOST_SEEN).map(String::as_str).collect();
        let values = open(trained, &starts, backend)?.run(probe(&trained.input, 1).view())?;
        let image = (trained.input.height, trained.input.width);
        let mut refused = None;
        let index = Index::new(model.graph());
        let maps = starts.iter().zip(&values).filter_map(|(start, value)| {
            let last = Pooling::channels_last(&index, start).unwrap_or(false);
            Some((*start, value, Grid::of(value.shape(), last, image)?))
        });
        for (start, value, grid) in maps.take(MOST_TRIED) {
            match GradCam::behind(trained, cut, backend, start, value, grid) {
                Ok((true, engine, tail)) => return Ok((engine, tail)),
                Ok((false, ..)) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(match (refused, at) {
            (Some(error), _) => error,
            (None, Some(at)) => {
                let what = "no map of four axes, or tokens of three, on whose places the scores depend";
                Error::Usage(format!("{path}: --at {at}: {what}"))
            }
            (None, None) => Error::model(
                &model.path,
                "no map lies before its head that all goes through; choose one with --at, or --method occlusion",
            ),
        })
    }

    /// Behind a map with a value, whether the scores depend on it, and what gives the map.
    fn behind(
        trained: &Trained,
        cut: &Cut,
        backend: &Backend,
        map: &str,
        value: &ArrayD<f32>,
        grid: Grid,
    ) -> Result<(bool, Box<dyn Engine>, GradCam)> {
        let none = || Error::model(&trained.model.path, "it has no graph behind the map");
        let whole = whole(trained);
        // What leads around the map to the scores stays as it is.
        let beside = graph::beside(&whole, map);
        let (whole, start) = match beside.is_empty() {
            true => (whole, map.to_owned()),
            false => pack(&whole, map, beside, backend, &trained.input)?.ok_or_else(none)?,
        };
        let scores = surgery::backbone(&whole, &Cut::at(&logits(trained, cut)), &Pooling::None);
        let mut engine = open_with(whole, trained, &[&start], backend)?;
        let given = engine.run_outputs(probe(&trained.input, 1).view(), &[0])?.swap_remove(0);
        let batch = trained.input.batch.map_or_else(|| symbol("N"), |batch| size(batch as i64));
        let dims = std::iter::once(batch).chain(given.shape()[1..].iter().map(|&n| size(n as i64))).collect();
        let r#type = Some(tensor_type(data_type::FLOAT, dims));
        let info = ValueInfoProto { name: Some(start), r#type, ..Default::default() };
        let program = Program::import(&graph::behind(&scores, info).ok_or_else(none)?, &[])?;
        let parameters = program.initial()?;
        let shape = std::iter::once(1).chain(value.shape()[1..].iter().copied()).collect();
        let tail = GradCam { tensor: map.into(), shape, grid, program, parameters };
        Ok((tail.depends(&given)?, engine, tail))
    }

    /// Whether any score depends on the map's places: a classifier that reads one token does not depend on the others behind
    /// the last attention.
    fn depends(&self, value: &ArrayD<f32>) -> Result<bool> {
        let scores = self.program.forward(&self.input(value)?, &self.parameters)?;
        let classes = scores[0].elem_count() / self.copies();
        for class in 0..classes.min(CLASSES_TRIED) {
            if self.gradient(value, class)?.is_some_and(|gradient| gradient.iter().any(|&value| value != 0.)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Σ over the channels of the channel times its gradient's mean over all places.
    pub fn map(&self, value: &ArrayD<f32>, class: usize) -> Result<Array2<f32>> {
        let changed = || Error::Engine(format!("the tensor '{}' changed its size", self.tensor));
        let planes = self.map_of(value).and_then(|map| self.grid.planes(map.view())).ok_or_else(changed)?;
        let Some(gradient) = self.gradient(value, class)? else { return Ok(weighted(&planes, std::iter::empty())) };
        Ok(weighted(&planes, gradient.outer_iter().map(|plane| plane.mean().unwrap_or(0.))))
    }

    /// A graph for a fixed number of images gets as many copies.
    fn copies(&self) -> usize {
        self.program.batch().unwrap_or(1)
    }

    fn input(&self, value: &ArrayD<f32>) -> Result<Tensor> {
        let (mut shape, one) = (value.shape().to_vec(), value.iter().copied().collect::<Vec<f32>>());
        shape[0] = self.copies();
        Tensor::from_vec(one.repeat(self.copies()), shape, &Device::Cpu).map_err(failed)
    }

    /// The gradient of a class's score by the map, `[channels, height, width]`; `None` where it is zero throughout.
    fn gradient(&self, value: &ArrayD<f32>, class: usize) -> Result<Option<Array3<f32>>> {
        let input = self.input(value)?;
        let wanted = Wanted { parameters: vec![false; self.parameters.len()], input: true };
        let (outputs, tape) = self.program.forward_saving(&input, &self.parameters, &wanted)?;
        let scores = &outputs[0];
        let mut seed = vec![0f32; scores.elem_count()];
        let each = seed.len() / self.copies();
        if class >= each {
            return Err(Error::Engine(format!("there are {each} scores, none of number {class}")));
        }
        seed[class] = 1.;
        let seed = Tensor::from_vec(seed, scores.dims(), &Device::Cpu).map_err(failed)?;
        let Some(found) = self.program.backward(tape, &[Some(seed)])?.input else { return Ok(None) };
        let values = found.to_dtype(DType::F32).and_then(|found| found.flatten_all()?.to_vec1::<f32>());
        let found = ArrayD::from_shape_vec(IxDyn(input.dims()), values.map_err(failed)?);
        let found = found.map_err(|e| Error::Engine(e.to_string()))?;
        Ok(self.map_of(&found).and_then(|map| self.grid.planes(map.view())))
    }

    /// The first image's values of the map.
    fn map_of(&self, values: &ArrayD<f32>) -> Option<ArrayD<f32>> {
        let own: Vec<f32> = values.iter().copied().take(self.shape.iter().product()).collect();
        ArrayD::from_shape_vec(IxDyn(&self.shape), own).ok()
    }
}

fn failed(e: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {e}"))
}

/// Tensors before the head that all goes through, the last one first.
fn ahead(scores: &Model, cut: &Cut) -> Result<Vec<String>> {
    // The cut knows heads in more forms than layers that are trained have.
    let known = matches!(cut.classifier, Classifier::Linear | Classifier::Conv);
    let behind = known.then(|| graph::tail(scores, &Extent::Behind(cut.tensor.clone())));
    let behind = behind.and_then(Result::ok).filter(|tail| !tail.starts.is_empty());
    Ok(behind.map_or_else(|| graph::tail(scores, &Extent::Last(0)), Ok)?.starts)
}

/// The tensor that holds the scores before any softmax or sigmoid, whose gradients vanish where it is sure.
fn logits(trained: &Trained, cut: &Cut) -> String {
    let nodes = cut.tail.iter().map(|&place| &trained.model.graph().node[place]);
    let mut activations = nodes.filter(|node| ACTIVATIONS.contains(&node.computes()));
    let input = activations.next().and_then(|node| node.input.first());
    input.unwrap_or(&trained.output).clone()
}
