//! Parity: the written file, loaded afresh, must compute what training saw.

pub mod golden;

use crate::data::{Source, Task};
use crate::engine::{Backend, Extractor};
use crate::error::{Error, Result};
use crate::metrics::argmax;
use crate::onnx::Model;
use crate::onnx::cut::Cut;
use crate::onnx::pooling::Pooling;
use crate::onnx::schema::data_type;
use crate::onnx::surgery;
use crate::plan::{Activation, EngineInfo, Plan, Trained, available_threads};
use crate::progress::Progress;
use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How well the written model agrees with training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parity {
    /// The engine that loaded the file.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// Real images compared.
    pub images: usize,
    /// Largest absolute difference of logits and outputs, relative to their largest absolute value.
    pub max_rel_logit_diff: f64,
    /// Share of images for which both choose the same class.
    pub class_agreement: f64,
    /// What `max_rel_logit_diff` may be.
    pub tolerance: f64,
}

/// Images that are compared; more prove no more, and cost time.
pub const IMAGES: usize = 64;

/// How far outputs may differ, relative to their scale: 1e-3, and 1e-2 for float16 heads. Rounding alone makes 1e-4 at most.
pub fn tolerance(plan: &Plan) -> f64 {
    if plan.surgery.data_type == data_type::FLOAT { 1e-3 } else { 1e-2 }
}

/// What training saw.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The head's scores: `[images, classes]`
    pub logits: ArrayView2<'a, f32>,
    /// Its features where they were not trained: `[images, features]`
    pub features: Option<ArrayView2<'a, f32>>,
}

/// Loads `file` in a fresh session and compares it, on the images at `paths`, with what training saw: its output, and its
/// logits where an activation follows them, since a saturated softmax hides a wrong head.
///
/// # Errors
/// [`Error::Parity`] naming the first diverging tensor when a difference exceeds 1e-3 (1e-2 for float16 heads).
pub fn verify<S: AsRef<str> + Sync>(
    file: &Path,
    plan: &Plan,
    activation: Activation,
    backend: &Backend,
    images: (&Source, &[S]),
    expected: Expected,
    progress: Progress,
) -> Result<Parity> {
    let written = Written { model: &Model::open(file)?, plan, backend, images, progress };
    let logits = expected.logits;
    let tolerance = tolerance(plan);
    let (output, engine) = written.rows(None)?;
    let (mut difference, class_agreement) = compare(activation.apply(logits).view(), output.view(), SMALLEST);
    let mut diverging = (difference > tolerance).then(|| plan.output.clone());
    if let (false, Some(name)) = (activation == Activation::None, written.head()) {
        let own = compare(logits, written.rows(Some(&name))?.0.view(), SMALLEST).0;
        if own > tolerance {
            diverging = Some(name);
        }
        difference = difference.max(own);
    }
    if let Some(mut tensor) = diverging {
        // Before the head comes what it reads.
        if let Some(features) = expected.features {
            let frozen = written.rows(Some(&plan.cut))?.0;
            if compare(features, frozen.view(), f32::MIN_POSITIVE).0 > tolerance {
                tensor.clone_from(&plan.cut);
            }
        }
        return Err(Error::Parity(format!(
            "{}: {} computes outputs that differ from training by {difference:.1e} of their scale (allowed \
             {tolerance:.0e}); the first tensor to diverge is '{tensor}'",
            file.display(),
            engine.name
        )));
    }
    let (engine, version, images) = (engine.name.to_string(), engine.version, output.nrows());
    Ok(Parity { engine, version, images, max_rel_logit_diff: difference, class_agreement, tolerance })
}

/// What a model that preprocesses in its graph makes of images, beside what it makes of them with our preprocessing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baked {
    /// Images compared.
    pub images: usize,
    /// The largest difference of probabilities.
    pub max_probability_diff: f32,
    /// The share of images of the same class.
    pub class_agreement: f64,
}

/// What probabilities may differ by: the graph's weights of pixels are not rounded as those of images are.
const BAKED: f32 = 0.01;
/// The same of numbers, relative to the largest.
const NUMBERS: f32 = 0.05;

/// Compares the probabilities, or the numbers relative to the largest, that the model in `file`, which preprocesses in its graph, gives for the images at `paths` with
/// those of `logits`.
///
/// # Errors
/// [`Error::Parity`] where they differ by more than 0.01, or numbers by more than 0.05 of their scale, or where an image gets
/// another class although its two likeliest were further apart than 0.01.
pub fn verify_baked(
    file: &Path,
    backend: &Backend,
    (source, paths): (&Source, &[String]),
    logits: ArrayView2<f32>,
    progress: Progress,
) -> Result<Baked> {
    let trained = Trained::open(file, None, None)?;
    let found = trained.extractor(backend)?.run(source, paths, "verifying the preprocessing in it", progress)?;
    let of = |output: ArrayView2<f32>| match trained.task {
        Task::Multiclass => trained.activation.probabilities(output),
        _ => trained.probabilities(output),
    };
    let (expected, found) = (of(trained.activation.apply(logits).view()), of(found.rows.view()));
    // Relative to 1, which no probability exceeds; numbers have a scale of their own, and are held back by nothing as logits are.
    let (scale, allowed) = if trained.task == Task::Regression { (SMALLEST, NUMBERS) } else { (1., BAKED) };
    let (largest, class_agreement) = compare(expected.view(), found.view(), scale);
    let largest = largest as f32;
    let others =
        if trained.task == Task::Multiclass { other_classes(expected.view(), found.view(), allowed) } else { 0 };
    if largest <= allowed && others == 0 {
        return Ok(Baked { images: paths.len(), max_probability_diff: largest, class_agreement });
    }
    let what = format!(
        "with its preprocessing in the graph, its outputs differ by {largest:.3} (allowed {allowed}), and {others} images get \
         another class that was not nearly as likely"
    );
    Err(Error::Parity(format!("{}: {what}", file.display())))
}

