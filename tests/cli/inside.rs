//! Training inside the network.

use super::support::Place;
use crate::common::golden;
use adapt::graph::{Extent, tail};
use adapt::onnx::Model;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Three classes of 12 images.
pub fn classes() -> Place {
    let place = Place::usual();
    for (class, name) in ["a", "b", "c"].iter().enumerate() {
        place.images(&format!("data/{name}"), class, 12);
    }
    place
}

/// A golden model in place of `tiny.onnx`.
fn model(place: &Place, name: &str) {
    fs::copy(golden(&format!("{name}.onnx")), place.path("tiny.onnx")).unwrap();
}

/// Stored tensors by name.
fn stored(place: &Place, file: &str) -> BTreeMap<String, adapt::onnx::schema::TensorProto> {
    let model = Model::open(place.path(file)).unwrap();
    model.graph().initializer.iter().map(|t| (t.name().to_string(), t.clone())).collect()
}

/// Those of the original that are another in the result, where they are still there.
fn changed(place: &Place, original: &str) -> BTreeSet<String> {
    let after = stored(place, "out/model.onnx");
    let before = stored(place, original);
    before.into_iter().filter(|(name, t)| after.get(name).is_some_and(|new| new != t)).map(|(name, _)| name).collect()
}

/// A column of `results.csv`; what is not told is left out.
pub fn column(place: &Place, name: &str) -> Vec<f64> {
    let text = place.read("out/results.csv");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let at = lines.next().unwrap().iter().position(|cell| *cell == name).unwrap();
    lines.filter_map(|cells| cells[at].parse().ok()).collect()
}

#[test]
fn every_part_learns_and_the_rest_stays() {
    let place = classes();
    for (part, trained) in [("all", &["b", "w"][..]), ("last:1", &["b", "w"]), ("last:9", &["b", "w"]), ("relu", &[])] {
        let arguments = format!("--train {part} --epochs 8 --lr 0.02 --probe off --augment none --val 0 --force");
        let ran = place.main(&arguments).succeeds();
        assert!(ran.out.contains("proof") && ran.out.contains("100 % the same class"), "{}", ran.out);
        assert_eq!(ran.err.contains("--train head was better"), part == "relu", "{}", ran.err);
        let losses = column(&place, "train_loss");
        assert!(losses.len() == 8 && losses[7] < losses[0], "{part}: {losses:?}");
        assert_eq!(changed(&place, "tiny.onnx"), trained.iter().map(|s| s.to_string()).collect(), "{part}");
    }
    place.adapt("predict out/model.onnx data").succeeds();
}

#[test]
fn what_is_frozen_stays_bit_for_bit() {
    let place = classes();
    place.adapt("new resnet8 --classes 3 --input 3x16x16 -o net.onnx").succeeds();
    let net = Model::open(place.path("net.onnx")).unwrap();
    let nodes = net.graph().node.iter().filter(|node| node.is("BatchNormalization"));
    let norms: BTreeSet<String> = nodes.flat_map(|node| node.input[1..].iter().cloned()).collect();
    let all: BTreeSet<String> = stored(&place, "net.onnx").into_keys().collect();
    let run = |arguments: &str| {
        let job = "--data data --onnx net.onnx --out out --force --epochs 2";
        let ran = place.adapt(&format!("{job} {arguments}")).succeeds();
        let [every, frozen] = ["all", "frozen"].map(|word| arguments.contains(word));
        assert_eq!(ran.err.contains("; nothing is frozen"), every && !frozen, "{}", ran.err);
        assert_eq!(ran.err.contains(" others are frozen"), frozen, "{}", ran.err);
        let now: BTreeSet<String> = stored(&place, "out/model.onnx").into_keys().collect();
        assert!(all.difference(&now).all(|name| name.starts_with("fc")), "{arguments}: {all:?} {now:?}");
        changed(&place, "net.onnx")
    };
    let frozen = run("--train all --bn frozen");
    assert!(!norms.is_empty() && frozen.is_disjoint(&norms), "{frozen:?}");
    let whole = run("--train all --bn affine");
    assert!(whole.is_superset(&frozen) && whole.len() > frozen.len(), "{whole:?}");
    assert!(!whole.iter().any(|name| name.contains("running")), "{whole:?}");
    let mut before = 0;
    for blocks in 1..4 {
        let found = run(&format!("--train last:{blocks} --bn affine"));
        let trained = tail(&net, &Extent::Last(blocks)).unwrap().depths;
        assert!(found.iter().all(|name| trained.contains_key(name)), "{blocks}: {found:?}");
        assert!(found.len() >= before && found.len() < whole.len(), "{blocks}: {found:?}");
        before = found.len();
    }
    assert!(before > 0);
}

