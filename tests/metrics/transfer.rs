//! How features are judged without a head, against the papers' formulas (tests/golden/make_transfer.py).

use adapt::metrics::correlation::spearman;
use adapt::metrics::transfer::{h_score, logme};
use ndarray::Array2;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/transfer.json")).unwrap()
}

fn rows(case: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(case["rows"].clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

#[test]
fn logme_and_h_score_are_those_of_their_papers() {
    let golden = golden();
    for case in golden["cases"].as_array().unwrap() {
        let labels: Vec<usize> = serde_json::from_value(case["labels"].clone()).unwrap();
        let classes = case["classes"].as_u64().unwrap() as usize;
        let (rows, wanted) = (rows(case), |key: &str| case[key].as_f64().unwrap());
        let (evidence, score) = (logme(rows.view(), &labels, classes), h_score(rows.view(), &labels, classes));
        assert!((evidence - wanted("logme")).abs() < 1e-6, "{evidence} for {}", wanted("logme"));
        assert!((score - wanted("h_score")).abs() < 1e-9, "{score} for {}", wanted("h_score"));
    }
}

#[test]
fn features_that_are_equal_or_tell_all_are_judged() {
    let labels = [0, 1, 0, 1, 0, 1];
    for rows in [Array2::<f32>::ones((6, 3)), Array2::zeros((6, 3))] {
        assert!(logme(rows.view(), &labels, 2).is_finite());
        assert_eq!(h_score(rows.view(), &labels, 2), 0.);
    }
    let told = Array2::from_shape_fn((6, 2), |(i, j)| f32::from(u8::from(labels[i] == j)));
    let untold = Array2::from_shape_fn((6, 2), |(i, j)| ((i * 7 + j * 3) % 5) as f32);
    assert!(logme(told.view(), &labels, 2) > logme(untold.view(), &labels, 2));
    assert!(h_score(told.view(), &labels, 2) > h_score(untold.view(), &labels, 2));
}

#[test]
fn ranks_correlate_as_scipy_says() {
    let golden = golden();
    let list = |key: &str| -> Vec<f32> { serde_json::from_value(golden[key].clone()).unwrap() };
    let (a, b) = (list("a"), list("b"));
    assert!((spearman(&a, &b) - golden["spearman"].as_f64().unwrap()).abs() < 1e-12);
    assert_eq!(spearman(&a, &vec![1.; a.len()]), 0.);
    assert_eq!(spearman(&a, &a[1..]), 0.);
}
