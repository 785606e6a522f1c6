//! Rounded factors, and maps that stay bfloat16 between operators: which do, what that does to results, and what memory it saves.

use super::super::build::{Graph, Rng, float, ints};
use super::{CLOSE, difference, gpu, lite0, run, try_all, try_case, values};
use adapt::Model;
use adapt::cuda::{Array, Gpu};
use adapt::graph::{Program, Wanted};
use adapt::kernels::Window;
use adapt::kernels::conv::Conv;
use adapt::kernels::function::Function;
use adapt::kernels::pointwise::Grid;
use adapt::kernels::pool::Divisor;
use adapt::onnx::data_type;
use adapt::onnx::schema::NodeProto;
use adapt::onnx::tensor::{initializer, integers};
use adapt::tensor::{DType, Device, Number, Precision, Result, Tensor};
use adapt::train::loss::{Loss, LossKind, one_hot};
use adapt::train::optimizer::{Optimizer, OptimizerKind, Setting};
use adapt::train::tune::Network;
use std::collections::HashMap;

const HALVES: Precision = Precision { conv: Number::Bf16, product: Number::Bf16 };
const OPEN: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Rounded factors give nearly the same, and only while they are asked for.
#[test]
fn factors_are_rounded_where_that_is_asked_for() {
    let Some(gpu) = gpu() else { return };
    let mut graph = Graph::new(17);
    let x = graph.input(&[2, 8, 9, 9]);
    let k = graph.weight(&[16, 8, 3, 3]);
    let y = graph.node("Conv", &[x, &k], &[ints("pads", &[1; 4])]);
    let y = graph.node("GlobalAveragePool", &[&y], &[]);
    let y = graph.node("Flatten", &[&y], &[]);
    let w = graph.weight(&[16, 5]);
    let y = graph.node("MatMul", &[&y, &w], &[]);
    let model = graph.model(&y);
    let program = Program::import(&model, &[]).unwrap();
    let there = program.to(DType::F32, &Device::Cuda(gpu)).unwrap();
    let images = Rng::new(5).numbers(graph.shape.iter().product());
    let all = |program: &Program| {
        let (outputs, grads) = run(program, &images, &graph.shape);
        let grads = std::iter::once(grads.input).chain(grads.parameters).flatten();
        outputs.into_iter().chain(grads).map(|tensor| values(&tensor)).collect::<Vec<_>>()
    };
    let exact = all(&program);
    let (tf32, bf16) = (Number::Tf32, Number::Bf16);
    // cuBLAS and cuDNN may take float32 where TF32 is allowed: sizes like these do not suit it.
    let rounds = if cfg!(feature = "cuda-emulated") { 1e-6 } else { 0. };
    for (conv, product, least, most) in [
        (Number::F32, Number::F32, 0., CLOSE),
        (tf32, Number::F32, rounds, 3e-3),
        (Number::F32, tf32, rounds, 3e-3),
        (bf16, bf16, 1e-4, 3e-2),
        (Number::F32, Number::F32, 0., CLOSE),
    ] {
        let rounded = Precision { conv, product }.during(|| all(&there));
        let far = exact.iter().zip(&rounded).map(|(a, b)| difference(b, a)).fold(0., f32::max);
        assert!((least..most).contains(&far), "{conv:?} {product:?}: {far}");
    }
}

/// The norm of the differences by the norm of all.
fn apart(exact: &[f32], rounded: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    norm(&mut exact.iter().zip(rounded).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied())
}

