//! Random models of operators that rearrange, choose and repeat.

use super::build::{Graph, float, int, ints, text};
use super::values::any;

pub fn arrangements(g: &mut Graph) -> String {
    g.input(&[1, 4, 2, 3]);
    let x = g.node("Sin", &["x"], &[]);
    match g.rng.size(0, 5) {
        0 => {
            let order: &[i64] = g.rng.pick(&[&[0, 2, 3, 1], &[2, 0, 1, 3], &[0, 3, 1, 2]]);
            g.node("Transpose", &[&x], &[ints("perm", order)])
        }
        1 => {
            let target: &[i64] = g.rng.pick(&[&[-1, 24], &[0, 8, -1], &[0, 2, 2, 6]]);
            let target = g.integers(target);
            g.node("Reshape", &[&x, &target], &[])
        }
        2 => {
            let axis = int("axis", g.rng.size(1, 3) as i64);
            g.node("Flatten", &[&x], &[axis])
        }
        3 => {
            let axes = g.integers(&[1, 3]);
            let wide = g.node("Unsqueeze", &[&x, &axes], &[]);
            g.node("Squeeze", &[&wide, &axes], &[])
        }
        4 => {
            let times = [1, g.rng.size(1, 3) as i64, 1, 2];
            let times = g.integers(&times);
            g.node("Tile", &[&x, &times], &[])
        }
        _ => {
            let mean = g.node("ReduceMean", &[&x], &[ints("axes", &[1, 2]), int("keepdims", 1)]);
            let target = g.integers(&[1, 4, 2, 3]);
            g.node("Expand", &[&mean, &target], &[])
        }
    }
}

pub fn joins(g: &mut Graph) -> String {
    let dims = any(g);
    let axis = int("axis", g.rng.size(1, dims.len() - 1) as i64);
    let sin = g.node("Sin", &["x"], &[]);
    g.node("Concat", &["x", &sin, "x"], &[axis])
}

pub fn slices(g: &mut Graph) -> String {
    g.input(&[1, 7, 8]);
    if g.rng.coin() {
        let parts = g.outputs("Split", &["x"], &[int("axis", 2)], 2);
        return g.node("Mul", &[&parts[0], &parts[1]], &[]);
    }
    let (start, end, step) = g.rng.pick(&[(1, 6, 1), (0, 7, 2), (-5, 9, 3), (6, 0, -2), (-1, -8, -1), (2, 5, 1)]);
    let inputs = [[start, 1], [end, -1], [1, 2], [step, 2]].map(|values| g.integers(&values));
    g.node("Slice", &["x", &inputs[0], &inputs[1], &inputs[2], &inputs[3]], &[])
}

pub fn gathers(g: &mut Graph) -> String {
    g.input(&[1, 5, 4]);
    let axis = g.rng.size(1, 2);
    let places = [0, g.rng.size(0, 3) as i64, -1, 2];
    let places = if g.rng.coin() { g.integers(&places) } else { g.integer(1) };
    g.node("Gather", &["x", &places], &[int("axis", axis as i64)])
}

pub fn paddings(g: &mut Graph) -> String {
    g.input(&[1, 2, 4, 5]);
    let mode = g.rng.pick(&["constant", "reflect", "edge", "wrap"]);
    // Reflecting what was cut off before is not defined alike everywhere.
    let cut = if mode == "constant" { 1 } else { 0 };
    let pads: Vec<i64> =
        (0..8).map(|i| if i % 4 < 2 { 0 } else { g.rng.size(0, 3 + cut) as i64 - cut as i64 }).collect();
    let mode_text = text("mode", mode);
    match g.rng.size(0, 2) {
        0 if mode != "wrap" => {
            g.opset = 10;
            g.node("Pad", &["x"], &[mode_text, ints("pads", &pads), float("value", 0.4)])
        }
        1 => {
            g.opset = 19;
            let (pads, axes) = (g.integers(&[pads[3], pads[2], pads[7], pads[6]]), g.integers(&[-1, 2]));
            g.node("Pad", &["x", &pads, "", &axes], &[mode_text])
        }
        _ => {
            g.opset = 19;
            let (pads, value) = (g.integers(&pads), g.values(&[], vec![0.3]));
            g.node("Pad", &["x", &pads, &value], &[mode_text])
        }
    }
}

/// A token of ones for each image, a mask whose sizes follow the batch: what only a run can know.
pub fn sized_by_the_batch(g: &mut Graph) -> String {
    g.input(&[1, 4, 3]);
    let all = g.node("Shape", &["x"], &[]);
    let (zero, one) = (g.integers(&[0]), g.integers(&[1]));
    let count = g.node("Slice", &[&all, &zero, &one], &[]);
    let tail = g.integers(&[2, 3]);
    let target = g.node("Concat", &[&count, &tail], &[int("axis", 0)]);
    let token = g.weight(&[1, 2, 3]);
    let tokens = g.node("Expand", &[&token, &target], &[]);
    let number = g.node("Cast", &[&count], &[int("to", 1)]);
    let joined = g.node("Concat", &["x", &tokens], &[int("axis", 1)]);
    g.node("Div", &[&joined, &number], &[])
}
