//! Ends of networks as exporters write them: where they are cut, and that what is adapted computes the new head.

use crate::build::{Graph, int, ints};
use crate::cases::{computes, head};
use crate::common::onnx_runtime;
use crate::support::{graph, node};
use adapt::onnx::Model;
use adapt::onnx::cut::Classifier;
use adapt::onnx::normalize::softmax;
use adapt::onnx::surgery::{self, Pooling};
use adapt::plan::{Activation, Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;
use ndarray::ArrayD;

pub const FEATURES: usize = 32;

pub fn plan(model: &Model, cut: Option<&str>) -> (Plan, Adapted) {
    let options = PlanOptions { cut: cut.map(String::from), ..Default::default() };
    let mut changed = model.clone();
    let made = Plan::make(&mut changed, &onnx_runtime(), &options, &silent);
    let (plan, _) = made.unwrap_or_else(|error| panic!("{error}"));
    let adapted = Adapted::new(&changed, &plan, &head(plan.features)).unwrap_or_else(|error| panic!("{error}"));
    computes(&plan.cut, &changed, &plan, &adapted, 2, 1e-5);
    (plan, adapted)
}

/// A map of 32 channels.
pub fn map(g: &mut Graph) -> String {
    g.input(&[1, 3, 8, 8]);
    let weight = g.weight(&[FEATURES, 3, 3, 3]);
    let map = g.node("Conv", &["x", &weight], &[]);
    g.node("Relu", &[&map], &[])
}

/// A row of 32 features.
pub fn row(g: &mut Graph) -> String {
    let map = map(g);
    let pool = g.node("GlobalAveragePool", &[&map], &[]);
    g.node("Flatten", &[&pool], &[])
}

/// Scores made of a row.
pub fn scores(g: &mut Graph, row: &str, classes: usize) -> String {
    let (weight, bias) = (g.weight(&[FEATURES, classes]), g.weight(&[classes]));
    g.node("Gemm", &[row, &weight, &bias], &[])
}

/// How many values there are tells whether a layer with a `Relu` behind it is the last of an embedding, or a classifier.
#[test]
fn a_layer_with_a_relu_behind_it_is_told_by_its_width() {
    for (width, is_embedding) in [(10, false), (1000, false), (64, true), (1280, true), (4096, true)] {
        let mut g = Graph::new(3);
        let features = row(&mut g);
        let made = scores(&mut g, &features, width);
        let output = g.node("Relu", &[&made], &[]);
        let found = plan(&g.model(&output), None).0;
        assert_eq!(found.cut, if is_embedding { &output } else { &features }.as_str(), "{width}");
        let expected = if is_embedding { Classifier::None } else { Classifier::Linear };
        assert_eq!(found.classifier, expected, "{width}");
        for pool in ["GlobalAveragePool", "ReduceMean"] {
            let mut g = Graph::new(3);
            let map = map(&mut g);
            let weight = g.weight(&[width, FEATURES, 1, 1]);
            let made = g.node("Conv", &[&map, &weight], &[]);
            let made = g.node("Relu", &[&made], &[]);
            let made = g.node(pool, &[&made], &if pool == "ReduceMean" { vec![ints("axes", &[2, 3])] } else { vec![] });
            let output = g.node("Flatten", &[&made], &[]);
            let found = plan(&g.model(&output), None).0;
            assert_eq!(found.cut, if is_embedding { &output } else { &map }.as_str(), "{pool} {width}");
            let expected = if is_embedding { Classifier::None } else { Classifier::Conv };
            assert_eq!(found.classifier, expected, "{pool} {width}");
        }
    }
}

/// What is done to the scores of a linear layer goes with it, but for a final activation.
#[test]
fn a_classifier_is_found_behind_what_is_done_to_its_scores() {
    type End = fn(&mut Graph, &str) -> String;
    let ends: [(&str, Activation, End); 7] = [
        ("moved", Activation::Softmax, |g, scores| {
            let most = g.node("ReduceMax", &[scores], &[ints("axes", &[-1])]);
            let moved = g.node("Sub", &[scores, &most], &[]);
            g.node("Softmax", &[&moved], &[int("axis", -1)])
        }),
        ("written out", Activation::Softmax, |g, scores| {
            let most = g.node("ReduceMax", &[scores], &[ints("axes", &[1])]);
            let moved = g.node("Sub", &[scores, &most], &[]);
            let (powers, axes) = (g.node("Exp", &[&moved], &[]), g.integers(&[-1]));
            let sum = g.node("ReduceSum", &[&powers, &axes], &[]);
            g.node("Div", &[&powers, &sum], &[])
        }),
        ("split", Activation::None, |g, scores| {
            let sizes = g.integers(&[6, 4]);
            g.outputs("Split", &[scores, &sizes], &[int("axis", 1)], 2).remove(0)
        }),
        ("above one half", Activation::Sigmoid, |g, scores| {
            let (shares, half) = (g.node("Sigmoid", &[scores], &[]), g.values(&[], vec![0.5]));
            g.node("Greater", &[&shares, &half], &[])
        }),
        ("at least one half", Activation::Sigmoid, |g, scores| {
            let (shares, half) = (g.node("Sigmoid", &[scores], &[]), g.values(&[], vec![0.5]));
            let above = g.node("GreaterOrEqual", &[&shares, &half], &[]);
            g.node("Cast", &[&above], &[int("to", 1)])
        }),
        ("hardmax", Activation::None, |g, scores| g.node("Hardmax", &[scores], &[])),
        ("one hot", Activation::Softmax, |g, scores| {
            let shares = g.node("Softmax", &[scores], &[int("axis", 1)]);
            let class = g.node("ArgMax", &[&shares], &[int("axis", 1), int("keepdims", 0)]);
            let (depth, values) = (g.integer(10), g.values(&[2], vec![0., 1.]));
            g.node("OneHot", &[&class, &depth, &values], &[])
        }),
    ];
    for (name, activation, end) in ends {
        let mut g = Graph::new(5);
        let features = row(&mut g);
        let made = scores(&mut g, &features, 10);
        let output = end(&mut g, &made);
        let mut model = g.model(&output);
        // Some are no floats.
        graph(&mut model).output[0].r#type = None;
        let (plan, adapted) = plan(&model, None);
        assert_eq!((plan.cut.as_str(), plan.classifier), (features.as_str(), Classifier::Linear), "{name}");
        assert_eq!(adapted.activation, activation.exclusive(), "{name}");
    }
}

/// 64 tokens of 32 values.
fn tokens(g: &mut Graph) -> String {
    g.input(&[1, 3, 10, 10]);
    let (weight, shape) = (g.weight(&[FEATURES, 3, 3, 3]), g.integers(&[0, 32, 64]));
    let map = g.node("Conv", &["x", &weight], &[]);
    let rows = g.node("Reshape", &[&map, &shape], &[]);
    g.node("Transpose", &[&rows], &[ints("perm", &[0, 2, 1])])
}

/// `x[:, k]` as TensorFlow's exporter writes it, which names every axis.
#[test]
fn a_token_is_found_in_a_slice_of_every_axis() {
    for (open, opset) in [(i64::from(i32::MAX), 17), (i64::MAX, 17), (i64::from(i32::MAX), 9)] {
        let mut g = Graph::new(7);
        g.opset = opset;
        let all = tokens(&mut g);
        let mut one = |k: i64| {
            let lists = [("starts", [0, k, 0]), ("ends", [open, k + 1, open]), ("axes", [0, 1, 2])];
            let one = if opset < 10 {
                let slice = g.node("Slice", &[&all], &lists.map(|(name, list)| ints(name, &list)));
                g.node("Squeeze", &[&slice], &[ints("axes", &[1])])
            } else {
                let lists = lists.map(|(_, list)| g.integers(&list));
                let slice = g.node("Slice", &[&all, &lists[0], &lists[1], &lists[2]], &[]);
                let second = g.integers(&[1]);
                g.node("Squeeze", &[&slice, &second], &[])
            };
            scores(&mut g, &one, 10)
        };
        let heads = [one(0), one(1)];
        let sum = g.node("Add", &[&heads[0], &heads[1]], &[]);
        let found = plan(&g.model(&sum), None).0;
        assert_eq!((&found.cut, &found.surgery.tokens), (&all, &vec![0, 1]), "{open} {opset}");
        assert_eq!(found.pooling, Pooling::Tokens(vec![0, 1]));
    }
}

/// As CrossViT's two branches: what their heads read is put one behind the other.
#[test]
fn heads_on_several_tensors_become_one_on_all() {
    for join in ["Mean", "Add", "Concat"] {
        let mut g = Graph::new(7);
        let first = row(&mut g);
        let (weight, last) = (g.weight(&[16, 3, 5, 5]), g.weight(&[16, 10]));
        let map = g.node("Conv", &["x", &weight], &[]);
        let pool = g.node("GlobalMaxPool", &[&map], &[]);
        let second = g.node("Flatten", &[&pool], &[]);
        let heads = [scores(&mut g, &first, 10), g.node("Gemm", &[&second, &last], &[])];
        let axis = [int("axis", 1)];
        let joined = g.node(join, &[&heads[0], &heads[1]], if join == "Concat" { &axis } else { &[] });
        let output = g.node("Softmax", &[&joined], &axis);
        let mut model = g.model(&output);
        let (found, _) = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent).unwrap();
        assert_eq!(
            (found.features, found.surgery.features, found.surgery.heads),
            (FEATURES + 16, Some(48), 2),
            "{join}"
        );
        // The plan names a tensor of the file.
        assert_eq!((&found.cut, &found.surgery.apart), (&first, &vec![first.clone(), second.clone()]), "{join}");
        let adapted = Adapted::new(&model, &found, &head(48)).unwrap();
        let rows = onnx_runtime().open(&surgery::backbone(&model, &found.surgery, &Pooling::None), &[], 1);
        let images = ArrayD::from_shape_fn(vec![1, 3, 8, 8], |at| (at[1] * 5 + at[2] * 3 + at[3]) as f32 * 0.1);
        let rows = rows.unwrap().run(images.view()).unwrap().swap_remove(0).into_dimensionality().unwrap();
        let expected = adapted.activation.apply(adapted.head.logits(rows.view()).unwrap().view());
        let written = onnx_runtime().open(&adapted.model, &[], 1).unwrap().run(images.view()).unwrap().swap_remove(0);
        assert!(expected.iter().zip(&written).all(|(a, b)| (a - b).abs() < 1e-5), "{join}: {expected} {written}");
        assert_eq!(adapted.activation, Activation::Softmax);
    }
}

