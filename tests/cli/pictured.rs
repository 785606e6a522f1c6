//! What a report shows beside the figures: where the model looks, what is wrong with the images, the licence.

use super::support::Place;
use crate::common::{golden, onnx_runtime};
use adapt::data::images_below;
use adapt::explain::{Explainer, Method};
use adapt::onnx::{Model, metadata};
use adapt::plan::Trained;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::fmt::Write;
use std::fs;

/// Two classes that cannot be told apart by colour, so that there are mistakes, and a test set.
fn place() -> Place {
    let place = Place::empty();
    fs::copy(golden("tiny.onnx"), place.path("tiny.onnx")).unwrap();
    for name in ["a", "b"] {
        place.images(&format!("data/train/{name}"), 0, 8);
        place.images(&format!("data/test/{name}"), 0, 6);
    }
    place
}

fn overlays(page: &str) -> usize {
    page.matches("<image id=\"o").count()
}

#[test]
fn listed_images_have_the_maps_of_explain() {
    let place = place();
    place.main("").succeeds();
    let (maps, page) = (place.json("out/maps.json"), place.read("out/report.html"));
    let images = maps["images"].as_array().unwrap();
    assert_eq!((maps["method"].as_str(), images.len()), (Some("cam"), 12), "{maps}");
    assert_eq!((overlays(&page), page.contains("exact class activation maps")), (12, true));
    assert!(page.contains("is no proof that the answer hangs on what is there: <code>adapt explain --check</code>"));
    let trained = Trained::open(&place.path("out/model.onnx"), None, None).unwrap();
    let backend = onnx_runtime();
    let mut explainer = Explainer::open(&trained, &backend, Some(Method::Cam), None).unwrap();
    let (list, mut largest) = (place.read("out/predictions.csv"), Vec::new());
    for map in images {
        let path = map["path"].as_str().unwrap();
        let row = list.lines().find(|line| line.starts_with(&format!("{path},test,"))).unwrap();
        assert_eq!(row.split(',').nth(3), map["class"].as_str(), "the predicted class");
        let (source, paths, _) = images_below(&[place.path("data").join(path)], &adapt::progress::silent).unwrap();
        let explained = explainer.explain(explainer.values(&source, &paths[0]).unwrap().view(), None).unwrap();
        let ([height, width], bytes) = explained.bytes(32);
        assert_eq!(map["size"], serde_json::json!([height, width]));
        let stored = BASE64_STANDARD.decode(map["relevance"].as_str().unwrap()).unwrap();
        let far = stored.iter().zip(&bytes).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(stored.len() == height * width && far <= 1, "{path}: {far}");
        largest.push(stored.iter().copied().max().unwrap());
    }
    // Where nothing speaks for the class, the map is empty.
    assert!(largest.contains(&255) && largest.iter().all(|value| [0, 255].contains(value)), "{largest:?}");
    // Also where the graph preprocesses, in which a map has no place.
    place.adapt("--data data --onnx tiny.onnx --out baked --bake-preprocessing").succeeds();
    assert_eq!(place.read("baked/maps.json"), place.read("out/maps.json"));
}

#[test]
fn maps_that_a_stranger_wrote_are_read_with_care() {
    let place = place();
    place.main("").succeeds();
    let mut maps = place.json("out/maps.json");
    maps["images"][0]["size"] = serde_json::json!([1_000_000, 1_000_000]);
    maps["images"][1]["relevance"] = "no base64".into();
    maps["images"][2]["path"] = "/etc/passwd".into();
    place.write("out/maps.json", maps.to_string());
    place.adapt("report out").succeeds();
    assert_eq!(overlays(&place.read("out/report.html")), 9);
    maps["method"] = Value::Null;
    maps["reason"] = "<b>why".into();
    maps["images"] = serde_json::json!([]);
    place.write("out/maps.json", maps.to_string());
    place.adapt("report out").succeeds();
    assert!(place.read("out/report.html").contains("not shown: &lt;b&gt;why."));
    place.write("out/maps.json", "{");
    place.adapt("report out").fails(1, &["maps.json", "damaged"]);
    // An earlier version's run has none.
    fs::remove_file(place.path("out/maps.json")).unwrap();
    let told = place.adapt("report out").succeeds().err;
    assert!(
        told.contains("out/maps.json is not there")
            && told.contains("; the command in run.json makes the file anew, adapt explain "),
        "{told}"
    );
    assert_eq!(overlays(&place.read("out/report.html")), 0);
}

