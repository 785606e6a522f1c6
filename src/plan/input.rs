//! Which input takes the image, and in what form.

use crate::data::Layout;
use crate::error::{Error, Result};
use crate::onnx::schema::{ValueInfoProto, data_type};
use crate::onnx::{Model, metadata};
use serde::{Deserialize, Serialize};

/// A model's image input. Sizes in pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The graph input's name.
    pub name: String,
    /// Order of the axes.
    pub layout: Layout,
    /// Height that images are brought to.
    pub height: u32,
    /// Width that images are brought to.
    pub width: u32,
    /// 3, or 1 for grey.
    pub channels: usize,
    /// Images that one run of the model takes; `None` for any number.
    pub batch: Option<usize>,
    /// The element type, as `float32`.
    pub data_type: String,
}

/// What a file says of its image input; sizes that it leaves open are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// The graph input's name.
    pub name: String,
    /// Order of the axes.
    pub layout: Layout,
    /// Height and width where the file fixes both.
    pub size: Option<(u32, u32)>,
    /// Channels, 3 where the file leaves them open.
    pub channels: usize,
    /// The batch where the file fixes it.
    pub batch: Option<usize>,
    /// The element type, as `float32`.
    pub data_type: String,
}

const DEFAULT_SIZE: u32 = 224;
/// Larger images in are no use to any known model, and would take all memory.
const MAX_SIZE: u64 = 8192;

impl Declared {
    /// Finds the one image input.
    ///
    /// # Errors
    /// [`Error::Model`] when there is none, or more than one, or another input that would have to be fed.
    pub fn of(model: &Model) -> Result<Declared> {
        let error = |what: String| Error::model(&model.path, what);
        let (mut images, mut others) = (Vec::new(), Vec::new());
        for input in model.inputs() {
            match image(input) {
                Some(found) => images.push(found),
                None => others.push(input.name().to_string()),
            }
        }
        match images.len() {
            1 if others.is_empty() => {}
            1 => {
                return Err(error(format!("besides the image it takes {}, which is not supported", others.join(", "))));
            }
            0 => {
                let list = if others.is_empty() { "none at all".into() } else { others.join(", ") };
                return Err(error(format!(
                    "it has no image input (float or uint8, 4 axes, 1 or 3 channels); inputs: {list}"
                )));
            }
            _ => {
                let names: Vec<_> = images.iter().map(|i| i.name.as_str()).collect();
                return Err(error(format!(
                    "it has several image inputs ({}); only one is supported",
                    names.join(", ")
                )));
            }
        }
        let found = images.swap_remove(0);
        match found.size {
            Some((h, w)) if u64::from(h.max(w)) > MAX_SIZE || h == 0 || w == 0 => {
                Err(error(format!("its input '{}' takes {h}x{w} pixels; at most {MAX_SIZE} are supported", found.name)))
            }
            _ => Ok(found),
        }
    }

    /// Settles what the file leaves open: `wanted` (height, width; from `--size`), else what the preprocessing or the
    /// metadata say (`known`), else 224.
    ///
    /// # Errors
    /// [`Error::Usage`] when `wanted` is not what the file fixes.
    pub fn settle(self, wanted: Option<(u32, u32)>, known: Option<(u32, u32)>) -> Result<Input> {
        if let (Some(size), Some(wanted)) = (self.size, wanted)
            && size != wanted
        {
            let ((h, w), (a, b)) = (size, wanted);
            return Err(Error::Usage(format!("--size {a}x{b}: the model's input '{}' is fixed to {h}x{w}", self.name)));
        }
        let (height, width) = self.size.or(wanted).or(known).unwrap_or((DEFAULT_SIZE, DEFAULT_SIZE));
        if u64::from(height.max(width)) > MAX_SIZE || height == 0 || width == 0 {
            return Err(Error::Usage(format!("a size of {height}x{width} pixels is not between 1 and {MAX_SIZE}")));
        }
        let Declared { name, layout, channels, batch, data_type, .. } = self;
        Ok(Input { name, layout, height, width, channels, batch, data_type })
    }
}

impl Input {
    /// Axes of a batch of `n` images.
    pub fn shape(&self, n: usize) -> [usize; 4] {
        let (h, w) = (self.height as usize, self.width as usize);
        match self.layout {
            Layout::Nchw => [n, self.channels, h, w],
            Layout::Nhwc => [n, h, w, self.channels],
        }
    }

    /// The axes as an engine wants to know them: `None` for a free batch.
    pub fn axes(&self) -> [Option<usize>; 4] {
        let [_, a, b, c] = self.shape(1);
        [self.batch, Some(a), Some(b), Some(c)]
    }

    /// Values of one image.
    pub fn len(&self) -> usize {
        self.shape(1).iter().product()
    }

    /// Never: an input has pixels.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// What an input says of itself, if images can be fed to it.
fn image(input: &ValueInfoProto) -> Option<Declared> {
    let (elem_type, dims) = input.tensor_type()?;
    if !matches!(elem_type, data_type::FLOAT | data_type::FLOAT16 | data_type::BFLOAT16 | data_type::UINT8) {
        return None;
    }
    let dims = dims.unwrap_or_else(|| vec![None; 4]);
    let &[batch, second, third, fourth] = &dims[..] else { return None };
    let colours = |d: Option<u64>| matches!(d, Some(1 | 3));
    let (layout, channels, height, width) = match (second, fourth) {
        _ if colours(second) => (Layout::Nchw, second, third, fourth),
        _ if colours(fourth) => (Layout::Nhwc, fourth, second, third),
        (None, None) => (Layout::Nchw, None, third, fourth),
        _ => return None,
    };
    let size =
        height.zip(width).map(|(h, w)| (u32::try_from(h).unwrap_or(u32::MAX), u32::try_from(w).unwrap_or(u32::MAX)));
    Some(Declared {
        name: input.name().into(),
        layout,
        size,
        channels: channels.unwrap_or(3) as usize,
        batch: batch.map(|b| b as usize),
        data_type: data_type::name(elem_type).into(),
    })
}

/// The input size (height, width) that other tools left in the metadata.
pub fn size_in_metadata(model: &Model) -> Option<(u32, u32)> {
    let text = metadata::get(&model.proto, "imgsz")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    let height = numbers.next()?;
    Some((height, numbers.next().unwrap_or(height)))
}
