//! predict, eval and merge on a model that is ready.

use super::support::Place;
use std::fs;

fn adapted() -> Place {
    let place = Place::usual();
    place.main("-q").succeeds();
    place
}

#[test]
fn predict() {
    let place = adapted();
    fs::create_dir(place.path("empty")).unwrap();
    place.write("broken/a.png", "");
    place.adapt("predict out/model.onnx nowhere").fails(2, &["nowhere"]);
    place.adapt("predict out/model.onnx data nowhere").fails(2, &["nowhere"]);
    place.adapt("predict out/model.onnx empty").fails(2, &["no images"]);
    place
        .adapt("predict out/model.onnx broken")
        .fails(1, &["broken/a.png: empty file", "none of the images could be read"]);
    place.adapt("predict out/model.onnx data --csv --json").fails(2, &["--csv", "--json"]);
    let ran = place.adapt("predict out/model.onnx data/a broken data/b/3.png --csv").succeeds();
    assert!(ran.err.contains("warning: broken/a.png: empty file"), "{}", ran.err);
    assert_eq!(ran.out.lines().next(), Some("path,label,confidence,outlier_score,outlier"));
    let rows: Vec<_> = ran.out.lines().skip(1).collect();
    assert!(rows.len() == 7 && rows[..6].iter().all(|r| r.starts_with("data/a/") && r.contains(".png,a,")), "{rows:?}");
    assert!(rows[6].starts_with("data/b/3.png,b,"), "{rows:?}");
    let ran = place.adapt("predict out/model.onnx data/c").succeeds();
    assert!(ran.out.contains("data/c/5.png"), "{}", ran.out);
}

#[test]
fn a_model_with_too_few_names_is_refused() {
    let place = adapted();
    place.write("labels.txt", "one\ntwo\n");
    place.adapt("predict tiny.onnx data --csv").fails(1, &["tiny.onnx", "4 outputs", "2 class names"]);
    place.adapt("eval tiny.onnx --data data").fails(1, &["no folder of images", "'one', 'two'"]);
    fs::remove_file(place.path("labels.txt")).unwrap();
    place.adapt("eval tiny.onnx --data data").fails(1, &["tiny.onnx", "class names are not known", "labels.txt"]);
    let ran = place.adapt("predict tiny.onnx data --csv").succeeds();
    assert!(ran.err.contains("preprocessing is a guess"), "{}", ran.err);
}

#[test]
fn what_is_no_classifier_gives_no_labels() {
    let place = Place::usual();
    place.adapt("cut tiny.onnx -o part.onnx").succeeds();
    for name in ["argmax", "embedding"] {
        fs::copy(crate::common::golden(&format!("onnx/{name}.onnx")), place.path(format!("{name}.onnx"))).unwrap();
    }
    for (file, words) in
        [("argmax", "'label' holds the choice alone"), ("embedding", "labels.txt"), ("part", "features")]
    {
        place.adapt(&format!("predict {file}.onnx data")).fails(2, &[&format!("{file}.onnx"), words, "`adapt embed`"]);
    }
    // Names of its classes say that it is one.
    let names: String = (0..6).map(|i| format!("class {i}\n")).collect();
    place.write("labels.txt", names);
    place.adapt("predict embedding.onnx data").succeeds();
}

#[test]
fn an_engine_that_fails_says_where_and_what_to_do() {
    let place = Place::usual();
    for name in ["size_open", "qdq"] {
        fs::copy(crate::common::golden(&format!("onnx/{name}.onnx")), place.path(format!("{name}.onnx"))).unwrap();
    }
    let ran = place.adapt("predict size_open.onnx data --size 40");
    ran.fails(
        1,
        &["size_open.onnx: ONNX Runtime fails at node", "(Gemm): GEMM: Dimension mismatch", "--size", "--engine tract"],
    );
    assert!(!ran.err.contains("Status") && !ran.err.contains(".h:"), "{}", ran.err);
    let ran = place.adapt("predict qdq.onnx data --engine candle");
    ran.fails(1, &["qdq.onnx: candle cannot run it: node", "quantized", "--engine ort"]);
    assert!(!ran.err.contains("train"), "{}", ran.err);
}

#[test]
fn eval() {
    let place = adapted();
    place.adapt("eval out/model.onnx --data nowhere").fails(2, &["nowhere: does not exist"]);
    place.images("wrong/z", 0, 3);
    place.adapt("eval out/model.onnx --data wrong").fails(1, &["wrong", "no folder of images", "'a', 'b', 'c'"]);
    place.images("wrong/a", 0, 3);
    place.write("wrong/a/zero.png", "");
    let ran = place.adapt("eval out/model.onnx --data wrong --json").succeeds();
    let figures: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(figures["n"], 3);
    for words in ["z: the model has no class of this name (3 images)", "zero.png: empty file"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    // Where there is a test folder, only that is measured.
    place.images("split/train/a", 0, 5);
    place.images("split/test/a", 0, 2);
    place.images("split/test/b", 1, 2);
    let ran = place.adapt("eval out/model.onnx --data split --json").succeeds();
    let figures: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&figures["n"], &figures["accuracy"]), (&4.into(), &1.0.into()));
    assert_eq!(figures["skipped"], serde_json::json!([]));
    // What could not be read, and what has no class, is listed beside the figures.
    place.write("split/test/a/text.png", "no image");
    place.images("split/test/zebra", 1, 1);
    let ran = place.adapt("eval out/model.onnx --data split --json").succeeds();
    let figures: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let listed = |i: usize| figures["skipped"][i]["path"].as_str().unwrap();
    assert_eq!((&figures["n"], listed(0), listed(1)), (&4.into(), "zebra", "a/text.png"));
}

