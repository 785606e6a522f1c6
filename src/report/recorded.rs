//! A run as its folder tells it: what `report.html` and comparisons are made of.

use super::OutDir;
use super::folder::unfinished;
use super::maps::{MAPS, Maps};
use crate::data::{MOST_VALUES, Split, Task};
use crate::error::{Error, Result};
use crate::metrics::{sigmoid, softmax};
use crate::train::{Features, Prediction};
use crate::verify::golden;
use ndarray::{Array2, ArrayD, ArrayView1, ArrayView2, Axis, Ix2, concatenate};
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the head gives for the images that were held out, in the order of `predictions.csv`: tensors `logits` and `map`.
pub const SCORES: &str = "scores.safetensors";
/// The head's scores, `[images, classes]`.
const LOGITS: &str = "logits";
/// The images on a plane, `[images, 2]`: see [`crate::metrics::projection`].
const MAP: &str = "map";
/// The largest files that are read, in bytes: the figures of 100,000 classes, some millions of images, a million images' scores
/// for 1,000 classes.
const LARGEST_RUN: u64 = 64 << 20;
const LARGEST_LIST: u64 = 512 << 20;
const LARGEST_MAPS: u64 = 4 << 20;
const LARGEST_SCORES: u64 = 4 << 30;

/// A run's folder, read.
pub struct Recorded {
    /// Where it is.
    pub folder: PathBuf,
    /// `run.json`, of this version or an earlier one.
    pub run: Value,
    /// What the labels are.
    pub task: Task,
    /// Names of the classes, labels or targets in the order of the output.
    pub classes: Vec<String>,
    /// The images that were held out: the rows of `predictions.csv` that did not train.
    pub held_out: Vec<Prediction>,
    /// What these have, where they have no classes: `[images, labels or targets]`.
    pub truths: Array2<f32>,
    /// From which probability on labels are given; none without labels.
    pub thresholds: Vec<f32>,
    /// What the head gives for these, where the run has stored it.
    pub scores: Option<Scores>,
    /// Where it sees what it says, where the run has stored that.
    pub maps: Option<Maps>,
    places: HashMap<String, usize>,
}

/// What a head gives for images, and where they lie on a plane.
pub struct Scores {
    /// `[images, classes]`
    pub logits: Array2<f32>,
    /// `[images, 2]`
    pub map: Array2<f32>,
}

/// Writes [`SCORES`]: those of the splits that did not train; `map` has a row for each of their images.
///
/// # Errors
/// [`Error::Io`].
pub fn write_scores(out: &OutDir, scores: &[Features], map: &Array2<f32>) -> Result<()> {
    let held_out = scores.iter().filter(|part| part.split != Split::Train && !part.paths.is_empty());
    let rows: Vec<ArrayView2<f32>> = held_out.map(|part| part.rows.view()).collect();
    let logits = if rows.is_empty() { Ok(Array2::zeros((0, 0))) } else { concatenate(Axis(0), &rows) };
    let logits = logits.map_err(|e| Error::Engine(format!("the scores of the splits: {e}")))?;
    let arrays = [(LOGITS, logits.into_dyn()), (MAP, map.clone().into_dyn())];
    out.write(SCORES, &golden::tensors(&arrays)?)
}

