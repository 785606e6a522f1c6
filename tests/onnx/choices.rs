//! `--cut` and `--output`: what they choose, and what is said when they cannot.

use crate::cases::{computes, head};
use crate::common::onnx_runtime;
use crate::open;
use adapt::Error;
use adapt::onnx::Model;
use adapt::onnx::cut::{self, Classifier};
use adapt::onnx::surgery::Pooling;
use adapt::plan::{Activation, Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;

fn plan(model: &mut Model, cut: Option<&str>, output: Option<&str>) -> Result<Plan, Error> {
    let options = PlanOptions { cut: cut.map(String::from), output: output.map(String::from), ..Default::default() };
    Plan::make(model, &onnx_runtime(), &options, &silent).map(|(plan, _)| plan)
}

#[test]
fn a_chosen_cut_is_used() {
    // Model, cut, features, pooling, output of the adapted model and its rank, activation.
    let cases = [
        ("gemm_transb1", "map", 6, Pooling::Mean(vec![2, 3]), "logits", 2, Activation::None),
        ("gemm_transb1", "pool", 6, Pooling::Flatten, "logits", 2, Activation::None),
        ("gemm_transb1", "logits", 4, Pooling::None, "logits.2", 2, Activation::None),
        ("softmax", "scores", 4, Pooling::None, "logits", 2, Activation::Softmax),
        ("softmax", "logits", 4, Pooling::None, "logits.2", 2, Activation::None),
        ("conv_rank4_softmax", "map", 6, Pooling::Mean(vec![2, 3]), "logits", 4, Activation::Softmax),
        ("tokens_pool_before", "tokens", 6, Pooling::Mean(vec![1]), "logits", 2, Activation::None),
        ("mlp", "features", 6, Pooling::None, "logits", 2, Activation::None),
        ("nhwc", "map.nhwc", 6, Pooling::Mean(vec![1, 2]), "logits", 2, Activation::Softmax),
        ("softmax_cast", "map", 6, Pooling::Mean(vec![2, 3]), "logits", 2, Activation::Softmax),
        ("mixed_precision", "map", 6, Pooling::Mean(vec![2, 3]), "logits", 2, Activation::None),
    ];
    for (name, tensor, features, pooling, output, rank, activation) in cases {
        let original = open(name);
        let mut model = original.clone();
        let plan = plan(&mut model, Some(tensor), None).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((plan.classifier, plan.cut.as_str()), (Classifier::Chosen, tensor), "{name}");
        assert_eq!((plan.features, &plan.pooling), (features, &pooling), "{name} at {tensor}");
        let adapted = Adapted::new(&model, &plan, &head(features)).unwrap();
        assert_eq!((adapted.output.as_str(), adapted.activation), (output, activation), "{name} at {tensor}");
        computes(name, &original, &plan, &adapted, rank, 5e-3);
    }
}

#[test]
fn a_chosen_output_is_adapted() {
    let original = open("auxiliary");
    for (output, cut) in [("aux", "side.features"), ("logits", "features")] {
        let mut model = original.clone();
        let plan = plan(&mut model, None, Some(output)).unwrap();
        assert_eq!((plan.output.as_str(), plan.cut.as_str()), (output, cut));
        let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap();
        assert_eq!(adapted.output, output);
        computes(output, &original, &plan, &adapted, 2, 1e-5);
    }
    // A cut alone decides too: only one output hangs on it.
    let mut model = original.clone();
    assert_eq!(plan(&mut model, Some("side.pool"), None).unwrap().output, "aux");
    // Both do; that with most nodes is the main one.
    assert_eq!(plan(&mut model, Some("map"), None).unwrap().output, "logits");
}

/// Any tensor that a node computes may be the output; the head ahead of it is found as for an output.
#[test]
fn an_inner_tensor_can_be_the_output() {
    let cases = [("softmax_cast", "scores", "features", 6, 5e-3), ("mlp", "hidden", "features", 6, 1e-5)];
    for (name, output, cut, features, tolerance) in cases {
        let original = open(name);
        let mut model = original.clone();
        let plan = plan(&mut model, None, Some(output)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((plan.output.as_str(), plan.cut.as_str(), plan.features), (output, cut, features), "{name}");
        let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap();
        assert_eq!((adapted.output.as_str(), adapted.activation), (output, Activation::None), "{name}");
        computes(name, &original, &plan, &adapted, 2, tolerance);
    }
}

#[test]
fn what_cannot_be_chosen_is_explained() {
    let cases = [
        ("auxiliary", None, Some("logit"), "no output 'logit'; did you mean 'logits'?; its outputs: aux, logits"),
        ("auxiliary", None, Some("zzzz"), "no output 'zzzz'; its outputs: aux, logits"),
        ("auxiliary", Some("featuers"), None, "computes a tensor 'featuers'; did you mean 'features'?"),
        (
            "auxiliary",
            Some("x"),
            None,
            "'x' is the model's input or stored in it; choose a tensor that a node computes",
        ),
        (
            "auxiliary",
            Some("w2"),
            None,
            "'w2' is the model's input or stored in it; choose a tensor that a node computes",
        ),
        ("auxiliary", Some(""), None, "no node of the model computes a tensor ''"),
        ("auxiliary", Some("map2"), Some("aux"), "the output 'aux' does not depend on the tensor 'map2'"),
        ("dropout_last", Some("mask"), None, "no output depends on the tensor 'mask'"),
        ("weight_constant", Some("h"), None, "does not depend on the image"),
    ];
    for (name, cut, output, expected) in cases {
        let error = plan(&mut open(name), cut, output).expect_err(expected);
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn candidates_are_listed_from_the_output_inwards() {
    let list = |name: &str| {
        let found = cut::candidates(open(name).graph(), open(name).graph().output.last().unwrap().name());
        found.into_iter().map(|c| (c.tensor, c.classifier)).collect::<Vec<_>>()
    };
    let linear = |tensor: &str| (tensor.to_string(), Classifier::Linear);
    assert_eq!(list("mlp"), [linear("active"), linear("features")]);
    assert_eq!(list("embedding_face"), [("normed".into(), Classifier::None), linear("features")]);
    assert_eq!(list("scores_normed"), [linear("features")]);
    assert_eq!(list("embedding_mobile"), [("features".into(), Classifier::None), ("map".into(), Classifier::Conv)]);
    assert_eq!(list("feature_map"), [("map".into(), Classifier::None)]);
}
