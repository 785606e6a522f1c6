//! Perceptrons: against scikit-learn's (tests/golden/make_perceptron.py), where they are taken, the same on any number of threads.

use super::{blobs, chosen, noise, numbers, only};
use adapt::metrics::{argmax, softmax};
use adapt::train::heads::{Kind, Wishes};
use ndarray::{Array2, s};
use serde_json::Value;

/// Points whose class no line tells: 1 in two quarters of a plane, crosswise.
fn crosswise(seed: u64, images: usize) -> (Array2<f32>, Vec<usize>) {
    let x = Array2::from_shape_simple_fn((images, 5), noise(seed));
    let labels = x.rows().into_iter().map(|row| usize::from(row[0] * row[1] > 0.)).collect();
    (x, labels)
}

#[test]
fn perceptrons_find_what_scikit_learns_do() {
    let case: Value = serde_json::from_str(include_str!("../golden/perceptron.json")).unwrap();
    let part = |x: &str, labels: &str| {
        let labels: Vec<usize> = numbers(&case[labels]).into_iter().map(|v| v as usize).collect();
        let x = numbers(&case[x]).into_iter().map(|v| v as f32).collect();
        (Array2::from_shape_vec((labels.len(), 6), x).unwrap(), labels)
    };
    let ((x, labels), (fresh, truth)) = (part("x", "labels"), part("fresh", "truth"));
    let found = chosen(&x, &[6], &labels, &Wishes { curve: true, ..only(Kind::Mlp) });
    let logits = found.logits(fresh.view()).unwrap();
    let hits = logits.rows().into_iter().zip(&truth).filter(|(row, label)| argmax(*row) == **label).count();
    let (ours, theirs) = (hits as f64 / 600., numbers(&case["networks"]).into_iter().fold(1., f64::min));
    assert!(ours > theirs - 0.02 && theirs > case["linear"].as_f64().unwrap() + 0.4, "{ours} against {theirs}");
    // What cross-validation says is what fresh points say, or a little less: its heads have fewer to learn from.
    assert!((found.compared[found.place].accuracy - ours).abs() < 0.05, "{:?}", found.compared);
    let p = softmax(logits.view());
    let loss = p.rows().into_iter().zip(&truth).map(|(row, &k)| -f64::from(row[k]).ln()).sum::<f64>() / 600.;
    assert!(loss < 0.3 && loss < found.compared[found.place].log_loss + 0.02, "{loss} {:?}", found.compared);
    let points = found.curve.unwrap().unwrap().points;
    assert!(points[0].reached.value() + 0.05 < points[3].reached.value(), "{points:?}");
}

#[test]
fn a_perceptron_is_tried_on_many_images_and_taken_where_nothing_simpler_will_do() {
    let (x, labels) = crosswise(3, 5000);
    let found = chosen(&x, &[5], &labels, &Wishes::default());
    assert_eq!(found.kind, Kind::Mlp, "{:?}", found.compared);
    assert_eq!(found.hidden.as_ref().map(|hidden| hidden.weight.ncols()), Some(5));
    let (x, labels) = blobs(4, &[2500, 2500], 5, 0.5);
    let found = chosen(&x, &[5], &labels, &Wishes::default());
    assert!(found.compared.iter().any(|c| c.kind == Kind::Mlp), "{:?}", found.compared);
    assert!(found.kind != Kind::Mlp && found.hidden.is_none(), "{:?}", found.compared);
    let (x, labels) = crosswise(3, 400);
    let found = chosen(&x, &[5], &labels, &Wishes::default());
    assert!(found.compared.iter().all(|c| c.kind != Kind::Mlp));
}

#[test]
fn perceptrons_are_the_same_on_any_number_of_threads() {
    let (x, labels) = crosswise(8, 300);
    let fit = |seed| chosen(&x, &[5], &labels, &Wishes { seed, ..only(Kind::Mlp) });
    let (all, other) = (fit(0), fit(1));
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| fit(0));
    assert_eq!((&all.head, &all.hidden, &all.compared), (&one.head, &one.hidden, &one.compared));
    assert_ne!(all.hidden, other.hidden);
    // One image a class: nothing to judge by.
    let found = chosen(&x.slice(s![..2, ..]).to_owned(), &[5], &[0, 1], &only(Kind::Mlp));
    assert!(found.folds == 0 && found.logits(x.view()).unwrap().iter().all(|z| z.is_finite()));
}
