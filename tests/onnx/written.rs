//! Heads in other words: a softmax in single steps, a classifier in a branch.

use crate::build::{int, ints};
use crate::cases::{computes, head};
use crate::common::onnx_runtime;
use crate::open;
use crate::support::{branch, choice, graph, node};
use adapt::onnx::Model;
use adapt::onnx::cut::Classifier;
use adapt::onnx::normalize::softmax;
use adapt::onnx::schema::{GraphProto, NodeProto, TensorProto, ValueInfoProto, data_type};
use adapt::onnx::surgery::{size, tensor_type};
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
        nodes.push(node("ReduceMax", &["logits"], "largest", vec![ints("axes", &[1])]));
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
    assert_eq!((adapted.activation, adapted.output.as_str()), (activation.exclusive(), "y"));
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
        softmax::join(&mut model.proto);
        assert!(model.proto == before);
    }
}

/// Other words for a softmax, its logarithm and a sigmoid, and what may stand behind one.
#[test]
fn other_words_for_an_activation_are_known() {
    let one = |op: &str, inputs: &[&str], output: &str| node(op, inputs, output, vec![]);
    let sum = || vec![one("Exp", &["logits"], "exp"), one("ReduceSum", &["exp", "axis"], "sum")];
    let softmax = || [sum(), vec![one("Div", &["exp", "sum"], "p")]].concat();
    let grows =
        || vec![one("Neg", &["logits"], "neg"), one("Exp", &["neg"], "exp"), one("Add", &["exp", "one"], "sum")];
    let last = vec![ints("axes", &[-1])];
    let cases: [(Vec<NodeProto>, &[&str], &str, Activation); 10] = [
        (softmax(), &["p"], "ArgMax", Activation::Softmax),
        (softmax(), &["p", "zero", "one"], "Clip", Activation::Softmax),
        (softmax(), &["zero", "p"], "Max", Activation::Softmax),
        (vec![one("Softmax", &["logits"], "p")], &["p", "one"], "Min", Activation::Softmax),
        ([sum(), vec![one("Reciprocal", &["sum"], "r")]].concat(), &["r", "exp"], "Mul", Activation::Softmax),
        (vec![node("ReduceLogSumExp", &["logits"], "l", last)], &["logits", "l"], "Sub", Activation::LogSoftmax),
        (vec![one("LogSoftmax", &["logits"], "l")], &["l"], "Exp", Activation::Softmax),
        (vec![one("Softmax", &["logits"], "p")], &["p"], "Log", Activation::LogSoftmax),
        (grows(), &["sum"], "Reciprocal", Activation::Sigmoid),
        (grows(), &["one", "sum"], "Div", Activation::Sigmoid),
    ];
    for (mut nodes, inputs, operator, activation) in cases {
        nodes.push(one(operator, inputs, "y"));
        let number = |name: &str, value| initializer(name, &[], [value], data_type::FLOAT);
        adapts(&with(nodes, vec![integers("axis", &[1]), number("zero", 0.0), number("one", 1.0)]), activation);
    }
}

/// Softmax maps that are an output too are read inside the network: its nodes stay.
#[test]
fn a_softmax_that_the_network_reads_stays() {
    let mut model = open("gemm_transb1");
    let main = graph(&mut model);
    let gemm = main.node.iter().position(|node| node.is("Gemm")).unwrap();
    main.node[gemm].input[0] = "weighed".into();
    let nodes = [
        node("Exp", &["features"], "exp", vec![]),
        node("ReduceSum", &["exp", "axis"], "sum", vec![]),
        node("Div", &["exp", "sum"], "attention", vec![]),
        node("Identity", &["attention"], "seen", vec![]),
        node("Mul", &["attention", "features"], "weighed", vec![]),
    ];
    main.node.splice(gemm..gemm, nodes);
    main.initializer.push(integers("axis", &[1]));
    for output in ["attention", "seen"] {
        let mut model = model.clone();
        let declared = ValueInfoProto { name: Some(output.into()), ..graph(&mut model).output[0].clone() };
        graph(&mut model).output.push(ValueInfoProto { r#type: None, ..declared });
        let before = model.proto.clone();
        let plan = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent).unwrap().0;
        assert_eq!((plan.cut.as_str(), plan.output.as_str()), ("weighed", "logits"));
        assert!(model.proto == before, "{output}");
    }
}

/// There `Softmax` takes all axes from its own on for one.
#[test]
fn before_opset_13_a_softmax_is_one_along_the_last_axis_alone() {
    for (opset, axis, shape, joins) in [
        (11, 1, Some(&[2, 4][..]), true),
        (11, 1, Some(&[2, 4, 1, 1]), true),
        (11, 1, Some(&[2, 4, 3]), false),
        (11, 2, Some(&[2, 4, 3]), true),
        (11, -1, None, true),
        (11, 2, None, false),
        (13, 2, None, true),
    ] {
        let mut model = written(false, axis);
        model.proto.opset_import[0].version = Some(opset);
        let main = graph(&mut model);
        // Not of the layer itself, whose rows are known to have two axes.
        main.node.push(node("Relu", &["logits"], "scores", vec![]));
        main.node.iter_mut().filter(|node| node.is("Exp")).for_each(|node| node.input[0] = "scores".into());
        main.output[0].name = Some("divided".into());
        let dims = shape.map(|shape| shape.iter().map(|&n| size(n)).collect());
        main.output[0].r#type = dims.map(|dims| tensor_type(data_type::FLOAT, dims));
        softmax::join(&mut model.proto);
        let joined = graph(&mut model).node.iter().any(|node| node.is("Softmax"));
        assert_eq!(joined, joins, "opset {opset}, axis {axis}, {shape:?}");
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

/// What the import needs of names, the exported file does not.
#[test]
fn nodes_ahead_of_a_branch_stay_as_they_came() {
    let condition = initializer("condition", &[], [], data_type::BOOL);
    let taken = TensorProto { raw_data: Some(vec![1].into()), ..condition };
    let weight = |value| initializer("head", &[6, 4], [value; 24], data_type::FLOAT);
    let head = |value| {
        let product =
            NodeProto { name: Some("last".into()), ..node("MatMul", &["features", "head"], "product", vec![]) };
        let product = branch("product", product);
        GraphProto { initializer: vec![weight(value)], ..product }
    };
    let last = NodeProto { name: Some("last".into()), ..node("Softmax", &["z"], "y", vec![int("axis", -1)]) };
    let mut model = with(vec![choice("condition", "z", [head(0.5), head(0.25)]), last], vec![taken]);
    let main = graph(&mut model);
    main.node.retain(|node| !node.is("Gemm"));
    main.initializer[0].name = Some("conv.weight".into());
    main.node[0].input = ["x", "conv.weight", ""].map(String::from).into();
    main.node[3].name = None;
    let original = model.clone();
    let plan = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent).unwrap().0;
    assert_eq!((plan.cut.as_str(), plan.classifier), ("features", Classifier::Linear));
    assert_eq!(model.graph().node[..4], original.graph().node[..4]);
    let adapted = Adapted::new(&model, &plan, &crate::cases::head(plan.features)).unwrap();
    assert_eq!(adapted.model.graph().node[..4], original.graph().node[..4]);
    assert_eq!(model.graph().node.last(), original.graph().node.last());
    computes("branch", &original, &plan, &adapted, 2, 1e-5);
}
