//! Several labels an image, and numbers: from a list to a model that is proven, and everything that shows what it does.

use super::report::{code, python};
use super::support::{Place, Ran};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Fashion-MNIST's classes, and what they have of these labels.
const LABELS: [(&str, &str); 6] = [
    ("ankle_boot", "footwear;leather"),
    ("bag", "leather"),
    ("dress", "textile"),
    ("sandal", "footwear"),
    ("trouser", "textile;long"),
    ("tshirt", ""),
];

/// `labels.csv` (label, and split) and `values.csv` (brightness, contrast and split) of 15 images a class to train, and 10 to
/// test.
pub fn place() -> Place {
    let place = Place::empty();
    fs::copy(crate::common::golden("tiny.onnx"), place.path("tiny.onnx")).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fashion");
    let (mut labels, mut values) = ("path,label,split\n".to_string(), "path,bright,contrast,split\n".to_string());
    for (split, count) in [("train", 15), ("test", 10)] {
        for (class, own) in LABELS {
            let mut files: Vec<_> = fs::read_dir(fixture.join(split).join(class)).unwrap().flatten().collect();
            files.sort_by_key(|file| file.file_name());
            for file in files.into_iter().take(count) {
                let name = format!("{split}-{class}-{}", file.file_name().display());
                fs::copy(file.path(), place.path(&name)).unwrap();
                let grey = image::open(file.path()).unwrap().to_luma8();
                let mean = grey.iter().map(|&v| f64::from(v)).sum::<f64>() / grey.len() as f64;
                let spread = grey.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / grey.len() as f64;
                let _ = writeln!(labels, "{name},{own},{split}");
                let _ = writeln!(values, "{name},{:.4},{:.1},{split}", mean / 255., spread.sqrt());
            }
        }
    }
    place.write("labels.csv", labels);
    place.write("values.csv", values);
    place
}

pub fn into(place: &Place, list: &str, out: &str, more: &str) -> Ran {
    place.adapt(&format!("--data {list} --onnx tiny.onnx --out {out} --preprocess raw01 {more}")).succeeds()
}

/// The rows of a run's predictions of a split, cell by cell, without the header.
pub fn rows(place: &Place, out: &str, split: &str) -> Vec<Vec<String>> {
    let text = place.read(&format!("{out}/predictions.csv"));
    let rows = text.lines().skip(1).map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
    rows.filter(|row| row[1] == split).collect()
}

#[test]
fn several_labels_from_list_to_model() {
    let place = place();
    let said = into(&place, "labels.csv", "out", "");
    let grows = "\nmean average precision by training images: 0.";
    for word in ["4 labels, 72 train, 18 val, 60 test", "logistic regression of each", "log-loss", "chosen", grows] {
        assert!(said.err.contains(word), "{word}: {}", said.err);
    }
    for word in [
        "micro-F1",
        "mAP",
        "Hamming loss",
        "test, by label",
        "footwear",
        "always the labels",
        "in 5 folds, dealt 9 times, mean and deviation: ",
    ] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    let run = place.json("out/run.json");
    let m = &run["metrics"]["test"];
    assert!(m["micro_f1"].as_f64().unwrap() > m["baseline"]["micro_f1"].as_f64().unwrap() + 0.1, "{m}");
    assert_eq!((&run["plan"]["task"], &run["data"]["images"]["train"]), (&"multilabel".into(), &72.into()));
    assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-4);
    assert_eq!(place.read("out/labels.txt"), "footwear\nleather\nlong\ntextile\n");
    assert_eq!(place.json("out/config.json")["problem_type"], "multi_label_classification");
    let header = "path,split,label,predicted,footwear,leather,long,textile\n";
    assert!(place.read("out/predictions.csv").starts_with(header));

    // predict, loaded afresh in ONNX Runtime, says what training did.
    let test = rows(&place, "out", "test");
    let paths: Vec<&str> = test.iter().map(|row| row[0].as_str()).collect();
    let said = place.adapt(&format!("predict out/model.onnx {} --csv", paths.join(" "))).succeeds();
    assert!(said.out.starts_with("path,label,footwear,leather,long,textile\n"), "{}", said.out);
    for (line, row) in said.out.lines().skip(1).zip(&test) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!((cells[0], cells[1]), (&*row[0], &*row[3]));
        for (own, trained) in cells[2..].iter().zip(&row[4..]) {
            assert!((own.parse::<f32>().unwrap() - trained.parse::<f32>().unwrap()).abs() < 1e-4, "{line} {row:?}");
        }
    }
    let said = place.adapt(&format!("predict out/model.onnx {} --json", paths[0])).succeeds();
    let line: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(line["labels"].is_array() && line["probabilities"]["footwear"].is_f64(), "{line}");
    let eval = place.adapt("eval out/model.onnx --data labels.csv --json").succeeds();
    let eval: serde_json::Value = serde_json::from_str(&eval.out).unwrap();
    for key in ["micro_f1", "macro_f1", "hamming_loss", "subset_accuracy"] {
        assert!((eval[key].as_f64().unwrap() - m[key].as_f64().unwrap()).abs() < 1e-9, "{key}");
    }
    place.adapt("verify out").succeeds();
    place.adapt(&format!("explain out/model.onnx {} -o maps --class footwear", paths[0])).succeeds();
}

