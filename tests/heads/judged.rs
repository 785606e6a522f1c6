//! What is told of a head by images that it did not learn from, in the time that there is.

use super::{accuracy, blobs, centred, chosen, numbers, only};
use adapt::data::Task;
use adapt::metrics::{argmax, softmax};
use adapt::progress::silent;
use adapt::train::heads::{Kind, Metric, Wishes, choose, choose_several};
use ndarray::{Array2, Axis, s};
use serde_json::Value;
use std::time::Duration;

/// Of more images than features, and of fewer: heads that know nothing of the other half, all as sure as one of both.
#[test]
fn each_half_is_judged_by_cosines_of_the_other() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/discriminants.json")).unwrap();
    for case in [0, 1, 3].map(|place| &cases[place]) {
        let labels: Vec<usize> = numbers(&case["labels"]).into_iter().map(|v| v as usize).collect();
        let x = numbers(&case["x"]).into_iter().map(|v| v as f32).collect();
        let x = Array2::from_shape_vec((labels.len(), case["features"].as_u64().unwrap() as usize), x).unwrap();
        let groups = (0..labels.len()).map(|i| i % 2).collect();
        let found = chosen(&x, &[x.ncols()], &labels, &Wishes { groups, balanced: true, ..only(Kind::Lda) });
        assert_eq!((found.folds, found.compared.len()), (2, 1));
        let want = numbers(&case["alike_halves"][found.compared[0].strength.unwrap().to_string()]);
        let want = Array2::from_shape_vec(found.uncalibrated.dim(), want).unwrap();
        for half in 0..2 {
            let places: Vec<usize> = (half..labels.len()).step_by(2).collect();
            let of = |logits: Array2<f64>| centred(logits.select(Axis(0), &places));
            let (ours, want) = (of(found.uncalibrated.mapv(|p| f64::from(p).ln())), of(want.clone()));
            let factor = (&ours * &want).sum() / (&want * &want).sum();
            assert!(factor > 0. && (ours - want * factor).iter().all(|difference| difference.abs() < 1e-3 * factor));
        }
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = one.install(|| chosen(&x, &[x.ncols()], &labels, &only(Kind::Lda)));
        assert_eq!(again.out_of_fold, chosen(&x, &[x.ncols()], &labels, &only(Kind::Lda)).out_of_fold);
    }
}

#[test]
fn training_inside_begins_with_what_stands_for_probabilities() {
    let (x, labels) = blobs(5, &[40, 40], 10, 0.5);
    let wishes = Wishes { beginning: true, ..Wishes::default() };
    let found = chosen(&x, &[5, 10], &labels, &wishes);
    assert!(found.compared.iter().all(|one| matches!(one.kind, Kind::Lda | Kind::Softmax)), "{:?}", found.compared);
    assert!(found.compared.iter().any(|one| one.taps == 1) && found.hidden.is_none());
    // Where nothing can be compared, the nearest class mean's cosines are no beginning.
    let (x, labels) = blobs(6, &[1, 1, 1], 10, 0.5);
    assert_eq!(chosen(&x, &[5, 10], &labels, &wishes).kind, Kind::Softmax);
    assert_eq!(chosen(&x, &[5, 10], &labels, &Wishes::default()).kind, Kind::Ncm);
    // Of many classes, of each of which there is one image, regression at the path's first strength finds few.
    let (x, labels) = blobs(6, &[1; 200], 30, 0.2);
    let fresh = x.mapv(|value| 0.8 * value + 0.05);
    let [mean, regression] = [Wishes::default(), only(Kind::Softmax)]
        .map(|wishes| accuracy(&chosen(&x, &[30], &labels, &wishes).head, &fresh, &labels));
    assert!(mean > 0.8 && mean >= regression, "{mean} {regression}");
}

#[test]
fn a_head_for_more_features_gives_the_same() {
    let (x, labels) = blobs(7, &[20, 20], 10, 0.5);
    let head = chosen(&x.slice(s![.., ..4]).to_owned(), &[4], &labels, &only(Kind::Lda)).head;
    let wide = head.clone().widened(10);
    assert_eq!((wide.weight.dim(), &wide.bias), ((2, 10), &head.bias));
    assert_eq!(wide.logits(x.view()).unwrap(), head.logits(x.slice(s![.., ..4])).unwrap());
}

