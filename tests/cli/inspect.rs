//! What is said of a model: shapes, sizes, what can be trained, what is wrong.

use super::obstacles::{int, node};
use super::parts::{inspected, place};
use super::support::Place;
use crate::common::golden;
use adapt::onnx::Model;
use adapt::onnx::schema::{AttributeProto, NodeProto, TensorProto, data_type};
use adapt::onnx::tensor::{initializer, integers};
use serde_json::json;
use std::fs;

#[test]
fn inspect_tells_shapes_and_what_can_be_trained() {
    let place = place();
    let found = inspected(&place, "tiny.onnx");
    let first = &found["candidates"][0];
    assert_eq!((&first["tensor"], &first["shape"]), (&json!("features"), &json!(["N", "6"])));
    // 4 x 6 weights and 4 biases behind it, 6 x 3 x 3 x 3 and 6 ahead.
    assert_eq!(first["parameters_behind"], 28);
    assert_eq!(found["training"], json!({ "inside": "all", "parameters": 168, "obstacles": [] }));

    let found = inspected(&place, "parts/dft.onnx");
    assert_eq!(found["training"]["inside"], json!({ "from": "spectrum" }));
    let obstacle = &found["training"]["obstacles"][0];
    assert_eq!((&obstacle["node"], &obstacle["operator"]), (&json!("dft"), &json!("DFT")));
    assert_eq!((&found["training"]["parameters"], &found["problems"]), (&json!(48), &json!([])));
    let text = place.adapt("inspect parts/dft.onnx").succeeds().out;
    assert!(text.contains("follows the tensor 'spectrum'") && text.contains("node 'dft' (DFT)"), "{text}");
    // A head needs none of it.
    fs::copy(place.path("parts/dft.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("").succeeds();

    let found = refused(&place, "parts/custom.onnx", "Frobnicate");
    assert_eq!(found["training"]["inside"], json!({ "from": "middle" }));
    assert_eq!(found["training"]["obstacles"][0]["operator"], "com.example.Frobnicate");
    assert_eq!(found["candidates"][0]["shape"], json!(["N", "8"]));
}

/// What is told of a model that ends with an error with these words.
fn refused(place: &Place, file: &str, words: &str) -> serde_json::Value {
    let ran = place.adapt(&format!("inspect {file} --json"));
    assert!(ran.code == Some(1) && ran.err.starts_with("error: ") && ran.err.contains(words), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// `tiny.onnx` with further nodes ahead of one that reads `tensor`, which then reads the last one's output.
fn with_nodes(place: &Place, tensor: &str, nodes: &[(&str, &[&str], &str)], stored: Vec<TensorProto>) {
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    let graph = model.proto.graph.as_mut().unwrap();
    let reader = graph.node.iter().position(|node| node.input[0] == tensor).unwrap();
    graph.node[reader].input[0] = nodes.last().unwrap().2.into();
    let made = nodes.iter().map(|(operator, inputs, output)| NodeProto {
        op_type: Some(operator.to_string()),
        name: Some(output.to_string()),
        input: inputs.iter().map(|input| input.to_string()).collect(),
        output: vec![output.to_string()],
        ..Default::default()
    });
    graph.node.splice(reader..reader, made);
    graph.initializer.extend(stored);
    place.write("other.onnx", model.to_bytes().unwrap());
}

#[test]
fn inspect_counts_the_weights_that_training_changes() {
    let place = place();
    // A scale of each channel behind a weight is one; a constant before all weights, and a number, are none.
    let scale = initializer("scale", &[1, 6, 1, 1], [2.0; 6], data_type::FLOAT);
    let number = initializer("number", &[1], [2.0], data_type::FLOAT);
    let nodes: [(&str, &[&str], &str); 2] =
        [("Mul", &["relu", "scale"], "scaled"), ("Mul", &["scaled", "number"], "twice")];
    with_nodes(&place, "relu", &nodes, vec![scale, number]);
    let found = inspected(&place, "other.onnx");
    assert_eq!((&found["training"]["parameters"], &found["parameters"]), (&json!(168 + 6), &json!(168 + 28 + 6 + 1)));
}

#[test]
fn inspect_tells_shapes_past_what_cannot_be_imported() {
    let place = place();
    let scale = || initializer("s", &[], [0.01], data_type::FLOAT);
    let nodes: [(&str, &[&str], &str); 2] =
        [("QuantizeLinear", &["x", "s"], "q"), ("DequantizeLinear", &["q", "s"], "dq")];
    with_nodes(&place, "x", &nodes, vec![scale()]);
    let found = inspected(&place, "other.onnx");
    assert_eq!(found["candidates"][0]["shape"], json!(["N", "6"]));
    assert_eq!(found["training"]["inside"], json!({ "from": "dq" }));
    assert_eq!(found["training"]["parameters"], 168);
    let text = place.adapt("inspect other.onnx").succeeds().out;
    assert!(text.contains("follows the tensor 'dq' (168 parameters)"), "{text}");
    assert!(text.contains("not trainable  node 'q' (QuantizeLinear): it is quantized"), "{text}");
    // Nothing is known behind this one, but the layer that takes rows of six.
    with_nodes(&place, "features", &[("Frobnicate", &["features"], "odd")], Vec::new());
    let found = refused(&place, "other.onnx", "Frobnicate");
    assert_eq!((&found["cut"]["tensor"], &found["candidates"][0]["shape"]), (&json!("odd"), &json!(["N", "6"])));
    let text = place.adapt("inspect other.onnx").out;
    assert!(text.contains("training does not know this operator") && text.contains("it stays as it is"), "{text}");
}

#[test]
fn inspect_finds_the_size_and_the_problems_that_a_plan_would() {
    let place = place();
    for name in ["size_open", "size_rank", "size_side"] {
        fs::copy(golden(&format!("onnx/{name}.onnx")), place.path("tiny.onnx")).unwrap();
        let found = inspected(&place, "tiny.onnx");
        assert_eq!((&found["input"]["height"], &found["input"]["width"]), (&json!(32), &json!(32)), "{name}");
        assert_eq!(found["candidates"][0]["shape"], json!(["N", "6144"]), "{name}");
        place.main("--force").succeeds();
        assert_eq!(found["notes"], place.json("out/run.json")["plan"]["notes"], "{name}");
    }
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    let graph = model.proto.graph.as_mut().unwrap();
    graph.node.iter_mut().find(|node| node.is("Conv")).unwrap().input[0] = "image".into();
    graph.initializer.push(initializer("image", &[1, 3, 8, 8], [0.5; 192], data_type::FLOAT));
    place.write("constant.onnx", model.to_bytes().unwrap());
    // Twelve GiB for an image.
    let times = adapt::onnx::tensor::integers("times", &[1, 1, 1 << 12, 1 << 12]);
    with_nodes(&place, "x", &[("Tile", &["x", "times"], "tiled")], vec![times]);
    fs::rename(place.path("other.onnx"), place.path("vast.onnx")).unwrap();
    let newer = |change: &dyn Fn(&mut Model)| {
        let mut model = Model::open(golden("tiny.onnx")).unwrap();
        change(&mut model);
        model.to_bytes().unwrap()
    };
    place.write("ir99.onnx", newer(&|model| model.proto.ir_version = Some(99)));
    let no_groups = |node: &mut NodeProto| {
        node.attribute.retain(|a| a.name() != "group");
        node.attribute.push(int("group", 0));
    };
    let edited = |model: &mut Model| {
        let nodes = &mut model.proto.graph.as_mut().unwrap().node;
        no_groups(nodes.iter_mut().find(|node| node.is("Conv")).unwrap());
    };
    place.write("group0.onnx", newer(&edited));
    for (file, words) in [
        ("ir99.onnx", "Unsupported model IR version: 99"),
        ("group0.onnx", "group"),
        ("constant.onnx", "does not depend on the image"),
        ("opset6.onnx", "its opset is 6"),
        ("vast.onnx", "node tiled (Tile): it makes a tensor of shape [1, 3, 32768, 32768], which is too large"),
    ] {
        if file == "opset6.onnx" {
            fs::copy(golden("onnx/opset6.onnx"), place.path(file)).unwrap();
        }
        let ran = place.adapt(&format!("inspect {file} --json"));
        let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert!(ran.err.starts_with("error: ") && ran.err.contains(words), "{}", ran.err);
        assert!(found["problems"][0].as_str().unwrap().contains(words), "{found}");
        let refused = place.adapt(&format!("--data data --onnx {file} --out no"));
        assert!(refused.code != Some(0) && refused.err.contains(words), "{}", refused.err);
        assert_eq!(refused.code, ran.code, "{file}");
    }
}

/// A table of positions fits images of one size alone, which is no usual one here: the importer follows shapes past others.
#[test]
fn inspect_finds_the_size_that_a_table_of_positions_fits() {
    let place = place();
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    model.proto.opset_import[0].version = Some(17);
    let graph = model.proto.graph.as_mut().unwrap();
    let list = |name: &str, values: &[i64]| AttributeProto {
        name: Some(name.into()),
        ints: values.to_vec(),
        r#type: Some(7),
        ..Default::default()
    };
    let with = |node: NodeProto, attributes: Vec<AttributeProto>| NodeProto { attribute: attributes, ..node };
    graph.node = vec![
        with(node("Conv", &["x", "patches"], "map"), vec![list("strides", &[8, 8])]),
        node("Reshape", &["map", "rows"], "flat"),
        with(node("Transpose", &["flat"], "tokens"), vec![list("perm", &[0, 2, 1])]),
        node("Add", &["tokens", "positions"], "placed"),
        node("LayerNormalization", &["placed", "scale"], "normed"),
        with(node("ReduceMean", &["normed"], "mean"), vec![list("axes", &[1]), int("keepdims", 0)]),
        node("MatMul", &["mean", "last"], "logits"),
    ];
    let stored = |name: &str, dims: &[usize]| {
        let values = (0..dims.iter().product()).map(|i: usize| (i * 37 % 101) as f32 / 100.0);
        initializer(name, dims, values, data_type::FLOAT)
    };
    graph.initializer = vec![
        stored("patches", &[16, 3, 8, 8]),
        integers("rows", &[0, 16, -1]),
        stored("positions", &[1, 225, 16]),
        stored("scale", &[16]),
        stored("last", &[16, 4]),
    ];
    graph.output.truncate(1);
    graph.value_info.clear();
    let image = graph.input[0].r#type.as_mut().and_then(|t| t.tensor_type.as_mut()?.shape.as_mut()).unwrap();
    image.dim[2..].iter_mut().for_each(|dim| dim.value = None);
    place.write("tiny.onnx", model.to_bytes().unwrap());
    let found = inspected(&place, "tiny.onnx");
    assert_eq!((&found["input"]["height"], &found["input"]["width"]), (&json!(120), &json!(120)));
    assert_eq!(found["training"]["inside"], "all");
    place.main("--force").succeeds();
    assert_eq!(found["notes"], place.json("out/run.json")["plan"]["notes"]);
}
