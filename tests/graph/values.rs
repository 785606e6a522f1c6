//! Random models of operators on one or two values at a time.

use super::build::{Graph, float, int, ints, text};

/// Adds its nodes to a graph and gives the output's name.
pub type Case = fn(&mut Graph) -> String;

/// `[N, …]` of this rank.
pub fn shape(g: &mut Graph, rank: usize) -> Vec<usize> {
    (0..rank).map(|_| g.rng.size(1, 5)).collect()
}

/// An input of two to four axes.
pub fn any(g: &mut Graph) -> Vec<usize> {
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
