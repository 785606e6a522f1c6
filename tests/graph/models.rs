//! Whole models.

use super::build::{Graph, Rng, float, int, ints};
use super::check::{self, Scalar, difference, flat, tensor};
use crate::common::golden;
use adapt::graph::{Extent, tail};
use adapt::graph::{Program, Wanted};
use adapt::onnx::parameters::{untie, untie_only, with_values};
use adapt::onnx::schema::ValueInfoProto;
use adapt::tensor::Tensor;
use adapt::{Backend, Choice, Model};
use ndarray::{ArrayD, IxDyn};
use std::sync::LazyLock;

static BUILTIN: LazyLock<Model> = LazyLock::new(|| adapt::builtin().expect("the embedded model"));

/// Smooth values, as photographs have them.
fn smooth(shape: &[usize]) -> Vec<f32> {
    let at = |i: usize| {
        let (x, y, rest) = (i % shape[3], i / shape[3] % shape[2], i / (shape[3] * shape[2]));
        (x as f32 * 0.04 + rest as f32).sin() + (y as f32 * 0.03 - rest as f32).cos()
    };
    (0..shape.iter().product()).map(at).collect()
}

fn ort(model: &Model, values: &[f32], shape: &[usize]) -> Vec<f64> {
    let mut engine = check::RUNTIME.open(model, &[], 2).unwrap();
    let input = ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap();
    engine.run(input.view()).unwrap().swap_remove(0).iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn the_tiny_model_is_the_same_in_candle() {
    let model = Model::open(golden("tiny.onnx")).unwrap();
    let program = Program::import(&model, &[]).unwrap();
    let dims: Vec<usize> = program.input().dims.iter().map(|d| d.unwrap_or(1)).collect();
    for batch in [1, 3] {
        let shape: Vec<usize> = std::iter::once(batch).chain(dims[1..].iter().copied()).collect();
        check::forward(&model, &program, &shape, 5, 1e-5);
    }
}

#[test]
fn the_embedded_model_is_the_same_in_candle() {
    let program = Program::import(&BUILTIN, &[]).unwrap();
    assert_eq!(program.batch(), None);
    let parameters = program.initial().unwrap();
    for batch in [1, 3] {
        let shape = [batch, 3, 224, 224];
        let values = smooth(&shape);
        let ours = program.forward(&tensor(&values, &shape), &parameters).unwrap();
        let far = difference(&flat(&ours[0]), ort(&BUILTIN, &values, &shape).into_iter());
        assert!(far < 1e-4, "outputs differ by {far}");
    }
}

/// Patches, a token for the class, one block of attention, the token's row: a vision transformer in little.
fn transformer() -> Graph {
    let mut g = Graph::new(11);
    g.input(&[1, 3, 8, 8]);
    let (patch, token) = (g.weight(&[6, 3, 4, 4]), g.weight(&[1, 1, 6]));
    let map = g.node("Conv", &["x", &patch], &[ints("strides", &[4, 4])]);
    let flat = g.integers(&[0, 6, -1]);
    let flat = g.node("Reshape", &[&map, &flat], &[]);
    let patches = g.node("Transpose", &[&flat], &[ints("perm", &[0, 2, 1])]);
    let all = g.node("Shape", &["x"], &[]);
    let (zero, rest) = (g.integers(&[0]), g.integers(&[1, 6]));
    let count = g.node("Gather", &[&all, &zero], &[]);
    let target = g.node("Concat", &[&count, &rest], &[int("axis", 0)]);
    let token = g.node("Expand", &[&token, &target], &[]);
    let x = g.node("Concat", &[&token, &patches], &[int("axis", 1)]);
    let (scale, bias) = (g.weight(&[6]), g.weight(&[6]));
    let norm = g.node("LayerNormalization", &[&x, &scale, &bias], &[int("axis", -1)]);
    let mut head = |order: &[i64]| {
        let (weight, shape) = (g.weight(&[6, 6]), g.integers(&[0, 5, 2, 3]));
        let y = g.node("MatMul", &[&norm, &weight], &[]);
        let y = g.node("Reshape", &[&y, &shape], &[]);
        g.node("Transpose", &[&y], &[ints("perm", order)])
    };
    let (q, k, v) = (head(&[0, 2, 1, 3]), head(&[0, 2, 3, 1]), head(&[0, 2, 1, 3]));
    let scores = g.node("MatMul", &[&q, &k], &[]);
    let weights = g.node("Softmax", &[&scores], &[int("axis", -1)]);
    let y = g.node("MatMul", &[&weights, &v], &[]);
    let y = g.node("Transpose", &[&y], &[ints("perm", &[0, 2, 1, 3])]);
    let joined = g.integers(&[0, 5, 6]);
    let y = g.node("Reshape", &[&y, &joined], &[]);
    let y = g.node("Add", &[&x, &y], &[]);
    let first = g.integer(0);
    g.node("Gather", &[&y, &first], &[int("axis", 1)]);
    g
}

#[test]
fn a_transformer_is_right_forwards_and_backwards() {
    let g = transformer();
    let model = g.model(&g.last());
    let program = Program::import(&model, &[]).unwrap();
    assert_eq!((program.batch(), program.parameters().len()), (None, 6));
    for batch in [1, 3] {
        let shape = [batch, 3, 8, 8];
        let values = check::forward(&model, &program, &shape, 5, 1e-5);
        check::backward(&program, &values, &shape, 5);
    }
}

#[test]
fn gradients_of_the_embedded_model_are_slopes() {
    // Smaller images than the model was made for: what is checked is the same, and takes less time.
    let mut model = BUILTIN.clone();
    for (axis, size) in [(2, 64), (3, 96)] {
        set_size(&mut model, axis, size);
    }
    let program = Program::import(&model, &[]).unwrap();
    let shape = [2, 3, 64, 96];
    let scalar = Scalar::new(&program, &smooth(&shape), &shape, 3);
    let gradients = scalar.gradients();
    let mut rng = Rng::new(4);
    let count = gradients.len();
    for index in [1, 2, 4, 9, count / 3, count / 2, count - 5, count - 2, count - 1] {
        // Some of the many kinks lie inside any step, so a short one and a generous bound.
        let (ours, numeric) = scalar.slopes(index, gradients[index].as_ref(), &mut rng, 1e-8);
        assert!((ours - numeric).abs() <= 1e-4 * numeric.abs().max(1e-3), "tensor {index}: {ours}, not {numeric}");
    }
}

fn set_size(model: &mut Model, axis: usize, size: i64) {
    use adapt::onnx::schema::dimension;
    let input = &mut model.proto.graph.as_mut().unwrap().input[0];
    let tensor = input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor.shape.as_mut().unwrap().dim[axis].value = Some(dimension::Value::DimValue(size));
}

#[test]
fn a_changed_parameter_changes_program_and_file_alike() {
    let file = untie(&BUILTIN);
    let program = Program::import(&BUILTIN, &[]).unwrap();
    let parameters = program.initial().unwrap();
    let shape = [1, 3, 224, 224];
    let values = smooth(&shape);
    let before = flat(&program.forward(&tensor(&values, &shape), &parameters).unwrap()[0]);
    for index in [0, 1, parameters.len() / 2, parameters.len() - 1] {
        let own = &program.parameters()[index];
        let changed: Vec<f32> =
            own.values.iter().enumerate().map(|(i, v)| v * (1.2 + 0.3 * (i as f32).sin())).collect();
        let mut tensors = parameters.clone();
        tensors[index] = tensor(&changed, &own.shape);
        let ours = flat(&program.forward(&tensor(&values, &shape), &tensors).unwrap()[0]);
        assert!(difference(&ours, before.clone().into_iter()) > 1e-3, "'{}' changes nothing", own.name);
        let file = with_values(&file, &own.name, &changed).expect("the file has the parameter by its name");
        let far = difference(&ours, ort(&file, &values, &shape).into_iter());
        assert!(far < 1e-4, "'{}': outputs differ by {far}", own.name);
    }
}

#[test]
fn weights_merged_by_the_exporter_come_apart() {
    let mut g = Graph::new(8);
    g.input(&[1, 4, 3, 3]);
    let (weight, bias) = (g.weight(&[4, 4, 1, 1]), g.weight(&[4]));
    let copy = g.node("Identity", &[&bias], &[]);
    let first = g.node("Conv", &["x", &weight, &bias], &[]);
    let second = g.node("Conv", &[&first, &weight, &copy], &[]);
    let third = g.node("Conv", &[&second, &weight, &bias], &[]);
    let model = g.model(&third);
    let program = Program::import(&model, &[]).unwrap();
    let names: Vec<&str> = program.parameters().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, [&weight, &bias, &copy]);
    let shape = [3, 4, 3, 3];
    let values = check::forward(&model, &program, &shape, 2, 1e-5);
    check::forward(&untie(&model), &program, &shape, 2, 1e-5);
    check::backward(&program, &values, &shape, 2);
    // The copy alone, in the program and in the file.
    let mut parameters = program.initial().unwrap();
    parameters[2] = tensor(&[9., 8., 7., 6.], &[4]);
    let ours = program.forward(&tensor(&values, &shape), &parameters).unwrap();
    let file = with_values(&untie(&model), &copy, &[9., 8., 7., 6.]).unwrap();
    assert!(difference(&flat(&ours[0]), ort(&file, &values, &shape).into_iter()) < 1e-5);
}

