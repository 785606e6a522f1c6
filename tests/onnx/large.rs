//! Models beyond protobuf's limit, for which a smaller one stands here: two files, written and read. Large maps and images.

use crate::build::{Graph, ints};
use crate::common::{golden, onnx_runtime};
use crate::open;
use adapt::graph::{self, Part};
use adapt::onnx::schema::ModelProto;
use adapt::onnx::surgery::{self, symbol, tensor_type};
use adapt::onnx::{Model, data_type, weights};
use adapt::plan::{self, Plan, PlanOptions};
use adapt::progress::silent;
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
    graph.node[0].attribute.push(ints("pads", &[15, 15, 15, 15]));
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

/// A convolution of many maps, and what pools them.
fn maps(dims: [Option<i64>; 4], maps: usize, stride: i64) -> Model {
    let mut g = Graph::new(2);
    g.input(&[1, 3, 1, 1]);
    let (conv, head) = (g.weight(&[maps, 3, 3, 3]), g.weight(&[maps, 4]));
    let y = g.node("Conv", &["x", &conv], &[ints("pads", &[1, 1, 1, 1]), ints("strides", &[stride, stride])]);
    let y = g.node("GlobalAveragePool", &[&y], &[]);
    let y = g.node("Flatten", &[&y], &[]);
    let y = g.node("MatMul", &[&y, &head], &[]);
    let mut model = g.model(&y);
    let dims = dims.map(|size| size.map_or_else(|| symbol("any"), surgery::size)).to_vec();
    model.proto.graph.as_mut().unwrap().input[0].r#type = Some(tensor_type(data_type::FLOAT, dims));
    model
}

#[test]
fn large_maps_and_batches_run() {
    let backend = onnx_runtime();
    // How many images are run at once hangs on their size, wherever that is said.
    let at_once = |dims, shape: &[Option<usize>]| backend.open(&maps(dims, 64, 1), shape, 1).unwrap().at_once();
    let (open, sides) = ([None, Some(3), None, None], |side| [None, Some(3), Some(side), Some(side)]);
    assert_eq!(at_once(sides(512), &[]), 4);
    assert_eq!(at_once(open, &sides(512).map(|side| side.map(|n| n as usize))), 4);
    assert_eq!(at_once(open, &sides(32).map(|side| side.map(|n| n as usize))), 8);
    // What a machine may hold is not refused, what none does is.
    for (model, fits) in [
        (maps([Some(128), Some(3), Some(224), Some(224)], 64, 1), true),
        (maps([None, Some(3), Some(1700), Some(1700)], 96, 1), true),
        (maps([None, Some(3), Some(8192), Some(8192)], 96, 1), false),
    ] {
        let opened = backend.open(&model, &[], 1).map(drop);
        let settled = plan::settle(&mut model.clone(), &PlanOptions::default(), |_, _, _| true).map(drop);
        for found in [opened, settled] {
            let told = found.as_ref().map_err(|error| error.to_string());
            assert!(told.is_ok() == fits && told.err().is_none_or(|told| told.contains("too large")), "{fits}");
        }
    }
}

/// As many images as a file insists on are looked at one by one.
#[test]
fn a_large_fixed_batch_can_be_trained() {
    let model = maps([Some(128), Some(3), Some(224), Some(224)], 64, 1);
    let found = graph::trainable(&model, &[]);
    assert_eq!((found.part, found.obstacles), (Part::All, vec![]));
}

/// Three of them would take more memory than whether they can be run together is worth.
#[test]
fn a_fixed_batch_of_large_images_stays() {
    let mut model = maps([Some(1), Some(3), Some(1400), Some(1400)], 4, 32);
    let plan = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent).unwrap().0;
    assert_eq!(plan.input.batch, Some(1));
    assert!(plan.notes.iter().any(|note| note.contains("too large to try others with")), "{:?}", plan.notes);
}
