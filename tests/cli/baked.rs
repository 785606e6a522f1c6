//! Models that preprocess in their graph.

use crate::cli::support::{Place, Ran};
use image::{DynamicImage, Rgb, RgbImage};

/// Images of many sizes and shapes, larger and smaller than what the model takes; some grey.
fn place() -> Place {
    let place = Place::empty();
    std::fs::copy(crate::common::golden("tiny.onnx"), place.path("tiny.onnx")).unwrap();
    let sizes = [(8, 8), (31, 17), (17, 31), (5, 60), (64, 3), (40, 40), (200, 90), (1, 1)];
    for (class, name) in ["a", "b"].into_iter().enumerate() {
        std::fs::create_dir_all(place.path(format!("data/{name}"))).unwrap();
        for (i, (width, height)) in sizes.into_iter().enumerate() {
            let value = |x: u32, y: u32, c: u32| ((x * 37 + y * 59 + x * y + c * 90) * (1 + class as u32 * 3)) as u8;
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|c| value(x, y, c))));
            let image = DynamicImage::from(image);
            let image = if i % 3 == 2 { DynamicImage::from(image.into_luma8()) } else { image };
            image.save(place.path(format!("data/{name}/{i}.png"))).unwrap();
        }
    }
    place
}

fn bake(place: &Place, spec: &str) -> Ran {
    let job = ["--data", "data", "--onnx", "tiny.onnx", "--out", "out", "--force", "--bake-preprocessing", "--json"];
    place.run(place.command().args(job).args(["--preprocess", spec, "--val", "0"]))
}

#[test]
fn every_filter_crop_and_colour_gives_the_same_in_the_graph() {
    let place = place();
    let specs = [
        "imagenet",
        "caffe,filter=bicubic,resize=11",
        "raw01,filter=box",
        "inception,filter=hamming,resize=9x20",
        "clip,filter=lanczos",
        "raw255,filter=nearest",
        "imagenet,resize=5",
        "raw01,resize=12x7,filter=bicubic",
    ];
    for spec in specs {
        let ran = bake(&place, spec).succeeds();
        let run: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let (baked, images) = (&run["baked"], 16);
        assert_eq!((&baked["images"], &baked["class_agreement"]), (&images.into(), &1.0.into()), "{spec}: {baked}");
        assert!(baked["max_probability_diff"].as_f64().unwrap() < 1e-3, "{spec}: {baked}");
    }
}

#[test]
fn the_embedded_model_gives_the_same_on_the_fixture() {
    let place = Place::empty();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/fashion");
    let said = |out: &str, more: &str| -> Vec<(String, f64)> {
        let job = format!("--data {data} --out {out} --head ncm --cache kept {more}");
        place.adapt(&job).succeeds();
        let ran = place.adapt(&format!("predict {out}/model.onnx {data}/test --json")).succeeds();
        let read = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["label"].to_string(), line["confidence"].as_f64().unwrap())
        };
        ran.out.lines().map(read).collect()
    };
    let (plain, baked) = (said("plain", ""), said("baked", "--bake-preprocessing"));
    assert!(plain.len() >= 100 && plain.len() == baked.len(), "{}", plain.len());
    for (plain, baked) in plain.iter().zip(&baked) {
        assert!(plain.0 == baked.0 && (plain.1 - baked.1).abs() < 0.01, "{plain:?} {baked:?}");
    }
    assert_eq!(place.json("baked/run.json")["baked"]["class_agreement"], 1.0);
}

#[test]
fn commands_know_such_a_model() {
    let place = place();
    bake(&place, "imagenet").succeeds();
    assert!(!place.path("out/preprocessor_config.json").exists());
    let baked = place.run(place.command().args(["predict", "out/model.onnx", "data", "--json"])).succeeds();
    let evaluated = place.run(place.command().args(["eval", "out/model.onnx", "--data", "data"])).succeeds();
    assert!(evaluated.out.contains("accuracy"), "{}", evaluated.out);
    let checked = place.run(place.command().args(["verify", "out"])).succeeds();
    assert!(checked.out.contains("preprocessing in the graph"), "{}", checked.out);
    // The same labels as from the model that is preprocessed for.
    let plain = ["--data", "data", "--onnx", "tiny.onnx", "--out", "plain", "--preprocess", "imagenet", "--val", "0"];
    place.run(place.command().args(plain)).succeeds();
    let plain = place.run(place.command().args(["predict", "plain/model.onnx", "data", "--json"])).succeeds();
    let labels = |text: &str| -> Vec<String> {
        let label = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["label"].to_string();
        text.lines().map(label).collect()
    };
    assert_eq!(labels(&baked.out), labels(&plain.out));
    assert_eq!(labels(&baked.out).len(), 16);
    place
        .run(place.command().args(["explain", "out/model.onnx", "data", "-o", "maps"]))
        .fails(1, &["out/model.onnx", "adapt again without --bake-preprocessing"]);
}

#[test]
fn what_cannot_be_is_told_before_any_work() {
    let place = place();
    bake(&place, "imagenet").succeeds();
    let again = ["--data", "data", "--onnx", "out/model.onnx", "--out", "two"];
    place.run(place.command().args(again)).fails(1, &["out/model.onnx", "--bake-preprocessing"]);
    for engine in ["tract", "candle"] {
        let said = ["out/model.onnx", "only ONNX Runtime runs; use --engine ort"];
        place.run(place.command().args(["verify", "out", "--engine", engine])).fails(1, &said);
        place.run(place.command().args(["predict", "out/model.onnx", "data", "--engine", engine])).fails(1, &said);
    }
    place.run(place.command().args(["verify", "out", "--engine", "ort"])).succeeds();
    assert!(!place.path("two").exists());
}
