//! Heads in other words: a softmax in single steps, a classifier in a branch.

use crate::build::int;
use crate::cases::{computes, head};
use crate::common::onnx_runtime;
use crate::open;
use crate::support::{branch, choice, graph, node};
use adapt::onnx::Model;
use adapt::onnx::cut::Classifier;
use adapt::onnx::normalize::softmax;
use adapt::onnx::schema::{NodeProto, TensorProto, data_type};
use adapt::onnx::tensor::{initializer, integers};
use adapt::plan::{Activation, Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;

/// A classifier with these nodes behind its scores `logits`; the last makes the output.
fn with(nodes: Vec<NodeProto>, stored: Vec<TensorProto>) -> Model {
    let mut model = open("gemm_transb1");
    let graph = graph(&mut model);
    graph.output[0].name = nodes.last().unwrap().output.first().cloned();
    graph.node.extend(nodes);
    graph.initializer.extend(stored);
    model
}

/// The softmax of `logits`, with the largest subtracted or not.
fn written(shifted: bool, axis: i64) -> Model {
    let mut nodes = Vec::new();
    if shifted {
        let axes = adapt::onnx::schema::AttributeProto {
            name: Some("axes".into()),
            ints: vec![1],
            r#type: Some(7),
            ..Default::default()
        };
        nodes.push(node("ReduceMax", &["logits"], "largest", vec![axes]));
        nodes.push(node("Sub", &["logits", "largest"], "shifted", vec![]));
    }
    nodes.push(node("Exp", &[if shifted { "shifted" } else { "logits" }], "exp", vec![]));
    nodes.push(node("ReduceSum", &["exp", "axis"], "sum", vec![]));
    nodes.push(node("Div", &["exp", "sum"], "divided", vec![]));
    nodes.push(node("Identity", &["divided"], "y", vec![]));
    with(nodes, vec![integers("axis", &[axis])])
}

fn adapts(original: &Model, activation: Activation) -> Plan {
    let mut model = original.clone();
    let plan = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent).unwrap().0;
    assert_eq!((plan.classifier, plan.cut.as_str(), plan.output.as_str()), (Classifier::Linear, "features", "y"));
    let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap();
    assert_eq!((adapted.activation, adapted.output.as_str()), (activation, "y"));
    computes("written", original, &plan, &adapted, 2, 1e-5);
    plan
}

#[test]
fn a_softmax_in_single_steps_is_one() {
    for shifted in [false, true] {
        adapts(&written(shifted, 1), Activation::Softmax);
    }
    // Along the images it is no choice among classes; inside it is the network's own.
    let mut other = written(true, 0);
    let mut inside = written(true, 1);
    graph(&mut inside).node.last_mut().unwrap().op_type = Some("Neg".into());
    for model in [&mut other, &mut inside] {
        let before = model.proto.clone();
        softmax::join(graph(model));
        assert!(model.proto == before);
    }
}

#[test]
fn a_head_in_a_branch_that_a_stored_condition_chooses_is_found() {
    for (truth, chosen) in [(1, "taken"), (0, "other")] {
        let head = |weight: &str, output: &str| branch(output, node("MatMul", &["features", weight], output, vec![]));
        let stored = [("taken", 0.5), ("other", -0.25)];
        let mut stored: Vec<TensorProto> =
            stored.map(|(name, value)| initializer(name, &[6, 4], [value; 24], data_type::FLOAT)).into();
        let condition = initializer("condition", &[], [], data_type::BOOL);
        stored.push(TensorProto { raw_data: Some(vec![truth].into()), ..condition });
        let taken = choice("condition", "z", [head("taken", "t"), head("other", "e")]);
        let model = with(vec![taken, node("Softmax", &["z"], "y", vec![int("axis", -1)])], stored);
        let plan = adapts(&model, Activation::Softmax);
        assert!(plan.notes.iter().any(|note| note.contains("inside a function or a branch")), "{chosen}");
        assert_eq!((plan.surgery.features, plan.surgery.classes), (Some(6), Some(4)));
    }
}
