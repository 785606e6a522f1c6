//! The size of images where neither the file nor a person says it: the graph's own constants may.

use super::input::Declared;
use super::preprocessing::{self, Sourced};
use super::{Input, PlanOptions, extra};
use crate::error::Result;
use crate::onnx::Model;

/// Sizes that are tried, the usual ones first.
const SIZES: [u32; 22] =
    [224, 299, 256, 240, 384, 192, 160, 128, 112, 96, 64, 48, 32, 28, 288, 320, 331, 336, 448, 512, 518, 640];

/// Whether the size is open: nothing fixes it that must be obeyed.
pub(super) fn is_open(model: &Model, options: &PlanOptions) -> Result<bool> {
    let given = options.size.or(options.preprocess.as_ref().and_then(|spec| spec.size()));
    Ok(given.is_none() && Declared::of(model)?.size().is_none())
}

/// Another size than `input`'s when the frozen part does not run with that (`runs` tells): positional embeddings and
/// flattened maps fit one size alone. `None` where it runs, and where no usual size does.
pub(super) fn search(
    model: &Model,
    options: &PlanOptions,
    input: &Input,
    runs: impl Fn(&Model, &Input) -> bool,
) -> Option<(Input, Sourced)> {
    let fits = |input: &Input| {
        let mut trial = model.clone();
        extra::store(&mut trial, input);
        runs(&trial, input)
    };
    if fits(input) {
        return None;
    }
    let declared = Declared::of(model).ok()?;
    let sizes = SIZES.into_iter().map(|side| (declared.height.unwrap_or(side), declared.width.unwrap_or(side)));
    sizes.filter(|&size| size != (input.height, input.width)).find_map(|size| {
        let found = preprocessing::resolve(model, options.preprocess.as_ref(), Some(size)).ok()?;
        fits(&found.0).then_some(found)
    })
}

/// What the user should know of it.
pub(super) fn note(old: &Input, new: &Input) -> String {
    let size = |input: &Input| format!("{}x{}", input.height, input.width);
    format!("the graph does not run with images of {}, but with {}: that size is taken", size(old), size(new))
}
