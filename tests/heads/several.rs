//! Heads for several labels and for numbers: scikit-learn's (tests/golden/make_several.py), depths, thresholds.

use adapt::Error;
use adapt::data::Task;
use adapt::metrics::{MultiLabel, Regression, sigmoid};
use adapt::progress::{Event, silent};
use adapt::report::SeveralInfo;
use adapt::train::heads::{Curve, Point, Reached, Several, Wishes, choose_several};
use ndarray::{Array2, Axis, concatenate};
use serde_json::Value;
use std::ops::ControlFlow;
use std::time::Duration;

fn array(case: &Value, key: &str, columns: &str) -> Array2<f32> {
    let values: Vec<f32> = case[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    let columns = case[columns].as_u64().unwrap() as usize;
    Array2::from_shape_vec((values.len() / columns, columns), values).unwrap()
}

fn chosen(x: &Array2<f32>, columns: &[usize], truths: &Array2<f32>, task: Task) -> Several {
    choose_several(x.view(), columns, truths.view(), task, &Wishes::default(), &silent).unwrap()
}

/// Smooth made numbers, nearly independent.
fn made(images: usize, columns: usize, seed: f32) -> Array2<f32> {
    Array2::from_shape_fn((images, columns), |(i, j)| {
        let angle = (i as f32 + 1.) * (12.9898 + seed) + (j as f32 + 1.) * 78.233 * (seed + 0.5);
        (angle.sin() * 43758.547).fract()
    })
}

#[test]
fn heads_are_scikit_learns() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/several.json")).unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (x, labels) = (array(&case, "x", "features"), array(&case, "labels", "outputs"));
        let values = array(&case, "values", "outputs");
        let at = |found: &Several, key: &str| {
            let strength = found.compared[found.place].strength;
            let same = |row: &&Value| (row["l2"].as_f64().unwrap() / strength - 1.).abs() < 1e-9;
            let row = case["path"].as_array().unwrap().iter().find(same).unwrap();
            let values = row[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
            Array2::from_shape_vec(labels.dim(), values).unwrap()
        };
        let found = chosen(&x, &[x.ncols()], &labels, Task::Multilabel);
        let (given, want) = (found.head.logits(x.view()).unwrap().mapv(sigmoid), at(&found, "probabilities"));
        assert!(given.iter().zip(&want).all(|(a, b)| (a - b).abs() < 2e-4), "{given} {want}");
        assert!(found.thresholds.len() == labels.ncols() && found.folds == 5 && found.repeats == 10);

        let found = chosen(&x, &[x.ncols()], &values, Task::Regression);
        // To the targets' own scales, which differ by powers of ten.
        let scale = values.std_axis(Axis(0), 0.);
        for (given, key) in [(found.head.logits(x.view()).unwrap(), "values"), (found.out_of_fold.clone(), "left_out")]
        {
            let off = (&given - &at(&found, key)) / &scale;
            assert!(off.iter().all(|off| off.abs() < 1e-4), "{key}: {off}");
        }
        assert!(found.thresholds.is_empty() && found.folds == 0);
        let wishes = Wishes { groups: (0..x.nrows()).map(|i| i % 2).collect(), ..Wishes::default() };
        let found = choose_several(x.view(), &[x.ncols()], values.view(), Task::Regression, &wishes, &silent).unwrap();
        let off = (&found.out_of_fold - &at(&found, "halves")) / &scale;
        assert!(found.folds == 2 && off.iter().all(|off| off.abs() < 1e-4), "{off}");
        // Folds of images: each as a group of its own.
        let own = Wishes { groups: (0..x.nrows()).collect(), folds: Some(3), ..Wishes::default() };
        let folds = Wishes { folds: Some(3), ..Wishes::default() };
        let [own, folds] = [own, folds].map(|wishes| {
            choose_several(x.view(), &[x.ncols()], values.view(), Task::Regression, &wishes, &silent).unwrap()
        });
        let sizes = |found: &Several| (0..3).map(|f| found.fold.iter().filter(|&&own| own == f).count()).max();
        assert!(folds.folds == 3 && sizes(&folds) == Some(x.nrows().div_ceil(3)), "{:?}", folds.fold);
        assert!((own.compared[0].loss / folds.compared[0].loss - 1.).abs() < 0.3, "{:?}", folds.compared);
    }
}

