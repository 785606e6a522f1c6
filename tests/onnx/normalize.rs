//! Each normalising step: it does what it says, and ONNX Runtime computes the same before and after.

use crate::build::{Graph, float, int, ints};
use crate::common::golden;
use crate::open;
use crate::support::{RUNTIME, after, branch, choice, difference, graph, node, operators, run, tensor_attribute};
use adapt::graph::Program;
use adapt::onnx::normalize::{self, constants, dropout, halves, identities, names, unread};
use adapt::onnx::schema::*;
use adapt::onnx::tensor::{encode_floats, floats, initializer, set_raw};
use adapt::onnx::{Model, data_type};
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::silent;
use adapt::{Backend, Choice};
use std::collections::HashSet;

#[test]
fn names_become_unique() {
    let mut g = Graph::new(4);
    g.input(&[1, 3]);
    let y = g.node("Relu", &["x"], &[]);
    let mut model = g.model("out");
    let yes = TensorProto { raw_data: Some(vec![0].into()), ..initializer("yes", &[], [], data_type::BOOL) };
    let main = graph(&mut model);
    main.initializer.push(yes);
    let branches = |op| branch("v", node(op, &[&y], "v", vec![]));
    let first = choice("yes", "a", [branches("Neg"), branches("Exp")]);
    main.node.push(first);
    main.node.push(choice("yes", "b", [branches("Exp"), branches("Sin")]));
    main.node.push(node("Sub", &["a", "b"], "out", vec![]));
    let unique = after(names::unique, &model, &[2, 3]);
    let inner = |n: &NodeProto| n.attribute.iter().filter_map(|a| a.g.clone()).flat_map(|g| g.node).collect::<Vec<_>>();
    let nodes: Vec<NodeProto> = unique.graph().node.iter().flat_map(|n| [vec![n.clone()], inner(n)].concat()).collect();
    let distinct = |names: Vec<&str>| names.iter().collect::<HashSet<_>>().len() == names.len();
    assert!(nodes.len() == 8 && nodes.iter().all(|n| !n.name().is_empty()));
    assert!(distinct(nodes.iter().map(|n| n.name()).collect()));
    assert!(distinct(nodes.iter().map(|n| n.output[0].as_str()).collect()));
    // A node without a name is called after what it makes.
    assert_eq!(unique.graph().node[1].name(), "a");
    // Two nodes of one name, which ONNX Runtime refuses.
    let mut same = model.clone();
    graph(&mut same).node.iter_mut().for_each(|n| n.name = Some("same".into()));
    names::unique(&mut same.proto).unwrap();
    assert_eq!(difference(&run(&RUNTIME, &model, &[2, 3]), &run(&RUNTIME, &same, &[2, 3])), 0.0);
    // A value inside that is called as one outside, and is read inside.
    let hidden =
        choice("yes", "c", [branch(&y, node("Neg", &["x"], &y, vec![])), branch("v", node("Exp", &[&y], "v", vec![]))]);
    graph(&mut model).node.push(hidden);
    names::unique(&mut model.proto).unwrap();
    let last = model.graph().node.last().unwrap();
    let [then, other] = [0, 1].map(|i| last.attribute[i].g.clone().unwrap());
    assert!(then.node[0].output[0] != y && then.output[0].name() == then.node[0].output[0]);
    assert_eq!(other.node[0].input[0], y);
}

/// tract calls a convolution's bias `conv.bias`, which may be the file's name for it.
#[test]
fn a_node_called_as_its_weights_begin_is_named_anew() {
    for name in [Some("conv"), None] {
        let mut g = Graph::new(4);
        g.input(&[1, 3, 5, 5]);
        let mut model = g.model("conv");
        let main = graph(&mut model);
        main.initializer.push(initializer("conv.weight", &[2, 3, 1, 1], (0..6).map(|i| i as f32), data_type::FLOAT));
        main.initializer.push(initializer("conv.bias", &[2], [1.0, 2.0], data_type::FLOAT));
        let mut conv = node("Conv", &["x", "conv.weight", "conv.bias"], "conv", vec![]);
        conv.name = name.map(str::to_owned);
        main.node.push(conv);
        let unique = after(names::unique, &model, &[2, 3, 5, 5]);
        assert_eq!(unique.graph().node[0].name(), "conv.2");
        Program::import(&model, &[None, Some(3), Some(5), Some(5)]).unwrap();
    }
}