#[test]
fn tokens_lie_along_the_last_axis_but_one() {
    for (operator, axis, expected) in [("Gather", 1, 3), ("Gather", -2, 3), ("Slice", -2, 3), ("Slice", 1, -1)] {
        let mut g = Graph::new(7);
        let all = tokens(&mut g);
        let (weight, bias) = (g.weight(&[FEATURES, 10]), g.weight(&[10]));
        let made = g.node("MatMul", &[&all, &weight], &[]);
        let made = g.node("Add", &[&made, &bias], &[]);
        let output = if operator == "Gather" {
            let place = g.integer(expected);
            g.node("Gather", &[&made, &place], &[int("axis", axis)])
        } else {
            let end = if expected < 0 { i64::MAX } else { expected + 1 };
            let lists = [expected, end, axis].map(|number| g.integers(&[number]));
            let slice = g.node("Slice", &[&made, &lists[0], &lists[1], &lists[2]], &[]);
            g.node("Squeeze", &[&slice, &lists[2]], &[])
        };
        let mut model = g.model(&output);
        let options = PlanOptions::default();
        let (found, _) = Plan::make(&mut model, &onnx_runtime(), &options, &silent).unwrap();
        assert_eq!((&found.cut, &found.surgery.tokens), (&all, &vec![expected]), "{operator} {axis}");
    }
    // No place of one: a later one begins at the largest number, and nothing overflows.
    let mut g = Graph::new(7);
    let all = tokens(&mut g);
    let lists = [i64::MAX, i64::MIN, 1].map(|number| g.integers(&[number]));
    let slice = g.node("Slice", &[&all, &lists[0], &lists[1], &lists[2]], &[]);
    let output = scores(&mut g, &slice, 10);
    adapt::onnx::cut::candidates(g.model(&output).graph(), &output);
}

