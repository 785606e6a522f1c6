//! Which head is trained, and what is said of the choice.

use crate::cli::inside::classes;
use crate::cli::support::{Place, Ran};
use adapt::onnx::Model;
use adapt::report::precise;
use prost::Message;

pub fn into(place: &Place, out: &str, more: &str) -> Ran {
    place.adapt(&format!("--data data --onnx tiny.onnx --out {out} {more}")).succeeds()
}

#[test]
fn each_kind_of_head_is_trained_and_proven() {
    let place = Place::usual();
    for (head, kind, name) in [
        ("softmax", "softmax", "softmax regression"),
        ("lda", "lda", "discriminant analysis"),
        ("ncm", "ncm", "nearest class mean"),
        ("mlp", "mlp", "perceptron with a hidden layer"),
    ] {
        into(&place, head, &format!("--head {head} --cv 3"));
        let run = place.json(&format!("{head}/run.json"));
        let compared = run["head"]["compared"].as_array().unwrap();
        assert!(compared.iter().all(|c| c["kind"] == kind && c["taps"] == 0), "{compared:?}");
        assert_eq!((&run["plan"]["head"], &run["head"]["folds"]), (&name.into(), &3.into()));
        assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-4);
        let accuracy = run["head"]["cross_validation"]["accuracy"].as_array().unwrap();
        assert!(accuracy[0].as_f64().unwrap() > 0.6 && accuracy[1].as_f64().unwrap() < 0.5, "{accuracy:?}");
        assert!(run["head"]["temperature"].as_f64().unwrap() > 0.);
    }
}

#[test]
fn the_best_head_is_chosen_and_the_choice_is_shown() {
    let place = Place::usual();
    let said = place.main("").succeeds();
    for word in
        ["nearest class mean", "discriminant analysis", "softmax regression", "chosen", "macro-F1", "temperature"]
    {
        assert!(said.err.contains(word), "{word}: {}", said.err);
    }
    let run = place.json("out/run.json");
    // What looks at the images is told beside the head, not as a part of it.
    assert!(run["seconds"]["audit"].as_f64().unwrap() > 0. && said.out.contains(", audit "), "{}", said.out);
    let chosen = &run["head"]["compared"][run["head"]["chosen"].as_u64().unwrap() as usize];
    assert!(chosen["behind"][0].as_f64().unwrap() <= chosen["behind"][1].as_f64().unwrap());
    let said = into(&place, "second", "--metric log-loss --balanced --budget 10m --json");
    let run: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(run["fine_tuning"]["measured"][0]["seconds"].as_f64() > Some(0.), "there was time left: {run}");
    let compared = run["head"]["compared"].as_array().unwrap();
    assert_eq!(
        compared.iter().filter(|c| c["kind"] == "softmax" && c["weighted"] == true && c["taps"] == 0).count(),
        1
    );
    assert!(
        compared.iter().all(|c| c["kind"] == "ncm" || c["adjusted"] == true || c["weighted"] == true),
        "{compared:?}"
    );
}

#[test]
fn one_image_a_class_is_enough() {
    let place = Place::usual();
    (0..3).for_each(|class| place.images(&format!("one/{class}"), class, 1));
    place.adapt("--data one --onnx tiny.onnx --out out --val 0").succeeds();
    let run = place.json("out/run.json");
    assert_eq!((&run["plan"]["head"], &run["head"]["folds"]), (&"nearest class mean".into(), &0.into()));
    assert_eq!(run["head"]["compared"].as_array().unwrap().len(), 0);
    let refused = place.adapt("--data one --onnx tiny.onnx --out lda --val 0 --head lda");
    refused.fails(1, &["do not vary", "more images a class", "--head softmax"]);
}

#[test]
fn what_chooses_heads_does_nothing_inside_the_network() {
    let place = Place::usual();
    for option in ["--head lda", "--metric accuracy", "--cv 3"] {
        place.refuses(&format!("{option} --train all"), 2, &[option.split(' ').next().unwrap(), "--train head"]);
    }
    place.refuses("--cv 1", 2, &["2 to 100"]);
    place.refuses("--head svm", 2, &["--head"]);
}

