//! What `run.json` tells of a head.

use crate::data::{Split, Task};
use crate::error::Result;
use crate::metrics::calibration::{expected_calibration_error, reliability};
use crate::metrics::{Figures, MultiLabel, Regression, softmax};
use crate::train::Features;
use crate::train::heads::{Abstention, Answered, Chosen, Compared, Curve, Several, Tried};
use ndarray::{Array2, ArrayView2, Axis};
use serde::Serialize;
use std::collections::BTreeMap;

/// What is told of a head, by what it was trained for.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AnyHead {
    /// Classes.
    Classes(Box<HeadInfo>),
    /// Several labels, or numbers.
    Several(Box<SeveralInfo>),
}

/// A head for several labels or numbers, and how it was chosen.
#[derive(Debug, Clone, Serialize)]
pub struct SeveralInfo {
    /// Folds of the cross-validation; 0 where each image was left out by itself.
    pub folds: usize,
    /// How often the images were dealt into folds.
    pub repeats: usize,
    /// What was compared, by growing depth.
    pub compared: Vec<Tried>,
    /// The place of the chosen one.
    pub chosen: usize,
    /// Its figures on images that it did not learn from; those of labels flatter a little, since thresholds were chosen by them.
    pub cross_validation: serde_json::Value,
    /// The same in each fold of all deals: the mean over those that have the figure, and the standard deviation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_fold: BTreeMap<String, [f64; 2]>,
    /// How the mean average precision, or R², grows with the number of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_curve: Option<Curve>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_learning_curve: Option<&'static str>,
}

impl SeveralInfo {
    /// Of a head that learnt from `truths` `[images, labels or targets]` of these names.
    ///
    /// # Errors
    /// Those of [`MultiLabel::new`] and [`Regression::new`].
    pub fn new(chosen: &Several, truths: ArrayView2<f32>, names: &[String]) -> Result<SeveralInfo> {
        let figures = |truths: ArrayView2<f32>, told: ArrayView2<f32>| {
            Ok(match chosen.task {
                Task::Regression => Figures::Values(Regression::without_intervals(truths, told, names)?),
                _ => {
                    let own = truths.mapv(|value| value > 0.5);
                    Figures::Labels(MultiLabel::without_intervals(own.view(), told, names, &chosen.thresholds)?)
                }
            }
            .summary())
        };
        let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        let further = chosen.further.iter().map(|(fold, told)| (fold, told));
        for (dealt, told) in [(&chosen.fold, &chosen.out_of_fold)].into_iter().chain(further) {
            for fold in 0..dealt.iter().max().map_or(0, |last| last + 1) {
                let images: Vec<usize> = (0..truths.nrows()).filter(|&i| dealt[i] == fold).collect();
                let (own, told) = (truths.select(Axis(0), &images), told.select(Axis(0), &images));
                let told = figures(own.view(), told.view())?;
                // R² of targets that are all the same, as of one image, is no figure.
                let vary = own.columns().into_iter().all(|own| own.iter().any(|v| *v != own[0]));
                let is_told = |name: &str| name != "images" && (vary || name != "r2");
                let told = told.as_object().into_iter().flatten().filter(|(name, _)| is_told(name));
                told.for_each(|(name, value)| values.entry(name.clone()).or_default().extend(value.as_f64()));
            }
        }
        values.retain(|_, values| !values.is_empty());
        Ok(SeveralInfo {
            folds: chosen.folds,
            repeats: chosen.repeats,
            compared: chosen.compared.clone(),
            chosen: chosen.place,
            cross_validation: figures(truths, chosen.out_of_fold.view())?,
            by_fold: values.into_iter().map(|(name, values)| (name, spread(&values))).collect(),
            learning_curve: chosen.curve.clone().and_then(std::result::Result::ok),
            no_learning_curve: chosen.curve.as_ref().and_then(|curve| curve.as_ref().err().copied()),
        })
    }
}

/// The mean and the standard deviation.
fn spread(values: &[f64]) -> [f64; 2] {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    [mean, (squares / (values.len() - 1).max(1) as f64).sqrt()]
}

