//! The head that training of the whole network begins with.

use super::inside::{classes, column};
use super::{support::Place, tasks};
use adapt::onnx::Model;
use std::fs;

/// Whether a run's model joins features of several depths.
fn is_deep(place: &Place, out: &str) -> bool {
    let model = Model::open(place.path(format!("{out}/model.onnx"))).unwrap();
    model.graph().node.iter().any(|node| node.is("Concat") && node.name().contains("depths"))
}

/// What a run's model gives for the images, as numbers.
fn given(place: &Place, out: &str, data: &str) -> Vec<f64> {
    let said = place.adapt(&format!("predict {out}/model.onnx {data} --json")).succeeds().out;
    let rows = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    rows.flat_map(|row| numbers(&row)).collect()
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
    let run = place.json("out/run.json");
    // What the head's choice tells is the start's, and the plan has its name.
    let chosen = &run["head"]["compared"][run["head"]["chosen"].as_u64().unwrap() as usize];
    assert!(run["plan"]["head"].as_str().unwrap().starts_with(match chosen["kind"].as_str().unwrap() {
        "lda" => "discriminant analysis",
        _ => "softmax regression",
    }));
    let compared = run["head"]["compared"].as_array().unwrap();
    let kinds = compared.iter().map(|one| one["kind"].as_str().unwrap());
    assert!(kinds.clone().any(|kind| kind == "lda") && kinds.clone().all(|kind| ["lda", "softmax"].contains(&kind)));
    assert!(compared.iter().any(|one| one["taps"] == 1));
    assert!(column(&place, "val_loss")[0] < 0.8 * 3f64.ln(), "{:?}", column(&place, "val_loss"));
    // What the start does not take has no part in it.
    assert_eq!(is_deep(&place, "out"), chosen["taps"] == 1);
    place.main("--train all --steps 1 --val 0 --force").succeeds();
    assert!(is_deep(&place, "out"));
    let run = place.json("out/run.json");
    assert_eq!(run["plan"]["taps"].as_array().unwrap().len(), 1);
    assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-4);
    // Without a head that is trained first, and for a tail, there is none of it; nor where a budget cannot end the choice, or classes
    // have weights.
    for more in [
        "--train all --probe off --steps 1",
        "--train last:1 --steps 1",
        "--train relu --steps 1",
        "--train all --drop suspects --budget 5s",
        "--train all --balanced --steps 1",
    ] {
        place.main(&format!("--val 0 --force {more}")).succeeds();
        assert!(!is_deep(&place, "out"), "{more}");
    }
    // Squares leave float16's range.
    fs::copy(crate::common::golden("tiny_f16.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("--train all --steps 2 --val 0 --force").succeeds();
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
        assert_eq!(is_deep(&place, "head"), is_deep(&place, "start"), "{list}");
        let [head, start] = ["head", "start"].map(|out| place.json(&format!("{out}/run.json"))["plan"]["head"].clone());
        assert_eq!(head, start);
        let [head, start] = ["head", "start"].map(|out| given(&place, out, list));
        assert!(head.len() > 90 && head.len() == start.len(), "{} and {}", head.len(), start.len());
        let far = head.iter().zip(&start).map(|(a, b)| (a - b).abs() / (1. + a.abs())).fold(0., f64::max);
        assert!(far < 1e-3, "{list}: {far}");
    }
}

#[test]
fn batch_norms_may_follow_the_images_behind_it() {
    let place = classes();
    fs::copy(crate::common::golden("norms.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("--train all --bn train --epochs 2 --val 0").succeeds();
    assert!(is_deep(&place, "out"));
    assert!(place.json("out/run.json")["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-3);
}

#[test]
fn such_a_model_can_be_adapted_again() {
    let place = classes();
    place.main("--train all --epochs 2 --val 0").succeeds();
    assert!(is_deep(&place, "out"));
    fs::rename(place.path("out"), place.path("deep")).unwrap();
    // Its own deeper features are a part of what is frozen now.
    for more in ["", "--head lda", "--train last:1 --epochs 1", "--train relu --epochs 2", "--train all --epochs 1"] {
        place.adapt(&format!("--data data --onnx deep/model.onnx --out out --force {more}")).succeeds();
        let said = place.adapt("predict out/model.onnx data --json").succeeds().out;
        assert_eq!(said.contains("outlier_score"), !more.contains("--train"), "{more}");
        place.adapt("verify out").succeeds();
    }
}

#[test]
fn two_images_a_class_are_told_of_val_0() {
    let place = Place::usual();
    (0..3).for_each(|class| place.images(&format!("two/{class}"), class, 2));
    let job =
        |more: &str| place.adapt(&format!("--data two --onnx tiny.onnx --preprocess raw01 --force --out out {more}"));
    let words =
        "3 of 3 classes have one image to train on, since one is held out to validate (--val); --val 0 trains on all";
    let ran = job("").succeeds();
    assert!(ran.err.contains(&format!("note: {words}, and folds tell the figures")), "{}", ran.err);
    assert_eq!(place.json("out/run.json")["data"]["counts"], serde_json::json!({"train": [1, 1, 1], "val": [1, 1, 1]}));
    assert!(place.read("out/report.html").contains(words));
    let ran = job("--val 0").succeeds();
    assert!(ran.out.contains("the head in 2 folds") && !ran.err.contains("--val 0 trains"), "{}{}", ran.err, ran.out);
    // What was asked for, and what has more images, needs no advice; nor does the half of the classes.
    for more in ["--val 0.5", "--train all --epochs 1"] {
        assert!(!job(more).succeeds().err.contains("--val 0 trains"), "{more}");
    }
    (0..2).for_each(|class| place.images(&format!("two/{class}"), class, 3));
    assert!(!job("").succeeds().err.contains("--val 0 trains"));
}
