//! Where in an image a classifier sees the class that it names: a map of relevance over the image.
//!
//! [`Explainer::open`] chooses how for a model, [`Explainer::image`] reads an image, [`Explainer::explain`] makes its map, and
//! [`overlay()`] shows it.

mod cam;
mod gradcam;
mod grid;
mod occlusion;
mod overlay;

use crate::data::{Source, Task};
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::metrics::argmax;
use crate::metrics::correlation::spearman;
use crate::onnx::Model;
use crate::onnx::cut::{self, Cut};
use crate::onnx::schema::ValueInfoProto;
use crate::onnx::surgery;
use crate::plan::{Trained, available_threads, probe};
use cam::Cam;
use gradcam::GradCam;
use image::RgbImage;
use ndarray::{Array2, ArrayD, ArrayViewD, Axis, concatenate};
use occlusion::Patches;
pub use overlay::{overlay, seen};
use serde::{Deserialize, Serialize};

/// Values that the images of one run may have together: 64 MiB.
const MOST_VALUES: usize = 1 << 24;

/// How a map is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Method {
    /// The channels of the last map, each times the class's weight for it: what the score is the mean of. For heads that are
    /// a linear layer on global averages (Zhou et al. 2016, arXiv 1512.04150), or on means and deviations of several maps.
    Cam,
    /// The channels of a map, each times the mean of the score's gradient by it (Selvaraju et al. 2017, arXiv 1610.02391).
    GradCam,
    /// How much less probable the class is with a grey patch on the place (Zeiler and Fergus 2014, arXiv 1311.2901).
    Occlusion,
}

/// What a classifier says of an image, and where it sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The class that is explained, or the target.
    pub class: usize,
    /// Its probability, or its value.
    pub probability: f32,
    /// The most probable class, or the target with the largest value.
    pub predicted: usize,
    /// Relevance for the class, or the number, 0 or more, in rows from the image's top: `[height, width]` of the tensor that it is made
    /// from, which covers the whole image.
    pub map: Array2<f32>,
}

impl Explained {
    /// The map in bytes, 255 for its largest value, row by row, with its height and width: at most `longest` both.
    pub fn bytes(&self, longest: usize) -> ([usize; 2], Vec<u8>) {
        let (height, width) = self.map.dim();
        let (height, width) = (height.min(longest), width.min(longest));
        let map = grid::resized(&self.map, height, width);
        let largest = map.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        ([height, width], map.iter().map(|value| (value / largest * 255.).round() as u8).collect())
    }
}

/// A classifier that is ready to explain what it says.
pub struct Explainer<'a> {
    trained: &'a Trained,
    /// Gives the maps' tensors, where there are any, and the scores.
    engine: Box<dyn Engine>,
    way: Way,
    classes: usize,
}

enum Way {
    Cam(Cam),
    GradCam(Box<GradCam>),
    Occlusion,
}

