//! Whoever runs the frozen part: what ONNX Runtime makes of the result, and what errors say.

use super::obstacles::{edit, int, node};
use super::support::Place;
use crate::common::golden;
use adapt::onnx::Model;
use adapt::onnx::data_type;
use adapt::onnx::tensor::{initializer, integers};
use std::fs;

#[test]
fn onnx_runtime_proves_what_tract_made() {
    let place = Place::usual();
    place.main("--engine tract").succeeds();
    assert_eq!(place.json("out/run.json")["plan"]["engine"]["name"], "tract");
    assert_eq!(place.json("out/run.json")["parity"]["engine"], "onnxruntime");
}

#[test]
fn without_onnx_runtime_tract_proves_what_candle_made() {
    let place = Place::usual();
    let mut command = place.command();
    command.env("ORT_DYLIB_PATH", "nowhere.so");
    command.args("--data data --onnx tiny.onnx --out out --engine candle".split_whitespace());
    place.run(&mut command).succeeds();
    assert_eq!(place.json("out/run.json")["plan"]["engine"]["name"], "candle");
    assert_eq!(place.json("out/run.json")["parity"]["engine"], "tract");
}

/// Of a version that ONNX Runtime does not know yet, which tract does not look at.
#[test]
fn what_onnx_runtime_cannot_load_is_told() {
    let place = Place::usual();
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    model.proto.ir_version = Some(99);
    place.write("tiny.onnx", model.to_bytes().unwrap());
    let ran = place.main("--engine ort");
    ran.fails(1, &["tiny.onnx: ONNX Runtime cannot run it: Unsupported model IR version: 99"]);
    let ran = place.main("--engine tract").succeeds();
    assert!(ran.err.contains("ONNX Runtime cannot run it") && ran.err.contains("tract proves"), "{}", ran.err);
    assert_eq!(place.json("out/run.json")["parity"]["engine"], "tract");
}

/// The head of a float64 model, which tract's `Gemm` does not take.
#[test]
fn what_tract_cannot_run_is_told_with_file_node_and_advice() {
    let place = Place::usual();
    edit(&place, |graph| {
        let cast = |input: &str, output: &str, to: i64| {
            let mut cast = node("Cast", &[input], output);
            cast.attribute.push(int("to", to));
            cast
        };
        let [weight, bias] = [("h", &[4, 6][..], 24), ("c", &[4], 4)]
            .map(|(name, shape, count)| initializer(name, shape, (0..count).map(|i| i as f32), data_type::DOUBLE));
        graph.initializer.retain(|tensor| !["h", "c"].contains(&tensor.name()));
        graph.initializer.extend([weight, bias]);
        let gemm = graph.node.iter_mut().find(|node| node.is("Gemm")).unwrap();
        (gemm.input[0], gemm.output[0]) = ("double".into(), "scores".into());
        graph.node.insert(4, cast("features", "double", data_type::DOUBLE.into()));
        graph.node.insert(6, cast("scores", "logits", data_type::FLOAT.into()));
    });
    place.refuses("--engine tract", 1, &["tiny.onnx: tract: node 'adapt.head", "F64", "--engine ort"]);
    place.main("--engine ort").succeeds();
}

#[test]
fn features_of_which_the_image_has_no_part_are_refused() {
    let place = Place::usual();
    edit(&place, |graph| {
        let weight = graph.initializer.iter_mut().find(|t| t.name() == "w").unwrap();
        *weight = initializer("w", &[6, 3, 3, 3], [0.0; 162], data_type::FLOAT);
    });
    let words = ["tiny.onnx: its features at 'features' are the same for all images", "--cut", "--preprocess"];
    place.refuses("", 1, &words);
    edit(&place, |graph| {
        let mut slice = node("Slice", &["features", "zero", "zero", "one"], "nothing");
        slice.input.truncate(4);
        graph.node.truncate(4);
        graph.node.push(slice);
        graph.initializer.extend([integers("zero", &[0]), integers("one", &[1])]);
        graph.output.truncate(1);
        (graph.output[0].name, graph.output[0].r#type) = (Some("nothing".into()), None);
    });
    place.refuses("", 2, &["tiny.onnx: the tensor 'nothing' has shape [1, 0] for one image: no features", "--cut"]);
}

/// A part is refused for what the whole would be, and declares what the original leaves out.
#[test]
fn cut_is_as_strict_as_the_job() {
    let place = Place::usual();
    edit(&place, |graph| {
        let nodes = [node("RandomNormalLike", &["features"], "noise"), node("Add", &["features", "noise"], "noisy")];
        graph.node.splice(4..4, nodes);
        graph.node[6].input[0] = "noisy".into();
    });
    place.adapt("cut tiny.onnx -o part.onnx").fails(1, &["tiny.onnx: what it gives for an image depends on chance"]);
    assert!(!place.path("part.onnx").exists());
    place.refuses("", 1, &["depends on chance"]);
    fs::copy(golden("onnx/size_rank.onnx"), place.path("tiny.onnx")).unwrap();
    place.adapt("cut tiny.onnx -o part.onnx").succeeds();
    let part = Model::open(place.path("part.onnx")).unwrap();
    let (_, shape) = part.graph().input[0].tensor_type().unwrap();
    assert_eq!(shape.unwrap(), [None, Some(3), Some(32), Some(32)]);
}

/// Engines are slow to tell the shapes of thousands of tensors, and no network has so many to choose from.
#[test]
fn a_long_chain_has_no_depths() {
    const NODES: usize = 3000;
    let place = Place::usual();
    let plan = |arguments: &str| {
        let ran = place.main(arguments).succeeds();
        ran.out + &ran.err
    };
    assert!(plan("").contains("depths"));
    edit(&place, |graph| {
        let chain = (0..NODES).map(|i| {
            let before = if i == 0 { "relu".to_string() } else { format!("chain{}", i - 1) };
            node("Relu", &[&before], &format!("chain{i}"))
        });
        graph.node.splice(2..2, chain.collect::<Vec<_>>());
        graph.node[2 + NODES].input[0] = format!("chain{}", NODES - 1);
    });
    assert!(!plan("--force").contains("depths"));
}
