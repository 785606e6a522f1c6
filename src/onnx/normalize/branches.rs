//! `If` whose condition the file tells, as exporters leave them around a squeeze or a reshape.

use super::super::graph::Names;
use super::super::schema::{GraphProto, ModelProto, NodeProto, TensorProto, data_type};
use super::super::tensor::{element_count, floats, int64s, raw_bytes};
use super::{inner, node};
use std::collections::HashMap;

/// Puts the nodes of the branch that is taken where the `If` was, and an `Identity` for each of its outputs, where the
/// condition is a stored number, or computed from such by `Identity`, `Cast`, `Not` and `Equal`. Every value must have a
/// name of its own ([`super::names::unique`]): then the branch's fit outside, and what it takes from outside is there.
pub fn take(proto: &mut ModelProto) -> Result<(), String> {
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let mut taking = Taking { names: Names::of(graph), known: HashMap::new() };
    taking.graph(graph);
    Ok(())
}

/// As large a whole number as an `f64` holds with all before it.
const LARGEST: f64 = 9_007_199_254_740_992.0;

struct Taking {
    names: Names,
    /// Values of one number, by name; truth values are 0 and 1.
    known: HashMap<String, f64>,
}

impl Taking {
    fn graph(&mut self, graph: &mut GraphProto) {
        self.stored(&graph.initializer);
        let nodes = std::mem::take(&mut graph.node);
        nodes.into_iter().for_each(|node| self.push(node, graph));
    }

    fn stored(&mut self, tensors: &[TensorProto]) {
        self.known.extend(tensors.iter().filter_map(|t| Some((t.name().to_owned(), number(t)?))));
    }

    fn push(&mut self, mut node: NodeProto, graph: &mut GraphProto) {
        if let Some(branch) = self.branch(&mut node) {
            return self.branch_into(branch, node.output, graph);
        }
        inner(&mut node).for_each(|graph| self.graph(graph));
        if let ([output], Some(value)) = (&node.output[..], self.value(&node)) {
            self.known.insert(output.clone(), value);
        }
        graph.node.push(node);
    }

    /// The branch that an `If` takes, where that is known.
    fn branch(&self, node: &mut NodeProto) -> Option<GraphProto> {
        let condition = *self.known.get(node.input.first()?).filter(|_| node.is("If"))?;
        let name = if condition == 0.0 { "else_branch" } else { "then_branch" };
        let outputs = node.output.len();
        let branch = node.attribute.iter_mut().find(|a| a.name() == name)?;
        branch.g.take_if(|branch| branch.output.len() >= outputs)
    }

    fn branch_into(&mut self, branch: GraphProto, outputs: Vec<String>, graph: &mut GraphProto) {
        self.stored(&branch.initializer);
        graph.initializer.extend(branch.initializer);
        graph.sparse_initializer.extend(branch.sparse_initializer);
        branch.node.into_iter().for_each(|node| self.push(node, graph));
        for (made, output) in branch.output.iter().zip(outputs).filter(|(_, output)| !output.is_empty()) {
            let passed = node(&mut self.names, "Identity", vec![made.name().into()], output);
            self.push(passed, graph);
        }
    }

    /// What a node gives, where that is one known number.
    fn value(&self, node: &NodeProto) -> Option<f64> {
        if node.is("Constant") {
            let value = node.attribute.first()?;
            return match value.name() {
                "value" => number(value.t.as_ref()?),
                "value_int" => whole(value.i()),
                "value_float" => Some(value.f().into()),
                _ => None,
            };
        }
        let first = *self.known.get(node.input.first()?)?;
        match node.op_type() {
            "Identity" if node.is("Identity") => Some(first),
            "Not" if node.is("Not") => Some(f64::from(first == 0.0)),
            "Equal" if node.is("Equal") => Some(f64::from(first == *self.known.get(node.input.get(1)?)?)),
            "Cast" if node.is("Cast") => cast(first, i32::try_from(node.int("to", 0)).ok()?),
            _ => None,
        }
    }
}

/// `value` as another type, where no rounding or wrapping around has to be decided.
fn cast(value: f64, to: i32) -> Option<f64> {
    match to {
        data_type::BOOL => Some(f64::from(value != 0.0)),
        data_type::INT32 => Some(value.trunc()).filter(|v| v.abs() <= f64::from(i32::MAX)),
        data_type::INT64 => Some(value.trunc()).filter(|v| v.abs() <= LARGEST),
        data_type::FLOAT => Some((value as f32).into()),
        data_type::DOUBLE => Some(value),
        _ => None,
    }
}

fn whole(value: i64) -> Option<f64> {
    Some(value as f64).filter(|value| value.abs() < LARGEST)
}

/// The one number of a stored tensor.
fn number(tensor: &TensorProto) -> Option<f64> {
    if element_count(tensor) != Ok(1) {
        return None;
    }
    match tensor.data_type() {
        data_type::BOOL => Some(f64::from(*raw_bytes(tensor)?.first()? != 0)),
        data_type::DOUBLE => None,
        data_type::INT32 | data_type::INT64 => whole(*int64s(tensor)?.first()?),
        _ => floats(tensor)?.first().copied().map(f64::from),
    }
}
