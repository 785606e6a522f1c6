//! Random one-operator models: each function adds its nodes to a graph and gives the output's name.

use super::build::{Graph, float, int, ints, text};

pub type Case = fn(&mut Graph) -> String;

/// `[N, …]` of this rank.
fn shape(g: &mut Graph, rank: usize) -> Vec<usize> {
    (0..rank).map(|_| g.rng.size(1, 5)).collect()
}

fn any(g: &mut Graph) -> Vec<usize> {
    let rank = g.rng.size(2, 4);
    let shape = shape(g, rank);
    g.input(&shape);
    shape
}

pub fn functions(g: &mut Graph) -> String {
    any(g);
    let op = g.rng.pick(&[
        "Abs",
        "Ceil",
        "Cos",
        "Cosh",
        "Erf",
        "Exp",
        "Floor",
        "HardSwish",
        "Neg",
        "Round",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Tan",
        "Tanh",
        "Relu",
        "Elu",
        "Selu",
        "Celu",
        "Softplus",
        "Softsign",
        "HardSigmoid",
        "LeakyRelu",
        "ThresholdedRelu",
        "Identity",
        "Dropout",
    ]);
    let attributes = match op {
        "LeakyRelu" | "Elu" => vec![float("alpha", 0.3)],
        "HardSigmoid" => vec![float("alpha", 0.21), float("beta", 0.4)],
        _ => vec![],
    };
    // Away from the poles of the tangent.
    let half = g.values(&[], vec![0.6]);
    let x = g.node("Mul", &["x", &half], &[]);
    g.node(op, &[&x], &attributes)
}

pub fn functions_of_positive(g: &mut Graph) -> String {
    any(g);
    let x = g.node("Abs", &["x"], &[]);
    let half = g.values(&[], vec![0.5]);
    let x = g.node("Add", &[&x, &half], &[]);
    let op = g.rng.pick(&["Log", "Sqrt", "Reciprocal"]);
    let y = g.node(op, &[&x], &[]);
    if op != "Sqrt" {
        return y;
    }
    let one = g.values(&[], vec![1.]);
    g.node("Div", &[&one, &y], &[])
}

pub fn powers(g: &mut Graph) -> String {
    any(g);
    let exponent = g.rng.pick(&[0., 1., 2., 3., 0.5, -1., 1.7]);
    let two = g.values(&[], vec![2.5]);
    let x = g.node("Add", &["x", &two], &[]);
    let exponent = g.values(&[], vec![exponent]);
    g.node("Pow", &[&x, &exponent], &[])
}

/// What newer operator sets have.
pub fn newer(g: &mut Graph) -> String {
    let mut dims = shape(g, 4);
    (dims[1], dims[3]) = (4, 4);
    g.input(&dims);
    g.opset = 23;
    match g.rng.size(0, 5) {
        0 => g.node("Gelu", &["x"], &[text("approximate", "none")]),
        1 => g.node("Gelu", &["x"], &[text("approximate", "tanh")]),
        2 => g.node("Mish", &["x"], &[]),
        3 => {
            let (scale, bias) = (g.weight(&[4]), g.weight(&[4]));
            g.node("GroupNormalization", &["x", &scale, &bias], &[int("num_groups", 2), float("epsilon", 0.01)])
        }
        4 => {
            let scale = g.weight(&[4]);
            g.node("RMSNormalization", &["x", &scale], &[float("epsilon", 0.01)])
        }
        _ => g.node("DepthToSpace", &["x"], &[int("blocksize", 2)]),
    }
}

