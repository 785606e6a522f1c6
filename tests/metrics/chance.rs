//! What intervals say where images are few, or models differ on few of them.

use super::names;
use adapt::metrics::Classification;
use adapt::metrics::bootstrap::Outcomes;
use ndarray::Array2;

/// Two-sided exact sign test: of five images or fewer that differ, all in favour of one model, p is 0.06 or more, of six 0.03; of nine, eight
/// of them, 0.04, and of eight, seven of them, 0.07 (`scipy.stats.binomtest(7, 8).pvalue`).
#[test]
fn a_few_images_apart_may_be_chance() {
    let labels: Vec<usize> = (0..200).map(|i| i % 4).collect();
    // Every tenth image is wrong by both, of the last hundred each in its own way, and of the others the first so many by the second, then so many by the first.
    let model = |wrong: std::ops::Range<usize>| {
        let other = |i: usize| if i >= 100 && wrong.start == 1 { 2 } else { 1 };
        let said =
            |i: usize| if i.is_multiple_of(10) || wrong.contains(&i) { (labels[i] + other(i)) % 4 } else { labels[i] };
        Array2::from_shape_fn((200, 4), |(i, class)| if class == said(i) { 0.7 } else { 0.1 })
    };
    let alone: Vec<usize> = (1..10).chain(11..20).collect();
    for (better, worse, sure) in
        [(1, 0, false), (3, 0, false), (5, 0, false), (6, 0, true), (7, 1, false), (8, 1, true)]
    {
        let [a, b] = [alone[better]..alone[better + worse], 1..alone[better]].map(model);
        let own = |p: &Array2<f32>| Outcomes::new(&labels, p.view());
        let found = own(&a).less(&own(&b), &[]).unwrap();
        assert!((found["accuracy"].difference * 200. - (better - worse) as f64).abs() < 1e-9, "{found:?}");
        let is_sure = |name: &str| found[name].interval.unwrap()[0] > 0.;
        assert_eq!(is_sure("accuracy"), sure, "{better} {worse}: {found:?}");
        if worse == 0 {
            for name in ["balanced_accuracy", "macro_recall"] {
                assert!(sure || !is_sure(name), "{name}, {better}: {found:?}");
            }
            let [low, high] = found["log_loss"].interval.unwrap();
            assert!(low < 0. && (high < 0.) == sure, "{better}: {low} to {high}");
        }
    }
}

#[test]
fn intervals_end_where_figures_do() {
    // Nine classes with two images each, one image of all wrong: what resampling takes off is more than is left above.
    let labels: Vec<usize> = (0..18).map(|i| i / 2).collect();
    let said = |i: usize| if i == 0 { 1 } else { labels[i] };
    let p = Array2::from_shape_fn((18, 9), |(i, class)| if class == said(i) { 0.92 } else { 0.01 });
    let got = Classification::from_probabilities(&labels, p.view(), &names(9)).unwrap();
    for (name, [low, high]) in &got.intervals {
        let least = if ["mcc", "cohen_kappa"].contains(&name.as_str()) { -1. } else { 0. };
        let most = if ["log_loss", "brier"].contains(&name.as_str()) { f64::INFINITY } else { 1. };
        assert!(*low >= least && *high <= most, "{name}: {low} to {high}");
    }
    assert_eq!(got.intervals["macro_f1"][1], 1.);
}

#[test]
fn groups_that_are_all_right_or_all_wrong_are_apart_for_sure() {
    let (labels, groups): (Vec<usize>, Vec<usize>) = (0..60).map(|i| (i % 2, i / 2)).unzip();
    let model =
        |other: usize| Array2::from_shape_fn((60, 2), |(i, class)| if class == (i + other) % 2 { 0.9 } else { 0.1 });
    let [a, b] = [0, 1].map(|other| Outcomes::new(&labels, model(other).view()));
    let [low, high] = a.less(&b, &groups).unwrap()["accuracy"].interval.unwrap();
    // As of 30 images: (31 - 1) / 32, and 1.96 of its errors below.
    let (share, z) = (30. / 32., 1.959963984540054);
    let want = share - z * ((1. - share * share) / 32f64).sqrt();
    assert!((low - want).abs() < 1e-9 && high == 1., "{low} to {high}, not {want}");
}
