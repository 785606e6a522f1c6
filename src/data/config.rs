//! [`Preprocessing`] as Hugging Face's `preprocessor_config.json`.

use super::preprocess::{Color, Filter, Preprocessing, Resize};
use serde_json::{Map, Value, json};

impl Filter {
    /// Pillow's number.
    fn number(self) -> u64 {
        match self {
            Filter::Nearest => 0,
            Filter::Lanczos => 1,
            Filter::Bilinear => 2,
            Filter::Bicubic => 3,
            Filter::Box => 4,
            Filter::Hamming => 5,
        }
    }
}

impl Preprocessing {
    /// A Hugging Face `preprocessor_config.json` for an image classifier. [`Preprocessing::from_json`] reads it back.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let exact = matches!(self.resize, Resize::Exact { .. }) && self.crop.is_none();
        let kind = if exact { "ViTImageProcessor" } else { "CLIPImageProcessor" };
        map.insert("image_processor_type".into(), kind.into());
        map.insert("do_convert_rgb".into(), matches!(self.color, Color::Rgb | Color::Bgr).into());
        map.insert("do_resize".into(), (self.resize != Resize::None).into());
        match self.resize {
            Resize::None => {}
            Resize::Shortest(edge) => drop(map.insert("size".into(), json!({ "shortest_edge": edge }))),
            // What the crop adds around it is black. `longest_edge` alone is refused by the processor.
            Resize::Longest(edge) => {
                drop(map.insert("size".into(), json!({ "max_height": edge, "max_width": edge })));
            }
            Resize::Exact { height, width } => {
                drop(map.insert("size".into(), json!({ "height": height, "width": width })));
            }
        }
        map.insert("resample".into(), self.filter.number().into());
        map.insert("do_center_crop".into(), self.crop.is_some().into());
        if let Some((height, width)) = self.crop {
            map.insert("crop_size".into(), json!({ "height": height, "width": width }));
        }
        map.insert("do_rescale".into(), true.into());
        map.insert("rescale_factor".into(), decimal(self.scale));
        map.insert("do_normalize".into(), true.into());
        map.insert("image_mean".into(), self.mean.iter().map(|&v| decimal(v)).collect());
        map.insert("image_std".into(), self.std.iter().map(|&v| decimal(v)).collect());
        match self.color {
            Color::Rgb | Color::Rgba => {}
            Color::Bgr => drop(map.insert("do_flip_channel_order".into(), true.into())),
            Color::Gray | Color::GrayAlpha => drop(map.insert("do_grayscale".into(), true.into())),
        }
        Value::Object(map)
    }

    /// Reads a Hugging Face `preprocessor_config.json` of an image classifier, of old and new versions. `default_size`
    /// (height, width: the model's input) stands in where the file leaves the size open.
    ///
    /// # Errors
    /// One line that names the key and what is wrong with it.
    pub fn from_json(value: &Value, default_size: Option<(u32, u32)>) -> Result<Preprocessing, String> {
        let map = value.as_object().ok_or("the preprocessing must be a JSON object")?;
        // One value more than the colours is opacity's.
        let values = map.get("image_mean").and_then(Value::as_array).map_or(0, Vec::len);
        let color = match (flag(map, "do_grayscale")?, flag(map, "do_flip_channel_order")?) {
            (Some(true), _) if values == 2 => Color::GrayAlpha,
            (Some(true), _) => Color::Gray,
            (_, Some(true)) => Color::Bgr,
            _ if values == 4 => Color::Rgba,
            _ => Color::Rgb,
        };
        let channels = color.channels();
        let (resize, crop) = geometry(map, default_size)?;
        let scale = match (flag(map, "do_rescale")?, map.get("rescale_factor")) {
            (Some(false), _) => 1.0,
            (_, None | Some(Value::Null)) => 1.0 / 255.0,
            (_, Some(factor)) => number("rescale_factor", factor)?,
        };
        let (mean, std) = normalisation(map, channels)?;
        let p = Preprocessing { color, resize, filter: filter(map)?, crop, scale, mean, std };
        p.validate()?;
        Ok(p)
    }
}

