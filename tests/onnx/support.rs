//! What the tests of normalising share.

use crate::build::Rng;
use crate::common::onnx_runtime;
use adapt::Backend;
use adapt::onnx::schema::*;
use adapt::onnx::{Model, normalize};
use ndarray::ArrayD;
use std::sync::LazyLock;

pub static RUNTIME: LazyLock<Backend> = LazyLock::new(onnx_runtime);

pub fn run(backend: &Backend, model: &Model, shape: &[usize]) -> Vec<ArrayD<f32>> {
    let input = ArrayD::from_shape_vec(shape.to_vec(), Rng::new(5).numbers(shape.iter().product())).unwrap();
    let mut engine = backend.open(model, &[], 1).unwrap_or_else(|error| panic!("{error}"));
    engine.run(input.view()).unwrap_or_else(|error| panic!("{error}"))
}

/// The largest difference of the outputs, relative to the largest value.
pub fn difference(a: &[ArrayD<f32>], b: &[ArrayD<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let one = |(a, b): (&ArrayD<f32>, &ArrayD<f32>)| {
        assert_eq!(a.shape(), b.shape());
        let scale = a.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs() / scale))
    };
    a.iter().zip(b).map(one).fold(0.0, f32::max)
}

/// The model after a step; ONNX Runtime says that it still computes the same.
pub fn after(step: normalize::Step, model: &Model, shape: &[usize]) -> Model {
    let mut changed = model.clone();
    step(&mut changed.proto).unwrap();
    assert_ne!(changed.proto, model.proto);
    let far = difference(&run(&RUNTIME, model, shape), &run(&RUNTIME, &changed, shape));
    assert!(far < 1e-6, "{far}");
    changed
}

pub fn graph(model: &mut Model) -> &mut GraphProto {
    model.proto.graph.as_mut().unwrap()
}

pub fn operators(model: &Model) -> Vec<&str> {
    model.graph().node.iter().map(|node| node.op_type()).collect()
}

pub fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let input = inputs.iter().map(|i| i.to_string()).collect();
    NodeProto { op_type: Some(op.into()), input, output: vec![output.into()], attribute, ..Default::default() }
}

pub fn tensor_attribute(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto { name: Some(name.into()), t: Some(tensor), r#type: Some(4), ..Default::default() }
}

pub fn branch(output: &str, node: NodeProto) -> GraphProto {
    let output = vec![ValueInfoProto { name: Some(output.into()), ..Default::default() }];
    GraphProto { name: Some("branch".into()), node: vec![node], output, ..Default::default() }
}

pub fn choice(condition: &str, output: &str, branches: [GraphProto; 2]) -> NodeProto {
    let attributes = ["then_branch", "else_branch"].into_iter().zip(branches);
    let attributes = attributes.map(|(name, g)| AttributeProto {
        name: Some(name.into()),
        g: Some(g),
        r#type: Some(5),
        ..Default::default()
    });
    node("If", &[condition], output, attributes.collect())
}
