//! Heads that are trained on a GPU, against the CPU's.

use super::super::build::Rng;
use super::{difference, gpu};
use adapt::data::Task;
use adapt::progress::silent;
use adapt::tensor::{Device, Number, Precision};
use adapt::train::heads::{Kind, Wishes, choose, choose_several};
use ndarray::Array2;

/// What a head that was trained on a device gives.
type Scores<'a> = &'a dyn Fn(&Device) -> Array2<f32>;

/// In full precision, whatever else the thread computes with.
#[test]
fn heads_are_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let (images, features, classes) = (600, 6, 3);
    let mut rng = Rng::new(31);
    let labels: Vec<usize> = (0..images).map(|i| i % classes).collect();
    let x = Array2::from_shape_fn((images, features), |(i, j)| {
        rng.number() + if j % classes == labels[i] { 0.7 } else { 0. }
    });
    let several = Array2::from_shape_fn((images, 4), |(i, j)| f32::from(u8::from(x[[i, j]] + rng.number() > 0.3)));
    let wishes = |kind: Option<Kind>, device: &Device| {
        let (folds, device) = (Some(2), device.clone());
        Wishes { kind, folds, device, ..Wishes::default() }
    };
    let of_classes = |kind: Kind, device: &Device| {
        let found = choose(x.view(), &[features], &labels, classes, &wishes(Some(kind), device), &silent).unwrap();
        found.logits(x.view()).unwrap()
    };
    let of_labels = |device: &Device| {
        let (wishes, task) = (wishes(None, device), Task::Multilabel);
        let found = choose_several(x.view(), &[features], several.view(), task, &wishes, &silent).unwrap();
        found.head.logits(x.view()).unwrap()
    };
    let all: [(&str, Scores); 3] = [
        ("softmax regression", &|device| of_classes(Kind::Softmax, device)),
        ("a perceptron", &|device| of_classes(Kind::Mlp, device)),
        ("labels", &of_labels),
    ];
    let rounded = Precision { conv: Number::Bf16, product: Number::Bf16 };
    for (name, scores) in all {
        let (own, before) = (scores(&Device::Cpu), gpu.copies());
        let there = rounded.during(|| scores(&Device::Cuda(gpu.clone())));
        assert!(gpu.copies().down > before.down, "{name}: nothing came from the GPU");
        let far = difference(there.as_slice().unwrap(), own.as_slice().unwrap());
        assert!(far < 1e-3, "{name}: the scores differ by {far}");
    }
}