#[test]
fn images_that_are_unlike_the_others_are_marked() {
    let place = Place::usual();
    let noise = |file: &str| {
        let mut random = 7u32;
        let mut next = |_, _| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb(random.to_be_bytes()[..3].try_into().unwrap())
        };
        image::RgbImage::from_fn(16, 16, &mut next).save(place.path(file)).unwrap();
    };
    for (out, more, engine) in [
        ("auto", "", "auto"),
        ("lda", "--head lda", "candle"),
        ("mlp", "--head mlp", "tract"),
        ("baked", "--bake-preprocessing", "auto"),
    ] {
        into(&place, out, more);
        noise("noise.png");
        let model = format!("{out}/model.onnx");
        let said = place.adapt(&format!("predict {model} data noise.png --json --engine {engine}")).succeeds().out;
        let rows: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (last, own) = rows.split_last().unwrap();
        let score = |row: &serde_json::Value| row["outlier_score"].as_f64().unwrap();
        let far = own.iter().map(score).fold(0., f64::max);
        assert!(last["path"].as_str().unwrap().ends_with("noise.png") && score(last) > far, "{out} {far} {last}");
        assert!(last["outlier"] == true && own.iter().filter(|row| row["outlier"] == true).count() <= 1, "{out}");
        let table = place.adapt(&format!("predict {model} noise.png")).succeeds().out;
        assert!(table.contains("outlier"), "{table}");
    }
    // What the network was trained for has its own classes' directions no more.
    into(&place, "inside", "--train all --epochs 1");
    assert!(!place.adapt("predict inside/model.onnx data --csv").succeeds().out.contains("outlier"));
    // Nor does it keep what was of other features.
    place.adapt("--data data --onnx lda/model.onnx --out again --train all --epochs 1").succeeds();
    assert!(!place.adapt("predict again/model.onnx data --csv").succeeds().out.contains("outlier"));
}

#[test]
fn damaged_metadata_are_told() {
    let place = Place::usual();
    into(&place, "out", "--head lda");
    let model = Model::open(place.path("out/model.onnx")).unwrap();
    let own = adapt::onnx::metadata::get(&model.proto, "adapt.outlier").unwrap().to_string();
    for other in
        ["{}", "x", &own.replace("\"shape\":[3,", "\"shape\":[9,"), &own.replace("\"means\":\"", "\"means\":\"!")]
    {
        let mut model = model.clone();
        adapt::onnx::metadata::set(&mut model.proto, "adapt.outlier", other);
        std::fs::write(place.path("bad.onnx"), model.proto.encode_to_vec()).unwrap();
        place.adapt("predict bad.onnx data").fails(1, &["bad.onnx", "adapt.outlier", "damaged"]);
    }
}

#[test]
fn what_decides_nothing_is_told() {
    let place = super::support::Place::usual();
    let ran = place.main("--head lda --metric accuracy --budget 1m").succeeds();
    for option in ["--metric", "--budget"] {
        assert!(ran.err.contains(&format!("note: {option}: there was one head")), "{}", ran.err);
    }
    // Of one kind, too, strengths and epochs are chosen in the time that there is.
    for head in ["softmax", "mlp"] {
        let ran = place.main(&format!("--force --head {head} --budget 1m")).succeeds();
        assert!(!ran.err.contains("note: --"), "{head}: {}", ran.err);
    }
    let ran = place.main("--force --metric accuracy --budget 1m").succeeds();
    assert!(!ran.err.contains("note: --"), "{}", ran.err);
    // Nor can what has one image be judged.
    place.images("data/d", 0, 1);
    let ran = place.main("--force --val 0").succeeds();
    assert!(ran.err.contains("warning: 'd' has one image: no fold can judge that"), "{}", ran.err);
    assert!(ran.err.contains("'by macro-F1': with what is expected of classes that no fold can judge"), "{}", ran.err);
    let ran = place.main("--force --budget 1s").succeeds();
    assert!(ran.out.contains("not measured, since --budget leaves no time for it"), "{}", ran.out);
}

