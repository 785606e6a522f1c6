//! Random models of operators that pick values by their places, which may be computed from the image.

use super::build::{Graph, float, int, ints};

/// Whole numbers from 0 to 3, computed from `x`, as `int64`.
fn places(g: &mut Graph, x: &str) -> String {
    let (factor, offset) = (g.values(&[], vec![1.9]), g.values(&[], vec![2.]));
    let sin = g.node("Sin", &[x], &[]);
    let wide = g.node("Mul", &[&sin, &factor], &[]);
    let wide = g.node("Add", &[&wide, &offset], &[]);
    let whole = g.node("Floor", &[&wide], &[]);
    g.node("Cast", &[&whole], &[int("to", 7)])
}

/// `Gather` from stored rows.
pub fn computed_places(g: &mut Graph) -> String {
    let length = g.rng.size(1, 4);
    g.input(&[1, length]);
    let (at, axis) = (places(g, "x"), g.rng.size(0, 1));
    let table = g.weight(if axis == 0 { &[4, 3] } else { &[2, 4] });
    // The axis of the images has to come first.
    let rows = g.node("Gather", &[&table, &at], &[int("axis", axis as i64)]);
    let rows = if axis == 0 { rows } else { g.node("Transpose", &[&rows], &[ints("perm", &[1, 0, 2])]) };
    let sum = g.node("ReduceSum", &["x"], &[int("keepdims", 1)]);
    g.node("Mul", &[&rows, &sum], &[])
}

pub fn elements(g: &mut Graph) -> String {
    let (rows, columns) = (g.rng.size(4, 5), g.rng.size(4, 6));
    g.input(&[1, rows, columns]);
    let (at, axis) = (places(g, "x"), g.rng.size(1, 2));
    g.node("GatherElements", &["x", &at], &[int("axis", axis as i64)])
}

/// `GatherND` at stored coordinates of all but the images.
pub fn coordinates(g: &mut Graph) -> String {
    g.input(&[1, 3, 4, 2]);
    let turned = g.node("Transpose", &["x"], &[ints("perm", &[1, 2, 0, 3])]);
    let picked = if g.rng.coin() {
        let at = g.places(&[3, 2], &[0, 1, 2, 3, -1, 0]);
        g.node("GatherND", &[&turned, &at], &[])
    } else {
        let at = g.places(&[2, 1], &[2, 0]);
        let rows = g.node("GatherND", &[&turned, &at], &[]);
        g.node("ReduceMax", &[&rows], &[ints("axes", &[1]), int("keepdims", 0)])
    };
    g.node("Transpose", &[&picked], &[ints("perm", &[1, 0, 2])])
}

pub fn written(g: &mut Graph) -> String {
    g.input(&[1, 4, 3]);
    let sin = g.node("Sin", &["x"], &[]);
    if g.rng.coin() {
        // Each place once: what is written twice is not defined.
        let axis = int("axis", 1);
        let four = g.integers(&[4]);
        let order = g.outputs("TopK", &["x", &four], std::slice::from_ref(&axis), 2).remove(1);
        return g.node("ScatterElements", &[&sin, &order, "x"], &[axis]);
    }
    let turned = g.node("Transpose", &[&sin], &[ints("perm", &[1, 2, 0])]);
    let values = g.node("Transpose", &["x"], &[ints("perm", &[1, 2, 0])]);
    let at = g.places(&[2, 1], &[3, -3]);
    let (zero, two) = (g.integers(&[0]), g.integers(&[2]));
    let values = g.node("Slice", &[&values, &zero, &two], &[]);
    let made = g.node("ScatterND", &[&turned, &at, &values], &[]);
    g.node("Transpose", &[&made], &[ints("perm", &[2, 0, 1])])
}

pub fn triangles(g: &mut Graph) -> String {
    let (rows, columns) = (g.rng.size(1, 5), g.rng.size(1, 5));
    g.input(&[1, rows, columns]);
    let diagonal = g.rng.size(0, 4) as i64 - 2;
    let diagonal = g.integer(diagonal);
    let upper = int("upper", g.rng.size(0, 1) as i64);
    g.node("Trilu", &["x", &diagonal], &[upper])
}

pub fn largest(g: &mut Graph) -> String {
    g.input(&[1, 5, 4]);
    let count = g.rng.size(1, 4) as i64;
    let count = g.integers(&[count]);
    let (axis, largest, slot) = (g.rng.size(1, 2) as i64, g.rng.size(0, 1) as i64, g.rng.size(0, 1));
    let made = g.outputs("TopK", &["x", &count], &[int("axis", axis), int("largest", largest)], 2).remove(slot);
    if slot == 0 { made } else { g.node("Cast", &[&made], &[int("to", 1)]) }
}

pub fn marks(g: &mut Graph) -> String {
    g.input(&[1, 4, 3]);
    if g.rng.coin() {
        return g.node("Hardmax", &["x"], &[int("axis", 1)]);
    }
    let at = places(g, "x");
    let (depth, values) = (g.integers(&[4]), g.values(&[2], vec![0.3, 1.7]));
    let marks = g.node("OneHot", &[&at, &depth, &values], &[int("axis", 1)]);
    let elu = g.node("Elu", &["x"], &[float("alpha", 0.5)]);
    let sum = g.node("ReduceSum", &[&elu], &[int("keepdims", 0)]);
    g.node("Mul", &[&marks, &sum], &[])
}