/// The shortest decimal that is this f32, so that 0.485 is written and not 0.48500001430511475; 1/255 in full, because
/// other readers compute with it in f64.
fn decimal(v: f32) -> Value {
    if v == 1.0 / 255.0 { json!(1.0_f64 / 255.0) } else { v.to_string().parse::<f64>().unwrap_or(f64::from(v)).into() }
}

fn flag(map: &Map<String, Value>, key: &str) -> Result<Option<bool>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(format!("{key} must be true or false, not {}", brief(other))),
    }
}

fn number(key: &str, value: &Value) -> Result<f32, String> {
    let number = value.as_f64().map(|v| v as f32).filter(|v| v.is_finite());
    number.ok_or_else(|| format!("{key} must be a finite number, not {}", brief(value)))
}

fn pixels(key: &str, value: &Value) -> Result<u32, String> {
    let number = value.as_u64().or_else(|| value.as_f64().filter(|v| v.fract() == 0.0 && *v > 0.0).map(|v| v as u64));
    let number = number.and_then(|v| u32::try_from(v).ok());
    number.ok_or_else(|| format!("{key} must be a number of pixels, not {}", brief(value)))
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// The ways in which `size` and `crop_size` are written.
#[derive(Clone, Copy)]
enum Size {
    Number(u32),
    Shortest(u32),
    Longest(u32),
    Exact(u32, u32),
}

impl Size {
    /// Height and width of the square or rectangle that it names.
    fn exact(self) -> (u32, u32) {
        match self {
            Size::Number(n) | Size::Shortest(n) | Size::Longest(n) => (n, n),
            Size::Exact(height, width) => (height, width),
        }
    }
}

fn size(map: &Map<String, Value>, key: &str) -> Result<Option<Size>, String> {
    let Some(value) = map.get(key).filter(|v| !v.is_null()) else { return Ok(None) };
    if let Some(object) = value.as_object() {
        return match (object.get("height"), object.get("width"), object.get("shortest_edge")) {
            (Some(height), Some(width), _) => Ok(Some(Size::Exact(pixels(key, height)?, pixels(key, width)?))),
            (None, None, Some(edge)) => Ok(Some(Size::Shortest(pixels(key, edge)?))),
            (None, None, None) if value.get("longest_edge").is_some() => {
                Ok(Some(Size::Longest(pixels(key, &value["longest_edge"])?)))
            }
            (None, None, None) if value.get("max_height").is_some() && value["max_height"] == value["max_width"] => {
                Ok(Some(Size::Longest(pixels(key, &value["max_height"])?)))
            }
            _ => Err(format!("{key} must have height and width, or shortest_edge; it is {}", brief(value))),
        };
    }
    match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => Ok(Some(Size::Exact(pixels(key, height)?, pixels(key, width)?))),
        Some([edge]) => Ok(Some(Size::Shortest(pixels(key, edge)?))),
        _ => Ok(Some(Size::Number(pixels(key, value)?))),
    }
}

/// Resize and crop.
type Geometry = (Resize, Option<(u32, u32)>);

/// What `size`, `crop_size`, `crop_pct` and their flags come to.
fn geometry(map: &Map<String, Value>, default_size: Option<(u32, u32)>) -> Result<Geometry, String> {
    let (size, crop_size) = (size(map, "size")?, size(map, "crop_size")?);
    let crops = flag(map, "do_center_crop")?.unwrap_or(crop_size.is_some());
    let crop = if crops { crop_size.or(size).map(Size::exact).or(default_size) } else { None };
    if crops && crop.is_none() {
        return Err("do_center_crop is true but there is no crop_size".into());
    }
    let exact = |(height, width)| Resize::Exact { height, width };
    let resizes = flag(map, "do_resize")?.unwrap_or(true);
    if !resizes && crop.is_some() {
        return Ok((Resize::None, crop));
    }
    let Some(size) = size.filter(|_| resizes) else {
        // An image that is not resized must have the model's size already.
        let size = default_size.or(crop).ok_or("there is no size, and the model does not fix one")?;
        return Ok((exact(size), crop));
    };
    if let Some(fraction) = map.get("crop_pct").filter(|v| !v.is_null())
        && size.exact().0 == size.exact().1
    {
        return cropped_fraction(map, number("crop_pct", fraction)?, size.exact().0, crop);
    }
    match size {
        Size::Exact(height, width) => Ok((exact((height, width)), crop)),
        // Old files write a number: those that crop mean the shorter side by it, the others a square.
        Size::Number(n) if crop.is_none() => Ok((exact((n, n)), None)),
        Size::Number(n) | Size::Shortest(n) => {
            let crop = crop.or(default_size);
            let crop = crop.ok_or("size has only shortest_edge, and nothing crops the image to a fixed size")?;
            Ok((Resize::Shortest(n), Some(crop)))
        }
        Size::Longest(n) => {
            let crop = crop.or(default_size);
            let crop = crop.ok_or("size has only longest_edge, and nothing brings the image to a fixed size")?;
            Ok((Resize::Longest(n), Some(crop)))
        }
    }
}

