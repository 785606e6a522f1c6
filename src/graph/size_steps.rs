//! Sizes computed from sizes: tract simplifies them as formulas in the number of images, and recurses without end over what
//! no network has, divisors beyond 64 bits above all. A stack that overflows cannot be caught: such graphs are refused.

use std::collections::HashMap;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// Steps that a size may have behind it, a division counting as its divisor's bits. Networks have up to 20 or so.
const MOST: u32 = 60;
/// They hand on the numbers of their first input.
const CARRY: [&str; 7] = ["Cast", "Slice", "Gather", "Squeeze", "Unsqueeze", "Identity", "Reshape"];
/// They make numbers of all their inputs'.
const JOIN: [&str; 8] = ["Concat", "Add", "Sub", "Mul", "Div", "Mod", "Min", "Max"];
// ONNX's numbers.
const INT32: i64 = 6;
const INT64: i64 = 7;

/// Fails with the first node that goes too far.
pub(super) fn check(graph: &GraphProto) -> Result<(), String> {
    let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let tensor = node.attribute.iter().find_map(|a| a.t.as_ref())?;
        Some((node.output.first()?.as_str(), tensor))
    });
    let constants: HashMap<&str, &TensorProto> = stored.chain(constants).collect();
    let mut steps: HashMap<&str, u32> = HashMap::new();
    for node in &graph.node {
        let Some(count) = behind(node, &steps, &constants) else { continue };
        if count > MOST {
            let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
            let (name, operator) = (name.map_or("", String::as_str), &node.op_type);
            return Err(format!("node {name} ({operator}): sizes are computed from sizes in too many steps"));
        }
        steps.extend(node.output.iter().map(|output| (output.as_str(), count)));
    }
    Ok(())
}

/// The steps behind what a node gives; `None` where that is no size.
fn behind(node: &NodeProto, steps: &HashMap<&str, u32>, constants: &HashMap<&str, &TensorProto>) -> Option<u32> {
    let operator = node.op_type.as_str();
    let of = |input: &String| steps.get(input.as_str()).copied();
    match operator {
        "Shape" | "Size" => Some(1),
        "Cast" if node.attribute.iter().any(|a| a.name == "to" && ![INT32, INT64].contains(&a.i)) => None,
        _ if CARRY.contains(&operator) => Some(of(node.input.first()?)? + 1),
        _ if JOIN.contains(&operator) => {
            let most = node.input.iter().filter_map(of).max()?;
            let divisor = node.input.get(1).filter(|_| operator == "Div").and_then(|d| constants.get(d.as_str()));
            Some(most + divisor.map_or(1, |tensor| bits(tensor)))
        }
        _ => None,
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
