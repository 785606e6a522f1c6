//! The bootstrap's intervals against those of numpy with other random numbers (tests/golden/make_metrics.py).

use super::{names, numbers};
use adapt::metrics::Classification;
use adapt::metrics::bootstrap::Outcomes;
use ndarray::Array2;
use serde_json::Value;
use std::time::Instant;

/// Probabilities and labels.
fn case() -> (Value, Vec<usize>, [Array2<f32>; 2]) {
    let case: Value = serde_json::from_str(include_str!("../golden/bootstrap.json")).unwrap();
    let labels: Vec<usize> = numbers(&case["labels"]).into_iter().map(|v| v as usize).collect();
    let model = |key: &str| {
        let values = numbers(&case[key]).into_iter().map(|v| v as f32).collect();
        Array2::from_shape_vec((labels.len(), 4), values).unwrap()
    };
    let models = [model("a"), model("b")];
    (case, labels, models)
}

/// Both bounds are as near as 1,000 resamples let them be: 0.1 of the interval's width is about 2.5 deviations.
fn near(name: &str, own: [f64; 2], want: &Value) {
    let want = numbers(want);
    let width = want[1] - want[0];
    let far = (own[0] - want[0]).abs().max((own[1] - want[1]).abs());
    assert!(far < 0.1 * width, "{name}: {own:?}, not {want:?}");
}

#[test]
fn intervals_are_those_of_numpy() {
    let (case, labels, [a, _]) = case();
    let got = Classification::from_probabilities(&labels, a.view(), &names(4)).unwrap();
    let want = case["intervals"].as_object().unwrap();
    assert_eq!(want.len(), 7);
    want.iter().for_each(|(key, want)| near(key, got.intervals[key], want));
    let again = Classification::from_probabilities(&labels, a.view(), &names(4)).unwrap();
    assert_eq!(got.intervals, again.intervals);
}

#[test]
fn differences_are_paired() {
    let (case, labels, models) = case();
    let [a, b] = models.each_ref().map(|p| Outcomes::new(&labels, p.view()));
    let difference = a.less(&b).unwrap();
    for (key, want) in case["differences"].as_object().unwrap() {
        near(key, difference[key].interval.unwrap(), want);
    }
    let back = b.less(&a).unwrap();
    assert!((back["accuracy"].difference + difference["accuracy"].difference).abs() < 1e-12);
    assert_eq!(a.less(&a).unwrap()["macro_f1"].interval, Some([0.; 2]));
    let other = Outcomes::new(&labels[1..], models[0].slice(ndarray::s![1.., ..]));
    assert!(a.less(&other).is_none() && other.less(&a).is_none());
    assert!(Outcomes::new(&[], Array2::zeros((0, 4)).view()).less(&a).is_none());
}

#[test]
fn differences_on_few_images_have_no_interval() {
    let (_, labels, models) = case();
    for (images, has_some) in [(1, false), (3, false), (19, false), (20, true)] {
        let own = |p: &Array2<f32>| Outcomes::new(&labels[..images], p.slice(ndarray::s![..images, ..]));
        let [a, b] = models.each_ref().map(own);
        let found = a.less(&b).unwrap();
        assert!(found["log_loss"].difference != 0., "{images}");
        assert!(found.values().all(|of| of.interval.is_some() == has_some), "{images}: {found:?}");
    }
}

#[test]
fn resamples_that_agree_tell_no_interval() {
    // Every resample is right in all that it has, though most lack a class with a single image: no figure of theirs is below 1, which
    // is not known of other images.
    let labels: Vec<usize> = (0..20).map(|i| i.min(5)).collect();
    let mut right = Array2::<f32>::zeros((20, 6));
    labels.iter().enumerate().for_each(|(i, &label)| right[[i, label]] = 1.);
    let got = Classification::from_probabilities(&labels, right.view(), &names(6)).unwrap();
    for key in ["macro_f1", "macro_precision", "balanced_accuracy", "log_loss"] {
        assert!(!got.intervals.contains_key(key), "{key}");
    }
    let near = |own: [f64; 2], want: [f64; 2]| own.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9);
    // scipy.stats.binomtest(20, 20).proportion_ci(0.95, "wilson"), then of 0 of 1.
    for key in ["accuracy", "top2_accuracy", "top3_accuracy", "top5_accuracy"] {
        assert!(near(got.intervals[key], [0.8388748419471808, 1.]), "{key}: {:?}", got.intervals[key]);
    }
    let one = Classification::from_probabilities(&[1], right.slice(ndarray::s![..1, ..]), &names(6)).unwrap();
    assert!(near(one.intervals["accuracy"], [0., 0.7934506856227626]), "{:?}", one.intervals["accuracy"]);
}

#[test]
fn many_images_of_many_classes_take_a_second_or_so() {
    let labels: Vec<usize> = (0..10_000).map(|i| i * 7919 % 100).collect();
    let p = Array2::from_shape_fn((10_000, 100), |(i, j)| ((i * 31 + j * 17) % 101) as f32 / 101.);
    let start = Instant::now();
    Classification::from_probabilities(&labels, p.view(), &names(100)).unwrap();
    // On two idle cores it takes 0.3 s.
    assert!(start.elapsed().as_secs_f64() < 5., "{:?}", start.elapsed());
    // Of so many scores areas have no intervals; of a tenth they have, in as little time.
    let areas = |k: usize| {
        let labels: Vec<usize> = labels.iter().map(|label| label % k).collect();
        let p = p.slice(ndarray::s![.., ..k]);
        let got = Classification::from_probabilities(&labels, p, &names(k)).unwrap();
        assert!(got.roc_auc.is_some() && got.average_precision.is_some());
        ["roc_auc", "average_precision"].map(|key| got.intervals.contains_key(key))
    };
    let start = Instant::now();
    assert_eq!((areas(10), areas(60)), ([true; 2], [false; 2]));
    assert!(start.elapsed().as_secs_f64() < 20., "{:?}", start.elapsed());
}

#[test]
fn areas_that_are_not_defined_have_no_interval() {
    // All images are of one class: there is no ROC curve, and nothing is ranked before it.
    let p = ndarray::array![[0.9f32, 0.1], [0.6, 0.4], [0.2, 0.8]];
    let got = Classification::from_probabilities(&[0, 0, 0], p.view(), &names(2)).unwrap();
    assert!(got.roc_auc.is_none() && !got.intervals.contains_key("roc_auc"));
    assert_eq!((got.average_precision, got.intervals.get("average_precision")), (Some(1.), None));
    // A resample may lack a class; those that have both count.
    let got = Classification::from_probabilities(&[0, 1, 1], p.view(), &names(2)).unwrap();
    assert_eq!((got.roc_auc, got.intervals.get("roc_auc")), (Some(1.), None));
}
