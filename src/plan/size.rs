//! The size of images where neither the file nor a person says it: the graph's own constants may.

use super::input::Declared;
use super::preprocessing::{self, Sourced};
use super::{Input, PlanOptions, extra};
use crate::error::Result;
use crate::onnx::graph::Index;
use crate::onnx::{Model, tensor};
use std::collections::HashSet;

/// Sizes that are tried, the usual ones first.
#[rustfmt::skip]
const SIZES: [u32; 31] = [
    224, 299, 256, 240, 384, 192, 160, 128, 112, 96, 64, 48, 32, 28, 288, 320, 331, 336, 448, 512, 518, 640, 227, 380, 392,
    416, 560, 600, 608, 896, 1024,
];
/// Heights and widths that are no squares: of people, lines of text, faces and roads.
const OBLONG: [(u32, u32); 9] =
    [(256, 128), (384, 128), (128, 64), (48, 192), (48, 320), (32, 320), (32, 128), (32, 100), (80, 160)];
/// As many sizes that constants tell of are tried.
const MOST_TOLD: usize = 12;
/// So many bytes of weights are opened to try sizes, each time all of the model's: all sizes of 600 megabytes, ten of three
/// gigabytes. A clock would give a slower machine another model.
const MOST_BYTES: u64 = 32 << 30;

/// Whether the size is open: nothing fixes it that must be obeyed.
pub(super) fn is_open(model: &Model, options: &PlanOptions) -> Result<bool> {
    let given = options.size.or(options.preprocess.as_ref().and_then(|spec| spec.size()));
    Ok(given.is_none() && Declared::of(model)?.size().is_none())
}

/// The bytes of the weights.
pub(super) fn weights(model: &Model) -> u64 {
    model.graph().initializer.iter().filter_map(|weights| tensor::byte_len(weights).ok()).sum()
}

/// What a [search] finds.
pub(super) enum Fit {
    /// The size that was to be taken.
    Wanted,
    /// Another one.
    Other(Input, Sourced),
    /// None of those that were tried.
    None,
}

/// Another size than `input`'s when the frozen part does not run with that (`runs` tells): positional embeddings and
/// flattened maps fit one size alone.
pub(super) fn search(
    model: &Model,
    options: &PlanOptions,
    input: &Input,
    runs: impl Fn(&Model, &Input) -> bool,
) -> Result<Fit> {
    let fits = |input: &Input| {
        let mut trial = model.clone();
        extra::store(&mut trial, input);
        runs(&trial, input)
    };
    if fits(input) {
        return Ok(Fit::Wanted);
    }
    let declared = Declared::of(model)?;
    let square = told(model).into_iter().chain(SIZES).map(|side| (side, side));
    let sizes = square.chain(OBLONG).map(|(h, w)| (declared.height.unwrap_or(h), declared.width.unwrap_or(w)));
    let mut seen = HashSet::from([(input.height, input.width)]);
    let most = MOST_BYTES / weights(model).max(1);
    let sizes = sizes.filter(|&size| seen.insert(size)).take(usize::try_from(most).unwrap_or(usize::MAX));
    let found = sizes.filter_map(|size| preprocessing::resolve(model, options.preprocess.as_ref(), Some(size)).ok());
    let fitting = found.into_iter().find(|(input, _)| fits(input));
    Ok(fitting.map_or(Fit::None, |(input, sourced)| Fit::Other(input, sourced)))
}

/// Sides that constants tell of: that of a map which is added to the image or taken from it, and those that the first
/// convolution cuts into as many places as a square table of positions has. Networks may begin with more convolutions: their
/// steps are 16 and 32 pixels in most.
fn told(model: &Model) -> Vec<u32> {
    let index = Index::new(model.graph());
    let first = index.graph.node.iter().find(|node| node.computes() == "Conv");
    let step = first.and_then(|node| node.attr("strides")?.ints.first().copied()).unwrap_or(1);
    let square = |places: i64| Some(places.isqrt()).filter(|side| *side > 1 && side * side == places);
    let mut found: Vec<i64> = Vec::new();
    let joins = index.graph.node.iter().filter(|node| node.is("Add") || node.is("Sub"));
    for tensor in joins.flat_map(|node| &node.input).filter_map(|value| index.constant(value)) {
        let dims: Vec<i64> = tensor.dims.iter().copied().skip_while(|&dim| dim == 1).collect();
        let (pixels, sides) = match dims[..] {
            // Up to two tokens of another kind come with those of the places.
            [places, _] => (None, (0..3).filter_map(|others| square((places - others).max(0))).collect()),
            [_, height, width] | [height, width, _] if height == width => (Some(width), vec![width]),
            _ => continue,
        };
        let steps = [step, 16, 32].into_iter().flat_map(|step| sides.iter().map(move |side| side.saturating_mul(step)));
        found.extend(pixels.into_iter().chain(steps));
        if found.len() > 4 * MOST_TOLD {
            break;
        }
    }
    let mut seen = HashSet::new();
    let sides = found.into_iter().filter_map(|side| u32::try_from(side).ok()).filter(|side| (8..=4096).contains(side));
    sides.filter(|side| seen.insert(*side)).take(MOST_TOLD).collect()
}

/// What the user should know of another size.
pub(super) fn note(old: &Input, new: &Input) -> String {
    let size = |input: &Input| format!("{}x{}", input.height, input.width);
    format!("the graph does not run with images of {}, but with {}: that size is taken", size(old), size(new))
}

/// What the user should know where no size gave the `features` that the old head takes.
pub(super) fn doubt(input: &Input, features: usize) -> String {
    let size = format!("{}x{}", input.height, input.width);
    format!(
        "no usual size of images gives the {features} features that the file's own head takes: {size} is taken, which the \
             network was not made for; give the right one with --size HEIGHTxWIDTH"
    )
}
