//! How sure heads are of images that they have not seen.

use super::{blobs, chosen, only};
use adapt::metrics::softmax;
use adapt::train::heads::{Kind, nearest_class_mean};

/// Where nothing can be judged, images are so much surer of their own class than of the mean as suits most data.
#[test]
fn where_nothing_was_compared_a_usual_temperature_is_taken() {
    let wanted = 2.7 + 1.6 * 4f64.ln();
    for (kind, images) in [(Kind::Ncm, 1), (Kind::Softmax, 1), (Kind::Mlp, 1), (Kind::Lda, 2)] {
        let (x, labels) = blobs(5, &[images; 4], 30, 1.);
        let found = chosen(&x, &[30], &labels, &only(kind));
        assert!(found.uncompared.is_some() && found.out_of_fold.is_empty());
        let logits = found.logits(x.view()).unwrap().mapv(f64::from);
        let above = logits.rows().into_iter().zip(&labels).map(|(row, &label)| row[label] - row.mean().unwrap());
        let above = above.sum::<f64>() / labels.len() as f64;
        assert!((above - wanted).abs() < 1e-4, "{kind}: {above}");
        // The temperature is what the head was divided by, and no more.
        let plain = nearest_class_mean(x.view(), &labels, 4).unwrap();
        let times = found.head.weight.mapv(|w| w * found.temperature as f32);
        assert!(kind != Kind::Ncm || (times - &plain.weight).iter().all(|difference| difference.abs() < 1e-5));
    }
}

/// Of three images a class, of which each fold's heads have two: what tells how sure the head is about right on images of their own.
#[test]
fn the_temperature_of_few_images_suits_others() {
    for kind in [Kind::Ncm, Kind::Lda, Kind::Softmax] {
        for gap in [0.35, 0.5] {
            let ((x, labels), (unseen, own)) = (blobs(5, &[3; 8], 60, gap), blobs(6, &[200; 8], 60, gap));
            let found = chosen(&x, &[60], &labels, &only(kind));
            let logits = found.logits(unseen.view()).unwrap();
            let loss = |log: f64| {
                let told = softmax(logits.mapv(|z| z * log.exp() as f32).view());
                told.rows().into_iter().zip(&own).map(|(p, &label)| -f64::from(p[label]).ln()).sum::<f64>()
            };
            let factors = (-40..=40).map(|i| f64::from(i) / 20.);
            let best = factors.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap();
            assert!(best.abs() < 0.3, "{kind}, {gap}: {best}");
        }
    }
}

/// Of chance's labels heads are about as sure as chance is right, of few images and of many.
#[test]
fn what_cannot_be_learnt_is_not_told_to_be_sure() {
    for (kind, images) in [(Kind::Ncm, 30), (Kind::Lda, 30), (Kind::Softmax, 30), (Kind::Softmax, 210)] {
        let ((x, labels), (unseen, _)) = (blobs(5, &[images; 3], 300, 0.), blobs(6, &[200; 3], 300, 0.));
        let told = softmax(chosen(&x, &[300], &labels, &only(kind)).logits(unseen.view()).unwrap().view());
        let sure = told.rows().into_iter().map(|row| row.fold(0f32, |a, &b| a.max(b))).sum::<f32>() / 600.;
        assert!(sure < 0.5, "{kind}, {images}: {sure}");
    }
}
