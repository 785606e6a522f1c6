//! Regression and several labels at once against scikit-learn (tests/golden/make_metrics.py).

use super::{names, numbers};
use adapt::metrics::projection::principal;
use adapt::metrics::{MultiLabel, Outlier, Regression, average_precision, roc_auc};
use ndarray::{Array2, array};
use serde_json::Value;

fn floats(v: &Value, columns: usize) -> Array2<f32> {
    let values: Vec<f32> = numbers(v).into_iter().map(|v| v as f32).collect();
    Array2::from_shape_vec((values.len() / columns, columns), values).unwrap()
}

fn same(name: &str, own: &Value, want: &Value) {
    match (own.as_f64(), want.as_f64()) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-12 * b.abs().max(1.), "{name} is {a}, not {b}"),
        _ => assert!(own.is_null() && want.is_null(), "{name} is {own}, not {want}"),
    }
}

#[test]
fn regression_as_scikit_learn() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/regression.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let k = case["targets"].as_u64().unwrap() as usize;
        let (truth, predicted) = (floats(&case["truth"], k), floats(&case["predicted"], k));
        let got = Regression::new(truth.view(), predicted.view(), &names(k)).unwrap();
        let json = serde_json::to_value(&got).unwrap();
        let mut bare = got.clone();
        bare.intervals.clear();
        bare.per_target.iter_mut().for_each(|target| target.intervals.clear());
        assert_eq!(Regression::without_intervals(truth.view(), predicted.view(), &names(k)).unwrap(), bare);
        for key in ["r2", "mae", "rmse"] {
            same(key, &json[key], &case[key]);
            let want = case[&format!("per_{key}")].as_array().unwrap();
            want.iter().enumerate().for_each(|(i, want)| same(key, &json["per_target"][i][key], want));
        }
    }
}

#[test]
fn several_labels_as_scikit_learn() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/multilabel.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let k = case["labels"].as_u64().unwrap() as usize;
        let truth = floats(&case["truth"], k).mapv(|v| v == 1.);
        let thresholds: Vec<f32> = numbers(&case["thresholds"]).into_iter().map(|v| v as f32).collect();
        let probabilities = floats(&case["probabilities"], k);
        let got = MultiLabel::new(truth.view(), probabilities.view(), &names(k), &thresholds).unwrap();
        let json = serde_json::to_value(&got).unwrap();
        let bare = MultiLabel::without_intervals(truth.view(), probabilities.view(), &names(k), &thresholds).unwrap();
        assert_eq!(bare, MultiLabel { intervals: Default::default(), ..got.clone() });
        for key in ["subset_accuracy", "hamming_loss", "average_precision", "roc_auc"] {
            same(key, &json[key], &case[key]);
        }
        for key in ["precision", "recall", "f1"] {
            for key in [format!("micro_{key}"), format!("macro_{key}")] {
                same(&key, &json[&key], &case[&key]);
            }
        }
        for key in ["average_precision", "roc_auc"] {
            let ([low, high], own) = (got.intervals[key], json[key].as_f64().unwrap());
            assert!(low < own && own < high && high - low < 0.5, "{key}: {own}, {low} to {high}");
        }
        // A probability that is 0 or 1 and wrong costs what float32's rounding of its complement says.
        let (own, want) = (got.log_loss, case["log_loss"].as_f64().unwrap());
        assert!((own - want).abs() < 1e-6 * want, "log-loss is {own}, not {want}");
        for key in ["precision", "recall", "f1", "support", "average_precision", "roc_auc"] {
            let want = case.get(format!("per_{key}")).unwrap_or(&case[key]).as_array().unwrap();
            assert_eq!(want.len(), k);
            want.iter().enumerate().for_each(|(i, want)| same(key, &json["per_label"][i][key], want));
        }
    }
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let y = array![[1f32, 2.], [3., 4.]];
    assert!(Regression::new(y.view(), y.view(), &names(2)).is_ok());
    assert!(Regression::new(y.view(), y.view(), &names(1)).is_err());
    assert!(Regression::new(y.view(), y.t().slice(ndarray::s![..1, ..]), &names(2)).is_err());
    assert!(Regression::new(y.view(), array![[1., f32::NAN], [3., 4.]].view(), &names(2)).is_err());
    assert!(Regression::new(Array2::zeros((0, 2)).view(), Array2::zeros((0, 2)).view(), &names(2)).is_err());
    let (truth, p) = (array![[true, false]], array![[0.5f32, 0.5]]);
    assert!(MultiLabel::new(truth.view(), p.view(), &names(2), &[0.5; 2]).is_ok());
    assert!(MultiLabel::new(truth.view(), p.view(), &names(2), &[0.5; 1]).is_err());
    assert!(MultiLabel::new(truth.view(), (&p * 3.).view(), &names(2), &[0.5; 2]).is_err());
    assert!(
        MultiLabel::new(Array2::default((0, 2)).view(), Array2::zeros((0, 2)).view(), &names(2), &[0.5; 2]).is_err()
    );
}

