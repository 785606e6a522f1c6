//! Where the backbone ends and the classifier begins.

mod bytes;
mod embedding;
mod joined;
mod layer;
mod walk;

use super::graph::{Index, Names};
use super::pooling::{int, named};
use super::schema::{GraphProto, data_type};
use embedding::embedding;
pub use layer::product;
use serde::{Deserialize, Serialize};
use walk::{Walk, float_type, walk};
pub(in crate::onnx) use walk::{data_inputs, leaves_meaning};

/// What stands behind a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classifier {
    /// A `Gemm`, an `Einsum`, or a `MatMul` whose bias, if any, follows as an `Add`; quantised (in any form) or not.
    Linear,
    /// A convolution with a 1×1 kernel, before the global pool or after it; or one whose kernel covers the map.
    Conv,
    /// None: the output itself, or what its final activation takes, is the features.
    None,
    /// The tensor was named by the user.
    Chosen,
}

/// A place to cut a graph at, and what follows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The last tensor that is kept: the features.
    pub tensor: String,
    /// The graph output that the new head will compute.
    pub output: String,
    /// What the new head replaces.
    pub classifier: Classifier,
    /// How many features the old classifier takes; `None` where there is none.
    pub features: Option<usize>,
    /// How many classes the old classifier has.
    pub classes: Option<usize>,
    /// Data type of the old classifier's weights (ONNX's number): the new head's type. `float32` without a classifier.
    pub data_type: i32,
    /// How many heads the new one replaces: more than one where the output joins several, as their average.
    pub heads: usize,
    /// The tokens (places along the second axis) that the old head reads where the tensor has more: all where empty.
    pub tokens: Vec<i64>,
    /// The tensors that joined heads read where they share none, `tensor` among them; empty otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<String>,
    /// What holds the rows of all of those, once [`Cut::gather`] has put them together.
    #[serde(skip)]
    pub gathered: Option<String>,
    /// What the tensor's bytes stand for, where it is one of a graph quantised in the QOperator format; surgery puts a
    /// `DequantizeLinear` behind it.
    pub dequantize: Option<Dequantize>,
    /// The output was the choice that the classifier made (`ArgMax`, `TopK`), or a list of its values by names (`ZipMap`),
    /// and becomes what it was made from.
    pub decided: bool,
    /// Nodes between the old classifier and the output that are kept (places in `graph.node`, in order of execution): a
    /// final activation, casts and identities.
    pub tail: Vec<usize>,
}

impl Cut {
    /// A cut at a tensor of floats, for its part of the graph alone: there is no head behind it.
    pub fn at(tensor: &str) -> Cut {
        Cut {
            tensor: tensor.into(),
            output: tensor.into(),
            classifier: Classifier::Chosen,
            features: None,
            classes: None,
            data_type: data_type::FLOAT,
            heads: 0,
            tokens: Vec::new(),
            apart: Vec::new(),
            gathered: None,
            dequantize: None,
            decided: false,
            tail: Vec::new(),
        }
    }

    /// Where joined heads read [several tensors](Cut::apart), a new node of the graph puts their rows one behind the other.
    pub fn gather(&mut self, graph: &mut GraphProto) {
        if !self.apart.is_empty() {
            let mut names = Names::of(graph);
            let parts = self.apart.clone();
            let joined = named(graph, &mut names, "Concat", "adapt.features.joined", parts, vec![int("axis", 1)]);
            self.gathered = Some(joined);
        }
    }

    /// The tensor with which the frozen part ends.
    pub fn end(&self) -> &str {
        self.gathered.as_deref().unwrap_or(&self.tensor)
    }
}

/// Names of the values that turn bytes `b` back into floats: `scale * (b - zero_point)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dequantize {
    /// A float.
    pub scale: String,
    /// Of the bytes' type; 0 where there is none.
    pub zero_point: Option<String>,
}

/// Outputs among which one is chosen: each is looked at in turn.
const MOST_OUTPUTS: usize = 256;

