//! Numbers predicted from images: one or more targets.

use super::bootstrap::{self, Difference, Draws, Figures, Interval};
use super::{distinct, mean};
use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One target's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerTarget {
    /// Its name.
    pub target: String,
    /// The coefficient of determination, 1 − Σ(y − ŷ)² / Σ(y − ȳ)². Where all y are equal: 1 if every ŷ is right, else 0.
    pub r2: f64,
    /// The mean absolute error, in the target's unit.
    pub mae: f64,
    /// The root of the mean squared error, in the target's unit.
    pub rmse: f64,
    /// Percentile intervals of the bootstrap by the figure's name; see [`super::bootstrap`].
    pub intervals: BTreeMap<String, Interval>,
    /// What always the mean of the judged values would reach.
    pub baseline: ValueBaseline,
}

/// Figures of always saying the mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValueBaseline {
    /// As [`Regression::r2`]: 0 where values differ.
    pub r2: f64,
    /// As [`Regression::mae`].
    pub mae: f64,
    /// As [`Regression::rmse`].
    pub rmse: f64,
}

/// How well predicted numbers match. Definitions are scikit-learn's, with `multioutput='uniform_average'`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Images; of a single one R² says nothing, and is 1 or 0 as for equal targets.
    pub n: usize,
    /// Groups of them, of which resamples draw whole ones; `None` where they draw images. Few have no intervals:
    /// [`FEWEST_DRAWN`](super::bootstrap::FEWEST_DRAWN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Mean R² over the targets (`r2_score`).
    pub r2: f64,
    /// Mean of the targets' mean absolute errors (`mean_absolute_error`).
    pub mae: f64,
    /// Mean of the targets' roots (`root_mean_squared_error`).
    pub rmse: f64,
    /// Percentile intervals of the bootstrap by the figure's name; see [`super::bootstrap`].
    pub intervals: BTreeMap<String, Interval>,
    /// What always the targets' means would reach.
    pub baseline: ValueBaseline,
    /// In the order of the targets.
    pub per_target: Vec<PerTarget>,
}

impl Regression {
    /// Judges `predicted` `[images, targets]` by `truth`, of the same shape.
    ///
    /// # Errors
    /// [`Error::Usage`] when the sizes do not match, there is nothing to judge, or a value is not finite.
    pub fn new(truth: ArrayView2<f32>, predicted: ArrayView2<f32>, targets: &[String]) -> Result<Regression> {
        Regression::grouped(truth, predicted, targets, &[])
    }

    /// The same of images that belong together where their numbers in `groups` are the same; nothing there for images that do not.
    ///
    /// # Errors
    /// Those of [`Regression::new`], and [`Error::Usage`] where there are groups of another number of images.
    pub fn grouped(
        truth: ArrayView2<f32>,
        predicted: ArrayView2<f32>,
        targets: &[String],
        groups: &[usize],
    ) -> Result<Regression> {
        let mut figures = Regression::without_intervals(truth, predicted, targets)?;
        figures.groups = distinct(groups, figures.n)?;
        let (outcomes, draws) = (ValueOutcomes::new(truth, predicted), Draws::new(figures.n, groups));
        let of = |targets: &[usize]| bootstrap::intervals(&draws, |drawn| outcomes.figures(drawn, targets), &[]);
        figures.intervals = of(&(0..targets.len()).collect::<Vec<_>>());
        figures.per_target.iter_mut().enumerate().for_each(|(place, target)| target.intervals = of(&[place]));
        Ok(figures)
    }

