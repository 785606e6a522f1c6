//! What a plan finds out by trying: the batch that works, the head's type, and that the adapted model runs at all; and
//! what it reads from the graph where nothing can be tried.

use crate::build::int;
use crate::cases::{computes, features, head};
use crate::common::{golden, onnx_runtime, tract};
use crate::open;
use crate::support::node;
use adapt::Error;
use adapt::data::{Color, Layout, Task};
use adapt::engine::Backend;
use adapt::onnx::cut::Classifier;
use adapt::onnx::schema::{ValueInfoProto, data_type};
use adapt::onnx::surgery::Pooling;
use adapt::onnx::tensor::{initializer, integers};
use adapt::onnx::{Model, batch};
use adapt::plan::{Activation, Plan, PlanOptions, Trained, probe};
use adapt::progress::silent;
use adapt::report::Adapted;

fn plan_in(backend: &Backend, model: &mut Model, cut: Option<&str>) -> Result<Plan, Error> {
    let options = PlanOptions { cut: cut.map(String::from), ..Default::default() };
    Plan::make(model, backend, &options, &silent).map(|(plan, _)| plan)
}

fn plan(name: &str, cut: Option<&str>) -> (Model, Plan) {
    let mut model = open(name);
    let plan = plan_in(&onnx_runtime(), &mut model, cut).unwrap_or_else(|error| panic!("{name}: {error}"));
    (model, plan)
}

fn adapted(model: &Model, plan: &Plan) -> Adapted {
    Adapted::new(model, plan, &head(plan.features)).unwrap_or_else(|error| panic!("{error}"))
}

fn first_dims(model: &Model) -> [Option<u64>; 2] {
    [&model.graph().input[0], &model.graph().output[0]].map(|info| info.tensor_type().unwrap().1.unwrap()[0])
}