#[test]
fn constants_are_stored() {
    let mut g = Graph::new(6);
    g.input(&[1, 2, 3]);
    let mut constant = |attribute| g.node("Constant", &[], &[attribute]);
    let stored = constant(tensor_attribute("value", initializer("", &[3], [1., 2., 3.], data_type::FLOAT)));
    let (one, two) = (AttributeProto { name: Some("value_float".into()), ..float("", 0.5) }, int("value_int", 1));
    let many = AttributeProto { floats: vec![3., 4.], r#type: Some(6), ..ints("value_floats", &[]) };
    let (one, axis, rows) = (constant(one), constant(two), constant(many));
    let shape = constant(ints("value_ints", &[0, 6]));
    let y = g.node("Add", &["x", &stored], &[]);
    let y = g.node("Mul", &[&y, &one], &[]);
    let rows = g.node("Unsqueeze", &[&rows, &axis], &[]);
    let y = g.node("Add", &[&y, &rows], &[]);
    let y = g.node("Reshape", &[&y, &shape], &[]);
    let mut model = g.model(&y);
    let given = ValueInfoProto { name: Some(stored.clone()), ..model.graph().output[0].clone() };
    graph(&mut model).output.push(given);
    // ONNX's checker takes an axis only as a list.
    graph(&mut model)
        .node
        .iter_mut()
        .filter(|n| n.output[0] == axis)
        .for_each(|n| n.attribute = vec![ints("value_ints", &[1])]);
    let changed = after(constants::store, &model, &[2, 2, 3]);
    assert_eq!(operators(&changed), ["Constant", "Add", "Mul", "Unsqueeze", "Add", "Reshape"]);
    let names: HashSet<&str> = changed.graph().initializer.iter().map(|t| t.name()).collect();
    assert!([&one, &axis, &shape].iter().all(|name| names.contains(name.as_str())) && !names.contains(stored.as_str()));
    let weights = Model::open(golden("onnx/weight_constant.onnx")).unwrap();
    let changed = after(constants::store, &weights, &[2, 3, 8, 8]);
    assert!(!operators(&changed).contains(&"Constant"));
}

#[test]
fn identities_of_stored_tensors_go() {
    let model = open("weight_identity");
    let changed = after(identities::remove, &model, &[2, 3, 8, 8]);
    assert!(operators(&model).contains(&"Identity") && !operators(&changed).contains(&"Identity"));
    // Of what is computed it stays, as does what makes an output.
    let mut g = Graph::new(2);
    g.input(&[1, 2]);
    let w = g.weight(&[1, 2]);
    let (a, b) = (g.node("Identity", &["x"], &[]), g.node("Identity", &[&w], &[]));
    let c = g.node("Identity", &[&b], &[]);
    let y = g.node("Add", &[&a, &c], &[]);
    let mut model = g.model(&y);
    let given = ValueInfoProto { name: Some(b), ..model.graph().output[0].clone() };
    graph(&mut model).output.push(given);
    let changed = after(identities::remove, &model, &[3, 2]);
    assert_eq!(operators(&changed), ["Identity", "Identity", "Add"]);
    assert!([&w, &model.graph().output[1].name().to_owned()].contains(&&changed.graph().node[2].input[1]));
}

#[test]
fn dropout_leaves_the_path() {
    for opset in [7, 10, 12, 13, 22] {
        let mut g = Graph::new(2);
        g.opset = opset;
        g.input(&[1, 4]);
        let first = g.outputs("Dropout", &["x"], &[], if opset < 12 { 1 } else { 2 });
        let relu = g.node("Relu", &[&first[0]], &[]);
        let second = g.node("Dropout", &[&relu], &[]);
        let third = g.node("Dropout", &[&second], &[]);
        let sum = match first.get(1) {
            Some(mask) => {
                let mask = g.node("Cast", &[mask], &[int("to", 1)]);
                g.node("Add", &[&second, &mask], &[])
            }
            None => g.node("Neg", &[&second], &[]),
        };
        let mut model = g.model(&sum);
        let given = ValueInfoProto { name: Some(third), ..model.graph().output[0].clone() };
        graph(&mut model).output.push(given);
        let changed = after(dropout::remove, &model, &[3, 4]);
        // A mask is made before it is read: importers want sorted nodes.
        let expected = run(&RUNTIME, &model, &[3, 4]);
        let program = Program::import(&model, &[]).unwrap();
        assert_eq!(program.parameters().len(), 0);
        for engine in [Choice::Tract, Choice::Candle] {
            let engine = Backend::resolve(engine, None, true, &silent).unwrap();
            assert!(difference(&expected, &run(&engine, &model, &[3, 4])) < 1e-6, "{opset}");
        }
        let found = operators(&changed);
        assert!(!found.contains(&"Dropout") && found.contains(&"Identity"), "{opset}: {found:?}");
    }
    let training = |ratio: f32| {
        let mut g = Graph::new(2);
        g.input(&[1, 4]);
        let ratio = g.values(&[], vec![ratio]);
        let y = g.node("Dropout", &["x", &ratio, "on"], &[]);
        let mut model = g.model(&y);
        let on = TensorProto { raw_data: Some(vec![1].into()), ..initializer("on", &[], [], data_type::BOOL) };
        graph(&mut model).initializer.push(on);
        dropout::remove(&mut model.proto)
    };
    assert!(training(0.5).unwrap_err().contains("it drops values at random"));
    assert_eq!(training(0.0), Ok(()));
}

/// A batch norm in training mode that also gives its running statistics, as weight standardisation is exported.
#[test]
fn unread_statistics_are_left_out() {
    let mut g = Graph::new(3);
    g.input(&[1, 3, 4, 5]);
    let inputs = [g.weight(&[3]), g.weight(&[3]), g.weight(&[3]), g.positive(&[3])];
    let inputs = ["x", &inputs[0], &inputs[1], &inputs[2], &inputs[3]];
    let y = g.outputs("BatchNormalization", &inputs, &[float("epsilon", 0.01), int("training_mode", 1)], 3);
    let model = g.model(&y[0]);
    let mut changed = model.clone();
    unread::trim(&mut changed.proto).unwrap();
    assert_eq!(changed.graph().node[0].output, y[..1]);
    let candle = Backend::resolve(Choice::Candle, None, true, &silent).unwrap();
    let far = difference(&run(&RUNTIME, &model, &[4, 3, 4, 5]), &run(&candle, &model, &[4, 3, 4, 5]));
    assert!(far < 1e-5, "{far}");
    let mut read = model.clone();
    let given = ValueInfoProto { name: Some(y[1].clone()), ..model.graph().output[0].clone() };
    graph(&mut read).output.push(given);
    unread::trim(&mut read.proto).unwrap();
    assert_eq!(read.graph().node[0].output.len(), 3);
}

/// Before opset 14 more outputs than one meant training, as in the weight standardisation of PyTorch's networks.
#[test]
fn a_batch_norm_of_five_outputs_follows_its_input() {
    for (opset, momentum, follows) in [(8, 0.9, true), (13, 1.0, true), (13, 0.9, false)] {
        let mut g = Graph::new(3);
        g.opset = opset;
        g.input(&[1, 3, 4, 5]);
        let inputs = [g.weight(&[3]), g.weight(&[3]), g.weight(&[3]), g.positive(&[3])];
        let inputs = ["x", &inputs[0], &inputs[1], &inputs[2], &inputs[3]];
        let y = g.outputs("BatchNormalization", &inputs, &[float("epsilon", 0.01), float("momentum", momentum)], 5);
        let model = g.model(&y[0]);
        let mut changed = model.clone();
        unread::trim(&mut changed.proto).unwrap();
        assert_eq!(changed.graph().node[0].output.len() == 1, follows, "{opset} {momentum}");
        if follows {
            let candle = Backend::resolve(Choice::Candle, None, true, &silent).unwrap();
            let far = difference(&run(&RUNTIME, &model, &[4, 3, 4, 5]), &run(&candle, &model, &[4, 3, 4, 5]));
            assert!(far < 1e-5, "{opset}: {far}");
        }
    }
}

/// The golden model in another float type.
fn narrow(to: i32) -> Model {
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    let main = graph(&mut model);
    for tensor in main.initializer.iter_mut().filter(|t| t.data_type() == data_type::FLOAT) {
        let values = floats(tensor).unwrap();
        set_raw(tensor, encode_floats(values, to));
        tensor.data_type = Some(to);
    }
    for info in main.input.iter_mut().chain(&mut main.output).chain(&mut main.value_info) {
        let tensor = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).unwrap();
        tensor.elem_type = tensor.elem_type.map(|t| if t == data_type::FLOAT { to } else { t });
    }
    main.node.push(node("Cast", &["logits"], "narrow", vec![int("to", to.into())]));
    model
}

