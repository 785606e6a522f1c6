//! Inputs: of old files every stored tensor, of others those that are needed; and sizes that they leave open.

use crate::build::{Graph, int, ints};
use crate::cases::{computes, head};
use crate::common::onnx_runtime;
use crate::ends::{map, plan, scores};
use crate::open;
use crate::support::{branch, choice, graph, node};
use adapt::graph::{Program, trainable};
use adapt::onnx::parameters::untie;
use adapt::onnx::schema::{Dimension, TensorProto, ValueInfoProto, dimension};
use adapt::onnx::surgery::{size, symbol, tensor_type};
use adapt::onnx::tensor::initializer;
use adapt::onnx::{Model, batch, data_type};
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;
use std::collections::HashSet;

fn planned(model: &mut Model, cut: Option<&str>, output: Option<&str>) -> Plan {
    let options = PlanOptions { cut: cut.map(String::from), output: output.map(String::from), ..Default::default() };
    Plan::make(model, &onnx_runtime(), &options, &silent).unwrap_or_else(|error| panic!("{error}")).0
}

/// The model as a file of IR version 3, where ONNX wants every stored tensor among the inputs.
fn aged(mut model: Model) -> Model {
    model.proto.ir_version = Some(3);
    let main = graph(&mut model);
    let info = |t: &TensorProto| ValueInfoProto {
        name: t.name.clone(),
        r#type: Some(tensor_type(t.data_type(), t.dims.iter().map(|&dim| size(dim)).collect())),
        ..Default::default()
    };
    let listed: Vec<ValueInfoProto> = main.initializer.iter().map(info).collect();
    main.input.extend(listed);
    model
}

#[track_caller]
fn all_listed(model: &Model) {
    let inputs: HashSet<&str> = model.graph().input.iter().map(|input| input.name()).collect();
    assert_eq!(inputs.len(), model.graph().input.len());
    let missing = model.graph().initializer.iter().find(|tensor| !inputs.contains(tensor.name()));
    assert!(missing.is_none(), "'{}' is no input", missing.unwrap().name());
    assert_eq!(model.inputs().count(), 1);
}

#[test]
fn whatever_is_stored_in_an_old_file_is_an_input() {
    // A batch in constants, weights in `Constant` nodes, and what a branch stores.
    for name in ["batch1_tokens", "batch2_tokens", "batch1_sequence"] {
        let mut model = aged(open(name));
        let plan = planned(&mut model, None, None);
        assert_eq!(plan.input.batch, None, "{name}");
        all_listed(&model);
        all_listed(&Adapted::new(&model, &plan, &head(plan.features)).unwrap().model);
    }
    all_listed(&untie(&aged(open("weight_constant"))));
    let mut g = Graph::new(3);
    g.input(&[1, 3, 8, 8]);
    let pool = g.node("GlobalAveragePool", &["x"], &[]);
    let features = g.node("Flatten", &[&pool], &[]);
    let mut model = g.model("out");
    let mut inside = branch("v", node("Gemm", &[&features, "w"], "v", vec![]));
    inside.initializer.push(initializer("w", &[3, 10], (0..30).map(|v| v as f32), data_type::FLOAT));
    let yes = TensorProto { raw_data: Some(vec![1].into()), ..initializer("yes", &[], [], data_type::BOOL) };
    graph(&mut model).initializer.push(yes);
    graph(&mut model).node.push(choice("yes", "out", [inside.clone(), inside]));
    let mut model = aged(model);
    assert_eq!(planned(&mut model, None, None).surgery.classes, Some(10));
    all_listed(&model);
}

