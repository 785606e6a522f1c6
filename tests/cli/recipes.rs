//! Recipes of training inside the network: that each part of them does what is said of it.

use super::inside::{classes, column};
use super::support::Place;
use crate::common::golden;
use adapt::onnx::{Model, tensor};
use serde_json::Value;
use std::fs;

fn floats(model: &Model, name: &str) -> Vec<f32> {
    tensor::floats(model.graph().initializer.iter().find(|t| t.name() == name).unwrap()).unwrap()
}

#[test]
fn every_new_network_is_trained_by_its_images() {
    let place = classes();
    for architecture in ["cnn", "resnet8", "resnet18", "mobilenet"] {
        place.adapt(&format!("new {architecture} --data data --input 3x16x16 -o net.onnx --force")).succeeds();
        let ran = place.adapt("--onnx net.onnx --data data --train all --epochs 2 --out out --force").succeeds();
        assert!(ran.out.contains("proof") && ran.out.contains("100 % the same class"), "{}", ran.out);
        let [before, after] = ["net.onnx", "out/model.onnx"].map(|file| Model::open(place.path(file)).unwrap());
        let norms: Vec<&str> = before
            .graph()
            .node
            .iter()
            .filter(|node| node.is("BatchNormalization"))
            .flat_map(|node| node.input[3..5].iter().map(String::as_str))
            .collect();
        assert_eq!(norms.is_empty(), architecture == "cnn");
        // The running statistics are exported, and have left where they began.
        for name in norms {
            let own = floats(&after, name);
            assert!(own != floats(&before, name) && own.iter().all(|value| value.is_finite()), "{architecture} {name}");
        }
        let bn = &place.json("out/run.json")["training"]["settings"]["bn"];
        assert_eq!(bn == "train", architecture != "cnn", "{bn}");
    }
}

#[test]
fn the_names_that_others_have_for_options_do_the_same() {
    let place = classes();
    let settings = |arguments: &str| {
        place.main(&format!("--train all --epochs 2 --force {arguments}")).succeeds();
        place.json("out/run.json")["training"]["settings"].clone()
    };
    let own = settings("--optimizer sgd --schedule cosine --warmup 1 --label-smoothing 0.2 --ema 0.9");
    let timm = settings("--opt sgd --sched cosine --warmup-epochs 1 --smoothing 0.2 --model-ema-decay 0.9");
    assert_eq!((&own, &own["optimizer"], &own["ema"]), (&timm, &"sgd".into(), &0.9.into()));
}

#[test]
fn defaults_suit_what_is_trained() {
    let place = classes();
    fs::copy(golden("norms.onnx"), place.path("tiny.onnx")).unwrap();
    let settings = |arguments: &str| {
        place.main(&format!("--force --val 0 {arguments}")).succeeds();
        place.json("out/run.json")["training"]["settings"].clone()
    };
    // Its batch norms have seen images, and what is frozen is to run once.
    let tail = settings("--train conv --steps 2");
    assert_eq!(
        (&tail["bn"], &tail["augment"], &tail["schedule"]),
        (&"affine".into(), &"none".into(), &"constant".into())
    );
    // So few steps would spoil what the probe has found, but for what the user says.
    let rate = |arguments: &str| settings(arguments)["lr"].as_f64().unwrap();
    assert_eq!([tail["lr"].as_f64().unwrap(), rate("--train conv --steps 50")], [8e-6, 2e-4]);
    assert_eq!(
        ["--lr 2e-4", "--optimizer sgd"].map(|own| rate(&format!("--train conv --steps 2 {own}"))),
        [2e-4, 0.01]
    );
    let all = settings("--train all");
    assert_eq!(
        (&all["bn"], &all["augment"], &all["schedule"]),
        (&"affine".into(), &"light".into(), &"onecycle".into())
    );
    // A budget shortens the plan, and does not draw it out.
    let same = settings("--train all --budget 10m");
    assert_eq!(same, all);
    place.main("--force --train all --bn train --batch-size 1").fails(2, &["--bn train", "one image"]);
}

