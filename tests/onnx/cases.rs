//! One model for each form of head: where it is cut, and that the adapted model computes the new head on the features.

use crate::common::{golden, onnx_runtime};
use crate::open;
use adapt::engine::Backend;
use adapt::onnx::Model;
use adapt::onnx::cut::Classifier;
use adapt::onnx::schema::{NodeProto, TensorProto, ValueInfoProto, data_type};
use adapt::onnx::surgery::Pooling;
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;
use adapt::train::LinearHead;
use ndarray::{Array1, Array2, ArrayD, Axis};
use serde::Deserialize;
use std::collections::HashSet;

/// What `make_onnx.py` and `make_heads.py` say of a model.
#[derive(Clone, Deserialize)]
struct Case {
    name: String,
    cut: String,
    classifier: Classifier,
    features: Option<usize>,
    /// Features an image, after pooling.
    rows: usize,
    classes: Option<usize>,
    output: String,
    /// The output's name in the adapted model.
    adapted: String,
    rank: usize,
    pooling: String,
    /// Operators kept behind the head.
    tail: Vec<String>,
    batch: Option<usize>,
    /// Places of the nodes before the cut.
    nodes: Vec<usize>,
    /// Names of the initializers that they read.
    initializers: Vec<String>,
    half: bool,
}

const CLASSES: usize = 3;

pub fn values(count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(|i| ((i * 7919 + 13) % 101) as f32 / 50.0 - 1.0)
}

pub fn head(features: usize) -> LinearHead {
    let weight = Array2::from_shape_vec((CLASSES, features), values(CLASSES * features).collect()).unwrap();
    LinearHead { weight, bias: Array1::from_vec(vec![0.25, -0.5, 0.125]) }
}

/// `images` images for the plan's input through a model.
pub fn run(model: &Model, plan: &Plan, backend: &Backend, images: usize) -> ArrayD<f32> {
    let shape = plan.input.shape(images);
    let input = ArrayD::from_shape_vec(shape.to_vec(), values(shape.iter().product()).collect()).unwrap();
    let mut engine = backend.open(model, &[], 1).unwrap_or_else(|error| panic!("{error}"));
    engine.run(input.view()).unwrap_or_else(|error| panic!("{error}")).swap_remove(0)
}

/// Rows of features: the whole original runs with the cut tensor as its output, and all axes but the one with the
/// features are averaged, or its tokens chosen.
pub fn features(original: &Model, plan: &Plan, backend: &Backend, images: usize, count: usize) -> Array2<f32> {
    let mut model = original.clone();
    let output = ValueInfoProto { name: Some(plan.cut.clone()), ..Default::default() };
    model.proto.graph.as_mut().unwrap().output = vec![output];
    let mut found = run(&model, plan, backend, images);
    if let Pooling::Tokens(tokens) = &plan.pooling {
        let places: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
        let chosen = found.select(Axis(1), &places).as_standard_layout().into_owned();
        return chosen.into_shape_with_order((images, count)).unwrap();
    }
    if plan.pooling == Pooling::Flatten {
        return found.into_shape_with_order((images, count)).unwrap();
    }
    while let Some(axis) = (1..found.ndim()).rev().find(|&a| found.len_of(Axis(a)) != count) {
        found = found.mean_axis(Axis(axis)).unwrap();
    }
    let len = found.len() / images;
    found.into_shape_with_order((images, len)).unwrap()
}

fn kind(pooling: &Pooling) -> &'static str {
    match pooling {
        Pooling::None => "none",
        Pooling::Flatten => "flatten",
        Pooling::Mean(_) => "mean",
        Pooling::Tokens(_) => "tokens",
        Pooling::Depths(..) => "depths",
    }
}

fn decided(case: &Case, plan: &Plan, model: &Model) {
    let name = &case.name;
    assert_eq!(plan.cut, case.cut, "{name}");
    assert_eq!(plan.classifier, case.classifier, "{name}");
    assert_eq!((plan.surgery.features, plan.surgery.classes), (case.features, case.classes), "{name}");
    assert_eq!((plan.features, kind(&plan.pooling)), (case.rows, case.pooling.as_str()), "{name}");
    assert_eq!(plan.output, case.output, "{name}");
    assert_eq!(plan.input.batch, case.batch, "{name}");
    let tail: Vec<&str> = plan.surgery.tail.iter().map(|&i| model.graph().node[i].op_type()).collect();
    assert_eq!(tail, case.tail, "{name}");
}

/// A model whose batch became free differs from the original in that alone.
fn as_it_came(case: &Case, model: &Model, original: &Model) {
    if model.proto == original.proto {
        return;
    }
    assert!(case.name.starts_with("batch1"), "{} was changed", case.name);
    let (new, old) = (model.graph(), original.graph());
    let changed: Vec<&NodeProto> = new.node.iter().zip(&old.node).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
    assert!(changed.iter().all(|n| n.is("Constant") && n.output == ["shape"]), "{}", case.name);
    let changed: Vec<&TensorProto> =
        new.initializer.iter().zip(&old.initializer).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
    assert!(changed.iter().all(|t| t.name() == "shape"), "{}", case.name);
    assert_eq!((new.node.len(), new.initializer.len()), (old.node.len(), old.initializer.len()), "{}", case.name);
}

