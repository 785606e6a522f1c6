//! Gradients where a function has no slope.

use super::build::{Graph, int, ints};
use super::check::{flat, tensor};
use adapt::graph::{Program, Wanted};

#[test]
fn the_deviation_of_a_map_without_any_moves_nothing() {
    let mut g = Graph::new(3);
    g.input(&[1, 2, 2, 2]);
    let weight = g.weight(&[2, 1, 1]);
    let x = g.node("Mul", &["x", &weight], &[]);
    let places = ints("axes", &[2, 3]);
    let mean = g.node("ReduceMean", &[&x], std::slice::from_ref(&places));
    let centred = g.node("Sub", &[&x, &mean], &[]);
    let square = g.node("Mul", &[&centred, &centred], &[]);
    let variance = g.node("ReduceMean", &[&square], &[places]);
    let deviation = g.node("Sqrt", &[&variance], &[]);
    let row = g.node("Flatten", &[&deviation], &[int("axis", 1)]);
    let program = Program::import(&g.model(&row), &[]).unwrap();
    // The first map is the same everywhere; the second one's deviation is 2.
    let image = tensor(&[3., 3., 3., 3., 1., 5., 1., 5.], &[1, 2, 2, 2]);
    let parameters = program.initial().unwrap();
    let (outputs, tape) = program.forward_saving(&image, &parameters, &Wanted::parameters(&program)).unwrap();
    let grads = [Some(outputs[0].ones_like().unwrap())];
    let found = program.backward(tape, &grads).unwrap();
    let slopes = flat(found.parameters[0].as_ref().unwrap());
    let sign = flat(&parameters[0])[1].signum();
    assert!(slopes[0] == 0. && (slopes[1] - 2. * sign).abs() < 1e-5, "{slopes:?}");
}
