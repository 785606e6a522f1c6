//! Preprocessing that nothing tells, decided from the images.

use crate::cli::support::Place;
use std::fs;
use std::path::Path;

/// The embedded model's file without what lies beside it, and some of the fixture's images.
fn place() -> Place {
    let place = Place::empty();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("models/efficientnet_lite0/model.onnx"), place.path("model.onnx")).unwrap();
    for class in fs::read_dir(root.join("fixtures/fashion/train")).unwrap().map(|entry| entry.unwrap()) {
        let name = class.file_name().into_string().unwrap();
        let mut files: Vec<_> = fs::read_dir(class.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in &files[..6] {
            let target = place.path(format!("data/{name}")).join(file.file_name().unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(file, target).unwrap();
        }
    }
    place
}

#[test]
fn the_model_s_own_convention_is_found() {
    let place = place();
    let job = "--onnx model.onnx --data data --val 0 --out out";
    place.run(place.command().args(job.split(' '))).succeeds();
    let run = place.json("out/run.json");
    let evidence = &run["plan"]["evidence"];
    let values = &evidence[0]["candidates"];
    let chosen = values[evidence[0]["chosen"].as_u64().unwrap() as usize]["spec"].as_str().unwrap();
    // The second is the first by a 256th; which one is the better guess nobody can tell.
    assert!(["inception", "efficientnet-lite"].contains(&chosen), "{chosen}: {evidence}");
    assert_eq!(evidence[0]["images"], 60);
    assert!(run["plan"]["preprocessing_source"].as_str().unwrap().starts_with("60 of the images"));
    let notes = run["plan"]["notes"].to_string();
    assert!(notes.contains("by evidence") && !notes.contains("is a guess"), "{notes}");
    // What the user says is not asked of the images.
    let told = [job, "--force --preprocess imagenet"].join(" ");
    place.run(place.command().args(told.split(' '))).succeeds();
    assert!(place.json("out/run.json")["plan"].get("evidence").is_none());
}

#[test]
fn a_few_images_tell_nothing() {
    let place = Place::usual();
    let ran = place.main("").succeeds();
    assert!(ran.err.contains("preprocessing is a guess"), "{}", ran.err);
}