#[test]
fn numbers_from_list_to_model() {
    let place = place();
    let said = into(&place, "values.csv", "out", "--label-column bright,contrast");
    let why = "\nR² by training images: ";
    for word in ["2 targets, 72 train", "ridge regression", "squared error", "left out by itself", why] {
        assert!(said.err.contains(word), "{word}: {}", said.err);
    }
    for word in ["R²", "mean absolute error", "test, by target", "contrast", "always the mean"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    let run = place.json("out/run.json");
    assert!(run["metrics"]["test"]["per_target"][0]["r2"].as_f64().unwrap() > 0.5, "{}", run["metrics"]["test"]);
    assert_eq!(place.json("out/config.json")["problem_type"], "regression");
    assert!(place.read("out/predictions.csv").starts_with("path,split,label,predicted,bright,contrast\n"));
    let test = rows(&place, "out", "test");
    let said = place.adapt(&format!("predict out/model.onnx {} --csv", test[0][0])).succeeds();
    let values: Vec<f32> = said.out.lines().nth(1).unwrap().split(',').skip(1).map(|v| v.parse().unwrap()).collect();
    for (own, trained) in values.iter().zip(&test[0][4..]) {
        assert!((own / trained.parse::<f32>().unwrap() - 1.).abs() < 1e-4, "{} {:?}", said.out, test[0]);
    }
    let eval = place.adapt("eval out/model.onnx --data values.csv --label-column bright,contrast --json").succeeds();
    let eval: serde_json::Value = serde_json::from_str(&eval.out).unwrap();
    let r2 = run["metrics"]["test"]["r2"].as_f64().unwrap();
    assert!((eval["r2"].as_f64().unwrap() - r2).abs() < 1e-4, "{eval}");
    place
        .adapt("eval out/model.onnx --data values.csv --label-column bright")
        .fails(1, &["1 label columns", "2 targets"]);
    place.adapt("verify out").succeeds();
    for (method, more, target) in [("cam", "", 0), ("gradcam", "--class contrast", 1), ("occlusion", "--class 1", 1)] {
        let arguments = format!("explain out/model.onnx {} -o maps --force --method {method} {more}", test[0][0]);
        assert!(place.adapt(&arguments).succeeds().out.contains(["bright", "contrast"][target]), "{method}");
        let told: serde_json::Value =
            serde_json::from_str(&place.adapt(&format!("{arguments} --json --check")).succeeds().out).unwrap();
        let row = &told["images"][0];
        assert_eq!(row["target"], ["bright", "contrast"][target], "{row}");
        let value = f64::from(values[target]);
        assert!(
            (row["value"].as_f64().unwrap() / value - 1.).abs() < 1e-4 && row.get("probability").is_none(),
            "{row}"
        );
        assert!(row["agreement"].as_f64().map_or(method == "occlusion", |a| a.abs() <= 1.), "{row}");
    }
}

#[test]
fn networks_are_trained_inside_for_them() {
    let place = place();
    for (list, loss, more) in [("labels.csv", "bce", ""), ("values.csv", "mse", "--label-column bright,contrast")] {
        into(&place, list, loss, &format!("{more} --train all --epochs 2"));
        let run = place.json(&format!("{loss}/run.json"));
        assert_eq!(run["training"]["settings"]["loss"], loss);
        assert_eq!(run["training"]["settings"]["label_smoothing"], 0.);
        let (first, last) = (&run["training"]["epochs"][0], &run["training"]["epochs"][2]);
        assert!(run["head"]["learning_curve"].is_null() && run["head"]["no_learning_curve"].is_null());
        assert!(first["val_accuracy"].is_null() && last["val_loss"].as_f64().unwrap().is_finite(), "{last}");
        // It begins with the head that is trained alone, and what validation chooses is no worse.
        let m = &run["metrics"]["val"];
        match loss {
            "bce" => assert!(m["micro_f1"].as_f64().unwrap() > m["baseline"]["micro_f1"].as_f64().unwrap(), "{m}"),
            _ => assert!(m["per_target"][0]["r2"].as_f64().unwrap() > 0.5, "{m}"),
        }
        assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-3);
        place.adapt(&format!("verify {loss}")).succeeds();
        assert!(place.read(&format!("{loss}/report.html")).contains("Loss by epoch"));
    }
}

