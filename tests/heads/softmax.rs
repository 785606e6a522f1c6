//! The softmax head: its gradient, its optimum against scikit-learn's (tests/golden/make_sklearn.py), and hard cases.

use adapt::error::Error;
use adapt::metrics::{argmax, softmax};
use adapt::progress::silent;
use adapt::train::{Fit, LinearHead, Options, fit_softmax, objective, softmax_out_of_fold};
use ndarray::{Array1, Array2, Axis};
use serde_json::Value;
use std::ops::ControlFlow;

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Portable noise in −1..1.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// `counts[k]` images of class k around its own centre, `gap` away from 0 in every feature.
fn blobs(counts: &[usize], features: usize, gap: f32) -> (Array2<f32>, Vec<usize>) {
    let mut next = noise(7);
    let centres = Array2::from_shape_simple_fn((counts.len(), features), || gap * next());
    let labels: Vec<usize> = counts.iter().enumerate().flat_map(|(k, &n)| vec![k; n]).collect();
    let x = centres.select(Axis(0), &labels) + Array2::from_shape_simple_fn((labels.len(), features), &mut next);
    (x, labels)
}

fn fit(x: &Array2<f32>, labels: &[usize], classes: usize) -> Fit {
    fit_softmax(x.view(), labels, classes, &Options::default(), &silent).unwrap()
}

fn accuracy(head: &LinearHead, x: &Array2<f32>, labels: &[usize]) -> f64 {
    let logits = head.logits(x.view()).unwrap();
    let hits = logits.rows().into_iter().zip(labels).filter(|(row, label)| argmax(*row) == **label).count();
    hits as f64 / labels.len() as f64
}

#[test]
fn gradient_is_that_of_the_objective() {
    let (x, labels) = blobs(&[9, 5, 3], 6, 1.0);
    let mut next = noise(3);
    let head = LinearHead {
        weight: Array2::from_shape_simple_fn((3, 6), &mut next),
        bias: Array1::from_shape_simple_fn(3, &mut next),
    };
    let at = |head: &LinearHead| objective(x.view(), &labels, head, 0.3).unwrap();
    let gradient = at(&head).1;
    let check = |shift: &dyn Fn(&mut LinearHead, f32), want: f32| {
        // A power of two: the shifted parameters are exact but for their own rounding.
        let step = 2f32.powi(-9);
        let (mut up, mut down) = (head.clone(), head.clone());
        shift(&mut up, step);
        shift(&mut down, -step);
        let slope = (at(&up).0 - at(&down).0) / (2.0 * f64::from(step));
        assert!((slope - f64::from(want)).abs() < 2e-4, "{slope} against {want}");
    };
    for ((k, j), &want) in gradient.weight.indexed_iter() {
        check(&|head, step| head.weight[[k, j]] += step, want);
    }
    for (k, &want) in gradient.bias.iter().enumerate() {
        check(&|head, step| head.bias[k] += step, want);
    }
}

#[test]
fn optimum_is_scikit_learns() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/train.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let labels: Vec<usize> = numbers(&case["labels"]).into_iter().map(|v| v as usize).collect();
        let x = numbers(&case["x"]).into_iter().map(|v| v as f32).collect();
        let x = Array2::from_shape_vec((labels.len(), case["features"].as_u64().unwrap() as usize), x).unwrap();
        let (l2, balanced) = (case["l2"].as_f64(), case["balanced"] == true);
        let options = Options { l2, balanced, ..Options::default() };
        let fit =
            fit_softmax(x.view(), &labels, case["classes"].as_u64().unwrap() as usize, &options, &silent).unwrap();
        let want = case["objective"].as_f64().unwrap();
        let off = (fit.objective - want) / want;
        assert!(off.abs() < 1e-6, "{}: objective {} against {want}, {off:e}", case["name"], fit.objective);
        let p = softmax(fit.head.logits(x.view()).unwrap().view());
        let far = p.iter().zip(numbers(&case["probabilities"])).map(|(p, q)| (f64::from(*p) - q).abs());
        assert!(far.clone().fold(0.0, f64::max) < 1e-3, "{}: {:e}", case["name"], far.fold(0.0, f64::max));
    }
}