/// Convolutions, a norm, activations, pooling, a shortcut and a gate, forwards and backwards; what of it is a map, and what
/// else there is.
fn block(gpu: &Gpu) -> Result<[Vec<Array>; 2]> {
    let (shape, mut rng) = ([2, 4, 6, 6], Rng::new(7));
    let mut made = |shape: &[usize]| Array::upload(gpu, &rng.numbers(shape.iter().product()), shape);
    let [s, t] = [made(&[4])?, made(&[4])?];
    let (x, k, deep) = (made(&shape)?, made(&[4, 4, 3, 3])?, made(&[4, 1, 3, 3])?);
    let window =
        Window { input: [6; 2], output: [6; 2], kernel: [3; 2], stride: [1; 2], dilation: [1; 2], before: [1; 2] };
    let conv = Conv { images: 2, inputs: 4, outputs: 4, groups: 1, window };
    let (each, grid) = (Conv { groups: 4, ..conv }, Grid { outer: 2, channels: 4, inner: 36 });
    // 0.7 is none of bfloat16's numbers.
    let clip = [-0.7, 0.7];
    let first = x.conv_biased(&conv, &k, Some((&t, clip)), &shape)?;
    let norm = first.scale_shift(&grid, &s, &t, OPEN)?;
    let active = norm.active(Function::Silu)?;
    let second = active.conv_biased(&each, &deep, Some((&t, clip)), &shape)?;
    let (most, mean) = (second.max_pool(&window, &shape)?, second.sum_pool(&window, Divisor::Inside, &shape)?);
    let sum = most.binary(&mean, "add_clip", clip)?;
    let gate = sum.narrow(2, 0, 1)?.narrow(3, 0, 1)?.active(Function::Sigmoid)?;
    let gated = sum.binary(&gate, "mul", [0.; 2])?;
    let joined = Array::pasted(&[(&gated, 0), (&sum, 4)], 1, &[2, 9, 6, 6])?.permute(&[0, 2, 3, 1])?;
    let total = gated.reduce("sum", &[2, 3])?;
    let spread = total.broadcast_as(&shape[..])?;
    let by_sum = sum.clip_back(&spread, clip)?;
    let (by_most, by_mean) =
        (second.max_pool_back(&window, &by_sum)?, by_sum.sum_pool_back(&window, Divisor::Inside, &shape)?);
    let by_second = second.clip_back(&by_most.binary(&by_mean, "add", [0.; 2])?, clip)?;
    let by_active = by_second.conv_by_input(&each, &deep, &shape)?;
    let by_norm = norm.active_back(&by_active, Function::Silu)?;
    let by_first = first.scale_shift_back(&by_norm, &grid, &s, clip)?;
    let by_x = by_first.conv_by_input(&conv, &k, &shape)?;
    let [by_s, by_t] = first.scale_shift_sums(&by_norm, &x, &grid, clip)?;
    let kernels =
        [by_first.conv_by_kernel(&conv, &x, &[4, 4, 3, 3])?, by_second.conv_by_kernel(&each, &active, &[4, 1, 3, 3])?];
    let other = [total, by_s, by_t, gated.binary(&x, "add", [0.; 2])?, gated.unary("exp", [0.; 2])?];
    let maps = [first, norm, active, second, most, mean, sum, gate, gated, joined, by_sum, by_most, by_mean, by_second];
    let maps = maps.into_iter().chain([by_active, by_norm, by_first, by_x]).collect();
    Ok([maps, kernels.into_iter().chain(other).collect()])
}

#[test]
fn maps_are_bfloat16_from_one_convolution_to_the_next() {
    let Some(gpu) = gpu() else { return };
    let (own, halves) = (block(&gpu).unwrap(), HALVES.during(|| block(&gpu)).unwrap());
    for (place, (own, half)) in own.into_iter().flatten().zip(halves.iter().flatten()).enumerate() {
        assert_eq!([own.is_half(), half.is_half()], [false, place < halves[0].len()], "{place}: {half:?}");
        let far = apart(&own.download().unwrap(), &half.download().unwrap());
        // The largest of two nearly equal values may be the other one.
        assert!((1e-5..0.3).contains(&far), "{place}: {far}");
    }
}

