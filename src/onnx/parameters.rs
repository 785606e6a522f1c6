//! The weights that training changes, as inputs of the graph: for import alone, the file keeps them stored.
//!
//! An importer folds stored weights into whatever it likes; an input it must keep, with its name. So a trained value
//! belongs to the tensor of the same name in the file.

use super::graph::{Index, readers, reads};
use super::schema::{GraphProto, NodeProto, TensorProto, data_type};
use super::surgery::{list_stored, listed};
use super::tensor::{floats, raw_bytes};
use super::{Model, normalize};
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};

/// A float weight of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The initializer's name (in the model that [`untie`] gives).
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its values in the file, in row-major order.
    pub values: Vec<f32>,
}

/// The inputs of a node that are weights where they are stored.
fn places(node: &NodeProto) -> &'static [usize] {
    if !matches!(node.domain(), "" | "ai.onnx") {
        return &[];
    }
    match node.op_type() {
        "Conv" | "ConvTranspose" | "Gemm" | "BatchNormalization" => &[1, 2],
        "LayerNormalization" | "InstanceNormalization" | "GroupNormalization" => &[1, 2],
        "MatMul" => &[0, 1],
        "PRelu" => &[1],
        _ => &[],
    }
}

/// The float weights that each node reads, by the names by which it reads them. What is added to, or multiplied with, a
/// value that hangs on other weights is one if it is a vector: a bias behind a `MatMul`, a LayerScale, scale and shift of a
/// norm that is written out. Masks and tables of positions have more axes, constants of preprocessing come before all
/// weights, and single numbers belong to formulas.
pub fn by_node<'a>(index: &Index<'a>) -> Vec<Vec<&'a str>> {
    let mut hanging: HashSet<&str> = HashSet::new();
    let stored = |name: &&str| index.constant(name).is_some_and(is_float);
    let vector = |name: &&str| index.constant(name).is_some_and(|t| t.dims.iter().filter(|dim| **dim > 1).count() == 1);
    let of_node = |node: &'a NodeProto| {
        let mut found = Vec::new();
        for name in places(node).iter().filter_map(|&i| node.input.get(i)) {
            if stored(&name.as_str()) { found.push(name.as_str()) } else { found.extend(made_of(index, name)) }
        }
        let hangs = node.input.iter().any(|input| hanging.contains(input.as_str()));
        if hangs && (node.is("Add") || node.is("Mul")) {
            found.extend(node.input.iter().map(String::as_str).filter(|name| stored(name) && vector(name)));
        }
        // Sizes do not hang on values.
        if (hangs && !node.is("Shape") && !node.is("Size")) || !found.is_empty() {
            hanging.extend(node.output.iter().map(String::as_str));
        }
        found
    };
    index.graph.node.iter().map(of_node).collect()
}

/// Whether a node reads a weight that the file stores quantized: its values are rounded, so that nothing can be trained there.
pub fn reads_quantized(index: &Index, node: &NodeProto) -> bool {
    let quantized = |name: &String| {
        let mut value = name;
        for _ in 0..MOST_STEPS {
            match index.producer(value).filter(|_| index.is_fixed(value)) {
                Some(node) if node.is("DequantizeLinear") => return true,
                Some(NodeProto { input, .. }) if !input.is_empty() => value = &input[0],
                _ => return false,
            }
        }
        false
    };
    places(node).iter().filter_map(|&place| node.input.get(place)).any(quantized)
}

/// Real weights are computed in a few steps.
const MOST_STEPS: usize = 32;

/// The stored tensors that a computed weight is made of: another layout of one, a standardised one (NF-ResNet's, BiT's), one
/// times its gain. Single numbers belong to the formula.
fn made_of<'a>(index: &Index<'a>, weight: &str) -> Vec<&'a str> {
    let (mut open, mut found) = (vec![weight], Vec::new());
    for _ in 0..MOST_STEPS {
        let Some(node) = open.pop().and_then(|value| index.producer(value)) else { return found };
        let data = match node.op_type() {
            "Reshape" | "Transpose" | "Unsqueeze" | "Squeeze" | "Flatten" | "Cast" | "BatchNormalization" => 1,
            "Mul" | "Div" | "Add" | "Sub" => 2,
            _ => 0,
        };
        for input in node.input.iter().take(data).map(String::as_str) {
            match index.constant(input) {
                Some(tensor) if is_float(tensor) && tensor.dims.iter().any(|dim| *dim > 1) => found.push(input),
                Some(_) => {}
                None if index.is_fixed(input) => open.push(input),
                None => return Vec::new(),
            }
        }
    }
    Vec::new()
}