#[test]
fn same_call_same_bits() {
    let (x, labels) = blobs(&[40, 40, 20], 64, 0.3);
    let (a, b) = (fit(&x, &labels, 3), fit(&x, &labels, 3));
    assert_eq!(a, b);
    assert_eq!(a.folds, 5);
    let alone = softmax_out_of_fold(x.view(), &labels, 3, &Options::default(), &silent).unwrap();
    assert_eq!(alone, a.out_of_fold);
    let other = Options { seed: 1, ..Options::default() };
    let other = fit_softmax(x.view(), &labels, 3, &other, &silent).unwrap();
    assert_ne!(a.candidates, other.candidates);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(pool.install(|| fit(&x, &labels, 3)).candidates, a.candidates);
}

#[test]
fn separable_classes_do_not_diverge() {
    for features in [2, 300] {
        let (x, labels) = blobs(&[30, 30, 30], features, 50.0);
        let fit = fit(&x, &labels, 3);
        assert_eq!(accuracy(&fit.head, &x, &labels), 1.0);
        assert!(fit.iterations < 1000 && fit.head.weight.iter().all(|w| w.is_finite()));
    }
}

#[test]
fn two_classes_and_a_class_of_two() {
    let (x, labels) = blobs(&[30, 30], 20, 1.0);
    assert!(accuracy(&fit(&x, &labels, 2).head, &x, &labels) > 0.9);
    let (x, labels) = blobs(&[30, 30, 2], 20, 1.0);
    let small = fit(&x, &labels, 3);
    // The rare class is missing in some folds, and costs the others none.
    assert_eq!(small.folds, 5);
    assert!(small.candidates.iter().all(|c| c.log_loss.is_finite()));
    let (x, labels) = blobs(&[5, 1], 4, 1.0);
    let few = fit(&x, &labels, 2);
    assert!(few.folds == 5 && few.candidates.iter().all(|c| c.log_loss.is_finite()));
}

#[test]
fn strong_penalty_for_pure_noise() {
    let mut next = noise(11);
    let x = Array2::from_shape_simple_fn((200, 50), &mut next);
    let labels: Vec<usize> = (0..200).map(|_| usize::from(next() > 0.0)).collect();
    let fit = fit(&x, &labels, 2);
    assert!(fit.candidates.len() < 13, "the path goes on although it gets worse");
    assert!(fit.l2 >= fit.candidates[2].l2);
}

#[test]
fn constant_and_huge_features() {
    let (mut x, labels) = blobs(&[20, 20], 8, 1.0);
    x.column_mut(0).fill(3.5);
    x.column_mut(1).mapv_inplace(|v| v * 1e30);
    x.column_mut(2).mapv_inplace(|v| v * 1e-30);
    let head = fit(&x, &labels, 2).head;
    assert!(head.weight.column(0).iter().all(|&w| w == 0.0));
    assert!(accuracy(&head, &x, &labels) > 0.9);
}

#[test]
fn nothing_to_learn_and_absurd_strengths() {
    let labels = [0, 0, 1, 1, 1, 1];
    let flat = fit(&Array2::from_elem((6, 3), 2.5), &labels, 2);
    let p = softmax(flat.head.logits(Array2::from_elem((1, 3), 2.5).view()).unwrap().view());
    assert!((p[[0, 1]] - 2.0 / 3.0).abs() < 1e-3, "the share of the class, not {p}");
    let (x, labels) = blobs(&[10, 10], 5, 1.0);
    for l2 in [1e-300, 1e-12, 1e12, 1e300] {
        let options = Options { l2: Some(l2), ..Options::default() };
        let fit = fit_softmax(x.view(), &labels, 2, &options, &silent).unwrap();
        assert!(fit.objective.is_finite() && fit.iterations <= 1000, "{l2}: {fit:?}");
    }
}