    /// The same without intervals, which take a thousand times as long.
    ///
    /// # Errors
    /// Those of [`Regression::new`].
    pub fn without_intervals(
        truth: ArrayView2<f32>,
        predicted: ArrayView2<f32>,
        targets: &[String],
    ) -> Result<Regression> {
        if truth.dim() != predicted.dim() || truth.ncols() != targets.len() {
            let ((rows, columns), (n, k)) = (predicted.dim(), truth.dim());
            let what = format!("{rows}×{columns} predictions for {n}×{k} values of {} targets", targets.len());
            return Err(Error::Usage(what));
        }
        if truth.is_empty() {
            return Err(Error::Usage("there are no values to judge by".into()));
        }
        if !truth.iter().chain(&predicted).all(|value| value.is_finite()) {
            return Err(Error::Usage("a value to judge by, or a predicted one, is not finite".into()));
        }
        let all: Vec<usize> = (0..truth.nrows()).collect();
        let outcomes = ValueOutcomes::new(truth, predicted);
        let centres = truth.mapv(f64::from).mean_axis(ndarray::Axis(0)).unwrap_or_default();
        let same = ValueOutcomes {
            predicted: centres.broadcast(truth.dim()).expect("one a target").to_owned(),
            ..outcomes.clone()
        };
        let baseline = |targets: &[usize]| {
            let [r2, mae, rmse] = same.values(&all, targets);
            ValueBaseline { r2, mae, rmse }
        };
        let per_target = |(place, name): (usize, &String)| {
            let [r2, mae, rmse] = outcomes.values(&all, &[place]);
            PerTarget { target: name.clone(), r2, mae, rmse, intervals: BTreeMap::new(), baseline: baseline(&[place]) }
        };
        let every: Vec<usize> = (0..targets.len()).collect();
        let [r2, mae, rmse] = outcomes.values(&all, &every);
        Ok(Regression {
            n: truth.nrows(),
            groups: None,
            r2,
            mae,
            rmse,
            intervals: BTreeMap::new(),
            baseline: baseline(&every),
            per_target: targets.iter().enumerate().map(per_target).collect(),
        })
    }
}

/// What each image has, and is predicted to have: `[images, targets]` both.
#[derive(Debug, Clone)]
pub struct ValueOutcomes {
    truth: Array2<f64>,
    predicted: Array2<f64>,
}

impl ValueOutcomes {
    /// Of one shape, all of them finite.
    pub fn new(truth: ArrayView2<f32>, predicted: ArrayView2<f32>) -> ValueOutcomes {
        ValueOutcomes { truth: truth.mapv(f64::from), predicted: predicted.mapv(f64::from) }
    }

    /// R², the mean absolute error and the root of the mean squared one of the images at these places, means over `targets`.
    fn values(&self, drawn: &[usize], targets: &[usize]) -> [f64; 3] {
        let of = |&target: &usize| {
            let (truth, predicted) = (self.truth.column(target), self.predicted.column(target));
            let centre = mean(drawn.iter().map(|&i| truth[i]));
            let (mut absolute, mut squares, mut spread) = (0., 0., 0.);
            for &i in drawn {
                let error = truth[i] - predicted[i];
                absolute += error.abs();
                squares += error * error;
                spread += (truth[i] - centre).powi(2);
            }
            let r2 = match (spread > 0., squares > 0.) {
                (true, _) => 1. - squares / spread,
                (false, wrong) => f64::from(u8::from(!wrong)),
            };
            [r2, absolute / drawn.len() as f64, (squares / drawn.len() as f64).sqrt()]
        };
        let found: Vec<[f64; 3]> = targets.iter().map(of).collect();
        [0, 1, 2].map(|figure| mean(found.iter().map(|target| target[figure])))
    }

    fn figures(&self, drawn: &[usize], targets: &[usize]) -> Figures {
        ["r2", "mae", "rmse"].into_iter().zip(self.values(drawn, targets)).collect()
    }

    /// The figures of `self` less those of `other`, which has to judge the same images in the same order; `None` where it does
    /// not. `groups` as for [`Regression::grouped`].
    pub fn less(&self, other: &ValueOutcomes, groups: &[usize]) -> Option<BTreeMap<String, Difference>> {
        let (images, every) = (self.truth.nrows(), (0..self.truth.ncols()).collect::<Vec<_>>());
        let draws = Draws::new(images, groups);
        let judge = |drawn: &[usize]| self.figures(drawn, &every);
        let judge_other = |drawn: &[usize]| other.figures(drawn, &every);
        let fit = distinct(groups, images).is_ok();
        let apart = |_: &str, i: usize| f64::from(u8::from(self.predicted.row(i) != other.predicted.row(i)));
        (images > 0 && fit && self.truth == other.truth)
            .then(|| bootstrap::differences(&draws, [&judge, &judge_other], &apart, &[]))
    }
}