#[test]
fn a_regression_ends_with_the_time() {
    let (x, labels) = blobs(3, &[30, 30], 40, 0.5);
    let with = |budget| chosen(&x, &[40], &labels, &Wishes { budget, ..only(Kind::Softmax) });
    let (late, found) = (with(Some(Duration::ZERO)), with(None));
    // The first strength of the path, and one deal of ten.
    let first = 40. / (60. * 1e-2);
    assert!((late.compared[0].strength.unwrap() / first - 1.).abs() < 1e-9, "{:?}", late.compared);
    assert_eq!((late.repeats, late.by_fold.len(), found.repeats), (1, 5, 10));
    assert!(found.compared[0].strength.unwrap() < first, "{:?}", found.compared);
}

#[test]
fn folds_of_all_repeats_are_told() {
    let (x, labels) = blobs(11, &[30, 30], 40, 0.05);
    let found = chosen(&x, &[40], &labels, &Wishes::default());
    assert_eq!((found.folds, found.repeats, found.by_fold.len()), (5, 10, 50));
    let accuracy = |deal: &[[f64; 3]]| deal.iter().map(|figures| figures[0]).sum::<f64>() / 5.;
    let deals: Vec<f64> = found.by_fold.chunks(5).map(accuracy).collect();
    let hits = found.out_of_fold.rows().into_iter().zip(&labels).filter(|(row, label)| argmax(*row) == **label);
    assert!((deals[0] - hits.count() as f64 / 60.).abs() < 1e-9, "{deals:?}");
    assert!(deals[1..].iter().any(|other| (other - deals[0]).abs() > 1e-9), "{deals:?}");
}

#[test]
fn a_perceptron_ends_with_the_time() {
    let (x, labels) = blobs(3, &[30, 30], 40, 0.5);
    let none = Wishes { budget: Some(Duration::ZERO), ..only(Kind::Mlp) };
    let found = chosen(&x, &[40], &labels, &none);
    // 128 steps of 64 images at most, as many as pass until the clock is looked at; of one deal, where there would be ten.
    assert!(found.compared[0].strength.unwrap() <= 128. * 64. / 60. + 1e-9, "{:?}", found.compared);
    assert_eq!((found.repeats, found.by_fold.len()), (1, 5));
}

#[test]
fn no_second_head_is_begun_when_time_is_up() {
    let (x, labels) = blobs(3, &[30, 30], 40, 0.5);
    let budget = Some(Duration::ZERO);
    let found = chosen(&x, &[20, 40], &labels, &Wishes { budget, ..Wishes::default() });
    let tried: Vec<_> = found.compared.iter().map(|one| (one.kind, one.taps)).collect();
    assert_eq!(tried, [(Kind::Ncm, 0)]);
    for kind in [Kind::Lda, Kind::Softmax] {
        let found = chosen(&x, &[20, 40], &labels, &Wishes { budget, ..only(kind) });
        assert!(found.kind == kind && found.compared.iter().all(|one| one.taps == 0), "{:?}", found.compared);
    }
}

#[test]
fn why_there_is_no_learning_curve_is_told() {
    let (x, labels) = blobs(5, &[12, 12], 4, 1.);
    let wishes = Wishes { curve: true, ..only(Kind::Lda) };
    let why = |found: adapt::train::heads::Chosen| found.curve.unwrap().unwrap_err();
    assert!(chosen(&x, &[4], &labels, &only(Kind::Lda)).curve.is_none(), "none is wanted");
    assert!(chosen(&x, &[4], &labels, &wishes).curve.unwrap().is_ok());
    let late = Wishes { budget: Some(Duration::ZERO), ..wishes.clone() };
    assert!(why(chosen(&x, &[4], &labels, &late)).contains("time"));
    let few = blobs(5, &[6, 6], 4, 1.);
    assert!(why(chosen(&few.0, &[4], &few.1, &wishes)).contains("too few images"));
}

