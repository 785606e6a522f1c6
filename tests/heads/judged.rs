//! What is told of a head by images that it did not learn from, in the time that there is.

use super::{blobs, chosen, only};
use adapt::metrics::argmax;
use adapt::train::heads::{Kind, Wishes};
use std::time::Duration;

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