#[test]
fn bfloat16_becomes_float32() {
    let mut model = narrow(data_type::BFLOAT16);
    assert!(RUNTIME.open(&model, &[], 1).is_err(), "ONNX Runtime can do it by now: export it as it is");
    assert!(halves::widen_bfloat16(&mut model.proto));
    assert!(!halves::widen_bfloat16(&mut model.proto));
    // The same values as float32 from the start.
    let mut wide = Model::open(golden("tiny.onnx")).unwrap();
    for tensor in graph(&mut wide).initializer.iter_mut().filter(|t| t.data_type() == data_type::FLOAT) {
        let values = floats(tensor).unwrap();
        let rounded = TensorProto {
            raw_data: Some(encode_floats(values, data_type::BFLOAT16)),
            data_type: Some(16),
            ..Default::default()
        };
        set_raw(tensor, encode_floats(floats(&rounded).unwrap(), data_type::FLOAT));
    }
    let cast = model.proto.graph.as_mut().unwrap().node.pop().unwrap();
    assert_eq!(cast.int("to", 0), 1);
    assert_eq!(model.graph(), wide.graph());
    let mut narrow_one = narrow(data_type::BFLOAT16);
    let (plan, _) = Plan::make(&mut narrow_one, &RUNTIME, &PlanOptions::default(), &silent).unwrap();
    assert!(plan.notes.iter().any(|note| note.contains("bfloat16 is exported as float32")), "{:?}", plan.notes);
    let mut half = narrow(data_type::FLOAT16);
    assert!(!halves::widen_bfloat16(&mut half.proto), "float16 stays in the file");
}

