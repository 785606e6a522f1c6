//! What a network is trained to give for each image.

use crate::data::{Dataset, Split, Task};
use crate::train::LinearHead;
use crate::train::loss::{LossKind, one_hot};
use ndarray::{Array1, Array2, Axis};
use std::collections::HashMap;

/// Targets by the images' labels.
pub enum Targets {
    /// 1 for the class, of so many, and 0 for the others.
    Classes(usize),
    /// Each image's labels, 1 or 0: `[texts, labels]`, as [`Dataset::truths`] has them.
    Labels(Array2<f32>),
    /// Each image's numbers, less their mean over the training images, and divided by their deviation.
    Values {
        /// `[texts, targets]`
        rows: Array2<f32>,
        /// `[targets]`
        means: Array1<f32>,
        /// `[targets]`
        deviations: Array1<f32>,
    },
}

impl Targets {
    /// Those of a data set.
    pub fn new(data: &Dataset) -> Targets {
        match data.task {
            Task::Multiclass => Targets::Classes(data.classes.len()),
            Task::Multilabel => Targets::Labels(data.truths.clone()),
            Task::Regression => {
                let train: Vec<usize> = data.split(Split::Train).map(|item| item.label).collect();
                let own = data.truth(&train).mapv(f64::from);
                let means = own.mean_axis(Axis(0)).unwrap_or_default().mapv(|mean| mean as f32);
                let spread = |deviation: f64| if deviation > 0. { deviation as f32 } else { 1. };
                let deviations = own.std_axis(Axis(0), 0.).mapv(spread);
                Targets::Values { rows: (&data.truths - &means) / &deviations, means, deviations }
            }
        }
    }

    /// How many values an image has.
    pub fn count(&self) -> usize {
        match self {
            Targets::Classes(classes) => *classes,
            Targets::Labels(rows) | Targets::Values { rows, .. } => rows.ncols(),
        }
    }

    /// Whether an answer is right or wrong.
    pub fn are_classes(&self) -> bool {
        matches!(self, Targets::Classes(_))
    }

    /// The loss that fits.
    pub fn loss(&self) -> LossKind {
        match self {
            Targets::Classes(_) => LossKind::CrossEntropy,
            Targets::Labels(_) => LossKind::Bce,
            Targets::Values { .. } => LossKind::Mse,
        }
    }

    /// Of images with these labels: `[images, values]`.
    pub fn of(&self, labels: &[usize]) -> Array2<f32> {
        match self {
            Targets::Classes(classes) => one_hot(labels, *classes),
            Targets::Labels(rows) | Targets::Values { rows, .. } => rows.select(Axis(0), labels),
        }
    }

    /// A head for the numbers as they are as one for these.
    pub fn within(&self, mut head: LinearHead) -> LinearHead {
        if let Targets::Values { means, deviations, .. } = self {
            head.weight /= &deviations.view().insert_axis(Axis(1));
            head.bias = (head.bias - means) / deviations;
        }
        head
    }

    /// A head for these, by the names of its weight and its bias among `values`, as one for the numbers as they are.
    pub fn leave(&self, values: &mut HashMap<String, Vec<f32>>, [weight, bias]: &[String; 2]) {
        let Targets::Values { means, deviations, .. } = self else { return };
        if let Some(weight) = values.get_mut(weight) {
            let features = weight.len() / deviations.len().max(1);
            let rows = weight.chunks_mut(features.max(1)).zip(deviations);
            rows.for_each(|(row, deviation)| row.iter_mut().for_each(|value| *value *= deviation));
        }
        if let Some(bias) = values.get_mut(bias) {
            bias.iter_mut().zip(means.iter().zip(deviations)).for_each(|(b, (mean, d))| *b = *b * d + mean);
        }
    }
}