/// An encoder of images and one of texts, and what they have in common.
fn twins() -> Model {
    let mut g = Graph::new(8);
    g.input(&[1, 3, 8, 8]);
    let (weight, words, last) = (g.weight(&[32, 3, 3, 3]), g.weight(&[50, 16]), g.weight(&[32, 16]));
    let map = g.node("Conv", &["x", &weight], &[]);
    let pool = g.node("GlobalAveragePool", &[&map], &[]);
    let features = g.node("Flatten", &[&pool], &[]);
    let image = g.node("MatMul", &[&features, &last], &[]);
    let looked_up = g.node("Gather", &[&words, "ids"], &[]);
    let text = g.node("ReduceMean", &[&looked_up], &[ints("axes", &[1]), int("keepdims", 0)]);
    let turned = g.node("Transpose", &[&text], &[]);
    let both = g.node("MatMul", &[&image, &turned], &[]);
    let mut model = g.model(&both);
    let main = graph(&mut model);
    let ids = tensor_type(data_type::INT64, vec![symbol("M"), size(7)]);
    main.input.push(ValueInfoProto { name: Some("ids".into()), r#type: Some(ids), ..Default::default() });
    let float = |name: &String| ValueInfoProto { name: Some(name.clone()), ..main.output[0].clone() };
    let more = [float(&image), float(&text)];
    main.output.extend(more);
    model
}

#[test]
fn inputs_that_are_not_needed_go() {
    let original = twins();
    let names: Vec<&str> = original.graph().output.iter().map(|output| output.name()).collect();
    let features = original.graph().node[2].output[0].clone();
    for (cut, output) in
        [(None, None), (None, Some(names[1])), (Some(&features[..]), None), (Some(&features[..]), Some(names[0]))]
    {
        let mut model = original.clone();
        let plan = planned(&mut model, cut, output);
        assert_eq!(plan.cut, features);
        let said = |note: &String| note.contains("not needed are dropped, with what hangs on them: ids");
        assert!(plan.notes.iter().any(said), "{:?}", plan.notes);
        let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap();
        assert_eq!(adapted.model.graph().input.len(), 1);
        computes("twins", &model, &plan, &adapted, 2, 1e-5);
    }
    let options = PlanOptions { output: Some(names[0].into()), ..Default::default() };
    let refused = Plan::make(&mut original.clone(), &onnx_runtime(), &options, &silent).map(drop).unwrap_err();
    assert!(refused.to_string().contains("besides the image it takes ids"), "{refused}");
}

/// An open height and width: what comes first is the constants' own.
fn of_any_size(mut model: Model) -> Model {
    let input = graph(&mut model).input[0].r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).unwrap();
    let dims = &mut input.shape.as_mut().unwrap().dim;
    let open = |name: &str| Dimension { value: Some(dimension::Value::DimParam(name.into())), denotation: None };
    (dims[2], dims[3]) = (open("H"), open("W"));
    model
}

/// Sizes that nobody would try.
#[test]
fn a_size_is_found_in_the_constants() {
    // Tokens of patches of 8 pixels, and of a map, with one for the class.
    for (side, others) in [(15, 0), (15, 1), (13, 2)] {
        let mut g = Graph::new(8);
        g.input(&[1, 3, 8, 8]);
        let (patches, shape) = (g.weight(&[16, 3, 8, 8]), g.integers(&[0, 16, -1]));
        let map = g.node("Conv", &["x", &patches], &[ints("strides", &[8, 8])]);
        let rows = g.node("Reshape", &[&map, &shape], &[]);
        let mut tokens = g.node("Transpose", &[&rows], &[ints("perm", &[0, 2, 1])]);
        if others > 0 {
            let pads = g.integers(&[0, others, 0, 0, 0, 0]);
            tokens = g.node("Pad", &[&tokens, &pads], &[]);
        }
        let positions = g.weight(&[1, (side * side + others) as usize, 16]);
        let tokens = g.node("Add", &[&tokens, &positions], &[]);
        let features = g.node("ReduceMean", &[&tokens], &[ints("axes", &[1]), int("keepdims", 0)]);
        let weight = g.weight(&[16, 10]);
        let output = g.node("MatMul", &[&features, &weight], &[]);
        let plan = planned(&mut of_any_size(g.model(&output)), None, None);
        assert_eq!((plan.input.height, plan.input.width), (8 * side as u32, 8 * side as u32));
    }
    // The mean of all images.
    let mut g = Graph::new(8);
    g.input(&[1, 3, 8, 8]);
    let (mean, weight, last) = (g.weight(&[1, 3, 45, 45]), g.weight(&[16, 3, 3, 3]), g.weight(&[16, 10]));
    let centred = g.node("Sub", &["x", &mean], &[]);
    let map = g.node("Conv", &[&centred, &weight], &[]);
    let features = g.node("ReduceMean", &[&map], &[ints("axes", &[2, 3]), int("keepdims", 0)]);
    let output = g.node("MatMul", &[&features, &last], &[]);
    let plan = planned(&mut of_any_size(g.model(&output)), None, None);
    assert_eq!((plan.input.height, plan.input.width), (45, 45));
}

/// What is computed from the image's size is computed from the one that it has; where that is impossible, the node is named once.
#[test]
fn sizes_are_computed_from_the_images_own() {
    let mut g = Graph::new(8);
    g.input(&[1, 3, 8, 8]);
    let (four, place, weight) = (g.integers(&[4]), g.integers(&[2]), g.weight(&[16, 3, 3, 3]));
    let sizes = g.node("Shape", &["x"], &[]);
    let height = g.node("Gather", &[&sizes, &place], &[]);
    let less = g.node("Sub", &[&height, &four], &[]);
    let zeros = g.node("ConstantOfShape", &[&less], &[]);
    let sum = g.node("ReduceSum", &[&zeros], &[]);
    let map = g.node("Conv", &["x", &weight], &[]);
    let features = g.node("ReduceMean", &[&map], &[ints("axes", &[2, 3]), int("keepdims", 0)]);
    let output = g.node("Add", &[&features, &sum], &[]);
    let mut model = of_any_size(g.model(&output));
    graph(&mut model).node.iter_mut().for_each(|node| node.name = None);
    Program::import(&model, &[None, Some(3), Some(8), Some(8)]).map(drop).unwrap_or_else(|error| panic!("{error}"));
    let told = trainable(&model, &[None, Some(3), Some(3), Some(3)]);
    let found: Vec<(&str, &str)> = told.obstacles.iter().map(|o| (&o.node[..], &o.why[..])).collect();
    assert_eq!(found, [(&zeros[..], "its size -1 is impossible")]);
}

/// A target that something else reads is replaced also where there is no `Where` yet, and so are a recurrent layer's states.
#[test]
fn a_batch_in_shared_targets_and_in_states_becomes_free() {
    let mut g = Graph::new(6);
    g.opset = 8;
    let rows = map(&mut g);
    let (target, stored) = (g.integers(&[1, 32, 36]), g.weight(&[32, 36]));
    let rows = g.node("Reshape", &[&rows, &target], &[]);
    let other = g.node("Reshape", &[&stored, &target], &[]);
    let sum = g.node("Add", &[&rows, &other], &[]);
    let features = g.node("ReduceMean", &[&sum], &[ints("axes", &[2]), int("keepdims", 0)]);
    let shared = (scores(&mut g, &features, 10), g.opset);
    let shared = g.model(&shared.0);

    let mut g = Graph::new(6);
    let rows = map(&mut g);
    let target = g.integers(&[1, 32, 36]);
    let rows = g.node("Reshape", &[&rows, &target], &[]);
    let steps = g.node("Transpose", &[&rows], &[ints("perm", &[2, 0, 1])]);
    let weights = [vec![1, 128, 32], vec![1, 128, 32], vec![1, 256], vec![1, 1, 32], vec![1, 1, 32]];
    let [w, r, b, h, c] = weights.map(|shape| g.weight(&shape));
    let made = g.outputs("LSTM", &[&steps, &w, &r, &b, "", &h, &c], &[int("hidden_size", 32)], 2);
    let first = g.integers(&[0]);
    let features = g.node("Squeeze", &[&made[1], &first], &[]);
    let output = scores(&mut g, &features, 10);
    let stored = g.model(&output);

    // Each row of the map is a sequence; as many states as there are of one image are expanded to as many as there are.
    let mut g = Graph::new(6);
    let rows = map(&mut g);
    let rows = g.node("Transpose", &[&rows], &[ints("perm", &[0, 2, 3, 1])]);
    let target = g.integers(&[-1, 6, 32]);
    let rows = g.node("Reshape", &[&rows, &target], &[]);
    let steps = g.node("Transpose", &[&rows], &[ints("perm", &[1, 0, 2])]);
    let sizes = g.node("Shape", &[&steps], &[]);
    let (second, one, width) = (g.integers(&[1]), g.integers(&[1]), g.integers(&[32]));
    let count = g.node("Gather", &[&sizes, &second], &[]);
    let target = g.node("Concat", &[&one, &count, &width], &[int("axis", 0)]);
    let zeros = g.values(&[1, 6, 32], vec![0.25; 6 * 32]);
    let [h, c] = [0, 1].map(|_| g.node("Expand", &[&zeros, &target], &[]));
    let [w, r, b] = [vec![1, 128, 32], vec![1, 128, 32], vec![1, 256]].map(|shape| g.weight(&shape));
    let made = g.outputs("LSTM", &[&steps, &w, &r, &b, "", &h, &c], &[int("hidden_size", 32)], 2);
    let shape = g.integers(&[1, 6, 32]);
    let last = g.node("Reshape", &[&made[1], &shape], &[]);
    let features = g.node("ReduceMean", &[&last], &[ints("axes", &[1]), int("keepdims", 0)]);
    let output = scores(&mut g, &features, 10);
    for model in [shared, stored, g.model(&output)] {
        let fixed = batch::fix(&model, "x");
        let (plan, _) = plan(&fixed, None);
        assert_eq!(plan.input.batch, None, "{:?}", plan.notes);
    }
}

/// A file that leaves the size open, whose head takes all of a map.
fn of_a_map(features: usize) -> Model {
    let mut g = Graph::new(5);
    g.input(&[1, 3, 8, 8]);
    let (weight, last) = (g.weight(&[8, 3, 3, 3]), g.weight(&[features, 10]));
    let map = g.node("Conv", &["x", &weight], &[ints("strides", &[32, 32]), ints("pads", &[1, 1, 1, 1])]);
    let row = g.node("Flatten", &[&map], &[]);
    let output = g.node("Gemm", &[&row, &last], &[]);
    let mut model = g.model(&output);
    let dims = [symbol("N"), size(3), symbol("H"), symbol("W")].to_vec();
    graph(&mut model).input[0].r#type = Some(tensor_type(data_type::FLOAT, dims));
    model
}

#[test]
fn a_size_that_is_no_square_is_found_or_the_doubt_is_told() {
    let mut people = of_a_map(8 * 8 * 4);
    let plan = planned(&mut people, None, None);
    assert_eq!((plan.input.height, plan.input.width, plan.features), (256, 128, 256));
    let mut odd = of_a_map(8 * 7 * 13);
    let plan = planned(&mut odd, None, None);
    assert_eq!((plan.input.height, plan.input.width, plan.features), (224, 224, 392));
    assert!(
        plan.notes.iter().any(|note| note.contains("the 728 features") && note.contains("--size")),
        "{:?}",
        plan.notes
    );
}
