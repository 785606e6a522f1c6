//! What `report.html` and the terminal say is so: of labels and numbers, of small units, of trials with one network, of groups, of
//! very many classes.

use super::report::{code, python};
use super::support::{Place, left_out};
use super::tasks;
use adapt::metrics::Classification;
use adapt::onnx::{Model, metadata};
use ndarray::Array2;
use std::path::Path;
use std::process::Command;

/// A list without the images to test.
fn to_train(place: &Place, list: &str) {
    let text = place.read(list);
    let rows = text.lines().filter(|line| !line.ends_with(",test")).map(|line| format!("{line}\n"));
    place.write(list, rows.collect::<String>());
}

fn page(place: &Place, arguments: &str) -> String {
    place.adapt(&format!("--onnx tiny.onnx --preprocess raw01 --force --out out {arguments}")).succeeds();
    place.read("out/report.html")
}

#[test]
fn pages_of_labels_and_numbers_say_nothing_of_classes() {
    let place = tasks::place();
    let lists = [("labels.csv", ""), ("values.csv", "--label-column bright,contrast")];
    let says = [
        "By cross-validation in 5 folds of the training images, dealt 9 times, mean and standard deviation: ",
        "left out by itself: ",
    ];
    for ((list, more), says) in lists.into_iter().zip(says) {
        let page = page(&place, &format!("--data {list} {more}"));
        assert!(page.contains(says) && page.contains("95 % interval"), "{list}");
        let figure = if list == "labels.csv" { "mean average precision" } else { "R²" };
        assert!(page.contains(&format!("one standard error: {figure} by training images.")), "{list}");
        assert!(page.contains("Learning curve") && !page.contains("There is no learning curve"), "{list}");
        let run = place.json("out/run.json");
        let [curve, told] = [&run["head"]["learning_curve"]["gain"], &run["fine_tuning"]["gain_of_images"]];
        assert!(curve == told && curve.is_array() && page.contains("Twice as many images"), "{list}: {curve} {told}");
    }
    for (list, more) in lists {
        to_train(&place, list);
        let page = page(&place, &format!("--data {list} {more} --cv 3"));
        for words in ["labels that look wrong", "adapt audit", "of a class", "the classes with their probabilities"] {
            assert!(!page.contains(words), "{list}: {words}");
        }
        let own = if list == "labels.csv" { "the labels with their probabilities" } else { "the targets' values" };
        assert!(page.contains("No images were held out") && page.contains(own), "{list}");
        assert_eq!(page.contains("Fewest of a label"), list == "labels.csv");
    }
}

#[test]
fn targets_in_small_units_are_told() {
    let place = tasks::place();
    let text = place.read("values.csv");
    let mut list = "path,small,split\n".to_string();
    for row in text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
        list += &format!("{},{:.8},{}\n", row[0], row[1].parse::<f64>().unwrap() * 1e-4, row[3]);
    }
    place.write("small.csv", list);
    let arguments = "--data small.csv --label-column small --onnx tiny.onnx --preprocess raw01 --out out";
    let ran = place.adapt(arguments).succeeds();
    let ends = [' ', '>', '<', '(', ')', '–', '\t', '\n'];
    let zeros =
        |text: &str| text.split(ends).filter(|word| word.len() > 4 && word.chars().all(|c| "-0.".contains(c))).count();
    let nothing = |text: &str| zeros(text) > 0;
    assert!(!nothing(&ran.out), "{}", ran.out);
    let page = place.read("out/report.html");
    let shown = page.split("id=\"data\"").next().unwrap();
    // R² of always the mean, in a tile and in the table.
    assert!(zeros(shown) == 2 && shown.contains("Predicted and true"), "{shown}");
    let image = place.read("out/predictions.csv").lines().nth(1).unwrap().split(',').next().unwrap().to_string();
    let told = place.adapt(&format!("predict out/model.onnx {image}")).succeeds().out;
    assert!(!nothing(&told), "{told}");
    assert!(!nothing(&place.adapt("data small.csv --label-column small").succeeds().out));
    place.adapt(&format!("{} --seed 3", arguments.replace("--out out", "--out other"))).succeeds();
    let compared = place.adapt("compare out other").succeeds().out;
    assert!(!nothing(compared.split("\nother less out").next().unwrap()), "{compared}");
    let Some(python) = python() else { return };
    place.write("out/classify.py", code(&page, "python"));
    let mut command = Command::new(python);
    command.args(["classify.py", &format!("../{image}")]).current_dir(place.path("out"));
    let told = place.run(&mut command).succeeds().out;
    assert!(told.trim_end().rsplit('\t').next().unwrap().parse::<f64>().unwrap() != 0., "{told}");
    assert!(!nothing(&told), "{told}");
}

