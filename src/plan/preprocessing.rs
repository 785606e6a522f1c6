//! Where the preprocessing is known from: a flag, the file's metadata, files beside it, else the usual convention.

use super::baked::is_baked;
use super::input::{Declared, Input, size_in_metadata};
use super::windows_ml::windows_ml;
use crate::data::{Color, Preprocessing, Resize, Spec};
use crate::error::{Error, Result};
use crate::onnx::{Model, metadata};
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The largest text file beside a model that is read, in bytes.
pub(super) const MAX_TEXT: u64 = 16 << 20;

/// The most values that one run of a model may take: 1 GiB of float32, one colour image of the largest size.
const MAX_VALUES: usize = 1 << 28;

/// A preprocessing, where it comes from, and whether that was a guess.
#[derive(Debug, Clone, PartialEq)]
pub struct Sourced {
    /// The preprocessing.
    pub preprocessing: Preprocessing,
    /// In words.
    pub source: String,
    /// Nothing said what it is: the ImageNet convention was taken.
    pub guessed: bool,
}

impl Sourced {
    /// How the note on a guess begins.
    pub(super) const GUESS: &str = "preprocessing is a guess";
}

/// Settles the input's size and the preprocessing together, since each may fix the other.
///
/// # Errors
/// [`Error::Usage`] when what the user asked for does not fit the model; [`Error::Model`] or [`Error::Data`] when
/// metadata or a sidecar file are damaged.
pub fn resolve(model: &Model, spec: Option<&Spec>, size: Option<(u32, u32)>) -> Result<(Input, Sourced)> {
    let declared = Declared::of(model)?;
    if let Some(spec) = spec {
        if is_baked(model) {
            let what = "its preprocessing is in its graph; leave --preprocess out";
            return Err(Error::Usage(format!("{}: {what}", model.path.display())));
        }
        let input = declared.settle(size, spec.size().or(size_in_metadata(model)))?;
        let preprocessing = spec.resolve(input.height, input.width)?;
        return finish(model, input, preprocessing, "--preprocess".into(), false);
    }
    let wanted = declared.size().or(size);
    if let Some((preprocessing, source)) = recorded(model, &declared, wanted)? {
        let input = declared.settle(size, Some(preprocessing.size()))?;
        return finish(model, input, preprocessing, source, false);
    }
    let input = declared.settle(size, size_in_metadata(model))?;
    // Whoever takes bytes wants pixels; they would only be destroyed by normalising them.
    let (usual, name) =
        if input.data_type == "uint8" { ("raw255", "plain pixels") } else { ("imagenet", "ImageNet's") };
    let color = match input.channels {
        1 => "gray",
        2 => "grayalpha",
        4 => "rgba",
        _ => "rgb",
    };
    let preprocessing = parsed(&format!("{usual},color={color}"))?.resolve(input.height, input.width)?;
    let source = format!("the usual convention, {name}, since nothing says what the model expects");
    finish(model, input, preprocessing, source, true)
}

fn finish(model: &Model, input: Input, p: Preprocessing, source: String, guessed: bool) -> Result<(Input, Sourced)> {
    let batch = input.batch.unwrap_or(1);
    if batch.saturating_mul(input.len()) > MAX_VALUES {
        let what =
            format!("its input '{}' takes {batch} images of {}x{} at once", input.name, input.height, input.width);
        return Err(Error::model(&model.path, format!("{what}, more than memory is spent on; export it for fewer")));
    }
    let (height, width) = p.size();
    if (height, width) != (input.height, input.width) {
        let what = format!(
            "the preprocessing from {source} gives {height}x{width} pixels, the input takes {}x{}",
            input.height, input.width
        );
        return Err(Error::model(
            &model.path,
            format!("{what}; use --preprocess, or --size where the model allows it"),
        ));
    }
    if p.channels() != input.channels {
        let what = format!(
            "the preprocessing from {source} gives {} channels, the input takes {}",
            p.channels(),
            input.channels
        );
        return Err(Error::model(&model.path, format!("{what}; use --preprocess with color=")));
    }
    if input.data_type == "uint8" && !gives_bytes(&p) {
        let what = format!("the preprocessing from {source} gives other values than whole numbers of 0 to 255");
        let to_do = "which is all that the uint8 input takes; use --preprocess raw255";
        return Err(Error::model(&model.path, format!("{what}, {to_do}")));
    }
    Ok((input, Sourced { preprocessing: p, source, guessed }))
}

