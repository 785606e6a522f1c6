//! Sizes computed from sizes: tract simplifies them as formulas in the number of images, and recurses without end over what
//! no network has, divisors beyond 64 bits above all. A stack that overflows cannot be caught: such graphs are refused.

use std::collections::HashMap;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Steps that a size may have behind it: an operator counts as one, or as what [`weight`] says. Networks have up to 48.
const MOST: u32 = 60;
/// tract tries both sides of a minimum of formulas: the time for each one more is a multiple.
const LEAST_OR_MOST: u32 = 12;
/// Formulas of several sizes grow with each as fast.
const JOINED: u32 = 8;
/// They make numbers of all their inputs'; others of the first one's, the rest saying how, or where.
#[rustfmt::skip]
const ALL: [&str; 17] = [
    "Concat", "Where", "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Sum", "Mean", "MatMul", "Gemm", "Einsum", "Clip",
    "Range", "BitShift",
];
/// They make truth values, or numbers of another input: no sizes.
#[rustfmt::skip]
const NEVER: [&str; 15] = [
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "And", "Or", "Xor", "IsNaN", "IsInf", "CastLike",
    "OneHot", "NonZero", "DequantizeLinear",
];
// ONNX's numbers.
const INT32: i64 = 6;
const INT64: i64 = 7;
const INTEGERS: [i64; 8] = [2, 3, 4, 5, INT32, INT64, 12, 13];

/// Fails with the first node that goes too far.
pub(super) fn check(graph: &GraphProto) -> Result<(), String> {
    Steps::default().follow(graph)
}

#[derive(Default)]
struct Steps<'a> {
    /// The steps behind values that may be sizes.
    behind: HashMap<&'a str, u32>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Steps<'a> {
    fn follow(&mut self, graph: &'a GraphProto) -> Result<(), String> {
        self.constants.extend(graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)));
        for node in &graph.node {
            let stored = node.attribute.iter().find_map(|a| a.t.as_ref()).filter(|_| node.op_type == "Constant");
            self.constants.extend(node.output.first().map(String::as_str).zip(stored));
            let inner = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs));
            let mut count = self.count(node);
            for inner in inner {
                self.follow(inner)?;
                count = inner.output.iter().filter_map(|o| self.behind.get(o.name.as_str()).copied()).max().max(count);
            }
            let Some(count) = count else { continue };
            if count > MOST {
                let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
                let (name, operator) = (name.map_or("", String::as_str), &node.op_type);
                return Err(format!("node {name} ({operator}): sizes are computed from sizes in too many steps"));
            }
            self.behind.extend(node.output.iter().filter(|o| !o.is_empty()).map(|output| (output.as_str(), count)));
        }
        Ok(())
    }

    /// The steps behind what a node gives; `None` where that is no size.
    fn count(&self, node: &NodeProto) -> Option<u32> {
        let operator = node.op_type.as_str();
        let all = ALL.contains(&operator);
        let read = |&(place, _): &(usize, &String)| {
            all || place == 0 || (place == 2 && (operator.starts_with("Scatter") || operator == "Pad"))
        };
        let inputs = node.input.iter().enumerate().filter(read);
        let sizes: Vec<u32> = inputs.filter_map(|(_, input)| self.behind.get(input.as_str()).copied()).collect();
        let most = sizes.iter().copied().max();
        let whole = |a: &AttributeProto| a.t.as_ref().is_some_and(|t| INTEGERS.contains(&i64::from(t.data_type)));
        match operator {
            "Shape" | "Size" => Some(most.unwrap_or(0) + 1),
            "Cast" if node.attribute.iter().any(|a| a.name == "to" && !INTEGERS.contains(&a.i)) => None,
            "ConstantOfShape" if !node.attribute.iter().any(whole) => None,
            _ if NEVER.contains(&operator) => None,
            _ => Some(most?.saturating_add(self.weight(node, sizes.len()))),
        }
    }

    /// The steps that an operator on so many sizes counts as.
    fn weight(&self, node: &NodeProto, sizes: usize) -> u32 {
        let (operator, inputs) = (node.op_type.as_str(), node.input.len().clamp(2, 100) as u32);
        let own = match operator {
            "Div" | "Mod" => node.input.get(1).and_then(|d| self.constants.get(d.as_str())).map_or(1, |d| bits(d)),
            "Clip" => 2 * LEAST_OR_MOST,
            "Neg" | "Abs" => 4,
            _ if operator.contains("Min") || operator.contains("Max") => LEAST_OR_MOST * (inputs - 1),
            _ => 1,
        };
        let joins = ALL.contains(&operator) && !matches!(operator, "Concat" | "Where");
        own + if joins { JOINED * sizes.saturating_sub(1).min(100) as u32 } else { 0 }
    }
}

/// Bits of the largest of a tensor's first integers, at least 1.
fn bits(tensor: &TensorProto) -> u32 {
    const LOOKED_AT: usize = 16;
    let width = if i64::from(tensor.data_type) == INT32 { 4 } else { 8 };
    let raw = tensor.raw_data.chunks_exact(width).map(|bytes| {
        let sign = if bytes[width - 1] >= 0x80 { 0xff } else { 0 };
        let mut wide = [sign; 8];
        wide[..width].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    });
    let plain = tensor.int64_data.iter().copied().chain(tensor.int32_data.iter().map(|&v| v.into()));
    let sizes = raw.chain(plain).take(LOOKED_AT).map(|v| u64::BITS - v.unsigned_abs().leading_zeros());
    sizes.max().unwrap_or(1).max(1)
}
