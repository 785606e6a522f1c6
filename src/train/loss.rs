//! Losses on logits and soft targets, with their gradients.

use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What is minimised. Each is the mean over the images, as PyTorch's function of the name defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// −Σ w·t·log softmax(z), `cross_entropy` with probabilities as targets: with class weights, too, the sum over the
    /// images is divided by their number.
    #[value(help = "Of the softmax: classes exclude each other")]
    CrossEntropy,
    /// The mean over the classes of w·(z − t)², `mse_loss`.
    #[value(
        help = "Squared error of the scores; of classes, probabilities are poor then: scores near 0 and 1, through a softmax"
    )]
    Mse,
    /// The mean over the classes of −w·(t·log σ(z) + (1 − t)·log(1 − σ(z))), `binary_cross_entropy_with_logits`.
    #[value(help = "Binary cross-entropy of each class by itself")]
    Bce,
}

impl LossKind {
    /// The name of a GPU's kernel for it.
    pub fn kernel(self) -> &'static str {
        match self {
            LossKind::CrossEntropy => "cross_entropy",
            LossKind::Mse => "mse",
            LossKind::Bce => "bce",
        }
    }
}

/// A loss and what modifies it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    /// Which one.
    pub kind: LossKind,
    /// ε in t·(1 − ε) + ε/classes, which takes the place of every target (arXiv 1512.00567, section 7); 0 for none.
    pub label_smoothing: f64,
    /// w, one per class; `None` for 1.
    pub class_weights: Option<Vec<f64>>,
}

impl Loss {
    /// Without label smoothing and weights.
    pub fn new(kind: LossKind) -> Self {
        Self { kind, label_smoothing: 0.0, class_weights: None }
    }

    /// The mean loss, and its gradient by the logits [images, classes]. `targets`: [images, classes], such as [`one_hot`]
    /// gives, or mixed ones. Computed in float64; no logits overflow.
    ///
    /// # Errors
    /// [`Error::Train`] for shapes that differ, no images, and logits or targets that are not finite (naming the row).
    pub fn evaluate(&self, logits: ArrayView2<f32>, targets: ArrayView2<f32>) -> Result<(f64, Array2<f32>)> {
        let (images, classes) = logits.dim();
        if targets.dim() != (images, classes) || images == 0 || classes == 0 {
            let what = format!("logits of shape {:?} for targets of shape {:?}", logits.dim(), targets.dim());
            return Err(Error::Train(what));
        }
        self.check_weights(classes)?;
        check(logits, "the network's output")?;
        check(targets, "the target")?;
        let mut gradient = Array2::<f32>::zeros((images, classes));
        let mut rows: Vec<_> = gradient.axis_iter_mut(Axis(0)).collect();
        let losses: Vec<f64> = rows
            .par_iter_mut()
            .enumerate()
            .map(|(i, gradient)| {
                let z: Vec<f64> = logits.row(i).iter().map(|&z| z.into()).collect();
                let t: Vec<f64> = targets.row(i).iter().map(|&t| self.smooth(t.into(), classes)).collect();
                let (loss, by_logits) = self.row(&z, &t);
                gradient.iter_mut().zip(by_logits).for_each(|(to, g)| *to = (g / images as f64) as f32);
                loss
            })
            .collect();
        // One after the other: the sum does not depend on the number of threads.
        Ok((losses.iter().sum::<f64>() / images as f64, gradient))
    }

    /// Targets as a GPU takes them: smoothed, and behind the images' rows one of the classes' weights.
    ///
    /// # Errors
    /// As [`Loss::evaluate`].
    pub fn prepared(&self, targets: ArrayView2<f32>) -> Result<Array2<f32>> {
        let (images, classes) = targets.dim();
        self.check_weights(classes)?;
        check(targets, "the target")?;
        Ok(Array2::from_shape_fn((images + 1, classes), |(row, class)| match targets.get((row, class)) {
            Some(&target) => self.smooth(target.into(), classes) as f32,
            None => self.weight(class) as f32,
        }))
    }

    fn check_weights(&self, classes: usize) -> Result<()> {
        let wrong = self.class_weights.as_ref().filter(|weights| weights.len() != classes);
        wrong.map_or(Ok(()), |w| Err(Error::Train(format!("{} class weights for {classes} classes", w.len()))))
    }

    fn smooth(&self, target: f64, classes: usize) -> f64 {
        target * (1.0 - self.label_smoothing) + self.label_smoothing / classes as f64
    }

    fn weight(&self, class: usize) -> f64 {
        self.class_weights.as_ref().map_or(1.0, |w| w[class])
    }

    /// One image's loss, and its gradient.
    fn row(&self, z: &[f64], t: &[f64]) -> (f64, Vec<f64>) {
        let terms = z.iter().zip(t).enumerate();
        let mean = 1.0 / z.len() as f64;
        match self.kind {
            LossKind::CrossEntropy => {
                // d/dz of −Σ a·log p is p·Σa − a.
                let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = z.iter().map(|z| (z - max).exp()).sum();
                let log_total = max + total.ln();
                let a: Vec<f64> = t.iter().enumerate().map(|(c, t)| self.weight(c) * t).collect();
                let mass: f64 = a.iter().sum();
                let loss = z.iter().zip(&a).map(|(z, a)| a * (log_total - z)).sum();
                (loss, z.iter().zip(&a).map(|(z, a)| (z - log_total).exp() * mass - a).collect())
            }
            LossKind::Mse => {
                let pairs = terms.map(|(c, (z, t))| (self.weight(c) * mean, z - t));
                let (losses, gradient): (Vec<_>, _) = pairs.map(|(w, d)| (w * d * d, 2.0 * w * d)).unzip();
                (losses.iter().sum(), gradient)
            }
            LossKind::Bce => {
                // −t·log σ(z) − (1 − t)·log(1 − σ(z)) = max(z, 0) − z·t + log(1 + e^−|z|); its derivative is σ(z) − t.
                let pairs = terms.map(|(c, (&z, &t))| {
                    let (w, e) = (self.weight(c) * mean, (-z.abs()).exp());
                    let sigmoid = if z >= 0.0 { 1.0 } else { e } / (1.0 + e);
                    (w * (z.max(0.0) - z * t + e.ln_1p()), w * (sigmoid - t))
                });
                let (losses, gradient): (Vec<f64>, _) = pairs.unzip();
                (losses.iter().sum(), gradient)
            }
        }
    }
}

/// Targets [images, classes] that are 1 at the image's class and 0 elsewhere. Labels lie below `classes`.
pub fn one_hot(labels: &[usize], classes: usize) -> Array2<f32> {
    Array2::from_shape_fn((labels.len(), classes), |(i, class)| f32::from(u8::from(labels[i] == class)))
}

/// scikit-learn's `balanced` class weights: images / (classes that have any · images of the class), 0 for the others.
pub fn balanced_weights(labels: impl Iterator<Item = usize>, classes: usize) -> Vec<f64> {
    let mut counts = vec![0f64; classes];
    labels.for_each(|label| counts[label] += 1.);
    let mean = counts.iter().sum::<f64>() / counts.iter().filter(|count| **count > 0.).count().max(1) as f64;
    counts.into_iter().map(|count| if count > 0. { mean / count } else { 0. }).collect()
}

fn check(values: ArrayView2<f32>, what: &str) -> Result<()> {
    let bad = values.indexed_iter().find(|(_, v)| !v.is_finite());
    bad.map_or(Ok(()), |((row, class), v)| {
        Err(Error::Train(format!("{what} for image {row} of the batch, class {class}, is {v}")))
    })
}
