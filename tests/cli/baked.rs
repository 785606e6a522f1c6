//! Models that preprocess in their graph.

use crate::cli::support::{Place, Ran};
use adapt::plan::Trained;
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
    bake_of(place, "tiny.onnx", spec)
}

fn bake_of(place: &Place, model: &str, spec: &str) -> Ran {
    let job = ["--data", "data", "--onnx", model, "--out", "out", "--force", "--bake-preprocessing", "--json"];
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
        "imagenet,resize=long:8,crop=8x8",
        "raw01,resize=long:6,crop=8x8,filter=bicubic",
    ];
    specs.iter().for_each(|spec| is_the_same(bake(&place, spec), spec));
}

/// Asserts that the baked model gave the plain one's results on all images.
fn is_the_same(ran: Ran, what: &str) {
    let run: serde_json::Value = serde_json::from_str(&ran.succeeds().out).unwrap();
    let (baked, images) = (&run["baked"], 16);
    assert_eq!((&baked["images"], &baked["class_agreement"]), (&images.into(), &1.0.into()), "{what}: {baked}");
    assert!(baked["max_probability_diff"].as_f64().unwrap() < 1e-3, "{what}: {baked}");
}

#[test]
fn models_of_halves_bytes_other_layouts_and_grey_images_give_the_same() {
    let place = place();
    for (model, spec) in [
        ("tiny_f16.onnx", "imagenet"),
        ("tiny_u8.onnx", "raw255"),
        ("tiny_u8.onnx", "raw255,color=bgr"),
        ("onnx/nhwc.onnx", "caffe,filter=bicubic"),
    ] {
        std::fs::copy(crate::common::golden(model), place.path("model.onnx")).unwrap();
        is_the_same(bake_of(&place, "model.onnx", spec), &format!("{model} {spec}"));
    }
    place.adapt("new cnn --data data --input 1x16x12 -o grey.onnx").succeeds();
    for spec in ["color=gray,mean=0.5,std=0.25", "raw01,resize=long:12,crop=16x12,color=gray"] {
        is_the_same(bake_of(&place, "grey.onnx", spec), &format!("grey.onnx {spec}"));
    }
    // What its metadata say.
    let job = "--data data --onnx grey.onnx --out out --force --bake-preprocessing --val 0 --json";
    is_the_same(place.adapt(job), "grey.onnx");
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
    // Who ports it is told which input it has, and that the stored one is another.
    let golden = |run: &str| place.json(&format!("{run}/golden/golden.json"));
    assert_eq!((&golden("out")["input"], &golden("out")["baked"]), (&"image".into(), &true.into()));
    // The same labels as from the model that is preprocessed for.
    let plain = ["--data", "data", "--onnx", "tiny.onnx", "--out", "plain", "--preprocess", "imagenet", "--val", "0"];
    place.run(place.command().args(plain)).succeeds();
    assert_eq!((&golden("plain")["input"], &golden("plain")["baked"]), (&"x".into(), &false.into()));
    let plain = place.run(place.command().args(["predict", "plain/model.onnx", "data", "--json"])).succeeds();
    let labels = |text: &str| -> Vec<String> {
        let label = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["label"].to_string();
        text.lines().map(label).collect()
    };
    assert_eq!(labels(&baked.out), labels(&plain.out));
    assert_eq!(labels(&baked.out).len(), 16);
    // Maps are those of that model, too.
    for (model, maps) in [("plain", "maps"), ("out", "baked-maps")] {
        place.adapt(&format!("explain {model}/model.onnx data/a -o {maps} --check")).succeeds();
    }
    let maps = |folder: &str| -> Vec<Vec<u8>> {
        (0..8).map(|i| std::fs::read(place.path(format!("{folder}/{i}.png"))).unwrap()).collect()
    };
    assert_eq!(maps("baked-maps"), maps("maps"));
}

#[test]
fn what_is_behind_the_preprocessing_runs_in_any_engine() {
    let place = place();
    for spec in ["imagenet", "caffe,filter=bicubic,resize=11"] {
        bake(&place, spec).succeeds();
        let plain =
            ["--data", "data", "--onnx", "tiny.onnx", "--out", "plain", "--force", "--val", "0", "--preprocess"];
        place.run(place.command().args(plain).arg(spec)).succeeds();
        // The very graph of the model that is preprocessed for, and its preprocessing.
        let open = |run: &str| Trained::open(&place.path(format!("{run}/model.onnx")), None, None).unwrap();
        let (baked, plain) = (open("out"), open("plain"));
        assert!(baked.baked && baked.preprocessing.preprocessing != plain.preprocessing.preprocessing, "{spec}");
        let behind = baked.unbaked().unwrap();
        assert_eq!(behind.model.graph(), plain.model.graph(), "{spec}");
        assert_eq!(behind.preprocessing.preprocessing, plain.preprocessing.preprocessing, "{spec}");
        assert_eq!((behind.input, behind.output), (plain.input, plain.output), "{spec}");
    }
    let unchecked = "the preprocessing in the graph was not checked";
    let said = |engine: &str, command: &str| place.adapt(&format!("{command} --engine {engine}")).succeeds();
    let predicted = said("ort", "predict out/model.onnx data --csv");
    let labels = |ran: &Ran| -> Vec<String> {
        ran.out.lines().map(|line| line.split(',').take(2).collect::<Vec<_>>().join(",")).collect()
    };
    for engine in ["tract", "candle"] {
        let checked = said(engine, "verify out");
        assert!(
            checked.out.contains("preprocessing within 0.00 steps") && checked.out.contains(unchecked),
            "{}",
            checked.out
        );
        let json: serde_json::Value = serde_json::from_str(&said(engine, "verify out --json").out).unwrap();
        assert!(json["graph_unchecked"] == true && json["max_rel_diff"].as_f64().unwrap() < 1e-3, "{json}");
        let own = said(engine, "predict out/model.onnx data --csv");
        assert!(own.err.contains(&format!("note: {engine} cannot run the preprocessing")), "{}", own.err);
        assert_eq!(labels(&own), labels(&predicted));
        said(engine, "eval out/model.onnx --data data");
    }
    let checked = said("ort", "verify out");
    assert!(!checked.out.contains(unchecked), "{}", checked.out);
    // What is behind it is checked, too.
    let golden = place.path("out/golden/tensors.safetensors");
    let mut bytes = std::fs::read(&golden).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&9f32.to_le_bytes());
    std::fs::write(&golden, bytes).unwrap();
    place.adapt("verify out --engine tract").fails(1, &["out: tract computes outputs that differ"]);
}

#[test]
fn what_cannot_be_is_told_before_any_work() {
    let place = place();
    bake(&place, "imagenet").succeeds();
    let again = ["--data", "data", "--onnx", "out/model.onnx", "--out", "two"];
    place.run(place.command().args(again)).fails(1, &["out/model.onnx", "--bake-preprocessing"]);
    assert!(!place.path("two").exists());
}