/// An output, and the gradient of a bias of one pixel, which is what came to it: numbers that bfloat16 has, though they are
/// float32 once they leave the program.
#[test]
fn maps_are_bfloat16_between_a_programs_operators() {
    let Some(gpu) = gpu() else { return };
    let mut graph = Graph::new(11);
    let x = graph.input(&[1, 4, 1, 1]);
    let (k, bias) = (graph.weight(&[16, 4, 1, 1]), graph.weight(&[16]));
    let y = graph.node("Conv", &[x, &k, &bias], &[]);
    let leaky = graph.node("LeakyRelu", &[&y], &[float("alpha", 0.3)]);
    let size = graph.node("Abs", &[&leaky], &[]);
    let y = graph.node("Max", &[&size, &leaky], &[]);
    let (k, bias) = (graph.weight(&[16, 3, 2, 2]), graph.weight(&[3]));
    let y = graph.node("ConvTranspose", &[&y, &k, &bias], &[]);
    let program = Program::import(&graph.model(&y), &[]).unwrap().to(DType::F32, &Device::Cuda(gpu)).unwrap();
    let images = Rng::new(5).numbers(4);
    for (precision, halves) in [(Precision::default(), false), (HALVES, true)] {
        let (outputs, grads) = precision.during(|| run(&program, &images, &graph.shape));
        let by_bias = grads.parameters.into_iter().flatten().find(|grad| grad.dims() == [16]).unwrap();
        for tensor in [&outputs[0], &by_bias] {
            let short = values(tensor).iter().all(|value| value.to_bits().trailing_zeros() >= 16);
            assert_eq!(short, halves, "{precision:?} {:?}", values(tensor));
        }
    }
}

/// The same model behind a convolution that changes nothing: in bfloat16 it makes a map of the images. None of one that makes
/// a jump of a step of rounding.
fn behind_a_convolution(mut model: Model, shape: &[usize]) -> Option<Model> {
    let graph = model.proto.graph.as_mut().unwrap();
    if graph.node.iter().any(|node| ["Ceil", "Floor", "Round", "Sign"].contains(&node.op_type())) {
        return None;
    }
    for name in graph.node.iter_mut().flat_map(|node| &mut node.input).filter(|name| *name == "x") {
        *name = "x.map".into();
    }
    let inner: Vec<i64> = shape[1..].iter().map(|&size| size as i64).collect();
    graph.initializer.push(integers("x.flat", &[0, 1, 1, inner.iter().product()]));
    graph.initializer.push(integers("x.shape", &[&[0], &inner[..]].concat()));
    graph.initializer.push(initializer("x.taps", &[1, 1, 1, 3], vec![0., 1., 0.], data_type::FLOAT));
    let pads = vec![ints("pads", &[0, 1, 0, 1])];
    let nodes = [("Reshape", "x", "x.flat", "x.row", vec![]), ("Conv", "x.row", "x.taps", "x.same", pads)];
    let nodes = nodes.into_iter().chain([("Reshape", "x.same", "x.shape", "x.map", vec![])]);
    let nodes = nodes.map(|(op, first, second, output, attribute)| NodeProto {
        name: Some(output.into()),
        op_type: Some(op.into()),
        input: vec![first.into(), second.into()],
        output: vec![output.into()],
        attribute,
        ..Default::default()
    });
    graph.node.splice(0..0, nodes);
    Some(model)
}

/// Images that bfloat16 has, so that no step is decided by their rounding.
#[test]
fn every_operator_takes_bfloat16() {
    let Some(gpu) = gpu() else { return };
    let short = |value: f32| f32::from_bits(value.to_bits() & 0xffff_0000);
    let try_one = |name: &str, case, choices| match name {
        // Exponentials magnify it.
        "large_values" => Ok(()),
        _ => try_case(case, choices, &gpu, (HALVES, 3e-2), (behind_a_convolution, short)),
    };
    try_all(try_one, 4);
}

/// `tests/golden/make_autocast.py`
#[test]
fn bfloat16_takes_the_embedded_model_no_farther_than_pytorchs_autocast() {
    let Some(gpu) = gpu() else { return };
    let theirs: serde_json::Value = serde_json::from_str(include_str!("../golden/autocast.json")).unwrap();
    let program = Program::import(&lite0(), &[]).unwrap();
    let there = program.to(DType::F32, &Device::Cuda(gpu)).unwrap();
    let shape = [2, 3, 224, 224];
    let images = Rng::new(1).numbers(shape.iter().product());
    let all = |program: &Program| {
        let (outputs, grads) = run(program, &images, &shape);
        let parameters = grads.parameters.iter().flatten().flat_map(values).collect();
        [("logits", values(&outputs[0])), ("images", values(&grads.input.unwrap())), ("parameters", parameters)]
    };
    for ((name, exact), (_, rounded)) in all(&program).into_iter().zip(HALVES.during(|| all(&there))) {
        let apart = apart(&exact, &rounded);
        let theirs = theirs[name].as_f64().unwrap();
        println!("{name}: {apart}, PyTorch {theirs}");
        // Rounding falls otherwise each time.
        assert!((0.1 * theirs..1.2 * theirs).contains(&apart), "{name}: {apart}, PyTorch {theirs}");
    }
}