/// The head and the cross-validation that chose it.
#[derive(Debug, Clone, Serialize)]
pub struct HeadInfo {
    /// Folds of the cross-validation; 0 where nothing could be compared.
    pub folds: usize,
    /// How often the images were dealt into folds.
    pub repeats: usize,
    /// What was compared, the simplest first.
    pub compared: Vec<Compared>,
    /// Why nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncompared: Option<&'static str>,
    /// The place of the chosen one.
    pub chosen: usize,
    /// What the logits were divided by, to be as sure as they are right; what suits most data where nothing was compared.
    pub temperature: f64,
    /// The expected calibration error of its probabilities, before the temperature and with it, on images that it did not learn
    /// from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration_error: Option<[f64; 2]>,
    /// The same of held-out images by split, which had no part in the temperature.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held_out_calibration_error: BTreeMap<String, [f64; 2]>,
    /// When its answers are not to be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstention: Option<Abstention>,
    /// What that does with held-out images by split, which had no part in it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held_out_abstention: BTreeMap<String, Answered>,
    /// Why it is not known, where a share of right answers was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_abstention: Option<String>,
    /// How its accuracy grows with the number of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_curve: Option<Curve>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_learning_curve: Option<&'static str>,
    /// Figures of the chosen one on images that it did not learn from: the mean over the folds of all repeats, and the standard
    /// deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<BTreeMap<&'static str, [f64; 2]>>,
}

impl HeadInfo {
    /// Of a head that learnt from images of these classes. `precision` is the share of answers that are to be right.
    pub fn new(chosen: &Chosen, labels: &[usize], precision: Option<f64>) -> HeadInfo {
        let calibration_error = (chosen.folds > 0).then(|| {
            [&chosen.uncalibrated, &chosen.out_of_fold]
                .map(|p| expected_calibration_error(&reliability(labels, p.view())))
        });
        let abstention = precision.and_then(|precision| chosen.abstention(labels, precision));
        let of = |figure: usize| chosen.by_fold.iter().map(|figures| figures[figure]).collect::<Vec<f64>>();
        HeadInfo {
            folds: chosen.folds,
            repeats: chosen.repeats,
            compared: chosen.compared.clone(),
            uncompared: chosen.uncompared,
            chosen: chosen.place,
            temperature: chosen.temperature,
            calibration_error,
            held_out_calibration_error: BTreeMap::new(),
            abstention,
            held_out_abstention: BTreeMap::new(),
            no_abstention: precision.filter(|_| abstention.is_none()).map(|share| no_abstention(chosen, labels, share)),
            learning_curve: chosen.curve.clone().and_then(std::result::Result::ok),
            no_learning_curve: chosen.curve.as_ref().and_then(|curve| curve.as_ref().err().copied()),
            cross_validation: (chosen.folds > 0).then(|| {
                let figures = ["accuracy", "macro_f1", "log_loss"].into_iter().enumerate();
                figures.map(|(place, name)| (name, spread(&of(place)))).collect()
            }),
        }
    }

    /// Adds calibration errors and what is answered of splits that did not train, from the scores that the head gives for them.
    pub fn held_out(&mut self, scores: &[Features]) {
        for part in scores.iter().filter(|part| part.split != Split::Train && !part.paths.is_empty()) {
            let probabilities =
                |factor: f64| softmax(part.rows.mapv(|score| (f64::from(score) * factor) as f32).view());
            let error = |p: &Array2<f32>| expected_calibration_error(&reliability(&part.labels, p.view()));
            // Dividing scores by the temperature is what calibration did.
            let (before, now, split) = (probabilities(self.temperature), probabilities(1.), part.split.to_string());
            self.held_out_calibration_error.insert(split.clone(), [error(&before), error(&now)]);
            if let Some(Abstention { threshold, .. }) = self.abstention {
                self.held_out_abstention.insert(split, Answered::new(threshold, &part.labels, now.view()));
            }
        }
    }
}

/// Why no probability is one from which on such a share of answers is right, and which share there is one for.
fn no_abstention(chosen: &Chosen, labels: &[usize], precision: f64) -> String {
    let (fewest, images) = (Abstention::fewest(precision), labels.len());
    let why = match chosen.uncompared {
        Some(why) => format!("nothing tells how often answers are right: {why}"),
        None if images < fewest => {
            format!(
                "{images} training images are too few, since it takes {fewest} right answers and no wrong one to tell"
            )
        }
        None => "no probability is high enough for that".into(),
    };
    let highest = chosen.highest(labels).map(|Abstention { precision, coverage, .. }| {
        format!("; {precision} is the most, with {:.0} of {images} images answered", coverage * images as f64)
    });
    why + &highest.unwrap_or_default()
}
