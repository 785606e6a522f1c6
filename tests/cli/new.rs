//! New networks: what they are, and that every other command takes them without being told anything.

use super::parts::inspected;
use super::support::Place;
use crate::common::{onnx_runtime, tract};
use adapt::onnx::Model;
use adapt::onnx::new::{Architecture, NewNetwork};
use adapt::onnx::tensor::floats;
use ndarray::ArrayD;
use serde_json::json;

fn network(architecture: Architecture, classes: usize, [channels, height, width]: [usize; 3]) -> NewNetwork {
    NewNetwork { architecture, classes, channels, height, width, seed: 0 }
}

/// Weights that training changes: all but running statistics and ReLU6's bounds.
fn weights(model: &Model) -> usize {
    let kept = |name: &str| name.ends_with("weight") || name.ends_with("bias");
    let tensors = model.graph().initializer.iter().filter(|t| kept(t.name()));
    tensors.map(|t| t.dims.iter().product::<i64>() as usize).sum()
}

/// The first and the second figure are PyTorch's: its MNIST example's network with padding, torchvision's ResNet-18.
#[test]
fn networks_have_their_papers_sizes() {
    for (architecture, classes, input, count) in [
        (Architecture::Cnn, 10, [1, 28, 28], 421_642),
        (Architecture::Resnet18, 1000, [3, 224, 224], 11_689_512),
        (Architecture::Resnet18, 10, [3, 32, 32], 11_173_962),
        (Architecture::Resnet8, 10, [3, 32, 32], 78_042),
    ] {
        assert_eq!(weights(&network(architecture, classes, input).build().unwrap()), count, "{architecture} {input:?}");
    }
}

#[test]
fn networks_run_at_any_batch_and_size() {
    let runtime = onnx_runtime();
    for (architecture, input) in [
        (Architecture::Cnn, [1, 28, 28]),
        (Architecture::Cnn, [2, 4, 5]),
        (Architecture::Resnet8, [3, 32, 32]),
        (Architecture::Resnet8, [1, 1, 1]),
        (Architecture::Resnet18, [3, 33, 64]),
        (Architecture::Resnet18, [4, 65, 70]),
        (Architecture::Mobilenet, [1, 28, 28]),
        (Architecture::Mobilenet, [3, 96, 80]),
    ] {
        let model = network(architecture, 7, input).build().unwrap();
        let [channels, height, width] = input;
        let mut results = Vec::new();
        for engine in [&runtime, &tract()] {
            let mut session = engine.open(&model, &[None, Some(channels), Some(height), Some(width)], 2).unwrap();
            for images in [1, 3] {
                let wave = |i: usize| (i as f32 * 0.37).sin();
                let values = (0..images * channels * height * width).map(wave).collect();
                let images = ArrayD::from_shape_vec(vec![images, channels, height, width], values).unwrap();
                results.push(session.run(images.view().into_dyn()).unwrap().swap_remove(0));
            }
        }
        assert_eq!((results[0].shape(), results[1].shape()), (&[1, 7][..], &[3, 7][..]));
        let largest = results[1].iter().fold(0f32, |most, v| most.max(v.abs()));
        assert!((1e-3..1e3).contains(&largest), "{architecture} {input:?}: logits of {largest}");
        for (one, other) in [(0, 2), (1, 3)] {
            let apart = (&results[one] - &results[other]).iter().fold(0f32, |most, v| most.max(v.abs()));
            assert!(apart <= 1e-4 * largest, "{architecture} {input:?}: {apart}");
        }
    }
}

#[test]
fn weights_are_hes_and_glorots_and_the_seed_decides() {
    let described = network(Architecture::Mobilenet, 300, [3, 32, 32]);
    let model = described.build().unwrap();
    let values = |model: &Model, name: &str| {
        floats(model.graph().initializer.iter().find(|t| t.name() == name).unwrap()).unwrap()
    };
    // Fan-in 160 of the last convolution, and 9 where each channel has its own filter.
    for (name, fan_in, within) in [("head.conv.weight", 160.0, 0.01), ("stage6.1.depthwise.conv.weight", 9.0, 0.03)] {
        let values = values(&model, name);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        let expected = (2.0f32 / fan_in).sqrt();
        assert!(mean.abs() < 0.03 * expected && (deviation / expected - 1.0).abs() < within, "{mean} {deviation}");
        // A normal one: 4.55 % beyond two deviations.
        let far = values.iter().filter(|v| v.abs() > 2.0 * expected).count() as f32 / values.len() as f32;
        assert!((0.038..0.053).contains(&far), "{far}");
    }
    let last = values(&model, "classifier.weight");
    let bound = (6.0f32 / (640.0 + 300.0)).sqrt();
    let most = last.iter().fold(0f32, |most, v| most.max(v.abs()));
    assert!(most <= bound && most > 0.99 * bound, "{most} {bound}");
    assert!(values(&model, "classifier.bias").iter().all(|&v| v == 0.0));
    assert!(values(&model, "stem.bn.running_var").iter().all(|&v| v == 1.0));

    assert_eq!(described.build().unwrap().sha256, model.sha256);
    let other = NewNetwork { seed: 1, ..described }.build().unwrap();
    assert_ne!(values(&other, "head.conv.weight"), values(&model, "head.conv.weight"));
    assert_ne!(values(&model, "stage3.1.project.conv.weight"), values(&model, "stage3.2.project.conv.weight"));
}