#[test]
fn no_steps_write_the_starting_model() {
    let place = classes();
    for arguments in ["--steps 0", "--epochs 0 --probe off", "--steps 0 --val 0"] {
        let mut models = Vec::new();
        for part in ["all", "all", "relu", "last:1"] {
            place.main(&format!("--train {part} --force {arguments}")).succeeds();
            assert!(changed(&place, "tiny.onnx").is_empty() && column(&place, "epoch") == [0.]);
            models.push(fs::read(place.path("out/model.onnx")).unwrap());
        }
        assert!(models[0] == models[1] && models[2] == models[3], "{arguments}");
        // What is trained first for all of it is another head.
        assert!(models[0] == models[2] || !arguments.contains("--probe off"), "{arguments}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_threads() {
    let place = classes();
    let run = |arguments: &str| {
        let job = "--train all --epochs 3 --mixup 0.3 --cutmix 0.3 --ema 0.9 --augment strong --force";
        place.main(&format!("{job} {arguments}")).succeeds();
        ["model.onnx", "model.safetensors", "predictions.csv"].map(|n| fs::read(place.path("out").join(n)).unwrap())
    };
    let first = run("--threads 1");
    assert!(run("--threads 1") == first && run("--threads 2") == first && run("") == first);
    assert!(run("--seed 1") != first);
}

#[test]
fn divergence_is_told_and_what_was_learnt_is_kept() {
    let place = classes();
    for (val, best) in [("0.2", serde_json::json!(0)), ("0", serde_json::Value::Null)] {
        let ran = place.main(&format!("--train all --lr 1e30 --clip-grad 0 --epochs 3 --force --val {val}"));
        let errors: Vec<_> = ran.err.lines().filter(|line| line.starts_with("error:")).collect();
        assert!(ran.code == Some(1) && errors.len() == 1, "{}", ran.err);
        let words = ["step 2", "not finite", "lower --lr", "--clip-grad", "best weights so far are in out"];
        assert!(words.iter().all(|word| errors[0].contains(word)), "{}", errors[0]);
        assert!(changed(&place, "tiny.onnx").is_empty(), "the start was the best");
        assert_eq!(place.json("out/run.json")["training"]["best_epoch"], best);
        place.adapt("predict out/model.onnx data").succeeds();
        place.adapt("--resume out").succeeds();
    }
}

#[test]
fn wrong_usage_is_refused_before_the_work() {
    let place = classes();
    let inside = [
        "--epochs 3",
        "--steps 3",
        "--batch-size 4",
        "--lr 0.1",
        "--optimizer sgd",
        "--momentum 0.9",
        "--weight-decay 0",
        "--schedule constant",
        "--warmup 1",
        "--label-smoothing 0.1",
        "--ema 0.9",
        "--clip-grad 1",
        "--layer-decay 0.9",
        "--augment light",
        "--mixup 0.1",
        "--cutmix 0.1",
        "--probe off",
        "--probe on",
        "--bn frozen",
        "--patience 3",
        "--loss mse",
    ];
    for option in inside {
        place.refuses(option, 2, &["--train head", "--train all"]);
        place.refuses(&format!("{option} --train last:0"), 2, &["--train head"]);
    }
    for (arguments, words) in [
        ("--train nowhere", &["--train nowhere", "last:N", "adapt inspect"][..]),
        ("--train logits", &["--train logits", "behind it"]),
        ("--train last:x", &["'x'", "last:2"]),
        ("--train last:-1", &["'-1'"]),
        ("--train=", &["head, last:N, all"]),
        ("--train all --epochs 3 --steps 3", &["--epochs", "--steps"]),
        ("--train all --budget 10m --epochs 3", &["--budget", "--epochs"]),
        ("--train all --budget 10x", &["--budget", "10m"]),
        ("--train all --budget 0", &["--budget"]),
        ("--train all --epochs 9999999999999999999", &["--epochs", "million"]),
        ("--train all --batch-size 0", &["number of images, or all"]),
        ("--train all --lr 0", &["--lr", "above 0"]),
        ("--train all --lr nan", &["--lr"]),
        ("--train all --ema 1", &["--ema", "below 1"]),
        ("--train all --patience 2 --val 0", &["--patience", "validation"]),
        ("--resume out --train all", &["--resume"]),
    ] {
        place.refuses(arguments, 2, &[]);
        let said = place.main(arguments).err;
        assert!(words.iter().all(|word| said.contains(word)), "{arguments}: {said}");
    }
    // Of the embedded model there is no file to inspect.
    let ran = place.adapt("--data data --out out --train nowhere");
    ran.fails(2, &["--train nowhere", "last:N"]);
    assert!(!ran.err.contains("adapt inspect"), "{}", ran.err);
}

#[test]
fn what_cannot_be_trained_is_told_with_what_can() {
    let place = classes();
    model(&place, "onnx/qoperator_conv");
    for part in ["all", "last:1"] {
        place.refuses(&format!("--train {part}"), 1, &["quantized", "gradient", "--train head"]);
    }
    place.main("--train head").succeeds();
    fs::remove_dir_all(place.path("out")).unwrap();
    model(&place, "parts/dft");
    place.refuses("--train all", 1, &["dft", "--train"]);
    let advice = place.main("--train all").err;
    let tensor = advice.split("--train ").last().unwrap().trim().to_string();
    place.main(&format!("--train {tensor} --epochs 1")).succeeds();
}

#[test]
fn images_that_cannot_be_read_are_left_out() {
    let place = classes();
    for i in 0..9 {
        place.write(&format!("data/a/broken{i}.png"), "no image");
    }
    for probe in ["on", "off"] {
        let arguments = format!("--train all --epochs 3 --batch-size 4 --probe {probe} --force");
        let ran = place.main(&arguments).succeeds();
        assert!(ran.out.contains("broken0.png"), "{}", ran.out);
        assert_eq!(place.json("out/run.json")["data"]["skipped"].as_array().unwrap().len(), 9);
        assert_eq!(column(&place, "epoch"), [0., 1., 2., 3.], "as many epochs as were asked for");
        place.main(&format!("{arguments} --strict")).fails(1, &["data/a/broken", "--strict"]);
    }
    fs::remove_dir_all(place.path("out")).unwrap();
    for i in 0..12 {
        place.write(&format!("data/a/{i}.png"), "no image");
    }
    for probe in ["on", "off"] {
        place.refuses(&format!("--train all --probe {probe}"), 1, &["'a'"]);
    }
}

#[test]
fn each_option_does_what_it_says() {
    let place = classes();
    let run = |arguments: &str| {
        place.main(&format!("--train all --force {arguments}")).succeeds();
        place.json("out/run.json")["training"].clone()
    };
    let plain = run("--epochs 2 --augment none");
    for option in [
        "--ema 0.9",
        "--mixup 0.5",
        "--cutmix 0.5",
        "--augment light",
        "--augment light --hflip 1",
        "--augment light --vflip 1",
        "--optimizer adam",
        "--optimizer sgd",
        "--label-smoothing 0.2",
        "--schedule constant",
        "--weight-decay 0.5",
        "--clip-grad 0.001",
        "--layer-decay 0.5",
        "--loss mse",
        "--loss bce",
        "--batch-size 3",
        "--batch-size 1000",
        "--probe off",
    ] {
        let other =
            run(&format!("--epochs 2 {} {option}", if option.contains("augment") { "" } else { "--augment none" }));
        assert_eq!(other["epochs"].as_array().unwrap().len(), 3, "{option}");
        assert_ne!(column_of(&other), column_of(&plain), "{option}");
    }
    // What has another default in such company.
    for (company, option) in [("--schedule cosine", "--warmup 1"), ("--optimizer sgd", "--momentum 0.5")] {
        let [without, with] = ["", option].map(|option| run(&format!("--epochs 2 --augment none {company} {option}")));
        assert_ne!(column_of(&with), column_of(&without), "{option}");
    }
    let stopped = run("--epochs 60 --patience 2");
    let epochs = stopped["epochs"].as_array().unwrap().len() as u64;
    assert!(epochs < 61 && stopped["stopped"].as_str().unwrap().contains("no improvement"), "{stopped}");
    assert_eq!(stopped["best_epoch"].as_u64().unwrap() + 3, epochs);
    let whole = run("--batch-size all --val 0 --steps 5 --augment none");
    assert_eq!((&whole["settings"]["batch_size"], whole["epochs"].as_array().unwrap().len()), (&36.into(), 6));
}

/// The losses of training.
fn column_of(training: &serde_json::Value) -> Vec<String> {
    training["epochs"].as_array().unwrap().iter().map(|e| format!("{} {}", e["train_loss"], e["val_loss"])).collect()
}
