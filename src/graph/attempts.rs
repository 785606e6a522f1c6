//! How often, and in what forms, an import is tried.

use super::fuse::fused;
use super::import::{Builder, chain, decode, trainer, typed};
use super::{Program, stable};
use crate::error::{Error, Result};
use crate::guard::{gave_up, quietly};
use crate::onnx::graph::Index;
use crate::onnx::parameters::{self, Parameter};
use crate::onnx::port::Port;
use crate::onnx::schema::NodeProto;
use crate::onnx::statistics::follow;
use crate::onnx::{Model, normalize, shapes};
use std::collections::HashSet;
use std::fmt::Display;

/// How an import is refused: what cannot be done, and what to do instead.
pub(crate) struct Purpose {
    pub(crate) cannot: &'static str,
    pub(crate) instead: &'static str,
    /// Whether a node is refused, by what it is and what it reads.
    pub(crate) refuses: fn(&Index, &NodeProto) -> Option<&'static str>,
}

pub(super) const INSIDE: Purpose = Purpose {
    cannot: "it cannot be trained inside",
    instead: "train a head behind it, or cut the model so that it stays in the frozen part",
    refuses: normalize::no_training,
};

/// The program of a model, its chains as single steps.
pub(crate) fn import(model: &Model, shape: &[Option<usize>], purpose: &Purpose) -> Result<Program> {
    import_with(model, shape, purpose, parameters::as_inputs).map(fused)
}

/// The same with a step for each operator.
pub(super) fn plain(model: &Model, shape: &[Option<usize>], purpose: &Purpose) -> Result<Program> {
    import_with(model, shape, purpose, parameters::as_inputs)
}

/// A graph for inference, and the same for training: there the batch norms whose means and variances have these names
/// take the statistics of the images that are run, and further outputs are the next values of these parameters, whose
/// names come third. Both have the same parameters, those statistics among them.
pub(super) fn following(
    model: &Model,
    shape: &[Option<usize>],
    statistics: &HashSet<String>,
) -> Result<(Program, Program, Vec<String>)> {
    let mut followed = Vec::new();
    let plain = import_with(model, shape, &INSIDE, |model| parameters::with_statistics(model, statistics))?;
    let training = import_with(model, shape, &INSIDE, |model| {
        let (mut changed, parameters) = parameters::with_statistics(model, statistics)?;
        followed = changed.proto.graph.as_mut().map(|graph| follow(graph, statistics)).unwrap_or_default();
        Ok((changed, parameters))
    })?;
    Ok((plain, training, followed))
}

fn import_with(
    model: &Model,
    shape: &[Option<usize>],
    purpose: &Purpose,
    inputs: impl FnOnce(&Model) -> Result<(Model, Vec<Parameter>)>,
) -> Result<Program> {
    let Purpose { cannot, instead, refuses } = purpose;
    let refused = |what: String| Error::model(&model.path, what);
    let port = Port::of(model, shape).map_err(refused)?;
    let index = Index::new(model.graph());
    if let Some((node, why)) = model.graph().node.iter().find_map(|node| Some((node, refuses(&index, node)?))) {
        return Err(refused(format!("{cannot}: node {}: {why}; {instead}", node.label())));
    }
    let (changed, parameters) = inputs(model)?;
    let onnx = trainer();
    let build = |model: &Model, batch: Option<usize>| {
        let proto = decode(model, &port)?;
        if let Some(choice) = normalize::undecided(model).first() {
            return Err(refused(format!("{cannot}: node {}: {}; {instead}", choice.label(), normalize::UNDECIDED)));
        }
        let made = quietly(|| {
            let (mut typed, images) = typed(&onnx, &proto, &port, batch).map_err(chain)?;
            stable::join_log_softmax(&mut typed);
            Builder::new(&typed, &port, batch, &parameters)?.build(&images, instead)
        });
        made.and_then(|made| made).map_err(|what| refused(format!("{cannot}: {what}")))
    };
    any_batch(&changed, &port, build, |_| true)
}

/// Imports a model for any number of images; where that cannot stay open, with wide sizes; else for one image. Where an
/// attempt was given up, no other is made. A result that is not clean gives way to one that is.
pub(super) fn any_batch<T, E: Display>(
    model: &Model,
    port: &Port,
    import: impl Fn(&Model, Option<usize>) -> std::result::Result<T, E>,
    is_clean: impl Fn(&T) -> bool,
) -> std::result::Result<T, E> {
    let enough = |tried: &std::result::Result<T, E>| match tried {
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
