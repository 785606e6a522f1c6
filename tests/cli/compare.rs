//! `adapt compare`: runs on the images that they share.

use super::support::Place;
use serde_json::Value;
use std::fs;

fn tested() -> Place {
    let place = Place::usual();
    for (class, name) in ["a", "b", "c"].into_iter().enumerate() {
        place.images(&format!("data/train/{name}"), class, 6);
        place.images(&format!("data/test/{name}"), class, 7);
        fs::remove_dir_all(place.path(format!("data/{name}"))).unwrap();
    }
    place.main("").succeeds();
    place
}

#[test]
fn a_run_is_as_good_as_itself() {
    let place = tested();
    place.adapt("--data data --onnx tiny.onnx --out again --seed 3").succeeds();
    let ran = place.adapt("compare out again").succeeds();
    for words in ["accuracy", "macro-F1", "21 test images", "again less out", "may be chance"] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
    assert!(place.adapt("compare out out").succeeds().out.contains("the same on all resamples"));
    let compared: Value = serde_json::from_str(&place.adapt("compare out out --json").succeeds().out).unwrap();
    assert_eq!((&compared["images"], &compared["split"]), (&21.into(), &"test".into()));
    let difference = &compared["differences"][0]["figures"]["accuracy"];
    assert_eq!(difference["difference"], 0.);
    // Of 21 images that both get right or wrong others might differ by as much as two on each side: (1 + 1) / 23, by Bonett and Price.
    let half = 1.959963984540054 * (2. / 23f64 / 23.).sqrt();
    let near = |end: usize, want: f64| (difference["interval"][end].as_f64().unwrap() - want).abs() < 1e-9;
    assert!(near(0, -half) && near(1, half), "{difference}");
    let mut figures = place.json("out/run.json")["metrics"]["test"].take();
    // Of the features, which a run does not keep.
    assert!(figures.as_object_mut().unwrap().remove("nearest_mean").unwrap()["accuracy"].is_f64());
    assert_eq!(compared["runs"][0]["figures"], figures, "on all images the figures are the run's own");
}

#[test]
fn the_better_run_is_named() {
    let place = tested();
    // Trained to take the one class for the other.
    for (from, to) in [("a", "x"), ("b", "a"), ("x", "b")] {
        fs::rename(place.path(format!("data/train/{from}")), place.path(format!("data/train/{to}"))).unwrap();
    }
    place.adapt("--data data --onnx tiny.onnx --out wrong --head lda").succeeds();
    for (order, words) in [("out wrong", "worse, not by chance"), ("wrong out", "better, not by chance")] {
        let ran = place.adapt(&format!("compare {order}")).succeeds();
        for name in ["accuracy", "log loss"] {
            let row = ran.out.lines().find(|line| line.starts_with(&format!("{name}  "))).unwrap();
            assert!(row.ends_with(words), "{}", ran.out);
        }
        assert!(ran.out.lines().any(|line| line.starts_with("wrong ") && line.contains("  discriminant analysis  ")));
    }
}

/// Of one image the resamples are all the same, and of three nearly so: what they agree on is chance all the same.
#[test]
fn few_images_tell_nothing() {
    let place = tested();
    let shared = |images: usize| {
        place.adapt("--data data --onnx tiny.onnx --out few --head lda --force").succeeds();
        let ran = place.adapt("compare out few").succeeds();
        assert!(ran.out.contains(&format!("on the {images} test images")), "{}", ran.out);
        let row = ran.out.lines().find(|line| line.starts_with("log loss  ")).unwrap();
        assert!(row.ends_with("–  too few images to tell") && !ran.out.contains("chance"), "{}", ran.out);
        let told: Value = serde_json::from_str(&place.adapt("compare out few --json").succeeds().out).unwrap();
        let figures = told["differences"][0]["figures"].as_object().unwrap();
        assert!(
            figures["log_loss"]["difference"].is_f64() && figures.values().all(|f| f["interval"].is_null()),
            "{told}"
        );
    };
    for class in ["a", "b", "c"] {
        (1..7).for_each(|i| fs::remove_file(place.path(format!("data/test/{class}/{i}.png"))).unwrap());
    }
    shared(3);
    ["b", "c"].iter().for_each(|class| fs::remove_dir_all(place.path(format!("data/test/{class}"))).unwrap());
    shared(1);
}

