//! The metrics against scikit-learn's (tests/golden/make_sklearn.py) and on what cannot be judged.

#[path = "metrics/bootstrap.rs"]
mod bootstrap;
#[path = "metrics/chance.rs"]
mod chance;
#[path = "metrics/others.rs"]
mod others;
#[path = "metrics/transfer.rs"]
mod transfer;

use adapt::metrics::{Classification, separation, softmax};
use adapt::report::json;
use ndarray::{Array2, array};
use serde_json::Value;

const FIGURES: [&str; 22] = [
    "accuracy",
    "balanced_accuracy",
    "top2_accuracy",
    "top3_accuracy",
    "top5_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "micro_precision",
    "micro_recall",
    "micro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "log_loss",
    "brier",
    "roc_auc",
    "average_precision",
    "cohen_kappa",
    "mcc",
    "ece",
    "n",
];

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|k| format!("class {k}")).collect()
}

#[test]
fn as_scikit_learn() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let labels: Vec<usize> = numbers(&case["labels"]).into_iter().map(|v| v as usize).collect();
        let k = case["classes"].as_u64().unwrap() as usize;
        let p = numbers(&case["probabilities"]).into_iter().map(|v| v as f32).collect();
        let p = Array2::from_shape_vec((labels.len(), k), p).unwrap();
        let got = Classification::from_probabilities(&labels, p.view(), &names(k)).unwrap();
        let json = serde_json::to_value(&got).unwrap();
        let near = |name: &str, a: f64, b: f64| {
            assert!((a - b).abs() < 1e-12, "{}: {name} is {a}, not {b}", case["name"]);
        };
        // A figure that is not defined is null in both.
        let same = |name: &str, a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => near(name, a, b),
            _ => assert!(a.is_null() && b.is_null(), "{}: {name} is {a}, not {b}", case["name"]),
        };
        FIGURES.iter().for_each(|key| same(key, &json[key], &case[key]));
        for key in ["precision", "recall", "f1", "support"] {
            for (class, want) in json["per_class"].as_array().unwrap().iter().zip(numbers(&case[key])) {
                near(key, class[key].as_f64().unwrap(), want);
            }
        }
        for key in ["roc_auc", "average_precision"] {
            let want = case[&format!("per_{key}")].as_array().unwrap();
            assert_eq!(want.len(), k);
            want.iter().enumerate().for_each(|(i, want)| same(key, &json["per_class"][i][key], want));
        }
        for (bin, want) in got.reliability.iter().zip(case["reliability"].as_array().unwrap()) {
            let own = [bin.n as f64, bin.confidence, bin.accuracy];
            own.iter().zip(numbers(want)).for_each(|(&a, b)| near("reliability", a, b));
        }
        for (key, want) in case["baseline"].as_object().unwrap() {
            same(key, &json["baseline"][key], want);
        }
        for (key, [low, high]) in &got.intervals {
            let own = json[key].as_f64().unwrap();
            assert!(low <= &own && &own <= high, "{}: {key} {own} is not in {low} to {high}", case["name"]);
        }
        assert_eq!(json["confusion"], case["confusion"], "{}", case["name"]);
        assert_eq!(serde_json::from_value::<Classification>(json).unwrap().confusion, got.confusion);
    }
}

#[test]
fn of_very_many_classes_there_is_no_matrix() {
    for (classes, has) in [(1000, true), (2000, false)] {
        // Classes 0 to 7 have an image each, of which the last is taken for class 0.
        let labels: Vec<usize> = (0..8).collect();
        let p =
            Array2::from_shape_fn((8, classes), |(i, k)| if k == i % 7 { 0.75 } else { 0.25 / (classes - 1) as f32 });
        let got = Classification::from_probabilities(&labels, p.view(), &names(classes)).unwrap();
        let first = &got.per_class[0];
        assert_eq!((first.support, first.precision, first.recall, got.accuracy), (1, 0.5, 1., 7. / 8.));
        // Of the classes that occur, six are found, one is found among two answers, and one is not.
        assert!((got.macro_f1 - (6. + 2. / 3.) / 8.).abs() < 1e-12, "{}", got.macro_f1);
        let text = json(&got).unwrap();
        assert_eq!((got.confusion.is_some(), text.contains("\"confusion\"")), (has, has));
        assert!(has || text.len() < 1 << 20, "{} bytes", text.len());
        assert_eq!(serde_json::from_str::<Classification>(&text).unwrap(), got);
    }
}

