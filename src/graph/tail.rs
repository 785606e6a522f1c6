//! Which part of a network is trained, and where the part that stays frozen ends.

use super::packed;
use super::trainable::narrow;
use crate::error::{Error, Result};
use crate::onnx::graph::Index;
use crate::onnx::parameters::{by_node, statistics_of, untie_only};
use crate::onnx::schema::{GraphProto, NodeProto, TensorProto};
use crate::onnx::statistics::is_inference;
use crate::onnx::{Model, normalize, pooling};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How much of a network is trained beside its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    All,
    /// So many blocks before the head. Blocks are what lies between tensors through which everything goes, where that
    /// holds weights: a layer of a chain with its norm, a residual block.
    Last(usize),
    /// What comes behind this tensor of the file.
    Behind(String),
}

/// The trained part of a network that ends in a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Tensors of the file through which everything goes and behind which all trained weights lie, the last one first; but for
    /// features of other depths ([`super::beside`]). Empty where only the image is such.
    pub starts: Vec<String>,
    /// The trained weights' names in the [untied](crate::onnx::parameters::untie) model, each with the blocks that lie
    /// between it and the end: 0 for the head's own.
    pub depths: HashMap<String, usize>,
    /// Those of them that batch norms read.
    pub norms: HashSet<String>,
    /// The means and variances of trained batch norms, where the file stores them.
    pub statistics: HashSet<String>,
}

/// Finds it on the way to the model's first output.
///
/// # Errors
/// [`Error::Usage`] for a tensor that is not there, or on which the output does not depend; those of
/// [`normalize::for_import`].
pub fn tail(model: &Model, extent: &Extent) -> Result<Tail> {
    let untied = untie_only(model, |_| true);
    let own: HashSet<&str> = untied.graph().initializer.iter().map(|t| t.name()).collect();
    let plain = normalize::for_import(&untied)?;
    let graph = plain.graph();
    let (index, original) = (Index::new(graph), Index::new(model.graph()));
    let needed = index.ancestors(&[graph.output[0].name()]).0;
    let read = by_node(&index);
    let trunk = trunk(graph);
    let narrow: Vec<(usize, &str)> =
        narrow(&trunk, &HashSet::new()).into_iter().filter_map(|t| Some((index.producer_index(t)?, t))).collect();
    // The weights by the number of narrow tensors before their nodes.
    let mut blocks: BTreeMap<usize, Vec<(usize, &str)>> = BTreeMap::new();
    for &place in &needed {
        let weights: Vec<&str> = read[place].iter().copied().filter(|name| own.contains(name)).collect();
        if !weights.is_empty() {
            // Scale and shift belong to the layer before them.
            let layer = blocks.keys().next_back().copied().filter(|_| belongs(&graph.node[place]));
            let before = layer.unwrap_or_else(|| narrow.partition_point(|(made, _)| *made < place));
            blocks.entry(before).or_default().extend(weights.into_iter().map(|name| (place, name)));
        }
    }
    // What is trained lies behind this place, of nodes in the order of the graph.
    let (from, trained): (usize, Box<dyn Fn(usize) -> bool>) = match extent {
        Extent::All => (0, Box::new(|_| true)),
        Extent::Last(count) => {
            let before = blocks.keys().rev().nth(*count).copied().unwrap_or(0);
            let from = before.checked_sub(1).map_or(0, |last| narrow[last].0 + 1);
            (from, Box::new(move |place| place >= from))
        }
        Extent::Behind(tensor) => {
            let hanging = hanging(&plain, tensor, &needed)?;
            let from = index.producer_index(tensor).map_or(0, |made| made + 1);
            (from, Box::new(move |place| hanging.contains(&place)))
        }
    };
    let starts = narrow.iter().rev().filter(|(made, tensor)| *made < from && original.has(tensor));
    let starts = starts.map(|(_, tensor)| tensor.to_string()).collect();
    let mut depths = HashMap::new();
    for (depth, weights) in blocks.values().rev().enumerate() {
        for (_, name) in weights.iter().filter(|(place, _)| trained(*place)) {
            depths.entry(name.to_string()).or_insert(depth);
        }
    }
    // What frozen nodes read, too, is frozen: their outputs may be kept.
    let frozen = needed.iter().filter(|&&place| !trained(place));
    frozen.flat_map(|&place| &read[place]).for_each(|name| {
        depths.remove(*name);
    });
    let norm = |&&place: &&usize| graph.node[place].is("BatchNormalization");
    let norms = needed.iter().filter(norm).flat_map(|&place| read[place].iter().copied());
    let norms = norms.filter(|name| depths.contains_key(*name)).map(str::to_owned).collect();
    let of_trained = needed.iter().filter(|&&place| trained(place) && is_inference(&graph.node[place]));
    let statistics = of_trained.filter_map(|&place| statistics_of(&graph.node[place]));
    let stored = |names: &[&str; 2]| names.iter().all(|name| own.contains(name) && index.constant(name).is_some());
    let statistics = statistics.filter(stored).flatten().map(str::to_owned).collect();
    Ok(Tail { starts, depths, norms, statistics })
}

/// A graph without the way from tensors before the cut to a head that takes features of several depths, which has no weights:
/// with it, hardly any tensor would be narrow. All nodes are at their places; stored tensors are there by name alone.
fn trunk(graph: &GraphProto) -> GraphProto {
    let named = |tensor: &TensorProto| TensorProto { name: tensor.name.clone(), ..Default::default() };
    let mut node = graph.node.clone();
    node.iter_mut().filter(|node| pooling::joins_depths(node)).for_each(|node| node.input.truncate(1));
    let initializer = graph.initializer.iter().map(named).collect();
    GraphProto { node, initializer, input: graph.input.clone(), output: graph.output.clone(), ..Default::default() }
}

/// Whether a node with weights is no layer of its own: a batch norm, also where it is written out, or a bias.
fn belongs(node: &NodeProto) -> bool {
    ["Add", "Mul", "BatchNormalization"].iter().any(|kind| node.is(kind))
}

/// The places of the nodes, of those `needed`, that hang on a tensor.
fn hanging(model: &Model, tensor: &str, needed: &[usize]) -> Result<HashSet<usize>> {
    let graph = model.graph();
    let refuse = |what: &str| {
        // The model that is compiled in is no file to inspect.
        let path = Some(model.path.display()).filter(|_| model.path.is_file());
        let lists = path.map_or(String::new(), |path| format!(" (adapt inspect {path} lists tensors)"));
        Error::Usage(format!("--train {tensor}: {what}{lists}"))
    };
    if !Index::new(graph).has(tensor) {
        return Err(refuse("give head, last:N, all, or a tensor of the model's part that stays"));
    }
    let places: HashSet<usize> = packed::hanging(graph, needed, tensor).0.into_iter().collect();
    if places.is_empty() { Err(refuse("nothing that leads to the head comes behind it")) } else { Ok(places) }
}