impl Recorded {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// [`Error::Usage`] where `folder` is none, [`Error::Data`] where a file of it is damaged.
    pub fn read(folder: &Path) -> Result<Recorded> {
        let path = folder.join("run.json");
        let text = if folder.is_file() { None } else { bytes(&path, LARGEST_RUN)? };
        let text = text.ok_or_else(|| {
            let what = unfinished(folder).unwrap_or_else(|| "no run.json in it; give the folder of a run".into());
            Error::Usage(format!("{}: {what}", folder.display()))
        })?;
        let run: Value = serde_json::from_slice(&text).map_err(|e| Error::data(&path, format!("damaged: {e}")))?;
        let classes: Option<Vec<String>> = serde_json::from_value(run["data"]["classes"].clone()).ok();
        let classes = classes.ok_or_else(|| Error::data(&path, "damaged: it has no list of classes"))?;
        let path = folder.join("predictions.csv");
        let text = bytes(&path, LARGEST_LIST)?.ok_or_else(|| Error::data(&path, "is missing"))?;
        let task: Task = serde_json::from_value(run["plan"]["task"].clone()).unwrap_or_default();
        let rows = predictions(&text, task, classes.len());
        let rows = rows.into_iter().map(|row| row.map_err(|e| Error::data(&path, format!("damaged: {e}"))));
        let rows = rows.filter(|row: &Result<Prediction>| !row.as_ref().is_ok_and(|row| row.split == Split::Train));
        let held_out: Vec<Prediction> = rows.collect::<Result<_>>()?;
        let places: HashMap<_, _> = classes.iter().cloned().zip(0..).collect();
        let (mut truths, mut thresholds) = (Vec::new(), Vec::new());
        if !task.is_multiclass() {
            thresholds = serde_json::from_value(run["thresholds"].clone()).unwrap_or_default();
            thresholds.resize(if task.is_multilabel() { classes.len() } else { 0 }, 0.5);
        }
        if !task.is_multiclass() && held_out.len().saturating_mul(classes.len()) > MOST_VALUES {
            return Err(Error::data(&path, format!("more than {MOST_VALUES} values")));
        }
        let mut known = |row: &Prediction| match task.truth(&row.label, &classes) {
            Some(truth) => {
                truths.extend(truth);
                true
            }
            None => task.is_multiclass() && places.contains_key(&row.label) && places.contains_key(&row.predicted),
        };
        if let Some(row) = held_out.iter().find(|row| !known(row)) {
            return Err(Error::data(&path, format!("'{}' is of no class that run.json has", row.path)));
        }
        if let Some(row) = held_out.iter().find(|row| !(0. ..=1.001).contains(&row.confidence)) {
            return Err(Error::data(&path, format!("damaged: '{}' has a confidence of {}", row.path, row.confidence)));
        }
        let scores = scores(&folder.join(SCORES), held_out.len(), classes.len())?;
        let path = folder.join(MAPS);
        let maps = bytes(&path, LARGEST_MAPS)?.map(|text| serde_json::from_slice(&text));
        let maps =
            maps.transpose().map_err(|e| Error::data(&path, format!("damaged: {e}; delete it, or run it again")))?;
        let columns = truths.len() / held_out.len().max(1);
        let truths = Array2::from_shape_vec((held_out.len(), columns), truths).unwrap_or_default();
        let recorded = Recorded {
            folder: folder.to_path_buf(),
            run,
            task,
            classes,
            held_out,
            truths,
            thresholds,
            scores,
            maps,
            places,
        };
        recorded.agree()?;
        Ok(recorded)
    }

    /// Whether `predictions.csv` tells of the images what scores and figures tell: of a list that somebody has sorted or edited a page
    /// would show other images than it speaks of.
    fn agree(&self) -> Result<()> {
        let path = self.folder.join("predictions.csv");
        let changed = |what: String| Err(Error::data(&path, format!("{what}; one of the two was changed")));
        let rows = self.scores.iter().flat_map(|scores| scores.logits.rows());
        if let Some((row, _)) = self.held_out.iter().zip(rows).find(|(row, logits)| !self.gives(row, *logits)) {
            let sure = if self.task.is_multiclass() { format!(" ({})", row.confidence) } else { String::new() };
            return changed(format!("'{}' is not '{}'{sure} by {SCORES}", row.path, row.predicted));
        }
        for split in [Split::Val, Split::Test] {
            let Some((name, own)) = self.figure(split) else { continue };
            let told = self.run["metrics"][split.to_string()][name].as_f64();
            if let Some(told) = told.filter(|told| (told - own).abs() > 1e-5 * told.abs().max(own.abs())) {
                return changed(format!("{name} of the {split} images is {own}, by run.json {told}"));
            }
        }
        Ok(())
    }

    /// A figure of a split that its rows tell, by its name in `run.json`; nothing where it has none.
    fn figure(&self, split: Split) -> Option<(&'static str, f64)> {
        let own = self.held_out.iter().zip(0..).filter(|(row, _)| row.split == split);
        let (mut sum, mut count) = (0., 0.);
        for (row, place) in own {
            count += 1.;
            sum += match self.task.truth(&row.predicted, &self.classes) {
                None => f64::from(u8::from(row.label == row.predicted)),
                Some(given) => {
                    let pairs = given.iter().zip(self.truths.row(place));
                    let apart = pairs.map(|(given, own)| (f64::from(*given) - f64::from(*own)).abs()).sum::<f64>();
                    if self.task.is_multilabel() {
                        f64::from(u8::from(apart == 0.))
                    } else {
                        apart / given.len() as f64
                    }
                }
            };
        }
        let name = match self.task {
            Task::Multiclass => "accuracy",
            Task::Multilabel => "subset_accuracy",
            Task::Regression => "mae",
        };
        (count > 0.).then_some((name, sum / count))
    }

