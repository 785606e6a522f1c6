//! What tells images that are unlike those of the training, in the metadata of an adapted model.

use crate::error::{Error, Result};
use crate::metrics::{LIKE, Outlier};
use crate::onnx::{Model, metadata};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use half::f16;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// The metadata's key.
pub const KEY: &str = "adapt.outlier";
/// Means that take more bytes as text are left out.
const LARGEST: usize = 8 << 20;

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// The tensor of the graph that has the features: `[images, features]`
    tensor: String,
    /// How the score is computed, for people.
    score: String,
    /// Scores above it are those of outliers.
    threshold: f32,
    /// The share of training images that are below.
    like: f64,
    /// `[classes, features]`
    shape: [usize; 2],
    /// Little-endian float16 in base64.
    means: String,
}

/// As text, of features in `tensor`; of very many means why there is none.
pub fn text(tensor: &str, outlier: &Outlier) -> std::result::Result<String, String> {
    let (rows, columns) = outlier.means.dim();
    let bytes: Vec<u8> = outlier.means.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
    let means = BASE64_STANDARD.encode(bytes);
    if means.len() > LARGEST {
        let most = LARGEST >> 20;
        return Err(format!(
            "predict will mark no outliers: the means of {rows} classes on {columns} features are more than {most} MiB of metadata"
        ));
    }
    let stored = Stored {
        tensor: tensor.into(),
        score: "1 - the largest cosine between the features and a class's mean".into(),
        threshold: outlier.threshold,
        like: LIKE,
        shape: [rows, columns],
        means,
    };
    serde_json::to_string(&stored).map_err(|e| e.to_string())
}

/// What a model's metadata tell, and the tensor of the features; nothing where they tell nothing, or of a tensor that is not there.
///
/// # Errors
/// [`Error::Model`] where that is damaged.
pub fn of(model: &Model) -> Result<Option<(String, Outlier)>> {
    let Some(text) = metadata::get(&model.proto, KEY) else { return Ok(None) };
    let read = || {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let bytes = BASE64_STANDARD.decode(&stored.means).ok()?;
        let means = bytes.as_chunks().0.iter().map(|value| f16::from_le_bytes(*value).to_f32()).collect();
        let means = Array2::from_shape_vec(stored.shape, means).ok()?;
        let sound = !means.is_empty() && means.iter().all(|value| value.is_finite());
        sound.then_some((stored.tensor, Outlier { means, threshold: stored.threshold }))
    };
    let found = read().ok_or_else(|| Error::model(&model.path, format!("metadata {KEY} are damaged")))?;
    // Who cut the graph off before it, or renamed what is in it, has no features to score.
    let known = model.graph().node.iter().any(|node| node.output.contains(&found.0));
    Ok(Some(found).filter(|_| known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_means_are_left_out_with_a_reason() {
        let of = |classes, features| text("t", &Outlier { means: Array2::zeros((classes, features)), threshold: 0. });
        // Two bytes a value, four characters for three bytes.
        assert!(of(3072, 1024).is_ok());
        let why = of(3073, 1024).unwrap_err();
        assert!(why.contains("3073 classes on 1024 features are more than 8 MiB"), "{why}");
    }
}