/// Far from zero, where exponentials overflow.
pub fn large_values(g: &mut Graph) -> String {
    let dims = any(g);
    let far = g.values(&[], vec![400.]);
    let x = g.node("Mul", &["x", &far], &[]);
    match g.rng.pick(&["Softplus", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"]) {
        op @ ("Softmax" | "LogSoftmax") => {
            let axis = int("axis", dims.len() as i64 - 1);
            g.node(op, &[&x], &[axis])
        }
        op => g.node(op, &[&x], &[]),
    }
}

/// Two operands that both depend on the input, one of them perhaps broadcast.
fn operands(g: &mut Graph) -> (String, String) {
    let dims = any(g);
    let second = g.node("Sin", &["x"], &[]);
    let second = match g.rng.size(0, 3) {
        0 => second,
        1 => {
            let weight = g.weight(&dims[1..]);
            g.node("Mul", &[&second, &weight], &[])
        }
        2 => {
            let axis = g.rng.size(0, dims.len() - 1) as i64;
            g.node("ReduceMean", &[&second], &[ints("axes", &[axis]), int("keepdims", 1)])
        }
        _ => g.node("ReduceSum", &[&second], &[int("keepdims", 1)]),
    };
    if g.rng.coin() { ("x".into(), second) } else { (second, "x".into()) }
}

pub fn binaries(g: &mut Graph) -> String {
    let (a, mut b) = operands(g);
    let op = g.rng.pick(&["Add", "Sub", "Mul", "Div", "Min", "Max"]);
    if op == "Div" {
        let three = g.values(&[], vec![3.5]);
        let far = g.node("Abs", &[&b], &[]);
        b = g.node("Add", &[&far, &three], &[]);
    }
    g.node(op, &[&a, &b], &[])
}

pub fn choices(g: &mut Graph) -> String {
    let (a, b) = operands(g);
    let op = g.rng.pick(&["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"]);
    let mut condition = g.node(op, &[&a, &b], &[]);
    if g.rng.coin() {
        let other = g.node("Greater", &[&b, &a], &[]);
        let op = g.rng.pick(&["And", "Or", "Xor"]);
        condition = g.node(op, &[&condition, &other], &[]);
    }
    if g.rng.coin() {
        condition = g.node("Not", &[&condition], &[]);
    }
    g.node("Where", &[&condition, &a, &b], &[])
}

pub fn clips(g: &mut Graph) -> String {
    any(g);
    let (low, high) = (g.values(&[], vec![-0.4]), g.values(&[], vec![0.7]));
    g.node("Clip", &["x", &low, &high], &[])
}

pub fn casts(g: &mut Graph) -> String {
    any(g);
    let to = g.rng.pick(&[7, 6, 9, 1]);
    let whole = g.node("Cast", &["x"], &[int("to", to)]);
    let back = g.node("Cast", &[&whole], &[int("to", 1)]);
    g.node("Mul", &["x", &back], &[])
}

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

pub fn reductions(g: &mut Graph) -> String {
    let dims = any(g);
    let op = g.rng.pick(&[
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSumSquare",
        "ReduceL2",
        "ReduceL1",
        "ReduceLogSumExp",
    ]);
    let mut axes: Vec<i64> = (1..dims.len() as i64).filter(|_| g.rng.coin()).collect();
    if axes.is_empty() {
        axes.push(-1);
    }
    let keep = int("keepdims", i64::from(g.rng.coin()));
    if op == "ReduceSum" {
        let axes = g.integers(&axes);
        return g.node(op, &["x", &axes], &[keep]);
    }
    g.node(op, &["x"], &[ints("axes", &axes), keep])
}

pub fn places(g: &mut Graph) -> String {
    let dims = any(g);
    let axis = g.rng.size(1, dims.len() - 1) as i64;
    let op = g.rng.pick(&["ArgMax", "ArgMin"]);
    let place = g.node(op, &["x"], &[int("axis", axis), int("keepdims", 1)]);
    let place = g.node("Cast", &[&place], &[int("to", 1)]);
    g.node("Mul", &["x", &place], &[])
}

pub fn running_sums(g: &mut Graph) -> String {
    let dims = any(g);
    let axis = g.rng.size(0, dims.len() - 1) as i64;
    let axis = g.integer(axis);
    let flags = [int("exclusive", i64::from(g.rng.coin())), int("reverse", i64::from(g.rng.coin()))];
    g.node("CumSum", &["x", &axis], &flags)
}

pub fn softmaxes(g: &mut Graph) -> String {
    let dims = any(g);
    let op = g.rng.pick(&["Softmax", "LogSoftmax"]);
    let axis = int("axis", g.rng.size(1, dims.len() - 1) as i64);
    g.node(op, &["x"], &[axis])
}

pub fn linears(g: &mut Graph) -> String {
    let (inputs, outputs, turned) = (g.rng.size(1, 5), g.rng.size(1, 5), g.rng.coin());
    g.input(&[1, inputs]);
    let weight = g.weight(&if turned { [outputs, inputs] } else { [inputs, outputs] });
    let mut attributes = vec![int("transB", i64::from(turned))];
    let bias = g.rng.coin().then(|| g.weight(&[outputs]));
    if g.rng.coin() {
        attributes.extend([float("alpha", 0.7), float("beta", 1.3)]);
    }
    match bias {
        Some(bias) => g.node("Gemm", &["x", &weight, &bias], &attributes),
        None => g.node("Gemm", &["x", &weight], &attributes),
    }
}

pub fn products(g: &mut Graph) -> String {
    let rank = g.rng.size(2, 4);
    let dims = shape(g, rank);
    g.input(&dims);
    match g.rng.size(0, 2) {
        // By a stored matrix, perhaps one for each of the last batch axis.
        0 => {
            let mut shape = vec![dims[rank - 1], g.rng.size(1, 4)];
            if rank > 3 && g.rng.coin() {
                shape.insert(0, dims[rank - 3]);
            }
            let weight = g.weight(&shape);
            g.node("MatMul", &["x", &weight], &[])
        }
        // As in attention: by its own transpose.
        1 if rank > 2 => {
            let mut order: Vec<i64> = (0..rank as i64).collect();
            order.swap(rank - 1, rank - 2);
            let turned = g.node("Transpose", &["x"], &[ints("perm", &order)]);
            let turned = g.node("Sin", &[&turned], &[]);
            g.node("MatMul", &["x", &turned], &[])
        }
        // By what was averaged over an axis that then has length 1.
        _ => {
            let weight = g.weight(&[dims[rank - 1], 3]);
            let left = g.node("MatMul", &["x", &weight], &[]);
            let square = g.weight(&[3, 3]);
            let right = g.node("MatMul", &[&left, &square], &[]);
            g.node("Mul", &[&left, &right], &[])
        }
    }
}

pub fn einsums(g: &mut Graph) -> String {
    let sizes: Vec<usize> = (0..5).map(|_| g.rng.size(1, 4)).collect();
    let (equation, left, right): (&str, &[usize], &[usize]) = g.rng.pick(&[
        ("abc,cd->abd", &[0, 1, 2], &[2, 3]),
        ("abc,bcd->abd", &[0, 1, 2], &[1, 2, 3]),
        ("abcd,ced->abe", &[0, 1, 2, 3], &[2, 4, 3]),
        ("abc,dc->dab", &[0, 1, 2], &[3, 2]),
        ("abc,bd->adc", &[0, 1, 2], &[1, 3]),
    ]);
    let of = |axes: &[usize]| axes.iter().map(|&axis| sizes[axis]).collect::<Vec<usize>>();
    g.input(&of(left));
    let weight = g.weight(&of(right));
    g.node("Einsum", &["x", &weight], &[text("equation", equation)])
}

pub fn normalisations(g: &mut Graph) -> String {
    let mut dims = shape(g, 4);
    dims[1] = 2 * g.rng.size(1, 3);
    let (channels, last) = (dims[1], dims[3].max(2));
    dims[3] = last;
    g.input(&dims);
    let epsilon = float("epsilon", 0.01);
    match g.rng.size(0, 3) {
        0 => {
            let (scale, bias) = (g.weight(&[channels]), g.weight(&[channels]));
            let (mean, variance) = (g.weight(&[channels]), g.positive(&[channels]));
            g.node("BatchNormalization", &["x", &scale, &bias, &mean, &variance], &[epsilon])
        }
        1 => {
            let (scale, bias) = (g.weight(&[last]), g.weight(&[last]));
            g.node("LayerNormalization", &["x", &scale, &bias], &[epsilon, int("axis", -1)])
        }
        2 => {
            let (scale, bias) = (g.weight(&[channels]), g.weight(&[channels]));
            g.node("InstanceNormalization", &["x", &scale, &bias], &[epsilon])
        }
        _ => {
            let slope = g.weight(&[channels, 1, 1]);
            g.node("PRelu", &["x", &slope], &[])
        }
    }
}

pub fn responses(g: &mut Graph) -> String {
    g.input(&[1, 7, 3, 2]);
    let size = g.rng.pick(&[1, 3, 5]);
    g.node("LRN", &["x"], &[int("size", size), float("alpha", 0.3), float("beta", 0.7), float("bias", 1.2)])
}

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
    let mode = g.rng.pick(&["constant", "reflect", "edge"]);
    let pads: Vec<i64> = (0..8).map(|i| if i % 4 < 2 { 0 } else { g.rng.size(0, 3) as i64 }).collect();
    let pads = g.integers(&pads);
    let value = g.values(&[], vec![0.3]);
    match mode {
        "constant" => g.node("Pad", &["x", &pads, &value], &[text("mode", mode)]),
        _ => g.node("Pad", &["x", &pads], &[text("mode", mode)]),
    }
}

pub fn resizes(g: &mut Graph) -> String {
    g.input(&[1, 2, 4, 5]);
    let mode = g.rng.pick(&["nearest", "linear", "cubic"]);
    let places = g.rng.pick(&["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]);
    let attributes =
        [text("mode", mode), text("coordinate_transformation_mode", places), text("nearest_mode", "floor")];
    if g.rng.coin() {
        let scales: &[f32] = g.rng.pick(&[&[1., 1., 2., 2.], &[1., 1., 0.5, 1.6], &[1., 1., 1., 3.]]);
        let scales = g.values(&[4], scales.to_vec());
        return g.node("Resize", &["x", "", &scales], &attributes);
    }
    // Sizes name the batch too, so they are put together from the input's shape.
    let (height, width) = (g.rng.size(2, 9) as i64, g.rng.size(2, 9) as i64);
    let (zero, two, sizes) = (g.integers(&[0]), g.integers(&[2]), g.integers(&[height, width]));
    let all = g.node("Shape", &["x"], &[]);
    let head = g.node("Slice", &[&all, &zero, &two], &[]);
    let sizes = g.node("Concat", &[&head, &sizes], &[int("axis", 0)]);
    g.node("Resize", &["x", "", "", &sizes], &attributes)
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