/// What was before the cut is there, in order and equal; behind it is only what surgery made.
fn frozen(case: &Case, model: &Model, adapted: &Model) {
    let (name, old, new) = (&case.name, model.graph(), adapted.graph());
    let nodes: Vec<&NodeProto> = case.nodes.iter().map(|&i| &old.node[i]).collect();
    assert_eq!(new.node.iter().take(nodes.len()).collect::<Vec<_>>(), nodes, "{name}");
    let kept: Vec<&TensorProto> =
        old.initializer.iter().filter(|t| case.initializers.iter().any(|n| n == t.name())).collect();
    assert_eq!(new.initializer.iter().take(kept.len()).collect::<Vec<_>>(), kept, "{name}");
    let names: HashSet<&str> = old.node.iter().flat_map(|n| &n.output).map(String::as_str).collect();
    let names: HashSet<&str> = names.into_iter().chain(old.initializer.iter().map(|t| t.name())).collect();
    for t in &new.initializer[kept.len()..] {
        assert!(
            t.name().starts_with("adapt.") && !names.contains(t.name()),
            "{name}: the initializer {} is left",
            t.name()
        );
    }
    assert!(new.value_info.iter().all(|v| old.value_info.contains(v)), "{name}");
    assert_eq!(adapted.proto.opset_import, model.proto.opset_import, "{name}");
    assert_eq!(adapted.proto.functions, model.proto.functions, "{name}");
}

fn names_are_unique(name: &str, model: &Model) {
    let graph = model.graph();
    let stored = graph.initializer.iter().map(|t| t.name());
    let values = graph.node.iter().flat_map(|n| &n.output).map(String::as_str).filter(|n| !n.is_empty());
    let values: Vec<&str> = values.chain(stored).chain(model.inputs().map(|i| i.name())).collect();
    let nodes: Vec<&str> = graph.node.iter().map(|n| n.name()).filter(|n| !n.is_empty()).collect();
    for names in [values, nodes] {
        let mut seen = HashSet::new();
        names.iter().for_each(|n| assert!(seen.insert(*n), "{name}: '{n}' is there twice"));
    }
}

/// Features, head and kept activation, against the adapted model, at batches of 1 and 3.
pub fn computes(name: &str, original: &Model, plan: &Plan, adapted: &Adapted, rank: usize, tolerance: f32) {
    let backend = onnx_runtime();
    for images in [1, 3] {
        let rows = features(original, plan, &backend, images, plan.features);
        let expected = adapted.activation.apply(adapted.head.logits(rows.view()).unwrap().view());
        let found = run(&adapted.model, plan, &backend, images);
        assert_eq!(found.ndim(), rank, "{name}");
        let found = found.into_shape_with_order((images, CLASSES)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let scale = expected.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let off = expected.iter().zip(&found).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max);
        assert!(off <= tolerance, "{name}, {images} images: {off}");
    }
}

fn check(case: &Case) {
    let original = open(&case.name);
    let mut model = original.clone();
    let made = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent);
    let (plan, _) = made.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    decided(case, &plan, &model);
    as_it_came(case, &model, &original);
    let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap_or_else(|error| panic!("{error}"));
    frozen(case, &model, &adapted.model);
    names_are_unique(&case.name, &adapted.model);
    assert_eq!(adapted.output, case.adapted, "{}", case.name);
    let outputs: Vec<&str> = adapted.model.graph().output.iter().map(|o| o.name()).collect();
    assert_eq!(outputs, [case.adapted.as_str()], "{}", case.name);
    if let Some(dims) = adapted.model.graph().output[0].tensor_type().unwrap().1 {
        assert_eq!(dims.iter().filter(|d| **d == Some(CLASSES as u64)).count(), 1, "{}", case.name);
        assert_eq!(dims.len(), case.rank, "{}", case.name);
    }
    computes(&case.name, &original, &plan, &adapted, case.rank, if case.half { 5e-3 } else { 1e-5 });
}

#[test]
fn every_form_of_head_is_cut_and_replaced() {
    let read = |name: &str| -> Vec<Case> {
        serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let cases = [read("onnx/cases.json"), read("onnx/heads.json")].concat();
    assert!(cases.len() >= 70);
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let result = std::panic::catch_unwind(|| check(case));
            result.err().map(|_| case.name.clone())
        })
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn the_head_has_the_old_heads_type() {
    for (name, expected) in
        [("float16", data_type::FLOAT16), ("softmax_cast", data_type::FLOAT16), ("mlp", data_type::FLOAT)]
    {
        let mut model = open(name);
        let (plan, _) = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent).unwrap();
        let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap();
        let new = adapted.model.graph().initializer.iter().filter(|t| t.name().starts_with("adapt.head."));
        assert_eq!(new.map(|t| t.data_type()).collect::<Vec<_>>(), [expected; 2], "{name}");
    }
}
