//! Each operator of the table, in random models.

use super::build::{Graph, int};
use super::values::{self, Case};
use super::{check, maps, parts, sums};
use adapt::graph::{self, Program};
use adapt::onnx::schema::{AttributeProto, NodeProto};
use std::collections::BTreeSet;

const CASES: [(&str, Case, u64); 27] = [
    ("functions", values::functions, 120),
    ("functions_of_positive", values::functions_of_positive, 20),
    ("powers", values::powers, 30),
    ("newer", values::newer, 40),
    ("large_values", values::large_values, 30),
    ("binaries", values::binaries, 80),
    ("choices", values::choices, 50),
    ("clips", values::clips, 10),
    ("casts", values::casts, 20),
    ("convolutions", maps::convolutions, 120),
    ("pools", maps::pools, 120),
    ("global_pools", maps::global_pools, 10),
    ("reductions", sums::reductions, 80),
    ("places", sums::places, 20),
    ("running_sums", sums::running_sums, 20),
    ("softmaxes", sums::softmaxes, 20),
    ("linears", sums::linears, 20),
    ("products", sums::products, 40),
    ("einsums", sums::einsums, 20),
    ("normalisations", sums::normalisations, 40),
    ("responses", maps::responses, 10),
    ("arrangements", parts::arrangements, 40),
    ("joins", parts::joins, 20),
    ("slices", parts::slices, 30),
    ("gathers", parts::gathers, 20),
    ("paddings", parts::paddings, 30),
    ("resizes", parts::resizes, 60),
];

fn build(case: Case, seed: u64) -> (Graph, String) {
    let mut graph = Graph::new(seed);
    let output = case(&mut graph);
    (graph, output)
}

/// Runs a case at batches of 1 and 3, and adds its operators to `seen`.
fn run(name: &str, case: Case, seed: u64, seen: &mut BTreeSet<String>) -> Result<(), String> {
    let (graph, output) = build(case, seed);
    let model = graph.model(&output);
    let checked = std::panic::catch_unwind(|| {
        let program = Program::import(&model, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(program.batch(), None, "imported for one image only");
        for batch in [1, 3] {
            let mut shape = graph.shape.clone();
            shape[0] = batch;
            let values = check::forward(&model, &program, &shape, seed, 2e-5);
            check::backward(&program, &values, &shape, seed);
        }
        program.operators().into_iter().map(str::to_owned).collect::<Vec<String>>()
    });
    match checked {
        Ok(operators) => seen.extend(operators),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|s| s.to_string()));
            let attribute = |a: &AttributeProto| format!("{}={:?}{:?}{:?}{:?}", a.name(), a.i, a.f, a.s, a.ints);
            let node =
                |n: &NodeProto| format!("{}({})", n.op_type(), n.attribute.iter().map(attribute).collect::<String>());
            let nodes: Vec<_> = model.graph().node.iter().map(node).collect();
            return Err(format!("{name} {seed}: {} in {nodes:?} {:?}", text.unwrap_or_default(), graph.shape));
        }
    }
    Ok(())
}

#[test]
fn every_operator_is_right_forwards_and_backwards() {
    let mut seen = BTreeSet::new();
    let mut failures = Vec::new();
    for (name, case, count) in CASES {
        failures.extend((1..=count).filter_map(|seed| run(name, case, seed, &mut seen).err()));
    }
    failures.extend(run("sized_by_the_batch", parts::sized_by_the_batch, 1, &mut seen).err());
    let shown = failures.iter().take(12).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(failures.is_empty(), "{} cases failed:\n{shown}", failures.len());
    let missed: Vec<&str> = graph::operators().filter(|operator| !seen.contains(*operator)).collect();
    assert!(missed.is_empty(), "no case has {missed:?}");
}

#[test]
fn a_missing_operator_is_named() {
    let mut graph = Graph::new(1);
    graph.input(&[1, 5]);
    let two = graph.integers(&[2]);
    let output = graph.outputs("TopK", &["x", &two], &[int("axis", 1)], 2).remove(0);
    let error = Program::import(&graph.model(&output), &[]).err().expect("TopK is not known").to_string();
    assert!(error.contains("TopK") || error.contains("Topk"), "{error}");
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