#[test]
fn a_budget_has_fewer_steps() {
    let place = classes();
    // Twenty epochs of 36 steps, each of eleven million weights, take seconds on any machine.
    place.adapt("new resnet18 --data data --input 3x32x32 -o net.onnx").succeeds();
    place.adapt("--onnx net.onnx --data data --out short --train all --val 0 --batch-size 1 --budget 1s").succeeds();
    let steps = place.json("short/run.json")["training"]["settings"]["steps"].as_u64().unwrap();
    assert!((1..20 * 36).contains(&steps), "{steps}");
}

#[test]
fn layers_learn_the_slower_the_further_they_are_from_the_head() {
    let place = classes();
    place.adapt("new cnn --data data --input 3x16x16 -o net.onnx").succeeds();
    let weights = |arguments: &str| {
        let job = "--onnx net.onnx --data data --out out --force --train all --probe off --val 0 --augment none";
        let step = "--optimizer sgd --momentum 0 --weight-decay 0 --clip-grad 0 --schedule constant --batch-size all";
        place.adapt(&format!("{job} {step} --lr 0.1 {arguments}")).succeeds();
        let model = Model::open(place.path("out/model.onnx")).unwrap();
        let matrices = model.graph().initializer.iter().filter(|tensor| tensor.dims.len() > 1);
        matrices.filter_map(tensor::floats).collect::<Vec<_>>()
    };
    let [start, alike, slower] = ["--steps 0", "--steps 1 --layer-decay 1", "--steps 1 --layer-decay 0.5"].map(weights);
    let moved =
        |after: &[f32], before: &[f32]| after.iter().zip(before).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
    let shares: Vec<f64> =
        (0..start.len()).map(|i| moved(&slower[i], &start[i]) / moved(&alike[i], &start[i])).collect();
    for (share, expected) in shares.iter().zip([0.125, 0.25, 0.5, 1.]) {
        assert!((share / expected - 1.).abs() < 1e-2, "{shares:?}");
    }
    assert_eq!(shares.len(), 4);
}

#[test]
fn without_a_probe_the_head_is_drawn() {
    let place = classes();
    place.main("--train all --steps 0 --probe off").succeeds();
    let model = Model::open(place.path("out/model.onnx")).unwrap();
    let weight = floats(&model, "adapt.head.weight");
    let square = weight.iter().map(|w| w * w).sum::<f32>() / weight.len() as f32;
    assert!((0.005..0.02).contains(&square.sqrt()) && floats(&model, "adapt.head.bias").iter().all(|b| *b == 0.));
    place.main("--train all --steps 0 --probe off --seed 1 --force").succeeds();
    assert_ne!(weight, floats(&Model::open(place.path("out/model.onnx")).unwrap(), "adapt.head.weight"));
}