#[test]
fn trials_are_told_of_the_network_they_were_made_with() {
    let (place, models) =
        (Place::usual(), concat!(env!("CARGO_MANIFEST_DIR"), "/models/efficientnet_lite0/model.onnx"));
    let ran = place.adapt(&format!("--data data --onnx {models} --val 0 --out out")).succeeds();
    let words = "predicted gain in accuracy, from trials with this network on four sets of 200 to 1,000 images, none held out: ";
    let run = place.json("out/run.json");
    let wrong = 1. - run["head"]["cross_validation"]["accuracy"][0].as_f64().unwrap();
    let told = [0, 1].map(|i| run["fine_tuning"]["measured"][i]["predicted_gain"].clone());
    let gains = told.each_ref().map(|told| [0, 1].map(|i| told[i].as_f64().unwrap()));
    // Of a head without mistakes there is nothing to gain, nor to lose by as many.
    assert!(gains.iter().all(|[least, most]| least <= most && most.abs() <= wrong && (wrong > 0. || *least == 0.)));
    let [tail, all] = gains.map(|[least, most]| format!("{least:+.3} to {most:+.3}"));
    assert!(ran.out.contains(&format!("{words}{tail} by --train last:2, {all} by --train all;")), "{}", ran.out);
    assert!(ran.out.contains("what it gains here is not known until it is tried"));
    let page = place.read("out/report.html");
    assert!(page.contains(&format!("{words}{tail}")) && page.contains(&format!("{words}{all}")));
    // Of any other network they are said to be another's; of a head that was chosen among no others they tell nothing.
    let mut other = Model::open(Path::new(models)).unwrap();
    metadata::set(&mut other.proto, "name", "another");
    other.save(&place.path("other.onnx")).unwrap();
    let job = |more: &str| place.adapt(&format!("--data data --onnx other.onnx --val 0 --out other --force {more}"));
    let by = "predicted gain in accuracy, from trials with another network (EfficientNet-Lite0) on four sets of 200 to 1,000 images";
    let (ran, why) =
        (job("").succeeds(), "in the trials the head was the best of several kinds, and here there was one");
    assert!(ran.out.contains(by) && place.read("other/report.html").contains(by), "{}", ran.out);
    assert_eq!(place.json("other/run.json")["fine_tuning"]["trials_with"], "another network (EfficientNet-Lite0)");
    let (ran, page) = (job("--head ncm").succeeds(), place.read("other/report.html"));
    assert!(ran.out.contains(&format!("no gain is predicted: {why}; what it gains")), "{}", ran.out);
    assert!(page.contains(&format!("No gain is predicted: {why}. What it gains")) && !page.contains("from trials"));
    assert_eq!(place.json("other/run.json")["fine_tuning"]["no_predicted_gain"], why);
}