#[test]
fn the_other_commands_take_it_as_it_is() {
    let place = Place::usual();
    for (architecture, input, channels, weights) in
        [("cnn", "1x20x24", 1, 264_704), ("resnet8", "3x16x16", 3, 77_392), ("mobilenet", "3x16x16", 3, 948_032)]
    {
        let said =
            place.adapt(&format!("new {architecture} --data data --input {input} -o net.onnx --force")).succeeds();
        assert!(said.out.contains(architecture) && said.out.contains("3 classes"), "{}", said.out);
        let model = Model::open(place.path("net.onnx")).unwrap();
        assert_eq!(model.inputs().next().unwrap().tensor_type().unwrap().1.unwrap()[1], Some(channels));
        let found = inspected(&place, "net.onnx");
        assert_eq!((&found["problems"], &found["training"]["inside"]), (&json!([]), &json!("all")), "{found}");
        assert_eq!(found["training"]["parameters"], weights, "{architecture}");
        let adapted = place.adapt("--onnx net.onnx --data data --out out --force").succeeds();
        assert!(!adapted.err.contains("guess"), "{}", adapted.err);
        assert_eq!(place.read("out/labels.txt"), "a\nb\nc\n");
    }
    let predicted = place.adapt("predict net.onnx data/a/0.png --csv").succeeds().out;
    assert!(predicted.lines().nth(1).unwrap().starts_with("data/a/0.png,"), "{predicted}");
    place.adapt("new cnn --classes 3 --input 3x8x8 -o numbered.onnx").succeeds();
    let predicted = place.adapt("predict numbered.onnx data/a/0.png --csv").succeeds().out;
    assert!(["0", "1", "2"].contains(&predicted.lines().nth(1).unwrap().split(',').nth(1).unwrap()), "{predicted}");
}

#[test]
fn what_cannot_be_is_refused_before_memory_is_spent() {
    let place = Place::usual();
    for (arguments, words) in [
        ("resnet18 --classes 4000000000 --input 3x32x32", "too large"),
        ("cnn --classes 18446744073709551615 --input 3x32x32", "too large"),
        ("cnn --classes 10 --input 3x8192x8192", "too large"),
        ("mobilenet --classes 10 --input 3x8192x8192", "too large"),
        ("cnn --classes 10 --input 3x3x32", "too few pixels for the layer pool2"),
        ("resnet8 --classes 1 --input 3x32x32", "two at least"),
        ("resnet8 --data nowhere --input 3x32x32", "nowhere"),
    ] {
        place.adapt(&format!("new {arguments} -o out.onnx")).fails(2, &[words]);
    }
    for arguments in ["cnn --input 3x32x32", "cnn --classes 2", "vgg --classes 2 --input 3x32x32"] {
        place.adapt(&format!("new {arguments} -o out.onnx")).fails(2, &[]);
    }
    for input in ["5x32x32", "3x32x9999", "3x0x32", "32"] {
        place.adapt(&format!("new cnn --classes 2 --input {input} -o out.onnx")).fails(2, &["CHANNELSxHEIGHTxWIDTH"]);
    }
    place.write("out.onnx", "mine");
    place.adapt("new cnn --classes 2 --input 3x8x8 -o out.onnx").fails(2, &["exists already"]);
    assert_eq!(place.read("out.onnx"), "mine");
    // A pipe or a device is not replaced by a file.
    #[cfg(unix)]
    {
        assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
        place.adapt("new cnn --classes 2 --input 3x8x8 -o pipe --force").fails(2, &["pipe", "not a file"]);
    }
}