#[test]
fn depths_are_taken_where_they_tell_more() {
    let (cut, told, nothing) = (made(120, 6, 0.1), made(120, 4, 0.7), made(120, 4, 1.3));
    let x = concatenate(Axis(1), &[cut.view(), told.view(), nothing.view()]).unwrap();
    let values = Array2::from_shape_fn((120, 1), |(i, _)| told.row(i).sum() + 0.1 * cut[[i, 0]]);
    let labels = values.mapv(|value| f32::from(u8::from(value > 0.)));
    for (task, truths) in [(Task::Regression, &values), (Task::Multilabel, &labels)] {
        let found = chosen(&x, &[6, 10, 14], truths, task);
        assert_eq!((found.taps(), found.head.weight.dim()), (1, (1, 10)), "{task:?} {:?}", found.compared);
        assert!(found.name().ends_with("on two depths"), "{}", found.name());
        // The same again, to the bit.
        assert_eq!(chosen(&x, &[6, 10, 14], truths, task), found);
    }
}

#[test]
fn no_second_depth_is_begun_when_time_is_up() {
    let x = made(60, 10, 0.3);
    let labels = Array2::from_shape_fn((60, 1), |(i, _)| f32::from(u8::from(x[[i, 8]] > 0.)));
    let budget = Some(std::time::Duration::ZERO);
    for task in [Task::Regression, Task::Multilabel] {
        let with = |budget| {
            let wishes = Wishes { budget, ..Wishes::default() };
            choose_several(x.view(), &[6, 10], labels.view(), task, &wishes, &silent).unwrap().compared.len()
        };
        assert_eq!((with(None), with(budget)), (2, 1), "{task:?}");
    }
    // Nor a second strength or deal of the first depth.
    let wishes = Wishes { budget, ..Wishes::default() };
    let late = choose_several(x.view(), &[6], labels.view(), Task::Multilabel, &wishes, &silent).unwrap();
    let found = chosen(&x, &[6], &labels, Task::Multilabel);
    assert!((late.compared[0].strength / (6. / (60. * 1e-2)) - 1.).abs() < 1e-9, "{:?}", late.compared);
    assert!(found.compared[0].strength < late.compared[0].strength && late.compared[0].loss < 0.75);
    assert_eq!((late.repeats, found.repeats), (1, 10));
}

/// Numbers that features tell with some noise, and whether they are above 0.
fn told(images: usize) -> (Array2<f32>, [(Task, Array2<f32>); 2]) {
    let (x, noise) = (made(images, 12, 0.3), made(images, 2, 0.9));
    let value = |(i, k): (usize, usize)| x.row(i).iter().skip(k).step_by(2).sum::<f32>() + noise[[i, k]];
    let values = Array2::from_shape_fn((images, 2), value);
    let labels = values.mapv(|value| f32::from(u8::from(value > 0.)));
    (x, [(Task::Regression, values), (Task::Multilabel, labels)])
}