/// `crop_pct`: the crop's share of the shorter side. ConvNeXt's processor ignores it from 384 pixels on.
fn cropped_fraction(
    map: &Map<String, Value>,
    fraction: f32,
    n: u32,
    crop: Option<(u32, u32)>,
) -> Result<Geometry, String> {
    if !(0.01..=1.0).contains(&fraction) {
        return Err(format!("crop_pct {fraction} is outside 0.01 to 1"));
    }
    if processor(map).starts_with("ConvNext") && n >= 384 {
        return Ok((Resize::Exact { height: n, width: n }, None));
    }
    // The decimal is meant, not its nearest f32, or 224 / 0.875 could truncate to 255.
    let fraction: f64 = fraction.to_string().parse().unwrap_or(1.0);
    Ok((Resize::Shortest((f64::from(n) / fraction) as u32), Some(crop.unwrap_or((n, n)))))
}

fn processor(map: &Map<String, Value>) -> &str {
    let kind = map.get("image_processor_type").or_else(|| map.get("feature_extractor_type"));
    kind.and_then(Value::as_str).unwrap_or_default()
}

fn filter(map: &Map<String, Value>) -> Result<Filter, String> {
    match map.get("resample") {
        None | Some(Value::Null) => Ok(Filter::Bilinear),
        Some(Value::String(name)) => name.parse(),
        Some(value) => match value.as_u64() {
            Some(0) => Ok(Filter::Nearest),
            Some(1) => Ok(Filter::Lanczos),
            Some(2) => Ok(Filter::Bilinear),
            Some(3) => Ok(Filter::Bicubic),
            Some(4) => Ok(Filter::Box),
            Some(5) => Ok(Filter::Hamming),
            _ => Err(format!("resample must be 0 to 5 or a name, not {}", brief(value))),
        },
    }
}

/// Mean and std, one per channel.
fn normalisation(map: &Map<String, Value>, channels: usize) -> Result<(Vec<f32>, Vec<f32>), String> {
    let wanted = flag(map, "do_normalize")?;
    let list = |key: &str| -> Result<Option<Vec<f32>>, String> {
        let values = match map.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(values)) => values.iter().map(|v| number(key, v)).collect::<Result<Vec<_>, _>>()?,
            Some(value) => vec![number(key, value)?],
        };
        // One number stands for every channel.
        Ok(Some(if values.len() == 1 { vec![values[0]; channels] } else { values }))
    };
    let (mut mean, mut std) = match (wanted, list("image_mean")?, list("image_std")?) {
        (Some(false), ..) | (None, None, None) => (vec![0.0; channels], vec![1.0; channels]),
        (_, Some(mean), Some(std)) => (mean, std),
        _ => return Err("image_mean and image_std must both be given, or do_normalize be false".into()),
    };
    if flag(map, "rescale_offset")? == Some(true) {
        // Those processors subtract 1 after scaling.
        mean.iter_mut().for_each(|v| *v += 1.0);
    }
    if processor(map).starts_with("EfficientNet") && wanted != Some(false) && flag(map, "include_top")? == Some(true) {
        // That processor divides by the std twice.
        std.iter_mut().for_each(|v| *v *= *v);
    }
    Ok((mean, std))
}