#[test]
fn images_are_matched_by_path_and_classes_by_name() {
    let place = tested();
    fs::remove_file(place.path("data/test/a/0.png")).unwrap();
    place.adapt("--data data --onnx tiny.onnx --out fewer").succeeds();
    let compared: Value = serde_json::from_str(&place.adapt("compare out fewer --json").succeeds().out).unwrap();
    assert_eq!((&compared["images"], &compared["runs"][0]["own_images"]), (&20.into(), &21.into()));
    let said = place.adapt("compare out fewer").succeeds().out;
    assert!(said.contains("left out, since not all runs have them under the same label: 1 of out\n"), "{said}");
    // Another list of the classes, in another order.
    let mut list = "path,label,split\n".to_string();
    for (split, count) in [("train", 6), ("test", 5)] {
        for class in ["c", "b", "a"] {
            let row = |i| format!("data/{split}/{class}/{i}.png,{class},{split}\n");
            list += &(1..count).map(row).collect::<String>();
        }
    }
    place.write("list.csv", &list);
    place.adapt("--data list.csv --onnx tiny.onnx --out listed").succeeds();
    place.adapt("compare out listed").fails(2, &["no test images in common", "data/test/"]);
}

#[test]
fn what_cannot_be_compared() {
    let place = tested();
    place.adapt("compare out nowhere").fails(2, &["nowhere", "no run.json"]);
    place.adapt("compare out out/model.onnx").fails(2, &["out/model.onnx", "give the folder of a run"]);
    assert_eq!(place.adapt("compare out").code, Some(2));
    fs::rename(place.path("data/train/c"), place.path("data/train/d")).unwrap();
    fs::rename(place.path("data/test/c"), place.path("data/test/d")).unwrap();
    place.adapt("--data data --onnx tiny.onnx --out renamed").succeeds();
    place.adapt("compare out renamed").fails(2, &["other classes", "'c'"]);
    fs::remove_file(place.path("out/scores.safetensors")).unwrap();
    place.adapt("compare out out").fails(2, &["no scores.safetensors", "run it again"]);
}

#[test]
fn an_image_that_a_run_has_twice_is_told() {
    let place = tested();
    place.adapt("--data data --onnx tiny.onnx --out again").succeeds();
    let list = place.read("out/predictions.csv");
    let mut rows: Vec<&str> = list.lines().collect();
    let test: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].contains(",test,")).collect();
    // As many rows as scores.
    rows[test[1]] = rows[test[0]];
    let image = rows[test[0]].split(',').next().unwrap();
    place.write("out/predictions.csv", rows.join("\n") + "\n");
    for runs in ["out again", "again out", "out out"] {
        let told = format!("it has '{image}' twice; run it again");
        place.adapt(&format!("compare {runs}")).fails(1, &["predictions.csv", "damaged", &told]);
    }
}

/// The bootstrap draws the same images in whatever order they stand.
#[test]
fn intervals_are_the_same_in_any_order_of_the_images() {
    let place = super::report::place();
    place.main("").succeeds();
    let run = place.json("out/run.json")["metrics"]["test"]["intervals"].take();
    let list = place.read("out/predictions.csv");
    let test: Vec<Vec<&str>> = list.lines().map(|line| line.split(',').collect()).collect();
    let rows = test.iter().rev().filter(|row| row[1] == "test").map(|row| format!("data/{},{}\n", row[0], row[2]));
    place.write("list.csv", "path,label\n".to_string() + &rows.collect::<String>());
    let ran = place.adapt("eval out/model.onnx --data list.csv --json").succeeds();
    let eval = serde_json::from_str::<Value>(&ran.out).unwrap()["intervals"].take();
    assert!(run["log_loss"].is_array() && run.as_object().unwrap().keys().eq(eval.as_object().unwrap().keys()));
    for (name, own) in run.as_object().unwrap() {
        let far = [0, 1].map(|end| (own[end].as_f64().unwrap() - eval[name][end].as_f64().unwrap()).abs());
        // Of the same scores but for the engine's rounding.
        assert!(far[0].max(far[1]) < 1e-4, "{name}: {own} {}", eval[name]);
    }
}

