//! Which input takes the image, and in what form.

use super::extra;
use crate::data::Layout;
use crate::error::{Error, Result};
use crate::onnx::graph::{Index, reads};
use crate::onnx::schema::{TensorShapeProto, ValueInfoProto, data_type};
use crate::onnx::surgery::{size, symbol};
use crate::onnx::{Model, first, metadata};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

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
    /// 3; 1 for grey, 2 for grey and opacity, 4 for colours and opacity.
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
    /// Height where the file fixes it.
    pub height: Option<u32>,
    /// Width where the file fixes it.
    pub width: Option<u32>,
    /// Channels, the first convolution's where the file leaves them open, else 3.
    pub channels: usize,
    /// The batch where the file fixes it.
    pub batch: Option<usize>,
    /// The element type, as `float32`.
    pub data_type: String,
}

const DEFAULT_SIZE: u32 = 224;
/// Models with more inputs are no image models.
const MOST_INPUTS: usize = 16;
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
        let several = model.inputs().count() > MOST_INPUTS;
        for input in model.inputs() {
            // Looking for each one's convolution costs a walk over the graph.
            let told = if several { None } else { first::convolution(model.graph(), input.name()) };
            match image(input, told) {
                Some(found) => images.push(found),
                None if extra::has_default(input) => {}
                None => others.push(input),
            }
        }
        match images.len() {
            1 if others.is_empty() => {}
            1 => {
                let names: Vec<&str> = others.iter().map(|input| input.name()).collect();
                let what = format!("besides the image it takes {}", names.join(", "));
                return Err(error(format!("{what}, whose values nothing tells; export the model without")));
            }
            0 => {
                let list: Vec<String> = others.iter().take(MOST_INPUTS).map(|input| input.shown()).collect();
                let list = if list.is_empty() { "none at all".into() } else { list.join(", ") };
                let what = "it has no image input (float32, float16 or uint8; 4 axes; 1 to 4 channels)";
                return Err(error(format!("{what}; inputs: {list}")));
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
        let out = |side: Option<u32>| side.is_some_and(|side| u64::from(side) > MAX_SIZE || side == 0);
        if out(found.height) || out(found.width) {
            let size = found.shown();
            return Err(error(format!(
                "its input '{}' takes {size} pixels; at most {MAX_SIZE} are supported",
                found.name
            )));
        }
        Ok(found)
    }

    /// Height and width where the file fixes both.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.height.zip(self.width)
    }

    /// `48x?`
    fn shown(&self) -> String {
        let side = |side: Option<u32>| side.map_or("?".into(), |side| side.to_string());
        format!("{}x{}", side(self.height), side(self.width))
    }

    /// Settles what the file leaves open: `wanted` (height, width; from `--size`), else what the preprocessing or the
    /// metadata say (`known`), else a square where the file fixes one side, else 224.
    ///
    /// # Errors
    /// [`Error::Usage`] when `wanted` is not what the file fixes.
    pub fn settle(self, wanted: Option<(u32, u32)>, known: Option<(u32, u32)>) -> Result<Input> {
        if let Some((h, w)) = wanted
            && (self.height.is_some_and(|own| own != h) || self.width.is_some_and(|own| own != w))
        {
            let (name, own) = (&self.name, self.shown());
            return Err(Error::Usage(format!("--size {h}x{w}: the model's input '{name}' is fixed to {own}")));
        }
        let (h, w) = wanted.or(known).unzip();
        let height = self.height.or(h).or(self.width).unwrap_or(DEFAULT_SIZE);
        let width = self.width.or(w).or(self.height).unwrap_or(DEFAULT_SIZE);
        if u64::from(height.max(width)) > MAX_SIZE || height == 0 || width == 0 {
            return Err(Error::Usage(format!("a size of {height}x{width} pixels is not between 1 and {MAX_SIZE}")));
        }
        let Declared { name, layout, channels, batch, data_type, .. } = self;
        Ok(Input { name, layout, height, width, channels, batch, data_type })
    }
}

