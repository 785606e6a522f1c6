//! A small network and small images, trained without the program around them.

use adapt::data::{Layout, Preprocessing, Source, Spec};
use adapt::engine::{Backend, Choice, Extractor, KeptRows};
use adapt::error::Result;
use adapt::graph::Extent;
use adapt::onnx::Model;
use adapt::plan::{Input, Inside};
use adapt::progress::{Progress, silent};
use adapt::train::loss::LossKind;
use adapt::train::tune::{BatchNorms, Feed, Row, Settings, Targets, Task, Tuned, Tuning, Wishes};
use std::collections::HashMap;
use std::path::Path;
use tempfile::TempDir;

/// Images that differ; more labels than that begin with the first again.
const IMAGES: usize = 24;

pub struct Trial {
    inside: Inside,
    kept: Option<[KeptRows; 2]>,
    source: Source,
    preprocessing: Preprocessing,
    paths: Vec<String>,
    labels: Vec<usize>,
    train: usize,
    classes: usize,
    settings: Settings,
    /// Values to begin with.
    pub start: HashMap<String, Vec<f32>>,
    _place: TempDir,
}

/// A model of `tests/golden`.
pub fn golden_model(name: &str) -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.onnx"))).unwrap()
}

impl Trial {
    /// For images of 8×8 pixels with these labels, of which the first `train` train and the others validate. `model` gives
    /// scores as `logits`, and has their bias as `c`.
    pub fn new(model: &Model, extent: &Extent, (labels, train): (Vec<usize>, usize), wishes: Wishes) -> Trial {
        let place = tempfile::tempdir().unwrap();
        for i in 0..IMAGES {
            let value = |x: u32, y: u32, c: u32| ((i as u32 * 37 + x * 11 * (c + 1) + y * 23) % 256) as u8;
            let image = image::RgbImage::from_fn(8, 8, |x, y| image::Rgb([0, 1, 2].map(|c| value(x, y, c))));
            image.save(place.path().join(format!("{i}.png"))).unwrap();
        }
        let (height, width, batch) = (8, 8, None);
        let (name, data_type) = (model.graph().input[0].name().into(), "float32".into());
        let input = Input { name, layout: Layout::Nchw, height, width, channels: 3, batch, data_type };
        let backend = Backend::resolve(Choice::Candle, None, true, &silent).unwrap();
        let mut inside = Inside::open(model, "logits", extent, &backend, &input).unwrap();
        let task = Task {
            images: train,
            from_images: inside.start.is_none(),
            characters: false,
            from_scratch: false,
            initial_norms: false,
            on_gpu: false,
            loss: LossKind::CrossEntropy,
            seed: 0,
        };
        let settings = Settings::decide(&wishes, task);
        if settings.bn == BatchNorms::Train {
            inside.follow().unwrap();
        }
        let preprocessing = "raw01,resize=8x8".parse::<Spec>().unwrap().resolve(8, 8).unwrap();
        let source = Source::folder(place.path());
        let paths: Vec<String> = (0..labels.len()).map(|i| format!("{}.png", i % IMAGES)).collect();
        let kept = inside.frozen.take().map(|frozen| {
            let mut extractor = Extractor::new(frozen, 0, preprocessing.clone(), Layout::Nchw);
            let width = inside.shape.iter().product();
            let mut keep = |paths: &[String]| extractor.keep(&source, paths, "", (width, None), &silent).unwrap().1;
            [keep(&paths[..train]), keep(&paths[train..])]
        });
        let bias = model.graph().initializer.iter().find(|tensor| tensor.name() == "c").unwrap();
        let (classes, start) = (bias.dims[0] as usize, HashMap::new());
        Trial { inside, kept, source, preprocessing, paths, labels, train, classes, settings, start, _place: place }
    }

    /// Trains, or goes on where a checkpoint is.
    pub fn run(&self, checkpoint: Option<&Path>, progress: Progress, row: Row) -> Result<Tuned> {
        let (paths, labels) = (self.paths.split_at(self.train), self.labels.split_at(self.train));
        let feed = |paths, labels, place: usize| Feed {
            source: &self.source,
            paths,
            labels,
            preprocessing: &self.preprocessing,
            layout: Layout::Nchw,
            kept: self.kept.as_ref().map(|kept| &kept[place]),
            frozen: None,
            shape: &self.inside.shape,
        };
        let tuning = Tuning {
            program: &self.inside.program,
            training: self.inside.training.as_ref(),
            depths: &self.inside.depths,
            start: self.start.clone(),
            settings: &self.settings,
            targets: &Targets::Classes(self.classes),
            train: feed(paths.0, labels.0, 0),
            val: feed(paths.1, labels.1, 1),
            checkpoint: checkpoint.map(Path::to_path_buf),
        };
        tuning.run(progress, row)
    }
}
