//! What training tells while it goes on.

use super::trial::{Trial, golden_model};
use adapt::graph::Extent;
use adapt::progress::Event;
use adapt::train::tune::Wishes;
use std::ops::ControlFlow;
use std::sync::Mutex;

#[test]
fn a_validation_tells_how_far_it_is() {
    let wishes = Wishes { epochs: Some(1), ..Wishes::default() };
    let trial = Trial::new(&golden_model("tiny"), &Extent::All, (vec![1; 608], 8), wishes);
    let told = Mutex::new(Vec::new());
    let listen = |event: Event| {
        let text = match event {
            Event::Stage { name, total } => format!("{name} {total}"),
            Event::Within { name, done, total } => format!("{name} {done}/{total}"),
            _ => return ControlFlow::Continue(()),
        };
        told.lock().unwrap().push(text);
        ControlFlow::Continue(())
    };
    let tuned = trial.run(None, &listen, &mut |_| Ok(())).unwrap();
    assert_eq!(tuned.epochs.len(), 2);
    // Before the first step, and behind the last, in the one stage that there is.
    let steps = ["validating 256/600", "validating 512/600", "validating 600/600"];
    assert_eq!(told.into_inner().unwrap(), [&["training 1"][..], &steps, &steps].concat());
}
