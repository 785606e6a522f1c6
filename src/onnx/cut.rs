//! Where the backbone ends and the classifier begins.

use super::graph::Index;
use super::schema::{GraphProto, NodeProto, data_type};
use serde::{Deserialize, Serialize};

/// What stands behind a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classifier {
    /// A `Gemm`, or a `MatMul` whose bias, if any, follows as an `Add`.
    Linear,
    /// A convolution with a 1×1 kernel: before the global pool, or after it.
    Conv,
    /// None: the output itself is taken as the features.
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
    /// Nodes between the old classifier and the output that are kept (places in `graph.node`, in order of execution): a
    /// final activation, casts and identities.
    pub tail: Vec<usize>,
}

const ACTIVATIONS: [&str; 3] = ["Softmax", "LogSoftmax", "Sigmoid"];
const SHAPE_ONLY: [&str; 5] = ["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"];
const HARMLESS: [&str; 3] = ["Identity", "Cast", "Dropout"];
/// What may stand between a classifier and the output, and goes with it.
const PASSED: [&str; 18] = [
    "Relu",
    "Clip",
    "LeakyRelu",
    "PRelu",
    "HardSwish",
    "HardSigmoid",
    "Tanh",
    "Elu",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "BatchNormalization",
    "GlobalAveragePool",
    "AveragePool",
    "GlobalMaxPool",
    "ReduceMean",
    "Softsign",
];

/// The output to adapt and its cut. Of several outputs the one with a classifier is taken; of several with one, the
/// one that depends on most nodes (auxiliary classifiers branch off earlier), the first of equals.
///
/// # Errors
/// A text naming what exists when `output` or `at` does not, or when `output` does not depend on `at`.
pub fn find(graph: &GraphProto, output: Option<&str>, at: Option<&str>) -> Result<Cut, String> {
    let index = Index::new(graph);
    let outputs: Vec<&str> = graph.output.iter().map(|o| o.name()).collect();
    if let Some(wanted) = output.filter(|o| !outputs.contains(o)) {
        let near = nearest(wanted, outputs.iter().copied());
        return Err(format!("the model has no output '{wanted}'{near}; its outputs: {}", outputs.join(", ")));
    }
    if let Some(at) = at.filter(|a| index.producer(a).is_none()) {
        let made = graph.node.iter().flat_map(|n| &n.output).map(String::as_str);
        return Err(format!("no node of the model computes a tensor '{at}'{}; see `adapt inspect`", nearest(at, made)));
    }
    let reached = |o: &&str| at.is_none_or(|at| index.ancestors(&[o]).1.contains(at));
    let choices = outputs.iter().copied().filter(|o| output.is_none_or(|w| w == *o)).filter(reached);
    let mut best: Option<(bool, usize, Cut)> = None;
    for name in choices {
        let mut cut = walk(&index, name).swap_remove(0);
        if let Some(at) = at {
            cut = Cut { tensor: at.into(), classifier: Classifier::Chosen, features: None, ..cut };
            let (frozen, _) = index.ancestors(&[at]);
            cut.tail.retain(|node| !frozen.contains(node));
        }
        let rank = (cut.classifier != Classifier::None, index.ancestors(&[name]).0.len());
        if best.as_ref().is_none_or(|(linear, nodes, _)| rank > (*linear, *nodes)) {
            best = Some((rank.0, rank.1, cut));
        }
    }
    best.map(|(_, _, cut)| cut).ok_or_else(|| {
        let which = output.map_or("no output".into(), |o| format!("the output '{o}' does not"));
        let verb = if output.is_some() { "depend" } else { "depends" };
        format!("{which} {verb} on the tensor '{}'; choose a cut before the output", at.unwrap_or(""))
    })
}

/// Cuts on the way back from `output`, the default first. Never empty.
pub fn candidates(graph: &GraphProto, output: &str) -> Vec<Cut> {
    walk(&Index::new(graph), output)
}