/// Takes inputs out of a model that `tensor` does not need, and all that hangs on them; gives their names. Those whose value
/// is obvious stay. Where it needs no input at all, that is another's to tell.
pub(super) fn drop_idle(model: &mut Model, tensor: &str) -> Vec<String> {
    let needed = Index::new(model.graph()).ancestors(&[tensor]).1;
    let (kept, idle): (Vec<_>, Vec<_>) = model.inputs().partition(|input| needed.contains(input.name()));
    let idle: Vec<String> = idle.iter().filter(|i| !extra::has_default(i)).map(|i| i.name().to_owned()).collect();
    if idle.is_empty() || kept.is_empty() {
        return Vec::new();
    }
    let mut gone: HashSet<String> = idle.iter().cloned().collect();
    if let Some(graph) = model.proto.graph.as_mut() {
        graph.node.retain(|node| {
            let hangs = reads(node).any(|value| gone.contains(value));
            gone.extend(node.output.iter().filter(|output| hangs && !output.is_empty()).cloned());
            !hangs
        });
        for values in [&mut graph.input, &mut graph.output, &mut graph.value_info] {
            values.retain(|value| !gone.contains(value.name()));
        }
        if graph.output.is_empty() {
            graph.output.push(ValueInfoProto { name: Some(tensor.into()), ..Default::default() });
        }
    }
    idle
}

impl Input {
    /// Axes of a batch of `n` images.
    pub fn shape(&self, n: usize) -> [usize; 4] {
        let (h, w) = (self.height as usize, self.width as usize);
        self.layout.shape(n, self.channels, h, w)
    }

    /// The axes as an engine wants to know them: `None` for a free batch.
    pub fn axes(&self) -> [Option<usize>; 4] {
        let [_, a, b, c] = self.shape(1);
        [self.batch, Some(a), Some(b), Some(c)]
    }

    /// Declares the input's shape in a file that leaves it open altogether, which ONNX's checker refuses.
    pub fn declare(&self, model: &mut Model) {
        let graph = model.proto.graph.iter_mut();
        let inputs = graph.flat_map(|graph| &mut graph.input).filter(|input| input.name() == self.name);
        for tensor in inputs.filter_map(|input| input.r#type.as_mut()?.tensor_type.as_mut()) {
            tensor.shape.get_or_insert_with(|| {
                let sizes = self.axes().map(|axis| axis.map_or_else(|| symbol("N"), |axis| size(axis as i64)));
                TensorShapeProto { dim: sizes.to_vec() }
            });
        }
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

/// What an input says of itself, if images can be fed to it. Where it does not say all, the first convolution does.
fn image(input: &ValueInfoProto, told: Option<(usize, bool)>) -> Option<Declared> {
    let (elem_type, dims) = input.tensor_type()?;
    if !matches!(elem_type, data_type::FLOAT | data_type::FLOAT16 | data_type::BFLOAT16 | data_type::UINT8) {
        return None;
    }
    let dims = dims.unwrap_or_else(|| vec![None; 4]);
    let &[batch, second, third, fourth] = &dims[..] else { return None };
    let told = told.filter(|(channels, _)| matches!(channels, 1..=4)).map(|(channels, last)| (channels as u64, last));
    let is = |dim: Option<u64>, wanted: &[u64]| dim.is_some_and(|dim| wanted.contains(&dim));
    let last = match told {
        Some((channels, false)) if second.is_none_or(|dim| dim == channels) => false,
        Some((channels, true)) if fourth.is_none_or(|dim| dim == channels) => true,
        _ if is(second, &[1, 3]) => false,
        _ if is(fourth, &[1, 3]) => true,
        _ if is(second, &[2, 4]) => false,
        _ if is(fourth, &[2, 4]) => true,
        _ if second.is_none() => false,
        _ if fourth.is_none() => true,
        _ => return None,
    };
    let (layout, channels, height, width) =
        if last { (Layout::Nhwc, fourth, second, third) } else { (Layout::Nchw, second, third, fourth) };
    let side = |dim: Option<u64>| dim.map(|dim| u32::try_from(dim).unwrap_or(u32::MAX));
    Some(Declared {
        name: input.name().into(),
        layout,
        height: side(height),
        width: side(width),
        channels: channels.or(told.map(|(channels, _)| channels)).unwrap_or(3) as usize,
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