/// Names of the values that nodes read as weights, or as a batch norm's statistics where those are wanted, each once, in
/// order.
fn read_as_weights<'a>(index: &Index<'a>, statistics: impl Fn(&str) -> bool) -> Vec<(&'a str, &'a TensorProto)> {
    let mut seen = HashSet::new();
    let followed = |node: &'a NodeProto| statistics_of(node).into_iter().flatten().filter(|name| statistics(name));
    let nodes = index.graph.node.iter().zip(by_node(index));
    let values = nodes.flat_map(|(node, weights)| weights.into_iter().chain(followed(node)));
    let stored = values.filter_map(|value| Some((value, index.constant(value)?)));
    stored.filter(|(value, tensor)| is_float(tensor) && seen.insert(*value)).collect()
}

/// The names of mean and variance that a batch norm reads.
pub fn statistics_of(node: &NodeProto) -> Option<[&str; 2]> {
    let [_, _, _, mean, variance] = &node.input[..] else { return None };
    node.is("BatchNormalization").then_some([mean, variance])
}

/// Whether [`floats`] can read it, told without reading.
fn is_float(tensor: &TensorProto) -> bool {
    matches!(tensor.data_type(), data_type::FLOAT | data_type::DOUBLE | data_type::FLOAT16 | data_type::BFLOAT16)
}

/// The same model with every weight stored under the name by which its nodes read it.
///
/// Exporters merge equal weights and let `Identity` nodes stand in their places: those become weights of their own, as
/// do the values of `Constant` nodes. A weight that several nodes read by one name stays one weight.
pub fn untie(model: &Model) -> Model {
    untie_those(model, |_| true, |_| false)
}

/// As [`untie`], for the weights and the batch norms' statistics of the names that are `wanted` alone.
pub fn untie_only(model: &Model, wanted: impl Fn(&str) -> bool) -> Model {
    untie_those(model, &wanted, &wanted)
}

fn untie_those(model: &Model, wanted: impl Fn(&str) -> bool, statistics: impl Fn(&str) -> bool) -> Model {
    let mut model = model.clone();
    let index = Index::new(model.graph());
    let stored: HashSet<&str> = index.graph.initializer.iter().map(|t| t.name()).collect();
    let given: HashSet<&str> = index.graph.output.iter().map(|o| o.name()).collect();
    let read = read_as_weights(&index, &statistics).into_iter();
    let untied = read.filter(|(value, _)| !stored.contains(value) && (wanted(value) || statistics(value)));
    // Copies share their bytes: a large tensor that thousands of nodes read is in memory once.
    let mut raw: HashMap<*const TensorProto, TensorProto> = HashMap::new();
    let mut copy = |tensor: &TensorProto| raw.entry(tensor).or_insert_with(|| as_raw(tensor)).clone();
    let untied: HashMap<String, TensorProto> = untied
        .filter(|(value, _)| !given.contains(value))
        .map(|(value, tensor)| (value.to_owned(), TensorProto { name: Some(value.into()), ..copy(tensor) }))
        .collect();
    if let Some(graph) = model.proto.graph.as_mut() {
        let replaced = |node: &NodeProto| node.output.iter().any(|output| untied.contains_key(output));
        let (gone, kept): (Vec<_>, _) = std::mem::take(&mut graph.node).into_iter().partition(replaced);
        graph.node = kept;
        drop_unread(graph, &gone);
        let mut tensors: Vec<TensorProto> = untied.into_values().collect();
        tensors.sort_by(|a, b| a.name().cmp(b.name()));
        graph.initializer.extend(tensors);
    }
    list_stored(&mut model.proto);
    model
}

/// Drops the initializers that the nodes which are `gone` read, and nothing else does.
fn drop_unread(graph: &mut GraphProto, gone: &[NodeProto]) {
    let mut unread: HashSet<&str> = gone.iter().flat_map(reads).collect();
    readers(graph).into_keys().chain(graph.output.iter().map(|o| o.name())).for_each(|name| {
        unread.remove(name);
    });
    let stored = graph.initializer.iter().map(|tensor| tensor.name());
    let unread: HashSet<String> = stored.filter(|name| unread.contains(name)).map(str::to_owned).collect();
    graph.initializer.retain(|tensor| !unread.contains(tensor.name()));
    // Old files list weights as inputs too.
    graph.input.retain(|input| !unread.contains(input.name()));
}

