//! One small network in the forms that its operators have from opset 7 to 24.

use crate::build::{Graph, Rng, float, int, ints, text};
use crate::common::{onnx_runtime, tract};
use adapt::graph::Program;
use adapt::onnx::schema::AttributeProto;
use adapt::onnx::surgery::{self, Pooling};
use adapt::onnx::{Model, cut};
use adapt::tensor::{Device, Tensor};
use ndarray::ArrayD;
use prost::Message;

/// An operator whose lists of integers were attributes before `since` and are inputs from then on.
fn lists(g: &mut Graph, op: &str, x: &str, since: i64, values: &[(&str, &[i64])], extra: &[AttributeProto]) -> String {
    if g.opset < since {
        let attributes: Vec<_> = values.iter().map(|(name, list)| ints(name, list)).chain(extra.to_vec()).collect();
        return g.node(op, &[x], &attributes);
    }
    let stored: Vec<String> = values.iter().map(|(_, list)| g.integers(list)).collect();
    let inputs: Vec<&str> = [x].into_iter().chain(stored.iter().map(String::as_str)).collect();
    g.node(op, &inputs, extra)
}

fn network(opset: i64) -> Model {
    let mut g = Graph::new(opset as u64);
    g.opset = opset;
    g.input(&[1, 3, 8, 8]);
    let (w, b) = (g.weight(&[6, 3, 3, 3]), g.weight(&[6]));
    let y = g.node("Conv", &["x", &w, &b], &[ints("pads", &[1, 1, 1, 1])]);
    let (scale, bias, mean, variance) = (g.positive(&[6]), g.weight(&[6]), g.weight(&[6]), g.positive(&[6]));
    let y = g.node("BatchNormalization", &[&y, &scale, &bias, &mean, &variance], &[float("epsilon", 0.01)]);
    let y = if opset < 11 {
        g.node("Clip", &[&y], &[float("min", -0.5), float("max", 1.5)])
    } else {
        let (low, high) = (g.values(&[], vec![-0.5]), g.values(&[], vec![1.5]));
        g.node("Clip", &[&y, &low, &high], &[])
    };
    let y = g.node("Dropout", &[&y], &[]);
    let y = g.node("MaxPool", &[&y], &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]);
    let y = lists(&mut g, "Pad", &y, 11, &[("pads", &[0, 0, 1, 0, 0, 0, 0, 2])], &[]);
    let y = lists(&mut g, "Slice", &y, 10, &[("starts", &[0, 1]), ("ends", &[5, 6]), ("axes", &[2, 3])], &[]);
    let factors = [1., 1., 2., 2.];
    let nearest = text("mode", "nearest");
    let scales = if opset < 9 { String::new() } else { g.values(&[4], factors.to_vec()) };
    let y = match opset {
        ..9 => {
            let scales = AttributeProto { floats: factors.to_vec(), r#type: Some(6), ..ints("scales", &[]) };
            g.node("Upsample", &[&y], &[nearest, scales])
        }
        9 => g.node("Upsample", &[&y, &scales], &[nearest]),
        10 => g.node("Resize", &[&y, &scales], &[nearest]),
        _ => {
            let modes = [text("coordinate_transformation_mode", "asymmetric"), text("nearest_mode", "floor")];
            let roi = if opset < 13 { g.values(&[0], vec![]) } else { String::new() };
            g.node("Resize", &[&y, &roi, &scales], &[&[nearest], &modes[..]].concat())
        }
    };
    let y = lists(&mut g, "ReduceMean", &y, 18, &[("axes", &[2, 3])], &[int("keepdims", 1)]);
    let y = lists(&mut g, "Squeeze", &y, 13, &[("axes", &[2, 3])], &[]);
    let (h, c) = (g.weight(&[4, 6]), g.weight(&[4]));
    let y = g.node("Gemm", &[&y, &h, &c], &[int("transB", 1)]);
    let y = g.node("Softmax", &[&y], &[int("axis", 1)]);
    Model::from_bytes("<test>", g.model(&y).proto.encode_to_vec()).unwrap()
}

#[test]
fn every_opset_opens_imports_and_is_adapted() {
    let (runtime, tract) = (onnx_runtime(), tract());
    let values = Rng::new(9).numbers(2 * 3 * 8 * 8);
    let images = ArrayD::from_shape_vec(vec![2, 3, 8, 8], values.clone()).unwrap();
    let tensor = Tensor::from_vec(values, &[2, 3, 8, 8], &Device::Cpu).unwrap();
    for opset in 7..=24 {
        let model = network(opset);
        let run = |backend: &adapt::Backend, model: &Model| {
            let mut engine = backend.open(model, &[], 1).unwrap_or_else(|e| panic!("opset {opset}: {e}"));
            engine.run(images.view()).unwrap().swap_remove(0).into_iter().collect::<Vec<f32>>()
        };
        let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        let expected = run(&runtime, &model);
        assert!(near(&expected, &run(&tract, &model)), "opset {opset}: tract");
        let program = Program::import(&model, &[]).unwrap_or_else(|e| panic!("opset {opset}: {e}"));
        assert_eq!(program.parameters().len(), 6, "opset {opset}");
        let ours = program.forward(&tensor, &program.initial().unwrap()).unwrap();
        assert!(near(&expected, &ours[0].flatten_all().unwrap().to_vec1().unwrap()), "opset {opset}: candle");
        let found = cut::find(model.graph(), None, None).unwrap();
        assert_eq!((found.features, found.classes), (Some(6), Some(4)));
        let adapted = surgery::attach(&model, &found, &Pooling::None, &[0.5; 12], &[0.0, 1.0]);
        assert_eq!((adapted.opset(), adapted.proto.ir_version), (opset, model.proto.ir_version));
        let rows = run(&runtime, &adapted);
        let e = std::f32::consts::E;
        assert!(near(&rows, &[1. / (1. + e), e / (1. + e)].repeat(2)), "opset {opset}: {rows:?}");
    }
}