#[test]
fn activations_and_preprocessing_in_the_graph_suit_the_labels() {
    let place = place();
    for model in ["tiny", "onnx/softmax", "onnx/logsoftmax", "onnx/sigmoid"] {
        fs::copy(crate::common::golden(&format!("{model}.onnx")), place.path("tiny.onnx")).unwrap();
        for (list, more) in [("labels.csv", ""), ("values.csv", "--label-column bright")] {
            into(&place, list, "out", &format!("{more} --force --bake-preprocessing"));
            let run = place.json("out/run.json");
            let activation = if model == "tiny" || list == "values.csv" { "none" } else { "sigmoid" };
            assert_eq!(run["model"]["output"]["activation"], activation, "{model} {list}");
            assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-4, "{model} {list}");
            assert!(run["baked"]["max_probability_diff"].as_f64().unwrap() < 0.01, "{model} {list}");
            let test = rows(&place, "out", "test");
            let said = place.adapt(&format!("predict out/model.onnx {} --csv", test[0][0])).succeeds();
            let own: f32 = said.out.lines().nth(1).unwrap().split(',').next_back().unwrap().parse().unwrap();
            let trained: f32 = test[0].last().unwrap().parse().unwrap();
            assert!((own - trained).abs() < 0.01, "{model} {list}: {own} {trained}");
        }
    }
}

#[test]
fn pages_and_comparisons_show_them() {
    let place = place();
    for (list, task, more) in [("labels.csv", "labels", ""), ("values.csv", "values", "--label-column bright")] {
        into(&place, list, &format!("{task}-a"), more);
        into(&place, list, &format!("{task}-b"), &format!("{more} --seed 3"));
        let page = place.read(&format!("{task}-a/report.html"));
        let words = match task {
            "labels" => {
                ["Micro F1", "Label by label", "Farthest off", "given footwear", "td class=\"bar\"", "thresholds = ["]
            }
            _ => {
                ["Mean absolute error", "Predicted and true", "Farthest off", "<circle class=\"value\"", "R²", "values"]
            }
        };
        words.iter().for_each(|word| assert!(page.contains(word), "{task}: {word}"));
        assert!(!page.contains("NaN") && !page.contains("taken for") && !page.contains("the same class"));
        for link in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
        }
        fs::remove_file(place.path(format!("{task}-a/report.html"))).unwrap();
        place.adapt(&format!("report {task}-a")).succeeds();
        assert_eq!(place.read(&format!("{task}-a/report.html")), page);
        if let Some(python) = python() {
            place.write(&format!("{task}-a/classify.py"), code(&page, "python"));
            let row = &rows(&place, &format!("{task}-a"), "test")[0];
            let mut command = Command::new(python);
            command.args(["classify.py", &format!("../{}", row[0])]).current_dir(place.path(format!("{task}-a")));
            let told = place.run(&mut command).succeeds().out;
            let said: Vec<Vec<&str>> = told.lines().map(|line| line.split('\t').collect()).collect();
            match task {
                "labels" => assert_eq!(said.iter().map(|cells| cells[1]).collect::<Vec<_>>().join(";"), row[3]),
                _ => assert!(
                    (said[0][2].parse::<f32>().unwrap() - row[4].parse::<f32>().unwrap()).abs() < 1e-3,
                    "{told}"
                ),
            }
        }
        let compared = place.adapt(&format!("compare {task}-a {task}-b")).succeeds().out;
        let figures = if task == "labels" { ["micro-F1", "hamming loss"] } else { ["RMSE", "r2"] };
        assert!(figures.iter().all(|figure| compared.contains(figure)), "{compared}");
    }
    place.adapt("compare labels-a values-a").fails(2, &["other kinds of labels"]);
}

