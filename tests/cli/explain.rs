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
    assert_eq!(rows[0]["overlay"], "maps/a-0.png");
    assert_eq!(rows[1]["overlay"], "maps/1.png");
    assert_eq!(rows[6]["overlay"], "maps/b-0.png");
    // Eight pixels a side, enlarged.
    assert_eq!(image::open(place.path("maps/b-0.png")).unwrap().to_rgb8().dimensions(), (224, 224));
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
    refuses("pooled.onnx data/a/0.png -o bad.png", 2, &["bad.png: a file, where a folder is to be", "another --out"]);
    // An unreadable one among others is told.
    let ran = place.adapt("explain pooled.onnx bad.png data/a/1.png -o maps --force").succeeds();
    assert!(ran.err.contains("bad.png") && ran.out.contains("maps/1.png"), "{}{}", ran.err, ran.out);
}

/// Which image an overlay is of is seen by its name.
#[test]
fn overlays_are_called_by_what_tells_their_images_apart() {
    let place = place();
    fs::copy(place.path("data/a/0.png"), place.path("same.png")).unwrap();
    image::open(place.path("same.png")).unwrap().save(place.path("same.jpg")).unwrap();
    let found = explained(&place, "pooled.onnx same.jpg same.png data/a/1.png data/b/1.png data/b/2.png -o maps");
    let rows = found["images"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["overlay"].as_str().unwrap()).collect();
    assert_eq!(names, ["maps/same.jpg.png", "maps/same.png.png", "maps/a-1.png", "maps/b-1.png", "maps/2.png"]);
}

#[test]
fn occlusion_is_not_compared_with_itself() {
    let place = place();
    let ran = place.adapt("explain pooled.onnx data/a/0.png -o maps --method occlusion --check").succeeds();
    assert!(
        ran.err.contains("there is nothing to compare") && !ran.out.contains("agreement"),
        "{}{}",
        ran.err,
        ran.out
    );
    let ran = place.adapt("explain pooled.onnx data/a/0.png -o maps --force --check").succeeds();
    assert!(!ran.err.contains("nothing to compare") && ran.out.contains("agreement"), "{}{}", ran.err, ran.out);
}

#[test]
fn models_of_another_time_say_so() {
    let place = place();
    fs::copy(golden("onnx/opset6.onnx"), place.path("old.onnx")).unwrap();
    let words = ["cannot run it", "its opset is 6, and 7 to 24 are supported", "onnx.version_converter"];
    place.adapt("explain old.onnx data/a -o maps").fails(1, &words);
    place.adapt("predict old.onnx data/a").fails(1, &words);
}
