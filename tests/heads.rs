//! Heads and their choice: discriminants against scikit-learn's (tests/golden/make_discriminants.py), depths, calibration.

#[path = "heads/abstain.rs"]
mod abstain;
#[path = "heads/depths.rs"]
mod depths;
#[path = "heads/groups.rs"]
mod groups;
#[path = "heads/judged.rs"]
mod judged;
#[path = "heads/perceptrons.rs"]
mod perceptrons;
#[path = "heads/several.rs"]
mod several;
#[path = "heads/softmax.rs"]
mod softmax;
#[path = "heads/sureness.rs"]
mod sureness;

use adapt::metrics::{argmax, softmax};
use adapt::progress::silent;
use adapt::train::heads::{Chosen, Kind, Metric, Wishes, choose, nearest_class_mean};
use adapt::train::{LinearHead, Options, fit_softmax};
use ndarray::{Array2, Axis, concatenate, s};
use serde_json::Value;

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Portable noise, nearly normal.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    move || (0..12).map(|_| next()).sum::<f32>() - 6.
}

/// `counts[k]` images of class k around a centre of its own, `gap` deviations away from the others in each feature.
fn blobs(seed: u64, counts: &[usize], features: usize, gap: f32) -> (Array2<f32>, Vec<usize>) {
    let (mut centre, mut next) = (noise(77), noise(seed));
    let centres = Array2::from_shape_simple_fn((counts.len(), features), || gap * centre());
    let labels: Vec<usize> = counts.iter().enumerate().flat_map(|(k, &n)| vec![k; n]).collect();
    (centres.select(Axis(0), &labels) + Array2::from_shape_simple_fn((labels.len(), features), &mut next), labels)
}

fn chosen(x: &Array2<f32>, columns: &[usize], labels: &[usize], wishes: &Wishes) -> Chosen {
    let classes = labels.iter().max().unwrap() + 1;
    choose(x.view(), columns, labels, classes, wishes, &silent).unwrap()
}

fn only(kind: Kind) -> Wishes {
    Wishes { kind: Some(kind), ..Wishes::default() }
}

/// Each row less its mean.
fn centred(logits: Array2<f64>) -> Array2<f64> {
    let mean = logits.mean_axis(Axis(1)).unwrap();
    logits - mean.insert_axis(Axis(1))
}

fn accuracy(head: &LinearHead, x: &Array2<f32>, labels: &[usize]) -> f64 {
    let logits = head.logits(x.slice(s![.., ..head.weight.ncols()])).unwrap();
    let hits = logits.rows().into_iter().zip(labels).filter(|(row, label)| argmax(*row) == **label).count();
    hits as f64 / labels.len() as f64
}

#[test]
fn discriminants_are_scikit_learns() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/discriminants.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let labels: Vec<usize> = numbers(&case["labels"]).into_iter().map(|v| v as usize).collect();
        let x = numbers(&case["x"]).into_iter().map(|v| v as f32).collect();
        let x = Array2::from_shape_vec((labels.len(), case["features"].as_u64().unwrap() as usize), x).unwrap();
        let nearest = nearest_class_mean(x.view(), &labels, labels.iter().max().unwrap() + 1).unwrap();
        let nearest: Vec<f64> =
            nearest.logits(x.view()).unwrap().rows().into_iter().map(|row| argmax(row) as f64).collect();
        assert_eq!(nearest, numbers(&case["nearest"]));
        // A deal that does not matter, since no strength is asked for: whatever it chooses has a golden.
        for balanced in [false, true] {
            let wishes = Wishes { folds: Some(3), balanced, metric: Metric::LogLoss, ..only(Kind::Lda) };
            let found = chosen(&x, &[x.ncols()], &labels, &wishes);
            let compared = &found.compared[found.place];
            assert!(compared.adjusted || !balanced);
            let strength = compared.strength.unwrap().to_string();
            let logits = found.head.logits(x.view()).unwrap().mapv(|z| z * found.temperature as f32);
            if compared.adjusted {
                let want = numbers(&case["alike"][strength]);
                assert!(logits.iter().zip(want).all(|(ours, want)| (f64::from(*ours) - want).abs() < 1e-3), "{logits}");
                continue;
            }
            let want = numbers(&case["log_probabilities"][strength]);
            for (ours, want) in softmax(logits.view()).iter().zip(want) {
                assert!((f64::from(*ours) - want.exp()).abs() < 2e-4, "{ours} against {}", want.exp());
            }
        }
    }
}