#[test]
fn what_is_for_classes_is_refused_before_any_work() {
    let place = place();
    let refused = |list: &str, option: &str, word: &str| {
        let ran = place.adapt(&format!("--data {list} --onnx tiny.onnx --out out {option}"));
        ran.fails(2, &[word]);
        assert!(place.outputs().is_empty(), "{option}");
    };
    for option in [
        "--head lda",
        "--metric accuracy",
        "--abstain 0.9",
        "--balanced",
        "--drop suspects",
        "--train all --loss mse",
        "--train all --label-smoothing 0.1",
    ] {
        refused("labels.csv", option, "several labels");
        refused("values.csv", &format!("--label-column bright {option}"), "the labels are numbers");
    }
    refused("labels.csv", "--onnx tiny.onnx tiny.onnx", "several models");
    place.adapt("audit --data labels.csv").fails(2, &["adapt audit", "several labels"]);
    place.adapt("rank --data labels.csv").fails(2, &["adapt rank", "several labels"]);
    place.images("data/a", 0, 3);
    place.images("data/b", 1, 3);
    place.adapt("--data data --onnx tiny.onnx --out out --task regression").fails(2, &["--task", "list"]);
}

#[test]
fn data_sets_are_shown_and_laid_out() {
    let place = place();
    let said = place.adapt("data labels.csv").succeeds().out;
    assert!(said.contains("label ") && said.contains("images: 72 train, 18 val, 60 test"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&place.adapt("data labels.csv --json").succeeds().out).unwrap();
    assert_eq!((&json["task"], &json["classes"][0]["class"]), (&"multilabel".into(), &"footwear".into()));
    let said = place.adapt("data values.csv --label-column bright,contrast").succeeds().out;
    assert!(said.contains("target") && said.contains("contrast") && said.contains("max"), "{said}");
    for (list, more) in [("labels.csv", ""), ("values.csv", "--label-column bright,contrast")] {
        let folder = list.replace(".csv", "");
        place.adapt(&format!("data {list} {more} --extract {folder}")).succeeds();
        let [before, after] = [list.to_string(), format!("{folder}/labels.csv")]
            .map(|list| place.adapt(&format!("data {list} {more} --json")).succeeds().out);
        assert_eq!(before, after, "{list}");
    }
}

#[test]
fn a_class_model_is_judged_by_one_class_an_image() {
    let place = Place::usual();
    place.main("").succeeds();
    std::fs::write(place.path("several.csv"), "path,label\ndata/a/0.png,a\ndata/b/0.png,a;b\n").unwrap();
    place.adapt("eval out/model.onnx --data several.csv").fails(1, &["a;b"]);
    std::fs::write(place.path("one.csv"), "path,label\ndata/a/0.png,a\ndata/b/0.png,b\n").unwrap();
    place.adapt("eval out/model.onnx --data one.csv").succeeds();
}
