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
        // Where the last step and the window end ahead of the map's end, ONNX Runtime takes the padding that would keep the
        // size for negative: it shifts averages, and refuses maxima.
        for ((stride, &kernel), &size) in strides.iter_mut().zip(&kernel).zip(&spatial) {
            *stride = if (size - 1) / *stride * *stride + kernel < size { kernel.min(*stride) } else { *stride };
        }
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
    let (spatial, kernel, mut attributes) = window(g, rank, true);
    let same = attributes.iter().any(|a| a.name() == "auto_pad");
    if same || (op == "AveragePool" && g.rng.coin()) {
        attributes.remove(1);
    } else if op == "AveragePool" {
        // It has dilations since then.
        g.opset = 19;
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

pub fn transposed_convolutions(g: &mut Graph) -> String {
    let rank = g.rng.size(1, 2);
    let mut sizes = |from: usize, to: usize| (0..rank).map(|_| g.rng.size(from, to) as i64).collect::<Vec<i64>>();
    let (kernel, strides, dilations, spatial) = (sizes(1, 3), sizes(1, 3), sizes(1, 2), sizes(2, 5));
    let mut attributes = vec![ints("strides", &strides), ints("kernel_shape", &kernel)];
    match g.rng.size(0, 5) {
        0 => attributes.push(text("auto_pad", "SAME_UPPER")),
        1 => attributes.push(text("auto_pad", "SAME_LOWER")),
        // Up to two pixels less than without padding. ONNX Runtime refuses more.
        5 => {
            let whole = |axis: usize| strides[axis] * (spatial[axis] - 1) + (kernel[axis] - 1) * dilations[axis] + 1;
            let asked = (0..rank).map(|axis| (whole(axis) + g.rng.size(0, 2) as i64 - 2).max(1)).collect::<Vec<_>>();
            attributes.extend([ints("output_shape", &asked), ints("dilations", &dilations)]);
            attributes.push(text("auto_pad", g.rng.pick(&["NOTSET", "SAME_UPPER", "SAME_LOWER"])));
        }
        2 => attributes.push(ints("dilations", &dilations)),
        3 => {
            let extra: Vec<i64> = strides.iter().map(|&s| s - 1).collect();
            attributes.extend([ints("output_padding", &extra), ints("dilations", &dilations)]);
        }
        _ => {
            let pads: Vec<i64> = (0..2 * rank).map(|i| (kernel[i % rank] - 1).min(1)).collect();
            attributes.push(ints("pads", &pads));
        }
    }
    let (groups, per_group, outputs) = (g.rng.size(1, 3), g.rng.size(1, 2), g.rng.size(1, 2));
    attributes.push(int("group", groups as i64));
    let all = |first: usize, second: usize, rest: &[i64]| {
        [first, second].into_iter().chain(rest.iter().map(|&d| d as usize)).collect::<Vec<usize>>()
    };
    g.input(&all(1, groups * per_group, &spatial));
    let weight = g.weight(&all(groups * per_group, outputs, &kernel));
    if g.rng.coin() {
        let bias = g.weight(&[groups * outputs]);
        return g.node("ConvTranspose", &["x", &weight, &bias], &attributes);
    }
    g.node("ConvTranspose", &["x", &weight], &attributes)
}

/// Blocks summed into the map that they were cut from.
pub fn columns(g: &mut Graph) -> String {
    let (channels, stride, pad) = (g.rng.size(1, 2), g.rng.size(1, 2), g.rng.size(0, 1));
    let (size, block) = ([6, 5], [2, 3]);
    let steps = |axis: usize| (size[axis] + 2 * pad - block[axis]) / stride + 1;
    g.input(&[1, channels * block[0] * block[1], steps(0) * steps(1)]);
    g.opset = 18;
    let [size, block] = [size, block].map(|two| g.integers(&two.map(|n| n as i64)));
    let (stride, pad) = ([stride as i64; 2], [pad as i64; 4]);
    g.node("Col2Im", &["x", &size, &block], &[ints("strides", &stride), ints("pads", &pad)])
}

/// Over three axes, one of which is crossed pixel by pixel.
pub fn sliced_convolutions(g: &mut Graph) -> String {
    let axis = g.rng.size(0, 2);
    let (mut kernel, mut pads, mut strides) = (vec![2, 3, 2], vec![0, 1, 1, 1, 0, 1], vec![1, 2, 1]);
    (kernel[axis], strides[axis], pads[axis], pads[axis + 3]) = (1, 1, 0, 0);
    let (inputs, outputs) = (g.rng.size(1, 3), g.rng.size(1, 3));
    g.input(&[1, inputs, 3, 4, 5]);
    let shape: Vec<usize> = [outputs, inputs].into_iter().chain(kernel).collect();
    let (weight, bias) = (g.weight(&shape), g.weight(&[outputs]));
    g.node("Conv", &["x", &weight, &bias], &[ints("pads", &pads), ints("strides", &strides)])
}