#[test]
fn why_nothing_was_compared_is_told() {
    let why = |counts: &[usize], wishes: Wishes| {
        let (x, labels) = blobs(5, counts, 4, 1.);
        let found = chosen(&x, &[4], &labels, &Wishes { curve: true, ..wishes });
        let why = found.uncompared;
        assert_eq!((why.is_some(), why), (found.folds == 0, found.curve.unwrap().err().filter(|_| why.is_some())));
        why.unwrap_or_default()
    };
    assert_eq!(why(&[1, 1], only(Kind::Ncm)), "most classes have one training image");
    // Few classes, but most images.
    assert_eq!(why(&[20, 20, 1, 1, 1], Wishes::default()), "");
    assert_eq!(why(&[2, 2, 1, 1, 1, 1, 1], Wishes::default()), "most classes have one training image");
    let groups = Wishes { groups: vec![0, 0, 1, 1], ..only(Kind::Ncm) };
    assert_eq!(why(&[2, 2], groups), "most classes have training images of one group alone");
    // Two images a class are one beside each of two folds: there is nothing in which a class would vary.
    let few = "too few images are left beside each fold for discriminant analysis";
    assert_eq!([Kind::Lda, Kind::Ncm].map(|kind| why(&[2, 2, 2], only(kind))), [few, ""]);
}

#[test]
fn one_rare_class_takes_no_learning_curve_away() {
    let mut counts = [40; 10];
    counts[3] = 6;
    let (x, labels) = blobs(17, &counts, 12, 0.5);
    for kind in [Kind::Ncm, Kind::Lda, Kind::Softmax] {
        let found = chosen(&x, &[12], &labels, &Wishes { curve: true, ..only(kind) });
        let points = found.curve.unwrap().unwrap().points;
        // An eighth of the others' 32 images outside a fold, and none of the rare class.
        assert_eq!((points.len(), points[0].images), (4, 36), "{kind} {points:?}");
        assert!(points.iter().all(|point| point.reached.value() > 0.3), "{kind} {points:?}");
        assert!(points[3].reached.value() > points[0].reached.value(), "{kind} {points:?}");
    }
}

#[test]
fn images_that_are_all_of_their_class_make_no_other_unsure() {
    let counts = [vec![4; 12], vec![1; 11]].concat();
    let (x, labels) = blobs(4, &counts, 30, 3.);
    let found = chosen(&x, &[30], &labels, &only(Kind::Ncm));
    // Other images of the twelve classes.
    let (other, own) = blobs(5, &counts, 30, 3.);
    let given = softmax(found.head.logits(other.view()).unwrap().view());
    let sure: f32 = (0..48).map(|i| given[[i, own[i]]]).sum::<f32>() / 48.;
    assert!(sure > 0.9, "{sure}");
}

/// Nor do those of a class that is one group, all of whose images are held out together.
#[test]
fn classes_of_one_group_make_no_other_unsure() {
    let counts = [4; 23];
    let (x, labels) = blobs(4, &counts, 30, 3.);
    // Twelve classes of four groups, and eleven of one.
    let groups = (0..92).map(|i| if i < 48 { i } else { 48 + i / 4 }).collect();
    let found = chosen(&x, &[30], &labels, &Wishes { groups, ..only(Kind::Ncm) });
    assert_eq!(found.folds, 4);
    let (other, own) = blobs(5, &counts, 30, 3.);
    let given = softmax(found.head.logits(other.view()).unwrap().view());
    let sure: f32 = (0..48).map(|i| given[[i, own[i]]]).sum::<f32>() / 48.;
    assert!(sure > 0.9, "{sure}");
}

#[test]
fn the_learning_curve_of_a_perceptron_counts_classes_alike_where_it_does() {
    let (x, labels) = blobs(7, &[400, 40], 6, 0.2);
    let found = chosen(&x, &[6], &labels, &Wishes { balanced: true, curve: true, ..only(Kind::Mlp) });
    assert!(found.compared.iter().all(|one| one.adjusted));
    // One that counted images would always name the common class, which is 0.91 of them.
    let points = found.curve.unwrap().unwrap().points;
    assert!(points.iter().all(|point| point.reached.value() < 0.87), "{points:?}");
}

