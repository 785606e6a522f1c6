//! How training inside ends, and what it keeps on its way.

use super::inside::classes;
use super::support::{Place, image};
use std::fs;

#[test]
fn divergence_in_the_last_step_is_told() {
    let place = classes();
    let ran = place.main("--train all --lr 1e30 --clip-grad 0 --steps 1 --val 0");
    assert!(ran.code == Some(1) && ran.err.contains("step 1: the logits are not finite; lower --lr"), "{}", ran.err);
    assert!(place.path("out/model.onnx").is_file());
}

#[test]
fn what_is_kept_in_a_file_trains_alike() {
    let place = classes();
    place.adapt("new cnn --data data --input 3x16x16 -o net.onnx").succeeds();
    let run = |arguments: &str| {
        let job = "--data data --onnx net.onnx --out out --train last:1 --epochs 2 --augment none --force";
        let ran = place.adapt(&format!("{job} {arguments}")).succeeds();
        assert!(ran.err.contains("frozen before"), "{}", ran.err);
        fs::read(place.path("out/model.onnx")).unwrap()
    };
    assert!(run("--cache-limit 1K") == run("--cache-limit 1G"));
    place.main("--train last:1 --cache-limit much --force").fails(2, &["--cache-limit", "give a size"]);
    place.main("--cache-limit 1G --force").fails(2, &["--train head"]);
}

#[test]
fn one_pass_keeps_rows_and_gives_the_probe_its_features() {
    let place = classes();
    place.adapt("new cnn --data data --input 3x16x16 -o net.onnx").succeeds();
    image(&place.path("data/a/damaged.png"), 0, 1);
    fs::write(place.path("data/a/damaged.png"), b"no image").unwrap();
    let run = |out: &str, arguments: &str| {
        let job = format!("--data data --onnx net.onnx --out {out} {arguments}");
        place.adapt(&job).succeeds().err
    };
    let inside = "--train last:1 --probe on --augment none --batch-size all";
    // Without a step nothing is kept: the features come by themselves.
    let alone = run("alone", &format!("{inside} --steps 0 --cache off"));
    let told = run("kept", &format!("{inside} --steps 1 --lr 1e-30 --weight-decay 0 --cache shelf"));
    assert!(alone.contains("extracting train features") && !told.contains("extracting train"), "{told}");
    assert!(told.contains("frozen part of train images: 30") && told.contains("scores of train images: 29"), "{told}");
    assert!(place.read_bytes("alone/model.safetensors") == place.read_bytes("kept/model.safetensors"));
    // Other jobs find what the pass gave, but for the damaged image.
    let head = run("head", "--head softmax --cache shelf");
    assert!(head.contains("features from the cache: 29 of 30"), "{head}");
}

#[test]
fn a_loss_that_blows_up_is_told_though_it_is_finite() {
    let place = classes();
    let ran =
        place.main("--train all --lr 300 --optimizer sgd --schedule constant --epochs 9 --val 0 --preprocess imagenet");
    let words = ["the epoch's mean loss is", "lower --lr (it is 3e2)", "best weights so far are in out"];
    assert!(ran.code == Some(1) && words.iter().all(|word| ran.err.contains(word)), "{}", ran.err);
    place.adapt("predict out/model.onnx data").succeeds();
}

#[test]
fn digits_and_letters_are_not_mirrored() {
    for (names, share) in [(["1", "7", "ß"], 0.0), (["one", "7", "ß"], 0.5)] {
        let place = Place::with_classes(&names);
        let ran = place.main("--train all --epochs 1 --augment light").succeeds();
        assert_eq!(ran.err.contains("light augmentation without mirroring"), share == 0.0, "{}", ran.err);
        assert_eq!(place.json("out/run.json")["training"]["settings"]["hflip"], share);
    }
}
