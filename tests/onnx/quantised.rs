//! Models in the QOperator format: the classifier on bytes is found, and the new head reads what the bytes stand for.

use crate::cases::{head, run};
use crate::common::onnx_runtime;
use crate::open;
use adapt::engine::Backend;
use adapt::onnx::Model;
use adapt::onnx::cut::Classifier;
use adapt::onnx::schema::ValueInfoProto;
use adapt::onnx::surgery::Pooling;
use adapt::onnx::tensor::{floats, raw_bytes};
use adapt::onnx::{cut, data_type};
use adapt::plan::{Activation, Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;
use ndarray::{Array2, ArrayD, Axis};

const IMAGES: usize = 3;

/// The tensor's bytes by ONNX Runtime, and what they stand for, as rows of features.
fn dequantised(model: &Model, plan: &Plan, backend: &Backend, [scale, zero_point]: [&str; 2]) -> Array2<f32> {
    let mut whole = model.clone();
    let output = ValueInfoProto { name: Some(plan.cut.clone()), ..Default::default() };
    whole.proto.graph.as_mut().unwrap().output = vec![output];
    let bytes = run(&whole, plan, backend, IMAGES);
    let stored = |name: &str| model.graph().initializer.iter().find(|t| t.name() == name).unwrap();
    let (scale, zero) = (floats(stored(scale)).unwrap()[0], stored(zero_point));
    let byte = raw_bytes(zero).unwrap()[0];
    let zero = if zero.data_type() == data_type::INT8 { f32::from(byte as i8) } else { f32::from(byte) };
    let mut found: ArrayD<f32> = bytes.mapv(|byte| (byte - zero) * scale);
    while found.ndim() > 2 {
        found = found.mean_axis(Axis(found.ndim() - 1)).unwrap();
    }
    let features = found.len() / IMAGES;
    found.into_shape_with_order((IMAGES, features)).unwrap()
}

#[test]
fn a_head_on_bytes_is_replaced_by_one_on_floats() {
    let backend = onnx_runtime();
    let (pool, conv) = (["pool_scale", "pool_zero_point"], ["conv_scale", "conv_zero_point"]);
    use Classifier::{Chosen, Conv, Linear, None as Nothing};
    let mean = Pooling::Mean(vec![2, 3]);
    for (name, at, tensor, scales, classifier, pooling, activation) in [
        ("gemm", None, "features_quantized", pool, Linear, Pooling::None, Activation::None),
        ("int8", None, "features_quantized", pool, Linear, Pooling::None, Activation::None),
        ("matmul", None, "features_quantized", pool, Linear, Pooling::None, Activation::None),
        ("softmax", None, "features_quantized", pool, Linear, Pooling::None, Activation::Softmax),
        ("conv", None, "pool_quantized", pool, Conv, Pooling::Flatten, Activation::None),
        ("conv_first", None, "conv_quantized", conv, Conv, mean.clone(), Activation::None),
        ("joined", None, "features_quantized", pool, Linear, Pooling::None, Activation::None),
        ("embedding", None, "features_quantized", pool, Nothing, Pooling::None, Activation::Sigmoid),
        ("gemm", Some("conv_quantized"), "conv_quantized", conv, Chosen, mean, Activation::None),
        ("gemm", Some("pool_quantized"), "pool_quantized", pool, Chosen, Pooling::Flatten, Activation::None),
    ] {
        let mut model = open(&format!("qoperator_{name}"));
        let options = PlanOptions { cut: at.map(String::from), ..Default::default() };
        let (plan, mut extractor) = Plan::make(&mut model, &backend, &options, &silent).unwrap();
        assert_eq!((plan.cut.as_str(), plan.classifier, &plan.pooling), (tensor, classifier, &pooling), "{name}");
        if !matches!(classifier, Chosen | Nothing) {
            assert_eq!((plan.surgery.features, plan.surgery.classes), (Some(6), Some(4)), "{name}");
        }
        let features = dequantised(&model, &plan, &backend, scales);
        assert!(features.iter().any(|v| *v != features[[0, 0]]), "{name}");
        let shape = plan.input.shape(IMAGES);
        let images = ArrayD::from_shape_vec(shape.to_vec(), crate::cases::values(shape.iter().product()).collect());
        let found = extractor.engine().run(images.unwrap().view()).unwrap().swap_remove(0);
        assert!(found.iter().zip(&features).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
        let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap();
        assert_eq!(adapted.activation, activation.exclusive(), "{name}");
        let expected = adapted.activation.apply(head(plan.features).logits(features.view()).unwrap().view());
        let output = run(&adapted.model, &plan, &backend, IMAGES);
        assert_eq!(output.ndim(), if name == "conv" { 4 } else { 2 }, "{name}");
        assert!(output.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{name}: {output} {expected}");
        // Nothing on bytes is left behind the cut.
        let own = adapted.model.graph().node.iter().filter(|node| node.name().starts_with("adapt."));
        assert_eq!(own.filter(|node| node.is("DequantizeLinear")).count(), 1, "{name}");
        assert!(adapted.model.graph().node.iter().all(|node| node.op_type() != "QGemm"), "{name}");
    }
}

/// Where the old classifier alone reads its input's scale, and a node makes it.
#[test]
fn a_scale_that_a_node_makes_comes_along() {
    let backend = onnx_runtime();
    let mut model = open("qoperator_gemm");
    let graph = model.proto.graph.as_mut().unwrap();
    let gemm = graph.node.iter().position(|node| node.op_type() == "QGemm").unwrap();
    graph.node[gemm].input[1] = "own.scale".into();
    let input = vec!["pool_scale".into()];
    let (op_type, output) = (Some("Identity".into()), vec!["own.scale".into()]);
    let identity = adapt::onnx::schema::NodeProto { op_type, input, output, ..Default::default() };
    graph.node.insert(0, identity);
    let plan = Plan::make(&mut model, &backend, &PlanOptions::default(), &silent).unwrap().0;
    let adapted = Adapted::new(&model, &plan, &head(6)).unwrap();
    assert_eq!(plan.surgery.dequantize.as_ref().unwrap().scale, "own.scale");
    assert_eq!(run(&adapted.model, &plan, &backend, IMAGES).shape(), [IMAGES, 3]);
}

/// What carries only the name of such an operator, of a domain that nobody knows.
#[test]
fn operators_of_other_domains_are_not_taken_for_these() {
    let mut model = open("qoperator_gemm");
    for node in &mut model.proto.graph.as_mut().unwrap().node {
        node.domain = Some("somebody".into()).filter(|_| node.op_type() == "QGemm");
    }
    let found = cut::find(model.graph(), None, None).unwrap();
    assert_eq!((found.tensor.as_str(), found.classifier, found.dequantize), ("logits", Classifier::None, None));
}
