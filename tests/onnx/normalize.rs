//! Each normalising step: it does what it says, and ONNX Runtime computes the same before and after.

use crate::build::{Graph, Rng, float, int, ints};
use crate::common::{golden, onnx_runtime};
use crate::open;
use adapt::graph::Program;
use adapt::onnx::normalize::{self, batch_norms, constants, dropout, functions, halves, identities, names};
use adapt::onnx::schema::*;
use adapt::onnx::tensor::{encode_floats, floats, initializer, set_raw};
use adapt::onnx::{Model, data_type};
use adapt::{Backend, Choice};
use ndarray::ArrayD;
use prost::Message;
use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

static RUNTIME: LazyLock<Backend> = LazyLock::new(onnx_runtime);

fn run(backend: &Backend, model: &Model, shape: &[usize]) -> Vec<ArrayD<f32>> {
    let input = ArrayD::from_shape_vec(shape.to_vec(), Rng::new(5).numbers(shape.iter().product())).unwrap();
    let mut engine = backend.open(model, &[], 1).unwrap_or_else(|error| panic!("{error}"));
    engine.run(input.view()).unwrap_or_else(|error| panic!("{error}"))
}

/// The largest difference of the outputs, relative to the largest value.
fn difference(a: &[ArrayD<f32>], b: &[ArrayD<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let one = |(a, b): (&ArrayD<f32>, &ArrayD<f32>)| {
        assert_eq!(a.shape(), b.shape());
        let scale = a.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs() / scale))
    };
    a.iter().zip(b).map(one).fold(0.0, f32::max)
}

/// The model after a step; ONNX Runtime says that it still computes the same.
fn after(step: normalize::Step, model: &Model, shape: &[usize]) -> Model {
    let mut changed = model.clone();
    step(&mut changed.proto).unwrap();
    assert_ne!(changed.proto, model.proto);
    let far = difference(&run(&RUNTIME, model, shape), &run(&RUNTIME, &changed, shape));
    assert!(far < 1e-6, "{far}");
    changed
}

fn graph(model: &mut Model) -> &mut GraphProto {
    model.proto.graph.as_mut().unwrap()
}

fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let input = inputs.iter().map(|i| i.to_string()).collect();
    NodeProto { op_type: Some(op.into()), input, output: vec![output.into()], attribute, ..Default::default() }
}

fn local(node: NodeProto) -> NodeProto {
    NodeProto { domain: Some("local".into()), ..node }
}