#[test]
fn halves_are_widened_for_import() {
    let half = narrow(data_type::FLOAT16);
    let mut wide = half.clone();
    halves::widen(&mut wide.proto).unwrap();
    let far = difference(&run(&RUNTIME, &wide, &[2, 3, 8, 8]), &run(&RUNTIME, &half, &[2, 3, 8, 8]));
    assert!((1e-7..1e-2).contains(&far), "{far}");
    let stored = wide.graph().initializer.iter().all(|t| t.data_type() != data_type::FLOAT16);
    let types = wide.graph().input.iter().chain(&wide.graph().output).filter_map(|v| v.tensor_type());
    assert!(stored && types.into_iter().all(|(t, _)| t != data_type::FLOAT16));
}

#[test]
fn a_quantized_graph_says_why_it_cannot_be_trained_inside() {
    let reason = |name| open(name).graph().node.iter().find_map(normalize::no_gradient);
    // What is stored quantized can be computed with, and not be trained.
    assert!(reason("qdq_transposed").is_none());
    let error = Program::import(&open("qdq_transposed"), &[]).map(drop).unwrap_err().to_string();
    assert!(error.contains("node Gemm -> logits: its weights are stored quantized"), "{error}");
    let candle = Backend::resolve(Choice::Candle, None, true, &silent).unwrap();
    candle.open(&open("qdq_transposed"), &[], 1).map(drop).unwrap_or_else(|error| panic!("{error}"));
    assert!(reason("qdq").is_some());
    let mut g = Graph::new(2);
    g.input(&[1, 4]);
    let scale = g.values(&[], vec![0.01]);
    let y = g.node("QuantizeLinear", &["x", &scale], &[]);
    let y = g.node("DequantizeLinear", &[&y, &scale], &[]);
    let error = Program::import(&g.model(&y), &[]).map(drop).unwrap_err().to_string();
    assert!(
        error.contains("node v1 (QuantizeLinear): it is quantized, and rounded values have no gradient"),
        "{error}"
    );
}
