//! Of several nodes that stand against training the right one is named.

use super::inside::classes;
use super::obstacles::{ahead, attribute, edit, int, node};
use super::parts::inspected;
use adapt::onnx::data_type;
use adapt::onnx::schema::{GraphProto, NodeProto, ValueInfoProto};
use adapt::onnx::tensor::initializer;
use serde_json::json;

/// The second name begins with the first.
#[test]
fn a_name_that_begins_like_another_is_another() {
    let place = classes();
    edit(&place, |graph| {
        let pair = |input: &str, bytes: &str, output: &str| {
            [node("QuantizeLinear", &[input, "s"], bytes), node("DequantizeLinear", &[bytes, "s"], output)]
        };
        let relu = graph.node.iter().position(|node| node.is("Relu")).unwrap();
        let conv = graph.node.iter().position(|node| node.is("Conv")).unwrap();
        graph.node[relu + 1].input[0] = "second".into();
        graph.node[conv].input[0] = "first".into();
        graph.node.splice(relu + 1..relu + 1, pair("relu", "bytes2", "second"));
        graph.node.splice(0..0, pair("x", "bytes", "first"));
        graph.initializer.push(initializer("s", &[], [0.01], data_type::FLOAT));
    });
    place.refuses("--train first", 1, &["node 'bytes2' (QuantizeLinear): it is quantized"]);
    place.refuses("--train all", 1, &["node 'bytes' (QuantizeLinear): it is quantized"]);
}

#[test]
fn choices_by_the_image_are_told_one_by_one() {
    let place = classes();
    let branch = |nodes: Vec<NodeProto>, output: &str| GraphProto {
        name: Some("branch".into()),
        node: nodes,
        output: vec![ValueInfoProto { name: Some(output.into()), ..Default::default() }],
        ..Default::default()
    };
    let choice = |input: &str, output: &str| {
        let inside = |name: &str| format!("{output}.{name}");
        let [then, other] = [inside("then"), inside("else")];
        let mut most = node("ReduceMax", &[input], &inside("most"));
        most.attribute.push(int("keepdims", 0));
        let mut condition = node("Cast", &[&inside("most")], &inside("condition"));
        condition.attribute.push(int("to", 9));
        let mut choice = node("If", &[&inside("condition")], output);
        choice.attribute.push(attribute("then_branch", branch(vec![node("Relu", &[input], &then)], &then)));
        choice.attribute.push(attribute("else_branch", branch(vec![node("Neg", &[input], &other)], &other)));
        vec![most, condition, choice]
    };
    ahead(&place, [choice("x", "one"), choice("one", "ahead")].concat(), vec![]);
    let found = inspected(&place, "tiny.onnx");
    let obstacles = found["training"]["obstacles"].as_array().unwrap();
    assert_eq!((&obstacles[0]["node"], &obstacles[1]["node"]), (&json!("one"), &json!("ahead")));
    assert_eq!(found["training"]["inside"], json!({ "from": "ahead" }));
    let why = "its condition is computed from the image";
    place.refuses("--train all", 1, &["node 'one' (If)", why, "--train ahead"]);
    place.refuses("--engine candle", 1, &["candle cannot run it: node one (If)", why]);
    place.refuses("--engine tract", 1, &["tract cannot run it: node ahead (If)", why]);
    place.main("--train ahead --epochs 1").succeeds();
}