#[test]
fn what_weights_were_copied_from_goes_when_nothing_reads_it_any_more() {
    let mut g = Graph::new(9);
    g.input(&[1, 4, 3, 3]);
    let (weight, source) = (g.weight(&[4, 4, 1, 1]), g.weight(&[4]));
    let copies = [0, 1].map(|_| g.node("Identity", &[&source], &[]));
    let first = g.node("Conv", &["x", &weight, &copies[0]], &[]);
    let second = g.node("Conv", &[&first, &weight, &copies[1]], &[]);
    let model = g.model(&second);
    let stored = |model: &Model| -> Vec<String> {
        model.graph().initializer.iter().map(|tensor| tensor.name().to_string()).collect()
    };
    let mut names = vec![weight, copies[0].clone(), copies[1].clone()];
    names.sort();
    let mut left = stored(&untie(&model));
    left.sort();
    assert_eq!(left, names);
    // One of the two stays as it is: so does what it reads.
    let one = untie_only(&model, |name| name == copies[0]);
    assert!(stored(&one).contains(&source));
    // Listed as an input, as files of IR 3 do, it goes there too.
    let mut aged = model.clone();
    let graph = aged.proto.graph.as_mut().unwrap();
    let listed = ValueInfoProto { name: Some(source.clone()), ..graph.input[0].clone() };
    graph.input.push(listed);
    assert!(untie(&aged).graph().input.iter().all(|input| input.name() != source));
}

