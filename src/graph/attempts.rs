//! How often, and in what forms, an import is tried.

use crate::guard::gave_up;
use crate::onnx::port::Port;
use crate::onnx::{Model, shapes};
use std::fmt::Display;

/// Imports a model for any number of images; where that cannot stay open, with wide sizes; else for one image. Where an
/// attempt was given up, no other is made. A result that is not clean gives way to one that is.
pub(super) fn any_batch<T, E: Display>(
    model: &Model,
    port: &Port,
    import: impl Fn(&Model, Option<usize>) -> Result<T, E>,
    is_clean: impl Fn(&T) -> bool,
) -> Result<T, E> {
    let enough = |tried: &Result<T, E>| match tried {
        Ok(found) => is_clean(found),
        Err(why) => gave_up(&why.to_string()),
    };
    let first = import(model, port.fixed_batch());
    if enough(&first) || port.fixed_batch().is_some() {
        return first;
    }
    let wide = shapes::wide_sizes(model).map(|wide| import(&wide, None)).filter(enough);
    let other = wide.unwrap_or_else(|| import(model, Some(1)));
    let is_better = other.as_ref().is_ok_and(|found| first.is_err() || is_clean(found));
    if is_better { other } else { first }
}
