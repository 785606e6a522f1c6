//! Heads for several labels and for numbers: scikit-learn's (tests/golden/make_several.py), depths, thresholds.

use adapt::data::Task;
use adapt::metrics::sigmoid;
use adapt::progress::silent;
use adapt::train::heads::{Several, Wishes, choose_several};
use ndarray::{Array2, Axis, concatenate};
use serde_json::Value;

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