/// Whether every pixel value becomes a whole number of 0 to 255, nearly.
fn gives_bytes(p: &Preprocessing) -> bool {
    let value = |pixel: f32, (mean, std): (&f32, &f32)| (pixel * p.scale - mean) / std;
    let fits = |v: f32| (-0.01..=255.01).contains(&v) && (v - v.round()).abs() < 0.01;
    p.mean.iter().zip(&p.std).all(|channel| [0.0, 1.0, 2.0, 127.0, 255.0].into_iter().all(|x| fits(value(x, channel))))
}

/// What the file, or a file beside it, records.
fn recorded(model: &Model, declared: &Declared, size: Option<(u32, u32)>) -> Result<Option<(Preprocessing, String)>> {
    let bad = |what: String| Error::model(&model.path, format!("{what}; use --preprocess"));
    if let Some(json) = metadata::contract(&model.proto).map_err(bad)? {
        if is_baked(model) {
            let (height, width) = size.unwrap_or((224, 224));
            let found = parsed("raw255,crop=none")?.resolve(height, width)?;
            return Ok(Some((found, "the model's own graph (adapt.contract)".into())));
        }
        let found = Preprocessing::from_json(&json["preprocessing"], size);
        let found = found.map_err(|what| bad(format!("metadata adapt.contract: {what}")))?;
        return Ok(Some((found, "the file's metadata (adapt.contract)".into())));
    }
    if let Some(found) = windows_ml(model, declared, size)? {
        return Ok(Some((found, "the file's metadata (Windows ML's image metadata)".into())));
    }
    if let (Some(task), Some(_)) = (metadata::get(&model.proto, "task"), metadata::get(&model.proto, "names")) {
        let (height, width) = size.or(size_in_metadata(model)).unwrap_or((224, 224));
        // Ultralytics scales to 0-1; its classifiers resize the shorter side to the input's size and crop.
        let spec =
            if task == "classify" { format!("raw01,resize={height},crop={height}x{width}") } else { "raw01".into() };
        let found = parsed(&spec)?.resolve(height, width)?;
        return Ok(Some((found, "the file's metadata (Ultralytics' task and names)".into())));
    }
    for (file, read) in [("preprocessor_config.json", hugging_face as Reader), ("config.json", timm)] {
        let Some((path, json)) = sidecar(model, file)? else { continue };
        if let Some(found) = read(&json, size.or(size_in_metadata(model))).map_err(|what| Error::data(&path, what))? {
            let embedded = model.path == Path::new(BUILTIN);
            let source = if embedded { "the embedded model".into() } else { format!("{file} beside the model") };
            return Ok(Some((found, source)));
        }
    }
    Ok(None)
}

/// A spec of our own writing.
pub(super) fn parsed(spec: &str) -> Result<Spec> {
    spec.parse().map_err(Error::Usage)
}

type Reader = fn(&Value, Option<(u32, u32)>) -> std::result::Result<Option<Preprocessing>, String>;

fn hugging_face(json: &Value, size: Option<(u32, u32)>) -> std::result::Result<Option<Preprocessing>, String> {
    const TELLING: [&str; 14] = [
        "image_processor_type",
        "feature_extractor_type",
        "do_rescale",
        "rescale_factor",
        "do_normalize",
        "image_mean",
        "image_std",
        "do_resize",
        "size",
        "resample",
        "do_center_crop",
        "crop_size",
        "do_flip_channel_order",
        "do_grayscale",
    ];
    // An object that says nothing of it decides nothing.
    if json.as_object().is_some_and(|map| !TELLING.iter().any(|key| map.contains_key(*key))) {
        return Ok(None);
    }
    Preprocessing::from_json(json, size).map(Some)
}

