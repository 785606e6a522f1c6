//! Training that is interrupted behind every second step goes on to the same bits.

use super::trial::{Trial, golden_model};
use adapt::error::Error;
use adapt::graph::Extent;
use adapt::onnx::Model;
use adapt::onnx::schema::{TensorProto, data_type};
use adapt::progress::{Event, silent};
use adapt::train::tune::{BatchNorms, BatchSize, CHECKPOINT, OptimizerChoice, Tuned, Wishes};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

/// Eighteen images of three classes, of which twelve train.
fn labels() -> (Vec<usize>, usize) {
    ((0..18).map(|i| i % 3).collect(), 12)
}

fn wishes() -> Wishes {
    Wishes { epochs: Some(4), batch_size: Some(BatchSize::Images(5)), lr: Some(0.01), ..Wishes::default() }
}

fn trial(model: &Model, extent: &Extent, wishes: Wishes) -> Trial {
    Trial::new(model, extent, labels(), wishes)
}

/// What an epoch came to, but for times.
fn figures(tuned: &Tuned) -> Vec<[Option<f64>; 4]> {
    tuned.epochs.iter().map(|e| [e.train_loss, e.train_accuracy, e.val_loss, e.val_accuracy]).collect()
}

#[track_caller]
fn goes_on(trial: &Trial) {
    let whole = trial.run(None, &silent, &mut |_| Ok(())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join(CHECKPOINT);
    for interruptions in 0..20 {
        let steps = AtomicU64::new(0);
        let stop = |event: Event| match event {
            Event::Advance(1) if steps.fetch_add(1, Ordering::Relaxed) == 1 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        match trial.run(Some(&checkpoint), &stop, &mut |_| Ok(())) {
            Err(Error::Interrupted) => continue,
            Err(other) => panic!("{other}"),
            Ok(tuned) => {
                // Of twelve steps.
                assert!(interruptions >= 5, "{interruptions}");
                assert_eq!(figures(&tuned), figures(&whole));
                assert!(tuned.values == whole.values && tuned.best == whole.best);
                return;
            }
        }
    }
    panic!("it does not come to an end");
}

#[test]
fn momentum_goes_on() {
    let wishes = Wishes { optimizer: Some(OptimizerChoice::Sgd), momentum: Some(0.9), ema: Some(0.5), ..wishes() };
    goes_on(&trial(&golden_model("tiny"), &Extent::All, wishes));
}

#[test]
fn statistics_go_on() {
    let wishes = Wishes { bn: Some(BatchNorms::Train), ..wishes() };
    goes_on(&trial(&golden_model("norms"), &Extent::All, wishes));
}

#[test]
fn what_is_trained_behind_kept_rows_goes_on() {
    goes_on(&trial(&golden_model("tiny"), &Extent::Behind("relu".into()), wishes()));
}

/// A slope that is one number for all channels, without an axis.
#[test]
fn single_numbers_go_on() {
    let mut model = golden_model("tiny");
    let graph = model.proto.graph.as_mut().unwrap();
    let relu = graph.node.iter_mut().find(|node| node.is("Relu")).unwrap();
    (relu.op_type, relu.input) = (Some("PRelu".into()), vec!["conv".into(), "slope".into()]);
    let (name, data_type, float_data) = (Some("slope".into()), Some(data_type::FLOAT), vec![0.25]);
    graph.initializer.push(TensorProto { name, data_type, float_data, ..Default::default() });
    let trial = trial(&model, &Extent::All, wishes());
    let trained = trial.run(None, &silent, &mut |_| Ok(())).unwrap().values;
    assert!(trained["slope"].len() == 1 && trained["slope"] != [0.25], "{:?}", trained["slope"]);
    goes_on(&trial);
}

#[test]
fn short_epochs_are_not_all_saved() {
    let wishes = Wishes { steps: Some(60), batch_size: Some(BatchSize::All), ..wishes() };
    let trial = trial(&golden_model("tiny"), &Extent::All, wishes);
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = folder.path().join(CHECKPOINT);
    let mut saved = Vec::new();
    let whole = trial
        .run(Some(&checkpoint), &silent, &mut |_| {
            saved.extend(checkpoint.metadata().and_then(|file| file.modified()).ok());
            Ok(())
        })
        .unwrap();
    // The first one is there at the third row: the start's is told before any step.
    assert_eq!((whole.epochs.len(), saved.len()), (61, 59));
    saved.dedup();
    assert!(saved.len() < 20, "{} times", saved.len());
    // The last one is.
    let mut rows = 0;
    let again = trial
        .run(Some(&checkpoint), &silent, &mut |_| {
            rows += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!((again.values == whole.values, rows), (true, 61));
}
