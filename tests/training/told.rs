//! What training tells while it goes on.

use adapt::data::{Layout, Source, Spec};
use adapt::graph::Program;
use adapt::onnx::cut::Cut;
use adapt::onnx::pooling::Pooling;
use adapt::onnx::{Model, surgery};
use adapt::progress::Event;
use adapt::train::loss::LossKind;
use adapt::train::tune::{Feed, Settings, Targets, Task, Tuning, Wishes};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

#[test]
fn a_validation_tells_how_far_it_is() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny.onnx");
    let model = surgery::backbone(&Model::open(&tiny).unwrap(), &Cut::at("logits"), &Pooling::None);
    let program = Program::import(&model, &[]).unwrap();
    let place = tempfile::tempdir().unwrap();
    image::RgbImage::new(8, 8).save(place.path().join("0.png")).unwrap();
    let (source, paths, labels) = (Source::folder(place.path()), vec!["0.png".to_string(); 600], vec![1; 600]);
    let preprocessing = "raw01,resize=8x8".parse::<Spec>().unwrap().resolve(8, 8).unwrap();
    let feed = |images: usize| Feed {
        source: &source,
        paths: &paths[..images],
        labels: &labels[..images],
        preprocessing: &preprocessing,
        layout: Layout::Nchw,
        kept: None,
        frozen: None,
        shape: &[3, 8, 8],
    };
    let task = Task {
        images: 8,
        from_images: true,
        characters: false,
        from_scratch: false,
        initial_norms: false,
        on_gpu: false,
        loss: LossKind::CrossEntropy,
        seed: 0,
    };
    let tuning = Tuning {
        program: &program,
        training: None,
        depths: &program.parameters().iter().map(|parameter| (parameter.name.clone(), 0)).collect(),
        start: HashMap::new(),
        settings: &Settings::decide(&Wishes { epochs: Some(1), ..Wishes::default() }, task),
        targets: &Targets::Classes(4),
        train: feed(8),
        val: feed(600),
        checkpoint: None,
    };
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
    let tuned = tuning.run(&listen, &mut |_| Ok(())).unwrap();
    assert_eq!(tuned.epochs.len(), 2);
    // Before the first step, and behind the last, in the one stage that there is.
    let steps = ["validating 256/600", "validating 512/600", "validating 600/600"];
    assert_eq!(told.into_inner().unwrap(), [&["training 1"][..], &steps, &steps].concat());
}
