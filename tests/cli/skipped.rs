//! What cannot be used of a data set is told where it stands, and costs nothing else.

use super::support::Place;

/// Eighteen images in a list; that of line 4 is cut short, that of line 9 is not there.
fn listed() -> Place {
    let place = Place::usual();
    let rows = (0..18).map(|i| format!("data/{class}/{}.png,{class}\n", i % 6, class = ["a", "b", "c"][i / 6]));
    place.write("list.csv", format!("path,label\n{}", rows.collect::<String>()));
    let whole = place.read_bytes("data/a/2.png");
    place.write("data/a/2.png", &whole[..whole.len() / 2]);
    std::fs::remove_file(place.path("data/b/1.png")).unwrap();
    place
}

#[test]
fn images_of_a_list_are_told_with_their_lines() {
    let place = listed();
    let skipped = |run: &str| -> Vec<(String, String)> {
        let list = place.json(&format!("{run}/run.json"))["data"]["skipped"].as_array().unwrap().clone();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        list.iter().map(|s| (text(&s["path"]), text(&s["reason"]))).collect()
    };
    let missing = ("line 9".to_string(), "there is no file 'data/b/1.png'".to_string());
    for (out, more) in [("head", ""), ("inside", "--train all --epochs 1")] {
        place.adapt(&format!("--data list.csv --onnx tiny.onnx --out {out} {more}")).succeeds();
        let told = skipped(out);
        assert_eq!((told.len(), &told[0], told[1].0.as_str()), (2, &missing, "data/a/2.png"), "{told:?}");
        assert!(told[1].1.ends_with("(line 4 of the list)"), "{told:?}");
    }
    let strict = place.adapt("--data list.csv --onnx tiny.onnx --out strict --strict").code;
    assert_eq!(strict, Some(1));
    let ran = place.adapt("audit --data list.csv --onnx tiny.onnx --val 0 --json").succeeds();
    assert!(ran.out.contains("(line 4 of the list)"), "{}", ran.out);
    for command in
        ["predict head/model.onnx list.csv --csv", "embed tiny.onnx list.csv", "data list.csv --val 0 --extract out"]
    {
        let ran = place.adapt(command).succeeds();
        assert!(ran.err.contains("data/a/2.png") != command.starts_with("data"), "{command}: {}", ran.err);
        assert!(ran.err.contains("(line 4 of the list)") != command.starts_with("data"), "{command}: {}", ran.err);
    }
    let list = place.read("out/labels.csv");
    assert!(list.starts_with("path,label,split\ndata/a/0.png,a,train\n") && list.lines().count() == 18, "{list}");
}

#[test]
fn the_table_of_classes_counts_what_can_be_used() {
    let place = listed();
    place.write("data/a/2.png", "no image");
    place.write("data/a/3.png", "");
    for data in ["data", "list.csv"] {
        let told = place.adapt(&format!("data {data} --val 0 --json")).succeeds().out;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let counts: Vec<u64> = (0..3).map(|class| told["classes"][class]["train"].as_u64().unwrap()).collect();
        assert_eq!((counts, told["formats"]["png"].as_u64()), (vec![4, 5, 6], Some(15)), "{data}");
    }
}

#[test]
fn lists_of_windows_and_paths_that_lead_out() {
    let place = Place::usual();
    let rows = |begin: &str, between: &str| -> String {
        let row = |i: usize| {
            let class = ["a", "b", "c"][i / 6];
            format!("{begin}data/{class}/{}.png", i % 6).replace('/', between) + &format!(",{class}\n")
        };
        (0..18).map(row).collect()
    };
    place.write("windows.csv", format!("path,label\n{}", rows("", "\\")));
    let place_of_all = place.path("").display().to_string();
    let ran = place.adapt("data windows.csv --val 0 --extract from_windows").succeeds();
    assert_eq!(ran.out, "from_windows: 18 images\n");
    assert!(place.read("from_windows/labels.csv").contains("\ndata/b/0.png,b,train\n"));
    place.adapt("embed tiny.onnx windows.csv -o rows.csv").succeeds();
    assert_eq!(place.read("rows.csv").lines().count(), 19);
    // What has a root loses it, and the list of them is the same data set.
    for (name, begin) in [("rooted", place_of_all.as_str()), ("dotted", "./")] {
        place.write(&format!("{name}.csv"), format!("path,label\n{}", rows(begin, "/")));
        let ran = place.adapt(&format!("data {name}.csv --val 0 --extract from_{name}")).succeeds();
        assert_eq!(ran.out, format!("from_{name}: 18 images\n"));
        let list = place.read(&format!("from_{name}/labels.csv"));
        assert!(list.lines().skip(1).all(|line| !line.starts_with(['/', '.'])), "{list}");
    }
    place.adapt("--data from_rooted/labels.csv --onnx tiny.onnx --out out").succeeds();
    // One image twice, and two for one place.
    place.write("twice.csv", format!("path,label\n{}./data/a/0.png,a\n", rows("", "/")));
    let ran = place.adapt("data twice.csv --val 0 --extract once").succeeds();
    assert!(ran.out == "once: 18 images\n" && ran.err.contains("stands in line 2 already"), "{}", ran.err);
    place.images("in/data/a", 0, 1);
    place.write("in/two.csv", format!("path,label\ndata/a/0.png,a\n{}", rows("../", "/")));
    let ran = place.adapt("data in/two.csv --val 0 --extract two").succeeds();
    assert!(ran.out == "two: 18 images\n" && ran.err.contains("another image has its place"), "{}", ran.err);
}

