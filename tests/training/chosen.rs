//! Which epoch's weights are kept.

use super::trial::{Trial, golden_model};
use adapt::graph::Extent;
use adapt::progress::silent;
use adapt::train::tune::Wishes;

#[test]
fn what_classes_weigh_in_training_they_weigh_in_the_choice() {
    // Of ten images one is of the rare class; half of them validate.
    let labels = (0..40).map(|i| usize::from(i % 10 == 9)).collect();
    let wishes = Wishes { epochs: Some(3), lr: Some(0.005), balanced: true, ..Wishes::default() };
    let mut trial = Trial::new(&golden_model("tiny"), &Extent::All, (labels, 20), wishes);
    // A start that knows the classes' shares and nothing else: by images alone nothing is better.
    trial.start = [("h".into(), vec![0.; 4 * 6]), ("c".into(), vec![9f32.ln(), 0., -20., -20.])].into();
    let tuned = trial.run(None, &silent, &mut |_| Ok(())).unwrap();
    let losses: Vec<f64> = tuned.epochs.iter().filter_map(|epoch| epoch.val_loss).collect();
    assert!(losses[0] < losses[3] && tuned.epochs.iter().all(|epoch| epoch.val_accuracy <= Some(0.9)), "{losses:?}");
    assert!(tuned.best > Some(0), "{:?}", tuned.epochs);
}
