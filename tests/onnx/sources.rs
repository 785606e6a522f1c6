//! Where preprocessing and class names are known from, in which order, and what damaged files lead to.

use crate::open;
use adapt::Error;
use adapt::data::{Color, Filter, Preprocessing, Resize, Spec};
use adapt::onnx::Model;
use adapt::onnx::schema::dimension;
use adapt::plan::input::Input;
use adapt::plan::preprocessing::{Sourced, resolve};
use adapt::plan::{Activation, labels};
use serde_json::json;
use std::fs;
use tempfile::TempDir;

/// A model with an input of 8x8 pixels in a folder of its own, with this metadata and these files beside it.
fn model(metadata: &[(&str, &str)], files: &[(&str, &str)]) -> (Model, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = open("gemm_transb1");
    for (key, value) in metadata {
        adapt::onnx::metadata::set(&mut model.proto, key, *value);
    }
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().join("model.onnx");
    fs::write(&path, model.to_bytes().unwrap()).unwrap();
    (Model::open(path).unwrap(), folder)
}

fn found(metadata: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Sourced, Error> {
    resolve(&model(metadata, files).0, None, None).map(|(_, sourced)| sourced)
}

/// The same model with an input of any size.
fn of_any_size(metadata: &[(&str, &str)]) -> Model {
    let mut model = model(metadata, &[]).0;
    let input = &mut model.proto.graph.as_mut().unwrap().input[0];
    let t = input.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).unwrap();
    for dim in &mut t.shape.as_mut().unwrap().dim[2..] {
        dim.value = Some(dimension::Value::DimParam("side".into()));
    }
    model
}

const RANGE: (&str, &str) = ("Image.NominalPixelRange", "NominalRange_0_255");

fn hugging_face(mean: f32) -> String {
    json!({ "size": { "height": 8, "width": 8 }, "image_mean": [mean, mean, mean], "image_std": [0.5, 0.5, 0.5], "resample": 3 })
        .to_string()
}

fn contract(mean: f32) -> String {
    let preprocessing: serde_json::Value = serde_json::from_str(&hugging_face(mean)).unwrap();
    json!({ "preprocessing": preprocessing, "classes": ["a", "b"] }).to_string()
}

#[test]
fn each_source_gives_its_preprocessing() {
    let base = Preprocessing {
        color: Color::Rgb,
        resize: Resize::Exact { height: 8, width: 8 },
        filter: Filter::Bilinear,
        crop: None,
        scale: 1.0 / 255.0,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
    };
    let half = |mean| Preprocessing { filter: Filter::Bicubic, mean: vec![mean; 3], std: vec![0.5; 3], ..base.clone() };
    let timm = json!({ "architecture": "x", "pretrained_cfg": { "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5],
        "input_size": [3, 8, 8], "crop_pct": 0.5, "interpolation": "bicubic" } });
    let cropped = Preprocessing { resize: Resize::Shortest(16), crop: Some((8, 8)), ..half(0.0) };
    let (contract, config, timm) = (contract(0.25), hugging_face(0.75), timm.to_string());
    let config = ("preprocessor_config.json", config.as_str());
    let bgr = ("Image.BitmapPixelFormat", "Bgr8");
    let ours = ("adapt.contract", contract.as_str());
    let ultralytics = [("task", "classify"), ("names", "{0: 'a'}"), ("imgsz", "[8, 8]")];
    let raw255 = Preprocessing { color: Color::Bgr, scale: 1.0, ..base.clone() };
    let yolo = Preprocessing { resize: Resize::Shortest(8), crop: Some((8, 8)), ..base.clone() };
    // timm's own defaults: bicubic, and 0.875 of the side.
    let squash = json!({ "mean": [0.25, 0.25, 0.25], "std": [0.5, 0.5, 0.5], "crop_mode": "squash" }).to_string();
    let stretched = Preprocessing { resize: Resize::Exact { height: 9, width: 9 }, crop: Some((8, 8)), ..half(0.25) };
    let scored = Preprocessing { mean: vec![0.1, 0.2, 0.3], ..cropped };
    let cases = [
        (vec![ours, bgr, RANGE], vec![config], half(0.25), "adapt.contract"),
        ([&[bgr, RANGE], &ultralytics[..]].concat(), vec![config], raw255, "Windows ML"),
        (ultralytics.to_vec(), vec![config], yolo, "Ultralytics"),
        (ultralytics[1..].to_vec(), vec![config], half(0.75), "preprocessor_config.json"),
        (vec![bgr], vec![config, ("config.json", timm.as_str())], half(0.75), "preprocessor_config.json"),
        (vec![], vec![("config.json", timm.as_str())], scored, "config.json"),
        (vec![], vec![("config.json", squash.as_str())], stretched, "config.json"),
        (
            vec![],
            vec![("config.json", "{\"id2label\": {}}")],
            Preprocessing::imagenet(8, 8),
            "the usual convention, ImageNet's",
        ),
        (vec![], vec![], Preprocessing::imagenet(8, 8), "the usual convention, ImageNet's"),
    ];
    for (metadata, files, expected, source) in cases {
        let sourced = found(&metadata, &files).unwrap_or_else(|e| panic!("{source}: {e}"));
        assert_eq!(sourced.preprocessing, expected, "{source}");
        assert!(sourced.source.contains(source), "{}", sourced.source);
        assert_eq!(sourced.guessed, source == "the usual convention, ImageNet's");
    }
}