#[test]
fn without_a_probe_classes_that_the_original_has_begin_as_its_own() {
    let place = Place::with_classes(&["ant", "big cat", "dog"]);
    place.main("--val 0").succeeds();
    let weights = |file: &str| {
        let model = Model::open(place.path(file)).unwrap();
        // A name that the original has is not given again.
        let name = |part: &str| {
            let mut names = model.graph().initializer.iter().map(|t| t.name()).filter(|name| name.contains(part));
            names.next().unwrap().to_owned()
        };
        let [weight, bias] = ["adapt.head.weight", "adapt.head.bias"].map(|part| floats(&model, &name(part)));
        let rows: Vec<_> = weight.chunks(weight.len() / bias.len()).map(<[f32]>::to_vec).zip(bias).collect();
        rows
    };
    let before = weights("out/model.onnx");
    let predicted = |model: &str, class: &str| {
        let ran = place.adapt(&format!("predict {model} --json data/{class}")).succeeds();
        let label = |line: &str| serde_json::from_str::<Value>(line).unwrap()["label"].as_str().unwrap().to_owned();
        ran.out.lines().map(label).collect::<Vec<_>>()
    };
    let was = predicted("out/model.onnx", "dog");
    // Names differ in case and spaces, and so the order.
    for (name, other) in [("big cat", "Big_Cat"), ("dog", "DOG")] {
        std::fs::rename(place.path(format!("data/{name}")), place.path(format!("data/{other}"))).unwrap();
    }
    let job = "--onnx out/model.onnx --data data --train all --probe off --steps 0 --val 0";
    let ran = place.adapt(&format!("{job} --out again")).succeeds();
    assert!(ran.err.contains("3 of 3 classes begin with the original's weights"), "{}", ran.err);
    assert_eq!(place.json("again/run.json")["data"]["classes"], serde_json::json!(["Big_Cat", "DOG", "ant"]));
    assert_eq!(weights("again/model.onnx"), [1, 2, 0].map(|k| before[k].clone()));
    let is: Vec<String> = predicted("again/model.onnx", "DOG").iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(is, was.iter().map(|name| name.replace(' ', "_")).collect::<Vec<_>>());
    // Another class begins by chance, and the probe knows better than the original.
    std::fs::rename(place.path("data/ant"), place.path("data/bee")).unwrap();
    let ran = place.adapt(&format!("{job} --out other")).succeeds();
    assert!(ran.err.contains("2 of 3 classes begin with the original's weights for them; the others by chance"));
    let other = weights("other/model.onnx");
    assert_eq!(other[..2], [1, 2].map(|k| before[k].clone()));
    assert!(other[2].0.iter().all(|w| w.abs() < 0.1) && other[2].1 == 0.);
    let ran = place.adapt(&format!("{} --out probed", job.replace("off", "on"))).succeeds();
    assert!(!ran.err.contains("begin with the original's"), "{}", ran.err);
    // New weights know nothing, whatever their classes are called.
    place.adapt("new cnn --data data --input 3x16x16 -o new.onnx").succeeds();
    let ran = place.adapt("--onnx new.onnx --data data --train all --steps 0 --val 0 --out new").succeeds();
    assert!(!ran.err.contains("begin with the original's"), "{}", ran.err);
}

#[test]
fn the_weights_of_the_best_epoch_are_written() {
    let place = classes();
    // A rate that makes epochs differ.
    place.main("--train all --epochs 6 --lr 0.3 --val 0.34 --schedule constant --probe off --augment none").succeeds();
    let run = place.json("out/run.json");
    let (accuracies, losses) = (column(&place, "val_accuracy"), column(&place, "val_loss"));
    let best = run["training"]["best_epoch"].as_u64().unwrap() as usize;
    let better = |a: usize, b: usize| (accuracies[a], -losses[a]) > (accuracies[b], -losses[b]);
    assert!((0..accuracies.len()).all(|epoch| !better(epoch, best)), "{best}: {accuracies:?} {losses:?}");
    assert!((run["metrics"]["val"]["accuracy"].as_f64().unwrap() - accuracies[best]).abs() < 1e-9);
    assert_eq!(column(&place, "epoch"), (0..=6).map(f64::from).collect::<Vec<_>>());
    let speeds = column(&place, "images_per_second");
    assert!(speeds.len() == 6 && speeds.iter().all(|speed| *speed > 0.));
    assert_eq!((column(&place, "lr")[1..].to_vec(), column(&place, "seconds_left")[5]), (vec![0.3; 6], 0.));
}

#[test]
fn classes_count_alike_inside_the_network_too() {
    let place = classes();
    place.images("data/a", 0, 40);
    let losses = |more: &str| {
        place.main(&format!("--train all --epochs 2 --val 0 --augment none --force {more}")).succeeds();
        column(&place, "train_loss")
    };
    assert_ne!(losses(""), losses("--balanced"));
    // The head that it begins with, too.
    let compared = place.json("out/run.json")["head"]["compared"].as_array().unwrap().clone();
    assert!(!compared.is_empty());
    let alike = |head: &Value| head["weighted"] == true || head["adjusted"] == true;
    assert!(compared.iter().all(alike), "{compared:?}");
}