#[test]
fn labels_and_numbers_have_maps() {
    let place = place();
    let (mut labels, mut values) = ("path,label,split\n".to_string(), "path,label,split\n".to_string());
    for (split, count) in [("train", 8), ("test", 6)] {
        for (class, own) in [("a", "warm;red"), ("b", "red")] {
            for i in 0..count {
                let _ = writeln!(labels, "data/{split}/{class}/{i}.png,{own},{split}");
                let _ = writeln!(values, "data/{split}/{class}/{i}.png,{}.5,{split}", i * 3);
            }
        }
    }
    place.write("labels.csv", labels);
    place.write("values.csv", values);
    place.adapt("--data labels.csv --onnx tiny.onnx --out labels").succeeds();
    let page = place.read("labels/report.html");
    assert_eq!((overlays(&page), page.contains("; map of warm")), (12, true));
    place.adapt("--data values.csv --onnx tiny.onnx --out values").succeeds();
    let page = place.read("values/report.html");
    assert_eq!((overlays(&page), page.contains("what in it makes the number that is farthest off")), (12, true));
    // Places that lower a number count as those that raise it: its map is that of the opposite number.
    let opposite = |text: String| text.replace(".png,", ".png,-");
    place.write("opposites.csv", opposite(place.read("values.csv")));
    place.adapt("--data opposites.csv --onnx tiny.onnx --out opposites").succeeds();
    let maps = ["values", "opposites"].map(|run| place.json(&format!("{run}/maps.json"))["images"].clone());
    let relevance = |map: &Value| BASE64_STANDARD.decode(map["relevance"].as_str().unwrap()).unwrap();
    for map in maps[0].as_array().unwrap() {
        let same = |other: &&Value| other["path"] == map["path"];
        let other = relevance(maps[1].as_array().unwrap().iter().find(same).unwrap());
        let far = relevance(map).iter().zip(&other).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(far <= 1 && other.contains(&255), "{map}: {far}");
    }
}

#[test]
fn the_licence_that_was_found() {
    let place = Place::usual();
    let shown = || {
        place.main("--force").succeeds();
        let told = place.json("out/run.json")["model"]["licence"].clone();
        let page = place.read("out/report.html");
        let words = told.as_str().unwrap_or("not stated in the file").replace('\'', "&#x27;");
        assert!(page.contains(&format!("Its licence</th><td class=\"text\">{words}<")), "{words}");
        told
    };
    assert_eq!(shown(), Value::Null);
    place.write("LICENSE", "\n  The MIT License\nmore");
    assert_eq!(shown(), "The MIT License (the file LICENSE beside it)");
    let mut model = Model::open(place.path("tiny.onnx")).unwrap();
    model.proto.doc_string = Some("A net.\nLicence: CC0".into());
    metadata::set(&mut model.proto, "Author", "Ada");
    model.save(&place.path("tiny.onnx")).unwrap();
    assert_eq!(shown(), "Licence: CC0 (the model's description); author Ada (metadata Author)");
    metadata::set(&mut model.proto, "model_license", "apache-2.0");
    model.save(&place.path("tiny.onnx")).unwrap();
    assert_eq!(shown(), "apache-2.0 (metadata model_license); author Ada (metadata Author)");
}

