//! Damage to ONNX files: to their bytes, and to every kind of field.

use super::build::{Rng, ints};
use adapt::onnx::schema::{AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, TensorProto, dimension};
use adapt::onnx::tensor::{initializer, integers};
use prost::Message;

const ODD: [i64; 16] =
    [0, 1, -1, 2, 3, 7, 64, 1000, 1 << 20, 1 << 31, 1 << 40, 1 << 60, i64::MAX, i64::MIN, -1000, 4_000_000];

const OPERATORS: [&str; 44] = [
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Gemm",
    "MatMul",
    "Add",
    "Mul",
    "Div",
    "Pow",
    "Relu",
    "Softmax",
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Split",
    "Slice",
    "Gather",
    "Expand",
    "Tile",
    "Range",
    "ConstantOfShape",
    "Resize",
    "Upsample",
    "Pad",
    "Shape",
    "Cast",
    "Identity",
    "Dropout",
    "BatchNormalization",
    "LayerNormalization",
    "ReduceMean",
    "ReduceSum",
    "ArgMax",
    "TopK",
    "OneHot",
    "Einsum",
    "Where",
    "CumSum",
    "Attention",
];

/// The file's bytes after one to four kinds of damage.
pub fn damaged(mut model: ModelProto, rng: &mut Rng) -> Vec<u8> {
    let bytes_only = rng.size(0, 9) == 0;
    if !bytes_only && let Some(graph) = model.graph.as_mut() {
        for _ in 0..rng.size(1, 4) {
            damage(graph, rng);
        }
        if rng.size(0, 9) == 0 {
            model
                .opset_import
                .iter_mut()
                .for_each(|opset| opset.version = Some(rng.pick(&[1, 6, 9, 10, 11, 13, 18, 23, 99, -1])));
        }
    }
    let mut bytes = model.encode_to_vec();
    if (bytes_only || rng.size(0, 19) == 0) && !bytes.is_empty() {
        for _ in 0..rng.size(1, 4) {
            let place = rng.size(0, bytes.len() - 1);
            bytes[place] = rng.size(0, 255) as u8;
        }
        if rng.coin() {
            bytes.truncate(rng.size(0, bytes.len()));
        }
    }
    bytes
}

fn odd(rng: &mut Rng) -> i64 {
    rng.pick(&ODD)
}

fn some<'a, T>(of: &'a mut [T], rng: &mut Rng) -> Option<&'a mut T> {
    if of.is_empty() { None } else { Some(&mut of[rng.size(0, of.len() - 1)]) }
}

/// A name that something in the graph has.
fn name(graph: &GraphProto, rng: &mut Rng) -> String {
    let made = graph.node.iter().flat_map(|node| &node.output).cloned();
    let stored = graph.initializer.iter().map(|tensor| tensor.name().to_owned());
    let mut names: Vec<String> = made.chain(stored).chain(graph.input.iter().map(|i| i.name().to_owned())).collect();
    names.extend([String::new(), "\u{1b}[31m\n".into()]);
    names.swap_remove(rng.size(0, names.len() - 1))
}

fn damage(graph: &mut GraphProto, rng: &mut Rng) {
    let other = name(graph, rng);
    match rng.size(0, 9) {
        0 => some(&mut graph.initializer, rng).map_or((), |tensor| damage_tensor(tensor, rng)),
        1 => damage_input(graph, rng),
        2 => list(&mut graph.node, rng),
        3 => list(&mut graph.initializer, rng),
        4 => swell(graph, rng),
        5 => match some(&mut graph.output, rng) {
            Some(output) => output.name = Some(other),
            None => graph.output.clear(),
        },
        _ => some(&mut graph.node, rng).map_or((), |node| damage_node(node, other, rng)),
    }
}

/// Removes, doubles or exchanges.
fn list<T: Clone>(of: &mut Vec<T>, rng: &mut Rng) {
    if of.is_empty() {
        return;
    }
    let (a, b) = (rng.size(0, of.len() - 1), rng.size(0, of.len() - 1));
    match rng.size(0, 2) {
        0 => drop(of.remove(a)),
        1 => of.insert(b, of[a].clone()),
        _ => of.swap(a, b),
    }
}

