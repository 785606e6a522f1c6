//! Random models of operators that slide over maps.

use super::build::{Graph, float, int, ints, text};
use super::values::shape;

/// Strides, dilations, padding and sizes of a window over `rank` axes; and an input it fits.
fn window(
    g: &mut Graph,
    rank: usize,
    dilated: bool,
) -> (Vec<usize>, Vec<i64>, Vec<adapt::onnx::schema::AttributeProto>) {
    let mut sizes = |from: usize, to: usize| (0..rank).map(|_| g.rng.size(from, to) as i64).collect::<Vec<i64>>();
    let (kernel, mut strides, mut dilations) = (sizes(1, 3), sizes(1, 3), sizes(1, 2));
    if !dilated {
        dilations = vec![1; rank];
    }
    let (spatial, padding) = (sizes(6, 9), g.rng.size(0, 3));
    if padding < 2 {
        // ONNX Runtime takes padding that keeps the size for negative where steps are longer than the window.
        strides.iter_mut().zip(&kernel).for_each(|(stride, &kernel)| *stride = kernel.min(*stride));
    }
    let mut attributes = vec![ints("strides", &strides), ints("dilations", &dilations)];
    match padding {
        0 => attributes.push(text("auto_pad", "SAME_UPPER")),
        1 => attributes.push(text("auto_pad", "SAME_LOWER")),
        2 => {}
        _ => {
            let pads: Vec<i64> =
                (0..2 * rank).map(|i| g.rng.size(0, 1).min(kernel[i % rank] as usize - 1) as i64).collect();
            attributes.push(ints("pads", &pads));
        }
    }
    (spatial.into_iter().map(|d| d as usize).collect(), kernel, attributes)
}

pub fn convolutions(g: &mut Graph) -> String {
    let rank = g.rng.size(1, 2);
    let (spatial, kernel, mut attributes) = window(g, rank, true);
    // Same padding with dilation is not defined alike everywhere.
    let same = attributes.iter().any(|a| a.name() == "auto_pad");
    if same {
        attributes[1] = ints("dilations", &vec![1; rank]);
    }
    let (groups, per_group, outputs) = match g.rng.size(0, 3) {
        0 => (g.rng.size(2, 4), 1, g.rng.size(1, 2)),
        1 => (2, g.rng.size(2, 3), g.rng.size(1, 3)),
        _ => (1, g.rng.size(1, 4), g.rng.size(1, 4)),
    };
    let mut dims = vec![1, groups * per_group];
    dims.extend(&spatial);
    g.input(&dims);
    let mut shape = vec![groups * outputs, per_group];
    shape.extend(kernel.iter().map(|&k| k as usize));
    let weight = g.weight(&shape);
    attributes.push(int("group", groups as i64));
    attributes.push(ints("kernel_shape", &kernel));
    if g.rng.coin() {
        let bias = g.weight(&[groups * outputs]);
        return g.node("Conv", &["x", &weight, &bias], &attributes);
    }
    g.node("Conv", &["x", &weight], &attributes)
}

pub fn pools(g: &mut Graph) -> String {
    let rank = g.rng.size(1, 2);
    let op = g.rng.pick(&["MaxPool", "AveragePool"]);
    let (spatial, kernel, mut attributes) = window(g, rank, op == "MaxPool");
    let same = attributes.iter().any(|a| a.name() == "auto_pad");
    if same || op == "AveragePool" {
        attributes.remove(1);
    }
    if !same && g.rng.coin() {
        attributes.push(int("ceil_mode", 1));
    }
    if op == "AveragePool" && g.rng.coin() {
        attributes.push(int("count_include_pad", 1));
    }
    attributes.push(ints("kernel_shape", &kernel));
    let mut dims = vec![1, g.rng.size(1, 3)];
    dims.extend(spatial);
    g.input(&dims);
    g.node(op, &["x"], &attributes)
}

pub fn global_pools(g: &mut Graph) -> String {
    let dims = shape(g, 4);
    g.input(&dims);
    let op = g.rng.pick(&["GlobalAveragePool", "GlobalMaxPool"]);
    g.node(op, &["x"], &[])
}

pub fn responses(g: &mut Graph) -> String {
    g.input(&[1, 7, 3, 2]);
    let size = g.rng.pick(&[1, 3, 5]);
    g.node("LRN", &["x"], &[int("size", size), float("alpha", 0.3), float("beta", 0.7), float("bias", 1.2)])
}