#[test]
fn what_training_inside_would_take() {
    let place = place();
    let ran = place.main("").succeeds();
    let told = place.json("out/run.json")["fine_tuning"].clone();
    let measured = told["measured"].as_array().unwrap();
    let parts: Vec<&str> = measured.iter().map(|m| m["train"].as_str().unwrap()).collect();
    assert_eq!(parts, ["last:2", "all"]);
    // As many epochs as the training itself plans.
    place.adapt("--data data --onnx tiny.onnx --out inside --train all").succeeds();
    let inside = place.json("inside/run.json");
    let number = |value: &Value| value.as_u64().unwrap();
    let [steps, size] = ["steps", "batch_size"].map(|key| number(&inside["training"]["settings"][key]));
    let images: u64 = inside["data"]["counts"]["train"].as_array().unwrap().iter().map(number).sum();
    assert!(inside["fine_tuning"].is_null());
    for m in measured {
        assert!(m["seconds"].as_f64().unwrap() > 0. && number(&m["epochs"]) == steps / images.div_ceil(size), "{told}");
    }
    assert!(ran.out.contains("--train last:2 would take about"));
    // So small a network is none of which the trials tell anything.
    let why =
        "no gain is predicted: the network has 196 parameters, fewer than a tenth of those of the trials' network";
    let page = place.read("out/report.html");
    for words in [&why[1..], "hat it gains here is not known until it is tried"] {
        assert!(ran.out.contains(words) && page.replace("&#x27;", "'").contains(words), "{words}: {}", ran.out);
    }
    assert!(!ran.out.contains("from trials") && !page.contains("from trials"), "{}", ran.out);
    assert!(told["trials_with"].is_null() && why.ends_with(told["no_predicted_gain"].as_str().unwrap()), "{told}");
    assert!(place.read("out/report.html").contains("<th scope=\"row\">--train all</th><td class=\"text\">about"));
    // A graph that cannot be trained says why.
    fs::copy(golden("onnx/qoperator_conv.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("--force").succeeds();
    let told = place.json("out/run.json")["fine_tuning"].clone();
    let reason = told["measured"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("quantized") && told["measured"].as_array().unwrap().len() == 1, "{told}");
    assert!(told["no_predicted_gain"].is_null(), "{told}");
    let (maps, page) = (place.json("out/maps.json"), place.read("out/report.html"));
    assert_eq!((&maps["method"], maps["images"].as_array().unwrap().len()), (&Value::Null, 0));
    assert!(page.contains("not shown: exact maps and gradients are not to be had (it cannot"), "{maps}");
}

/// The calibration error as Guo et al. define it, in 15 bins, of `(score, right)`.
fn ece(rows: &[(Vec<f64>, usize)], factor: f64) -> f64 {
    let mut bins = [[0f64; 2]; 15];
    for (scores, label) in rows {
        let weights: Vec<f64> = scores.iter().map(|score| (score * factor).exp()).collect();
        let best = (0..weights.len()).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap();
        let sure = weights[best] / weights.iter().sum::<f64>();
        let bin = &mut bins[((sure * 15.).ceil() as usize).clamp(1, 15) - 1];
        *bin = [bin[0] + sure, bin[1] + f64::from(u8::from(best == *label))];
    }
    bins.iter().map(|[sure, right]| (sure - right).abs()).sum::<f64>() / rows.len() as f64
}

#[test]
fn calibration_is_told_on_images_that_had_no_part_in_it() {
    let place = place();
    let ran = place.main("").succeeds();
    let run = place.json("out/run.json");
    let head = &run["head"];
    let told = head["held_out_calibration_error"]["test"].as_array().unwrap();
    let told = [0, 1].map(|i| told[i].as_f64().unwrap());
    let bytes = place.read_bytes("out/scores.safetensors");
    let scores = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let scores = scores.tensor("logits").unwrap();
    let values: Vec<f64> =
        scores.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    let list = place.read("out/predictions.csv");
    let held_out: Vec<Vec<&str>> = list.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let held_out = held_out.iter().filter(|row| row[1] != "train").zip(values.chunks(2));
    let test = held_out.filter(|(row, _)| row[1] == "test");
    let rows: Vec<_> = test.map(|(row, scores)| (scores.to_vec(), usize::from(row[2] == "b"))).collect();
    assert_eq!(rows.len(), 12);
    let wanted = [head["temperature"].as_f64().unwrap(), 1.].map(|factor| ece(&rows, factor));
    assert!(told.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{told:?} {wanted:?}");
    assert!((told[0] - told[1]).abs() > 1e-4, "the temperature does something here: {told:?}");
    assert!(ran.out.contains(&format!("test: calibration error {:.3}", told[1])), "{}", ran.out);
    assert!(place.read("out/report.html").contains(&format!("Without calibration it would be {:.4}", told[0])));
}

#[test]
fn a_thousand_textured_test_images_stay_below_5_mb() {
    let place = Place::usual();
    for class in ["a", "b", "c"] {
        place.images(&format!("set/train/{class}"), 0, 8);
        fs::create_dir_all(place.path(format!("set/test/{class}"))).unwrap();
    }
    // Nothing is harder to compress than noise, and it looks alike to the model: many mistakes, each with its map.
    let mut random = adapt::random::stream(0, "test", 0, 0);
    for i in 0..1000 {
        let mut noise = || image::Rgb([0; 3].map(|_: u8| (256. * adapt::random::uniform(&mut random)) as u8));
        let name = place.path(format!("set/test/{}/{i}.png", ["a", "b", "c"][i % 3]));
        image::RgbImage::from_fn(96, 72, |_, _| noise()).save(name).unwrap();
    }
    place.adapt("--data set --onnx tiny.onnx --out out").succeeds();
    let page = place.read("out/report.html");
    let pictures = page.matches("<image id=\"t").count();
    assert!(page.len() < 5_000_000 && pictures > 300, "{} bytes, {pictures} pictures", page.len());
}

#[test]
fn of_many_classes_the_most_frequent_confusions_are_a_table() {
    let place = Place::usual();
    for class in 0..61 {
        place.images(&format!("many/train/c{class:02}"), class % 3, 2);
        place.images(&format!("many/test/c{class:02}"), class % 3, 1);
    }
    place.adapt("--data many --onnx tiny.onnx --out out").succeeds();
    let page = place.read("out/report.html");
    assert!(page.contains("<caption>The most frequent confusions") && !page.contains("<table class=\"confusion\">"));
    let rows = page.split("<caption>The most frequent confusions").nth(1).unwrap().split("</table>").next().unwrap();
    let links: Vec<&str> = rows.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(links.len() > 10 && links.len() <= 50, "{links:?}");
    assert!(links.iter().all(|link| page.contains(&format!("id=\"{link}\""))), "{links:?}");
}

#[test]
fn a_learning_curve_that_is_missing_has_a_reason() {
    let place = place();
    let ran = place.main("").succeeds();
    let told = place.json("out/run.json")["head"]["no_learning_curve"].take();
    let why = told.as_str().unwrap();
    assert!(
        why.contains("too few images") && ran.err.contains(&format!("no learning curve: {why}")),
        "{why} {}",
        ran.err
    );
    assert!(place.read("out/report.html").contains(&format!("There is no learning curve: {why}.")));
}