#[test]
fn a_batch_that_is_only_declared_free_becomes_free() {
    for name in ["free_rest", "free_width"] {
        let (model, plan) = plan(name, None);
        assert_eq!((plan.input.batch, plan.features), (None, 6), "{name}");
        assert!(plan.notes.iter().any(|n| n.contains("insisted on single images")), "{name}: {:?}", plan.notes);
        let adapted = adapted(&model, &plan);
        assert_eq!(first_dims(&adapted.model), [None; 2], "{name}");
        computes(name, &model, &plan, &adapted, 2, 1e-5);
        let alone = features(&open(name), &plan, &onnx_runtime(), 1, 6);
        let together = features(&model, &plan, &onnx_runtime(), 3, 6);
        assert!(alone.row(0).iter().zip(together.row(0)).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
    }
}

#[test]
fn a_batch_that_cannot_become_free_is_fixed() {
    let (model, plan) = plan("free_stuck", None);
    assert_eq!(plan.input.batch, Some(1));
    assert!(plan.notes.iter().any(|n| n.contains("now fixed at 1")), "{:?}", plan.notes);
    let adapted = adapted(&model, &plan);
    assert_eq!(first_dims(&adapted.model), [Some(1); 2]);
    computes("free_stuck", &model, &plan, &adapted, 2, 1e-5);
}

/// tract runs one image at a time, whatever the file says.
#[test]
fn tract_takes_them_as_they_are() {
    for name in ["free_rest", "free_width", "free_stuck", "gemm_transb1", "einsum_softmax", "qdq"] {
        let plan = plan_in(&tract(), &mut open(name), None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(plan.features, if name == "einsum_softmax" { 4 } else { 6 }, "{name}");
    }
}

#[test]
fn what_cannot_run_is_the_plans_error() {
    let cases =
        [("free_pairs", "Concat"), ("int_features", "int32"), ("opset6", "its opset is 6; the new head needs 7")];
    for (name, expected) in cases {
        let error = plan_in(&onnx_runtime(), &mut open(name), None).expect_err(name).to_string();
        assert!(error.contains(&format!("{name}.onnx: ")) && error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    // Where no head is wanted, features are features.
    for name in ["int_features", "opset6"] {
        let made = Plan::prepare(&mut open(name), &onnx_runtime(), &PlanOptions::default(), &silent);
        let (plan, mut extractor) = made.unwrap_or_else(|error| panic!("{name}: {error}"));
        let rows = extractor.engine().run(probe(&plan.input, 3).view()).unwrap().swap_remove(0);
        assert_eq!((plan.features, rows.shape()), (6, &[3, 6][..]), "{name}");
    }
}

#[test]
fn a_batch_whose_images_are_mixed_stays() {
    for name in ["batch2_mixed_bytes", "batch2_mixed_floats"] {
        let (_, plan) = plan(name, None);
        assert_eq!(plan.input.batch, Some(2), "{name}: {:?}", plan.notes);
    }
}

#[test]
fn the_adapted_models_ends_are_declared_as_they_are() {
    for name in ["argmax", "label_and_prob", "argmax_labels"] {
        let (model, plan) = plan(name, None);
        assert_eq!(first_dims(&adapted(&model, &plan).model), [None; 2], "{name}");
    }
    let (model, plan) = plan("size_rank", None);
    let (_, shape) = adapted(&model, &plan).model.graph().input[0].tensor_type().unwrap();
    assert_eq!(shape.unwrap(), [None, Some(3), Some(32), Some(32)]);
}

#[test]
fn the_type_of_a_head_behind_a_chosen_cut_is_tried() {
    let cases = [("half_head", "features", data_type::FLOAT), ("half_unknown", "copy", data_type::FLOAT16)];
    for (name, cut, expected) in cases {
        let (model, plan) = plan(name, Some(cut));
        assert_eq!((plan.surgery.data_type, plan.features), (expected, 6), "{name}");
        computes(name, &model, &plan, &adapted(&model, &plan), 2, 5e-3);
    }
}

#[test]
fn the_graph_tells_which_axis_of_a_map_has_the_channels() {
    let cases = [
        ("nhwc_inside", "map", [2, 3]),
        ("nhwc_inside", "top", [1, 2]),
        ("nchw_inside", "map", [2, 3]),
        ("nchw_inside", "top", [1, 2]),
        ("nhwc_inside", "conv", [2, 3]),
    ];
    for (name, cut, axes) in cases {
        let (model, plan) = plan(name, Some(cut));
        assert_eq!((plan.features, &plan.pooling), (6, &Pooling::Mean(axes.to_vec())), "{name} at {cut}");
        computes(name, &model, &plan, &adapted(&model, &plan), 2, 1e-5);
    }
}

#[test]
fn a_final_activation_is_known_behind_any_layer() {
    let cases = [
        ("einsum_softmax", Activation::Softmax),
        ("einsum_logsoftmax", Activation::LogSoftmax),
        ("einsum_sigmoid", Activation::Sigmoid),
    ];
    for (name, activation) in cases {
        let trained = Trained::open(&golden(&format!("onnx/{name}.onnx")), None, None).unwrap();
        assert_eq!((trained.activation, trained.output.as_str()), (activation, "logits"), "{name}");
        let (model, plan) = plan(name, None);
        assert_eq!((plan.classifier, plan.cut.as_str(), plan.features), (Classifier::None, "same", 4), "{name}");
        assert!(plan.notes.iter().any(|n| n.contains("ahead of the final activation, 'same'")), "{:?}", plan.notes);
        let adapted = adapted(&model, &plan);
        // Each class excludes the others.
        assert_eq!((adapted.activation, adapted.output.as_str()), (activation.exclusive(), "logits"), "{name}");
        let mut plan = plan;
        plan.suit(Task::Multiclass, &model);
        let told = notes(&plan).contains("a softmax takes the sigmoid's place");
        assert_eq!(told, activation == Activation::Sigmoid, "{name}");
        computes(name, &model, &plan, &adapted, 2, 1e-5);
    }
}

/// What leaves the images no axis is no part of the features, whatever is done to single values behind it.
#[test]
fn features_have_a_row_for_each_image() {
    for (operator, axes) in [("Squeeze", &[][..]), ("Squeeze", &[-4, -2, -1]), ("Reshape", &[-1]), ("Flatten", &[])] {
        for last in [&[][..], &["Identity"], &["Cast"], &["Relu"], &["Relu", "Identity"]] {
            let mut model = batch::fix(&open("gemm_transb1"), "x");
            let graph = model.proto.graph.as_mut().unwrap();
            graph.node.truncate(3);
            let mut nodes = vec![node(operator, &["pool"], "joined", vec![])];
            if !axes.is_empty() {
                nodes[0].input.push("axes".into());
                graph.initializer.push(integers("axes", axes));
            } else if operator == "Flatten" {
                nodes[0].attribute.push(int("axis", -4));
            }
            for (i, name) in last.iter().enumerate() {
                let attributes = if *name == "Cast" { vec![int("to", 1)] } else { vec![] };
                nodes.push(node(name, &[&nodes[i].output[0].clone()], &format!("v{i}"), attributes));
            }
            graph.output[0] =
                ValueInfoProto { name: Some(nodes.last().unwrap().output[0].clone()), ..Default::default() };
            graph.node.extend(nodes);
            let plan = plan_in(&onnx_runtime(), &mut model, None).unwrap_or_else(|error| panic!("{error}"));
            let found = (plan.cut.as_str(), plan.input.batch, plan.features);
            assert_eq!(found, ("pool", None, 6), "{operator} {axes:?} {last:?}");
        }
    }
}

/// Both layers that are added are linear, but one reads the other: the pooling of SigLIP ends so.
#[test]
fn a_layer_and_its_shortcut_are_an_embedding() {
    let mut model = open("gemm_transb1");
    let graph = model.proto.graph.as_mut().unwrap();
    graph.node.truncate(3);
    for (name, shape) in [("w1", [6, 6]), ("w2", [6, 12]), ("w3", [12, 6])] {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i as f32).sin()).collect();
        graph.initializer.push(initializer(name, &shape, values, data_type::FLOAT));
    }
    graph.node.extend([
        node("Flatten", &["pool"], "flat", vec![]),
        node("MatMul", &["flat", "w1"], "short", vec![]),
        node("MatMul", &["short", "w2"], "wide", vec![]),
        node("Sigmoid", &["wide"], "active", vec![]),
        node("MatMul", &["active", "w3"], "back", vec![]),
        node("Add", &["short", "back"], "embedding", vec![]),
    ]);
    graph.output[0] = ValueInfoProto { name: Some("embedding".into()), ..Default::default() };
    let plan = plan_in(&onnx_runtime(), &mut model, None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((plan.cut.as_str(), plan.classifier, plan.features), ("embedding", Classifier::None, 6));
}

#[test]
fn a_quantised_head_is_found() {
    for (name, activation) in [("qdq", Activation::Softmax), ("qdq_transposed", Activation::None)] {
        let (model, plan) = plan(name, None);
        assert_eq!((plan.classifier, plan.cut.as_str()), (Classifier::Linear, "features"), "{name}");
        let cut = &plan.surgery;
        assert_eq!((cut.features, cut.classes, cut.data_type), (Some(6), Some(4), data_type::FLOAT), "{name}");
        let adapted = adapted(&model, &plan);
        assert_eq!(adapted.activation, activation, "{name}");
        computes(name, &model, &plan, &adapted, 2, 1e-5);
    }
}

fn notes(plan: &Plan) -> String {
    plan.notes.join("; ")
}

/// The batch is in the targets of `Reshape`, `Expand` and `Resize`, in tensors that are joined to the images' own, merged
/// with other axes, and not always ahead.
#[test]
fn a_batch_in_constants_becomes_free() {
    let names =
        ["batch1_tokens", "batch2_tokens", "batch1_sequence", "batch2_sequence", "batch1_computed", "batch2_resize"];
    for name in names {
        let original = open(name);
        let (model, plan) = plan(name, None);
        assert_eq!((plan.input.batch, plan.features), (None, 6), "{name}: {:?}", plan.notes);
        assert!(notes(&plan).contains("became free (checked at batches of 1 and 3)"), "{name}: {:?}", plan.notes);
        let adapted = adapted(&model, &plan);
        assert_eq!(first_dims(&adapted.model), [None; 2], "{name}");
        computes(name, &original, &plan, &adapted, 2, 1e-5);
        for node in &original.graph().node {
            let kept = model.graph().node.iter().any(|new| new.output == node.output && new.op_type == node.op_type);
            assert!(kept, "{name}: {:?} is gone", node.output);
        }
    }
}

#[test]
fn an_open_size_is_the_one_that_the_constants_fit() {
    for name in ["size_open", "size_side", "size_rank"] {
        let (model, plan) = plan(name, None);
        assert_eq!((plan.input.height, plan.input.width), (32, 32), "{name}");
        let said = notes(&plan).contains("with 32x32: that size is taken");
        assert_eq!(said, name != "size_side", "{name}: {:?}", plan.notes);
        assert_eq!(plan.preprocessing.size(), (32, 32), "{name}");
        computes(name, &model, &plan, &adapted(&model, &plan), 2, 1e-5);
        let options = PlanOptions { size: Some((32, 32)), ..Default::default() };
        Plan::make(&mut open(name), &onnx_runtime(), &options, &silent).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let tract = plan_in(&tract(), &mut open("size_open"), None).unwrap();
    assert_eq!((tract.input.height, tract.input.width), (32, 32));
}

#[test]
fn channels_are_those_of_the_first_convolution() {
    let cases = [
        ("channels_1", 1, Color::Gray, Layout::Nchw),
        ("channels_2", 2, Color::GrayAlpha, Layout::Nchw),
        ("channels_4", 4, Color::Rgba, Layout::Nchw),
        ("channels_last", 4, Color::Rgba, Layout::Nhwc),
    ];
    for (name, channels, color, layout) in cases {
        let (model, plan) = plan(name, None);
        assert_eq!(
            (plan.input.channels, plan.preprocessing.color, plan.input.layout),
            (channels, color, layout),
            "{name}"
        );
        computes(name, &model, &plan, &adapted(&model, &plan), 2, 1e-5);
    }
}

#[test]
fn inputs_with_an_obvious_value_are_stored() {
    for (name, stored) in [
        ("extra_training", ["'net/is_training:0' is stored as 0", "'keep_prob' is stored as 1"]),
        ("extra_paddle", ["'im_shape' is stored as 8 8", "'scale_factor' is stored as 1 1"]),
    ] {
        let (model, plan) = plan(name, None);
        assert!(stored.iter().all(|text| notes(&plan).contains(text)), "{name}: {:?}", plan.notes);
        let adapted = adapted(&model, &plan);
        assert_eq!(adapted.model.graph().input.len(), 1, "{name}");
        computes(name, &model, &plan, &adapted, 2, 1e-5);
        let trained = Trained::open(&golden(&format!("onnx/{name}.onnx")), None, None).unwrap();
        assert_eq!(trained.model.inputs().count(), 1, "{name}");
    }
    let error = plan_in(&onnx_runtime(), &mut open("extra_unknown"), None).unwrap_err().to_string();
    assert!(error.contains("besides the image it takes temperature"), "{error}");
}

#[test]
fn joined_heads_and_decisions_are_told() {
    for (name, text) in [
        ("averaged_tokens", "one head on 'normed', tokens [0, 1] takes the place of 2 joined ones"),
        ("averaged", "one head on 'features' takes the place of 2 joined ones"),
        ("class_and_most", "one head on 'class' takes the place of 2 joined ones"),
        ("embedding", "the tensor 'features' is kept: the adapted model's output is called 'logits'"),
        ("argmax", "the output 'label' gave the choice alone"),
        ("argmax_labels", "the output 'label' gave the choice alone"),
    ] {
        let (_, plan) = plan(name, None);
        assert!(notes(&plan).contains(text), "{name}: {:?}", plan.notes);
    }
}