#[test]
fn features_of_depths_are_taken_where_they_tell_more() {
    let (mut wide, labels) = blobs(1, &[60, 60, 60], 20, 0.25);
    let told = blobs(2, &[60, 60, 60], 12, 0.9).0;
    let nothing = blobs(3, &[60, 60, 60], 12, 0.).0;
    wide = concatenate(Axis(1), &[wide.view(), told.view(), nothing.view()]).unwrap();
    let found = chosen(&wide, &[20, 32, 44], &labels, &Wishes::default());
    assert_eq!((found.taps(), found.head.weight.ncols()), (1, 32), "{:?}", found.compared);
    let (fresh, _) = blobs(9, &[60, 60, 60], 20, 0.25);
    let fresh = concatenate(Axis(1), &[fresh.view(), blobs(8, &[60, 60, 60], 12, 0.9).0.view()]).unwrap();
    let plain = chosen(&wide, &[20], &labels, &Wishes::default());
    assert!(accuracy(&found.head, &fresh, &labels) > accuracy(&plain.head, &fresh, &labels) + 0.05);
    let noise = concatenate(Axis(1), &[told.view(), nothing.view()]).unwrap();
    let found = chosen(&noise, &[12, 24], &labels, &Wishes::default());
    assert_eq!(found.taps(), 0, "the simplest of those that are as good: {:?}", found.compared);
    assert!(found.compared.iter().any(|c| c.taps == 1), "others were compared");
}

#[test]
fn more_features_than_images_are_the_same_head_in_fewer_coordinates() {
    let (x, labels) = blobs(4, &[25, 25], 200, 0.2);
    let found = chosen(&x, &[200], &labels, &only(Kind::Softmax));
    let l2 = found.compared[found.place].strength.unwrap();
    let plain = fit_softmax(x.view(), &labels, 2, &Options { l2: Some(l2), ..Options::default() }, &silent).unwrap();
    let ours = found.head.logits(x.view()).unwrap().mapv(|z| z * found.temperature as f32);
    let (ours, theirs) = (softmax(ours.view()), softmax(plain.head.logits(x.view()).unwrap().view()));
    let far = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    assert!(far < 1e-3, "{far}");
}

#[test]
fn one_image_a_class_leaves_nothing_to_compare() {
    let (x, labels) = blobs(5, &[1, 1, 1, 1], 30, 1.);
    let found = chosen(&x, &[10, 30], &labels, &Wishes::default());
    assert_eq!((found.kind, found.folds, found.head.weight.dim()), (Kind::Ncm, 0, (4, 10)));
    assert!(found.compared.is_empty() && found.out_of_fold.is_empty());
    let (fresh, own) = blobs(6, &[50; 4], 30, 1.);
    assert!(accuracy(&found.head, &fresh, &own) > 0.5, "twice what chance gives");
    // Where others have more, there is something to compare by, and the lone one is found too.
    let (x, labels) = blobs(5, &[12, 12, 12, 1], 10, 1.);
    let found = chosen(&x, &[10], &labels, &Wishes::default());
    assert!(found.folds == 5 && found.compared.len() >= 3 && found.compared.iter().all(|c| c.log_loss.is_finite()));
    assert!(accuracy(&found.head, &x, &labels) > 0.9);
    // One class of several images has a covariance.
    let (x, labels) = blobs(5, &[1, 6, 1], 30, 1.);
    assert!(chosen(&x, &[30], &labels, &only(Kind::Lda)).head.weight.iter().all(|v| v.is_finite()));
    assert!(chosen(&x, &[30], &labels, &only(Kind::Softmax)).head.weight.iter().all(|v| v.is_finite()));
}

#[test]
fn rare_classes_are_found_where_they_count() {
    let counts = [400, 25];
    let (x, labels) = blobs(7, &counts, 6, 0.35);
    let by = |metric, balanced| chosen(&x, &[6], &labels, &Wishes { metric, balanced, ..only(Kind::Softmax) });
    let recall = |found: &Chosen| {
        let rare = x.slice(s![400.., ..]).to_owned();
        accuracy(&found.head, &rare, &[1; 25])
    };
    let [plain, balanced] = [by(Metric::Accuracy, false), by(Metric::Accuracy, true)];
    assert!(balanced.compared.iter().all(|c| c.adjusted || c.weighted));
    assert!(recall(&balanced) > recall(&plain) + 0.2, "{} {}", recall(&balanced), recall(&plain));
    let best = by(Metric::MacroF1, false);
    assert!(best.compared.iter().any(|c| c.adjusted) && best.compared.iter().any(|c| !c.adjusted));
}

#[test]
fn probabilities_are_as_sure_as_they_are_right() {
    // Discriminants of many features and few images are far too sure.
    let (x, labels) = blobs(8, &[40, 40, 40], 100, 0.12);
    let found = chosen(&x, &[100], &labels, &only(Kind::Lda));
    let loss = |p: &Array2<f32>| {
        let of = |(row, &label): (ndarray::ArrayView1<f32>, &usize)| -f64::from(row[label]).ln();
        p.rows().into_iter().zip(&labels).map(of).sum::<f64>() / labels.len() as f64
    };
    assert!(found.temperature > 1.2, "{}", found.temperature);
    assert!(loss(&found.out_of_fold) < loss(&found.uncalibrated) - 0.02);
    let compared = &found.compared[found.place];
    assert!(compared.log_loss.is_finite() && compared.log_loss < (3f64).ln());
}