#[test]
fn merge_gives_the_same_model_back() {
    let place = adapted();
    place.adapt("merge out/model.onnx out/model.safetensors -o again.onnx").succeeds();
    let same = || fs::read(place.path("out/model.onnx")).unwrap() == fs::read(place.path("again.onnx")).unwrap();
    assert!(same());
    let ran = place.adapt("merge out/model.onnx out/model.safetensors -o again.onnx");
    ran.fails(2, &["again.onnx", "exists already", "--force"]);
    place.write("again.onnx", "old");
    place.adapt("merge out/model.onnx out/model.safetensors -o again.onnx --force").succeeds();
    assert!(same());
}

#[test]
fn a_new_network_with_other_weights_may_have_learnt_something() {
    let place = Place::usual();
    place.adapt("new cnn --data data --input 3x16x16 -o net.onnx").succeeds();
    let open = |name: &str| adapt::onnx::Model::open(place.path(name)).unwrap();
    let model = open("net.onnx");
    let weight = &model.graph().initializer[0];
    let dims: Vec<usize> = weight.dims.iter().map(|&dim| dim as usize).collect();
    let bytes = vec![0; 4 * dims.iter().product::<usize>()];
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, dims, &bytes).unwrap();
    place.write("zeros.safetensors", safetensors::serialize([(weight.name(), view)], None).unwrap());
    place.adapt("merge net.onnx zeros.safetensors -o other.onnx").succeeds();
    assert!(adapt::plan::is_initial(&model) && !adapt::plan::is_initial(&open("other.onnx")));
}

#[test]
fn figures_do_not_outlive_the_values_they_were_measured_on() {
    let place = adapted();
    let contract = |name: &str| {
        let model = adapt::onnx::Model::open(place.path(name)).unwrap();
        let text = adapt::onnx::metadata::get(&model.proto, "adapt.contract").unwrap();
        serde_json::from_str::<serde_json::Value>(text).unwrap()
    };
    let mut weights = fs::read(place.path("out/model.safetensors")).unwrap();
    // The last value of the last tensor, in its mantissa.
    let place_of_byte = weights.len() - 4;
    weights[place_of_byte] ^= 1;
    place.write("other.safetensors", weights);
    // A file that has the name of an earlier version's temporary file is nobody's to overwrite.
    place.write("other.onnx.partial", "mine");
    let ran = place.adapt("merge out/model.onnx other.safetensors -o other.onnx").succeeds();
    assert!(ran.out.contains("figures") && ran.out.contains("left out"), "{}", ran.out);
    assert_eq!(place.read("other.onnx.partial"), "mine");
    let mut expected = contract("out/model.onnx");
    assert!(expected.as_object_mut().unwrap().shift_remove("metrics").is_some());
    assert_eq!(contract("other.onnx"), expected);
    place.adapt("predict other.onnx data --csv").succeeds();
}

#[test]
fn merge_refuses_what_does_not_fit() {
    let place = adapted();
    let tensor = |name: &str, dtype: &str, shape: &str, bytes: usize| {
        let header = format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{bytes}]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; bytes]].concat()
    };
    let cases = [
        (tensor("ww", "F32", "[1]", 4), &["no initializer 'ww'"][..]),
        (tensor("b", "F32", "[7]", 28), &["'b'", "[7]", "[6]"]),
        (tensor("b", "F16", "[6]", 12), &["'b'", "F16", "float32"]),
        (tensor("b", "F32", "[6]", 24)[..40].to_vec(), &["not a safetensors file"]),
        (b"garbage".to_vec(), &["not a safetensors file"]),
        (vec![0xff; 64], &["not a safetensors file"]),
        (Vec::new(), &["not a safetensors file"]),
    ];
    for (bytes, words) in cases {
        place.write("weights.safetensors", bytes);
        let ran = place.adapt("merge tiny.onnx weights.safetensors -o merged.onnx");
        ran.fails(1, &[&["weights.safetensors"], words].concat());
        assert!(place.outputs() == ["out"] && !place.path("merged.onnx").exists());
    }
    place
        .adapt("merge tiny.onnx nowhere.safetensors -o merged.onnx")
        .fails(2, &["nowhere.safetensors", "no such file"]);
    place.adapt("merge tiny.onnx out/model.safetensors -o merged.onnx").fails(1, &["no initializer 'adapt."]);
    place.adapt("merge out/model.onnx out/model.safetensors -o no/where.onnx").fails(1, &["no/where.onnx"]);
    // A folder is never replaced.
    place.adapt("merge out/model.onnx out/model.safetensors -o data --force").fails(1, &["data"]);
    assert!(place.path("data/a/0.png").is_file());
    let names = fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|n| n.contains("partial")).collect();
    assert_eq!(left, [""; 0]);
}
