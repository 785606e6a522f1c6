//! Damage to ONNX files: to their bytes, and to every kind of field.

use super::build::Rng;
use super::grow;
use adapt::onnx::schema::{
    AttributeProto, Dimension, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, dimension,
};
use adapt::onnx::tensor::integers;
use prost::Message;

pub const ODD: [i64; 16] =
    [0, 1, -1, 2, 3, 7, 64, 1000, 1 << 20, 1 << 31, 1 << 40, 1 << 60, i64::MAX, i64::MIN, -1000, 4_000_000];

#[rustfmt::skip]
const OPERATORS: [&str; 44] = [
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "MatMul", "Add", "Mul", "Div",
    "Pow", "Relu", "Softmax", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Split", "Slice",
    "Gather", "Expand", "Tile", "Range", "ConstantOfShape", "Resize", "Upsample", "Pad", "Shape", "Cast", "Identity",
    "Dropout", "BatchNormalization", "LayerNormalization", "ReduceMean", "ReduceSum", "ArgMax", "TopK", "OneHot",
    "Einsum", "Where", "CumSum", "Attention",
];

/// The file's bytes after one to four kinds of damage.
pub fn damaged(mut model: ModelProto, rng: &mut Rng) -> Vec<u8> {
    let bytes_only = rng.size(0, 9) == 0;
    if !bytes_only && let Some(graph) = model.graph.as_mut() {
        if rng.size(0, 7) == 0 {
            grow::chain(graph, rng);
        }
        if rng.size(0, 7) == 0 {
            grow::branch(graph, rng);
        }
        let function = if rng.size(0, 7) == 0 { grow::function(graph, rng) } else { None };
        for _ in 0..rng.size(1, 4) {
            damage(graph, rng);
        }
        model.functions.extend(function);
        if rng.coin()
            && let Some(function) = some(&mut model.functions, rng)
        {
            damage_function(function, rng);
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

pub fn some<'a, T>(of: &'a mut [T], rng: &mut Rng) -> Option<&'a mut T> {
    if of.is_empty() { None } else { Some(&mut of[rng.size(0, of.len() - 1)]) }
}

/// A name that something in the graph has.
pub fn name(graph: &GraphProto, rng: &mut Rng) -> String {
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
        4 => grow::swell(graph, rng),
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
    let numbers = [0., -1., f32::NAN, f32::INFINITY, 1e30, 0.4];
    match rng.size(0, 8) {
        6 => list(&mut attribute.floats, rng),
        7 => attribute.floats = (0..rng.size(0, 5)).map(|_| rng.pick(&numbers)).collect(),
        8 => match attribute.g.as_mut() {
            Some(graph) => damage(graph, rng),
            None => attribute.ref_attr_name = Some(rng.pick(&["", "axis", "pads", "given"]).into()),
        },
        0 => attribute.r#type = Some(rng.size(0, 14) as i32),
        1 => attribute.f = Some(rng.pick(&[0., -1., f32::NAN, f32::INFINITY, 1e30])),
        2 => list(&mut attribute.ints, rng),
        3 => attribute.s = Some(rng.pick(&["", "SAME_UPPER", "NOTSET", "linear", "...,->"]).as_bytes().to_vec().into()),
        _ if attribute.ints.is_empty() => attribute.i = Some(odd(rng)),
        _ => some(&mut attribute.ints, rng).into_iter().for_each(|value| *value = rng.pick(&ODD)),
    }
}

fn damage_function(function: &mut FunctionProto, rng: &mut Rng) {
    match rng.size(0, 5) {
        0 => list(&mut function.input, rng),
        1 => list(&mut function.output, rng),
        2 => list(&mut function.attribute, rng),
        3 => list(&mut function.node, rng),
        4 => function.name = Some("Other".into()),
        _ => some(&mut function.node, rng).map_or((), |node| damage_node(node, "out.0".into(), rng)),
    }
}
