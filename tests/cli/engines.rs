//! Whoever runs the frozen part: what ONNX Runtime makes of the result, and what errors say.

use super::obstacles::{edit, node};
use super::support::Place;
use crate::common::golden;
use adapt::onnx::Model;
use adapt::onnx::data_type;
use adapt::onnx::tensor::{initializer, integers};
use std::fs;

#[test]
fn features_of_which_the_image_has_no_part_are_refused() {
    let place = Place::usual();
    edit(&place, |graph| {
        let weight = graph.initializer.iter_mut().find(|t| t.name() == "w").unwrap();
        *weight = initializer("w", &[6, 3, 3, 3], [0.0; 162], data_type::FLOAT);
    });
    let words = ["tiny.onnx: its features at 'features' are the same for all images", "--cut", "--preprocess"];
    place.refuses("", 1, &words);
}

/// Engines are slow to tell the shapes of thousands of tensors, and no network has so many to choose from.
#[test]
fn a_long_chain_has_no_depths() {
    const NODES: usize = 3000;
    let place = Place::usual();
    edit(&place, |graph| {
        let chain = (0..NODES).map(|i| {
            let before = if i == 0 { "relu".to_string() } else { format!("chain{}", i - 1) };
            node("Relu", &[&before], &format!("chain{i}"))
        });
        graph.node.splice(2..2, chain.collect::<Vec<_>>());
        graph.node[2 + NODES].input[0] = format!("chain{}", NODES - 1);
    });
    place.main("").succeeds();
    assert!(place.json("out/run.json")["plan"]["taps"].is_null());
}