fn damage_tensor(tensor: &mut TensorProto, rng: &mut Rng) {
    match rng.size(0, 5) {
        0 => some(&mut tensor.dims, rng).into_iter().for_each(|dim| *dim = rng.pick(&ODD)),
        1 => list(&mut tensor.dims, rng),
        2 => tensor.data_type = Some(rng.size(0, 30) as i32),
        3 => tensor.raw_data = tensor.raw_data.as_ref().map(|raw| raw.slice(..rng.size(0, raw.len()))),
        4 => tensor.name = Some("w0".into()),
        // Other numbers: shapes, places, axes.
        _ => {
            let count = tensor.dims.iter().product::<i64>().clamp(0, 16);
            let values: Vec<i64> = (0..count).map(|_| rng.pick(&ODD)).collect();
            *tensor = TensorProto { name: tensor.name.clone(), ..integers("", &values) };
        }
    }
}

fn damage_input(graph: &mut GraphProto, rng: &mut Rng) {
    let Some(input) = some(&mut graph.input, rng) else { return };
    let Some(tensor) = input.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) else { return };
    match (rng.size(0, 3), tensor.shape.as_mut()) {
        (0, _) => tensor.elem_type = Some(rng.size(0, 30) as i32),
        (1, _) => tensor.shape = None,
        (2, Some(shape)) => list(&mut shape.dim, rng),
        (_, Some(shape)) => {
            let value = Some(dimension::Value::DimValue(odd(rng)));
            some(&mut shape.dim, rng)
                .into_iter()
                .for_each(|dim| *dim = Dimension { value: value.clone(), denotation: None });
        }
        _ => {}
    }
}

fn damage_node(node: &mut NodeProto, other: String, rng: &mut Rng) {
    match rng.size(0, 8) {
        0 => some(&mut node.input, rng).into_iter().for_each(|input| *input = other.clone()),
        1 => list(&mut node.input, rng),
        2 => list(&mut node.output, rng),
        3 => node.op_type = Some(rng.pick(&OPERATORS).into()),
        4 => list(&mut node.attribute, rng),
        5 => node.input.push(other),
        6 => node.domain = Some(rng.pick(&["", "ai.onnx.ml", "com.microsoft", "nowhere"]).into()),
        _ => some(&mut node.attribute, rng).map_or((), |attribute| damage_attribute(attribute, rng)),
    }
}

fn damage_attribute(attribute: &mut AttributeProto, rng: &mut Rng) {
    match rng.size(0, 5) {
        0 => attribute.r#type = Some(rng.size(0, 14) as i32),
        1 => attribute.f = Some(rng.pick(&[0., -1., f32::NAN, f32::INFINITY, 1e30])),
        2 => list(&mut attribute.ints, rng),
        3 => attribute.s = Some(rng.pick(&["", "SAME_UPPER", "NOTSET", "linear", "...,->"]).as_bytes().to_vec().into()),
        _ if attribute.ints.is_empty() => attribute.i = Some(odd(rng)),
        _ => some(&mut attribute.ints, rng).into_iter().for_each(|value| *value = rng.pick(&ODD)),
    }
}

/// A node in between that makes much of a value, or of nothing, by constants.
fn swell(graph: &mut GraphProto, rng: &mut Rng) {
    let rank = rng.size(1, 4);
    let sizes: Vec<i64> = (0..rank).map(|_| rng.pick(&ODD)).collect();
    let op = rng.pick(&[
        "Expand",
        "Tile",
        "ConstantOfShape",
        "Range",
        "Resize",
        "Pad",
        "Reshape",
        "OneHot",
        "Upsample",
        "Concat",
        "Gather",
    ]);
    let value = name(graph, rng);
    let new = |what: &str| format!("swollen.{what}.{}", graph.node.len());
    let (made, numbers, scales) = (new("made"), new("sizes"), new("scales"));
    let scale = initializer(&scales, &[rank], sizes.iter().map(|&v| v as f32), 1);
    let inputs: Vec<&str> = match op {
        "ConstantOfShape" => vec![&numbers],
        "Range" => vec![&value, &numbers, &value],
        "Resize" => vec![&value, "", &scales],
        "Upsample" => vec![&value, &scales],
        "OneHot" => vec![&value, &numbers, &scales],
        "Concat" => vec![&value, &value, &value],
        _ => vec![&value, &numbers],
    };
    let node = NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(|input| input.to_string()).collect(),
        output: vec![made.clone()],
        attribute: if op == "Concat" { vec![super::build::int("axis", 0), ints("pads", &sizes)] } else { vec![] },
        ..Default::default()
    };
    graph.initializer.extend([integers(&numbers, &sizes), scale]);
    // Whoever read the value, or one of them, reads what was made of it.
    let reader = graph.node.iter_mut().filter(|node| node.input.contains(&value)).last();
    if let Some(reader) = reader {
        reader.input.iter_mut().filter(|input| **input == value).for_each(|input| *input = made.clone());
    }
    let place = rng.size(0, graph.node.len());
    graph.node.insert(place, node);
}
