//! What is put into ONNX files before they are damaged: nodes that make much, chains of sizes, branches, functions.

use super::build::{Rng, int, ints};
use super::mutate::{ODD, name, some};
use adapt::onnx::schema::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use adapt::onnx::tensor::{initializer, integers};

/// A node in between that makes much of a value, or of nothing, by constants.
pub fn swell(graph: &mut GraphProto, rng: &mut Rng) {
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
        attribute: if op == "Concat" { vec![int("axis", 0), ints("pads", &sizes)] } else { vec![] },
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

/// Sizes computed from sizes, to which the graph's input is reshaped at the end.
pub fn chain(graph: &mut GraphProto, rng: &mut Rng) {
    let Some(input) = graph.input.first().map(|input| input.name().to_owned()) else { return };
    let number = |name: &str, value: i64| integers(&format!("chain.{name}"), &[value]);
    let numbers = [number("zero", 0), number("rest", -1), number("by", rng.pick(&[1, 2, 3, 7, 64, 1 << 40]))];
    graph.initializer.extend(numbers);
    let mut nodes =
        vec![plain("Shape", &[&input], "chain.all"), plain("Gather", &["chain.all", "chain.zero"], "chain.0")];
    let operators: Vec<&str> = (0..rng.size(1, 3))
        .map(|_| {
            rng.pick(&[
                "Add",
                "Sub",
                "Mul",
                "Div",
                "Mod",
                "Min",
                "Max",
                "Neg",
                "Transpose",
                "Tile",
                "Sum",
                "Expand",
                "Abs",
            ])
        })
        .collect();
    let length = rng.pick(&[1, 5, 10, 20, 60, 300]);
    for place in 0..length {
        let size = format!("chain.{place}");
        let other = if rng.size(0, 5) == 0 { &size } else { "chain.by" };
        let operator = operators[place % operators.len()];
        let inputs: &[&str] = if matches!(operator, "Neg" | "Transpose" | "Abs") { &[&size] } else { &[&size, other] };
        nodes.push(plain(operator, inputs, &format!("chain.{}", place + 1)));
    }
    let last = format!("chain.{length}");
    let mut join = plain("Concat", &[&last, "chain.rest"], "chain.target");
    join.attribute.push(int("axis", 0));
    nodes.extend([join, plain("Reshape", &[&input, "chain.target"], "chain.made")]);
    if let Some(reader) = graph.node.iter_mut().find(|node| node.input.contains(&input)) {
        reader.input.iter_mut().filter(|name| **name == input).for_each(|name| *name = "chain.made".into());
    }
    graph.node.splice(0..0, nodes);
}

fn plain(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    let input = inputs.iter().map(|input| input.to_string()).collect();
    NodeProto { op_type: Some(operator.into()), input, output: vec![output.into()], ..Default::default() }
}

/// One of the nodes as the two branches of a choice.
pub fn branch(graph: &mut GraphProto, rng: &mut Rng) {
    let count = graph.node.len();
    let Some(node) = some(&mut graph.node, rng) else { return };
    let inner = |name: &str| {
        let mut node = node.clone();
        node.output.iter_mut().for_each(|output| *output = format!("{output}.{name}.{count}"));
        let named = |name: &String| ValueInfoProto { name: Some(name.clone()), ..Default::default() };
        let output = node.output.iter().map(named).collect();
        let graph = GraphProto { node: vec![node], output, name: Some(name.into()), ..Default::default() };
        AttributeProto { name: Some(format!("{name}_branch")), r#type: Some(5), g: Some(graph), ..Default::default() }
    };
    let attribute = vec![inner("then"), inner("else")];
    let condition = format!("condition.{count}");
    *node = NodeProto { attribute, output: node.output.clone(), ..plain("If", &[&condition], "") };
    let data = Some(vec![u8::from(rng.coin())].into());
    graph.initializer.push(TensorProto {
        name: Some(condition),
        data_type: Some(9),
        raw_data: data,
        ..Default::default()
    });
}

/// One of the nodes as a call of a function that has that node alone.
pub fn function(graph: &mut GraphProto, rng: &mut Rng) -> Option<FunctionProto> {
    let node = some(&mut graph.node, rng)?;
    let mut inner = node.clone();
    inner.input = (0..node.input.len()).map(|i| format!("in.{i}")).collect();
    inner.output = (0..node.output.len()).map(|i| format!("out.{i}")).collect();
    let (input, output, mut attribute) = (inner.input.clone(), inner.output.clone(), vec![]);
    if let Some(own) = some(&mut inner.attribute, rng) {
        attribute.extend(own.name.clone());
        own.ref_attr_name = own.name.clone();
    }
    (node.op_type, node.domain) = (Some("Given".into()), Some("local".into()));
    let opset_import = vec![OperatorSetIdProto { version: Some(17), ..Default::default() }];
    let (name, domain) = (node.op_type.clone(), node.domain.clone());
    Some(FunctionProto {
        name,
        domain,
        input,
        output,
        attribute,
        node: vec![inner],
        opset_import,
        ..Default::default()
    })
}
