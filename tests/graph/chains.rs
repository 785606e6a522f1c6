//! Chains of operators that a program computes in one step.

use super::build::{Graph, float, int, ints};
use adapt::graph::Program;

/// One of the forms in which exporters write an activation, of `x`.
fn activation(g: &mut Graph, x: &str) -> String {
    let form = g.rng.size(0, FORMS - 1);
    activation_as(form, g, x)
}

const FORMS: usize = 12;

fn activation_as(form: usize, g: &mut Graph, x: &str) -> String {
    let n = |g: &mut Graph, value: f32| g.values(&[], vec![value]);
    match form {
        0 => g.node("Relu", &[x], &[]),
        1 => {
            let (low, high) = (n(g, -0.3), n(g, 0.6));
            g.node("Clip", &[x, &low, &high], &[])
        }
        2 => {
            let gate = g.node("Sigmoid", &[x], &[]);
            g.node("Mul", &[x, &gate], &[])
        }
        3 => g.node("HardSwish", &[x], &[]),
        4 => {
            let gate = g.node("HardSigmoid", &[x], &[float("alpha", 1. / 6.), float("beta", 0.5)]);
            g.node("Mul", &[&gate, x], &[])
        }
        5 | 6 => {
            let (three, six, zero) = (n(g, 3.), n(g, 6.), n(g, 0.));
            let moved = g.node("Add", &[x, &three], &[]);
            let gate = g.node("Clip", &[&moved, &zero, &six], &[]);
            if g.rng.size(0, 1) == 0 {
                let gate = g.node("Div", &[&gate, &six], &[]);
                return g.node("Mul", &[x, &gate], &[]);
            }
            let product = g.node("Mul", &[x, &gate], &[]);
            g.node("Div", &[&product, &six], &[])
        }
        7 => g.node("HardSigmoid", &[x], &[float("alpha", 0.3), float("beta", 0.4)]),
        8 => g.node("Sigmoid", &[x], &[]),
        form => {
            let (root, half, one) = (n(g, std::f32::consts::SQRT_2), n(g, 0.5), n(g, 1.));
            let scaled = g.node("Div", &[x, &root], &[]);
            let erf = g.node("Erf", &[&scaled], &[]);
            let twice = g.node("Add", &[&erf, &one], &[]);
            match form {
                9 => {
                    let product = g.node("Mul", &[x, &twice], &[]);
                    g.node("Mul", &[&product, &half], &[])
                }
                10 => {
                    let share = g.node("Mul", &[&half, &twice], &[]);
                    g.node("Mul", &[x, &share], &[])
                }
                _ => {
                    let half_x = g.node("Mul", &[x, &half], &[]);
                    g.node("Mul", &[&half_x, &twice], &[])
                }
            }
        }
    }
}

/// A layer, an activation behind it, and sometimes somebody else who reads what lies between them.
pub fn chains(g: &mut Graph) -> String {
    let channels = g.rng.size(2, 4);
    let dims = [1, channels, g.rng.size(1, 6), g.rng.size(1, 6)];
    g.input(&dims);
    let made = match g.rng.size(0, 6) {
        0 => {
            let (weight, bias) = (g.weight(&[3, channels, 1, 1]), g.weight(&[3]));
            g.node("Conv", &["x", &weight, &bias], &[])
        }
        1 => {
            let (weight, bias) = (g.weight(&[channels, 1, 3, 3]), g.weight(&[channels]));
            let attributes = [int("group", channels as i64), ints("pads", &[1, 1, 1, 1])];
            g.node("Conv", &["x", &weight, &bias], &attributes)
        }
        2 => {
            let (scale, bias) = (g.weight(&[channels]), g.weight(&[channels]));
            let (mean, variance) = (g.weight(&[channels]), g.positive(&[channels]));
            g.node("BatchNormalization", &["x", &scale, &bias, &mean, &variance], &[])
        }
        3 => {
            let weight = g.weight(&[channels, channels, 1, 1]);
            let conv = g.node("Conv", &["x", &weight], &[]);
            g.node("Add", &["x", &conv], &[])
        }
        4 => {
            let pooled = g.node("GlobalAveragePool", &["x"], &[]);
            let gate = g.node("Sigmoid", &[&pooled], &[]);
            g.node("Mul", &["x", &gate], &[])
        }
        5 => {
            let sizes: Vec<i64> = (0..8).map(|i| if i % 4 < 2 { 0 } else { g.rng.size(0, 2) as i64 }).collect();
            let (weight, bias) = (g.weight(&[3, channels, 2, 2]), g.weight(&[3]));
            let pads = g.integers(&sizes);
            let padded = g.node("Pad", &["x", &pads], &[]);
            // Some kernels find no place without the zeros.
            let own = ints("pads", &[1, 0, 0, 1]);
            g.node("Conv", &[&padded, &weight, &bias], &[ints("strides", &[2, 1]), own])
        }
        _ => {
            let bias = g.weight(&[channels, 1, 1]);
            g.node("Add", &["x", &bias], &[])
        }
    };
    let active = activation(g, &made);
    if g.rng.size(0, 2) > 0 {
        return active;
    }
    g.node("Add", &[&active, &made], &[])
}

#[test]
fn an_activation_behind_a_norm_is_no_step_of_its_own() {
    let steps = |form: Option<usize>| {
        let mut g = Graph::new(7);
        let x = g.input(&[1, 3, 4, 5]);
        let (scale, bias, mean, variance) = (g.weight(&[3]), g.weight(&[3]), g.weight(&[3]), g.positive(&[3]));
        let normal = g.node("BatchNormalization", &[x, &scale, &bias, &mean, &variance], &[]);
        let output = form.map_or(normal.clone(), |form| activation_as(form, &mut g, &normal));
        Program::import(&g.model(&output), &[]).unwrap().steps()
    };
    (0..FORMS).for_each(|form| assert_eq!(steps(Some(form)), steps(None), "form {form}"));
}

/// Layer normalisation written out, as exporters do before opset 17.
pub fn written_norms(g: &mut Graph) -> String {
    let (rows, width) = (g.rng.size(1, 4), g.rng.size(2, 9));
    g.input(&[1, rows, width]);
    let last = ints("axes", &[-1]);
    let mean = g.node("ReduceMean", &["x"], std::slice::from_ref(&last));
    let centred = g.node("Sub", &["x", &mean], &[]);
    let squares = if g.rng.size(0, 1) == 0 {
        let two = g.values(&[], vec![2.]);
        g.node("Pow", &[&centred, &two], &[])
    } else {
        g.node("Mul", &[&centred, &centred], &[])
    };
    let variance = g.node("ReduceMean", &[&squares], &[last]);
    let epsilon = g.values(&[], vec![0.01]);
    let variance = g.node("Add", &[&variance, &epsilon], &[]);
    let deviation = g.node("Sqrt", &[&variance], &[]);
    let normal = g.node("Div", &[&centred, &deviation], &[]);
    let (scale, bias) = (g.positive(&[width]), g.positive(&[width]));
    let scaled = g.node("Mul", &[&normal, &scale], &[]);
    g.node("Add", &[&scaled, &bias], &[])
}