#[test]
fn a_batch_norm_in_training_mode_takes_its_own_statistics() {
    // ONNX Runtime runs no such node; over one image it is an instance normalisation.
    let build = |op: &str| {
        let mut g = Graph::new(3);
        g.input(&[1, 3, 4, 5]);
        let (scale, bias) = (g.weight(&[3]), g.weight(&[3]));
        let (mean, variance) = (g.weight(&[3]), g.positive(&[3]));
        let y = match op {
            "BatchNormalization" => {
                let inputs = ["x", &scale, &bias, &mean, &variance];
                g.node(op, &inputs, &[float("epsilon", 0.01), int("training_mode", 1)])
            }
            _ => g.node(op, &["x", &scale, &bias], &[float("epsilon", 0.01)]),
        };
        Program::import(&g.model(&y), &[]).unwrap()
    };
    let (batch, instance) = (build("BatchNormalization"), build("InstanceNormalization"));
    let shape = [1, 3, 4, 5];
    let values = Rng::new(9).numbers(60);
    let run =
        |program: &Program| flat(&program.forward(&tensor(&values, &shape), &program.initial().unwrap()).unwrap()[0]);
    assert!(difference(&run(&batch), run(&instance).into_iter()) < 1e-5);
    let shape = [4, 3, 4, 5];
    check::backward(&batch, &Rng::new(9).numbers(240), &shape, 1);
}

