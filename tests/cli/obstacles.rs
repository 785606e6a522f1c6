//! What stands against training inside, or against using an output, is told by name, the same by every command.

use super::inside::classes;
use super::parts::inspected;
use super::support::Place;
use crate::common::golden;
use adapt::onnx::Model;
use adapt::onnx::schema::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorType, TypeProto, ValueInfoProto, Wrapped, data_type,
};
use adapt::onnx::surgery::tensor_type;
use adapt::onnx::tensor::{initializer, integers};
use serde_json::json;

pub fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    let texts = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    let (op_type, name) = (Some(operator.to_string()), Some(output.to_string()));
    NodeProto { op_type, name, input: texts(inputs), output: texts(&[output]), ..Default::default() }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(2), ..Default::default() }
}

pub fn attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(5), g: Some(graph), ..Default::default() }
}

/// `tiny.onnx`, edited.
pub fn edit(place: &Place, change: impl FnOnce(&mut GraphProto)) {
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    change(model.proto.graph.as_mut().unwrap());
    place.write("tiny.onnx", model.to_bytes().unwrap());
}

/// The image goes through these nodes first; the last makes `ahead`.
pub fn ahead(place: &Place, nodes: Vec<NodeProto>, stored: Vec<TensorProto>) {
    edit(place, |graph| {
        graph.node.iter_mut().find(|node| node.is("Conv")).unwrap().input[0] = "ahead".into();
        graph.node.splice(0..0, nodes);
        graph.initializer.extend(stored);
    });
}