/// How many rows have another largest value in `found` although the two largest of `expected` are more than `apart`.
fn other_classes(expected: ArrayView2<f32>, found: ArrayView2<f32>, apart: f32) -> usize {
    let other = |(a, b): &(ArrayView1<f32>, ArrayView1<f32>)| {
        let class = argmax(*a);
        let rest = a.iter().enumerate().filter(|(place, _)| *place != class).map(|(_, value)| *value);
        argmax(*b) != class && a[class] - rest.fold(f32::NEG_INFINITY, f32::max) > apart
    };
    expected.rows().into_iter().zip(found.rows()).filter(other).count()
}

/// The file as it was read again, and the images to try it on.
struct Written<'a, S> {
    model: &'a Model,
    plan: &'a Plan,
    backend: &'a Backend,
    images: (&'a Source, &'a [S]),
    progress: Progress<'a>,
}

impl<S: AsRef<str> + Sync> Written<'_, S> {
    /// What the file gives for the images: its output, or the rows of a tensor inside it (the features at the cut).
    fn rows(&self, tensor: Option<&str>) -> Result<(Array2<f32>, EngineInfo)> {
        let plan = self.plan;
        let part = tensor.map(|tensor| {
            if tensor == plan.cut {
                return surgery::backbone(self.model, &plan.surgery, &plan.pooling);
            }
            let inside = Cut { tensor: tensor.into(), dequantize: None, ..plan.surgery.clone() };
            surgery::backbone(self.model, &inside, &Pooling::None)
        });
        let engine = self.backend.open(part.as_ref().unwrap_or(self.model), &plan.input.axes(), available_threads())?;
        let info = EngineInfo { name: engine.name(), version: engine.version().into() };
        let mut extractor = Extractor::new(engine, 0, plan.preprocessing.clone(), plan.input.layout);
        let (source, paths) = self.images;
        let found = match extractor.run(source, paths, "verifying the written model", self.progress) {
            // Values that are not finite, say: the file runs, but not as it was trained.
            Err(Error::Engine(what)) => return Err(Error::Parity(what)),
            other => other?,
        };
        match found.places.len() == paths.len() {
            true => Ok((found.rows, info)),
            false => Err(Error::Parity("images could not be read again to verify; are they being changed?".into())),
        }
    }

    /// The head's own output: the last `Gemm`'s, since surgery appends it.
    fn head(&self) -> Option<String> {
        let head = self.model.graph().node.iter().rev().find(|n| n.is("Gemm"))?;
        head.output.first().cloned()
    }
}

/// The largest difference of scores `[images, classes]`, relative to the scale of those expected; infinite where a value is
/// not a number, or the shapes differ.
pub fn difference(expected: ArrayView2<f32>, found: ArrayView2<f32>) -> f64 {
    compare(expected, found, SMALLEST).0
}

/// The least scale of outputs that differences are relative to: classes whose logits are all smaller are equally
/// likely, and what rounding makes of them means nothing.
const SMALLEST: f32 = 1e-3;

/// Largest difference relative to the scale of `expected`, `smallest` at least (infinite where a value is not a
/// number), and the share of equal argmaxes.
fn compare(expected: ArrayView2<f32>, found: ArrayView2<f32>, smallest: f32) -> (f64, f64) {
    if expected.dim() != found.dim() {
        return (f64::INFINITY, 0.0);
    }
    let scale = expected.iter().fold(smallest, |m, v| m.max(v.abs()));
    let difference = expected.iter().zip(&found).map(|(a, b)| f64::from((a - b).abs() / scale));
    // `max` passes over what is not a number; such a difference must count.
    let largest = difference.fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { d.max(m) });
    let agree = expected.rows().into_iter().zip(found.rows()).filter(|(a, b)| argmax(*a) == argmax(*b)).count();
    (largest, agree as f64 / expected.nrows().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn another_class_counts_where_it_was_not_nearly_as_likely() {
        let expected = array![[0.5, 0.3, 0.2], [0.42, 0.4, 0.18], [0.405, 0.4, 0.195]];
        let found = array![[0.51, 0.3, 0.19], [0.409, 0.41, 0.181], [0.4, 0.405, 0.195]];
        // All within 0.012 of each other; the second is another class by more than 0.01, the third by less.
        assert_eq!(other_classes(expected.view(), found.view(), 0.01), 1);
        assert_eq!(other_classes(expected.view(), expected.view(), 0.01), 0);
    }
}