#[test]
fn softmax_regression_without_room_is_refused() {
    let labels: Vec<usize> = (0..12_000).collect();
    let x = Array2::from_shape_fn((12_000, 1), |(i, _)| i as f32);
    let wishes = only(Kind::Softmax);
    let refused = choose(x.view(), &[1], &labels, 12_000, &wishes, &silent).unwrap_err().to_string();
    assert!(refused.contains("12000 images on 12000 classes would take more than 5 GiB"), "{refused}");
}

#[test]
fn folds_that_are_asked_for_are_dealt_twice() {
    let (x, labels) = blobs(6, &[320, 320], 4, 0.3);
    for (folds, repeats) in [(None, 1), (Some(3), 2)] {
        for kind in [Kind::Ncm, Kind::Lda, Kind::Softmax] {
            let found = chosen(&x, &[4], &labels, &Wishes { folds, ..only(kind) });
            assert_eq!((found.repeats, found.by_fold.len()), (repeats, repeats * found.folds), "{kind}");
        }
    }
    let values = Array2::from_shape_fn((640, 1), |(i, _)| x[[i, 0]] + 0.1 * x[[i, 1]].abs());
    let numbers =
        |wishes: Wishes| choose_several(x.view(), &[4], values.view(), Task::Regression, &wishes, &silent).unwrap();
    let found = numbers(Wishes { folds: Some(3), ..Wishes::default() });
    let variance = values.var(0.);
    let first = found.out_of_fold.iter().zip(&values).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 640. / variance;
    let apart = (found.compared[0].loss / f64::from(first) - 1.).abs();
    assert!(found.repeats == 2 && apart > 1e-6 && apart < 0.1, "{apart}");
    assert_eq!(numbers(Wishes { groups: (0..640).collect(), ..Wishes::default() }).repeats, 1);
}

/// Of classes with one image folds can tell nothing: of heads that are about as good on all others those are taken that find them.
#[test]
fn classes_of_one_image_are_found() {
    let counts = [[20; 4].as_slice(), &[1; 4]].concat();
    for (features, gap) in [(40, 0.6), (150, 0.45)] {
        let (x, labels) = blobs(7, &counts, features, gap);
        let (fresh, own) = blobs(8, &[20; 8], features, gap);
        let right = |wishes: &Wishes, from: usize| {
            let head = chosen(&x, &[features], &labels, wishes).head;
            accuracy(&head, &fresh.slice(s![from.., ..]).to_owned(), &own[from..])
        };
        let by = |metric| Wishes { metric, ..Wishes::default() };
        let [found, missed, plain] = [by(Metric::MacroF1), by(Metric::Accuracy), only(Kind::Softmax)]
            .map(|wishes| (right(&wishes, 80), right(&wishes, 0)));
        assert!(found.0 > missed.0 + 0.2 && found.0 > plain.0 + 0.2, "{features}: {found:?} {missed:?} {plain:?}");
        assert!(found.1 > plain.1, "{features}: {found:?} {plain:?}");
    }
}

/// A class that a fold has not seen is not found by its being unlike all others.
#[test]
fn what_no_head_has_seen_is_not_found() {
    for features in [6, 150] {
        let (x, labels) = blobs(7, &[20, 20, 20, 20, 1, 1, 1], features, 1.);
        for kind in [Kind::Lda, Kind::Ncm] {
            let found = chosen(&x, &[features], &labels, &only(kind));
            let best = |i: usize| adapt::metrics::argmax(found.out_of_fold.row(i));
            assert!((80..83).all(|i| best(i) != labels[i]), "{kind:?} {features}");
            let right = (0..80).filter(|&i| best(i) == labels[i]).count();
            assert!(right > 40, "{kind:?} {features}: {right}");
            assert!(found.out_of_fold.iter().all(|score| score.is_finite()));
        }
    }
}
