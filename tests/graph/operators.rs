//! Each operator of the table, in models that proptest chooses and, where one fails, makes smaller.

use super::build::{Graph, Rng, int, ints};
use super::cases::CASES;
use super::values::Case;
use super::{check, parts};
use adapt::graph::{self, Program};
use adapt::onnx::schema::{AttributeProto, NodeProto, ValueInfoProto};
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Runs a case at batches of 1 and 3: outputs against ONNX Runtime, gradients against central differences. Gives the
/// program's operators.
fn run(case: Case, choices: Vec<u32>) -> Result<Vec<String>, TestCaseError> {
    let mut graph = Graph::with(Rng::choosing(choices));
    let output = case(&mut graph);
    let model = graph.model(&output);
    let checked = check::tried(|| {
        let program = Program::import(&model, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(program.batch(), None, "imported for one image only");
        for batch in [1, 3] {
            let mut shape = graph.shape.clone();
            shape[0] = batch;
            // Sums of some hundred float32 products in another order: a few 1e-7 of the largest value each.
            let values = check::forward(&model, &program, &shape, 5, 2e-5);
            check::backward(&program, &values, &shape, 5);
        }
        program.operators().into_iter().map(str::to_owned).collect()
    });
    checked.map_err(|text| {
        let attribute = |a: &AttributeProto| format!("{}={:?}{:?}{:?}{:?} ", a.name(), a.i, a.f, a.s, a.ints);
        let node =
            |n: &NodeProto| format!("{}({})", n.op_type(), n.attribute.iter().map(attribute).collect::<String>());
        let nodes: Vec<_> = model.graph().node.iter().map(node).collect();
        TestCaseError::fail(format!("{text} in {nodes:?} {:?}", graph.shape))
    })
}

/// The same cases everywhere and always. `PROPTEST_CASES` asks for as many in each family. On a GPU, whose time is short, a case
/// that fails is not made much smaller.
pub fn runner(cases: u32) -> TestRunner {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    let max_shrink_iters = if cfg!(feature = "cuda") && !cfg!(feature = "cuda-emulated") { 20 } else { 300 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn every_operator_is_right_forwards_and_backwards() {
    let seen = RefCell::new(BTreeSet::new());
    let mut failures = Vec::new();
    for (name, case, cases) in CASES {
        let chosen = proptest::collection::vec(any::<u32>(), 24);
        let tried = runner(cases).run(&chosen, |choices| {
            seen.borrow_mut().extend(run(case, choices)?);
            Ok(())
        });
        failures.extend(tried.err().map(|error| format!("{name}: {error}")));
    }
    failures.extend(
        run(parts::sized_by_the_batch, vec![])
            .map(|operators| seen.borrow_mut().extend(operators))
            .err()
            .map(|e| e.to_string()),
    );
    assert!(failures.is_empty(), "{} families failed:\n{}", failures.len(), failures.join("\n\n"));
    let missed: Vec<&str> = graph::operators().filter(|operator| !seen.borrow().contains(*operator)).collect();
    assert!(missed.is_empty(), "no case has {missed:?}");
}

#[test]
fn a_missing_operator_is_named() {
    let mut graph = Graph::new(1);
    graph.input(&[1, 5]);
    let places = graph.node("NonZero", &["x"], &[]);
    let output = graph.node("Cast", &[&places], &[int("to", 1)]);
    let error = Program::import(&graph.model(&output), &[]).err().expect("NonZero is not known").to_string();
    assert!(error.contains("NonZero"), "{error}");
    assert!(error.contains("node 'v") && error.contains("train a head"), "{error}");
}

#[test]
fn a_tensor_too_large_is_refused() {
    let mut graph = Graph::new(1);
    graph.input(&[1, 5]);
    let times = graph.integers(&[1, 1 << 30]);
    let output = graph.node("Tile", &["x", &times], &[]);
    let error = Program::import(&graph.model(&output), &[]).err().expect("20 GiB are too much").to_string();
    assert!(error.contains("too large") && error.contains("Tile"), "{error}");
}

#[test]
fn a_recurrent_network_is_named() {
    let mut graph = Graph::new(1);
    graph.input(&[1, 5, 4]);
    let (weight, own) = (graph.weight(&[1, 9, 4]), graph.weight(&[1, 9, 3]));
    let output = graph.node("GRU", &["x", &weight, &own], &[int("hidden_size", 3)]);
    let error = Program::import(&graph.model(&output), &[]).err().expect("GRU is not known").to_string();
    assert!(error.contains("(GRU)") && error.contains("train a head"), "{error}");
}

/// Sizes that only constants say, in every place where an importer would follow them.
#[test]
fn huge_sizes_are_refused_before_they_are_made() {
    type Make = fn(&mut Graph) -> String;
    let cases: [(&str, Make); 11] = [
        ("ConstantOfShape", |g| {
            // An empty tensor, along whose other axes an importer would walk.
            let shape = g.integers(&[1 << 22, 0, 64, 3]);
            let empty = g.node("ConstantOfShape", &[&shape], &[]);
            g.node("Softmax", &[&empty], &[])
        }),
        ("ConstantOfShape", |g| {
            let shape = g.integers(&[1 << 20, 1 << 20]);
            g.node("ConstantOfShape", &[&shape], &[])
        }),
        ("ConstantOfShape", |g| {
            // Put together by arithmetic.
            let (side, two) = (g.integers(&[1 << 15]), g.integers(&[1 << 5]));
            let side = g.node("Mul", &[&side, &two], &[]);
            let shape = g.node("Concat", &[&side, &side], &[int("axis", 0)]);
            g.node("ConstantOfShape", &[&shape], &[])
        }),
        ("Expand", |g| {
            let (one, shape) = (g.values(&[1], vec![1.]), g.integers(&[1 << 40]));
            g.node("Expand", &[&one, &shape], &[])
        }),
        ("Tile", |g| {
            let (one, times) = (g.values(&[1], vec![1.]), g.integers(&[i64::MAX]));
            g.node("Tile", &[&one, &times], &[])
        }),
        ("Range", |g| {
            let [from, to, step] = [0, 1 << 60, 1].map(|n| g.integer(n));
            g.node("Range", &[&from, &to, &step], &[])
        }),
        ("Resize", |g| {
            let scales = g.values(&[2], vec![1., 1e12]);
            g.node("Resize", &["x", "", &scales], &[])
        }),
        ("Pad", |g| {
            let pads = g.integers(&[0, 1 << 50, 0, 0]);
            g.node("Pad", &["x", &pads], &[])
        }),
        ("MaxPool", |g| g.node("MaxPool", &["x"], &[ints("kernel_shape", &[1 << 60])])),
        ("ConvTranspose", |g| {
            let weight = g.weight(&[4, 1, 1]);
            g.node("ConvTranspose", &["x", &weight], &[ints("strides", &[1 << 60])])
        }),
        ("Add", |g| {
            // A column and a row.
            let sides = [[1 << 16, 1], [1, 1 << 16]].map(|sides| g.integers(&sides));
            let [column, row] = sides.map(|sides| g.node("ConstantOfShape", &[&sides], &[]));
            g.node("Add", &[&column, &row], &[])
        }),
    ];
    for (operator, make) in cases {
        let mut graph = Graph::new(1);
        graph.input(&[1, 4]);
        let made = make(&mut graph);
        let output = graph.node("Identity", &[&made], &[]);
        let error = Program::import(&graph.model(&output), &[]).err().expect(operator).to_string();
        assert!(error.contains("too large") && error.contains(&format!("({operator})")), "{operator}: {error}");
    }
}

/// Who reads each shape is looked for once.
#[test]
fn many_nodes_that_ask_for_the_batch_are_no_trouble() {
    let mut graph = Graph::new(1);
    graph.input(&[1, 4]);
    let zero = graph.integers(&[0]);
    let ask = |graph: &mut Graph| {
        let all = graph.node("Shape", &["x"], &[]);
        graph.node("Gather", &[&all, &zero], &[])
    };
    let counts: Vec<String> = (0..40_000).map(|_| ask(&mut graph)).collect();
    let counts: Vec<&str> = counts.iter().map(String::as_str).collect();
    let all = graph.node("Concat", &counts, &[int("axis", 0)]);
    let start = graph.node("Relu", &["x"], &[]);
    let output = graph.node("Expand", &[&start, &all], &[]);
    let model = graph.model(&output);
    let input = ValueInfoProto { name: Some(start), ..model.graph().input[0].clone() };
    let began = Instant::now();
    let part = graph::behind(&model, input).unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(part.graph().node.len(), 80_002);
    assert!(part.graph().node.iter().all(|node| node.input.iter().all(|input| input != "x")));
}

/// `x` reshaped to its own first size, on which these operators have been tried in turn.
fn sized(operators: &[&str], times: usize) -> adapt::Model {
    let mut graph = Graph::new(1);
    graph.input(&[1, 4]);
    let [zero, one, two, three, rest] = [0, 1, 2, 3, -1].map(|n| graph.integers(&[n]));
    let all = graph.node("Shape", &["x"], &[]);
    let first = graph.node("Gather", &[&all, &zero], &[]);
    let mut size = first.clone();
    for operator in operators.iter().cycle().take(operators.len() * times) {
        let inputs: &[&str] = match *operator {
            "Transpose" | "Sum" | "Neg" => &[&size],
            "Div" => &[&size, &three],
            "Min" => &[&size, &two],
            "Square" => &[&size, &size],
            _ => &[&size, &one],
        };
        size = graph.node(if *operator == "Square" { "Mul" } else { operator }, inputs, &[]);
    }
    let none = graph.node("Sub", &[&size, &size], &[]);
    let same = graph.node("Add", &[&none, &first], &[]);
    let target = graph.node("Concat", &[&same, &rest], &[int("axis", 0)]);
    let output = graph.node("Reshape", &["x", &target], &[]);
    graph.model(&output)
}

#[test]
fn sizes_of_sizes_are_refused_in_time() {
    for operators in [
        &["Add", "Div", "Transpose"],
        &["Add", "Div", "Tile"],
        &["Add", "Div", "Expand"],
        &["Add", "Div", "Sum"],
        &["Add", "Div", "Neg"],
        &["Add", "Max", "Transpose"],
        &["Add", "Min", "Sum"],
        &["Add", "Square", "Add"],
    ] {
        for times in [8, 12, 60, 2000] {
            let start = std::time::Instant::now();
            let error = Program::import(&sized(operators, times), &[]).err();
            assert!(start.elapsed().as_secs() < 10, "{operators:?} {times} times: {:?}", start.elapsed());
            let refused = error.is_some_and(|error| error.to_string().contains("too many steps"));
            assert!(refused || times < 60, "{operators:?} {times} times");
        }
    }
}

/// tract multiplies the formulas of all axes out: with 49 it would never end.
#[test]
fn computed_shapes_of_many_axes_are_refused() {
    for (times, works) in [(3, true), (49, false)] {
        let mut graph = Graph::new(1);
        graph.input(&[1, 4]);
        let [zero, one, times, rest] = [0, 1, times, -1].map(|n| graph.integers(&[n]));
        let all = graph.node("Shape", &["x"], &[]);
        let first = graph.node("Gather", &[&all, &zero], &[]);
        let more = graph.node("Add", &[&first, &one], &[]);
        let turned = graph.node("Transpose", &[&more], &[]);
        let many = graph.node("Tile", &[&turned, &times], &[]);
        let ones = graph.node("Div", &[&many, &many], &[]);
        let target = graph.node("Concat", &[&first, &ones, &rest], &[int("axis", 0)]);
        let output = graph.node("Reshape", &["x", &target], &[]);
        let error = Program::import(&graph.model(&output), &[]).err().map(|error| error.to_string());
        let told = error.as_ref().is_some_and(|error| error.contains("(Reshape)") && error.contains("51 axes"));
        assert!(if works { error.is_none() } else { told }, "{error:?}");
    }
}
