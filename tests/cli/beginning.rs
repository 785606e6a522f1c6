//! The head that training of the whole network begins with.

use super::inside::{classes, column};
use super::{support::Place, tasks};
use adapt::onnx::Model;
use std::fs;

/// Whether a run's model joins the features of several depths.
fn is_deep(place: &Place, out: &str) -> bool {
    let model = Model::open(place.path(format!("{out}/model.onnx"))).unwrap();
    model.graph().node.iter().any(|node| node.is("Concat") && node.name().contains("depths"))
}

/// What a run's model gives for the images, as numbers.
fn given(place: &Place, out: &str, data: &str) -> Vec<f64> {
    let said = place.adapt(&format!("predict {out}/model.onnx {data} --json")).succeeds().out;
    let rows = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let all = rows.flat_map(|row| {
        let object = row.as_object().unwrap().values().cloned().collect::<Vec<_>>();
        object.iter().flat_map(|value| numbers(value)).collect::<Vec<_>>()
    });
    all.collect()
}

/// All numbers in a value.
fn numbers(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Number(number) => number.as_f64().into_iter().collect(),
        serde_json::Value::Array(values) => values.iter().flat_map(numbers).collect(),
        serde_json::Value::Object(values) => values.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn it_takes_features_of_several_depths() {
    let place = classes();
    place.main("--train all --steps 0").succeeds();
    assert!(is_deep(&place, "out"));
    let run = place.json("out/run.json");
    assert_eq!(run["plan"]["taps"].as_array().unwrap().len(), 1);
    // What the head's choice tells is the start's, and the plan has its name.
    let chosen = &run["head"]["compared"][run["head"]["chosen"].as_u64().unwrap() as usize];
    assert!(run["plan"]["head"].as_str().unwrap().starts_with(match chosen["kind"].as_str().unwrap() {
        "lda" => "discriminant analysis",
        _ => "softmax regression",
    }));
    let kinds = run["head"]["compared"].as_array().unwrap().iter().map(|c| c["kind"].as_str().unwrap());
    assert!(kinds.clone().any(|kind| kind == "lda") && kinds.clone().all(|kind| ["lda", "softmax"].contains(&kind)));
    assert!(column(&place, "val_loss")[0] < 3f64.ln() / 2., "{:?}", column(&place, "val_loss"));
    assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-4);
    // Another seed's folds, and steps, change it; without a head that is trained first, and for a tail, there is none of it.
    for more in ["--train all --probe off", "--train last:1", "--train relu"] {
        place.main(&format!("--steps 0 --force {more}")).succeeds();
        assert!(!is_deep(&place, "out"), "{more}");
    }
    // Squares leave float16's range.
    fs::copy(crate::common::golden("tiny_f16.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("--train all --steps 2 --force").succeeds();
    assert!(!is_deep(&place, "out"));
    assert_eq!(place.json("out/run.json")["plan"]["head"], "softmax regression");
}

#[test]
fn of_labels_and_numbers_it_is_what_a_head_alone_would_be() {
    let place = tasks::place();
    for (list, more) in [("labels.csv", ""), ("values.csv", "--label-column bright,contrast")] {
        let common = format!("--data {list} --onnx tiny.onnx --preprocess raw01 {more} --force");
        place.adapt(&format!("{common} --out head")).succeeds();
        place.adapt(&format!("{common} --out start --train all --steps 0")).succeeds();
        assert!(is_deep(&place, "start"), "{list}");
        let [head, start] = ["head", "start"].map(|out| place.json(&format!("{out}/run.json"))["plan"]["head"].clone());
        assert_eq!(head, start);
        let [head, start] = ["head", "start"].map(|out| given(&place, out, list));
        assert!(head.len() > 90 && head.len() == start.len(), "{} and {}", head.len(), start.len());
        let far = head.iter().zip(&start).map(|(a, b)| (a - b).abs() / (1. + a.abs())).fold(0., f64::max);
        assert!(far < 1e-3, "{list}: {far}");
    }
}

#[test]
fn such_a_model_can_be_adapted_again() {
    let place = classes();
    place.main("--train all --epochs 2 --force").succeeds();
    fs::rename(place.path("out"), place.path("deep")).unwrap();
    // Its own deeper features are a part of what is frozen now.
    for more in ["", "--head lda", "--train last:1 --epochs 1", "--train all --epochs 1"] {
        place.adapt(&format!("--data data --onnx deep/model.onnx --out out --force {more}")).succeeds();
        let said = place.adapt("predict out/model.onnx data --json").succeeds().out;
        assert_eq!(said.contains("outlier_score"), !more.contains("--train"), "{more}");
        place.adapt("verify out").succeeds();
    }
}
