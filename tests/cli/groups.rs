//! Patients, panels: what belongs together is never on both sides.

use super::support::Place;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// `list.csv` of 6 images of each of three classes; the images of one number belong together.
fn place() -> Place {
    let place = Place::usual();
    let mut text = "path,label,patient,all\n".to_string();
    for class in ["a", "b", "c"] {
        for i in 0..6 {
            let _ = writeln!(text, "data/{class}/{i}.png,{class},p{i},x");
        }
    }
    place.write("list.csv", text);
    place
}

fn sides(place: &Place, out: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sides = BTreeMap::<String, BTreeSet<String>>::new();
    for line in place.read(&format!("{out}/predictions.csv")).lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = cells[0].rsplit('/').next().unwrap().to_string();
        sides.entry(number).or_default().insert(cells[1].into());
    }
    sides
}

#[test]
fn patients_are_on_one_side_of_all() {
    let place = place();
    let list = "--data list.csv --onnx tiny.onnx --label-column label --groups patient";
    let job = format!("{list} --val 0.34");
    let said = place.adapt(&format!("{job} --out out")).succeeds();
    assert!(said.err.contains("groups   by 'patient', 4 train, 2 val; none is on both sides"), "{}", said.err);
    assert!(said.out.contains("the nearest class mean has"), "{}", said.out);
    let run = place.json("out/run.json");
    assert_eq!(run["data"]["groups"], serde_json::json!({"column": "patient", "counts": {"train": 4, "val": 2}}));
    // As many folds as there are groups.
    assert_eq!(run["head"]["folds"], 4);
    let found = sides(&place, "out");
    assert!(found.len() == 6 && found.values().all(|splits| splits.len() == 1), "{found:?}");
    assert!(place.read("out/report.html").contains("Images of one “patient” are all on one side"));
    assert!(place.read("out/report.html").contains("Nearest class mean"));
    let nearest = &run["metrics"]["val"]["nearest_mean"];
    assert!(nearest["accuracy"].as_f64().unwrap() > 0.5 && nearest["macro_f1"].is_f64(), "{nearest}");
    let eval = |more: &str| place.adapt(&format!("eval out/model.onnx --data list.csv --label-column label {more}"));
    assert!(eval("").succeeds().out.contains("in brackets: 95 % intervals; always"));
    let told = eval("--groups patient").succeeds().out;
    assert!(told.contains("no intervals of eval: 6 groups of images are fewer than 10; always"), "{told}");
    let told: serde_json::Value = serde_json::from_str(&eval("--groups path --json").succeeds().out).unwrap();
    assert!(told["groups"] == 18 && told["intervals"]["accuracy"].is_array(), "{told}");
    eval("--groups who").fails(1, &["no column 'who' (--groups)"]);
    // Training inside the network has the same sides.
    place.adapt(&format!("{job} --out inside --train all --epochs 1")).succeeds();
    assert_eq!(sides(&place, "inside"), found);
    assert!(place.json("inside/run.json")["metrics"]["val"]["nearest_mean"].is_null());
    // A tail's frozen part gives those features on the way.
    place.adapt(&format!("{job} --out tail --train features --epochs 1")).succeeds();
    assert_eq!(&place.json("tail/run.json")["metrics"]["val"]["nearest_mean"], nearest);
    // Where it is long, what the frozen features give is told beside it.
    place.adapt(&format!("{job} --out long --train all --epochs 40 --batch-size 8")).succeeds();
    assert_eq!(&place.json("long/run.json")["metrics"]["val"]["nearest_mean"], nearest);
    place.adapt(&format!("{list} --out two --val 0 --cv 2")).succeeds();
    assert_eq!(place.json("two/run.json")["head"]["folds"], 2);
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let place = place();
    let refuses = |arguments: &str, code: i32, words: &[&str]| {
        place.adapt(&format!("--onnx tiny.onnx --out out {arguments}")).fails(code, words);
        assert_eq!(place.outputs(), [""; 0], "{arguments}");
    };
    let list = "--data list.csv --label-column label";
    refuses(&format!("{list} --groups who"), 1, &["no column 'who' (--groups)", "path, label, patient, all"]);
    refuses(&format!("{list} --groups label"), 1, &["'label' (--groups) holds the labels"]);
    refuses(&format!("{list} --groups all"), 1, &["one value for 'all' (--groups)", "two groups"]);
    let words = ["--groups names a column", "neither a list of images (.csv, .tsv) nor Parquet", "a column 'patient'"];
    refuses("--data data --groups patient", 2, &[&["data: "][..], &words].concat());
    let file = std::fs::File::create(place.path("data.zip")).unwrap();
    zip::ZipWriter::new(file).finish().unwrap();
    refuses("--data data.zip --groups patient", 2, &[&["data.zip: "][..], &words].concat());
    place.main("").succeeds();
    place.adapt("eval out/model.onnx --data data --groups patient").fails(2, &words);
    std::fs::remove_dir_all(place.path("out")).unwrap();
    refuses(&format!("{list} --groups patient --onnx tiny.onnx"), 2, &["--groups", "one --onnx"]);
    place.write(
        "gaps.csv",
        "path,label,patient\ndata/a/0.png,a,1\ndata/a/1.png,a,\ndata/b/0.png,b,2\ndata/b/1.png,b,1\n",
    );
    let said = place.adapt("--onnx tiny.onnx --out gaps --data gaps.csv --groups patient --val 0").succeeds();
    assert!(said.out.contains("line 3: no group"), "{}", said.out);
}

#[test]
fn numbers_are_judged_by_groups_too() {
    let place = place();
    let mut text = "path,label,patient\n".to_string();
    for (k, class) in ["a", "b", "c"].iter().enumerate() {
        (0..6).for_each(|i| {
            let _ = writeln!(text, "data/{class}/{i}.png,{k}.{i},p{i}");
        });
    }
    place.write("numbers.csv", text);
    let said = place.adapt("--data numbers.csv --onnx tiny.onnx --out out --groups patient --val 0 --cv 3").succeeds();
    let run = place.json("out/run.json");
    assert_eq!((&run["plan"]["task"], &run["head"]["folds"]), (&"regression".into(), &3.into()), "{}", said.err);
}
