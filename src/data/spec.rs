//! The command line's `--preprocess SPEC`: a preset's name and changes to it, resolved once the model's size is known.

use super::preprocess::{Color, Filter, Preprocessing, Resize, shorter_side};
use super::presets::{PRESETS, Preset};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const KEYS: [&str; 7] = ["resize", "crop", "filter", "mean", "std", "scale", "color"];
const FILTERS: [(&str, Filter); 6] = [
    ("nearest", Filter::Nearest),
    ("bilinear", Filter::Bilinear),
    ("bicubic", Filter::Bicubic),
    ("lanczos", Filter::Lanczos),
    ("box", Filter::Box),
    ("hamming", Filter::Hamming),
];
const COLORS: [(&str, Color); 5] = [
    ("rgb", Color::Rgb),
    ("bgr", Color::Bgr),
    ("gray", Color::Gray),
    ("rgba", Color::Rgba),
    ("grayalpha", Color::GrayAlpha),
];

/// A preprocessing as the command line gives it, such as `imagenet,filter=bicubic,resize=232`: a preset (imagenet when
/// none is named) and what differs from it. `Display` writes what `FromStr` reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Spec {
    preset: &'static Preset,
    resize: Option<Resize>,
    /// `Some(None)` is `crop=none`.
    crop: Option<Option<(u32, u32)>>,
    filter: Option<Filter>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
    scale: Option<f32>,
    color: Option<Color>,
}

impl Default for Spec {
    fn default() -> Spec {
        let preset = &PRESETS[0];
        Spec { preset, resize: None, crop: None, filter: None, mean: None, std: None, scale: None, color: None }
    }
}

impl Spec {
    /// The names of the presets.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|preset| preset.name)
    }

    /// Height and width in pixels that the text itself fixes, for models that take any size.
    pub fn size(&self) -> Option<(u32, u32)> {
        match (self.crop, self.resize) {
            (Some(Some(size)), _) => Some(size),
            (_, Some(Resize::Exact { height, width })) => Some((height, width)),
            _ => None,
        }
    }

    /// The preprocessing for a model whose input is `height` x `width` pixels. Where the text says nothing of resize
    /// and crop, a square input gets the preset's shorter side and a centre crop, another an exact resize. A preset's
    /// mean and std are averaged over the channels for `color=gray`; opacity is scaled and no more unless the text says so.
    ///
    /// # Errors
    /// [`Error::Usage`] when the result would not be valid, or not have that size.
    pub fn resolve(&self, height: u32, width: u32) -> Result<Preprocessing> {
        let preset = self.preset;
        let color = self.color.unwrap_or(preset.color);
        let colours = color.channels() - usize::from(color.has_alpha());
        let one_for_all = |values: [f32; 3]| match colours {
            1 if values[0] == values[1] && values[1] == values[2] => vec![values[0]],
            1 => vec![values.iter().sum::<f32>() / 3.0],
            _ => values.to_vec(),
        };
        let given = |values: &Vec<f32>| match values[..] {
            [value] => vec![value; colours],
            _ => values.clone(),
        };
        let with_alpha = |mut values: Vec<f32>, alpha: f32| {
            if color.has_alpha() && values.len() == colours {
                values.push(alpha);
            }
            values
        };
        let (resize, crop) = self.geometry(height, width);
        let p = Preprocessing {
            color,
            resize,
            filter: self.filter.unwrap_or(preset.filter),
            crop,
            scale: self.scale.unwrap_or(preset.scale),
            mean: with_alpha(self.mean.as_ref().map_or_else(|| one_for_all(preset.mean), given), 0.0),
            std: with_alpha(self.std.as_ref().map_or_else(|| one_for_all(preset.std), given), 1.0),
        };
        p.validate().map_err(|what| Error::Usage(format!("preprocessing '{self}': {what}")))?;
        if p.size() != (height, width) {
            let (h, w) = p.size();
            let text = format!("preprocessing '{self}' gives {h}x{w} pixels but the model takes {height}x{width}");
            return Err(Error::Usage(format!("{text}; change crop or resize")));
        }
        Ok(p)
    }

    fn geometry(&self, height: u32, width: u32) -> (Resize, Option<(u32, u32)>) {
        let exact = Resize::Exact { height, width };
        let usual = match self.crop {
            Some(None) => exact,
            _ if height != width => exact,
            _ if self.preset.margin => Resize::Shortest(shorter_side(height)),
            _ => Resize::Shortest(height),
        };
        let resize = self.resize.unwrap_or(usual);
        let crop = self.crop.unwrap_or_else(|| (resize != exact).then_some((height, width)));
        (resize, crop)
    }

    fn set(&mut self, key: &str, value: &str) -> std::result::Result<(), String> {
        match key {
            "resize" => once(key, &mut self.resize, resize(value)?),
            "crop" if value == "none" => once(key, &mut self.crop, None),
            "crop" => once(key, &mut self.crop, Some(pair(key, value)?)),
            "filter" => once(key, &mut self.filter, value.parse()?),
            "mean" => once(key, &mut self.mean, list(key, value)?),
            "std" => once(key, &mut self.std, list(key, value)?),
            "scale" => once(key, &mut self.scale, number(key, value)?),
            "color" => once(key, &mut self.color, named("color", &COLORS, value)?),
            _ => Err(unknown("key", key, KEYS.into_iter())),
        }
    }
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Spec, String> {
        let mut spec = Spec::default();
        let mut preset = None;
        for part in text.split(',').map(str::trim) {
            if let Some((key, value)) = part.split_once('=') {
                spec.set(key.trim(), value.trim())?;
                continue;
            }
            let found = PRESETS.iter().find(|preset| preset.name == part);
            once("preset", &mut preset, found.ok_or_else(|| unknown("preset", part, Spec::presets()))?)?;
        }
        spec.preset = preset.unwrap_or(spec.preset);
        // What is wrong at any size is said now rather than after the model has been loaded.
        let (height, width) = spec.size().unwrap_or((224, 224));
        spec.resolve(height, width).map_err(|e| e.to_string())?;
        Ok(spec)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let join = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(":");
        f.write_str(self.preset.name)?;
        match self.resize {
            None => {}
            Some(Resize::None) => f.write_str(",resize=none")?,
            Some(Resize::Shortest(edge)) => write!(f, ",resize={edge}")?,
            Some(Resize::Longest(edge)) => write!(f, ",resize=long:{edge}")?,
            Some(Resize::Exact { height, width }) => write!(f, ",resize={height}x{width}")?,
        }
        match self.crop {
            None => {}
            Some(None) => f.write_str(",crop=none")?,
            Some(Some((height, width))) => write!(f, ",crop={height}x{width}")?,
        }
        if let Some((name, _)) = FILTERS.iter().find(|(_, filter)| Some(*filter) == self.filter) {
            write!(f, ",filter={name}")?;
        }
        if let Some(mean) = &self.mean {
            write!(f, ",mean={}", join(mean))?;
        }
        if let Some(std) = &self.std {
            write!(f, ",std={}", join(std))?;
        }
        match self.scale {
            None => {}
            Some(scale) if scale == 1.0 / 255.0 => f.write_str(",scale=1/255")?,
            Some(scale) => write!(f, ",scale={scale}")?,
        }
        match COLORS.iter().find(|(_, color)| Some(*color) == self.color) {
            Some((name, _)) => write!(f, ",color={name}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Spec {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Spec, String> {
        text.parse()
    }
}

impl From<Spec> for String {
    fn from(spec: Spec) -> String {
        spec.to_string()
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Filter, String> {
        named("filter", &FILTERS, name)
    }
}

fn once<T>(key: &str, place: &mut Option<T>, value: T) -> std::result::Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is given twice")),
    }
}

