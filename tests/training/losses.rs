//! Losses and schedules.

use super::{close, golden, numbers};
use adapt::train::loss::{Loss, LossKind, one_hot};
use adapt::train::schedule::Schedule;
use ndarray::{Array2, array};
use serde_json::Value;

fn matrix(v: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f64>> = v.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j] as f32)
}

fn kind(name: &str) -> LossKind {
    match name {
        "cross_entropy" => LossKind::CrossEntropy,
        "mse" => LossKind::Mse,
        "bce" => LossKind::Bce,
        _ => panic!("{name}"),
    }
}

#[test]
fn losses_are_pytorchs() {
    let golden = golden("loss");
    let logits = matrix(&golden["logits"]);
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let mut loss = Loss::new(kind(case["kind"].as_str().unwrap()));
        loss.label_smoothing = case["smoothing"].as_f64().unwrap();
        loss.class_weights = case["weighted"].as_bool().unwrap().then(|| numbers(&golden["weights"]));
        let (value, gradient) = loss.evaluate(logits.view(), matrix(&case["targets"]).view()).unwrap();
        close(value, case["loss"].as_f64().unwrap(), 1e-7);
        gradient.iter().zip(&matrix(&case["gradient"])).for_each(|(&a, &b)| close(a.into(), b.into(), 1e-7));
    }
}

#[test]
fn gradients_are_those_of_the_value() {
    let logits = array![[0.5, -2.0, 3.25], [-40.0, 0.0, 35.0]];
    let targets = array![[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]];
    for kind in [LossKind::CrossEntropy, LossKind::Mse, LossKind::Bce] {
        let loss = Loss { kind, label_smoothing: 0.2, class_weights: Some(vec![0.5, 2.0, 1.5]) };
        let (_, gradient) = loss.evaluate(logits.view(), targets.view()).unwrap();
        for (place, &g) in gradient.indexed_iter() {
            // A power of two: the moved logits are exact.
            let step = 1.0 / 1024.0;
            let value = |by: f32| {
                let mut moved = logits.clone();
                moved[place] += by;
                loss.evaluate(moved.view(), targets.view()).unwrap().0
            };
            close(g.into(), (value(step) - value(-step)) / (2.0 * f64::from(step)), 1e-6);
        }
    }
}

#[test]
fn logits_may_be_huge_but_must_be_finite() {
    let targets = one_hot(&[0, 2], 3);
    assert_eq!(targets, array![[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]);
    for kind in [LossKind::CrossEntropy, LossKind::Mse, LossKind::Bce] {
        let huge = array![[3e38, -3e38, 0.0], [-3e38, 3e38, 1.0]];
        let (value, _) = Loss::new(kind).evaluate(huge.view(), targets.view()).unwrap();
        assert!(value.is_finite(), "{value}");
    }
    let loss = Loss::new(LossKind::CrossEntropy);
    let says = |logits: &Array2<f32>| loss.evaluate(logits.view(), targets.view()).unwrap_err().to_string();
    let nan = says(&array![[0.0, 1.0, 2.0], [0.0, f32::NAN, 1.0]]);
    assert!(nan.contains("image 1") && nan.contains("class 1") && nan.contains("NaN"), "{nan}");
    assert!(says(&array![[0.0, f32::INFINITY, 2.0], [0.0, 1.0, 1.0]]).contains("image 0"));
    assert!(says(&array![[0.0, 1.0], [0.0, 1.0]]).contains("shape"));
}

#[test]
fn schedules_are_pytorchs() {
    for case in golden("schedule").as_array().unwrap() {
        let name = case["schedule"].as_str().unwrap();
        let schedule = match name {
            "constant" => Schedule::Constant,
            "cosine" => Schedule::Cosine,
            _ => Schedule::OneCycle,
        };
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let (total, warmup) = (number("total"), number("warmup"));
        for (step, expected) in numbers(&case["factors"]).into_iter().enumerate() {
            let factor = schedule.factor(step, total, warmup);
            assert!((factor - expected).abs() < 1e-12, "{name}, step {step} of {total}: {factor}, not {expected}");
        }
    }
}

#[test]
fn schedules_of_few_steps_are_numbers() {
    for schedule in [Schedule::Constant, Schedule::Cosine, Schedule::OneCycle] {
        for (step, total, warmup) in [(0, 0, 0), (0, 1, 0), (0, 1, 1), (9, 4, 2), (3, 4, 9)] {
            let factor = schedule.factor(step, total, warmup);
            assert!((0.0..=1.0).contains(&factor), "{schedule:?} {step} {total} {warmup}: {factor}");
        }
    }
}
