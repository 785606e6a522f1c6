//! Features of a split, and what a head makes of them.

use super::LinearHead;
use crate::data::{Dataset, Facts, Source, Split, Task};
use crate::engine::{Extractor, KeptRows, Rows};
use crate::error::Result;
use crate::metrics::{Classification, Figures, MultiLabel, Regression, argmax, sigmoid, softmax};
use crate::progress::Progress;
use ndarray::{Array2, Axis, s};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The features of a split's readable images, in the order of the data set.
#[derive(Debug, Clone)]
pub struct Features {
    /// The split.
    pub split: Split,
    /// `[images, features]`
    pub rows: Array2<f32>,
    /// Each image's class.
    pub labels: Vec<usize>,
    /// Each image's path, in the data set's source.
    pub paths: Vec<String>,
    /// What each image's pixels tell; nothing where the extractor does not [look](Extractor::look).
    pub facts: Vec<Facts>,
}

/// A row of `predictions.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// In the data set's source.
    pub path: String,
    /// The split.
    pub split: Split,
    /// The folder's class.
    pub label: String,
    /// The model's class.
    pub predicted: String,
    /// Its probability.
    pub confidence: f32,
    /// What it belongs together with, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// The places of images in the order of their paths, in which figures are computed: the bootstrap draws images by their places, and
/// its intervals are to be the same in whatever order the images were read.
pub fn by_path<P: Ord>(paths: &[P]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..paths.len()).collect();
    places.sort_by_key(|&place| &paths[place]);
    places
}

impl Features {
    /// Runs the frozen part over a split. Images that cannot be read leave `data` and are listed in `data.skipped`.
    ///
    /// # Errors
    /// [`crate::error::Error::Data`] when a class is left with too few images to train on, and those of [`Extractor::run`].
    pub fn extract(
        data: &mut Dataset,
        split: Split,
        extractor: &mut Extractor,
        progress: Progress,
    ) -> Result<Features> {
        let stage = format!("extracting {split} features");
        let run = |source: &Source, paths: &[&str]| Ok((extractor.run(source, paths, &stage, progress)?, ()));
        Features::found(data, split, run).map(|(features, ())| features)
    }

    /// The same, with what [`Extractor::keep`] keeps of them in `place`.
    ///
    /// # Errors
    /// Those of [`Features::extract`] and [`Extractor::keep`].
    pub fn extract_keeping(
        data: &mut Dataset,
        split: Split,
        extractor: &mut Extractor,
        place: (usize, Option<&Path>),
        progress: Progress,
    ) -> Result<(Features, KeptRows)> {
        let stage = format!("frozen part of {split} images");
        Features::found(data, split, |source, paths| extractor.keep(source, paths, &stage, place, progress))
    }

    fn found<T>(
        data: &mut Dataset,
        split: Split,
        run: impl FnOnce(&Source, &[&str]) -> Result<(Rows, T)>,
    ) -> Result<(Features, T)> {
        let items: Vec<_> = data.split(split).cloned().collect();
        let paths: Vec<&str> = items.iter().map(|i| i.path.as_str()).collect();
        let (found, beside) = run(&data.source, &paths)?;
        if !found.skipped.is_empty() {
            data.remove_unreadable(found.skipped);
            data.check_classes()?;
        }
        let labels = found.places.iter().map(|&i| items[i].label).collect();
        let paths = found.places.iter().map(|&i| items[i].path.clone()).collect();
        Ok((Features { split, rows: found.rows, labels, paths, facts: found.facts }, beside))
    }

