//! From which probability on answers are to be taken.

use super::{blobs, chosen, only};
use adapt::metrics::argmax;
use adapt::report::HeadInfo;
use adapt::train::heads::{Abstention, Answered, Kind, Wishes};
use ndarray::array;

#[test]
fn noise_has_no_threshold() {
    let mut lucky = 0;
    for seed in 0..6 {
        let (x, labels) = blobs(seed, &[100, 100], 20, 0.);
        let found = chosen(&x, &[20], &labels, &Wishes { seed, ..only(Kind::Lda) });
        let told = &found.out_of_fold;
        let sure = |i: usize| told.row(i).fold(0f32, |most, p| most.max(*p));
        let surest = (0..200).max_by(|&a, &b| sure(a).total_cmp(&sure(b))).unwrap();
        lucky += usize::from(argmax(told.row(surest)) == labels[surest]);
        assert_eq!(found.abstention(&labels, 0.95), None, "{seed}");
    }
    assert!(lucky > 0, "the surest answer alone is right in half of the cases");
}

#[test]
fn what_is_told_apart_has_one_where_images_suffice() {
    let (x, labels) = blobs(3, &[100, 100], 20, 2.);
    let found = chosen(&x, &[20], &labels, &only(Kind::Lda));
    let told = found.abstention(&labels, 0.95).unwrap();
    let least = found.out_of_fold.rows().into_iter().map(|row| row[argmax(row)]).fold(1., f32::min);
    assert_eq!((told.precision, told.threshold, told.coverage), (0.95, least, 1.));
    assert_eq!(found.abstention(&labels, 0.99), None, "200 of 200 say no more than 0.987");
    let (x, labels) = blobs(3, &[20, 20], 20, 2.);
    let few = chosen(&x, &[20], &labels, &only(Kind::Lda));
    assert!(few.abstention(&labels, 0.9).is_some_and(|told| told.coverage == 1.));
    assert_eq!((few.abstention(&labels, 0.95), Abstention::fewest(0.95)), (None, 52));
    // scipy.stats.binomtest(40, 40).proportion_ci(0.9, method="wilson").low is 0.9366.
    let told = |share| HeadInfo::new(&few, &labels, Some(share)).no_abstention;
    let why = "40 training images are too few, since it takes 52 right answers and no wrong one to tell";
    assert_eq!(told(0.95).unwrap(), format!("{why}; 0.93 is the most, with 40 of 40 images answered"));
    assert_eq!(told(0.93), None);
}

#[test]
fn the_most_that_answers_show_is_a_threshold() {
    let (x, labels) = blobs(4, &[60, 60], 8, 0.4);
    let found = chosen(&x, &[8], &labels, &only(Kind::Lda));
    let highest = found.highest(&labels).unwrap();
    assert_eq!(found.abstention(&labels, highest.precision), Some(highest));
    assert_eq!(found.abstention(&labels, highest.precision + 0.01), None);
    let told = HeadInfo::new(&found, &labels, Some(0.99)).no_abstention.unwrap();
    let answered = (highest.coverage * 120.).round();
    let words = format!("; {} is the most, with {answered} of 120 images answered", highest.precision);
    assert!(told.ends_with(&words) && answered > 1. && (0.5..0.98).contains(&highest.precision), "{told}");
}

#[test]
fn what_is_answered_is_counted() {
    let p = array![[0.8, 0.2], [0.75, 0.25], [0.6, 0.4], [0.1, 0.9]];
    let at = |threshold| Answered::new(threshold, &[0, 1, 0, 1], p.view());
    assert_eq!(at(0.75), Answered { images: 4, coverage: 0.75, precision: Some(2. / 3.) });
    assert_eq!(at(0.95), Answered { images: 4, coverage: 0., precision: None });
}