#[test]
fn groups_count_in_any_order_of_the_runs() {
    let place = super::report::place();
    let mut list = "path,label,split,patient,visit,code\n".to_string();
    for (split, count) in [("train", 8), ("test", 6)] {
        for class in ["a", "b"] {
            // The codes' order is not the visits'.
            let row = |i: usize| {
                let (patient, visit, code) = (format!("{split}{}", i / 2), format!("{split}{class}{i}"), (i * 5) % 8);
                format!("data/{split}/{class}/{i}.png,{class},{split},{patient},{visit},{code}{class}{split}\n")
            };
            list += &(0..count).map(row).collect::<String>();
        }
    }
    place.write("list.csv", list);
    for (out, more) in [
        ("plain", "--head ncm"),
        ("visits", "--groups visit"),
        ("codes", "--groups code --seed 1"),
        ("patients", "--groups patient"),
    ] {
        place.adapt(&format!("--data list.csv --onnx tiny.onnx --out {out} --val 0 {more}")).succeeds();
    }
    // Each run's groups and intervals, the reason why there are none of groups, and what is said.
    let told = |runs: [&str; 2]| {
        let ran = place.adapt(&format!("compare {} --json", runs.join(" "))).succeeds();
        let told: Value = serde_json::from_str(&ran.out).unwrap();
        let figures = |run: &str| {
            let side = told["runs"].as_array().unwrap().iter().find(|side| side["run"] == run).unwrap();
            (side["figures"]["groups"].clone(), side["figures"]["intervals"].clone())
        };
        (runs.map(figures), told["ungrouped"].as_str().map(String::from), ran.err)
    };
    for (runs, groups, why) in [
        (["plain", "visits"], Value::from(12), None),
        (["codes", "visits"], 12.into(), None),
        (["patients", "plain"], 3.into(), None),
        (["patients", "visits"], Value::Null, Some("other groups of these images")),
    ] {
        let ([one, other], ungrouped, said) = told(runs);
        let ([other_too, one_too], ..) = told([runs[1], runs[0]]);
        assert_eq!((&one, &other), (&one_too, &other_too), "{runs:?}");
        assert!(one.0 == groups && other.0 == groups && one.1.as_object().unwrap().is_empty() == (groups == 3));
        assert_eq!(ungrouped.is_some(), why.is_some(), "{runs:?}: {ungrouped:?}");
        match (why, ungrouped) {
            (Some(why), Some(ungrouped)) => {
                assert!(
                    ungrouped.contains(why) && said.contains(&format!("note: {ungrouped}; intervals count")),
                    "{said}"
                );
            }
            _ => assert_eq!(said, "", "{runs:?}"),
        }
    }
    // Groups of a part of the images are none.
    let list = place.read("visits/predictions.csv").replacen(",testa1\n", ",\n", 1);
    place.write("visits/predictions.csv", list);
    for runs in [["plain", "visits"], ["visits", "codes"]] {
        let ([one, other], ungrouped, said) = told(runs);
        assert!(one.0.is_null() && other.0.is_null(), "{runs:?}");
        assert_eq!(ungrouped.as_deref(), Some("visits tells the groups of 11 of these images alone"));
        assert!(said.contains("11 of these images alone; intervals count images of one group as if"), "{said}");
    }
}