fn refers(name: &str, to: &str, kind: i32) -> AttributeProto {
    let (name, ref_attr_name) = (Some(name.into()), Some(to.into()));
    AttributeProto { name, ref_attr_name, r#type: Some(kind), ..Default::default() }
}

fn function(name: &str, input: &[&str], output: &[&str], node: Vec<NodeProto>, versions: &[(&str, i64)]) -> FunctionProto {
    let texts = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
    let import = |(domain, version): &(&str, i64)| OperatorSetIdProto {
        domain: Some(domain.to_string()),
        version: Some(*version),
    };
    FunctionProto {
        name: Some(name.into()),
        domain: Some("local".into()),
        input: texts(input),
        output: texts(output),
        node,
        opset_import: versions.iter().map(import).collect(),
        ..Default::default()
    }
}

fn tensor_attribute(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto { name: Some(name.into()), t: Some(tensor), r#type: Some(4), ..Default::default() }
}

fn branch(output: &str, node: NodeProto) -> GraphProto {
    let output = vec![ValueInfoProto { name: Some(output.into()), ..Default::default() }];
    GraphProto { name: Some("branch".into()), node: vec![node], output, ..Default::default() }
}

fn choice(condition: &str, output: &str, branches: [GraphProto; 2]) -> NodeProto {
    let attributes = ["then_branch", "else_branch"].into_iter().zip(branches);
    let attributes = attributes.map(|(name, g)| AttributeProto {
        name: Some(name.into()),
        g: Some(g),
        r#type: Some(5),
        ..Default::default()
    });
    node("If", &[condition], output, attributes.collect())
}

/// Functions that call one another, with attributes handed down, defaults, an input left out, an inner graph that reads
/// the function's values, an output that is an input, and the same names everywhere.
fn with_functions() -> Model {
    let mut g = Graph::new(3);
    g.input(&[1, 2, 5, 5]);
    let (w, b) = (g.weight(&[2, 2, 3, 3]), g.weight(&[2]));
    let y = g.node("Relu", &["x"], &[]);
    let mut model = g.model("out");
    let one = TensorProto { raw_data: Some(vec![1].into()), ..initializer("", &[], [], data_type::BOOL) };
    let pads = ints("pads", &[1, 1, 1, 1]);
    let conv = vec![
        node("Conv", &["x", "w", "b"], "y", vec![pads]),
        node("Constant", &[], "yes", vec![tensor_attribute("value", one)]),
        choice("yes", "z", [
            branch("v", node("LeakyRelu", &["y"], "v", vec![refers("alpha", "alpha", attribute_type::FLOAT)])),
            branch("v", node("Neg", &["y"], "v", vec![])),
        ]),
    ];
    let mut conv = function("Block", &["x", "w", "b"], &["z", "w"], conv, &[("", 17)]);
    conv.output.truncate(1);
    conv.attribute_proto.push(float("alpha", 0.5));
    let twice = vec![
        local(node("Block", &["x", "w"], "z", vec![refers("alpha", "slope", attribute_type::FLOAT)])),
        local(node("Block", &["z", "w", "b"], "y", vec![])),
    ];
    let mut twice = function("Twice", &["x", "w", "b"], &["y", "x"], twice, &[("", 17), ("local", 1)]);
    twice.attribute.push("slope".into());
    let call = |input: &str, outputs: [&str; 2], slope| NodeProto {
        output: outputs.map(String::from).to_vec(),
        ..local(node("Twice", &[input, &w, &b], "", vec![float("slope", slope)]))
    };
    model.proto.functions = vec![conv, twice];
    model.proto.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    let nodes = &mut graph(&mut model).node;
    nodes.push(call(&y, ["y", "same"], 0.1));
    nodes.push(call("y", ["z", ""], 0.9));
    nodes.push(node("Add", &["z", "same"], "out", vec![]));
    Model::from_bytes("<test>", model.proto.encode_to_vec()).unwrap()
}

#[test]
fn functions_are_written_out() {
    let (model, shape) = (with_functions(), [2, 2, 5, 5]);
    let flat = after(functions::inline, &model, &shape);
    assert!(flat.proto.functions.is_empty());
    assert!(flat.graph().node.iter().all(|node| node.domain().is_empty()));
    assert_eq!(operators(&flat).iter().filter(|op| **op == "Conv").count(), 4);
    adapt::onnx::validate::validate(&flat).unwrap();
    // Weights that functions take are the file's own.
    let program = Program::import(&model, &[]).unwrap();
    let names: Vec<&str> = program.parameters().iter().map(|p| p.name.as_str()).collect();
    let stored: Vec<&str> = model.graph().initializer.iter().map(|t| t.name()).collect();
    assert_eq!(names, stored);
    let tract = Backend::resolve(Choice::Tract, None, true, &adapt::progress::silent).unwrap();
    assert!(difference(&run(&RUNTIME, &model, &shape), &run(&tract, &model, &shape)) < 1e-5);
    let mut other = model.clone();
    other.proto.functions[0].opset_import[0].version = Some(13);
    let error = functions::inline(&mut other.proto).unwrap_err();
    assert!(error.contains("'Block' is of opset 13, the model of 17"), "{error}");
}

#[test]
fn endless_functions_are_refused() {
    let call = |name: usize| local(node(&format!("f{name}"), &["x"], "y", vec![]));
    let deep = |calls: &dyn Fn(usize) -> Vec<NodeProto>, count: usize| {
        let mut g = Graph::new(1);
        let y = g.node("Relu", &["x"], &[]);
        let mut model = g.model(&y);
        graph(&mut model).node.push(NodeProto { output: vec!["z".into()], ..call(0) });
        let body = |i: usize| function(&format!("f{i}"), &["x"], &["y"], calls(i), &[("", 17), ("local", 1)]);
        model.proto.functions = (0..count).map(body).collect();
        let start = Instant::now();
        let error = Model::from_bytes("<test>", model.proto.encode_to_vec()).map(drop);
        assert!(start.elapsed() < Duration::from_secs(1));
        error.unwrap_err().to_string()
    };
    let itself = deep(&|i| vec![call(i)], 1);
    assert!(itself.contains("'f0' calls itself"), "{itself}");
    let circle = deep(&|i| vec![call(1 - i)], 2);
    assert!(circle.contains("calls itself"), "{circle}");
    let chain = deep(&|i| vec![call(i + 1)], 10_000);
    assert!(chain.contains("deeper than 64"), "{chain}");
    // 4³⁰ nodes.
    let wide = deep(&|i| if i == 29 { vec![node("Relu", &["x"], "y", vec![])] } else { vec![call(i + 1); 4] }, 30);
    assert!(wide.contains("written out, would take"), "{wide}");
}

#[test]
fn names_become_unique() {
    let mut g = Graph::new(4);
    g.input(&[1, 3]);
    let y = g.node("Relu", &["x"], &[]);
    let mut model = g.model("out");
    let yes = TensorProto { raw_data: Some(vec![0].into()), ..initializer("yes", &[], [], data_type::BOOL) };
    let main = graph(&mut model);
    main.initializer.push(yes);
    let branches = |op| branch("v", node(op, &[&y], "v", vec![]));
    let first = choice("yes", "a", [branches("Neg"), branches("Exp")]);
    main.node.push(NodeProto { name: main.node[0].name.clone(), ..first });
    main.node.push(choice("yes", "b", [branches("Exp"), branches("Sin")]));
    main.node.push(node("Sub", &["a", "b"], "out", vec![]));
    let unique = after(names::unique, &model, &[2, 3]);
    let inner = |n: &NodeProto| n.attribute.iter().filter_map(|a| a.g.clone()).flat_map(|g| g.node).collect::<Vec<_>>();
    let nodes: Vec<NodeProto> = unique.graph().node.iter().flat_map(|n| [vec![n.clone()], inner(n)].concat()).collect();
    let distinct = |names: Vec<&str>| names.iter().collect::<HashSet<_>>().len() == names.len();
    assert!(nodes.len() == 8 && nodes.iter().all(|n| !n.name().is_empty()));
    assert!(distinct(nodes.iter().map(|n| n.name()).collect()));
    assert!(distinct(nodes.iter().map(|n| n.output[0].as_str()).collect()));
    // A value inside that is called as one outside, and is read inside.
    let hidden = choice("yes", "c", [branch(&y, node("Neg", &["x"], &y, vec![])), branch("v", node("Exp", &[&y], "v", vec![]))]);
    graph(&mut model).node.push(hidden);
    names::unique(&mut model.proto).unwrap();
    let last = model.graph().node.last().unwrap();
    let [then, other] = [0, 1].map(|i| last.attribute[i].g.clone().unwrap());
    assert!(then.node[0].output[0] != y && then.output[0].name() == then.node[0].output[0]);
    assert_eq!(other.node[0].input[0], y);
}

#[test]
fn constants_are_stored() {
    let mut g = Graph::new(6);
    g.input(&[1, 2, 3]);
    let mut constant = |attribute| g.node("Constant", &[], &[attribute]);
    let stored = constant(tensor_attribute("value", initializer("", &[3], [1., 2., 3.], data_type::FLOAT)));
    let (one, two) = (AttributeProto { name: Some("value_float".into()), ..float("", 0.5) }, int("value_int", 1));
    let many = AttributeProto { floats: vec![3., 4.], r#type: Some(6), ..refers("value_floats", "", 6) };
    let many = AttributeProto { ref_attr_name: None, ..many };
    let (one, axis, rows) = (constant(one), constant(two), constant(many));
    let shape = constant(ints("value_ints", &[0, 6]));
    let y = g.node("Add", &["x", &stored], &[]);
    let y = g.node("Mul", &[&y, &one], &[]);
    let rows = g.node("Unsqueeze", &[&rows, &axis], &[]);
    let y = g.node("Add", &[&y, &rows], &[]);
    let y = g.node("Reshape", &[&y, &shape], &[]);
    let mut model = g.model(&y);
    let given = ValueInfoProto { name: Some(stored.clone()), ..model.graph().output[0].clone() };
    graph(&mut model).output.push(given);
    // ONNX's checker takes an axis only as a list.
    graph(&mut model).node.iter_mut().filter(|n| n.output[0] == axis).for_each(|n| n.attribute = vec![ints("value_ints", &[1])]);
    let changed = after(constants::store, &model, &[2, 2, 3]);
    assert_eq!(operators(&changed), ["Constant", "Add", "Mul", "Unsqueeze", "Add", "Reshape"]);
    let names: HashSet<&str> = changed.graph().initializer.iter().map(|t| t.name()).collect();
    assert!([&one, &axis, &shape].iter().all(|name| names.contains(name.as_str())) && !names.contains(stored.as_str()));
    let weights = Model::open(golden("onnx/weight_constant.onnx")).unwrap();
    let changed = after(constants::store, &weights, &[2, 3, 8, 8]);
    assert!(!operators(&changed).contains(&"Constant"));
}

#[test]
fn identities_of_stored_tensors_go() {
    let model = open("weight_identity");
    let changed = after(identities::remove, &model, &[2, 3, 8, 8]);
    assert!(operators(&model).contains(&"Identity") && !operators(&changed).contains(&"Identity"));
    // Of what is computed it stays, as does what makes an output.
    let mut g = Graph::new(2);
    g.input(&[1, 2]);
    let w = g.weight(&[1, 2]);
    let (a, b) = (g.node("Identity", &["x"], &[]), g.node("Identity", &[&w], &[]));
    let y = g.node("Add", &[&a, &b], &[]);
    let mut model = g.model(&y);
    let given = ValueInfoProto { name: Some(b), ..model.graph().output[0].clone() };
    graph(&mut model).output.push(given);
    let changed = after(identities::remove, &model, &[3, 2]);
    assert_eq!(operators(&changed), ["Identity", "Identity", "Add"]);
    assert_eq!(changed.graph().node[2].input[1], w);
}

#[test]
fn dropout_leaves_the_path() {
    for opset in [7, 10, 12, 13, 22] {
        let mut g = Graph::new(2);
        g.opset = opset;
        g.input(&[1, 4]);
        let first = g.outputs("Dropout", &["x"], &[], if opset < 10 { 1 } else { 2 });
        let relu = g.node("Relu", &[&first[0]], &[]);
        let second = g.node("Dropout", &[&relu], &[]);
        let third = g.node("Dropout", &[&second], &[]);
        let sum = match first.get(1) {
            Some(mask) => {
                let mask = g.node("Cast", &[mask], &[int("to", 1)]);
                g.node("Add", &[&second, &mask], &[])
            }
            None => g.node("Neg", &[&second], &[]),
        };
        let mut model = g.model(&sum);
        let given = ValueInfoProto { name: Some(third), ..model.graph().output[0].clone() };
        graph(&mut model).output.push(given);
        let changed = after(dropout::remove, &model, &[3, 4]);
        let found = operators(&changed);
        assert!(!found.contains(&"Dropout") && found.contains(&"Identity"), "{opset}: {found:?}");
    }
    let training = |ratio: f32| {
        let mut g = Graph::new(2);
        g.input(&[1, 4]);
        let ratio = g.values(&[], vec![ratio]);
        let y = g.node("Dropout", &["x", &ratio, "on"], &[]);
        let mut model = g.model(&y);
        let on = TensorProto { raw_data: Some(vec![1].into()), ..initializer("on", &[], [], data_type::BOOL) };
        graph(&mut model).initializer.push(on);
        dropout::remove(&mut model.proto)
    };
    assert!(training(0.5).unwrap_err().contains("it drops values at random"));
    assert_eq!(training(0.0), Ok(()));
}

/// A batch norm in training mode that also gives its running statistics, as weight standardisation is exported.
#[test]
fn unread_statistics_are_left_out() {
    let mut g = Graph::new(3);
    g.input(&[1, 3, 4, 5]);
    let inputs = [g.weight(&[3]), g.weight(&[3]), g.weight(&[3]), g.positive(&[3])];
    let inputs = ["x", &inputs[0], &inputs[1], &inputs[2], &inputs[3]];
    let y = g.outputs("BatchNormalization", &inputs, &[float("epsilon", 0.01), int("training_mode", 1)], 3);
    let model = g.model(&y[0]);
    let mut changed = model.clone();
    batch_norms::trim(&mut changed.proto).unwrap();
    assert_eq!(changed.graph().node[0].output, y[..1]);
    let candle = Backend::resolve(Choice::Candle, None, true, &adapt::progress::silent).unwrap();
    let far = difference(&run(&RUNTIME, &model, &[4, 3, 4, 5]), &run(&candle, &model, &[4, 3, 4, 5]));
    assert!(far < 1e-5, "{far}");
    let mut read = model.clone();
    let given = ValueInfoProto { name: Some(y[1].clone()), ..model.graph().output[0].clone() };
    graph(&mut read).output.push(given);
    batch_norms::trim(&mut read.proto).unwrap();
    assert_eq!(read.graph().node[0].output.len(), 3);
}

/// The golden model in another float type.
fn narrow(to: i32) -> Model {
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    let main = graph(&mut model);
    for tensor in main.initializer.iter_mut().filter(|t| t.data_type() == data_type::FLOAT) {
        let values = floats(tensor).unwrap();
        set_raw(tensor, encode_floats(values, to));
        tensor.data_type = Some(to);
    }
    for info in main.input.iter_mut().chain(&mut main.output).chain(&mut main.value_info) {
        let tensor = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).unwrap();
        tensor.elem_type = tensor.elem_type.map(|t| if t == data_type::FLOAT { to } else { t });
    }
    main.node.push(node("Cast", &["logits"], "narrow", vec![int("to", to.into())]));
    model
}

#[test]
fn bfloat16_becomes_float32() {
    let mut model = narrow(data_type::BFLOAT16);
    assert!(RUNTIME.open(&model, &[], 1).is_err(), "ONNX Runtime can do it by now: export it as it is");
    assert!(halves::widen_bfloat16(&mut model.proto));
    assert!(!halves::widen_bfloat16(&mut model.proto));
    // The same values as float32 from the start.
    let mut wide = Model::open(golden("tiny.onnx")).unwrap();
    for tensor in graph(&mut wide).initializer.iter_mut().filter(|t| t.data_type() == data_type::FLOAT) {
        let values = floats(tensor).unwrap();
        let rounded = TensorProto { raw_data: Some(encode_floats(values, data_type::BFLOAT16)), data_type: Some(16), ..Default::default() };
        set_raw(tensor, encode_floats(floats(&rounded).unwrap(), data_type::FLOAT));
    }
    let cast = model.proto.graph.as_mut().unwrap().node.pop().unwrap();
    assert_eq!(cast.int("to", 0), 1);
    assert_eq!(model.graph(), wide.graph());
    let mut half = narrow(data_type::FLOAT16);
    assert!(!halves::widen_bfloat16(&mut half.proto), "float16 stays in the file");
}

#[test]
fn halves_are_widened_for_import() {
    let half = narrow(data_type::FLOAT16);
    let mut wide = half.clone();
    halves::widen(&mut wide.proto).unwrap();
    let far = difference(&run(&RUNTIME, &wide, &[2, 3, 8, 8]), &run(&RUNTIME, &half, &[2, 3, 8, 8]));
    assert!((1e-7..1e-2).contains(&far), "{far}");
    let stored = wide.graph().initializer.iter().all(|t| t.data_type() != data_type::FLOAT16);
    let types = wide.graph().input.iter().chain(&wide.graph().output).filter_map(|v| v.tensor_type());
    assert!(stored && types.into_iter().all(|(t, _)| t != data_type::FLOAT16));
}

#[test]
fn a_quantized_graph_says_why_it_cannot_be_trained_inside() {
    for name in ["qdq", "qdq_transposed"] {
        let error = Program::import(&open(name), &[]).map(drop).unwrap_err().to_string();
        let quantizes = normalize::quantized(open(name).graph()).is_some();
        assert!(error.contains("quantized: rounded values have no gradient") && quantizes, "{error}");
    }
}
