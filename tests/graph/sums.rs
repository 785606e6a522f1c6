//! Random models of operators that sum: reductions, products, normalisations.

use super::build::{Graph, float, int, ints, text};
use super::values::{any, shape};

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
    if g.rng.coin() {
        g.opset = 18;
        let axes = g.integers(&axes);
        return g.node(op, &["x", &axes], &[keep]);
    }
    g.node(op, &["x"], &[ints("axes", &axes), keep])
}

pub fn places(g: &mut Graph) -> String {
    let dims = any(g);
    let axis = g.rng.size(1, dims.len() - 1) as i64;
    let (op, last) = (g.rng.pick(&["ArgMax", "ArgMin"]), g.rng.size(0, 1) as i64);
    let rounded = g.node("Round", &["x"], &[]);
    let place = g.node(op, &[&rounded], &[int("axis", axis), int("keepdims", 1), int("select_last_index", last)]);
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
        ("...bc,cd->...bd", &[0, 1, 2], &[2, 3]),
        ("a...,d->ad...", &[0, 1, 2], &[3]),
        ("a b c, cd", &[0, 1, 2], &[2, 3]),
    ]);
    let of = |axes: &[usize]| axes.iter().map(|&axis| sizes[axis]).collect::<Vec<usize>>();
    g.input(&of(left));
    let weight = g.weight(&of(right));
    match g.rng.size(0, 4) {
        0 => g.node("Einsum", &["x"], &[text("equation", turned(left.len()))]),
        1 if left.len() == 3 => {
            let (second, third) = (g.weight(&[sizes[2], 3]), g.weight(&[3, 2]));
            g.node("Einsum", &["x", &second, &third], &[text("equation", "abc,cd,de->abe")])
        }
        _ => g.node("Einsum", &["x", &weight], &[text("equation", equation)]),
    }
}

/// One tensor: its axes in another order, the last one summed.
fn turned(rank: usize) -> &'static str {
    if rank == 3 { "abc->ba" } else { "abcd->cab" }
}

/// `Attention` in three and four axes, with masks, shared heads and limits.
pub fn attentions(g: &mut Graph) -> String {
    g.opset = g.rng.pick(&[23, 24]);
    let mut attributes = vec![];
    if g.rng.coin() {
        attributes.push(float("scale", 0.4));
    }
    if g.rng.coin() {
        attributes.push(float("softcap", 0.7));
    }
    if g.rng.coin() {
        attributes.push(int("is_causal", 1));
    }
    if g.rng.coin() {
        g.input(&[1, 5, 8]);
        let (k, v) = (g.weight(&[8, 4]), g.weight(&[8, 4]));
        let [k, v] = [k, v].map(|weight| g.node("MatMul", &["x", &weight], &[]));
        attributes.extend([int("q_num_heads", 4), int("kv_num_heads", 2)]);
        return g.node("Attention", &["x", &k, &v], &attributes);
    }
    g.input(&[1, 2, 4, 3]);
    let [k, v] = ["Sin", "Cos"].map(|op| g.node(op, &["x"], &[]));
    let kind = g.rng.size(0, 3);
    if kind > 0 {
        let mut values = g.rng.numbers(16);
        if kind == 2 {
            // A row and some places that nobody sees.
            (4..9).for_each(|i| values[i] = g.rng.pick(&[f32::NEG_INFINITY, f32::MIN]));
        }
        let mut mask = g.values(&[4, 4], values);
        if kind == 3 {
            let (below, hidden) = (g.values(&[], vec![-0.5]), g.values(&[4, 1], vec![0., 0., 9., 0.]));
            mask = g.node("Sub", &[&mask, &hidden], &[]);
            mask = g.node("Greater", &[&mask, &below], &[]);
        }
        return g.node("Attention", &["x", &k, &v, &mask], &attributes);
    }
    g.node("Attention", &["x", &k, &v], &attributes)
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