#[test]
fn intervals_are_of_whole_groups_where_there_are_enough() {
    let place = super::report::place();
    let mut list = "path,label,split,patient,visit\n".to_string();
    for (split, count) in [("train", 8), ("test", 6)] {
        for class in ["a", "b"] {
            let row =
                |i: usize| format!("data/{split}/{class}/{i}.png,{class},{split},{split}{},{split}{class}{i}\n", i / 2);
            list += &(0..count).map(row).collect::<String>();
        }
    }
    place.write("list.csv", list);
    let run = |more: &str| {
        let out =
            place.adapt(&format!("--data list.csv --onnx tiny.onnx --force --out out --val 0 {more}")).succeeds().out;
        let compared = place.adapt("compare out out").succeeds();
        assert!(!compared.err.contains("note: "), "{}", compared.err);
        let m = place.json("out/run.json")["metrics"]["test"].take();
        (out, place.read("out/report.html"), compared.out, (m["groups"].clone(), m["intervals"]["accuracy"].clone()))
    };
    let (out, page, compared, (groups, interval)) = run("");
    assert!(out.contains("in brackets: 95 % intervals; always") && !page.contains("“patient”"), "{out}");
    assert!(compared.contains("in brackets: 95 % intervals\n") && groups.is_null() && interval.is_array());
    assert!(!place.read("out/predictions.csv").lines().next().unwrap().contains("group"));

    let (out, page, compared, (groups, interval)) = run("--groups visit");
    let words = "in brackets: 95 % intervals (whole groups of images drawn anew)";
    assert!(out.contains(&format!("{words}; always")) && compared.contains(&format!("{words}\n")), "{out}{compared}");
    assert!(page.contains("All images of one “visit” were drawn together, whole groups of 12.") && interval.is_array());
    assert!(groups == 12 && compared.contains("–  too few groups to tell"), "{compared}");
    let list = place.read("out/predictions.csv");
    assert!(list.starts_with("path,split,label,predicted,confidence,group\n") && list.contains(",testb5\n"), "{list}");

    let (out, page, compared, (groups, interval)) = run("--groups patient");
    let words = "no intervals of test: 3 groups of images are fewer than 10";
    assert!(out.contains(&format!("{words}; always")) && compared.contains(&format!("{words}\n")), "{out}{compared}");
    assert!(page.contains("There are none: the images are of 3 groups by “patient”, fewer than 10"));
    assert!(groups == 3 && interval.is_null() && !page.contains("95 % interval 0."));

    // A run of an earlier version has neither.
    let list = place.read("out/predictions.csv");
    let rows = list.lines().map(|row| format!("{}\n", row.rsplit_once(',').unwrap().0));
    place.write("out/predictions.csv", rows.collect::<String>());
    let mut run = place.json("out/run.json");
    run["metrics"]["test"].as_object_mut().unwrap().remove("groups");
    place.write("out/run.json", run.to_string());
    let words = "as if nothing joined them";
    assert!(place.adapt("compare out out").succeeds().err.contains(words));
    place.adapt("report out").succeeds();
    assert!(place.read("out/report.html").contains(&format!("Images of one “patient” were drawn {words}")));
}

/// Runs of labels and numbers record groups behind the values.
#[test]
fn groups_of_labels_and_numbers_are_compared_by() {
    let place = tasks::place();
    for (list, more) in [("labels.csv", ""), ("values.csv", "--label-column bright,contrast")] {
        let text = place.read(list);
        let mut rows = text.lines();
        let mut grouped = format!("{},who\n", rows.next().unwrap());
        rows.enumerate().for_each(|(i, row)| grouped += &format!("{row},{}{}\n", &row[row.len() - 4..], i % 21));
        place.write("grouped.csv", grouped);
        page(&place, &format!("--data grouped.csv --groups who {more}"));
        let told = place.adapt("compare out out --json").succeeds().out;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["runs"][0]["figures"], place.json("out/run.json")["metrics"]["test"], "{list}");
        assert!(told["runs"][0]["figures"]["groups"].as_u64() >= Some(10), "{list}: {told}");
        // Another label of an image is noticed.
        let text = place.read("out/predictions.csv");
        let mut rows: Vec<Vec<&str>> = text.lines().map(|row| row.split(',').collect()).collect();
        let tests: Vec<usize> = (0..rows.len()).filter(|&i| rows[i][1] == "test").collect();
        let right = tests.iter().copied().find(|&i| rows[i][2] == rows[i][3]).unwrap_or(tests[0]);
        let other = tests.into_iter().find(|&i| rows[i][2] != rows[right][2]).unwrap();
        rows[right][2] = rows[other][2];
        let text: Vec<String> = rows.into_iter().map(|row| row.join(",")).collect();
        place.write("out/predictions.csv", text.join("\n"));
        for command in ["report out", "compare out out"] {
            place
                .adapt(command)
                .fails(1, &["predictions.csv: ", "of the test images is ", "one of the two was changed"]);
        }
    }
}

#[test]
fn runs_on_other_data_are_told_apart() {
    let place = super::report::place();
    place.main("").succeeds();
    let ran = place.adapt("compare out out/").succeeds();
    assert_eq!(ran.err, "warning: out/ is named twice: it is compared with itself\n");
    std::fs::rename(place.path("data"), place.path("others")).unwrap();
    place.adapt("--data others --onnx tiny.onnx --out other").succeeds();
    let ran = place.adapt("compare out other").succeeds();
    assert!(
        ran.err.starts_with("warning: other has its images from others, not data: those of one name"),
        "{}",
        ran.err
    );
}

#[test]
fn no_threshold_has_its_own_reason() {
    let place = Place::usual();
    (0..3).for_each(|class| place.images(&format!("one/{class}"), class, 1));
    let ran = place.adapt("--data one --onnx tiny.onnx --val 0 --abstain 0.9 --out out").succeeds();
    assert!(ran.err.contains("--abstain: nothing tells how often answers are right"), "{}", ran.err);
}