fn as_raw(tensor: &TensorProto) -> TensorProto {
    let mut copy = TensorProto { float_data: Vec::new(), double_data: Vec::new(), ..tensor.clone() };
    if let Some(raw) = raw_bytes(tensor) {
        super::tensor::set_raw(&mut copy, raw);
    }
    copy
}

/// The [untied](untie) model, [normalised](normalize::for_import), with its weights as inputs of the graph, of the shapes
/// that they have; and the weights, in the order in which nodes read them. What lies in the body of a function is none:
/// the file has no name for it.
///
/// # Errors
/// Those of [`normalize::for_import`].
pub fn as_inputs(model: &Model) -> Result<(Model, Vec<Parameter>)> {
    with_statistics(model, &HashSet::new())
}

/// As [`as_inputs`], with the batch norms' means and variances of these names among the inputs.
///
/// # Errors
/// As there.
pub fn with_statistics(model: &Model, statistics: &HashSet<String>) -> Result<(Model, Vec<Parameter>)> {
    with_inputs(model, statistics, |tensor| floats(tensor).unwrap_or_default())
}

/// As [`as_inputs`], without the values: what a graph does is told by shapes alone, and no weight is copied.
pub fn as_empty_inputs(model: &Model) -> Result<(Model, Vec<Parameter>)> {
    with_inputs(model, &HashSet::new(), |_| Vec::new())
}

fn with_inputs(
    model: &Model,
    statistics: &HashSet<String>,
    values: impl Fn(&TensorProto) -> Vec<f32>,
) -> Result<(Model, Vec<Parameter>)> {
    let statistics = |name: &str| statistics.contains(name);
    let untied = untie_those(model, |_| true, statistics);
    let own: HashSet<&str> = untied.graph().initializer.iter().map(|t| t.name()).collect();
    let mut model = normalize::for_import(&untied)?;
    let index = Index::new(model.graph());
    let stored: HashSet<&str> = index.graph.initializer.iter().map(|t| t.name()).collect();
    let read = read_as_weights(&index, statistics).into_iter();
    let read = read.filter(|(value, _)| stored.contains(value) && own.contains(value));
    let mut parameters = Vec::new();
    let mut inputs = Vec::new();
    for (value, tensor) in read {
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        if let Some(shape) = shape {
            inputs.push(listed(tensor));
            parameters.push(Parameter { name: value.to_owned(), shape, values: values(tensor) });
        }
    }
    let names: HashSet<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    if let Some(graph) = model.proto.graph.as_mut() {
        graph.initializer.retain(|tensor| !names.contains(tensor.name()));
        // Old files list weights as inputs too.
        graph.input.retain(|input| !names.contains(input.name()));
        graph.input.extend(inputs);
    }
    Ok((model, parameters))
}

/// Gives initializers new values, each in the type that it has in the file.
///
/// # Errors
/// Names the first that the model does not have, or has with another number of values.
pub fn set_values(model: &mut Model, values: &HashMap<String, Vec<f32>>) -> Result<()> {
    let path = model.path.clone();
    let stored = model.proto.graph.as_mut().map(|graph| graph.initializer.as_mut_slice()).unwrap_or_default();
    let mut missing: HashSet<&str> = values.keys().map(String::as_str).collect();
    for tensor in stored {
        missing.remove(tensor.name());
        if let Some(new) = values.get(tensor.name()) {
            if super::tensor::element_count(tensor).ok() != Some(new.len() as u64) {
                return Err(Error::model(path, format!("'{}' has not {} values", tensor.name(), new.len())));
            }
            let data_type = tensor.data_type();
            super::tensor::set_raw(tensor, super::tensor::encode_floats(new.iter().copied(), data_type));
        }
    }
    let missing =
        missing.into_iter().next().map(|name| Error::model(path, format!("there is no initializer '{name}'")));
    missing.map_or(Ok(()), Err)
}

/// The same model with other values for one weight: `None` where [`set_values`] refuses them, or it is no float.
pub fn with_values(model: &Model, name: &str, values: &[f32]) -> Option<Model> {
    let mut model = model.clone();
    model.graph().initializer.iter().find(|tensor| tensor.name() == name).filter(|tensor| is_float(tensor))?;
    set_values(&mut model, &HashMap::from([(name.to_owned(), values.to_vec())])).ok()?;
    Some(model)
}