#[test]
fn a_graph_for_one_image_runs_images_one_by_one() {
    let mut g = Graph::new(5);
    g.input(&[1, 2, 3, 3]);
    let weight = g.weight(&[4, 2, 3, 3]);
    let conv = g.node("Conv", &["x", &weight], &[ints("pads", &[1, 1, 1, 1])]);
    let relu = g.node("Relu", &[&conv], &[]);
    let free = g.model(&relu);
    let mut fixed = free.clone();
    set_size(&mut fixed, 0, 1);
    let (free, fixed) = (Program::import(&free, &[]).unwrap(), Program::import(&fixed, &[]).unwrap());
    assert_eq!((free.batch(), fixed.batch()), (None, Some(1)));
    let x = tensor(&Rng::new(6).numbers(54), &[3, 2, 3, 3]);
    let run = |program: &Program| {
        let parameters = program.initial().unwrap();
        let wanted = Wanted { input: true, ..Wanted::parameters(program) };
        let (outputs, tape) = program.forward_saving(&x, &parameters, &wanted).unwrap();
        let grads: Vec<Option<Tensor>> = outputs.iter().map(|y| Some(y.affine(2., 1.).unwrap())).collect();
        let found = program.backward(tape, &grads).unwrap();
        [outputs[0].clone(), found.input.unwrap(), found.parameters[0].clone().unwrap()]
    };
    for (a, b) in run(&free).iter().zip(&run(&fixed)) {
        assert_eq!(a.dims(), b.dims());
        assert!(difference(&flat(a), flat(b).into_iter()) < 1e-6);
    }
}

#[test]
fn only_wanted_gradients_are_told() {
    let program = Program::import(&Model::open(golden("tiny.onnx")).unwrap(), &[]).unwrap();
    let parameters = program.initial().unwrap();
    let shape: Vec<usize> = program.input().dims.iter().map(|d| d.unwrap_or(2)).collect();
    let x = tensor(&Rng::new(1).numbers(shape.iter().product()), &shape);
    let mut wanted = Wanted { parameters: vec![false; parameters.len()], input: false };
    wanted.parameters[0] = true;
    let (outputs, tape) = program.forward_saving(&x, &parameters, &wanted).unwrap();
    let grads: Vec<_> = outputs.iter().map(|y| y.ones_like().ok()).collect();
    let found = program.backward(tape, &grads).unwrap();
    assert!(found.input.is_none() && found.parameters[1..].iter().all(Option::is_none));
    assert!(found.parameters[0].is_some());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let program = Program::import(&Model::open(golden("tiny.onnx")).unwrap(), &[]).unwrap();
    let parameters = program.initial().unwrap();
    let shape: Vec<usize> = program.input().dims.iter().map(|d| d.unwrap_or(1)).collect();
    let x = tensor(&vec![0.; shape.iter().product()], &shape);
    assert!(program.forward(&x.flatten_all().unwrap(), &parameters).is_err());
    assert!(program.forward(&x, &parameters[1..]).is_err());
    let mut wrong = parameters.clone();
    wrong[0] = wrong[0].flatten_all().unwrap().narrow(0, 0, 1).unwrap();
    let error = program.forward(&x, &wrong).unwrap_err().to_string();
    assert!(error.contains(&program.parameters()[0].name), "{error}");
}

