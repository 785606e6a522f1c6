//! Gradients where a function has no slope.

use super::build::{Graph, int, ints};
use super::check::{flat, tensor};
use adapt::graph::{Program, Wanted};

#[test]
fn the_deviation_of_a_map_without_any_moves_nothing() {
    let mut g = Graph::new(3);
    g.input(&[1, 2, 2, 2]);
    let places = ints("axes", &[2, 3]);
    let mean = g.node("ReduceMean", &["x"], std::slice::from_ref(&places));
    let centred = g.node("Sub", &["x", &mean], &[]);
    let square = g.node("Mul", &[&centred, &centred], &[]);
    let variance = g.node("ReduceMean", &[&square], &[places]);
    let deviation = g.node("Sqrt", &[&variance], &[]);
    let row = g.node("Flatten", &[&deviation], &[int("axis", 1)]);
    let program = Program::import(&g.model(&row), &[]).unwrap();
    // The first map is the same everywhere; the second one's deviation is 2.
    let image = tensor(&[3., 3., 3., 3., 1., 5., 1., 5.], &[1, 2, 2, 2]);
    let wanted = Wanted { parameters: Vec::new(), input: true };
    let (outputs, tape) = program.forward_saving(&image, &[], &wanted).unwrap();
    let grads = [Some(outputs[0].ones_like().unwrap())];
    let slopes = flat(&program.backward(tape, &grads).unwrap().input.unwrap());
    // By a value: its distance from the mean over the deviation and the number of values.
    let expected = [0., 0., 0., 0., -0.25, 0.25, -0.25, 0.25];
    assert!(slopes.iter().zip(expected).all(|(slope, expected)| (slope - expected).abs() < 1e-6), "{slopes:?}");
}