#[test]
fn a_flag_goes_before_everything() {
    let (model, _folder) = model(&[("adapt.contract", "damaged")], &[("preprocessor_config.json", "damaged")]);
    let spec: Spec = "raw01".parse().unwrap();
    let (_, sourced) = resolve(&model, Some(&spec), None).unwrap();
    assert_eq!((sourced.preprocessing.scale, sourced.source.as_str()), (1.0 / 255.0, "--preprocess"));
}

#[test]
fn windows_mls_ranges_are_known() {
    let read = |range, format| found(&[("Image.NominalPixelRange", range), ("Image.BitmapPixelFormat", format)], &[]);
    for (range, format, color, scale, mean) in [
        ("Normalized_0_1", "Rgb8", Color::Rgb, 1.0 / 255.0, 0.0),
        ("Normalized_1_1", "Bgra8", Color::Bgr, 1.0 / 255.0, 0.5),
        ("NominalRange_0_255", "Bgr8", Color::Bgr, 1.0, 0.0),
    ] {
        let p = read(range, format).unwrap().preprocessing;
        assert_eq!((p.color, p.scale, &p.mean), (color, scale, &vec![mean; 3]), "{range} {format}");
    }
    assert!(read("NominalRange_16_235", "Bgr8").unwrap_err().to_string().contains("NominalRange_16_235"));
    // Grey pixels for three channels.
    assert!(read("Normalized_0_1", "Gray8").unwrap_err().to_string().contains("gives 1 channels, the input takes 3"));
}