/// timm's `pretrained_cfg`, in a `config.json` as its models on the hub have it.
fn timm(json: &Value, size: Option<(u32, u32)>) -> std::result::Result<Option<Preprocessing>, String> {
    let cfg = if json["pretrained_cfg"].is_object() { &json["pretrained_cfg"] } else { json };
    if !cfg["mean"].is_array() || !cfg["std"].is_array() {
        return Ok(None);
    }
    let own = cfg["input_size"].as_array().filter(|s| s.len() == 3);
    let own = own.and_then(|s| Some((u32::try_from(s[1].as_u64()?).ok()?, u32::try_from(s[2].as_u64()?).ok()?)));
    let (height, width) = size.or(own).unwrap_or((224, 224));
    let target = serde_json::json!({ "height": height, "width": width });
    let mut translated = serde_json::json!({
        "image_mean": cfg["mean"], "image_std": cfg["std"], "size": target, "crop_size": target,
        "resample": cfg["interpolation"].as_str().unwrap_or("bicubic"),
    });
    let fraction = cfg["crop_pct"].as_f64().unwrap_or(0.875);
    if cfg["crop_mode"].as_str() == Some("squash") && (0.01..=1.0).contains(&fraction) {
        let scaled = |side: u32| (f64::from(side) / fraction) as u32;
        translated["size"] = serde_json::json!({ "height": scaled(height), "width": scaled(width) });
    } else {
        translated["crop_pct"] = fraction.into();
    }
    Preprocessing::from_json(&translated, Some((height, width))).map(Some)
}

/// A JSON file that lies beside the model (the embedded model has its own).
pub fn sidecar(model: &Model, name: &str) -> Result<Option<(PathBuf, Value)>> {
    if let Some(text) = builtin_sidecar(model, name) {
        let json = serde_json::from_str(text).map_err(|e| Error::model(&model.path, format!("{name}: {e}")))?;
        return Ok(Some((PathBuf::from(name), json)));
    }
    let path = model.path.parent().unwrap_or(Path::new("")).join(name);
    match std::fs::metadata(&path) {
        Ok(meta) if meta.is_file() && meta.len() <= MAX_TEXT => {}
        _ => return Ok(None),
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let json = serde_json::from_str(&text).map_err(|e| Error::data(&path, format!("not sound JSON: {e}")))?;
    Ok(Some((path, json)))
}

/// The path of the embedded model.
pub const BUILTIN: &str = "<efficientnet_lite0>";

#[cfg(feature = "builtin-model")]
fn builtin_sidecar(model: &Model, name: &str) -> Option<&'static str> {
    if model.path != Path::new(BUILTIN) {
        return None;
    }
    match name {
        "preprocessor_config.json" => Some(include_str!("../../models/efficientnet_lite0/preprocessor_config.json")),
        "config.json" => Some(include_str!("../../models/efficientnet_lite0/config.json")),
        _ => None,
    }
}

#[cfg(not(feature = "builtin-model"))]
fn builtin_sidecar(_: &Model, _: &str) -> Option<&'static str> {
    None
}

/// The embedded EfficientNet-Lite0.
///
/// # Errors
/// [`Error::Usage`] when the crate was built without the feature `builtin-model`.
pub fn builtin() -> Result<Model> {
    #[cfg(feature = "builtin-model")]
    return Model::from_bytes(BUILTIN, &include_bytes!("../../models/efficientnet_lite0/model.onnx")[..]);
    #[cfg(not(feature = "builtin-model"))]
    Err(Error::Usage("this build has no embedded model; name one with --onnx FILE".into()))
}

/// Whether images go in as colours; a help for messages.
pub fn colour_name(p: &Preprocessing) -> &'static str {
    match p.color {
        Color::Rgb => "RGB",
        Color::Bgr => "BGR",
        Color::Gray => "grey",
        Color::Rgba => "RGBA",
        Color::GrayAlpha => "grey and opacity",
    }
}

/// Preprocessing in one line, for people.
pub fn in_words(p: &Preprocessing) -> String {
    let mut text = match p.resize {
        Resize::None => "no resize".to_string(),
        Resize::Shortest(edge) => format!("shorter side to {edge}"),
        Resize::Longest(edge) => format!("longer side to {edge}"),
        Resize::Exact { height, width } => format!("resize to {height}x{width}"),
    };
    let filter = serde_json::to_value(p.filter).ok();
    let _ = write!(text, " ({})", filter.as_ref().and_then(|f| f.as_str()).unwrap_or_default());
    if let Some((height, width)) = p.crop {
        let _ = write!(text, ", centre {height}x{width}");
    }
    let list = |values: &[f32]| values.iter().map(|v| format!("{:.3}", v)).collect::<Vec<_>>().join(" ");
    let range = if (p.scale - 1.0 / 255.0).abs() < 1e-8 { "0-1".into() } else { format!("times {:.5}", p.scale) };
    let _ = write!(text, ", {} {range}, mean {}, std {}", colour_name(p), list(&p.mean), list(&p.std));
    text
}