/// A final activation that is written out keeps its meaning behind a cut that is chosen, but for one inside it.
#[test]
fn a_chosen_cut_keeps_a_written_activation() {
    let mut g = Graph::new(9);
    let features = row(&mut g);
    let made = scores(&mut g, &features, 10);
    let (powers, axes) = (g.node("Exp", &[&made], &[]), g.integers(&[1]));
    let sum = g.node("ReduceSum", &[&powers, &axes], &[]);
    let output = g.node("Div", &[&powers, &sum], &[]);
    let model = g.model(&output);
    for (cut, activation) in
        [(&features, Activation::Softmax), (&made, Activation::Softmax), (&powers, Activation::None)]
    {
        let (plan, adapted) = plan(&model, Some(cut));
        assert_eq!((&plan.cut, adapted.activation), (cut, activation));
    }
}

/// Values that are read twice are followed once: 40 of them in a row would be as many as there are atoms in a drop of water.
#[test]
fn readers_of_an_output_are_followed_once() {
    let mut g = Graph::new(2);
    let features = row(&mut g);
    let made = scores(&mut g, &features, 10);
    let mut model = g.model(&made);
    let mut value = made;
    for place in 0..60 {
        let next = format!("dead{place}");
        graph(&mut model).node.push(node("Reshape", &[&value, &value], &next, vec![]));
        value = next;
    }
    softmax::join(&mut model.proto);
}
