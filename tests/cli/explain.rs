//! What models see in images: files and figures.

use super::support::Place;
use crate::common::golden;
use serde_json::Value;
use std::fs;

/// With three images in `data/a`, adapted and strange models.
fn place() -> Place {
    let place = Place::usual();
    for name in ["pooled", "tokens"] {
        fs::copy(golden(&format!("explain/{name}.onnx")), place.path(format!("{name}.onnx"))).unwrap();
    }
    place
}

fn explained(place: &Place, arguments: &str) -> Value {
    serde_json::from_str(&place.adapt(&format!("explain --json {arguments}")).succeeds().out).unwrap()
}

#[test]
fn an_adapted_model_explains_its_images() {
    let place = place();
    place.main("--head softmax").succeeds();
    let found = explained(&place, "out/model.onnx data/a data/b/0.png -o maps --check");
    assert_eq!((&found["method"], &found["tensors"]), (&"cam".into(), &serde_json::json!(["relu"])));
    let rows = found["images"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    let labels = place.adapt("predict out/model.onnx data/a --json").succeeds().out;
    for (row, line) in rows.iter().zip(labels.lines()) {
        let label: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&row["predicted"], &row["class"]), (&label["label"], &label["label"]));
        let [ours, theirs] = [&row["probability"], &label["confidence"]].map(|p| p.as_f64().unwrap());
        assert!((ours - theirs).abs() < 1e-4, "{row} {label}");
        assert!((-1. ..=1.).contains(&row["agreement"].as_f64().unwrap()), "{row}");
    }
    // Images of one name do not meet.
    assert_eq!(rows[0]["overlay"], "maps/0.png");
    assert_eq!(rows[6]["overlay"], "maps/0-2.png");
    // Eight pixels a side, enlarged.
    assert_eq!(image::open(place.path("maps/0-2.png")).unwrap().to_rgb8().dimensions(), (224, 224));
    let chosen = explained(&place, "out/model.onnx data/a/1.png -o maps --force --class c --method gradcam");
    assert_eq!((&chosen["images"][0]["class"], &chosen["method"]), (&"c".into(), &"gradcam".into()));
    let numbered = explained(&place, "out/model.onnx data/a/1.png -o maps --force --class 2 --method cam");
    assert_eq!(numbered["images"][0]["probability"], chosen["images"][0]["probability"]);
}

/// Whatever head the main job chooses, its models have exact maps.
#[test]
fn every_head_is_explained_exactly() {
    let place = place();
    place.main("").succeeds();
    assert_eq!(explained(&place, "out/model.onnx data/a -o maps")["method"], "cam");
}

#[test]
fn any_classifier_is_explained_in_any_engine() {
    let place = place();
    for engine in ["ort", "tract", "candle"] {
        let found = explained(&place, &format!("tokens.onnx data/a/0.png -o maps --force --engine {engine}"));
        assert_eq!(found["method"], "gradcam", "{engine}");
    }
    let ran = place.adapt("explain pooled.onnx data/a -o occluded --method occlusion").succeeds();
    assert!(ran.out.contains("grey patches") && ran.out.contains("occluded/0.png"), "{}", ran.out);
    assert!(ran.err.contains("preprocessing is a guess"), "{}", ran.err);
    assert_eq!(fs::read_dir(place.path("occluded")).unwrap().count(), 6);
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let place = place();
    place.write("bad.png", "no image");
    let refuses = |arguments: &str, code: i32, words: &[&str]| {
        place.adapt(&format!("explain {arguments}")).fails(code, words);
    };
    refuses("missing.onnx data/a -o out", 2, &["missing.onnx", "no such file"]);
    refuses("pooled.onnx nothing -o out", 2, &["nothing"]);
    refuses("pooled.onnx data/a -o no/such/folder", 1, &["no/such/folder"]);
    refuses("pooled.onnx data/a -o maps --class dog", 2, &["no class 'dog'", "4 names"]);
    refuses("pooled.onnx data/a -o maps --class 4", 2, &["no class '4'"]);
    refuses("pooled.onnx data/a -o maps --at scores --method cam", 2, &["--at", "gradcam"]);
    refuses("pooled.onnx data/a -o maps --at nowhere", 2, &["--at nowhere"]);
    refuses("tokens.onnx data/a -o maps --method cam", 1, &["global average"]);
    refuses("pooled.onnx bad.png -o maps", 1, &["bad.png", "none of the images"]);
    place.adapt("cut pooled.onnx -o part.onnx").succeeds();
    refuses("part.onnx data/a -o maps", 2, &["no label"]);
    place.adapt("explain pooled.onnx data/a/0.png -o maps").succeeds();
    refuses("pooled.onnx data/a/0.png -o maps", 2, &["maps/0.png", "--force"]);
    // An unreadable one among others is told.
    let ran = place.adapt("explain pooled.onnx bad.png data/a/1.png -o maps --force").succeeds();
    assert!(ran.err.contains("bad.png") && ran.out.contains("maps/1.png"), "{}{}", ran.err, ran.out);
}