impl<'a> Explainer<'a> {
    /// Opens `trained` for a method; the first that works where it is `None`: exact maps, then gradients, then occlusion. `at`
    /// names the tensor that gradients are taken at; where it is `None` the last map or tokens before the head.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model whose output is neither labels nor numbers or that preprocesses in its graph, and for a tensor that is not
    /// there or no map; [`Error::Model`] where the method does not suit the model.
    pub fn open(
        trained: &'a Trained,
        backend: &Backend,
        method: Option<Method>,
        at: Option<&str>,
    ) -> Result<Explainer<'a>> {
        trained.labels()?;
        if trained.baked {
            let what = "its preprocessing is in its graph, and on images of any size a map has no fixed place";
            return Err(Error::model(
                &trained.model.path,
                format!("{what}; take what is behind it (Trained::unbaked)"),
            ));
        }
        let path = &trained.model.path;
        let cut =
            cut::find(trained.model.graph(), Some(&trained.output), None).map_err(|what| Error::model(path, what))?;
        let exact = || Cam::open(trained, &cut, backend).map(|(engine, cam)| (engine, Way::Cam(cam)));
        let gradients =
            || GradCam::open(trained, &cut, backend, at).map(|(engine, tail)| (engine, Way::GradCam(Box::new(tail))));
        let occlusion = || Ok((trained.open_in(backend)?, Way::Occlusion));
        let (engine, way) = match method {
            Some(Method::Cam) => exact()?,
            Some(Method::GradCam) => gradients()?,
            Some(Method::Occlusion) => occlusion()?,
            None if at.is_some() => gradients()?,
            None => exact().or_else(|_| gradients()).or_else(|_| occlusion())?,
        };
        let mut explainer = Explainer { trained, engine, way, classes: 0 };
        let output = explainer.output();
        let scores = explainer.engine.run_outputs(probe(&trained.input, 1).view(), &[output])?;
        explainer.classes = scores[0].len();
        Ok(explainer)
    }

    /// How many classes the model has.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How maps are made.
    pub fn method(&self) -> Method {
        match self.way {
            Way::Cam(_) => Method::Cam,
            Way::GradCam(_) => Method::GradCam,
            Way::Occlusion => Method::Occlusion,
        }
    }

    /// The tensors that maps are made from; none where it is the image itself.
    pub fn tensors(&self) -> Vec<&str> {
        match &self.way {
            Way::Cam(cam) => cam.tensors.iter().map(String::as_str).collect(),
            Way::GradCam(tail) => vec![&tail.tensor],
            Way::Occlusion => Vec::new(),
        }
    }

    /// An image's pixels as the model sees them, resized and cropped, and its values as the model takes them.
    ///
    /// # Errors
    /// A short reason where it cannot be read.
    pub fn image(&self, source: &Source, path: &str) -> std::result::Result<(RgbImage, ArrayD<f32>), String> {
        Ok((seen(source, path, &self.trained.preprocessing.preprocessing)?, self.values(source, path)?))
    }

    /// An image's values as the model takes them: `[1, …]`.
    ///
    /// # Errors
    /// A short reason where it cannot be read.
    pub fn values(&self, source: &Source, path: &str) -> std::result::Result<ArrayD<f32>, String> {
        let (p, layout) = (&self.trained.preprocessing.preprocessing, self.trained.input.layout);
        let shape = p.shape(1, layout);
        let mut values = vec![0.; shape.iter().product()];
        source.values(path, p, layout, &mut values)?;
        ArrayD::from_shape_vec(shape.to_vec(), values).map_err(|e| e.to_string())
    }

    /// Explains a class, or the most probable one, for one image: `[1, …]` as the model takes it. What speaks against a class is no
    /// part of its map; a number is made of what raises it and what lowers it alike.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine fails; [`Error::Usage`] for a class that the model does not have.
    pub fn explain(&mut self, image: ArrayViewD<f32>, class: Option<usize>) -> Result<Explained> {
        let wanted: Vec<usize> = std::iter::once(self.output()).chain(0..self.tensors().len()).collect();
        let values = self.engine.run_outputs(image.view(), &wanted)?;
        let probabilities = self.probabilities(&values[0])?;
        let predicted = argmax(probabilities.row(0));
        let class = class.unwrap_or(predicted);
        let Some(&probability) = probabilities.row(0).get(class) else {
            return Err(Error::Usage(format!(
                "the model has {} classes, none of number {class}",
                probabilities.ncols()
            )));
        };
        let map = match &self.way {
            Way::Cam(cam) => cam.map(&values[1..], class)?,
            Way::GradCam(tail) => tail.map(&values[1], class)?,
            Way::Occlusion => self.occluded(image, class, probability)?,
        };
        Ok(Explained { class, probability, predicted, map: map.mapv(self.relevance()) })
    }

    /// How well a map agrees with occlusion: Spearman's correlation of the two over the places of the latter, from −1 to 1.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine fails.
    pub fn check(&mut self, image: ArrayViewD<f32>, explained: &Explained) -> Result<f64> {
        let drops = self.occluded(image, explained.class, explained.probability)?.mapv(self.relevance());
        let (height, width) = drops.dim();
        let map = grid::resized(&explained.map, height, width);
        Ok(spearman(&map.into_raw_vec_and_offset().0, &drops.into_raw_vec_and_offset().0))
    }

    fn relevance(&self) -> fn(f32) -> f32 {
        if self.trained.task == Task::Regression { f32::abs } else { |value| value.max(0.) }
    }

    fn occluded(&mut self, image: ArrayViewD<f32>, class: usize, before: f32) -> Result<Array2<f32>> {
        let (p, layout) = (&self.trained.preprocessing.preprocessing, self.trained.input.layout);
        let patches = Patches::of(p);
        let (output, mut drops) = (self.output(), Vec::new());
        let most = (MOST_VALUES / image.len().max(1)).clamp(1, self.engine.at_once());
        for corners in patches.corners().collect::<Vec<_>>().chunks(most) {
            let covered: Vec<ArrayD<f32>> =
                corners.iter().map(|&corner| patches.covered(image.view(), corner, p, layout)).collect();
            let covered: Vec<_> = covered.iter().map(|image| image.view()).collect();
            let batch = concatenate(Axis(0), &covered).map_err(|e| Error::Engine(e.to_string()))?;
            let scores = self.engine.run_outputs(batch.view(), &[output])?.swap_remove(0);
            drops.extend(self.probabilities(&scores)?.column(class).iter().map(|after| before - after));
        }
        Ok(patches.map(&drops))
    }

    /// The place of the classifier's output among the engine's: behind the map's tensor, or where the file has it.
    fn output(&self) -> usize {
        self.engine.outputs().iter().position(|name| *name == self.trained.output).unwrap_or(0)
    }

    fn probabilities(&self, scores: &ArrayD<f32>) -> Result<Array2<f32>> {
        let images = scores.shape().first().copied().unwrap_or(0).max(1);
        let rows = scores.view().into_shape_with_order((images, scores.len() / images));
        let rows = rows.map_err(|_| Error::Engine("the model does not give one row an image".into()))?;
        Ok(self.trained.probabilities(rows))
    }
}

/// The model in an engine, with `tensors` as its outputs before the classifier's.
fn open(trained: &Trained, tensors: &[&str], backend: &Backend) -> Result<Box<dyn Engine>> {
    open_with(whole(trained), trained, tensors, backend)
}

/// What the scores need, and what comes behind them.
fn whole(trained: &Trained) -> Model {
    surgery::backbone(&trained.model, &Cut::at(&trained.output), &surgery::Pooling::None)
}

/// The same of that model.
fn open_with(mut model: Model, trained: &Trained, tensors: &[&str], backend: &Backend) -> Result<Box<dyn Engine>> {
    let graph = model.proto.graph.as_mut().expect("it has one");
    let info = |name: &&str| ValueInfoProto { name: Some((*name).to_owned()), ..Default::default() };
    graph.output.splice(0..0, tensors.iter().map(info));
    backend.open(&model, &trained.input.axes(), available_threads())
}
