//! Files that are no models, models that take no images, and models of all kinds.

use super::inside::{classes, column};
use super::obstacles::node;
use super::support::{Place, hostile, image};
use crate::common::golden;
use adapt::onnx::Model;
use std::fs;

#[test]
fn files_that_are_not_onnx() {
    let place = Place::usual();
    image(&place.path("picture.onnx"), 0, 0);
    place.write("empty.onnx", "");
    place.write("text.onnx", "This is not a model.\n".repeat(50));
    fs::create_dir(place.path("folder.onnx")).unwrap();
    let cases = [
        ("missing.onnx", 2, "no such file"),
        ("picture.onnx", 1, "not an ONNX model"),
        ("empty.onnx", 1, "empty"),
        ("text.onnx", 1, "not an ONNX model"),
        ("folder.onnx", 2, "not a file"),
    ];
    for (file, code, words) in cases {
        place.adapt(&format!("--data data --onnx {file} --out out")).fails(code, &[file, words]);
        place.adapt(&format!("inspect {file}")).fails(code, &[file, words]);
        place.adapt(&format!("predict {file} data")).fails(code, &[file, words]);
        place.adapt(&format!("merge {file} x.safetensors -o out.onnx")).fails(code, &[file, words]);
    }
    assert_eq!(place.outputs(), [""; 0]);
}

#[test]
fn truncated_models() {
    let place = Place::usual();
    let whole = fs::read(place.path("tiny.onnx")).unwrap();
    for length in [1, 2, 7, 100, whole.len() / 2, whole.len() - 300, whole.len() - 1] {
        place.write("tiny.onnx", &whole[..length]);
        place.refuses("", 1, &["tiny.onnx"]);
        place.adapt("inspect tiny.onnx").fails(1, &["tiny.onnx"]);
    }
}

#[test]
fn a_pipe_is_no_model() {
    let place = Place::usual();
    place.shell("mkfifo pipe.onnx").succeeds();
    place.adapt("--data data --onnx pipe.onnx --out out").fails(2, &["pipe.onnx", "not a file"]);
    place.adapt("merge tiny.onnx pipe.onnx -o out.onnx").fails(2, &["pipe.onnx", "not a file"]);
    assert_eq!(place.outputs(), [""; 0]);
}

#[test]
fn hostile_models_are_refused_in_one_line() {
    let place = Place::usual();
    let cases = [
        ("no_image_input", &["no image input", "inputs: float32 x [N, 16]"][..]),
        ("huge_input", &["100000x100000", "8192"]),
        ("huge_batch", &["1099511627776 images", "memory"]),
        ("short_weight", &["'w'", "644 bytes", "648"]),
        ("negative_dims", &["'w'", "[-6, 3, 3, 3]", "impossible"]),
        ("overflowing_dims", &["'w'", "impossible"]),
        ("unknown_type", &["'w'", "data type 4711"]),
        ("two_weights_one_name", &["'b'", "stored twice"]),
        ("weight_named_as_output", &["'conv'", "exists already"]),
        ("reserved_weight_name", &["'__metadata__'", "safetensors", "rename"]),
        ("cycle", &["conv (Conv)", "depends on its own output"]),
        ("two_producers", &["relu (Relu)", "'conv'", "exists already"]),
        ("missing_input", &["conv (Conv)", "'nothing'", "does not exist"]),
        ("control_characters", &[r"conv\nerror: forged\u{1b}[31m (Conv)", r"'nothing\nhere'"]),
        ("unknown_operator", &["ONNX Runtime", "Rleu"]),
        ("custom_operator", &["ONNX Runtime", "com.example:Frobnicate"]),
        ("external_parent", &["'h'", "'../weights.bin'", "leaves the model's folder"]),
        ("external_absolute", &["'h'", "'/etc/passwd'", "leaves the model's folder"]),
        ("external_missing", &["'h'", "nowhere.bin"]),
        ("deep_nesting", &["not an ONNX model"]),
    ];
    for (name, words) in cases {
        fs::copy(hostile(name), place.path("tiny.onnx")).unwrap();
        place.refuses("", 1, &[&["tiny.onnx"], words].concat());
        let ran = place.adapt("inspect tiny.onnx");
        assert!(matches!(ran.code, Some(0 | 1)) && !ran.err.contains("panicked"), "{name}: {}", ran.err);
        // What a model holds must not write lines of its own, or steer the terminal.
        assert!(!(ran.out + &ran.err).contains('\u{1b}'), "{name}");
    }
}

