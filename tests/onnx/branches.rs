//! `If` whose condition the file tells.

use crate::build::{Graph, int};
use crate::common::tract;
use crate::support::{RUNTIME, after, branch, choice, difference, graph, node, operators, run, tensor_attribute};
use adapt::graph::Program;
use adapt::onnx::normalize::{self, branches, names};
use adapt::onnx::schema::*;
use adapt::onnx::surgery::tensor_type;
use adapt::onnx::tensor::{initializer, integers};
use adapt::onnx::{Model, data_type};

fn truth(name: &str, value: bool) -> TensorProto {
    TensorProto { raw_data: Some(vec![value.into()].into()), ..initializer(name, &[], [], data_type::BOOL) }
}

/// `outer`, then these nodes; the last makes `out`.
fn model(opset: i64, nodes: Vec<NodeProto>) -> Model {
    let mut g = Graph::new(6);
    g.opset = opset;
    g.input(&[1, 3, 1]);
    let outer = g.node("Exp", &["x"], &[]);
    let mut model = g.model("out");
    let main = graph(&mut model);
    main.initializer.extend([truth("yes", true), truth("no", false), integers("four", &[4]), integers("five", &[5])]);
    main.node.push(node("Identity", &[&outer], "outer", vec![]));
    main.node.extend(nodes);
    model
}

/// Two branches that both read `outer`, the first as `Neg` does.
fn both() -> [GraphProto; 2] {
    [branch("v", node("Neg", &["outer"], "v", vec![])), branch("v", node("Sin", &["outer"], "v", vec![]))]
}

/// As the steps before leave it.
fn with_own_names(mut model: Model) -> Model {
    names::unique(&mut model.proto).unwrap();
    model
}

fn count(model: &Model, operator: &str) -> usize {
    operators(model).iter().filter(|found| **found == operator).count()
}

#[test]
fn the_branch_of_a_stored_condition_is_taken() {
    let constant = node("Constant", &[], "stored", vec![tensor_attribute("value", truth("", false))]);
    let mut nodes = vec![constant, node("Identity", &["stored"], "passed", vec![])];
    nodes.push(node("Not", &["passed"], "turned", vec![]));
    nodes.push(node("Equal", &["four", "five"], "same", vec![]));
    nodes.push(node("Cast", &["same"], "number", vec![int("to", 7)]));
    nodes.push(node("Cast", &["number"], "again", vec![int("to", 9)]));
    let conditions = ["yes", "no", "passed", "turned", "same", "again"];
    for (i, condition) in conditions.iter().enumerate() {
        nodes.push(choice(condition, &format!("y{i}"), both()));
    }
    nodes.push(node("Sum", &["y0", "y1", "y2", "y3", "y4", "y5"], "out", vec![]));
    let changed = after(branches::take, &with_own_names(model(13, nodes)), &[2, 3, 1]);
    assert_eq!((count(&changed, "If"), count(&changed, "Neg"), count(&changed, "Sin")), (0, 2, 4));
}

/// Branches in branches, whose values are called as others are; stored tensors of a branch; one that hands on a value
/// from outside.
#[test]
fn branches_inside_and_what_they_store() {
    let mut inside = both();
    inside[0].initializer.push(initializer("shift", &[3, 1], [1., 2., 3.], data_type::FLOAT));
    inside[0].node.push(node("Add", &["v", "shift"], "w", vec![]));
    inside[0].output[0].name = Some("w".into());
    let mut outside = branch("v", choice("no", "v", [both()[1].clone(), inside[0].clone()]));
    outside.node.push(node("Identity", &["outer"], "side", vec![]));
    outside.output.push(ValueInfoProto { name: Some("side".into()), ..Default::default() });
    let mut other = both()[0].clone();
    other.node.push(node("Identity", &["outer"], "side", vec![]));
    other.output.push(outside.output[1].clone());
    let mut two = choice("yes", "a", [outside, other]);
    two.output.push("b".into());
    let hands_on = choice("no", "c", [both()[0].clone(), branch("u", node("Identity", &["b"], "u", vec![]))]);
    let sum = node("Sum", &["a", "b", "c", "outer"], "out", vec![]);
    let model = with_own_names(model(17, vec![two, hands_on, sum]));
    let changed = after(branches::take, &model, &[2, 3, 1]);
    assert_eq!((count(&changed, "If"), count(&changed, "Add"), count(&changed, "Neg")), (0, 1, 1));
    let made: Vec<&String> = changed.graph().node.iter().flat_map(|n| &n.output).collect();
    assert!(made.iter().enumerate().all(|(i, name)| !made[..i].contains(name)), "{made:?}");
}