#[test]
fn many_classes_and_features() {
    let (x, labels) = blobs(&[3; 200], 512, 0.5);
    let fit = fit(&x, &labels, 200);
    assert_eq!(fit.head.weight.dim(), (200, 512));
    assert!(accuracy(&fit.head, &x, &labels) > 0.9);
}

#[test]
fn refuses_what_cannot_be_learnt_from() {
    let (mut x, labels) = blobs(&[5, 5], 4, 1.0);
    let text = |x: &Array2<f32>, labels: &[usize], classes| {
        let error = fit_softmax(x.view(), labels, classes, &Options::default(), &silent).unwrap_err();
        assert!(matches!(error, Error::Train(_)));
        error.to_string()
    };
    assert!(text(&x, &labels, 3).contains("class 2 has no images"));
    assert!(text(&x, &labels[1..], 2).contains("labels"));
    assert!(text(&x, &[1; 10], 1).contains("at least"));
    assert!(text(&x, &[7; 10], 2).contains("class 7"));
    assert!(text(&Array2::zeros((10, 0)), &labels, 2).contains("features"));
    x[[7, 2]] = f32::NAN;
    x[[8, 1]] = f32::INFINITY;
    assert!(text(&x, &labels, 2).contains("row 7, column 2"));
    for l2 in [0.0, -1.0, f64::NAN] {
        let options = Options { l2: Some(l2), ..Options::default() };
        assert!(fit_softmax(x.view(), &labels, 2, &options, &silent).is_err());
    }
}

#[test]
fn what_would_take_too_much_memory_is_refused() {
    // 16,400 images of 8,200 classes: more than 2²⁷ logits.
    let labels: Vec<usize> = (0..16_400).map(|i| i / 2).collect();
    let x = Array2::from_shape_fn((16_400, 1), |(i, _)| i as f32);
    let what = "softmax regression of 16400 images on 8200 classes would take more than 5 GiB";
    let options = Options { l2: Some(1.), ..Options::default() };
    let error = fit_softmax(x.view(), &labels, 8200, &options, &silent).unwrap_err().to_string();
    assert_eq!(error, format!("training: {what}; give fewer images or features"));
    assert!(softmax_out_of_fold(x.view(), &labels, 8200, &Options::default(), &silent).is_err());
    // An audit goes on without it.
    let said = std::sync::Mutex::new(String::new());
    let hear = |event: adapt::progress::Event| {
        if let adapt::progress::Event::Warning(text) = event {
            said.lock().unwrap().push_str(text);
        }
        ControlFlow::Continue(())
    };
    assert!(adapt::audit::suspects::out_of_fold(x.view(), &labels, 8200, 0, &hear).unwrap().is_none());
    assert_eq!(*said.lock().unwrap(), format!("{what}: which labels look wrong by it is not told"));
}

#[test]
fn stops_when_asked() {
    let (x, labels) = blobs(&[20, 20], 8, 1.0);
    let stop = |_: adapt::progress::Event| ControlFlow::Break(());
    let error = fit_softmax(x.view(), &labels, 2, &Options::default(), &stop).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
}

#[test]
fn features_that_hardly_vary_make_a_head_that_float32_can_compute() {
    let (noise, labels) = blobs(&[12, 12], 64, 0.0);
    let x = noise.mapv(|v| 0.75 + 3e-8 * v);
    let head = fit(&x, &labels, 2).head;
    let ours = head.logits(x.view()).unwrap().mapv(f64::from);
    let exact = x.mapv(f64::from).dot(&head.weight.mapv(f64::from).t()) + &head.bias.mapv(f64::from);
    let scale = exact.fold(1e-3f64, |m, v| m.max(v.abs()));
    let far = (&ours - &exact).fold(0f64, |m, v| m.max(v.abs()));
    assert!(far < 1e-3 * scale, "{far} of {scale}");
}
