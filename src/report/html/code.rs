//! Programs that run the model without `adapt`: Python, and JavaScript for browsers.

use super::{engine, prepared};
use crate::data::{Color, Filter, Layout, Resize};
use crate::error::Result;
use crate::report::recorded::Recorded;
use minijinja::context;

/// Both programs, `[Python, JavaScript]`. They hold numbers and words of this file's and no text from the run's: who runs
/// them need not trust whoever made it. Class names are read from `labels.txt`. None where a run's preprocessing cannot be read.
pub(super) fn programs(recorded: &Recorded) -> Result<Option<[String; 2]>> {
    let (run, folder) = (&recorded.run, &recorded.folder);
    let plan = &run["plan"];
    let Ok(p) = prepared(plan) else { return Ok(None) };
    let layout = serde_json::from_value(plan["input"]["layout"].clone()).unwrap_or(Layout::Nchw);
    let (mode, channels) = match p.color {
        Color::Gray => ("L", 1),
        Color::GrayAlpha => ("LA", 2),
        Color::Rgb | Color::Bgr => ("RGB", 3),
        Color::Rgba => ("RGBA", 4),
    };
    let (resize, edge) = match p.resize {
        Resize::None => ("none", [0, 0]),
        Resize::Shortest(edge) => ("shortest", [edge, edge]),
        Resize::Longest(edge) => ("longest", [edge, edge]),
        Resize::Exact { height, width } => ("exact", [height, width]),
    };
    let (filter, support) = match p.filter {
        Filter::Nearest => ("NEAREST", 0.),
        Filter::Box => ("BOX", 0.5),
        Filter::Bilinear => ("BILINEAR", 1.),
        Filter::Hamming => ("HAMMING", 1.),
        Filter::Bicubic => ("BICUBIC", 2.),
        Filter::Lanczos => ("LANCZOS", 3.),
    };
    let (height, width) = p.size();
    let (data_type, array) = match plan["input"]["data_type"].as_str() {
        // As bits: not every browser has a Float16Array.
        Some("float16") => ("float16", "Uint16Array"),
        Some("uint8") => ("uint8", "Uint8Array"),
        _ => ("float32", "Float32Array"),
    };
    let values = context! {
        baked => !run["baked"].is_null(), mode, channels, resize, edge, filter, support, height, width,
        scale => p.scale.to_string(), alpha => p.color.has_alpha(), bgr => p.color == Color::Bgr,
        // Floats as they are written shortest, which reads back to the same.
        mean => p.mean.iter().map(f32::to_string).collect::<Vec<_>>(),
        std => p.std.iter().map(f32::to_string).collect::<Vec<_>>(),
        nchw => layout == Layout::Nchw, batch => plan["input"]["batch"].as_u64().unwrap_or(1),
        data_type, array, external => folder.join("model.onnx.data").is_file(),
        task => recorded.task, thresholds => recorded.thresholds.iter().map(f32::to_string).collect::<Vec<_>>(),
        activation => run["model"]["output"]["activation"].as_str().unwrap_or("none"),
    };
    let render = |name: &str| engine::render(name, &values);
    Ok(Some([render("python.txt")?, render("javascript.txt")?]))
}