#[test]
fn damaged_sources_are_named() {
    let sized = json!({ "size": { "height": 9, "width": 9 } }).to_string();
    let timm = |key: &str, value: serde_json::Value| {
        let mut cfg = json!({ "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5], "input_size": [3, 8, 8] });
        cfg[key] = value;
        cfg.to_string()
    };
    let deep = "[".repeat(100_000);
    let metadata = [
        ("adapt.contract", "{", "metadata adapt.contract is damaged: "),
        ("adapt.contract", "[]", "metadata adapt.contract is damaged: "),
        ("adapt.contract", "{\"preprocessing\": 3}", "must be a JSON object"),
        ("adapt.contract", deep.as_str(), "adapt.contract"),
        ("adapt.contract", &format!("{{\"preprocessing\": {sized}}}"), "gives 9x9 pixels, the input takes 8x8"),
    ];
    for (key, value, expected) in metadata {
        let error = found(&[(key, value)], &[]).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let files = [
        ("preprocessor_config.json", "{\"size\": 8".to_string(), "not sound JSON"),
        ("preprocessor_config.json", deep.clone(), "not sound JSON"),
        ("preprocessor_config.json", "{\"image_mean\": [0.5, 0.5, 0.5]}".into(), "image_std"),
        ("preprocessor_config.json", "{\"do_normalize\": 7}".into(), "do_normalize"),
        ("preprocessor_config.json", sized, "gives 9x9 pixels"),
        ("config.json", "\u{0}".into(), "not sound JSON"),
        ("config.json", timm("mean", json!([0.1, 0.1])), "mean has 2 values"),
        ("config.json", timm("std", json!([0.1, 0.1, 0.0])), "std"),
        ("config.json", timm("crop_pct", json!(1e-9)), "crop_pct"),
        ("config.json", timm("interpolation", json!("magic")), "magic"),
    ];
    for (file, text, expected) in files {
        let error = found(&[], &[(file, &text)]).err().unwrap_or_else(|| panic!("{file}: {text}"));
        assert!(error.to_string().contains(expected) && error.to_string().contains(file), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn a_size_that_is_left_open_is_settled() {
    let resolved = |metadata: &[(&str, &str)], spec: Option<&str>, size| {
        let spec = spec.map(|s| s.parse::<Spec>().unwrap());
        resolve(&of_any_size(metadata), spec.as_ref(), size).map(|(input, _)| (input.height, input.width))
    };
    let contract = contract(0.5);
    let ours = [("adapt.contract", contract.as_str())];
    assert_eq!(resolved(&[], None, None).unwrap(), (224, 224));
    assert_eq!(resolved(&[], None, Some((32, 48))).unwrap(), (32, 48));
    assert_eq!(resolved(&[("imgsz", "[64, 96]")], None, None).unwrap(), (64, 96));
    assert_eq!(resolved(&[("imgsz", "64")], None, None).unwrap(), (64, 64));
    assert_eq!(resolved(&[], Some("raw01,crop=40x50"), None).unwrap(), (40, 50));
    assert_eq!(resolved(&ours, None, None).unwrap(), (8, 8));
    for (metadata, size) in [(vec![], (0, 8)), (vec![], (8193, 8)), (vec![("imgsz", "[99999, 8]")], (0, 0))] {
        let error = resolved(&metadata, None, Some(size).filter(|_| metadata.is_empty())).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
    let (model, _folder) = model(&[], &[]);
    let error = resolve(&model, None, Some((9, 8))).map(|(input, _): (Input, _)| input).unwrap_err();
    assert!(error.to_string().contains("--size 9x8: the model's input 'x' is fixed to 8x8"), "{error}");
}

#[test]
fn class_names_are_found() {
    let find = |metadata: &[(&str, &str)], files: &[(&str, &str)]| {
        labels::find(&model(metadata, files).0).map(|found| found.map(|(names, source)| (names.join("|"), source)))
    };
    let labels = ("labels.txt", "cat\ndog\n");
    let config = ("config.json", "{\"id2label\": {\"1\": \"b\", \"0\": \"a\", \"10\": \"k\"}}");
    let whole = ("config.json", "{\"id2label\": {\"1\": \"b\", \"0\": \"a\"}}");
    let some = |names: &str, source: &str| Some((names.to_string(), source.to_string()));
    assert_eq!(find(&[], &[]).unwrap(), None);
    assert_eq!(find(&[], &[labels]).unwrap(), some("cat|dog", "labels.txt"));
    assert_eq!(find(&[], &[labels, whole]).unwrap(), some("a|b", "config.json"));
    assert_eq!(find(&[("names", "{0: 'x', 1: 'y'}")], &[whole]).unwrap(), some("x|y", "metadata names"));
    let ours = ("adapt.contract", "{\"classes\": [\"p\", \"q\"]}");
    assert_eq!(find(&[("names", "{"), ours], &[]).unwrap(), some("p|q", "adapt.contract"));
    assert!(find(&[], &[config]).unwrap_err().to_string().contains("id2label in config.json skips a number"));
    for bad in ["{", "{}x", "{1: 'a'}", "{0: a}", "{0: 'a'", "{0: 'a', 0: 'b'}", "cat, dog", "{0: '\\ud800'}"] {
        let error = find(&[("names", bad)], &[]).expect_err(bad).to_string();
        assert!(error.contains("the metadata key `names`"), "{error}");
    }
    for bad in ["{", "[]"] {
        let error = find(&[("adapt.contract", bad)], &[]).expect_err(bad).to_string();
        assert!(error.contains("metadata adapt.contract is damaged: "), "{error}");
    }
    for bad in ["{\"classes\": 3}", "{\"classes\": [1]}", "{}"] {
        assert!(find(&[("adapt.contract", bad)], &[]).unwrap_err().to_string().contains("no list of classes"), "{bad}");
    }
}

#[test]
fn activations_are_stable_far_out() {
    let logits = ndarray::arr2(&[[0.0f32, 200.0, -200.0], [-1e30, 0.0, 0.0]]);
    let found = Activation::LogSoftmax.apply(logits.view());
    let expected =
        ndarray::arr2(&[[-200.0f32, 0.0, -400.0], [-1e30, -std::f32::consts::LN_2, -std::f32::consts::LN_2]]);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs()), "{found}");
    assert_eq!(Activation::Sigmoid.apply(logits.view())[[0, 2]], 0.0);
}

#[test]
fn bytes_are_fed_as_pixels() {
    let mut model = open("gemm_transb1");
    let input = &mut model.proto.graph.as_mut().unwrap().input[0];
    input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(adapt::onnx::data_type::UINT8);
    let sourced = resolve(&model, None, None).unwrap().1;
    assert_eq!((sourced.preprocessing.scale, &sourced.preprocessing.mean[..]), (1.0, &[0.0; 3][..]));
    assert!(sourced.guessed);
    let normalised = "imagenet".parse().unwrap();
    let error = resolve(&model, Some(&normalised), None).unwrap_err().to_string();
    assert!(error.contains("raw255"), "{error}");
}
