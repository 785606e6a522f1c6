//! One form instead of many: steps from a protobuf to an equivalent one.
//!
//! They serve those who import a graph, and the exported file never sees them: there the original's nodes stay as they
//! came. The one exception is [`halves::widen_bfloat16`], for files that no CPU could run.

pub mod branches;
pub mod constants;
pub mod dropout;
pub mod functions;
pub mod halves;
pub mod identities;
pub mod names;
pub mod opsets;
pub mod softmax;
pub mod sparse;
pub mod unread;
pub mod upsample;

use super::Model;
use super::graph::{Index, Names};
use super::parameters::reads_quantized;
use super::schema::{GraphProto, ModelProto, NodeProto};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// `AttributeProto.AttributeType` of a tensor.
const TENSOR: i32 = 4;

/// Changes a model's form and not what it computes. Fails with a text that names the node.
pub type Step = fn(&mut ModelProto) -> std::result::Result<(), String>;

/// What is done before a graph is imported, in this order.
pub const STEPS: [(&str, Step); 11] = [
    ("functions become the nodes in them", functions::inline),
    ("every node and value has a name of its own", names::unique),
    ("an If whose condition is stored is the branch that it takes", branches::take),
    ("sparse stored tensors have all their values", sparse::fill),
    ("the values of Constant nodes are stored", constants::store),
    ("ConstantOfShape says what it fills with", constants::say_zero),
    ("Identity of a stored tensor is that tensor", identities::remove),
    ("Dropout is gone", dropout::remove),
    ("outputs behind the first that nobody reads are gone", unread::trim),
    ("Upsample takes its scales as an input", upsample::store_scales),
    ("float16 and bfloat16 are float32", halves::widen),
];

/// The model after all [`STEPS`].
///
/// # Errors
/// [`Error::Model`] naming the node that cannot be done.
pub fn for_import(model: &Model) -> Result<Model> {
    let mut model = model.clone();
    for (_, step) in STEPS {
        step(&mut model.proto).map_err(|what| Error::model(&model.path, what))?;
    }
    Ok(model)
}

/// Why an [undecided] `If` is no step of a program.
pub const UNDECIDED: &str = "its condition is computed from the image, or in steps that are not followed here";

/// The `If` nodes of a [normalised](for_import) model whose branch is not known: conditions that hang on the image, or on
/// more than [`branches::take`] follows.
pub fn undecided(normal: &Model) -> Vec<&NodeProto> {
    let choices = || normal.graph().node.iter().filter(|node| node.is("If"));
    if choices().next().is_none() {
        return Vec::new();
    }
    let index = Index::new(normal.graph());
    choices().filter(|node| !node.output.first().is_some_and(|output| index.is_fixed(output))).collect()
}

/// Why nothing can be trained through a node, where its operator alone tells.
pub fn no_gradient(node: &NodeProto) -> Option<&'static str> {
    const WHOLE: [&str; 6] =
        ["QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"];
    const FUSED: [&str; 5] = ["QLinear", "QGemm", "QAttention", "DynamicQuantize", "MatMulInteger"];
    let quantized = match node.domain() {
        "com.microsoft" => FUSED.iter().any(|start| node.op_type().starts_with(start)),
        _ => WHOLE.iter().any(|op| node.is(op)),
    };
    let recurrent = ["LSTM", "GRU", "RNN"].iter().any(|op| node.is(op));
    let why = "it is quantized, and rounded values have no gradient (those of the float model have)";
    quantized.then_some(why).or(recurrent.then_some("it is recurrent, and recurrent layers cannot be trained inside"))
}

/// As [`no_gradient`], and why nothing can be trained of what a node reads.
pub fn no_training(index: &Index, node: &NodeProto) -> Option<&'static str> {
    let why = "its weights are stored quantized, and rounded values cannot be trained (those of the float model can)";
    no_gradient(node).or(reads_quantized(index, node).then_some(why))
}

/// The version of the default operator set.
fn opset(proto: &ModelProto) -> i64 {
    super::opset(&proto.opset_import).unwrap_or(0)
}

/// The graphs inside a node.
fn inner(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs))
}

/// Reads other values instead: `names` gives for a value the one to take. The graph's own outputs keep their names.
fn read_instead(graph: &mut GraphProto, names: &HashMap<String, String>) {
    if names.is_empty() {
        return;
    }
    for node in &mut graph.node {
        for input in &mut node.input {
            if let Some(name) = names.get(input) {
                input.clone_from(name);
            }
        }
        for graph in inner(node) {
            read_instead(graph, names);
            for output in &mut graph.output {
                if let Some(name) = names.get(output.name()) {
                    output.name = Some(name.clone());
                }
            }
        }
    }
}

/// Takes nodes that only pass a value on out of the main graph. `passes` gives for such a node its output and the value
/// passed on. Where the output is the graph's own, an `Identity` makes it.
fn bypass(graph: &mut GraphProto, passes: impl Fn(&NodeProto) -> Option<(String, String)>) {
    let given: std::collections::HashSet<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
    let mut instead: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let Some((output, input)) = passes(&node) else {
            kept.push(node);
            continue;
        };
        if given.contains(&output) {
            node.op_type = Some("Identity".into());
            (node.domain, node.attribute) = (None, Vec::new());
            (node.input, node.output) = (vec![input], vec![output]);
            kept.push(node);
        } else {
            instead.insert(output, input);
        }
    }
    graph.node = kept;
    let found: HashMap<String, String> = resolved(instead);
    read_instead(graph, &found);
}

/// Each name's last in its chain of replacements.
fn resolved(mut instead: HashMap<String, String>) -> HashMap<String, String> {
    let starts: Vec<String> = instead.keys().cloned().collect();
    for start in starts {
        let (mut path, mut end) = (Vec::new(), start);
        while let Some(next) = instead.get(&end).filter(|_| path.len() <= instead.len()) {
            let next = next.clone();
            path.push(std::mem::replace(&mut end, next));
        }
        // Shortened for whoever comes by again: long chains cost their length once.
        for name in path {
            instead.insert(name, end.clone());
        }
    }
    instead
}

/// A node of the default domain with a fresh name, after its output.
fn node(names: &mut Names, op: &str, input: Vec<String>, output: String) -> NodeProto {
    let name = Some(names.fresh(&output));
    NodeProto { name, op_type: Some(op.into()), input, output: vec![output], ..Default::default() }
}
