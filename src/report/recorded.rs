//! A run as its folder tells it: what `report.html` and comparisons are made of.

use super::OutDir;
use crate::data::Split;
use crate::error::{Error, Result};
use crate::train::{Features, Prediction};
use crate::verify::golden;
use ndarray::{Array2, ArrayD, ArrayView2, Axis, Ix2, concatenate};
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What the head gives for the images that were held out, in the order of `predictions.csv`: tensors [`LOGITS`] and [`MAP`].
pub const SCORES: &str = "scores.safetensors";
/// The head's scores, `[images, classes]`.
const LOGITS: &str = "logits";
/// The images on a plane, `[images, 2]`: see [`crate::metrics::projection`].
const MAP: &str = "map";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 4 << 30;

/// A run's folder, read.
pub struct Recorded {
    /// Where it is.
    pub folder: PathBuf,
    /// `run.json`, of this version or an earlier one.
    pub run: Value,
    /// Class names in the order of the output.
    pub classes: Vec<String>,
    /// The images that were held out: the rows of `predictions.csv` that did not train.
    pub held_out: Vec<Prediction>,
    /// What the head gives for these, where the run has stored it.
    pub scores: Option<Scores>,
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
    let logits = if rows.is_empty() { Array2::zeros((0, 0)) } else { concatenate(Axis(0), &rows).unwrap_or_default() };
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
        let text = bytes(&path)?.ok_or_else(|| {
            Error::Usage(format!("{}: no run.json in it; give the folder of a run", folder.display()))
        })?;
        let run: Value = serde_json::from_slice(&text).map_err(|e| Error::data(&path, format!("damaged: {e}")))?;
        let classes: Option<Vec<String>> = serde_json::from_value(run["data"]["classes"].clone()).ok();
        let classes = classes.ok_or_else(|| Error::data(&path, "damaged: it has no list of classes"))?;
        let path = folder.join("predictions.csv");
        let text = bytes(&path)?.ok_or_else(|| Error::data(&path, "is missing"))?;
        let rows = csv::Reader::from_reader(&text[..]).into_deserialize();
        let rows = rows.map(|row| row.map_err(|e| Error::data(&path, format!("damaged: {e}"))));
        let mut held_out: Vec<Prediction> = rows.collect::<Result<_>>()?;
        held_out.retain(|row| row.split != Split::Train);
        let known = |row: &Prediction| classes.contains(&row.label) && classes.contains(&row.predicted);
        if let Some(row) = held_out.iter().find(|row| !known(row)) {
            return Err(Error::data(&path, format!("'{}' is of no class that run.json has", row.path)));
        }
        let scores = scores(&folder.join(SCORES), held_out.len(), classes.len())?;
        Ok(Recorded { folder: folder.to_path_buf(), run, classes, held_out, scores })
    }

    /// A class's place.
    pub fn class(&self, name: &str) -> usize {
        self.classes.iter().position(|class| class == name).unwrap_or_default()
    }

    /// The split by which the run is judged: the test images, or those that chose where there are none.
    pub fn judged(&self) -> Option<Split> {
        [Split::Test, Split::Val].into_iter().find(|&split| self.held_out.iter().any(|row| row.split == split))
    }
}

/// A file's content; `None` where there is none.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path)(e)),
        Ok(meta) if !meta.is_file() || meta.len() > LARGEST => Err(Error::data(path, "not a file that adapt wrote")),
        Ok(_) => fs::read(path).map(Some).map_err(Error::io(path)),
    }
}

fn scores(path: &Path, images: usize, classes: usize) -> Result<Option<Scores>> {
    let Some(bytes) = bytes(path)? else { return Ok(None) };
    let damaged = |what: String| Error::data(path, format!("damaged: {what}"));
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let array = |name: &str, columns: usize| {
        let view = tensors.tensor(name).map_err(|e| damaged(e.to_string()))?;
        let values = view.data().as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let fits = Some(view.shape().to_vec()).filter(|_| view.dtype() == Dtype::F32);
        let array = fits.and_then(|shape| ArrayD::from_shape_vec(shape, values).ok());
        let array = array.and_then(|array| array.into_dimensionality::<Ix2>().ok());
        let array = array.filter(|array| images == 0 || array.dim() == (images, columns));
        array.ok_or_else(|| damaged(format!("'{name}' has not a row of {columns} for each image of predictions.csv")))
    };
    Ok(Some(Scores { logits: array(LOGITS, classes)?, map: array(MAP, 2)? }))
}
