//! How training inside ends, and what it keeps on its way.

use super::inside::classes;
use std::fs;

#[test]
fn divergence_in_the_last_step_is_told() {
    let place = classes();
    let ran = place.main("--train all --lr 1e30 --clip-grad 0 --steps 1 --val 0");
    assert!(ran.code == Some(1) && ran.err.contains("step 1: the logits are not finite; lower --lr"), "{}", ran.err);
    assert!(place.path("out/model.onnx").is_file());
}

#[test]
fn what_is_kept_in_a_file_trains_alike() {
    let place = classes();
    let run = |arguments: &str| {
        place.main(&format!("--train last:1 --epochs 2 --augment none --force {arguments}")).succeeds();
        fs::read(place.path("out/model.onnx")).unwrap()
    };
    assert!(run("--cache-limit 1K") == run("--cache-limit 1G"));
    place.main("--train last:1 --cache-limit much --force").fails(2, &["--cache-limit", "give a size"]);
    place.main("--cache-limit 1G --force").fails(2, &["--train head"]);
}