/// The operators of a model's last nodes.
fn ends(place: &Place, out: &str) -> Vec<String> {
    let model = Model::open(place.path(format!("{out}/model.onnx"))).unwrap();
    let nodes = model.graph().node.iter().rev().take(3);
    let mut operators: Vec<String> = nodes.map(|node| node.op_type().to_string()).collect();
    operators.reverse();
    operators
}

#[test]
fn a_perceptron_is_part_of_the_model_and_of_all_that_reads_it() {
    let place = Place::usual();
    into(&place, "out", "--head mlp --abstain 0.5");
    assert_eq!(ends(&place, "out"), ["Gemm", "Relu", "Gemm"]);
    let rows = place.read("out/predictions.csv");
    let said = place.adapt("predict out/model.onnx data --csv").succeeds().out;
    for line in said.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let own = rows.lines().find(|row| cells[0].ends_with(row.split(',').next().unwrap())).unwrap();
        assert_eq!(own.split(',').nth(3), Some(cells[1]), "{line} {own}");
    }
    place.adapt("verify out").succeeds();
    place.adapt("eval out/model.onnx --data data").succeeds();
    place.adapt("explain out/model.onnx data/a/0.png -o maps").succeeds();
    place.adapt("explain out/model.onnx data/a/0.png -o exact --method cam").fails(1, &["not a linear layer"]);
    place.adapt("report out").succeeds();
    assert!(place.read("out/report.html").contains("perceptron with a hidden layer"));
    // A model that it is part of is adapted like any other.
    place.adapt("--data data --onnx out/model.onnx --out again --head softmax").succeeds();
    into(&place, "baked", "--head mlp --bake-preprocessing");
    assert_eq!(ends(&place, "baked"), ["Gemm", "Relu", "Gemm"]);
    std::fs::copy(crate::common::golden("tiny_f16.onnx"), place.path("half.onnx")).unwrap();
    place.adapt("--data data --onnx half.onnx --out half --head mlp").succeeds();
    assert!(place.json("half/run.json")["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-2);
    let other = "--data data --onnx tiny.onnx --out other --head mlp";
    place.adapt(&format!("{other} --train all")).fails(2, &["--head", "--train head"]);
}

#[test]
fn numbers_and_labels_have_folds_with_deviations() {
    let place = Place::usual();
    ["a", "b", "c"].iter().enumerate().for_each(|(class, name)| place.images(&format!("data/{name}"), class, 12));
    let row = |i: usize| format!("data/{}/{}.png,{}.5\n", ["a", "b", "c"][i % 3], i / 3, i % 3);
    place.write("numbers.csv", "path,label\n".to_string() + &(0..36).map(row).collect::<String>());
    let texts = |i: usize| format!("data/{}/{}.png,{}\n", ["a", "b", "c"][i % 3], i / 3, ["x;y", "y", "x"][i % 3]);
    place.write("labels.csv", "path,label\n".to_string() + &(0..36).map(texts).collect::<String>());
    for (list, figure) in [("numbers.csv", "mae"), ("labels.csv", "micro_f1")] {
        let ran = place.adapt(&format!("--data {list} --onnx tiny.onnx --out out --cv 4 --force")).succeeds();
        let told = &place.json("out/run.json")["head"]["by_fold"][figure];
        let told = [0, 1].map(|i| told[i].as_f64().unwrap());
        let [mean, deviation] = told.map(precise);
        let words = format!("{figure} {mean} ± {deviation}");
        assert!(
            ran.out.contains("the head in 4 folds, dealt 10 times, mean and deviation: ") && ran.out.contains(&words),
            "{}",
            ran.out
        );
        let page = place.read("out/report.html");
        assert!(
            page.contains("in 4 folds of a cross-validation, dealt 10 times.") && page.contains(&deviation),
            "{list}"
        );
        assert!(!ran.err.contains("note: --cv"), "{}", ran.err);
        // There is no image for a fold of its own.
        let ran = place.adapt(&format!("--data {list} --onnx tiny.onnx --out out --cv 50 --force")).succeeds();
        assert!(ran.err.contains("note: --cv: in 36 folds, since there are no more training images"), "{}", ran.err);
        let head = &place.json("out/run.json")["head"];
        assert!(head["by_fold"][figure].is_array() && head["by_fold"]["r2"].is_null(), "R² of an image is no figure");
        assert_eq!(head["cross_validation"]["r2"].is_number(), figure == "mae");
    }
}

#[test]
fn without_held_out_images_the_folds_tell() {
    let place = classes();
    let ran = place.main("--val 0 --cv 4 --head lda").succeeds();
    assert!(ran.out.contains("the head in 4 folds") && ran.out.contains("accuracy"), "{}", ran.out);
    let page = place.read("out/report.html");
    assert!(page.contains("in 4 folds of a cross-validation") && !page.contains("nothing was measured"));
    let told: serde_json::Value = place.json("out/run.json")["head"]["cross_validation"].clone();
    assert!(ran.out.contains(&precise(told["accuracy"][0].as_f64().unwrap())), "{}", ran.out);
    let ran = place.main("--cv 30 --head lda --force").succeeds();
    assert!(ran.err.contains("note: --cv: in 12 folds"), "{}", ran.err);
    // --cv alone holds nothing out besides.
    place.main("--cv 4 --head lda --force").succeeds();
    assert!(place.json("out/metrics.json").as_object().unwrap().is_empty());
    assert_eq!(place.json("out/run.json")["head"]["cross_validation"], told);
    // Beside what is held out.
    let ran = place.main("--cv 4 --val 0.3 --head lda --force").succeeds();
    assert!(ran.out.contains("val ") && ran.out.contains("the head in 4 folds"), "{}", ran.out);
    assert!(place.read("out/report.html").contains("By cross-validation in 4 folds"));
    // Numbers, each of which is left out by itself.
    let row = |i: usize| format!("data/{}/{}.png,{}.5\n", ["a", "b", "c"][i % 3], i / 3, i % 3);
    place.write("numbers.csv", "path,label\n".to_string() + &(0..36).map(row).collect::<String>());
    let ran = place.adapt("--data numbers.csv --onnx tiny.onnx --out out --val 0 --force").succeeds();
    let r2 = place.json("out/run.json")["head"]["cross_validation"]["r2"].as_f64().unwrap();
    assert!(
        ran.out.contains("on each image left out: ") && ran.out.contains(&format!("r2 {}", precise(r2))),
        "{}",
        ran.out
    );
    assert!(place.read("out/report.html").contains("each left out by itself"));
}

#[test]
fn the_reason_why_nothing_was_compared_is_the_same_everywhere() {
    let place = Place::usual();
    for part in ["train", "test"] {
        (0..3).for_each(|class| place.images(&format!("two/{part}/{class}"), class, 2));
    }
    let asked = "--onnx tiny.onnx --preprocess raw01 --head lda --cv 5 --abstain 0.9 --val 0 --out out";
    let ran = place.adapt(&format!("--data two {asked}")).succeeds();
    let why = "too few images are left beside each fold for discriminant analysis";
    assert!(ran.err.contains(&format!("head     discriminant analysis: {why}, so nothing")), "{}", ran.err);
    assert!(ran.err.contains(&format!("--abstain: nothing tells how often answers are right: {why};")), "{}", ran.err);
    assert!(!ran.err.contains("one training image") && !ran.err.contains("in 0 folds"), "{}", ran.err);
    assert_eq!(place.json("out/run.json")["head"]["uncompared"], why);
    let page = place.read("out/report.html");
    assert!(page.contains(&format!("There is no learning curve: {why}.")));
    let temperature = place.json("out/run.json")["head"]["temperature"].as_f64().unwrap();
    assert!(temperature != 1. && ran.err.contains(&format!("the temperature {} is a usual one", precise(temperature))));
    assert!(page.contains(&format!("The temperature of the head, {temperature:.2}, is a usual one")), "{page}");
}
