//! The proof at the end of a run: it must notice what is wrong with the written file, and say where.

mod common;

use adapt::data::{Preprocessing, Source, Spec};
use adapt::onnx::schema::TensorProto;
use adapt::onnx::{Model, tensor};
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;
use adapt::train::LinearHead;
use adapt::verify::{Expected, Parity, verify};
use adapt::{Backend, Error};
use common::{golden, onnx_runtime, tract};
use ndarray::{Array1, Array2};
use std::path::PathBuf;

/// tiny.onnx with a new head of three classes, its features on four images.
struct Fixture {
    folder: tempfile::TempDir,
    plan: Plan,
    adapted: Adapted,
    features: Array2<f32>,
    paths: Vec<String>,
    backend: Backend,
}

fn fixture(backend: Backend) -> Fixture {
    with_model(backend, "tiny.onnx")
}

fn with_model(backend: Backend, file: &str) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<String> = (0..4).map(|i| format!("{i}.png")).collect();
    for (i, path) in paths.iter().enumerate() {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 30) as u8, (y * 30) as u8, (i * 60) as u8]);
        image::RgbImage::from_fn(8, 8, pixel).save(folder.path().join(path)).unwrap();
    }
    let options =
        PlanOptions { preprocess: Some("raw01,resize=8x8,crop=none".parse::<Spec>().unwrap()), ..Default::default() };
    let mut model = Model::open(golden(file)).unwrap();
    let (plan, mut backbone) = Plan::make(&mut model, &backend, &options, &silent).unwrap();
    let features = backbone.run(&Source::folder(folder.path()), &paths, "features", &silent).unwrap().rows;
    let weight = Array2::from_shape_fn((3, plan.features), |(i, j)| (i as f32 - 1.0) * 0.7 + (j as f32).cos());
    let head = LinearHead { weight, bias: Array1::from_vec(vec![0.1, -0.2, 0.3]) };
    let adapted = Adapted::new(&model, &plan, &head).unwrap();
    Fixture { folder, plan, adapted, features, paths, backend }
}

impl Fixture {
    /// Writes the model after `change` to its initializers, and verifies it.
    fn check(&self, change: impl Fn(&mut TensorProto)) -> adapt::Result<Parity> {
        let mut model = self.adapted.model.clone();
        model.proto.graph.as_mut().unwrap().initializer.iter_mut().for_each(change);
        let file: PathBuf = self.folder.path().join("model.onnx");
        std::fs::write(&file, model.to_bytes().unwrap()).unwrap();
        let source = Source::folder(self.folder.path());
        let images = (&source, &self.paths[..]);
        let logits = self.adapted.head.logits(self.features.view()).unwrap();
        let trained = Expected { logits: logits.view(), features: Some(self.features.view()) };
        verify(&file, &self.plan, self.adapted.activation, &self.backend, images, trained, &silent)
    }
}

/// Adds `by` to every value of the tensor called `name`.
fn shift(name: &'static str, by: f32) -> impl Fn(&mut TensorProto) {
    move |t| {
        if t.name() == name {
            let values = tensor::floats(t).unwrap().into_iter().map(|v| v + by);
            t.raw_data = Some(tensor::encode_floats(values, t.data_type()));
        }
    }
}

#[test]
fn an_untouched_file_agrees_in_both_engines() {
    for backend in [onnx_runtime(), tract()] {
        let parity = fixture(backend).check(|_| {}).unwrap();
        assert!(parity.max_rel_logit_diff < 1e-5, "{parity:?}");
        assert_eq!((parity.images, parity.class_agreement), (4, 1.0));
    }
}

#[test]
fn a_changed_weight_is_found_and_placed() {
    let fixture = fixture(onnx_runtime());
    for (name, place) in [("w", "'features'"), ("adapt.head.weight", "'logits'"), ("adapt.head.bias", "'logits'")] {
        let error = fixture.check(shift(name, 0.05)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Parity(_)) && text.contains(place), "{name}: {text}");
    }
    let error = fixture.check(shift("adapt.head.bias", f32::NAN)).unwrap_err().to_string();
    assert!(error.contains("not finite"), "{error}");
    fixture.check(shift("adapt.head.bias", 1e-7)).unwrap();
}

#[test]
fn another_preprocessing_is_found() {
    let mut fixture = fixture(onnx_runtime());
    fixture.plan.preprocessing = Preprocessing { scale: 1.1 / 255.0, ..fixture.plan.preprocessing.clone() };
    let error = fixture.check(|_| {}).unwrap_err().to_string();
    assert!(error.contains("'features'"), "{error}");
}

#[test]
fn an_activation_hides_no_wrong_head() {
    for file in ["onnx/softmax.onnx", "onnx/sigmoid.onnx", "onnx/logsoftmax.onnx"] {
        let mut fixture = with_model(onnx_runtime(), file);
        // Logits so far apart that the probabilities are 0 and 1 whatever the head's scale is.
        fixture.adapted.head.bias = Array1::from_vec(vec![200.0, -150.0, -200.0]);
        let bias = fixture.adapted.head.bias.clone();
        let set = |factor: f32| {
            let bias = bias.clone();
            move |t: &mut TensorProto| {
                if t.name() == "adapt.head.bias" {
                    t.raw_data = Some(tensor::encode_floats(bias.iter().map(|b| b * factor), t.data_type()));
                }
            }
        };
        assert!(fixture.check(set(1.0)).unwrap().max_rel_logit_diff < 1e-5, "{file}");
        let error = fixture.check(set(1.5)).unwrap_err().to_string();
        assert!(error.contains("adapt.head.logits"), "{file}: {error}");
    }
}

#[test]
fn logits_of_rounding_alone_may_differ() {
    let mut fixture = fixture(onnx_runtime());
    fixture.adapted.head.weight.fill(0.0);
    let mut set = |value: f32| {
        fixture.adapted.head.bias.fill(value);
        fixture.check(|t| {
            if ["adapt.head.weight", "adapt.head.bias"].contains(&t.name()) {
                let (count, value) =
                    (tensor::element_count(t).unwrap(), if t.dims.len() == 1 { 2.0 * value } else { 0.0 });
                t.raw_data = Some(tensor::encode_floats((0..count).map(|_| value), t.data_type()));
            }
        })
    };
    // Twice as large, and nothing to anybody; then twice as large, and something.
    assert!(set(1e-8).is_ok());
    assert!(set(1e-3).is_err());
}
