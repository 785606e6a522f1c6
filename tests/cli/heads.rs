//! Which head is trained, and what is said of the choice.

use crate::cli::support::{Place, Ran};

fn into(place: &Place, out: &str, more: &str) -> Ran {
    place.adapt(&format!("--data data --onnx tiny.onnx --out {out} {more}")).succeeds()
}

#[test]
fn each_kind_of_head_is_trained_and_proven() {
    let place = Place::usual();
    for (head, kind, name) in [
        ("softmax", "softmax", "softmax regression"),
        ("lda", "lda", "discriminant analysis"),
        ("ncm", "ncm", "nearest class mean"),
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
    let chosen = &run["head"]["compared"][run["head"]["chosen"].as_u64().unwrap() as usize];
    assert!(chosen["behind"][0].as_f64().unwrap() <= chosen["behind"][1].as_f64().unwrap());
    let said = into(&place, "second", "--metric log-loss --balanced --budget 10m --json");
    let run: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let compared = run["head"]["compared"].as_array().unwrap();
    assert!(compared.iter().all(|c| c["kind"] == "ncm" || c["adjusted"] == true), "{compared:?}");
}

#[test]
fn one_image_a_class_is_enough() {
    let place = Place::with_classes(&["a", "b", "c"]);
    for class in ["a", "b", "c"] {
        (1..6).for_each(|number| std::fs::remove_file(place.path(format!("data/{class}/{number}.png"))).unwrap());
    }
    place.main("--val 0").succeeds();
    let run = place.json("out/run.json");
    assert_eq!((&run["plan"]["head"], &run["head"]["folds"]), (&"nearest class mean".into(), &0.into()));
    assert_eq!(run["head"]["compared"].as_array().unwrap().len(), 0);
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
fn answers_that_are_not_to_be_taken_are_marked() {
    let place = Place::usual();
    place.refuses("--abstain 1.5", 2, &["0 to 1"]);
    into(&place, "out", "--abstain 0.9 --head softmax");
    let run = place.json("out/run.json");
    let (threshold, coverage) = (
        run["head"]["abstention"]["threshold"].as_f64().unwrap(),
        run["head"]["abstention"]["coverage"].as_f64().unwrap(),
    );
    assert!((0.3..1.).contains(&threshold) && (0.5..=1.).contains(&coverage), "{threshold} {coverage}");
    let said = place.adapt("predict out/model.onnx data --json").succeeds();
    for line in said.out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let confidence = row["confidence"].as_f64().unwrap();
        assert_eq!(row["sure"].as_bool(), Some(confidence as f32 >= threshold as f32), "{row}");
    }
    assert!(
        place.adapt("predict out/model.onnx data --csv").succeeds().out.starts_with("path,label,confidence,sure\n")
    );
    into(&place, "plain", "--head softmax");
    assert!(place.adapt("predict plain/model.onnx data --csv").succeeds().out.starts_with("path,label,confidence\n"));
}

#[test]
fn what_decides_nothing_is_told() {
    let place = super::support::Place::usual();
    let ran = place.main("--head lda --metric accuracy --budget 1m").succeeds();
    for option in ["--metric", "--budget"] {
        assert!(ran.err.contains(&format!("note: {option}: there was one head")), "{}", ran.err);
    }
    let ran = place.main("--force --metric accuracy --budget 1m").succeeds();
    assert!(!ran.err.contains("note: --"), "{}", ran.err);
}