/// What a step has in memory at most. (A GPU tells that of all who use it.)
#[test]
fn bfloat16_takes_less_memory() {
    if !cfg!(feature = "cuda-emulated") {
        return;
    }
    let model = lite0();
    let bytes = |precision: Precision| {
        let gpu = Gpu::open(0).unwrap();
        let program = Program::import(&model, &[]).unwrap().to(DType::F32, &Device::Cuda(gpu.clone())).unwrap();
        let mut network = Network::new(&program, &HashMap::new(), Wanted::parameters(&program)).unwrap();
        network.precision = precision;
        let (images, shape) = (4, [3, 224, 224]);
        let input = network.input(Rng::new(1).numbers(images * 3 * 224 * 224), images, &shape).unwrap();
        let (targets, loss) = (one_hot(&[3, 7, 1, 9], 1000), Loss::new(LossKind::CrossEntropy));
        let weights = gpu.memory()[1];
        let grads: Vec<Option<Tensor>> = network.gradients(&input, targets.view(), &loss).unwrap().1;
        assert!(grads.iter().flatten().count() > 90);
        (gpu.memory()[0] - weights) as f64
    };
    let share = bytes(HALVES) / bytes(Precision::default());
    println!("{share}");
    assert!(share < 0.65, "{share}");
}

/// Forwards and backwards they are the same, so that rounded ones stay in memory until a step's gradients are there; and after
/// the optimizer's they are rounded anew.
#[test]
fn weights_are_rounded_once_a_step() {
    let Some(gpu) = gpu() else { return };
    let (side, layers, mut graph) = (128, 3, Graph::new(29));
    let mut y = graph.input(&[2, side]).to_owned();
    for _ in 0..layers {
        let weights = graph.weight(&[side, side]);
        y = graph.node("MatMul", &[&y, &weights], &[]);
    }
    let program = Program::import(&graph.model(&y), &[]).unwrap().to(DType::F32, &Device::Cuda(gpu.clone())).unwrap();
    let (images, targets) = (Rng::new(5).numbers(2 * side), one_hot(&[3, 7], side));
    let (wanted, loss) = (Wanted::parameters(&program), Loss::new(LossKind::Mse));
    let network = |weights: &HashMap<String, Vec<f32>>| {
        let network = Network::new(&program, weights, wanted.clone()).unwrap();
        Network { precision: HALVES, ..network }
    };
    let slopes = |network: &Network| -> Vec<Option<Tensor>> {
        let input = network.input(images.clone(), 2, &[side]).unwrap();
        network.gradients(&input, targets.view(), &loss).unwrap().1
    };
    let read = |tensors: &[Option<Tensor>]| tensors.iter().flatten().flat_map(values).collect::<Vec<f32>>();
    let own = network(&HashMap::new());
    let before = gpu.memory()[1];
    let grads = slopes(&own);
    if cfg!(feature = "cuda-emulated") {
        // In sizes of one layer's weights: their gradients, and half of each.
        let taken = (gpu.memory()[0] - before) as f64 / (4 * side * side) as f64;
        assert!((4.5..4.7).contains(&taken), "{taken}");
    }
    let kind = OptimizerKind::Sgd { momentum: 0., nesterov: false };
    let rules = own.parameters.iter().map(Setting::usual).collect();
    Optimizer::new(kind, 0., &own.parameters, rules).unwrap().step(&own.parameters, &grads, 1e-3).unwrap();
    let names = program.parameters().iter().map(|parameter| parameter.name.clone());
    let anew = read(&slopes(&network(&names.zip(own.parameters.iter().map(values)).collect())));
    assert!(anew == read(&slopes(&own)) && anew != read(&grads));
}