#[test]
fn figures_of_labels_and_numbers_grow_with_the_images() {
    let (x, tasks) = told(240);
    let names = ["a", "b"].map(String::from);
    for (task, truths) in &tasks {
        let curve = |wishes: Wishes| {
            choose_several(x.view(), &[12], truths.view(), *task, &Wishes { curve: true, ..wishes }, &silent).unwrap()
        };
        let found = curve(Wishes::default());
        let grown: Curve = found.curve.clone().unwrap().unwrap();
        let values: Vec<f64> = grown.points.iter().map(|point| point.reached.value()).collect();
        let images: Vec<usize> = grown.points.iter().map(|point| point.images).collect();
        let last = if *task == Task::Regression { 239 } else { 192 };
        assert_eq!((&images[..], grown.expected[0].images), (&[24, 48, 96, last][..], 480), "{task:?}");
        assert!(values[0] + 0.02 < values[3] && values.windows(2).all(|pair| pair[0] < pair[1] + 0.03), "{grown:?}");
        let more = grown.expected.iter().map(|point| point.reached.value()).collect::<Vec<_>>();
        assert!(more[0] > values[3] - 0.02 && more[1] >= more[0] - 1e-9 && more[1] < 1., "{grown:?}");
        assert!(grown.points.iter().chain(&grown.expected).all(|p| (0.002..0.2).contains(&p.std_err)), "{grown:?}");
        // The last is the figure of the cross-validation.
        let own = truths.mapv(|value| value > 0.5);
        let figure = match task {
            Task::Regression => Regression::new(truths.view(), found.out_of_fold.view(), &names).unwrap().r2,
            _ => {
                let told = MultiLabel::new(own.view(), found.out_of_fold.view(), &names, &[0.5; 2]).unwrap();
                told.average_precision.unwrap()
            }
        };
        assert!((values[3] - figure).abs() < 1e-9, "{figure} {grown:?}");
        // The same again, and with its own name in the files.
        assert_eq!(curve(Wishes::default()), found);
        let key = if *task == Task::Regression { "r2" } else { "average_precision" };
        let told = serde_json::to_value(grown.points[3]).unwrap();
        assert!(told[key] == values[3] && told["images"] == last && told["std_err"].is_f64(), "{told}");
        assert_eq!(serde_json::from_value::<Point>(told).unwrap(), grown.points[3]);

        assert!(chosen(&x, &[12], truths, *task).curve.is_none(), "none is wanted");
        let late = curve(Wishes { budget: Some(Duration::ZERO), ..Wishes::default() });
        assert!(late.curve.unwrap().unwrap_err().contains("time"));
        let few = x.slice(ndarray::s![..12, ..]);
        let few = choose_several(
            few,
            &[12],
            truths.slice(ndarray::s![..12, ..]),
            *task,
            &Wishes { curve: true, ..Wishes::default() },
            &silent,
        );
        let why = few.unwrap().curve.unwrap().unwrap_err();
        assert!(why.contains("too few images") || *task == Task::Regression && why.contains("no better"), "{why}");
        let stop = |event: Event| match event {
            Event::Stage { name: "learning curve", .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let wishes = Wishes { curve: true, ..Wishes::default() };
        let stopped = choose_several(x.view(), &[12], truths.view(), *task, &wishes, &stop);
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}

/// What other images of a group tell is no growth, and what is worse than the mean has nowhere to grow from.
#[test]
fn numbers_that_nothing_tells_have_no_learning_curve() {
    let (x, groups): (_, Vec<usize>) = (made(120, 4, 0.3), (0..120).map(|i| i / 10).collect());
    let values = Array2::from_shape_fn((120, 1), |(i, _)| (groups[i] as f32 * 7.3).sin());
    let own = Array2::from_shape_fn(
        (120, 16),
        |(i, j)| if j < 4 { x[[i, j]] } else { f32::from(u8::from(groups[i] == j - 4)) },
    );
    let of = |x: &Array2<f32>, groups: Vec<usize>| {
        let wishes = Wishes { groups, curve: true, ..Wishes::default() };
        choose_several(x.view(), &[x.ncols()], values.view(), Task::Regression, &wishes, &silent)
            .unwrap()
            .curve
            .unwrap()
    };
    assert!(matches!(of(&own, Vec::new()).unwrap().points[2].reached, Reached::R2(r2) if r2 > 0.8));
    assert!(of(&own, groups).unwrap_err().contains("no better than always the mean"));
}

#[test]
fn folds_of_all_deals_are_told_of_labels_and_numbers() {
    let (x, tasks) = told(90);
    let names = ["a", "b"].map(String::from);
    for (task, truths) in tasks {
        let wishes = Wishes { folds: Some(4), ..Wishes::default() };
        let found = choose_several(x.view(), &[12], truths.view(), task, &wishes, &silent).unwrap();
        assert_eq!((found.repeats, found.further.len()), (7, 6), "{task:?}");
        let info = SeveralInfo::new(&found, truths.view(), &names).unwrap();
        let deals = [(&found.fold, &found.out_of_fold)].into_iter();
        let deals = deals.chain(found.further.iter().map(|(fold, told)| (fold, told)));
        let figure = |fold: &[usize], told: &Array2<f32>, f: usize| {
            let places: Vec<usize> = (0..90).filter(|&i| fold[i] == f).collect();
            let [own, told] = [&truths, told].map(|rows| rows.select(Axis(0), &places));
            match task {
                Task::Regression => Regression::without_intervals(own.view(), told.view(), &names).unwrap().r2,
                _ => {
                    let own = own.mapv(|own| own > 0.5);
                    let thresholds = &found.thresholds;
                    MultiLabel::without_intervals(own.view(), told.view(), &names, thresholds).unwrap().macro_f1
                }
            }
        };
        let all: Vec<f64> = deals
            .flat_map(|(fold, told)| (0..4).map(move |f| (fold, told, f)))
            .map(|(a, b, f)| figure(a, b, f))
            .collect();
        let [mean, deviation] = info.by_fold[if task == Task::Regression { "r2" } else { "macro_f1" }];
        assert!(all.len() == 28 && (all.iter().sum::<f64>() / 28. - mean).abs() < 1e-9, "{task:?} {mean} {all:?}");
        let squares: f64 = all.iter().map(|value| (value - mean).powi(2)).sum();
        assert!(((squares / 27.).sqrt() - deviation).abs() < 1e-9);
    }
}

#[test]
fn labels_that_tell_nothing_are_no_trouble() {
    let x = made(60, 5, 0.3);
    let own = |i: usize, label: usize| match label {
        0 => x[[i, 0]] > 0.,
        1 => false,
        2 => true,
        _ => i == 7,
    };
    let truths = Array2::from_shape_fn((60, 4), |(i, label)| f32::from(u8::from(own(i, label))));
    let found = chosen(&x, &[5], &truths, Task::Multilabel);
    let p = found.head.logits(x.view()).unwrap().mapv(sigmoid);
    assert!(p.column(1).iter().all(|p| *p < 0.01) && p.column(2).iter().all(|p| *p > 0.99), "{p}");
    assert_eq!(found.thresholds[1..3], [0.5, 0.5]);
    assert!(found.head.weight.iter().all(|w| w.is_finite()) && found.compared[0].loss.is_finite());
    // Of a label that is told rightly, the threshold lies between those who have it and the others.
    let right = |i: &usize| (p[[*i, 0]] >= found.thresholds[0]) == (truths[[*i, 0]] > 0.5);
    assert!((0..60).filter(right).count() > 50);
}

#[test]
fn a_target_that_does_not_vary_is_its_mean() {
    let (x, mut values) = (made(30, 4, 0.2), made(30, 2, 0.9));
    values.column_mut(1).fill(7.5);
    let found = chosen(&x, &[4], &values, Task::Regression);
    let given = found.head.logits(x.view()).unwrap();
    assert!(given.column(1).iter().all(|value| (value - 7.5).abs() < 1e-5), "{given}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (x, y) = (made(10, 3, 0.1), made(9, 1, 0.1));
    let refused = |x: &Array2<f32>, y: &Array2<f32>| {
        choose_several(x.view(), &[3], y.view(), Task::Regression, &Wishes::default(), &silent).unwrap_err().to_string()
    };
    assert!(refused(&x, &y).contains("(10, 3) features for (9, 1) labels"));
    assert!(refused(&made(1, 3, 0.1), &made(1, 1, 0.1)).contains("at least two images"));
    let mut broken = x.clone();
    broken[[4, 1]] = f32::NAN;
    assert!(refused(&broken, &made(10, 1, 0.1)).contains("row 4"));
}

/// At the strongest strengths nothing but the labels' shares is known: they are what is told.
#[test]
fn labels_that_features_say_nothing_of_have_their_shares() {
    let (images, features) = (40, made(40, 60, 5.));
    let truths = Array2::from_shape_fn((images, 2), |(i, label)| f32::from(u8::from(i % [6, 9][label] == 0)));
    let found = chosen(&features, &[60], &truths, Task::Multilabel);
    let entropy = |p: f64| -p * p.ln() - (1. - p) * (1. - p).ln();
    let shares = truths.columns().into_iter().map(|column| f64::from(column.mean().unwrap()));
    let constant = shares.map(entropy).sum::<f64>() / 2.;
    let loss = found.compared[found.place].loss;
    assert!(loss < constant + 0.05, "{loss}, and {constant} without any features");
}

#[test]
fn regression_of_too_many_features_is_refused() {
    let (x, values) = (Array2::zeros((4097, 4097)), Array2::from_shape_fn((4097, 1), |(i, _)| i as f32));
    let found = choose_several(x.view(), &[4097], values.view(), Task::Regression, &Wishes::default(), &silent);
    let why = found.unwrap_err().to_string();
    let words = "4097 features of 4097 images are too many for ridge regression; choose another tensor with --cut";
    assert!(why.contains(words), "{why}");
}