#[test]
fn softmax_is_stable() {
    let p = softmax(array![[1e30f32, 0.0], [-1e30, -1e30], [0.0, 3f32.ln()]].view());
    let want = array![[1.0f32, 0.0], [0.5, 0.5], [0.25, 0.75]];
    assert!(p.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6), "{p}");
    assert_eq!(softmax(Array2::zeros((0, 3)).view()).dim(), (0, 3));
    assert_eq!(softmax(Array2::zeros((3, 0)).view()).dim(), (3, 0));
}

#[test]
fn refuses_what_cannot_be_judged() {
    let p = array![[0.5f32, 0.5]];
    let judge = |labels: &[usize], p: &Array2<f32>, k| Classification::from_probabilities(labels, p.view(), &names(k));
    assert!(judge(&[1], &p, 2).is_ok());
    assert!(judge(&[2], &p, 2).unwrap_err().to_string().contains("class 2"));
    assert!(judge(&[0, 1], &p, 2).is_err());
    assert!(judge(&[0], &p, 3).is_err());
    assert!(judge(&[], &Array2::zeros((0, 2)), 2).is_err());
    assert!(judge(&[0], &array![[f32::NAN, 0.5]], 2).unwrap_err().to_string().contains("column 0"));
    assert!(judge(&[0], &array![[1.5, 0.5]], 2).is_err());
}

#[test]
fn separation_is_that_of_scikit_learn() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/separation.json")).unwrap();
    let rows: Vec<Vec<f32>> = serde_json::from_value(golden["rows"].clone()).unwrap();
    let rows = Array2::from_shape_vec((60, 9), rows.concat()).unwrap();
    let list = |key: &str| -> Vec<usize> { serde_json::from_value(golden[key].clone()).unwrap() };
    let agree = |key: &str| -> Vec<bool> { serde_json::from_value(golden[key].clone()).unwrap() };
    assert_eq!(separation::nearest_agree(rows.view(), &list("labels")), agree("near"));
    assert_eq!(separation::probe_agrees(rows.view(), &list("labels"), 4), agree("probe"));
    assert!(agree("near") != agree("probe") && agree("near").contains(&false));
    let mut chosen = Array2::<f32>::zeros((60, 4));
    list("choices").into_iter().enumerate().for_each(|(i, choice)| chosen[[i, choice]] = 1.);
    let told = separation::information(chosen.view());
    let mean = told.iter().sum::<f64>() / 60.;
    assert!((mean - golden["information"].as_f64().unwrap()).abs() < 1e-6, "{mean}");
}

#[test]
fn noise_is_separated_by_chance() {
    // More features than images, and fewer; classes of one size, and of two.
    for (seed, features, commonest) in [(1, 500, 50), (2, 500, 80), (3, 12, 50), (4, 12, 80)] {
        let mut random = adapt::random::stream(seed, "test", 0, 0);
        let rows = Array2::from_shape_simple_fn((100, features), || adapt::random::uniform(&mut random) as f32);
        let labels: Vec<usize> = (0..100).map(|i| usize::from(i * 37 % 100 >= commonest)).collect();
        let right = separation::probe_agrees(rows.view(), &labels, 2).into_iter().filter(|&agrees| agrees).count();
        // 100 of 100, where the probe knows what it must not.
        assert!(right.abs_diff(commonest) <= 20, "{right} of 100 right, {commonest} of the commonest class");
    }
}

#[test]
fn nothing_is_separated_by_equal_rows() {
    let labels = [0, 1, 0, 1];
    let rows = Array2::<f32>::ones((4, 3));
    assert_eq!(separation::probe_agrees(rows.view(), &labels, 2).len(), 4);
    assert_eq!(separation::nearest_agree(rows.view(), &labels).len(), 4);
    assert_eq!(separation::nearest_agree(Array2::zeros((1, 3)).view(), &[0]), [false]);
    assert_eq!(separation::information(Array2::from_elem((4, 2), 0.5).view()), [0.; 4]);
}