#[test]
fn what_would_do_nothing_is_refused() {
    let place = classes();
    for (option, words) in [
        ("--momentum 0.5", ["--momentum", "--optimizer sgd"]),
        ("--momentum 0.5 --optimizer adam", ["--momentum", "--optimizer sgd"]),
        ("--hflip 0.5 --augment none", ["--hflip", "--augment light"]),
        ("--vflip 0.5 --augment none", ["--vflip", "--augment light"]),
        ("--mixup 0.5 --batch-size 1", ["--mixup", "one image"]),
        ("--cutmix 0.5 --batch-size 1", ["--cutmix", "one image"]),
        ("--bn frozen", ["--bn", "no batch norms"]),
        ("--bn affine", ["--bn", "no batch norms"]),
        ("--bn train", ["--bn train", "exporters fold them into convolutions); leave it out"]),
        ("--epochs 2 --schedule cosine --warmup 100", ["--warmup", "more --epochs"]),
        ("--cache-limit 1M", ["--cache-limit", "nothing is kept"]),
    ] {
        place.refuses(&format!("--train all {option}"), 2, &words);
    }
    place.refuses("--train features --cutmix 0.5", 2, &["--cutmix", "no map", "--mixup"]);
    place.main("--train relu --cutmix 0.5 --steps 1").succeeds();
    fs::remove_dir_all(place.path("out")).unwrap();
    // Another --bn would be refused, too.
    assert!(!place.main("--train all --bn train").err.contains("affine"));
    let ran = place.main("--head ncm --balanced").succeeds();
    assert!(ran.err.contains("note: --balanced"), "{}", ran.err);
}

#[test]
fn what_was_best_is_kept_without_validation() {
    let place = classes();
    let ran = place.main("--train all --lr 1e4 --clip-grad 0 --val 0 --epochs 3 --augment none");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("lower --lr") && ran.err.contains("the best weights so far are in out"), "{}", ran.err);
    let model = Model::open(place.path("out/model.onnx")).unwrap();
    let largest = floats(&model, "adapt.head.weight").into_iter().fold(0f32, |most, w| most.max(w.abs()));
    assert!(largest < 1e3, "{largest}");
    assert!(place.read("out/report.html").contains("Training could not go on: step"));
    // One step an epoch: what an epoch begins with was never judged by the loss of the one before.
    for options in ["--lr 1e3 --steps 3", "--lr 1e30 --steps 4"] {
        let recipe =
            "--train all --val 0 --batch-size all --schedule constant --augment none --probe off --clip-grad 0";
        let ran = place.main(&format!("{recipe} {options} --optimizer sgd --force"));
        assert!(ran.code == Some(1) && ran.err.contains("lower --lr"), "{options}: {}", ran.err);
        let trained = Model::open(place.path("out/model.onnx")).unwrap();
        place.adapt(&format!("--data data --onnx tiny.onnx --out start {recipe} --steps 0 --force")).succeeds();
        let start = Model::open(place.path("start/model.onnx")).unwrap();
        assert!(floats(&trained, "adapt.head.weight") == floats(&start, "adapt.head.weight"), "{options}");
    }
    let ran = place.main("--train all --lr 1e6 --clip-grad 0 --val 0 --epochs 2 --augment none --force");
    assert!(ran.code == Some(1) && ran.err.contains("lower --lr"), "{}", ran.err);
}

#[test]
fn a_batch_in_pieces_has_the_gradient_of_the_whole() {
    let place = classes();
    let step = |out: &str| {
        let job = "--train all --steps 1 --batch-size all --val 0 --augment none --probe off --optimizer sgd --lr 0.1";
        let job = format!(
            "--data data --onnx tiny.onnx --out {out} {job} --clip-grad 0 --label-smoothing 0 --preprocess raw01"
        );
        place.adapt(&job).succeeds();
        let model = Model::open(place.path(format!("{out}/model.onnx"))).unwrap();
        ["adapt.head.weight", "w"].map(|name| floats(&model, name))
    };
    ["a", "b", "c"].iter().enumerate().for_each(|(class, name)| place.images(&format!("data/{name}"), class, 60));
    let whole = step("whole");
    // Each image twice, which is more than run at once: the mean gradient is the same.
    for name in ["a", "b", "c"] {
        let copy = |i: u32| (place.path(format!("data/{name}/{i}.png")), place.path(format!("data/{name}/{i}x.png")));
        (0..60).map(copy).for_each(|(from, to)| assert!(std::fs::copy(from, to).is_ok()));
    }
    for (one, other) in whole.iter().zip(&step("pieces")) {
        let scale = one.iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-5 * scale));
    }
}
