//! Odd models that work, and cuts that do not exist.

use super::support::{Place, hostile};
use crate::common::golden;
use std::fs;

#[test]
fn odd_models_work() {
    for name in ["any_size", "long_chain", "two_outputs_one_name"] {
        let place = Place::usual();
        fs::copy(hostile(name), place.path("tiny.onnx")).unwrap();
        place.main("").succeeds();
        place.adapt("predict out/model.onnx data/a/0.png").succeeds();
    }
}

/// Heads that are joined or decide, further inputs, batches in constants, open sizes, opacity: the whole way.
#[test]
fn unusual_ends_work() {
    let place = Place::usual();
    for name in ["averaged_tokens", "argmax", "extra_paddle", "batch2_sequence", "size_open", "channels_4", "keras"] {
        fs::copy(golden(&format!("onnx/{name}.onnx")), place.path("tiny.onnx")).unwrap();
        place.main("--force").succeeds();
        place.adapt("predict out/model.onnx data/a/0.png").succeeds();
        let run = place.json("out/run.json");
        assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-4, "{name}");
        assert!(run["plan"]["input"]["batch"].is_null(), "{name}");
    }
}

#[test]
fn an_inner_tensor_is_an_output() {
    let place = Place::usual();
    fs::copy(golden("onnx/mlp.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("--output hidden").succeeds();
    let run = place.json("out/run.json");
    assert_eq!((&run["plan"]["cut"], &run["model"]["output"]["name"]), (&"features".into(), &"hidden".into()));
}

#[test]
fn unknown_cuts_and_outputs() {
    let place = Place::usual();
    place.refuses("--cut featurs", 2, &["tiny.onnx", "'featurs'", "did you mean 'features'?"]);
    place.refuses("--cut zzzzzz", 2, &["tiny.onnx", "'zzzzzz'", "adapt inspect"]);
    place.refuses("--output logit", 2, &["tiny.onnx", "'logit'", "did you mean 'logits'?", "logits, best"]);
    place.refuses("--output best --cut nowhere", 2, &["'nowhere'"]);
    // A weight and the input are no cuts either.
    place.refuses("--cut w", 2, &["'w' is the model's input or stored in it"]);
    place.refuses("--cut x", 2, &["'x' is the model's input or stored in it"]);
    place.main("--cut pool --output logits").succeeds();
    assert_eq!(place.json("out/run.json")["plan"]["cut"], "pool");
}

#[test]
fn sizes_and_preprocessings_that_do_not_fit() {
    let place = Place::usual();
    place.refuses("--size 16x16", 2, &["--size 16x16", "'x'", "fixed to 8x8"]);
    place.refuses("--preprocess imagenet,crop=16", 2, &["16x16", "8x8"]);
    place.refuses("--preprocess imagenet,color=gray", 1, &["1 channel", "3", "color="]);
    fs::copy(hostile("any_size"), place.path("tiny.onnx")).unwrap();
    place.main("--size 9x17").succeeds();
    assert_eq!(place.json("out/run.json")["model"]["input"]["size"], serde_json::json!([9, 17]));
}

#[test]
fn tract_works_without_onnx_runtime() {
    let place = Place::usual();
    place.main("--engine tract --offline").succeeds();
    assert_eq!(place.json("out/run.json")["plan"]["engine"]["name"], "tract");
    assert_eq!(place.json("out/run.json")["parity"]["engine"], "tract");
}