/// The output is what these nodes make of `logits`.
fn behind(place: &Place, nodes: Vec<NodeProto>, r#type: Option<TypeProto>, stored: Vec<TensorProto>) {
    edit(place, |graph| {
        let name = nodes.last().unwrap().output.first().cloned();
        graph.output = vec![ValueInfoProto { name, r#type, ..Default::default() }];
        graph.node.extend(nodes);
        graph.initializer.extend(stored);
    });
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
    let words = ["tiny.onnx", "something else than onnxruntime", "of their scale (allowed 3e-2)", "--train head"];
    for part in ["all", "last:1"] {
        place.refuses(&format!("--train {part} --epochs 1"), 1, &words);
    }
    place.main("--train head").succeeds();
}

#[test]
fn weights_that_are_stored_quantized_are_not_trained() {
    let place = classes();
    let bytes = |count| TensorProto {
        raw_data: Some((0..count).map(|i| (i % 9) as u8).collect::<Vec<_>>().into()),
        ..Default::default()
    };
    let dims = vec![6, 6, 1, 1];
    let stored =
        || TensorProto { name: Some("q".into()), dims: dims.clone(), data_type: Some(data_type::INT8), ..bytes(36) };
    let scale = || initializer("s", &[], [0.02], data_type::FLOAT);
    let layer = |input: &str, output: &str| {
        vec![node("DequantizeLinear", &["q", "s"], "dq"), node("Conv", &[input, "dq"], output)]
    };
    // Behind the float layer, then ahead of it.
    edit(&place, |graph| {
        let pool = graph.node.iter().position(|node| node.input[0] == "relu").unwrap();
        graph.node[pool].input[0] = "rounded".into();
        graph.node.splice(pool..pool, layer("relu", "rounded"));
        graph.initializer.extend([stored(), scale()]);
    });
    let why = "node 'rounded' (Conv): its weights are stored quantized, and rounded values cannot be trained";
    let found = inspected(&place, "tiny.onnx");
    assert_eq!(found["training"]["inside"], json!("nothing"));
    let text = place.adapt("inspect tiny.onnx").succeeds().out;
    assert!(text.contains(why) && text.contains("The network in front of it cannot be trained"), "{text}");
    for part in ["all", "last:1", "last:2"] {
        place.refuses(&format!("--train {part}"), 1, &[why, "--train head"]);
    }
    place.main("--train head").succeeds();
    place.main("--train head --engine candle --force").succeeds();
    std::fs::remove_dir_all(place.path("out")).unwrap();
    let narrow = initializer("narrow", &[6, 3, 1, 1], [0.2; 18], data_type::FLOAT);
    let wide = initializer("wide", &[3, 6, 1, 1], [0.3; 18], data_type::FLOAT);
    let mut pool = node("MaxPool", &["six"], "pooled");
    let ints = |name: &str| AttributeProto {
        name: Some(name.into()),
        ints: vec![2, 2],
        r#type: Some(7),
        ..Default::default()
    };
    pool.attribute = vec![ints("kernel_shape"), ints("strides")];
    // Behind the pool, `six` is a depth of its own, ahead of what cannot be trained.
    for (before, input) in [(None, "six"), (Some(pool), "pooled")] {
        let mut nodes = vec![node("Conv", &["x", "narrow"], "six")];
        nodes.extend(before);
        nodes.extend(layer(input, "rounded"));
        nodes.push(node("Conv", &["rounded", "wide"], "ahead"));
        ahead(&place, nodes, vec![stored(), scale(), narrow.clone(), wide.clone()]);
        let _ = std::fs::remove_dir_all(place.path("out"));
        place.refuses("--train all", 1, &[why, "what comes behind 'rounded' can be trained: --train rounded"]);
        assert_eq!(inspected(&place, "tiny.onnx")["training"]["inside"], json!({ "from": "rounded" }));
        place.main("--train rounded --epochs 1").succeeds();
    }
}

/// Nobody but the engine tells the shapes behind them.
#[test]
fn what_comes_behind_loops_sequences_and_choices_can_be_trained() {
    let value = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
    let graph = |nodes: Vec<NodeProto>, inputs: &[&str], outputs: &[&str]| GraphProto {
        name: Some("inner".into()),
        node: nodes,
        input: inputs.iter().copied().map(value).collect(),
        output: outputs.iter().copied().map(value).collect(),
        ..Default::default()
    };
    let typed = |name: &str, kind: i32| {
        let tensor_type = Some(TensorType { elem_type: Some(kind), shape: None });
        ValueInfoProto { r#type: Some(TypeProto { tensor_type, ..Default::default() }), ..value(name) }
    };
    let mut body = graph(vec![node("Identity", &["on"], "go"), node("Relu", &["v"], "next")], &[], &["go", "next"]);
    let scalar = |name: &str, kind: i32| ValueInfoProto { r#type: Some(tensor_type(kind, vec![])), ..value(name) };
    body.input = vec![scalar("i", data_type::INT64), scalar("on", data_type::BOOL), typed("v", data_type::FLOAT)];
    body.output = vec![scalar("go", data_type::BOOL), typed("next", data_type::FLOAT)];
    let mut rounds = node("Loop", &["three", "yes", "x"], "ahead");
    rounds.attribute.push(attribute("body", body));
    let mut choice = node("If", &["condition"], "ahead");
    choice.attribute.push(attribute("then_branch", graph(vec![node("Relu", &["x"], "t")], &[], &["t"])));
    choice.attribute.push(attribute("else_branch", graph(vec![node("Neg", &["x"], "e")], &[], &["e"])));
    let mut condition = node("Cast", &["most"], "condition");
    condition.attribute.push(int("to", 9));
    let mut most = node("ReduceMax", &["x"], "most");
    most.attribute.push(int("keepdims", 0));
    let sequence = vec![node("SequenceConstruct", &["x"], "list"), node("SequenceAt", &["list", "zero"], "ahead")];
    let yes = TensorProto { raw_data: Some(vec![1].into()), ..initializer("yes", &[], [], data_type::BOOL) };
    let one = |name: &str, number| TensorProto { dims: vec![], ..integers(name, &[number]) };
    for (nodes, operator) in
        [(vec![rounds], "Loop"), (sequence, "SequenceConstruct"), (vec![most, condition, choice], "If")]
    {
        let place = classes();
        ahead(&place, nodes, vec![yes.clone(), one("three", 3), one("zero", 0)]);
        let found = inspected(&place, "tiny.onnx");
        assert_eq!(found["training"]["inside"], json!({ "from": "ahead" }), "{operator}: {found}");
        assert_eq!(
            (&found["training"]["parameters"], &found["training"]["obstacles"][0]["operator"]),
            (&json!(168), &json!(operator))
        );
        let why = if operator == "If" { "its condition is computed from the image" } else { "training" };
        let words = [&format!("({operator}): {why}"), "behind 'ahead' can be trained: --train ahead"];
        place.refuses("--train all", 1, &words);
        place.main("--train ahead --epochs 1").succeeds();
    }
}

fn list(element: TypeProto) -> TypeProto {
    let elem_type = Some(Box::new(element));
    TypeProto { sequence_type: Some(Box::new(Wrapped { elem_type })), ..Default::default() }
}

#[test]
fn outputs_that_are_no_rows_of_numbers() {
    let place = classes();
    let floats = tensor_type(data_type::FLOAT, vec![]);
    behind(&place, vec![node("SequenceConstruct", &["logits"], "list")], Some(list(floats.clone())), vec![]);
    let words = "its output 'list' is no tensor";
    place.refuses("", 2, &["tiny.onnx", words, "--cut"]);
    let ran = place.adapt("inspect tiny.onnx");
    assert!(ran.code == Some(2) && ran.out.contains(words), "{}{}", ran.out, ran.err);
    // All in one row: what it was made of has a row for each image.
    edit(&place, |graph| {
        graph.node.retain(|node| node.output[0] != "logits" && !node.is("Flatten"));
        graph.node.push(node("Reshape", &["pool", "flat"], "y"));
        graph.initializer.push(integers("flat", &[-1]));
        graph.output = vec![ValueInfoProto { name: Some("y".into()), r#type: Some(floats), ..Default::default() }];
        graph.node.retain(|node| !node.is("ArgMax"));
    });
    let found = inspected(&place, "tiny.onnx");
    assert_eq!((&found["cut"]["tensor"], &found["problems"]), (&json!("pool"), &json!([])));
    place.main("").succeeds();
    std::fs::remove_dir_all(place.path("out")).unwrap();
    place.refuses("--cut y", 2, &["'y' has shape [6] for one image"]);
    // A mean over the images is nothing of theirs.
    edit(&place, |graph| {
        let mut mean = node("ReduceMean", &["features"], "y");
        mean.attribute.push(AttributeProto {
            name: Some("axes".into()),
            ints: vec![0],
            r#type: Some(7),
            ..Default::default()
        });
        mean.attribute.push(int("keepdims", 0));
        graph.node.push(mean);
        graph.output = vec![ValueInfoProto { name: Some("y".into()), ..graph.output[0].clone() }];
    });
    let ran = place.adapt("inspect tiny.onnx");
    assert!(ran.code == Some(2) && ran.out.contains("'y' has shape [6]: no row for each image"), "{}", ran.out);
}

/// Values listed by the classes' names, as converters of other libraries' models do.
#[test]
fn a_list_by_names_becomes_a_value_for_each_class() {
    let place = classes();
    let mut zip = node("ZipMap", &["p"], "list");
    zip.domain = Some("ai.onnx.ml".into());
    let names = ["cat", "dog", "cow", "hen"].map(|name| name.as_bytes().to_vec().into()).into();
    zip.attribute.push(AttributeProto {
        name: Some("classlabels_strings".into()),
        strings: names,
        r#type: Some(8),
        ..Default::default()
    });
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    let version = adapt::onnx::schema::OperatorSetIdProto { domain: Some("ai.onnx.ml".into()), version: Some(1) };
    model.proto.opset_import.push(version);
    let graph = model.proto.graph.as_mut().unwrap();
    graph.node.extend([node("Softmax", &["logits"], "p"), zip]);
    graph.output = vec![ValueInfoProto {
        name: Some("list".into()),
        r#type: Some(list(TypeProto::default())),
        ..Default::default()
    }];
    place.write("tiny.onnx", model.to_bytes().unwrap());
    let found = inspected(&place, "tiny.onnx");
    assert_eq!((&found["cut"]["tensor"], &found["problems"]), (&json!("features"), &json!([])));
    place.main("").succeeds();
    let run = place.json("out/run.json");
    assert_eq!((&run["plan"]["cut"], &run["plan"]["output"]), (&json!("features"), &json!("list")));
    assert!(run["plan"]["notes"].to_string().contains("'list' gave a list with names"), "{run}");
    place.adapt("predict out/model.onnx data/a/0.png").succeeds();
    place.adapt("predict tiny.onnx data/a/0.png").fails(2, &["'list' holds a list with names"]);
}

#[test]
fn weights_in_constant_nodes_are_counted() {
    let place = classes();
    edit(&place, |graph| {
        let stored: Vec<TensorProto> = std::mem::take(&mut graph.initializer);
        let constant = |tensor: TensorProto| {
            let value = AttributeProto {
                name: Some("value".into()),
                r#type: Some(4),
                t: Some(tensor.clone()),
                ..Default::default()
            };
            NodeProto { attribute: vec![value], ..node("Constant", &[], tensor.name()) }
        };
        graph.node.splice(0..0, stored.into_iter().map(constant));
    });
    let found = inspected(&place, "tiny.onnx");
    assert_eq!((&found["parameters"], &found["training"]["parameters"]), (&json!(168 + 28), &json!(168)));
}