#[test]
fn a_damaged_shard_is_told_by_all_commands() {
    let place = Place::usual();
    let golden = |name: &str| crate::common::golden(&format!("parquet/hub/data/{name}-of-00002.parquet"));
    std::fs::create_dir(place.path("set")).unwrap();
    std::fs::copy(golden("train-00000"), place.path("set/train-00000-of-00002.parquet")).unwrap();
    let lost = "train-00001-of-00002.parquet";
    place.write(&format!("set/{lost}"), "PAR1, and what a page says of a file that is not there");
    place.adapt("--data set --onnx tiny.onnx --out run --val 0").succeeds();
    let told = place.json("run/run.json")["data"]["skipped"].clone();
    assert!(told[0]["path"] == lost && told.as_array().unwrap().len() == 1, "{told}");
    place.adapt("--data set --onnx tiny.onnx --out two --val 0 --strict").fails(1, &[lost, "(--strict)"]);
    for command in [
        "data set --val 0",
        "audit --data set --onnx tiny.onnx --val 0",
        "embed tiny.onnx set",
        "predict run/model.onnx set",
        "explain run/model.onnx set -o maps",
        "eval run/model.onnx --data set",
        "rank tiny.onnx --no-builtin --data set",
    ] {
        let ran = place.adapt(command).succeeds();
        assert!(ran.err.contains(lost) && ran.err.contains("cannot be read"), "{command}: {}", ran.err);
    }
    let out = place.adapt("--data set --onnx tiny.onnx --out run --force --val 0").succeeds().out;
    assert!(out.contains("skipped  1 file, listed in run.json"), "{out}");
    std::fs::remove_file(place.path("set/train-00000-of-00002.parquet")).unwrap();
    for command in ["data set", "embed tiny.onnx set", "eval run/model.onnx --data set", "predict run/model.onnx set"] {
        place.adapt(command).fails(1, &[lost, "cannot be read"]);
    }
}

#[test]
fn a_quotation_mark_that_does_not_end_is_told() {
    let place = Place::usual();
    let row = |i: usize| format!("data/a/{i}.png,{}\n", if i == 3 { "\"a" } else { "a" });
    place.write("list.csv", "path,label\n".to_string() + &(0..6).map(row).collect::<String>());
    place.adapt("data list.csv").fails(1, &["list.csv", "line 5: a quotation mark begins a value that does not end"]);
}

#[test]
fn what_was_extracted_is_told_as_json() {
    let place = listed();
    std::fs::remove_file(place.path("data/a/2.png")).unwrap();
    let ran = place.adapt("data list.csv --val 0 --extract out --json").succeeds();
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&told["folder"], &told["written"]), (&"out".into(), &16.into()), "{told}");
    let skipped = told["skipped"].as_array().unwrap();
    assert_eq!((skipped.len(), &skipped[0]["path"]), (2, &"line 4".into()), "{told}");
}

#[test]
fn what_drop_does_not_find_is_told() {
    let place = Place::usual();
    let leaks = "audit    --drop leaks: no training image is a copy of one to validate or test\n";
    for more in ["", " --train all --epochs 1"] {
        let job = format!("--data data --onnx tiny.onnx --out out --force --drop duplicates,leaks{more}");
        let told = place.adapt(&job).succeeds().err;
        assert!(told.matches(leaks).count() == 1 && !told.contains("--drop suspects"), "{told}");
        // There are such.
        assert!(told.contains("(--drop duplicates)") && !told.contains("--drop duplicates:"), "{told}");
    }
    assert!(!place.adapt("--data data --onnx tiny.onnx --out none").succeeds().err.contains("--drop"));
    // Nobody judges labels that no other image has.
    (0..3).for_each(|class| place.images(&format!("few/{class}"), class, 1));
    let told =
        place.adapt("--data few --onnx tiny.onnx --out few-out --val 0 --drop duplicates,suspects").succeeds().err;
    assert!(told.contains("audit    --drop duplicates: no training image is a copy of another\n"), "{told}");
    assert!(told.contains("audit    --drop suspects: without cross-validation no label can be judged\n"), "{told}");
    let told = place.adapt("--data data --onnx tiny.onnx --out sure --val 0 --drop suspects").succeeds().err;
    let found = told.contains("training images left out: ");
    assert!(told.contains("audit    --drop suspects: no label looks wrong\n") != found, "{told}");
}