/// One that nothing reads is nobody's to feed; of two that are needed neither is the image.
#[test]
fn two_images_are_one_too_many_where_both_are_read() {
    let place = Place::usual();
    fs::copy(hostile("two_image_inputs"), place.path("tiny.onnx")).unwrap();
    assert!(place.adapt("inspect tiny.onnx").succeeds().out.contains("dropped, with what hangs on them: y"));
    let mut model = Model::open(place.path("tiny.onnx")).unwrap();
    let graph = model.proto.graph.as_mut().unwrap();
    graph.node.iter_mut().find(|node| node.is("Conv")).unwrap().input[0] = "both".into();
    graph.node.insert(0, node("Add", &["x", "y"], "both"));
    place.write("tiny.onnx", model.to_bytes().unwrap());
    place.refuses("", 1, &["tiny.onnx", "several image inputs", "x, y"]);
}

#[test]
fn values_that_are_not_finite_are_told() {
    let place = Place::usual();
    fs::copy(hostile("nan_weight"), place.path("tiny.onnx")).unwrap();
    place.refuses("", 1, &["a/", ".png", "not finite", "preprocessing"]);
}

#[test]
fn external_data_through_a_link_is_refused() {
    let place = Place::usual();
    fs::create_dir(place.path("model")).unwrap();
    fs::copy(hostile("external_link"), place.path("model/tiny.onnx")).unwrap();
    place.write("secret.bin", [0; 96]);
    std::os::unix::fs::symlink(place.path("secret.bin"), place.path("model/link.bin")).unwrap();
    let ran = place.adapt("--data data --onnx model/tiny.onnx --out out");
    ran.fails(1, &["model/tiny.onnx", "'h'", "link.bin"]);
    assert_eq!(place.outputs(), [""; 0]);
    // The same bytes beside the model are taken.
    fs::remove_file(place.path("model/link.bin")).unwrap();
    fs::copy(place.path("secret.bin"), place.path("model/link.bin")).unwrap();
    place.adapt("--data data --onnx model/tiny.onnx --out out").succeeds();
}

#[cfg(target_os = "linux")]
#[test]
fn a_graph_that_wants_a_terabyte_is_refused() {
    let place = Place::usual();
    for name in ["terabyte_constant", "terabyte_expand", "terabyte_reshape"] {
        for engine in ["ort", "tract"] {
            fs::copy(hostile(name), place.path("tiny.onnx")).unwrap();
            // The limit keeps a failure of this test from taking the machine's memory.
            let run = "$ADAPT --data data --onnx tiny.onnx --out out --engine";
            let ran = place.shell(&format!("ulimit -v 12000000 && exec {run} {engine}"));
            // What an engine would make of constants and sizes is bounded before it does.
            ran.fails(1, &["too large"]);
            assert_eq!(place.outputs(), [""; 0], "{name}");
        }
    }
}

#[test]
fn models_of_all_kinds_are_trained_inside() {
    let place = classes();
    for name in [
        "tiny_u8",
        "tiny_f16",
        "tiny_batch1",
        "onnx/batch1_stuck",
        "onnx/nhwc",
        "onnx/channels_last",
        "onnx/channels_1",
        "onnx/channels_4",
        "onnx/shared_bias",
        "onnx/weight_constant",
        "onnx/mixed_precision",
        "onnx/qdq",
    ] {
        fs::copy(golden(&format!("{name}.onnx")), place.path("tiny.onnx")).unwrap();
        for part in ["all", "last:1"] {
            let arguments = format!("--train {part} --epochs 4 --batch-size 5 --lr 0.01 --force --probe off --val 0");
            place.main(&arguments).succeeds();
            let losses = column(&place, "train_loss");
            assert!(losses.len() == 4 && losses[3] < losses[0], "{name}: {losses:?}");
        }
    }
}