#[test]
fn ranks_of_few() {
    assert_eq!(roc_auc(&[], &[]), None);
    assert_eq!(roc_auc(&[true, true], &[0.1, 0.2]), None);
    assert_eq!(roc_auc(&[true, false], &[0.2, 0.2]), Some(0.5));
    assert_eq!(roc_auc(&[true, false], &[0., -0.]), Some(0.5));
    assert_eq!(average_precision(&[false], &[0.1]), None);
    assert_eq!(average_precision(&[true], &[0.1]), Some(1.));
}

#[test]
fn the_plane_is_that_of_scikit_learn() {
    let case: Value = serde_json::from_str(include_str!("../golden/projection.json")).unwrap();
    let (rows, points) = (floats(&case["rows"], 6), floats(&case["points"], 2));
    let got = principal(rows.view());
    let far = (&got - &points).mapv(f32::abs).into_iter().fold(0f32, f32::max);
    assert!(far < 1e-3, "{far}");
    // Of whatever size the numbers are.
    for scale in [2f32.powi(100), 2f32.powi(-100)] {
        assert_eq!(principal((&rows * scale).view()), &got * scale);
    }
    assert_eq!(principal(Array2::zeros((0, 3)).view()).dim(), (0, 2));
    assert!(principal(Array2::ones((3, 1)).view()).iter().all(|v| *v == 0.));
    // On a line there is no second axis.
    assert!(principal(array![[0f32, 0.], [1., 1.], [2., 2.]].view()).column(1).iter().all(|v| v.abs() < 1e-5));
}

#[test]
fn outliers_are_as_far_as_scikit_learn_says() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/outlier.json")).unwrap();
    for case in &cases {
        let whole = |key: &str| -> Vec<usize> { serde_json::from_value(case[key].clone()).unwrap() };
        let rows = |key: &str| {
            let rows: Vec<Vec<f32>> = serde_json::from_value(case[key].clone()).unwrap();
            Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
        };
        let (labels, classes) = (whole("labels"), case["classes"].as_u64().unwrap() as usize);
        let outlier = Outlier::fit(rows("rows").view(), &labels, &whole("groups"), classes).unwrap();
        let close = |a: f32, b: &Value| assert!((f64::from(a) - b.as_f64().unwrap()).abs() < 3e-4, "{a} {b}");
        close(outlier.threshold, &case["threshold"]);
        outlier
            .scores(rows("others").view())
            .into_iter()
            .zip(case["scores"].as_array().unwrap())
            .for_each(|(a, b)| close(a, b));
    }
    // One image a class: nothing is left of any class when its image is left out.
    let two = array![[1f32, 0.], [0., 1.]];
    assert_eq!(Outlier::fit(two.view(), &[0, 1], &[], 2), None);
}