fn named<T: Copy>(what: &str, table: &[(&'static str, T)], name: &str) -> std::result::Result<T, String> {
    let found = table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| *value).ok_or_else(|| unknown(what, name, table.iter().map(|(known, _)| *known)))
}

/// An error that lists what is known, and suggests the nearest.
fn unknown(what: &str, name: &str, known: impl Iterator<Item = &'static str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|k| (strsim::jaro_winkler(k, name), *k)).filter(|(score, _)| *score > 0.7);
    let near = near.max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = near.map_or_else(String::new, |(_, k)| format!(" (did you mean '{k}'?)"));
    let name: String = name.chars().take(60).collect();
    format!("unknown preprocessing {what} '{name}'{hint}; known: {}", known.join(", "))
}

fn resize(value: &str) -> std::result::Result<Resize, String> {
    if value == "none" {
        return Ok(Resize::None);
    }
    if let Some(edge) = value.strip_prefix("long:") {
        return pair("resize", edge).map(|(edge, _)| Resize::Longest(edge));
    }
    let (height, width) = pair("resize", value)?;
    Ok(if value.contains('x') { Resize::Exact { height, width } } else { Resize::Shortest(height) })
}

/// `224` or `192x256` (height x width).
fn pair(key: &str, value: &str) -> std::result::Result<(u32, u32), String> {
    let (height, width) = value.split_once('x').unwrap_or((value, value));
    match (height.trim().parse(), width.trim().parse()) {
        (Ok(height), Ok(width)) => Ok((height, width)),
        _ => Err(format!("{key}={value}: write a number of pixels, or HEIGHTxWIDTH")),
    }
}

/// A number or a fraction such as 1/255.
fn number(key: &str, value: &str) -> std::result::Result<f32, String> {
    let (top, bottom) = value.split_once('/').unwrap_or((value, "1"));
    let number = match (top.trim().parse::<f64>(), bottom.trim().parse::<f64>()) {
        (Ok(top), Ok(bottom)) => (top / bottom) as f32,
        _ => f32::NAN,
    };
    if number.is_finite() {
        Ok(number)
    } else {
        Err(format!("{key}={value}: write a number, or a fraction such as 1/255"))
    }
}

fn list(key: &str, value: &str) -> std::result::Result<Vec<f32>, String> {
    let values = value.split(':').map(|part| number(key, part)).collect::<std::result::Result<Vec<_>, _>>()?;
    if values.len() <= 4 { Ok(values) } else { Err(format!("{key}={value}: write 1 to 4 numbers, as a:b:c")) }
}
