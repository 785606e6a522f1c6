//! The bootstrap's intervals against those of numpy with other random numbers (tests/golden/make_metrics.py).

use super::{names, numbers};
use adapt::metrics::bootstrap::Outcomes;
use adapt::metrics::{Classification, MultiLabel, Regression};
use ndarray::Array2;
use serde_json::Value;
use std::collections::BTreeMap;
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
fn of_few_images_shares_alone_have_an_interval() {
    let (_, labels, [a, _]) = case();
    let of = |images: usize| {
        let rows = a.slice(ndarray::s![..images, ..]);
        Classification::from_probabilities(&labels[..images], rows, &names(4)).unwrap().intervals
    };
    let shares: Vec<String> = of(9).into_keys().collect();
    assert_eq!(shares, ["accuracy", "top2_accuracy", "top3_accuracy"]);
    assert!(of(10).contains_key("macro_f1") && of(10).contains_key("log_loss"));
}

/// Resamples lose classes of few images, which lowers what is averaged over classes.
#[test]
fn figures_of_many_small_classes_lie_in_their_intervals() {
    let (classes, images) = (100, 200);
    let labels: Vec<usize> = (0..images).map(|i| i / 2).collect();
    let model = |wrong: usize| {
        let said = |i: usize| if i.is_multiple_of(wrong) { (labels[i] + 1 + i % 7) % classes } else { labels[i] };
        Array2::from_shape_fn((images, classes), |(i, class)| if class == said(i) { 0.505 } else { 0.005 })
    };
    let models = [model(3), model(2)];
    for p in &models {
        let got = Classification::from_probabilities(&labels, p.view(), &names(classes)).unwrap();
        for (key, figure) in [("macro_f1", got.macro_f1), ("macro_recall", got.macro_recall)] {
            let Some([low, high]) = got.intervals.get(key) else { continue };
            assert!(*low < figure - 0.01 && figure + 0.01 < *high, "{key}: {figure} in {low} to {high}");
        }
        assert!(got.intervals.contains_key("macro_f1"));
    }
    let [a, b] = models.map(|p| Outcomes::new(&labels, p.view()));
    for (key, of) in a.less(&b, &[]).unwrap() {
        let [low, high] = of.interval.unwrap();
        assert!((low..=high).contains(&of.difference), "{key}: {of:?}");
    }
}

#[test]
fn differences_are_paired() {
    let (case, labels, models) = case();
    let [a, b] = models.each_ref().map(|p| Outcomes::new(&labels, p.view()));
    let difference = a.less(&b, &[]).unwrap();
    for (key, want) in case["differences"].as_object().unwrap() {
        near(key, difference[key].interval.unwrap(), want);
    }
    let back = b.less(&a, &[]).unwrap();
    assert!((back["accuracy"].difference + difference["accuracy"].difference).abs() < 1e-12);
    assert_eq!(a.less(&a, &[]).unwrap()["macro_f1"].interval, Some([0.; 2]));
    let other = Outcomes::new(&labels[1..], models[0].slice(ndarray::s![1.., ..]));
    assert!(a.less(&b, &[0, 1]).is_none(), "groups of other images");
    assert!(a.less(&other, &[]).is_none() && other.less(&a, &[]).is_none());
    assert!(Outcomes::new(&[], Array2::zeros((0, 4)).view()).less(&a, &[]).is_none());
}

#[test]
fn whole_groups_are_drawn() {
    let (case, labels, models) = case();
    let groups: Vec<usize> = numbers(&case["groups"]).into_iter().map(|v| v as usize).collect();
    let got = Classification::grouped(&labels, models[0].view(), &names(4), &groups).unwrap();
    assert_eq!(got.groups, Some(40));
    let want = case["intervals_of_groups"].as_object().unwrap();
    want.iter().for_each(|(key, want)| near(key, got.intervals[key], want));
    let alone = Classification::from_probabilities(&labels, models[0].view(), &names(4)).unwrap();
    let width = |[low, high]: [f64; 2]| high - low;
    assert!(width(got.intervals["log_loss"]) > 1.3 * width(alone.intervals["log_loss"]), "{:?}", got.intervals);
    let [a, b] = models.each_ref().map(|p| Outcomes::new(&labels, p.view()));
    let difference = a.less(&b, &groups).unwrap();
    for (key, want) in case["differences_of_groups"].as_object().unwrap() {
        near(key, difference[key].interval.unwrap(), want);
    }
    // Each image as a group of its own is drawn as if there were none.
    let own: Vec<usize> = (0..labels.len()).collect();
    let own = Classification::grouped(&labels, models[0].view(), &names(4), &own).unwrap();
    let shares = ["accuracy", "top2_accuracy", "top3_accuracy"];
    let same = |(key, own): (&String, &[f64; 2])| shares.contains(&key.as_str()) || *own == alone.intervals[key];
    assert!(own.intervals.iter().all(same) && own.intervals.len() == alone.intervals.len());
    assert!(Classification::grouped(&labels, models[0].view(), &names(4), &groups[1..]).is_err());
}

