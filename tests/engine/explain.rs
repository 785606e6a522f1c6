//! Maps of what a model sees, against PyTorch's gradients (tests/golden/make_explain.py) and each other.

use crate::common;
use adapt::data::images_below;
use adapt::engine::{Backend, Choice};
use adapt::explain::{Explainer, Method};
use adapt::plan::Trained;
use adapt::progress::silent;
use ndarray::{Array2, ArrayD};
use serde_json::Value;
use std::path::Path;
use std::sync::LazyLock;

static GOLDEN: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../golden/explain.json")).unwrap());
const CLASSES: usize = 4;

fn backend(choice: Choice) -> Backend {
    common::runtime();
    Backend::resolve(choice, None, true, &silent).unwrap()
}

fn trained(name: &str) -> Trained {
    Trained::open(&common::golden(&format!("explain/{name}.onnx")), None, None).unwrap()
}

fn image() -> ArrayD<f32> {
    let side = GOLDEN["side"].as_u64().unwrap() as usize;
    let values = serde_json::from_value(GOLDEN["image"].clone()).unwrap();
    ArrayD::from_shape_vec(vec![1, 3, side, side], values).unwrap()
}

/// The largest difference, relative to the largest wanted value.
fn far(map: &Array2<f32>, wanted: &Array2<f32>) -> f32 {
    assert_eq!(map.dim(), wanted.dim());
    let largest = wanted.iter().fold(1e-12f32, |m, v| m.max(v.abs()));
    map.iter().zip(wanted).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn gradients_give_the_maps_of_pytorch() {
    for (name, places) in [("pooled", 8), ("convs", 8), ("tokens", 4)] {
        let trained = trained(name);
        for choice in [Choice::Auto, Choice::Tract] {
            let backend = backend(choice);
            let mut explainer = Explainer::open(&trained, &backend, Some(Method::GradCam), None).unwrap();
            assert_eq!(explainer.classes(), CLASSES);
            for class in 0..CLASSES {
                let found = explainer.explain(image().view(), Some(class)).unwrap();
                let wanted: Vec<Vec<f32>> = serde_json::from_value(GOLDEN[name]["maps"][class].clone()).unwrap();
                let wanted = Array2::from_shape_vec((places, places), wanted.concat()).unwrap();
                let far = far(&found.map, &wanted);
                assert!(far < 1e-3, "{name}, class {class} at {:?}: {far}", explainer.tensors());
                assert_eq!((found.class, found.predicted), (class, 2), "{name}");
            }
        }
    }
}

#[test]
fn the_first_method_that_suits_is_taken() {
    let backend = backend(Choice::Auto);
    for (name, method) in [("pooled", Method::Cam), ("convs", Method::GradCam), ("tokens", Method::GradCam)] {
        let trained = trained(name);
        assert_eq!(Explainer::open(&trained, &backend, None, None).unwrap().method(), method, "{name}");
    }
}

#[test]
fn scores_that_are_mixed_behind_the_layer_are_not_explained_by_its_weights() {
    let backend = backend(Choice::Auto);
    // One leaves the first class away, the other normalises scores.
    for name in ["background", "scores_normed"] {
        let trained = Trained::open(&common::golden(&format!("onnx/{name}.onnx")), None, None).unwrap();
        assert_eq!(Explainer::open(&trained, &backend, None, None).unwrap().method(), Method::GradCam, "{name}");
    }
    // Bias, activation and shape do not mix them.
    for name in ["matmul_add", "conv_squeeze", "logsoftmax"] {
        let trained = Trained::open(&common::golden(&format!("onnx/{name}.onnx")), None, None).unwrap();
        assert_eq!(Explainer::open(&trained, &backend, None, None).unwrap().method(), Method::Cam, "{name}");
    }
}

/// A head is what it is however a file writes it: its map is the one that gradients give, and occlusion agrees with it.
#[test]
fn heads_in_every_form_have_exact_maps() {
    const NAMES: [&str; 6] =
        ["einsum_cd", "einsum_dc", "gemm_transa", "weight_transposed", "weight_cast", "weight_computed"];
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fashion/test/shirt/00286.png");
    let (source, paths, _) = images_below(&[file], &silent).unwrap();
    let mut agreements = Vec::new();
    for (choice, name) in [Choice::Auto, Choice::Tract].into_iter().flat_map(|choice| NAMES.map(|name| (choice, name)))
    {
        let backend = backend(choice);
        let trained = Trained::open(&common::golden(&format!("onnx/{name}.onnx")), None, None).unwrap();
        let mut exact = Explainer::open(&trained, &backend, None, None).unwrap();
        assert_eq!(exact.method(), Method::Cam, "{name}");
        let mut gradients = Explainer::open(&trained, &backend, Some(Method::GradCam), None).unwrap();
        assert_eq!(exact.tensors(), gradients.tensors(), "{name}");
        let image = exact.values(&source, &paths[0]).unwrap();
        for class in 0..CLASSES {
            let [found, wanted] = [&mut exact, &mut gradients].map(|e| e.explain(image.view(), Some(class)).unwrap());
            assert!(far(&found.map, &(wanted.map * 64.)) < 1e-4, "{name}, class {class}");
            agreements.push(exact.check(image.view(), &found).unwrap());
        }
    }
    let mean = agreements.iter().sum::<f64>() / agreements.len() as f64;
    // Of random weights; of other maps it is 0.
    assert!(mean > 0.15, "{mean}: {agreements:?}");
}

#[test]
fn heads_in_other_forms_without_averages_have_gradients() {
    let backend = backend(Choice::Auto);
    for name in ["einsum_cd", "einsum_dc", "gemm_transa", "weight_computed"] {
        let mut trained = Trained::open(&common::golden(&format!("onnx/{name}.onnx")), None, None).unwrap();
        let nodes = &mut trained.model.proto.graph.as_mut().unwrap().node;
        let pool = nodes.iter_mut().find(|node| node.is("GlobalAveragePool")).unwrap();
        pool.op_type = Some("GlobalMaxPool".into());
        let explainer = Explainer::open(&trained, &backend, None, None).unwrap();
        assert_eq!((explainer.method(), explainer.tensors()), (Method::GradCam, vec!["map"]), "{name}");
    }
}

#[test]
fn exact_maps_are_those_of_gradients_times_the_places() {
    let (trained, backend) = (trained("pooled"), backend(Choice::Auto));
    let mut exact = Explainer::open(&trained, &backend, Some(Method::Cam), None).unwrap();
    let mut gradients = Explainer::open(&trained, &backend, Some(Method::GradCam), None).unwrap();
    assert_eq!(exact.tensors(), gradients.tensors());
    for class in 0..CLASSES {
        let [exact, gradients] = [&mut exact, &mut gradients].map(|e| e.explain(image().view(), Some(class)).unwrap());
        assert!(far(&exact.map, &(gradients.map * 64.)) < 1e-4);
        assert_eq!(exact.probability, gradients.probability);
    }
}

#[test]
fn means_and_deviations_of_several_maps_have_exact_maps_too() {
    let (trained, backend) = (trained("depths"), backend(Choice::Auto));
    let mut explainer = Explainer::open(&trained, &backend, None, None).unwrap();
    assert_eq!((explainer.method(), explainer.tensors().len()), (Method::Cam, 2));
    for class in 0..CLASSES {
        let found = explainer.explain(image().view(), Some(class)).unwrap();
        let wanted: Vec<Vec<f32>> = serde_json::from_value(GOLDEN["depths"]["maps"][class].clone()).unwrap();
        assert!(far(&found.map, &Array2::from_shape_vec((16, 16), wanted.concat()).unwrap()) < 1e-4);
    }
}

#[test]
fn gradients_at_a_map_leave_out_features_that_do_not_hang_on_it() {
    let (mut trained, backend) = (trained("depths"), backend(Choice::Auto));
    // As adapt calls it.
    let graph = trained.model.proto.graph.as_mut().unwrap();
    let joins = graph.node.iter_mut().filter(|node| node.is("Concat")).max_by_key(|node| node.input.len()).unwrap();
    assert_eq!(joins.input.len(), 3);
    joins.name = Some("adapt.features.depths".into());
    let relus: Vec<String> = graph.node.iter().filter(|n| n.is("Relu")).map(|n| n.output[0].clone()).collect();
    for (places, at, wanted) in [(8, None, 1), (8, Some(&relus[1]), 1), (16, Some(&relus[0]), 0)] {
        let mut explainer = Explainer::open(&trained, &backend, Some(Method::GradCam), at.map(String::as_str)).unwrap();
        assert_eq!(explainer.tensors(), [relus[wanted].as_str()]);
        for class in 0..CLASSES {
            let found = explainer.explain(image().view(), Some(class)).unwrap();
            let maps = &GOLDEN["depths"]["gradients"][wanted][class];
            let maps: Vec<Vec<f32>> = serde_json::from_value(maps.clone()).unwrap();
            let far = far(&found.map, &Array2::from_shape_vec((places, places), maps.concat()).unwrap());
            assert!(far < 1e-3, "class {class} at {at:?}: {far}");
        }
    }
}

#[test]
fn occlusion_finds_what_is_looked_at() {
    let (trained, backend) = (trained("corner"), backend(Choice::Auto));
    let mut explainer = Explainer::open(&trained, &backend, Some(Method::Occlusion), None).unwrap();
    // The image of one brightness: grey in place of it is a change throughout, which only the corner tells. Less of it makes
    // this class less probable (and the predicted one more, at the cost of this).
    let image = ArrayD::from_elem(vec![1, 3, 16, 16], 3f32);
    let found = explainer.explain(image.view(), Some(3)).unwrap();
    let largest = found.map.iter().copied().fold(0f32, f32::max);
    assert!(largest > 0.);
    for ((y, x), &drop) in found.map.indexed_iter() {
        // Five pixels of the 16, and as far as a patch reaches from there.
        assert!(drop == 0. || y < 8 && x < 8, "{y}, {x}: {drop}");
        assert!(drop < largest || y < 5 && x < 5, "{y}, {x}");
    }
    // The check compares with just that.
    assert!((explainer.check(image.view(), &found).unwrap() - 1.).abs() < 1e-9);
}

#[test]
fn what_cannot_be_explained_says_so() {
    let backend = backend(Choice::Auto);
    let refuses = |name: &str, method, at: Option<&str>, words: &[&str]| {
        let trained = trained(name);
        let error = Explainer::open(&trained, &backend, method, at).err().unwrap().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refuses("convs", Some(Method::Cam), None, &["global averages", "gradcam"]);
    refuses("convs", None, Some("nothing"), &["--at nothing", "adapt inspect"]);
    // A tensor, but one that has no places.
    refuses("convs", None, Some("/head/head.0/Gemm_output_0"), &["--at", "no map"]);
    let trained = trained("convs");
    let mut explainer = Explainer::open(&trained, &backend, None, None).unwrap();
    let error = explainer.explain(image().view(), Some(CLASSES)).err().unwrap().to_string();
    assert!(error.contains("4 classes"), "{error}");
}

#[test]
fn gradients_are_taken_where_one_asks() {
    let (trained, backend) = (trained("convs"), backend(Choice::Auto));
    let mut explainer = Explainer::open(&trained, &backend, None, Some("/first/first.1/Relu_output_0")).unwrap();
    let found = explainer.explain(image().view(), None).unwrap();
    assert_eq!((explainer.method(), found.map.dim()), (Method::GradCam, (16, 16)));
    assert!(found.map.iter().any(|&value| value > 0.));
}
