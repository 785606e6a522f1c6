//! What stands against training inside, or against using an output, is told by name, the same by every command.

use super::inside::classes;
use super::support::Place;
use crate::common::golden;
use adapt::onnx::Model;
use adapt::onnx::schema::{GraphProto, NodeProto, data_type};
use adapt::onnx::tensor::initializer;

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    let texts = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    let (op_type, name) = (Some(operator.to_string()), Some(output.to_string()));
    NodeProto { op_type, name, input: texts(inputs), output: texts(&[output]), ..Default::default() }
}

/// `tiny.onnx`, edited.
fn edit(place: &Place, change: impl FnOnce(&mut GraphProto)) {
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    change(model.proto.graph.as_mut().unwrap());
    place.write("tiny.onnx", model.to_bytes().unwrap());
}

/// All large, and nothing when they are added up: what comes out is what the order of the sum leaves of it.
#[test]
fn a_program_that_computes_something_else_is_refused_before_training() {
    let place = classes();
    let weight = |i: usize| [3e6, -1e6, -2e6, 5e6, -4e6, -1e6][i / 9 % 6];
    edit(&place, |graph| {
        let relu = graph.node.iter().position(|node| node.is("Relu")).unwrap();
        let input = graph.node[relu].input[0].clone();
        let one = initializer("one", &[6, 3, 1, 1], [0.3; 18], data_type::FLOAT);
        let sums = initializer("sums", &[6, 6, 3, 3], (0..324).map(weight), data_type::FLOAT);
        let conv = |inputs: &[&str], output: &str| node("Conv", inputs, output);
        graph.node[relu].input[0] = "noise".into();
        graph.node.splice(relu..relu, [conv(&["x", "one"], "same"), conv(&["same", "sums"], "noise")]);
        graph.node.retain(|node| node.output[0] != input);
        graph.initializer.extend([one, sums]);
    });
    let words = ["tiny.onnx", "something else than onnxruntime", "of their scale (allowed 1e-3)", "--train head"];
    for part in ["all", "last:1"] {
        place.refuses(&format!("--train {part} --epochs 1"), 1, &words);
    }
    place.main("--train head").succeeds();
}
