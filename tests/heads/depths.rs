//! Depths of many images are compared on a part of them: one that is no part, and one of which the comparison would take long.

use super::{blobs, chosen, only};
use adapt::Error;
use adapt::progress::Event;
use adapt::train::heads::{Kind, Wishes, choose};
use ndarray::Array2;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::Duration;

#[test]
fn a_sample_that_is_all_images_is_compared_once() {
    let (x, labels) = blobs(3, &[5; 601], 8, 2.);
    let stages = Mutex::new(0);
    let count = |event: Event| {
        *stages.lock().unwrap() += usize::from(matches!(event, Event::Stage { name: "comparing depths", .. }));
        ControlFlow::Continue(())
    };
    choose(x.view(), &[4, 8], &labels, 601, &only(Kind::Lda), &count).unwrap();
    assert_eq!(*stages.lock().unwrap(), 1);
    // Whoever ends it is heard there.
    let ends = |event: Event| match event {
        Event::Stage { name: "comparing depths", .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let ended = choose(x.view(), &[4, 8], &labels, 601, &only(Kind::Lda), &ends);
    assert!(matches!(ended, Err(Error::Interrupted)));
}

#[test]
fn no_second_depth_of_many_images_is_compared_when_time_is_up() {
    let (x, labels) = blobs(5, &[1501, 1500], 8, 0.2);
    let with = |budget| chosen(&x, &[1, 8], &labels, &Wishes { budget, ..only(Kind::Lda) }).taps();
    assert_eq!((with(None), with(Some(Duration::ZERO))), (1, 0));
}

#[test]
fn depths_that_take_long_to_compare_are_no_error() {
    let labels: Vec<usize> = (0..6000).map(|i| i % 2).collect();
    let x = Array2::from_shape_fn((6000, 1900), |(i, j)| ((i * 31 + j * 17) % 101) as f32 + labels[i] as f32);
    let told = Mutex::new(String::new());
    let tell = |event: Event| match event {
        Event::Warning(what) => {
            *told.lock().unwrap() = what.into();
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    };
    let wishes = Wishes { folds: Some(100), ..Wishes::default() };
    let ended = choose(x.view(), &[99, 1900], &labels, 2, &wishes, &tell);
    // It goes on after the warning, but for us.
    assert!(matches!(ended, Err(Error::Interrupted)));
    let told = told.into_inner().unwrap();
    assert!(told.contains("on 1900 features in 100 folds would take long: depths"), "{told}");
}