#[test]
fn candle_is_an_engine() {
    let backend = Backend::resolve(Choice::Candle, None, true, &adapt::progress::silent).unwrap();
    assert_eq!((backend.name(), backend.version()), ("candle", "0.11.1"));
    assert!(include_str!("../../Cargo.lock").contains("name = \"candle-core\"\nversion = \"0.11.1\""));
    for name in ["tiny.onnx", "tiny_batch2.onnx", "tiny_f16.onnx", "tiny_u8.onnx"] {
        let model = Model::open(golden(name)).unwrap();
        let mut engine = backend.open(&model, &[], 1).unwrap();
        let mut other = check::RUNTIME.open(&model, &[], 1).unwrap();
        let mut shape: Vec<usize> = engine.input().dims.iter().map(|d| d.unwrap_or(3)).collect();
        shape[0] = 3;
        let values = Rng::new(2).numbers(shape.iter().product()).into_iter().map(|v| (v * 100.).abs()).collect();
        let input = ArrayD::from_shape_vec(shape, values).unwrap();
        let (ours, theirs) = (engine.run(input.view()).unwrap(), other.run(input.view()).unwrap());
        assert_eq!(engine.outputs(), other.outputs());
        let tolerance = if name.contains("f16") { 5e-3 } else { 1e-5 };
        for (a, b) in ours.iter().zip(&theirs) {
            let a: Vec<f64> = a.iter().map(|&v| f64::from(v)).collect();
            assert!(difference(&a, b.iter().map(|&v| f64::from(v)).collect::<Vec<_>>().into_iter()) < tolerance);
        }
    }
}

#[test]
fn sizes_as_int32_leave_the_batch_free() {
    let mut g = Graph::new(7);
    g.input(&[1, 2, 3]);
    let all = g.node("Shape", &["x"], &[]);
    let narrow = g.node("Cast", &[&all], &[int("to", 6)]);
    let (zero, one, rest) = (g.integers(&[0]), g.integers(&[1]), g.integers(&[6]));
    let count = g.node("Slice", &[&narrow, &zero, &one], &[]);
    let wide = g.node("Cast", &[&count], &[int("to", 7)]);
    let target = g.node("Concat", &[&wide, &rest], &[int("axis", 0)]);
    let y = g.node("Reshape", &["x", &target], &[]);
    let model = g.model(&y);
    let program = Program::import(&model, &[]).unwrap();
    assert_eq!(program.batch(), None);
    check::forward(&model, &program, &[3, 2, 3], 1, 1e-6);
}

#[test]
fn a_norm_that_is_written_out_belongs_to_the_layer_before_it() {
    let mut g = Graph::new(3);
    g.input(&[1, 2, 4, 4]);
    let first = g.weight(&[2, 2, 1, 1]);
    let x = g.node("Conv", &["x", &first], &[]);
    let second = g.weight(&[2, 2, 1, 1]);
    let x = g.node("Conv", &[&x, &second], &[]);
    let [mean, scale, shift] = [0; 3].map(|_| g.weight(&[1, 2, 1, 1]));
    let x = g.node("Sub", &[&x, &mean], &[]);
    let x = g.node("Mul", &[&x, &scale], &[]);
    let x = g.node("Add", &[&x, &shift], &[]);
    let x = g.node("GlobalAveragePool", &[&x], &[]);
    let x = g.node("Flatten", &[&x], &[]);
    let head = g.weight(&[2, 3]);
    let logits = g.node("Gemm", &[&x, &head], &[]);
    let found = tail(&g.model(&logits), &Extent::Last(1)).unwrap();
    let mut trained: Vec<&String> = found.depths.keys().collect();
    trained.sort();
    let mut expected = [&second, &scale, &shift, &head];
    expected.sort();
    assert_eq!(trained, expected);
}
