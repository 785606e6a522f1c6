//! Models beyond protobuf's limit, for which a smaller one stands here: two files, written and read.

use crate::common::{golden, onnx_runtime};
use crate::open;
use adapt::onnx::schema::ModelProto;
use adapt::onnx::{Model, weights};
use ndarray::ArrayD;
use prost::Message;
use std::fs;

#[test]
fn weights_that_do_not_fit_lie_beside_the_model() {
    let model = adapt::builtin().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.onnx");
    model.save_within(&path, 1 << 20).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
    let proto = ModelProto::decode(&fs::read(&path).unwrap()[..]).unwrap();
    let beside = proto.graph.as_ref().unwrap().initializer.iter().filter(|t| t.data_location() == 1);
    for tensor in beside.clone() {
        let entry = |key| tensor.external_data.iter().find(|e| e.key() == key).unwrap().value().to_owned();
        assert_eq!((entry("location").as_str(), entry("offset").parse::<u64>().unwrap() % 4096), ("big.onnx.data", 0));
    }
    assert!(beside.count() > 50);
    let again = Model::open(&path).unwrap();
    assert!(again.proto == model.proto, "read back it is the same");
    // Where one file can hold it, one does, whatever it came from.
    let whole = folder.path().join("whole.onnx");
    again.save(&whole).unwrap();
    assert!(fs::read(&whole).unwrap() == model.to_bytes().unwrap());
    assert!(!folder.path().join("whole.onnx.data").exists());
}

#[test]
fn values_that_are_not_raw_are_written_too() {
    let mut model = open("mlp");
    let safetensors = weights::to_safetensors(&model).unwrap();
    for tensor in &mut model.proto.graph.as_mut().unwrap().initializer {
        tensor.dims = vec![512];
        (tensor.float_data, tensor.raw_data) = ((0..512).map(|i| i as f32).collect(), None);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    model.save_within(&path, 4000).unwrap();
    let again = Model::open(&path).unwrap();
    assert_eq!(weights::to_safetensors(&again).unwrap(), weights::to_safetensors(&model).unwrap());
    assert_ne!(weights::to_safetensors(&again).unwrap(), safetensors);
    let error = model.save_within(&path, 10).unwrap_err().to_string();
    assert!(error.contains("without its weights"), "{error}");
}

#[test]
fn what_was_written_as_two_files_computes_the_same() {
    let model = Model::open(golden("tiny.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.onnx");
    let mut wide = model.clone();
    let graph = wide.proto.graph.as_mut().unwrap();
    // Large enough to be moved.
    let many = adapt::onnx::tensor::initializer("w", &[6, 3, 30, 30], (0..16_200).map(|i| (i % 7) as f32 * 0.01), 1);
    *graph.initializer.iter_mut().find(|t| t.name() == "w").unwrap() = many;
    graph.node[0].attribute.clear();
    graph.node[0].attribute.push(crate::build::ints("pads", &[15, 15, 15, 15]));
    wide.save_within(&path, 4000).unwrap();
    let backend = onnx_runtime();
    let input = ArrayD::from_shape_fn(vec![2, 3, 8, 8], |at| (at[2] * 7 + at[3]) as f32 * 0.1);
    let run = |model: &Model| backend.open(model, &[], 1).unwrap().run(input.view()).unwrap();
    assert_eq!(run(&Model::open(&path).unwrap()), run(&wide));
}

#[test]
fn values_of_constant_nodes_can_be_merged() {
    let mut model = open("weight_constant");
    let name = model.graph().node.iter().find(|n| n.is("Constant")).unwrap().output[0].clone();
    let mut stored = open("weight_constant");
    adapt::onnx::normalize::constants::store(&mut stored.proto).unwrap();
    let tensor = stored.proto.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name() == name).unwrap();
    tensor.raw_data = tensor.raw_data.as_ref().map(|raw| vec![0; raw.len()].into());
    let file = weights::to_safetensors(&stored).unwrap().into();
    assert!(weights::merge(&mut model, &file).unwrap().changed);
    let node = model.graph().node.iter().find(|n| n.output[0] == name).unwrap();
    assert!(node.attr("value").unwrap().t.as_ref().unwrap().raw_data.as_ref().unwrap().iter().all(|byte| *byte == 0));
}