/// Conditions that hang on the image, or on more than the steps follow, stay; a known one inside does not.
#[test]
fn what_is_not_known_stays() {
    let sums = node("ReduceSum", &["outer"], "sum", vec![int("keepdims", 0)]);
    let zero = node("Sub", &["sum", "sum"], "zero", vec![]);
    let condition = node("Cast", &["zero"], "condition", vec![int("to", 9)]);
    let inside = [branch("v", choice("yes", "v", both())), both()[1].clone()];
    let unknown = choice("condition", "a", inside);
    let known = choice("yes", "b", both());
    let model = model(17, vec![sums, zero, condition, unknown, known, node("Add", &["a", "b"], "out", vec![])]);
    let changed = after(branches::take, &with_own_names(model), &[2, 3, 1]);
    let left: Vec<&NodeProto> = changed.graph().node.iter().filter(|node| node.is("If")).collect();
    assert_eq!(left.len(), 1);
    let inner = left[0].attr("then_branch").unwrap().g.as_ref().unwrap();
    assert!(inner.node.iter().all(|node| !node.is("If")) && inner.node.iter().any(|node| node.is("Neg")));
}

/// Stored, or made by repeating something no times.
#[test]
fn a_condition_without_a_value_is_refused() {
    let empty = TensorProto { dims: vec![0], raw_data: Some(Default::default()), ..truth("nothing", true) };
    let expanded = vec![node("Expand", &["yes", "none"], "nothing", vec![]), choice("nothing", "out", both())];
    let cases = [(vec![choice("nothing", "out", both())], empty), (expanded, integers("none", &[0]))];
    for (nodes, stored) in cases {
        let mut model = model(13, nodes);
        graph(&mut model).initializer.push(stored);
        let shape = [None, Some(3), Some(1)];
        let refused = [Program::import(&model, &shape).map(drop), tract().open(&model, &shape, 1).map(drop)];
        for result in refused {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("its condition holds no value"), "{error}");
        }
    }
}

/// As older exporters have them around a squeeze and a reshape.
#[test]
fn several_are_imported() {
    let axis = |op| branch("s", node(op, &["outer", "axis"], "s", vec![]));
    let squeeze = choice("yes", "squeezed", [axis("Squeeze"), branch("s", node("Identity", &["outer"], "s", vec![]))]);
    let same = node("Equal", &["four", "five"], "same", vec![]);
    let reshape = [
        branch("r", node("Identity", &["squeezed"], "r", vec![])),
        branch("r", node("Reshape", &["squeezed", "shape"], "r", vec![])),
    ];
    let nodes = vec![squeeze, same, choice("same", "a", reshape), node("Relu", &["a"], "out", vec![])];
    let mut model = model(13, nodes);
    graph(&mut model).initializer.extend([integers("axis", &[2]), integers("shape", &[0, 3])]);
    let expected = run(&RUNTIME, &model, &[2, 3, 1]);
    assert_eq!(expected[0].shape(), [2, 3]);
    let normal = normalize::for_import(&model).unwrap();
    assert!(difference(&expected, &run(&RUNTIME, &normal, &[2, 3, 1])) < 1e-6);
    let shape = [None, Some(3), Some(1)];
    Program::import(&model, &shape).map(drop).unwrap_or_else(|error| panic!("{error}"));
    let mut engine = tract().open(&model, &shape, 1).unwrap_or_else(|error| panic!("{error}"));
    let images = ndarray::ArrayD::from_shape_vec(vec![2, 3, 1], crate::build::Rng::new(5).numbers(6)).unwrap();
    assert!(difference(&expected, &engine.run(images.view()).unwrap()) < 1e-6);
}

/// What a node's inner graph makes may be called as what the node gives; how often a loop runs may be a `Constant`'s number.
#[test]
fn inner_values_may_be_called_as_the_nodes_own() {
    let info = |name: &str, kind, dim| ValueInfoProto {
        r#type: Some(tensor_type(kind, dim)),
        name: Some(name.into()),
        ..Default::default()
    };
    let branches = ["Neg", "Sin"].map(|operator| branch("out", node(operator, &["outer"], "out", vec![])));
    let mut body = branch("out", node("Neg", &["value"], "out", vec![]));
    body.node.push(node("Identity", &["on"], "on.next", vec![]));
    body.output.insert(0, ValueInfoProto { name: Some("on.next".into()), ..Default::default() });
    let open = || (0..3).map(|_| Dimension::default()).collect();
    body.input = vec![
        info("round", data_type::INT64, vec![]),
        info("on", data_type::BOOL, vec![]),
        info("value", data_type::FLOAT, open()),
    ];
    let mut repeated = node("Loop", &["rounds", "", "outer"], "out", vec![]);
    repeated.attribute.push(AttributeProto {
        g: Some(body),
        r#type: Some(5),
        ..tensor_attribute("body", truth("", true))
    });
    repeated.attribute[0].t = None;
    let rounds = node("Constant", &[], "rounds", vec![int("value_int", 3)]);
    let negated = run(&RUNTIME, &model(17, vec![node("Neg", &["outer"], "out", vec![])]), &[2, 3, 1]);
    for nodes in [vec![choice("yes", "out", branches)], vec![rounds, repeated]] {
        let model = Model::from_bytes("<test>", model(17, nodes).to_bytes().unwrap());
        let model = model.unwrap_or_else(|error| panic!("{error}"));
        assert!(difference(&negated, &run(&RUNTIME, &model, &[2, 3, 1])) < 1e-6);
        let normal = normalize::for_import(&model).unwrap();
        assert!(difference(&negated, &run(&RUNTIME, &normal, &[2, 3, 1])) < 1e-6);
    }
}
