//! Nodes that are called as others.

use crate::build::Graph;
use crate::support::{RUNTIME, branch, choice, difference, graph, node, run};
use adapt::onnx::schema::*;
use adapt::onnx::tensor::initializer;
use adapt::onnx::{Model, data_type};

/// ONNX Runtime opens no file in which two nodes of a graph or of a function have one name.
#[test]
fn nodes_of_one_name_are_told_apart() {
    let mut g = Graph::new(4);
    g.input(&[1, 3]);
    let mut model = g.model("out");
    let two = || vec![node("Neg", &["x"], "v", vec![]), node("Exp", &["v"], "w", vec![])];
    let yes = TensorProto { raw_data: Some(vec![0].into()), ..initializer("yes", &[], [], data_type::BOOL) };
    graph(&mut model).initializer.push(yes);
    let mut inner = [branch("w", two()[0].clone()), branch("w", two()[0].clone())];
    inner.iter_mut().for_each(|graph| graph.node = two());
    let call = NodeProto { domain: Some("local".into()), ..node("Both", &["x"], "called", vec![]) };
    let sum = node("Add", &["chosen", "called"], "out", vec![]);
    graph(&mut model).node = vec![choice("yes", "chosen", inner), call, sum];
    let imports = model.proto.opset_import.clone();
    let texts = |name: &str| vec![name.to_string()];
    let local = OperatorSetIdProto { domain: Some("local".into()), version: Some(1) };
    model.proto.opset_import.push(local);
    model.proto.functions.push(FunctionProto {
        name: Some("Both".into()),
        domain: Some("local".into()),
        input: texts("x"),
        output: texts("w"),
        node: two(),
        opset_import: imports,
        ..Default::default()
    });
    let expected = run(&RUNTIME, &model, &[2, 3]);
    fn all_same(nodes: &mut [NodeProto]) {
        for node in nodes {
            node.name = Some("same".into());
            node.attribute.iter_mut().filter_map(|a| a.g.as_mut()).for_each(|graph| all_same(&mut graph.node));
        }
    }
    all_same(&mut graph(&mut model).node);
    all_same(&mut model.proto.functions[0].node);
    assert!(RUNTIME.open(&model, &[], 1).is_err());
    let read = Model::from_bytes("<same>", model.to_bytes().unwrap()).unwrap();
    assert_eq!(difference(&expected, &run(&RUNTIME, &read, &[2, 3])), 0.0);
    assert_eq!(read.graph().node[0].name(), "same");
}
