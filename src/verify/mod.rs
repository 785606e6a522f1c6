//! Parity: the written file, loaded afresh, must compute what training saw.

use crate::engine::{Backend, Extractor};
use crate::error::{Error, Result};
use crate::metrics::argmax;
use crate::onnx::Model;
use crate::onnx::schema::data_type;
use crate::onnx::surgery;
use crate::plan::{Activation, Plan, available_threads};
use crate::progress::Progress;
use crate::train::LinearHead;
use ndarray::ArrayView2;
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
    /// Largest absolute difference of the outputs, relative to the largest absolute output.
    pub max_rel_logit_diff: f64,
    /// Share of images for which both choose the same class.
    pub class_agreement: f64,
    /// What `max_rel_logit_diff` may be.
    pub tolerance: f64,
}

/// Images that are compared; more prove no more, and cost time.
pub const IMAGES: usize = 64;

/// Loads `file` in a fresh session and compares its output on the images at `paths` with what `head` gives for the
/// features that training saw (`[images, features]`).
///
/// # Errors
/// [`Error::Parity`] naming the first diverging tensor when the difference exceeds 1e-3 (1e-2 for float16 heads).
pub fn verify<S: AsRef<str> + Sync>(
    file: &Path,
    plan: &Plan,
    activation: Activation,
    backend: &Backend,
    (root, paths): (&Path, &[S]),
    (head, features): (&LinearHead, ArrayView2<f32>),
    progress: Progress,
) -> Result<Parity> {
    let model = Model::open(file)?;
    let outputs: Vec<&str> = model.graph().output.iter().map(|o| o.name()).collect();
    let mut extractor = open(&model, outputs.len() - 1, plan, backend)?;
    let found = extractor.run(root, paths, "verifying the written model", progress)?;
    if found.places.len() != paths.len() {
        return Err(Error::Parity(
            "images could not be read again for the verification; are they being changed?".into(),
        ));
    }
    let expected = activation.apply(head.logits(features)?.view());
    let tolerance = if plan.surgery.data_type == data_type::FLOAT { 1e-3 } else { 1e-2 };
    let (max_rel_logit_diff, class_agreement) = compare(expected.view(), found.rows.view());
    let (engine, version) = (extractor.engine().name().to_string(), extractor.engine().version().to_string());
    let parity = Parity { engine, version, images: paths.len(), max_rel_logit_diff, class_agreement, tolerance };
    if max_rel_logit_diff > tolerance {
        let tensor = first_diverging(&model, plan, backend, (root, paths), features, tolerance, progress)?;
        return Err(Error::Parity(format!(
            "{}: {} computes outputs that differ from training by {max_rel_logit_diff:.1e} of their scale (allowed \
             {tolerance:.0e}); the first tensor to diverge is '{tensor}'",
            file.display(),
            parity.engine
        )));
    }
    Ok(parity)
}

fn open(model: &Model, output: usize, plan: &Plan, backend: &Backend) -> Result<Extractor> {
    let [_, a, b, c] = plan.input.shape(1);
    let engine = backend.open(model, &[plan.input.batch, Some(a), Some(b), Some(c)], available_threads())?;
    Ok(Extractor::new(engine, output, plan.preprocessing.clone(), plan.input.layout))
}

/// Largest difference relative to the scale of `expected` (infinite where a value is not a number), and the share of
/// equal argmaxes.
fn compare(expected: ArrayView2<f32>, found: ArrayView2<f32>) -> (f64, f64) {
    if expected.dim() != found.dim() {
        return (f64::INFINITY, 0.0);
    }
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let difference = expected.iter().zip(&found).map(|(a, b)| f64::from((a - b).abs() / scale));
    // `max` passes over what is not a number; such a difference must count.
    let largest = difference.fold(0.0, |m, d| if d.is_nan() { f64::INFINITY } else { d.max(m) });
    let agree = expected.rows().into_iter().zip(found.rows()).filter(|(a, b)| argmax(*a) == argmax(*b)).count();
    (largest, agree as f64 / expected.nrows().max(1) as f64)
}

/// Of the features and what comes after them, the first that is not what training saw.
fn first_diverging<S: AsRef<str> + Sync>(
    model: &Model,
    plan: &Plan,
    backend: &Backend,
    (root, paths): (&Path, &[S]),
    features: ArrayView2<f32>,
    tolerance: f64,
    progress: Progress,
) -> Result<String> {
    let frozen = surgery::backbone(model, &plan.surgery, &plan.pooling);
    let found = open(&frozen, 0, plan, backend)?.run(root, paths, "looking for the difference", progress)?;
    if compare(features, found.rows.view()).0 > tolerance {
        return Ok(plan.cut.clone());
    }
    // The features agree, so it is the head: the last `Gemm`, since surgery appends it.
    let head = model.graph().node.iter().rev().find(|n| n.is("Gemm"));
    Ok(head.and_then(|n| n.output.first()).unwrap_or(&plan.output).clone())
}
