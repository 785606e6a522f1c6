//! Model-local functions: written out, ONNX Runtime computes the same; endless ones are refused.

use crate::build::{Graph, float, ints};
use crate::common::golden;
use crate::support::{RUNTIME, after, branch, choice, difference, graph, node, operators, run, tensor_attribute};
use adapt::graph::Program;
use adapt::onnx::cut::Classifier;
use adapt::onnx::normalize::{self, functions};
use adapt::onnx::schema::*;
use adapt::onnx::tensor::initializer;
use adapt::onnx::{Model, data_type};
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::silent;
use adapt::{Backend, Choice};
use prost::Message;
use std::time::{Duration, Instant};

fn local(node: NodeProto) -> NodeProto {
    NodeProto { domain: Some("local".into()), ..node }
}

fn refers(name: &str, to: &str, kind: i32) -> AttributeProto {
    let (name, ref_attr_name) = (Some(name.into()), Some(to.into()));
    AttributeProto { name, ref_attr_name, r#type: Some(kind), ..Default::default() }
}

fn function(
    name: &str,
    input: &[&str],
    output: &[&str],
    node: Vec<NodeProto>,
    versions: &[(&str, i64)],
) -> FunctionProto {
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

/// Functions that call one another, with attributes handed down, defaults, an input left out, an inner graph that reads
/// the function's values, and the same names everywhere.
fn with_functions(inner: bool) -> Model {
    let mut g = Graph::new(3);
    g.input(&[1, 2, 5, 5]);
    let (w, b) = (g.weight(&[2, 2, 3, 3]), g.weight(&[2]));
    let y = g.node("Relu", &["x"], &[]);
    let mut model = g.model("out");
    let one = TensorProto { raw_data: Some(vec![1].into()), ..initializer("", &[], [], data_type::BOOL) };
    let pads = ints("pads", &[1, 1, 1, 1]);
    let mut conv = vec![
        node("Conv", &["x", "w", "b"], "y", vec![pads]),
        node("Constant", &[], "yes", vec![tensor_attribute("value", one)]),
        choice(
            "yes",
            "z",
            [
                branch("v", node("LeakyRelu", &["y"], "v", vec![refers("alpha", "alpha", attribute_type::FLOAT)])),
                branch("v", node("Neg", &["y"], "v", vec![])),
            ],
        ),
    ];
    if !inner {
        conv.truncate(1);
        conv.push(node("LeakyRelu", &["y"], "z", vec![refers("alpha", "alpha", attribute_type::FLOAT)]));
    }
    let mut conv = function("Block", &["x", "w", "b"], &["z"], conv, &[("", 17)]);
    conv.attribute_proto.push(float("alpha", 0.5));
    let twice = vec![
        local(node("Block", &["x", "w"], "z", vec![refers("alpha", "slope", attribute_type::FLOAT)])),
        local(node("Block", &["z", "w", "b"], "y", vec![])),
    ];
    let mut twice = function("Twice", &["x", "w", "b"], &["y"], twice, &[("", 17), ("local", 1)]);
    twice.attribute.push("slope".into());
    let call = |input: &str, output, slope| local(node("Twice", &[input, &w, &b], output, vec![float("slope", slope)]));
    model.proto.functions = vec![conv, twice];
    model.proto.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    let nodes = &mut graph(&mut model).node;
    nodes.push(call(&y, "y", 0.1));
    nodes.push(call("y", "z", 0.9));
    nodes.push(node("Add", &["z", &y], "out", vec![]));
    Model::from_bytes("<test>", model.proto.encode_to_vec()).unwrap()
}

#[test]
fn functions_are_written_out() {
    let (model, shape) = (with_functions(true), [2, 2, 5, 5]);
    let mut flat = after(functions::inline, &model, &shape);
    assert!(flat.proto.functions.is_empty());
    assert!(flat.graph().node.iter().all(|node| node.domain().is_empty()));
    assert_eq!(operators(&flat).iter().filter(|op| **op == "Conv").count(), 4);
    adapt::onnx::validate::validate(&mut flat).unwrap();
    // tract takes one constant `If` at most.
    let model = with_functions(false);
    // Weights that functions take are the file's own.
    let program = Program::import(&model, &[]).unwrap();
    let names: Vec<&str> = program.parameters().iter().map(|p| p.name.as_str()).collect();
    let stored: Vec<&str> = model.graph().initializer.iter().map(|t| t.name()).collect();
    assert_eq!(names, stored);
    let tract = Backend::resolve(Choice::Tract, None, true, &silent).unwrap();
    assert!(difference(&run(&RUNTIME, &model, &shape), &run(&tract, &model, &shape)) < 1e-5);
    // An output that is an input, which ONNX Runtime's own inlining does not do.
    let mut passing = model.clone();
    passing.proto.functions[1].output.push("x".into());
    let nodes = &mut graph(&mut passing).node;
    nodes[1].output.push("same".into());
    nodes[3].input[1] = "same".into();
    functions::inline(&mut passing.proto).unwrap();
    assert_eq!(difference(&run(&RUNTIME, &model, &shape), &run(&RUNTIME, &passing, &shape)), 0.0);
}

/// Nothing looks at what a function reads before it is written out.
#[test]
fn a_function_that_waits_for_itself_is_no_place_for_a_cut() {
    let mut g = Graph::new(4);
    g.input(&[1, 3, 8, 8]);
    let mut model = g.model("out");
    model.proto.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    graph(&mut model).node.push(local(node("Wait", &["x"], "out", vec![])));
    let body = vec![node("Add", &["a", "r"], "r", vec![])];
    model.proto.functions = vec![function("Wait", &["a"], &["r"], body, &[("", 17)])];
    let options = adapt::plan::PlanOptions::default();
    let settled = adapt::plan::settle(&mut model, &options, |_, _, _| true).unwrap();
    assert_eq!(settled.cut.tensor, "out");
}

/// Nodes that mean in every operator set what they mean in the function's; newer ones need not be known in the model's.
#[test]
fn functions_of_older_operator_sets_are_written_out_where_these_say_the_same() {
    let mut g = Graph::new(4);
    g.input(&[1, 4]);
    let weight = g.weight(&[4, 3]);
    let mut model = g.model("out");
    model.proto.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    graph(&mut model).node.push(local(node("Head", &["x", &weight], "out", vec![])));
    let of = |operator: &str, version| {
        let body = vec![node("Gemm", &["a", "w"], "g", vec![]), node(operator, &["g"], "r", vec![])];
        let mut model = model.clone();
        model.proto.functions = vec![function("Head", &["a", "w"], &["r"], body, &[("", version)])];
        model
    };
    for (operator, version) in [("Relu", 11), ("Softmax", 13), ("ReduceMean", 13)] {
        after(functions::inline, &of(operator, version), &[2, 4]);
    }
    for (operator, version) in [("Softmax", 11), ("ReduceSum", 12), ("Relu", 18), ("Unknown", 13)] {
        let error = functions::inline(&mut of(operator, version).proto).unwrap_err();
        assert!(error.contains(&format!("'Head' is of opset {version}, the model of")), "{error}");
    }
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
        assert!(start.elapsed() < Duration::from_secs(30));
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

/// The outputs of the branches are called as the `If`'s own, which is read behind it: that is another value.
#[test]
fn names_inside_a_branch_end_with_it() {
    let yes = TensorProto { raw_data: Some(vec![1].into()), ..initializer("yes", &[], [], data_type::BOOL) };
    let choose = |a: &str| {
        choice("yes", "y", [branch("y", node("Relu", &[a], "y", vec![])), branch("y", node("Neg", &[a], "y", vec![]))])
    };
    let mut g = Graph::new(3);
    g.input(&[1, 4]);
    let y = g.node("Abs", &["x"], &[]);
    let plain = g.model("out");
    let mut inside = plain.clone();
    inside.proto.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    let body = vec![choose("a"), node("Exp", &["y"], "r", vec![])];
    inside.proto.functions = vec![function("F", &["a", "yes"], &["r"], body, &[("", 17)])];
    graph(&mut inside).node.push(local(node("F", &[&y, "yes"], "f", vec![])));
    graph(&mut inside).node.push(node("Neg", &["f"], "out", vec![]));
    // The same in the main graph.
    let mut outside = plain;
    let nodes = [choose(&y), node("Exp", &["y"], "r", vec![]), node("Neg", &["r"], "out", vec![])];
    graph(&mut outside).node.extend(nodes);
    let tract = Backend::resolve(Choice::Tract, None, true, &silent).unwrap();
    for mut model in [inside, outside] {
        graph(&mut model).initializer.push(yes.clone());
        let expected = run(&RUNTIME, &model, &[2, 4]);
        let changed = normalize::for_import(&model).unwrap();
        assert!(!operators(&changed).contains(&"If"));
        assert_eq!(difference(&expected, &run(&RUNTIME, &changed, &[2, 4])), 0.0);
        assert!(difference(&expected, &run(&tract, &model, &[2, 4])) < 1e-6);
        Program::import(&model, &[]).unwrap();
    }
}

#[test]
fn attributes_are_not_copied_without_end() {
    let with = |nodes: usize, attribute: AttributeProto| {
        let mut g = Graph::new(1);
        let y = g.node("Relu", &["x"], &[]);
        let mut model = g.model(&y);
        graph(&mut model).node.push(local(node("F", &["x"], "z", vec![attribute])));
        let body = |i| node("Constant", &[], &format!("c{i}"), vec![refers("value_floats", "v", 6)]);
        model.proto.functions = vec![function("F", &["x"], &["c0"], (0..nodes).map(body).collect(), &[("", 17)])];
        Model::from_bytes("<test>", model.proto.encode_to_vec()).map(drop)
    };
    let floats = |count| AttributeProto { floats: vec![1.0; count], r#type: Some(6), ..ints("v", &[]) };
    with(1000, floats(1000)).unwrap();
    // 20,000 times 4 MB.
    let error = with(20_000, floats(1_000_000)).unwrap_err().to_string();
    assert!(error.contains("the function 'F' is given an attribute of 5000"), "{error}");
    let graph = AttributeProto { name: Some("v".into()), g: Some(GraphProto::default()), ..Default::default() };
    let error = with(1, graph).unwrap_err().to_string();
    assert!(error.contains("'F' is given a graph"), "{error}");
}

#[test]
fn a_classifier_inside_a_function_is_found() {
    let mut proto = ModelProto::decode(&std::fs::read(golden("tiny.onnx")).unwrap()[..]).unwrap();
    let head = proto.graph.as_mut().unwrap().node.iter_mut().find(|node| node.is("Gemm")).unwrap();
    let (inner, called) = (head.clone(), head.input.clone());
    (head.op_type, head.domain, head.attribute) = (Some("Head".into()), Some("local".into()), Vec::new());
    let output = inner.output[0].clone();
    let inputs: Vec<&str> = called.iter().map(String::as_str).collect();
    proto.functions.push(function("Head", &inputs, &[&output], vec![inner], &[("", 17)]));
    proto.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    let original = Model::from_bytes("<test>", proto.encode_to_vec()).unwrap();
    let mut model = original.clone();
    let options = PlanOptions { preprocess: Some("raw01,resize=8x8,crop=none".parse().unwrap()), ..Default::default() };
    let (plan, _) = Plan::make(&mut model, &RUNTIME, &options, &silent).unwrap();
    assert!(plan.classifier != Classifier::None && plan.notes.iter().any(|note| note.contains("inside a function")));
    assert!(model.proto.functions.is_empty());
}

/// A tensor that `inspect` lists is one to cut at.
#[test]
fn a_tensor_inside_a_function_is_a_cut_and_an_output() {
    let mut g = Graph::new(8);
    g.input(&[1, 3, 8, 8]);
    let (conv, head) = (g.weight(&[6, 3, 3, 3]), g.weight(&[6, 4]));
    let mut original = g.model("out");
    original.proto.opset_import.push(OperatorSetIdProto { domain: Some("local".into()), version: Some(1) });
    let call = local(node("Net", &["x", &conv, &head], "out", vec![]));
    graph(&mut original).node.push(NodeProto { name: Some("net".into()), ..call });
    let body = vec![
        node("Conv", &["a", "w"], "c", vec![]),
        node("GlobalAveragePool", &["c"], "g", vec![]),
        node("Flatten", &["g"], "f", vec![]),
        node("MatMul", &["f", "h"], "r", vec![]),
    ];
    original.proto.functions = vec![function("Net", &["a", "w", "h"], &["r"], body, &[("", 17)])];
    let settled = |cut: Option<&str>, output: Option<&str>| {
        let (cut, output) = (cut.map(String::from), output.map(String::from));
        let options = PlanOptions { cut, output, ..Default::default() };
        let mut model = original.clone();
        let settled = adapt::plan::settle(&mut model, &options, |_, _, _| true);
        settled.map(|settled| settled.cut.tensor).map_err(|error| error.to_string())
    };
    for (cut, output, found) in [
        (None, None, "net/f"),
        (Some("net/f"), None, "net/f"),
        (Some("net/c"), None, "net/c"),
        (None, Some("net/f"), "net/f"),
    ] {
        assert_eq!(settled(cut, output).as_deref(), Ok(found));
    }
    assert!(settled(Some("net/nowhere"), None).unwrap_err().contains("no node of the model computes a tensor"));
}
