//! Several models on one data set, and the best of them for the main job.

use super::support::Place;
use crate::common::golden;
use adapt::onnx::Model;
use serde_json::Value;
use std::fs;

/// With three models, and one that is none.
fn place() -> Place {
    let place = Place::usual();
    for name in ["pooled", "convs"] {
        fs::copy(golden(&format!("explain/{name}.onnx")), place.path(format!("{name}.onnx"))).unwrap();
    }
    place.write("broken.onnx", "no model\n");
    place
}

fn ranked(place: &Place, arguments: &str) -> Value {
    let ran = place.adapt(&format!("rank --data data --json --no-builtin {arguments}")).succeeds();
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn models_are_rows_and_failures_are_rows_with_a_reason() {
    let place = place();
    let found = ranked(&place, "tiny.onnx broken.onnx pooled.onnx missing.onnx");
    let models = found["models"].as_array().unwrap();
    assert_eq!(models.len(), 4);
    for model in &models[..2] {
        assert!(model["error"].is_null(), "{model}");
        assert_eq!(model["images"], 18);
        let value = |key: &str| model[key].as_f64().unwrap_or_else(|| panic!("{key}: {model}"));
        assert!((0. ..=1.).contains(&value("probe")) && (0. ..=1.).contains(&value("neighbours")), "{model}");
        assert!(value("ms") > 0. && value("logme").is_finite() && value("h_score") >= 0., "{model}");
        assert!(!cfg!(target_os = "linux") || value("memory_bytes") > 1e5, "{model}");
    }
    assert!(models[0]["probe"].as_f64() >= models[1]["probe"].as_f64());
    let tiny = models.iter().find(|model| model["model"] == "tiny.onnx").unwrap();
    assert_eq!((&tiny["features"], &tiny["parameters"]), (&6.into(), &(6 * 27 + 6 + 24 + 4).into()));
    assert_eq!(tiny["bytes"], fs::metadata(place.path("tiny.onnx")).unwrap().len());
    for (name, words) in [("broken.onnx", "not an ONNX model"), ("missing.onnx", "no such file")] {
        let model = models.iter().find(|model| model["model"] == name).unwrap();
        assert!(model["error"].as_str().unwrap().contains(words), "{model}");
        assert!(["probe", "bytes", "parameters"].iter().all(|key| model.get(*key).is_none()), "{model}");
    }
    assert_eq!(found["best"], models[0]["model"]);
    assert!(found.get("best_within_limits").is_none());
    // But for the time, the same again, in whatever order they are named.
    let again = ranked(&place, "pooled.onnx missing.onnx tiny.onnx broken.onnx");
    let judged =
        |found: &Value| ["model", "probe", "logme", "h_score", "neighbours"].map(|key| found["models"][0][key].clone());
    assert_eq!(judged(&again), judged(&found));
}

#[test]
fn the_table_names_the_best_and_the_best_within_limits() {
    let place = place();
    let ran = place.adapt("rank --data data --no-builtin tiny.onnx pooled.onnx broken.onnx --max-mb 0.001").succeeds();
    for words in ["probe", "LogME", "ms an image", "not ranked: broken.onnx", "best: ", "best within 0.001 MB: "] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    let bytes = |name: &str| fs::metadata(place.path(name)).unwrap().len();
    assert!(bytes("tiny.onnx") > 1000 && bytes("pooled.onnx") > 1000);
    // With many classes this takes minutes, in which it is told how far it is.
    assert_eq!(ran.err.matches("judging features: 4 in ").count(), 2, "{}", ran.err);
    assert!(ran.out.contains("best within 0.001 MB: none"), "{}", ran.out);
    let found = ranked(&place, "tiny.onnx pooled.onnx --max-mb 0.002 --max-ms 1000");
    assert!(bytes("tiny.onnx") < 2000 && bytes("pooled.onnx") > 2000);
    assert_eq!(found["best_within_limits"], "tiny.onnx");
}

#[test]
fn time_limits_leave_out_what_takes_longer() {
    let place = place();
    let found = ranked(&place, "tiny.onnx pooled.onnx --max-ms 0.000001");
    assert!(found["best_within_limits"].is_null() && found.get("best_within_limits").is_some());
    let ran = place.adapt("rank --data data --no-builtin tiny.onnx --max-ms 0.000001 --max-mb 5").succeeds();
    assert!(ran.out.contains("best within 0.000001 ms an image and 5 MB: none"), "{}", ran.out);
    // The embedded model takes a thousand times the work.
    let ran = place.adapt("rank --data data --json tiny.onnx").succeeds();
    let models = serde_json::from_str::<Value>(&ran.out).unwrap()["models"].clone();
    let ms: Vec<f64> = models.as_array().unwrap().iter().map(|model| model["ms"].as_f64().unwrap()).collect();
    let between = (ms[0] * ms[1]).sqrt();
    let arguments = format!("rank --data data --json tiny.onnx --max-ms {between}");
    let found: Value = serde_json::from_str(&place.adapt(&arguments).succeeds().out).unwrap();
    assert_eq!(found["best_within_limits"], "tiny.onnx", "{ms:?} {found}");
    // The main job holds to them, too, and each model may have its own `--onnx`.
    let several = "--onnx tiny.onnx --onnx pooled.onnx --data data --val 0 --out out";
    let refused = place.adapt(&format!("{several} --max-ms 0.000001"));
    refused.fails(2, &["none of the models of --onnx takes at most 0.000001 ms an image"]);
    place.adapt(&format!("{several} --max-ms 10000 --max-mb 0.002")).succeeds();
    assert_eq!(place.json("out/run.json")["model"]["path"], "tiny.onnx");
}

/// A head of so many weights that softmax regression would take long: then no model is probed by it.
#[test]
fn all_models_have_one_probe() {
    let place = place();
    let mut model = Model::open(place.path("tiny.onnx")).unwrap();
    let graph = model.proto.graph.as_mut().unwrap();
    graph.value_info.clear();
    for tensor in &mut graph.initializer {
        let wider = tensor.dims.iter().filter(|size| **size == 6).count();
        tensor.dims.iter_mut().filter(|size| **size == 6).for_each(|size| *size *= 700);
        assert!(wider < 2 && tensor.raw_data.is_some());
        tensor.raw_data = tensor.raw_data.take().map(|bytes| if wider > 0 { bytes.repeat(700).into() } else { bytes });
    }
    model.save(&place.path("wide.onnx")).unwrap();
    (0..100).for_each(|class| place.images(&format!("many/{class}"), class, 2));
    let arguments = "rank --data many --no-builtin --preprocess raw01 tiny.onnx";
    let ran = place.adapt(&format!("{arguments} wide.onnx")).succeeds();
    assert!(ran.out.contains("probe: ridge regression, since"), "{}", ran.out);
    let ran = place.adapt(&format!("{arguments} wide.onnx --json")).succeeds();
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let kinds: Vec<&Value> = found["models"].as_array().unwrap().iter().map(|model| &model["probe_kind"]).collect();
    assert_eq!(kinds, ["ridge", "ridge"]);
    assert!(place.adapt(arguments).succeeds().out.contains("probe: softmax regression; on 200 training images"));
}

#[test]
fn what_cannot_be_ranked_is_refused() {
    let place = place();
    place.adapt("rank --data data --no-builtin").fails(2, &["no model to rank"]);
    place
        .adapt("rank --data data --no-builtin missing.onnx broken.onnx")
        .fails(1, &["none of the models", "missing.onnx"]);
    place.adapt("rank --data nothing tiny.onnx").fails(2, &["nothing"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.adapt("rank --data empty tiny.onnx").fails(1, &["empty"]);
    place.images("one/only", 0, 6);
    place.adapt("rank --data one tiny.onnx").fails(1, &["one", "class"]);
    for class in ["a", "b"] {
        place.write(&format!("bad/{class}/1.png"), "no image");
        place.write(&format!("bad/{class}/2.png"), "no image");
    }
    place.adapt("rank --data bad --no-builtin tiny.onnx").fails(
        1,
        &["bad: fewer than two classes have two training images or more that can be read, which judging a model takes (--val 0 holds none out); first: ", ".png: not an image"],
    );
    place.adapt("--data bad --onnx tiny.onnx missing.onnx").fails(1, &["error: bad: fewer than two classes"]);
    place.adapt("rank --data data tiny.onnx --max-ms 0").fails(2, &["--max-ms", "above 0"]);
}

#[test]
fn the_main_job_adapts_the_best_of_several() {
    let place = place();
    let best = ranked(&place, "tiny.onnx pooled.onnx");
    let best = best["best"].as_str().unwrap();
    let ran = place.adapt("--onnx tiny.onnx pooled.onnx broken.onnx --data data --val 0 --out out").succeeds();
    assert_eq!(place.json("out/run.json")["model"]["path"], best);
    assert!(ran.err.contains("LogME") && ran.err.contains("not ranked: broken.onnx"), "{}", ran.err);
    // Which of the models it was, and why, is in the run and on its page; also what fell out, however quiet it is.
    let names: Vec<Value> =
        place.json("out/run.json")["ranking"].as_array().unwrap().iter().map(|one| one["model"].clone()).collect();
    assert!(names.len() == 3 && names[0] == best && names[2] == "broken.onnx", "{names:?}");
    let page = place.read("out/report.html");
    assert!(page.contains("Models compared, the best first"));
    let row = page.split("<tr>").find(|row| row.contains("broken.onnx")).unwrap();
    assert!(row.contains(">–<") && !row.contains(">0<"), "{row}");
    let quiet = "-q --onnx tiny.onnx pooled.onnx broken.onnx --data data --val 0 --out out --force";
    assert!(place.adapt(quiet).succeeds().err.contains("warning: not ranked: broken.onnx"));
    // An image that cannot be read is told.
    place.write("data/a/broken.png", "no image");
    let found = ranked(&place, "tiny.onnx");
    assert_eq!(
        found["skipped"].as_array().map(|skipped| skipped[0]["path"].as_str().unwrap().ends_with("a/broken.png")),
        Some(true),
        "{found}"
    );
    let class = place.json("out/run.json")["data"]["classes"][0].as_str().unwrap().to_owned();
    for image in fs::read_dir(place.path(format!("data/{class}"))).unwrap() {
        fs::write(image.unwrap().path(), "no image").unwrap();
    }
    let ran = place.adapt("rank --data data --no-builtin tiny.onnx").succeeds();
    let told = format!("warning: class '{class}' is not judged: none of its images can be read");
    assert!(ran.err.contains(&told), "{}", ran.err);
    fs::remove_dir_all(place.path(format!("data/{class}"))).unwrap();
    let limited = "--onnx tiny.onnx pooled.onnx --data data --val 0 --out out --force --max-mb 0.002";
    place.adapt(limited).succeeds();
    assert_eq!(place.json("out/run.json")["model"]["path"], "tiny.onnx");
    fs::remove_dir_all(place.path("out")).unwrap();
    let refuses = |arguments: &str, code: i32, words: &[&str]| {
        place.adapt(&format!("--data data --out out {arguments}")).fails(code, words);
        assert_eq!(place.outputs(), [""; 0], "{arguments}");
    };
    refuses("--onnx tiny.onnx pooled.onnx --max-mb 0.001", 2, &["--onnx", "0.001 MB"]);
    refuses("--onnx broken.onnx missing.onnx", 1, &["none of the models", "broken.onnx"]);
    refuses("--onnx tiny.onnx --max-ms 5", 2, &["--max-ms", "several"]);
}