/// Images that are all alike tell no more than one of them.
#[test]
fn ten_groups_of_twenty_same_images_are_ten_images() {
    let (_, labels, [a, b]) = case();
    let places: Vec<usize> = (0..10).map(|i| i * 21).collect();
    let copies: Vec<usize> = (0..200).map(|i| places[i % 10]).collect();
    let groups: Vec<usize> = (0..200).map(|i| i % 10).collect();
    let of = |places: &[usize], groups: &[usize]| {
        let labels: Vec<usize> = places.iter().map(|&i| labels[i]).collect();
        let p = a.select(ndarray::Axis(0), places);
        Classification::grouped(&labels, p.view(), &names(4), groups).unwrap().intervals
    };
    let (ten, many, alone) = (of(&places, &[]), of(&copies, &groups), of(&copies, &[]));
    assert!(ten.keys().eq(many.keys()) && ten.len() > 8, "{ten:?} {many:?}");
    for (key, want) in &ten {
        let far = [0, 1].map(|end| (many[key][end] - want[end]).abs());
        let allowed = if key.ends_with("accuracy") && key != "balanced_accuracy" { 0.03 } else { 1e-9 };
        assert!(far[0].max(far[1]) < allowed, "{key}: {:?}, not {want:?}", many[key]);
    }
    assert!(alone["log_loss"][1] - alone["log_loss"][0] < 0.4 * (ten["log_loss"][1] - ten["log_loss"][0]));
    // All right: as sure as of ten images, and of twelve groups that are not alike in size as of fewer.
    let mut right = Array2::<f32>::zeros((200, 4));
    right.column_mut(0).fill(1.);
    let of = |p: &Array2<f32>, groups: &[usize]| {
        Classification::grouped(&[0; 200], p.view(), &names(4), groups).unwrap().intervals["accuracy"]
    };
    // scipy.stats.binomtest(10, 10).proportion_ci(0.95, "wilson")
    assert!((of(&right, &groups)[0] - 0.7224672001371107).abs() < 1e-9, "{:?}", of(&right, &groups));
    // One mistake tells nothing of the others in its group.
    right.row_mut(0).assign(&ndarray::arr1(&[0., 1., 0., 0.]));
    assert!((0.65..0.75).contains(&of(&right, &groups)[0]), "{:?}", of(&right, &groups));
    right.row_mut(0).assign(&ndarray::arr1(&[1., 0., 0., 0.]));
    let unequal: Vec<usize> = (0..200_usize).map(|i| i.saturating_sub(188)).collect();
    assert!(of(&right, &unequal)[0] < 0.25, "{:?}", of(&right, &unequal));
    // Of nine groups nothing is told, nor of nineteen how two models differ.
    let nine: Vec<usize> = (0..200).map(|i| i % 9).collect();
    let got = Classification::grouped(&[0; 200], right.view(), &names(4), &nine).unwrap();
    assert!(got.intervals.is_empty() && got.groups == Some(9));
    let [a, b] = [&a, &b].map(|p| Outcomes::new(&labels, p.view()));
    for (groups, has_some) in [(19, false), (20, true)] {
        let groups: Vec<usize> = (0..labels.len()).map(|i| i % groups).collect();
        assert!(a.less(&b, &groups).unwrap().values().all(|of| of.interval.is_some() == has_some));
    }
}

#[test]
fn labels_and_numbers_draw_groups_too() {
    let groups: Vec<usize> = (0..200).map(|i| i % 10).collect();
    let value = |i: usize, j: usize| ((i % 10 * 7 + j * 3) as f32 * 12.9898).sin();
    let of = |images: usize| (Array2::from_shape_fn((images, 2), |(i, j)| value(i, j)), &groups[..images]);
    let p = |x: &Array2<f32>| x.mapv(|v| v.abs());
    let same = |ten: &BTreeMap<String, [f64; 2]>, many: &BTreeMap<String, [f64; 2]>| {
        let near = |(key, want): (&String, &[f64; 2])| {
            let allowed = if key == "subset_accuracy" { 0.03 } else { 1e-6 };
            (0..2).all(|end| (many[key][end] - want[end]).abs() < allowed)
        };
        ten.len() > 2 && ten.keys().eq(many.keys()) && ten.iter().all(near)
    };
    let [(few, own), (many, groups)] = [of(10), of(200)];
    let values = |x: &Array2<f32>, groups: &[usize]| {
        Regression::grouped(x.view(), (&p(x) * 0.8).view(), &names(2), groups).unwrap()
    };
    let [ten, all] = [values(&few, own), values(&many, groups)];
    assert!(same(&ten.intervals, &all.intervals), "{:?} {:?}", ten.intervals, all.intervals);
    assert!(same(&ten.per_target[1].intervals, &all.per_target[1].intervals) && all.groups == Some(10));
    let labels = |x: &Array2<f32>, groups: &[usize]| {
        let own = x.mapv(|v| v > 0.2);
        MultiLabel::grouped(own.view(), p(x).view(), &names(2), &[0.5; 2], groups).unwrap()
    };
    let [ten, all] = [labels(&few, own), labels(&many, groups)];
    assert!(same(&ten.intervals, &all.intervals), "{:?} {:?}", ten.intervals, all.intervals);
    assert!(labels(&many, &groups.iter().map(|g| g % 9).collect::<Vec<_>>()).intervals.is_empty());
}

#[test]
fn differences_on_few_images_have_no_interval() {
    let (_, labels, models) = case();
    for (images, has_some) in [(1, false), (3, false), (19, false), (20, true)] {
        let own = |p: &Array2<f32>| Outcomes::new(&labels[..images], p.slice(ndarray::s![..images, ..]));
        let [a, b] = models.each_ref().map(own);
        let found = a.less(&b, &[]).unwrap();
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