    /// Keeps the images whose paths `keep` takes.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let places: Vec<usize> = (0..self.paths.len()).filter(|&place| keep(&self.paths[place])).collect();
        self.rows = self.rows.select(Axis(0), &places);
        self.labels = places.iter().map(|&place| self.labels[place]).collect();
        self.facts = places.iter().filter_map(|&place| self.facts.get(place).cloned()).collect();
        self.paths = places.iter().map(|&place| std::mem::take(&mut self.paths[place])).collect();
    }

    /// Keeps the first `columns` features.
    pub fn keep_columns(&mut self, columns: usize) {
        if self.rows.ncols() > columns {
            self.rows = self.rows.slice(s![.., ..columns]).to_owned();
        }
    }

    /// The same images with a head's scores as their rows.
    ///
    /// # Errors
    /// [`crate::error::Error::Train`] when the head takes another number of features.
    pub fn scored(&self, head: &LinearHead) -> Result<Features> {
        let rows = if self.paths.is_empty() { Array2::zeros((0, 0)) } else { head.logits(self.rows.view())? };
        let (split, labels, paths) = (self.split, self.labels.clone(), self.paths.clone());
        Ok(Features { split, rows, labels, paths, facts: Vec::new() })
    }

    /// The places of the images in the order of their paths, and the number of each one's group in this order.
    fn in_order(&self, data: &Dataset) -> (Vec<usize>, Vec<usize>) {
        let order = by_path(&self.paths);
        let groups = data.groups_of(&order.iter().map(|&i| self.paths[i].clone()).collect::<Vec<_>>());
        (order, groups)
    }

    /// Figures and predictions, where the rows are scores `[images, classes]`; no figures where there are no images.
    ///
    /// # Errors
    /// Those of [`Classification::grouped`].
    pub fn evaluate(&self, data: &Dataset) -> Result<(Option<Classification>, Vec<Prediction>)> {
        if self.paths.is_empty() {
            return Ok((None, Vec::new()));
        }
        let (classes, probabilities) = (&data.classes, softmax(self.rows.view()));
        let (order, groups) = self.in_order(data);
        let labels: Vec<usize> = order.iter().map(|&i| self.labels[i]).collect();
        let ordered = probabilities.select(Axis(0), &order);
        let metrics = Classification::grouped(&labels, ordered.view(), classes, &groups)?;
        let prediction = |(i, row): (usize, ndarray::ArrayView1<f32>)| {
            let class = argmax(row);
            Prediction {
                path: self.paths[i].clone(),
                split: self.split,
                label: classes[self.labels[i]].clone(),
                predicted: classes[class].clone(),
                confidence: row[class],
                group: data.group_of(&self.paths[i]).map(str::to_owned),
            }
        };
        Ok((Some(metrics), probabilities.rows().into_iter().enumerate().map(prediction).collect()))
    }
}

/// A split's figures, and rows of `predictions.csv` without a header.
pub type Judged = (Option<Figures>, Vec<Vec<String>>);

impl Features {
    /// Figures and predictions where images have several labels or numbers, and the rows are scores `[images, labels or
    /// targets]`: a row has path, split, what the image has, what it is said to have (labels from their `thresholds` on),
    /// each label's probability or target's value, and the image's group where there are groups.
    ///
    /// # Errors
    /// Those of [`MultiLabel::grouped`] and [`Regression::grouped`].
    pub fn judge(&self, data: &Dataset, thresholds: &[f32]) -> Result<Judged> {
        if self.paths.is_empty() {
            return Ok((None, Vec::new()));
        }
        let (order, groups) = self.in_order(data);
        let truth = data.truth(&self.labels).select(Axis(0), &order);
        let given = if data.task == Task::Regression { self.rows.clone() } else { self.rows.mapv(sigmoid) };
        let ordered = given.select(Axis(0), &order);
        let figures = match data.task {
            Task::Regression => {
                Figures::Values(Regression::grouped(truth.view(), ordered.view(), &data.classes, &groups)?)
            }
            _ => {
                let own = truth.mapv(|value| value > 0.5);
                let figures = MultiLabel::grouped(own.view(), ordered.view(), &data.classes, thresholds, &groups)?;
                Figures::Labels(figures)
            }
        };
        let row = |(i, row): (usize, ndarray::ArrayView1<f32>)| {
            let said = data.task.said(&row.to_vec(), &data.classes, thresholds);
            let text = data.texts()[self.labels[i]].clone();
            let begin = vec![self.paths[i].clone(), self.split.to_string(), text, said];
            let group = data.group_of(&self.paths[i]).map(str::to_owned);
            begin.into_iter().chain(row.iter().map(f32::to_string)).chain(group).collect()
        };
        Ok((Some(figures), given.rows().into_iter().enumerate().map(row).collect()))
    }
}

/// Images for a check: their paths and features.
#[derive(Debug, Clone)]
pub struct Sample {
    /// `[images, features]`
    pub rows: Array2<f32>,
    /// In the data set's source.
    pub paths: Vec<String>,
}

impl Features {
    /// Up to `count` images, evenly spread over the first of `parts` that has any.
    pub fn sample<'a>(parts: impl IntoIterator<Item = &'a Features>, count: usize) -> Sample {
        let Some(part) = parts.into_iter().find(|p| !p.paths.is_empty()) else {
            return Sample { rows: Array2::zeros((0, 0)), paths: Vec::new() };
        };
        let n = part.paths.len();
        let places: Vec<usize> = (0..n.min(count)).map(|i| i * n / n.min(count)).collect();
        Sample {
            rows: part.rows.select(Axis(0), &places),
            paths: places.iter().map(|&i| part.paths[i].clone()).collect(),
        }
    }
}
