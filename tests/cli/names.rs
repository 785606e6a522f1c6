//! Class names with everything in them, through every file that holds them and back.

use super::support::Place;
use adapt::onnx::{Model, metadata};
use adapt::plan::labels;

fn odd() -> Vec<String> {
    let mut names =
        ["a b", "comma, comma", "it's \"quoted\"", "naïve 猫 🐈", "-rf", "%s{0}", "100%"].map(String::from).to_vec();
    names.push("x".repeat(200));
    names.sort_unstable();
    names
}

#[test]
fn odd_class_names_agree_in_all_files() {
    let names = odd();
    let place = Place::with_classes(&names);
    place.main("").succeeds();
    assert_eq!(place.read("out/labels.txt").lines().collect::<Vec<_>>(), names);
    let config = place.json("out/config.json");
    for (i, name) in names.iter().enumerate() {
        assert_eq!(config["id2label"][i.to_string()], *name);
        assert_eq!(config["label2id"][name], i);
    }
    assert_eq!(place.json("out/run.json")["data"]["classes"], serde_json::json!(names));
    let mut model = Model::open(place.path("out/model.onnx")).unwrap();
    assert_eq!(labels::find(&model).unwrap(), Some((names.clone(), "adapt.contract".into())));
    metadata::remove(&mut model.proto, "adapt.contract");
    assert_eq!(labels::find(&model).unwrap(), Some((names.clone(), "metadata names".into())));

    let mut seen = std::collections::BTreeSet::new();
    for row in csv::Reader::from_path(place.path("out/predictions.csv")).unwrap().into_records() {
        let row = row.unwrap();
        // path, split, label, predicted, confidence
        assert!(row.len() == 5 && names.iter().any(|n| *n == row[3]), "{row:?}");
        assert_eq!(row[0].split('/').next(), Some(&row[2]));
        seen.insert(row[2].to_string());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), names);
}

#[test]
fn predictions_with_odd_names_are_well_formed() {
    let names = odd();
    let place = Place::with_classes(&names);
    place.main("-q").succeeds();
    let ran = place.adapt("predict out/model.onnx data --csv").succeeds();
    let rows: Vec<_> = csv::Reader::from_reader(ran.out.as_bytes()).into_records().map(|r| r.unwrap()).collect();
    assert_eq!(rows.len(), 6 * names.len());
    assert!(rows.iter().all(|r| place.path(&r[0]).is_file() && names.iter().any(|n| *n == r[1])));

    let ran = place.adapt("predict out/model.onnx data --json").succeeds();
    let objects: Vec<serde_json::Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(objects.len(), rows.len());
    for (object, row) in objects.iter().zip(&rows) {
        assert_eq!((object["path"].as_str(), object["label"].as_str()), (Some(&row[0]), Some(&row[1])));
    }
    let ran = place.adapt("eval out/model.onnx --data data --json").succeeds();
    let figures: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let classes: Vec<_> =
        figures["per_class"].as_array().unwrap().iter().map(|c| c["class"].as_str().unwrap()).collect();
    assert_eq!(classes, names);
}

#[test]
fn a_line_break_in_a_class_name_is_refused() {
    for name in ["two\nlines", "end\r"] {
        let place = Place::with_classes(&["a", name]);
        place.refuses("", 1, &["data", &name.escape_debug().to_string(), "line break", "rename"]);
    }
}

#[test]
fn terminal_controls_in_names_are_shown_not_obeyed() {
    let place = Place::with_classes(&["a", "red\u{1b}[31m"]);
    place.write("data/a/\u{1b}]0;title\u{7}.png", "");
    let ran = place.main("-v").succeeds();
    assert!(!(ran.out.clone() + &ran.err).contains('\u{1b}'), "{}{}", ran.err, ran.out);
    assert!(ran.out.contains(r"red\u{1b}[31m"), "{}", ran.out);
    let ran = place.adapt("predict out/model.onnx data").succeeds();
    assert!(!(ran.out.clone() + &ran.err).contains('\u{1b}'), "{}{}", ran.err, ran.out);
    assert!(ran.err.contains(r"\u{1b}]0;title"), "{}", ran.err);
}

#[test]
fn targets_and_labels_may_be_called_as_a_tables_own_columns() {
    let place = Place::usual();
    let (mut values, mut labels) = ("path,label,predicted,group\n".to_string(), "path,labels\n".to_string());
    for (class, own) in [("a", "label"), ("b", "path"), ("c", "label;path")] {
        for i in 0..6 {
            values += &format!("data/{class}/{i}.png,{i}.5,{},{class}{i}\n", own.len());
            labels += &format!("data/{class}/{i}.png,{own}\n");
        }
    }
    place.write("values.csv", values);
    place.write("labels.csv", labels);
    let header = |text: String| text.lines().next().unwrap().to_owned();
    let job = "--onnx tiny.onnx --preprocess raw01";
    place.adapt(&format!("--data values.csv --label-column label,predicted --groups group --out out {job}")).succeeds();
    let own = "path,split,label,predicted,label (predicted),predicted (predicted),group";
    assert_eq!(header(place.read("out/predictions.csv")), own);
    place.adapt("report out").succeeds();
    place.adapt(&format!("--data labels.csv --label-column labels --out labelled {job}")).succeeds();
    let own = "path,split,label,predicted,label (predicted),path (predicted)";
    assert_eq!(header(place.read("labelled/predictions.csv")), own);
    let told = place.adapt("predict labelled/model.onnx data --csv").succeeds().out;
    assert_eq!(header(told), "path,label,label (predicted),path (predicted)");
}

#[test]
fn places_of_lost_pictures_are_isolated_on_the_page() {
    let place = Place::usual();
    std::fs::rename(place.path("data"), place.path("שלום")).unwrap();
    place.adapt("--data שלום --onnx tiny.onnx --out out").succeeds();
    place.images("ריק/a", 0, 0);
    place.images("ריק/b", 1, 1);
    std::fs::rename(place.path("שלום"), place.path("moved")).unwrap();
    for (more, words) in [("", "<bdi>שלום</bdi>: "), ("--data ריק", " can be read in <bdi>ריק</bdi>; --data says")]
    {
        let told = place.adapt(&format!("report out --force {more}")).succeeds().err;
        assert!(place.read("out/report.html").contains(words), "{words}");
        assert!(told.contains("without pictures: ") && !told.contains(['\u{2068}', '\u{2069}']), "{told:?}");
    }
}
