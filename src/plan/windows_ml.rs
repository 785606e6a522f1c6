//! The preprocessing that Windows ML's metadata tell.

use super::input::Declared;
use super::preprocessing::parsed;
use crate::data::Preprocessing;
use crate::error::{Error, Result};
use crate::onnx::{Model, metadata};

/// Windows ML's `Image.*` metadata: colour order and range, no mean or deviation.
pub(super) fn windows_ml(
    model: &Model,
    declared: &Declared,
    size: Option<(u32, u32)>,
) -> Result<Option<Preprocessing>> {
    let get = |key| metadata::get(&model.proto, key);
    let (Some(format), Some(range)) = (get("Image.BitmapPixelFormat"), get("Image.NominalPixelRange")) else {
        return Ok(None);
    };
    let preset = match range {
        "Normalized_0_1" => "raw01",
        "Normalized_1_1" => "inception",
        "NominalRange_0_255" => "raw255",
        other => {
            let what = format!("Image.NominalPixelRange '{other}' is not known; use --preprocess");
            return Err(Error::model(&model.path, what));
        }
    };
    let color = match format {
        "Rgb8" => "rgb",
        "Gray8" => "gray",
        _ if declared.channels == 1 => "gray",
        _ => "bgr",
    };
    let (height, width) = size.unwrap_or((224, 224));
    // Windows ML stretches an image to the input.
    let spec = format!("{preset},color={color},resize={height}x{width},crop=none");
    Ok(Some(parsed(&spec)?.resolve(height, width)?))
}