/// The output to adapt and its cut. Of several outputs the one with a classifier is taken; of several with one, the
/// one that gives scores and not the choice made from them, then the one that depends on most nodes (auxiliary classifiers
/// branch off earlier), the first of equals. `output` may be any tensor that a node computes. The graph must be one that
/// [`super::validate`] lets through: it has no cycles.
///
/// # Errors
/// A text naming what exists when `output` or `at` does not, or when `output` does not depend on `at`.
pub fn find(graph: &GraphProto, output: Option<&str>, at: Option<&str>) -> Result<Cut, String> {
    let index = Index::new(graph);
    let choices = choices(&index, output)?;
    if let Some(at) = at {
        exists(&index, at)?;
    }
    let frozen = at.map(|at| index.ancestors(&[at]).0);
    let mut best: Option<((bool, bool, usize), Cut)> = None;
    for name in choices {
        let (needed, values) = index.ancestors(&[name]);
        if at.is_some_and(|at| !values.contains(at)) {
            continue;
        }
        let Walk { mut found, tail } = walk(&index, name);
        let mut cut = found.swap_remove(0);
        let rank = (cut.classifier != Classifier::None, !cut.decided, needed.len());
        if let (Some(at), Some(frozen)) = (at, &frozen) {
            let data_type = float_type(graph, at).unwrap_or(cut.data_type);
            let tail = tail.into_iter().filter(|node| frozen.binary_search(node).is_err()).collect();
            let decided = cut.decided;
            let classes = cut.classes;
            cut = Cut { tensor: at.into(), data_type, decided, classes, tail, ..embedding(&index, name, at) };
            cut.classifier = Classifier::Chosen;
        }
        if best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best = Some((rank, cut));
        }
    }
    best.map(|(_, cut)| cut).ok_or_else(|| {
        let which = output.map_or("no output".into(), |o| format!("the output '{o}' does not"));
        let verb = if output.is_some() { "depend" } else { "depends" };
        format!("{which} {verb} on the tensor '{}'; choose a cut before the output", at.unwrap_or(""))
    })
}

/// The outputs among which one is to be chosen; `wanted` alone where it exists.
fn choices<'a>(index: &Index<'a>, wanted: Option<&'a str>) -> Result<Vec<&'a str>, String> {
    let outputs: Vec<&str> = index.graph.output.iter().map(|o| o.name()).collect();
    match wanted {
        Some(wanted) if outputs.contains(&wanted) || index.producer(wanted).is_some() => Ok(vec![wanted]),
        Some(wanted) => {
            let near = nearest(wanted, outputs.iter().copied());
            Err(format!("the model has no output '{wanted}'{near}; its outputs: {}", outputs.join(", ")))
        }
        None if outputs.len() > MOST_OUTPUTS => {
            Err(format!("the model has {} outputs; choose one with --output", outputs.len()))
        }
        None => Ok(outputs),
    }
}

/// Whether a node computes a tensor that is to be the cut.
fn exists(index: &Index, at: &str) -> Result<(), String> {
    if index.is_given(at) {
        let what = format!("'{at}' is the model's input or stored in it");
        return Err(format!("{what}; choose a tensor that a node computes: see `adapt inspect`"));
    }
    if index.producer(at).is_none() {
        let made = index.graph.node.iter().flat_map(|n| &n.output).map(String::as_str);
        return Err(format!("no node of the model computes a tensor '{at}'{}; see `adapt inspect`", nearest(at, made)));
    }
    Ok(())
}

/// Cuts on the way back from `output`, the default first. Never empty.
pub fn candidates(graph: &GraphProto, output: &str) -> Vec<Cut> {
    walk(&Index::new(graph), output).found
}

/// `; did you mean 'x'?` for the nearest name, or nothing where none is near.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    // Comparing costs the product of the lengths, and names come from strangers.
    let score = |name: &str| if name.len().max(wanted.len()) > 256 { 0.0 } else { strsim::jaro_winkler(wanted, name) };
    let best = names.map(|name| (score(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.7).map_or(String::new(), |(_, name)| format!("; did you mean '{name}'?"))
}