#[test]
fn few_images_are_judged_by_what_knows_nothing_of_their_fold() {
    let (x, labels) = blobs(21, &[10, 10, 10], 40, 0.3);
    let before = chosen(&x, &[40], &labels, &only(Kind::Ncm));
    let mut moved = x.clone();
    moved.row_mut(0).mapv_inplace(|value| 5. * value);
    let after = chosen(&moved, &[40], &labels, &only(Kind::Ncm));
    assert_eq!(before.fold, after.fold);
    // All are as sure as the head of all images, which has changed.
    let [before, after] =
        [&before, &after].map(|found| (centred(found.uncalibrated.mapv(|p| f64::from(p).ln())), &found.fold));
    let near = (1..labels.len()).find(|&i| after.1[i] == after.1[0]).unwrap();
    let factor = after.0[[near, 0]] / before.0[[near, 0]];
    assert!((factor - 1.).abs() > 1e-3);
    for i in 1..labels.len() {
        // What standardises the fold's features does not know of the image that moved.
        let difference = &after.0.row(i) - &(&before.0.row(i) * factor);
        let same = difference.iter().all(|difference| difference.abs() < 1e-4);
        assert_eq!(same, before.1[i] == before.1[0], "{i}: {difference}");
    }
}

#[test]
fn figures_are_those_of_images_that_were_not_seen() {
    let (x, labels) = blobs(11, &[30, 30], 40, 0.);
    let found = chosen(&x, &[40], &labels, &Wishes::default());
    for compared in &found.compared {
        assert!((0.3..0.7).contains(&compared.accuracy), "nothing can be learnt here: {compared:?}");
    }
    assert_eq!(found.repeats, 10);
    let [again, other] = [0, 1].map(|seed| chosen(&x, &[40], &labels, &Wishes { seed, ..Wishes::default() }));
    assert_eq!(found, again);
    assert_ne!(found.out_of_fold, other.out_of_fold);
}

#[test]
fn the_metric_chooses() {
    let (x, labels) = blobs(12, &[50, 50, 50], 30, 0.2);
    for metric in [Metric::MacroF1, Metric::Accuracy, Metric::LogLoss] {
        let found = chosen(&x, &[30], &labels, &Wishes { metric, ..Wishes::default() });
        let value = |c: &adapt::train::heads::Compared| match metric {
            Metric::MacroF1 => c.macro_f1,
            Metric::Accuracy => c.accuracy,
            Metric::LogLoss => -c.log_loss,
        };
        let best = found.compared.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
        for compared in &found.compared {
            // By temperature for one deal, and its parts averaged over all of them.
            assert!((compared.score - value(compared)).abs() < 2e-3, "{metric:?}: {compared:?}");
            assert!((best - value(compared) - compared.behind[0]).abs() < 4e-3, "{metric:?}: {compared:?}");
        }
        // Of those that are as good, the one with the lowest log-loss.
        let as_good = found.compared.iter().enumerate().filter(|(_, c)| c.behind[0] <= c.behind[1]);
        let place = as_good.min_by(|a, b| a.1.log_loss.total_cmp(&b.1.log_loss)).map(|(place, _)| place);
        assert_eq!(Some(found.place), place);
    }
}

#[test]
fn a_learning_curve_grows_and_has_whole_points() {
    // An eighth of 19 images less a fold is two images in some folds and fewer in others.
    for counts in [[19, 40, 40], [64, 64, 64]] {
        let (x, labels) = blobs(13, &counts, 12, 0.5);
        let found = chosen(&x, &[12], &labels, &Wishes { curve: true, ..only(Kind::Lda) });
        let curve = found.curve.unwrap().unwrap();
        let accuracies: Vec<f64> = curve.points.iter().map(|point| point.reached.value()).collect();
        assert!(accuracies.iter().all(|accuracy| *accuracy > 0.5), "{curve:?}");
        assert!(accuracies.last() > accuracies.first(), "{curve:?}");
        let last = curve.points.last().unwrap();
        assert_eq!(curve.expected[0].images, 2 * labels.len());
        let more = curve.expected[0].reached.value();
        assert!(
            more >= last.reached.value() - 0.01 && more < 1. && curve.expected[1].reached.value() >= more - 1e-9,
            "{curve:?}"
        );
        assert!(curve.expected.iter().all(|point| point.std_err > 0. && point.std_err < 0.2));
    }
}