    /// Whether these scores make this row's prediction, as far as rounding lets that be told.
    fn gives(&self, row: &Prediction, logits: ArrayView1<f32>) -> bool {
        let near = |a: f32, b: f32| (a - b).abs() <= 1e-3 * b.abs().max(1e-3);
        let Some(given) = self.task.truth(&row.predicted, &self.classes) else {
            let p = softmax(logits.insert_axis(Axis(0)));
            return self.class(&row.predicted).is_some_and(|class| (p[[0, class]] - row.confidence).abs() < 1e-3);
        };
        let mut pairs = given.iter().zip(logits).zip(0..);
        pairs.all(|((&given, &score), place)| match self.thresholds.get(place) {
            Some(&least) => {
                let p = sigmoid(score);
                (p >= least) == (given > 0.5) || near(p, least)
            }
            None => near(given, score),
        })
    }

    /// A class's place.
    pub fn class(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// The split by which the run is judged: the test images, or those that chose where there are none.
    pub fn judged(&self) -> Option<Split> {
        [Split::Test, Split::Val].into_iter().find(|&split| self.held_out.iter().any(|row| row.split == split))
    }
}

/// A file's content, of at most `most` bytes; `None` where there is none.
fn bytes(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path)(e)),
        Ok(meta) if !meta.is_file() => Err(Error::data(path, "not a file")),
        Ok(meta) if meta.len() > most => Err(Error::data(path, format!("larger than {} MiB", most >> 20))),
        Ok(_) => fs::read(path).map(Some).map_err(Error::io(path)),
    }
}

/// The rows of `predictions.csv`; of several labels or numbers what stands before their values, without a confidence, and the group
/// behind them.
fn predictions(text: &[u8], task: Task, values: usize) -> Vec<csv::Result<Prediction>> {
    let reader = csv::Reader::from_reader(text);
    if task.is_multiclass() {
        return reader.into_deserialize().collect();
    }
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row?;
        let (path, split, label, predicted) = row.deserialize::<(String, Split, String, String)>(None)?;
        let group = row.get(4 + values).map(str::to_owned);
        Ok(Prediction { path, split, label, predicted, confidence: 0., group })
    };
    reader.into_records().map(row).collect()
}

fn scores(path: &Path, images: usize, classes: usize) -> Result<Option<Scores>> {
    let Some(bytes) = bytes(path, LARGEST_SCORES)? else { return Ok(None) };
    let damaged = |what: String| Error::data(path, format!("damaged: {what}"));
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let array = |name: &str, columns: usize| {
        let view = tensors.tensor(name).map_err(|e| damaged(e.to_string()))?;
        let values = view.data().as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let fits = Some(view.shape().to_vec()).filter(|_| view.dtype() == Dtype::F32);
        let array = fits.and_then(|shape| ArrayD::from_shape_vec(shape, values).ok());
        let array = array.and_then(|array| array.into_dimensionality::<Ix2>().ok());
        let array = array.ok_or_else(|| damaged(format!("'{name}' is no table of float32")))?;
        let (rows, own) = array.dim();
        if rows != images || images > 0 && own != columns {
            let what = format!("'{name}' has {rows} rows of {own}, predictions.csv {images} images that did not train");
            return Err(damaged(format!(
                "{what}, for which rows of {columns} belong there; one of the two was changed"
            )));
        }
        let bad = array.indexed_iter().find(|(_, value)| !value.is_finite());
        let bad = bad.map(|((row, column), value)| format!("'{name}' is {value} in row {row}, column {column}"));
        bad.map_or(Ok(array), |what| Err(damaged(format!("{what}; run it again"))))
    };
    Ok(Some(Scores { logits: array(LOGITS, classes)?, map: array(MAP, 2)? }))
}