#[test]
fn tables_are_reached_by_keys_and_sorted_by_value() {
    let place = super::report::place();
    place.main("").succeeds();
    let page = place.read("out/report.html");
    let reached = "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"";
    assert_eq!(page.matches("<div class=\"wide\"").count(), page.matches(reached).count());
    assert!(page.contains("id=\"map\"") && page.contains("the arrow keys go from image to image"));
    let script = page.split("<script>").nth(1).unwrap();
    for (name, asks, answer) in [
        ("order", "['3', '-1.5', '10', '-12', '1.2e-6'].sort(order)", "-12,-1.5,1.2e-6,3,10"),
        // The first and the last key press, and those around the ends.
        (
            "beside",
            "[[-1, 1], [-1, -1], [4, 1], [0, -1], [2, -1]].map(([now, step]) => beside(now, step, 5))",
            "0,4,0,4,1",
        ),
    ] {
        let body = script.split(&format!("function {name}")).nth(1).unwrap().split("\n}\n").next().unwrap();
        let program = format!("function {name}{body}\n}}\nconsole.log({asks}.join())");
        match Command::new("node").args(["-e", &program]).output() {
            Ok(ran) => assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), answer, "{ran:?}"),
            Err(_) => left_out("there is no node"),
        }
    }
}

/// A matrix of them, stored for both splits, would be a `run.json` larger than any that is read.
#[test]
fn a_run_of_two_thousand_classes_has_a_page() {
    let place = super::report::place();
    place.main("").succeeds();
    let names: Vec<String> = (0..2000).map(|k| if k < 2 { ["a", "b"][k].into() } else { format!("c{k:04}") }).collect();
    let labels: Vec<usize> = (0..12).map(|i| i / 6).collect();
    let p = Array2::from_shape_fn((12, 2000), |(i, k)| if k == i % 3 { 0.5 } else { 0.5 / 1999. });
    let figures = serde_json::to_value(Classification::from_probabilities(&labels, p.view(), &names).unwrap()).unwrap();
    let mut run = place.json("out/run.json");
    (run["metrics"]["val"], run["metrics"]["test"]) = (figures.clone(), figures);
    run["data"]["classes"] = serde_json::json!(names);
    place.write("out/run.json", adapt::report::json(&run).unwrap());
    let list = place.read("out/predictions.csv");
    let mut rows: Vec<String> =
        list.lines().filter(|line| !line.contains(",test,") && !line.contains(",val,")).map(String::from).collect();
    rows.extend((0..12).map(|i| {
        let own = ["a", "b"][i / 6];
        format!("test/{own}/{}.png,test,{own},{},0.5", i % 6, names[i % 3])
    }));
    place.write("out/predictions.csv", rows.join("\n") + "\n");
    // It has a column for each class.
    std::fs::remove_file(place.path("out/scores.safetensors")).unwrap();
    place.adapt("report out").succeeds();
    let page = place.read("out/report.html");
    let rows = page.split("<caption>The most frequent confusions").nth(1).unwrap().split("</table>").next().unwrap();
    let counts = ["b taken for a: 2", "a taken for b: 2", "a taken for c0002: 2", "b taken for c0002: 2"];
    assert!(counts.iter().all(|count| page.contains(&format!("<h3>{count}</h3>"))) && rows.contains("c0002"), "{rows}");
}

#[test]
fn training_that_gained_nothing_is_told() {
    let place = Place::usual();
    let ran = place.main("--train all --epochs 2 --lr 1e-12").succeeds();
    let told =
        "no epoch was better on the validation images than the start, whose weights are taken: training did not help";
    assert!(ran.err.contains(told), "{}", ran.err);
    let training = &place.json("out/run.json")["training"];
    assert_eq!((training["best_epoch"].as_u64(), training["no_gain"].as_str()), (Some(0), Some(told)));
    let page = place.read("out/report.html");
    assert!(page.contains(
        "for 2 epochs, none of them better on the validation images than the start, which is what was written."
    ));
    assert!(page.contains(&format!("<li>{told}</li>")));
    place.main("--train all --epochs 2 --lr 1 --force").succeeds();
    assert!(place.json("out/run.json")["training"].get("no_gain").is_none());
    assert!(!place.read("out/report.html").contains("none of them better"));
}