/// Walks from the output towards the input, through what can belong to a head, and notes each linear layer.
fn walk(index: &Index, output: &str) -> Vec<Cut> {
    let mut found: Vec<Cut> = Vec::new();
    let (mut tail, mut value, mut plain) = (Vec::new(), output.to_string(), true);
    for _ in 0..index.graph.node.len() {
        let Some(place) = index.producer_index(&value) else { break };
        let node = &index.graph.node[place];
        let Some(input) = data_input(index, node) else { break };
        let is_any = |names: &[&str]| names.iter().any(|name| node.is(name));
        if let Some((classifier, features, classes, data_type)) = linear(index, node) {
            // Only what follows the last linear layer can be kept behind the new head.
            let tail = tail.iter().rev().copied().collect();
            let (features, classes) = (Some(features), Some(classes));
            found.push(Cut {
                tensor: input.into(),
                output: output.into(),
                classifier,
                features,
                classes,
                data_type,
                tail,
            });
            plain = false;
        } else if is_any(&ACTIVATIONS) || is_any(&HARMLESS) {
            // An activation deeper inside is the old head's own; only the last keeps the output's meaning.
            if plain {
                tail.push(place);
            }
            plain &= !is_any(&ACTIVATIONS);
        } else if is_any(&PASSED) {
            plain = false;
        } else if !is_any(&SHAPE_ONLY) {
            break;
        }
        value = input.to_string();
    }
    if found.is_empty() {
        let (classifier, tensor) = (Classifier::None, output.to_string());
        let (data_type, tail) = (data_type::FLOAT, Vec::new());
        found.push(Cut { tensor, output: output.into(), classifier, features: None, classes: None, data_type, tail });
    }
    let last = found[0].tail.clone();
    found.iter_mut().for_each(|cut| cut.tail.clone_from(&last));
    found
}

/// The one input that is not a constant; `None` when there are several, as where branches join.
fn data_input<'a>(index: &Index, node: &'a NodeProto) -> Option<&'a str> {
    let mut inputs = node.input.iter().map(String::as_str);
    if SHAPE_ONLY.iter().any(|name| node.is(name)) {
        // Shapes may be computed from other shapes; the data always comes first.
        return inputs.next();
    }
    let mut data = inputs.filter(|i| !i.is_empty() && weight(index, i).is_none());
    data.next().filter(|_| data.next().is_none())
}

/// A stored tensor's shape and data type, looking through a `Transpose` of it.
fn weight(index: &Index, value: &str) -> Option<(Vec<i64>, i32)> {
    if let Some(tensor) = index.constant(value) {
        return Some((tensor.dims.clone(), tensor.data_type()));
    }
    let node = index.producer(value).filter(|n| n.is("Transpose"))?;
    let tensor = index.constant(node.input.first()?)?;
    let dims = match node.attr("perm") {
        Some(perm) => perm.ints.iter().map(|&p| tensor.dims.get(p as usize).copied()).collect::<Option<_>>()?,
        None => tensor.dims.iter().rev().copied().collect(),
    };
    Some((dims, tensor.data_type()))
}

/// What a linear layer is: its kind, features, classes and data type.
fn linear(index: &Index, node: &NodeProto) -> Option<(Classifier, usize, usize, i32)> {
    let (dims, data_type) = weight(index, node.input.get(1)?)?;
    let (classifier, features, classes) = match dims[..] {
        [rows, columns] if node.is("Gemm") && node.int("transA", 0) == 0 => match node.int("transB", 0) {
            0 => (Classifier::Linear, rows, columns),
            _ => (Classifier::Linear, columns, rows),
        },
        [rows, columns] if node.is("MatMul") => (Classifier::Linear, rows, columns),
        [out, channels, 1, 1] if node.is("Conv") && node.int("group", 1) == 1 => (Classifier::Conv, channels, out),
        _ => return None,
    };
    Some((classifier, usize::try_from(features).ok()?, usize::try_from(classes).ok()?, data_type))
}

/// `; did you mean 'x'?` for the nearest name, or nothing where none is near.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let score = |name: &str| strsim::jaro_winkler(wanted, name);
    let best = names.map(|name| (score(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.7).map_or(String::new(), |(_, name)| format!("; did you mean '{name}'?"))
}
