//! The same operators and models on a GPU: outputs and gradients against the CPU's, and no copies on the way.
//!
//! In a build with `cuda-emulated` the kernels run on the processor; in one with `cuda` and without a GPU nothing is run, and
//! that is said.

mod halves;
mod heads;
mod shares;
mod slides;

use super::build::{Graph, Rng};
use super::cases::CASES;
use super::check::{tensor, tried};
use super::operators::runner;
use super::values::Case;
use adapt::Model;
use adapt::cuda::{Copies, Gpu};
use adapt::graph::{Gradients, Program, Wanted};
use adapt::metrics::argmax;
use adapt::tensor::{DType, Device, Precision, Tensor};
use adapt::train::ema::Ema;
use adapt::train::loss::{Loss, LossKind, one_hot};
use adapt::train::optimizer::{Optimizer, OptimizerKind, Setting, clip_grad_norm};
use adapt::train::tune::{Given, Network, Tally};
use ndarray::Array2;
use proptest::prelude::any;
use proptest::test_runner::TestCaseError;
use std::collections::HashMap;
use std::sync::OnceLock;

/// EfficientNet-Lite0 from its file: a build for another machine has no embedded model.
fn lite0() -> Model {
    Model::open("models/efficientnet_lite0/model.onnx").unwrap()
}

/// How far float32 may be from the CPU's, by the largest value: cuDNN may take algorithms that round more (Winograd's, Fourier's).
const CLOSE: f32 = if cfg!(feature = "cuda-emulated") { 2e-5 } else { 1e-4 };

/// A device of its own, whose copies nobody else makes. One more stays open to the end: with the last the driver's context
/// would go, and what cuBLAS and cuDNN keep in it, between two tests.
fn gpu() -> Option<Gpu> {
    static OPEN: OnceLock<Option<Gpu>> = OnceLock::new();
    OPEN.get_or_init(|| Gpu::open(0).ok());
    Gpu::open(0).map_err(|why| eprintln!("SKIPPED, no GPU: {why}")).ok()
}

/// Outputs and gradients of a program for these images, the outputs weighted by fixed numbers.
fn run(program: &Program, values: &[f32], shape: &[usize]) -> (Vec<Tensor>, Gradients) {
    let wanted = Wanted { input: true, ..Wanted::parameters(program) };
    let parameters = program.initial().unwrap();
    let (outputs, tape) = program.forward_saving(&tensor(values, shape), &parameters, &wanted).unwrap();
    let mut rng = Rng::new(3);
    let mut weight = |output: &Tensor| {
        let weights = Tensor::from_slice(&rng.numbers(output.elem_count()), output.dims(), output.device());
        Some(weights.unwrap())
    };
    let weights: Vec<_> = outputs.iter().map(&mut weight).collect();
    let gradients = program.backward(tape, &weights).unwrap();
    (outputs, gradients)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference by the largest value that is finite; what is not must be the same.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let scale = theirs.iter().filter(|v| v.is_finite()).fold(1e-2, |largest: f32, v| largest.max(v.abs()));
    let far = |(a, b): (&f32, &f32)| match (a.is_finite(), b.is_finite()) {
        (true, true) => (a - b).abs() / scale,
        _ if a.is_nan() == b.is_nan() && (a.is_nan() || a == b) => 0.,
        _ => f32::INFINITY,
    };
    ours.iter().zip(theirs).map(far).fold(0., f32::max)
}

/// Fails where the device gives something else than the CPU.
fn compare(model: &Model, values_of: &[f32], shape: &[usize], gpu: &Gpu, (precision, tolerance): (Precision, f32)) {
    let program = &Program::import(model, &[]).unwrap();
    let there = program.to(DType::F32, &Device::Cuda(gpu.clone())).unwrap();
    let (own, on_gpu) = (run(program, values_of, shape), precision.during(|| run(&there, values_of, shape)));
    for (place, (a, b)) in own.0.iter().zip(&on_gpu.0).enumerate() {
        assert_eq!(a.dims(), b.dims());
        let far = difference(&values(b), &values(a));
        assert!(far <= tolerance, "{}: output {place} differs by {far}", model.path.display());
    }
    let all = |(_, gradients): (_, Gradients)| -> Vec<Option<Tensor>> {
        std::iter::once(gradients.input).chain(gradients.parameters).collect()
    };
    for (place, (a, b)) in all(own).iter().zip(&all(on_gpu)).enumerate() {
        let read = |t: &Option<Tensor>| t.as_ref().map(|t| (t.dims().to_vec(), values(t)));
        let (Some((a_dims, a)), Some((b_dims, b))) = (read(a), read(b)) else {
            assert!(a.is_none() && b.is_none(), "gradient {place} is there once only");
            continue;
        };
        assert_eq!(a_dims, b_dims);
        let far = difference(&b, &a);
        assert!(far <= 10. * tolerance, "gradient {place} differs by {far}");
    }
}

/// What is made of a case's model, if anything, and of the values of its images.
type Changes = (fn(Model, &[usize]) -> Option<Model>, fn(f32) -> f32);

/// A changed case, for random images.
fn try_case(
    case: Case,
    choices: Vec<u32>,
    gpu: &Gpu,
    within: (Precision, f32),
    (model_of, value_of): Changes,
) -> Result<(), TestCaseError> {
    let mut graph = Graph::with(Rng::choosing(choices));
    let output = case(&mut graph);
    let Some(model) = model_of(graph.model(&output), &graph.shape) else { return Ok(()) };
    let checked = tried(|| {
        for batch in [1, 3] {
            let mut shape = graph.shape.clone();
            shape[0] = batch;
            let numbers = Rng::new(5).numbers(shape.iter().product()).into_iter().map(|v| value_of(v * 2.));
            compare(&model, &numbers.collect::<Vec<_>>(), &shape, gpu, within);
        }
    });
    checked.map_err(|text| {
        let nodes: Vec<_> = model.graph().node.iter().map(|node| node.op_type()).collect();
        TestCaseError::fail(format!("{text} in {nodes:?} {:?}", graph.shape))
    })
}

#[test]
fn every_operator_is_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let within = (Precision::default(), CLOSE);
    try_all(|_, case, choices| try_case(case, choices, &gpu, within, (|model, _| Some(model), |v| v)), 1);
}

/// All families, each in a share of its cases.
fn try_all(try_one: impl Fn(&str, Case, Vec<u32>) -> Result<(), TestCaseError>, share: u32) {
    let mut failures = Vec::new();
    for (name, case, cases) in CASES {
        let chosen = proptest::collection::vec(any::<u32>(), 24);
        let tried = runner(cases.div_ceil(share)).run(&chosen, |choices| try_one(name, case, choices));
        failures.extend(tried.err().map(|error| format!("{name}: {error}")));
    }
    assert!(failures.is_empty(), "{} families failed:\n{}", failures.len(), failures.join("\n\n"));
}

/// For GPUs of three generations, by NVIDIA's own compiler, which needs no GPU.
#[test]
fn the_kernels_compile() {
    for architecture in ["sm_80", "sm_90", "sm_100"] {
        match adapt::cuda::cubin(architecture) {
            Ok(code) => assert!(code.starts_with(b"\x7fELF"), "{architecture}"),
            Err(why) if why.contains("is not there") => return eprintln!("SKIPPED: {why}"),
            Err(why) => panic!("{architecture}: {why}"),
        }
    }
}

/// A batch and its targets go up once, and nothing comes down before what steps gave is read.
#[test]
fn steps_copy_nothing_but_images_and_targets() {
    let Some(gpu) = gpu() else { return };
    let model = lite0();
    let program = Program::import(&model, &[]).unwrap().to(DType::F32, &Device::Cuda(gpu.clone())).unwrap().profiled();
    let network = Network::new(&program, &HashMap::new(), Wanted::parameters(&program)).unwrap();
    let images = Rng::new(1).numbers(2 * 3 * 224 * 224);
    let (targets, loss) = (one_hot(&[3, 7], 1000), Loss::new(LossKind::CrossEntropy));
    let (before, mut all) = (gpu.copies(), Given::default());
    for _ in 0..2 {
        let input = network.input(images.clone(), 2, &[3, 224, 224]).unwrap();
        let (given, grads) = network.gradients(&input, targets.view(), &loss).unwrap();
        assert!(grads.iter().any(Option::is_some));
        all.add(given);
    }
    let copies = |after: Copies| Copies { up: after.up - before.up, down: after.down - before.down };
    assert_eq!(copies(gpu.copies()), Copies { up: 4, down: 0 });
    let mut tally = Tally::default();
    all.read(&mut tally).unwrap();
    assert_eq!(copies(gpu.copies()), Copies { up: 4, down: 1 });
    assert!(tally.images == 4 && (1. ..20.).contains(&tally.mean_loss()), "{tally:?}");
    let seconds = program.profile().unwrap();
    assert!(seconds["Conv"].iter().all(|&seconds| seconds > 0.), "{seconds:?}");
    assert!(program.profile().unwrap().is_empty());
}

#[test]
fn losses_are_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(11);
    // More images and more classes than a block of the emulation has threads, and than few values are summed by one.
    for (kind, images, classes) in [LossKind::CrossEntropy, LossKind::Bce, LossKind::Mse]
        .into_iter()
        .flat_map(|kind| [(1, 1), (3, 5), (40, 300)].map(|(images, classes)| (kind, images, classes)))
    {
        let numbers = rng.numbers(images * classes);
        let logits = Array2::from_shape_fn((images, classes), |(i, j)| 8. * numbers[i * classes + j]);
        let labels: Vec<usize> = (0..images).map(|i| i * 7 % classes).collect();
        let others: Vec<usize> = labels.iter().map(|label| (label + 1) % classes).collect();
        // As mixup gives them.
        let targets = one_hot(&labels, classes) * 0.7 + one_hot(&others, classes) * 0.3;
        let weights = (0..classes).map(|class| 0.5 + class as f64 / classes as f64).collect();
        let loss = Loss { kind, label_smoothing: 0.1, class_weights: Some(weights) };
        let (mean, slope) = loss.evaluate(logits.view(), targets.view()).unwrap();
        let right = logits.rows().into_iter().zip(targets.rows()).filter(|(l, t)| argmax(*l) == argmax(*t)).count();
        let there = |x: &Array2<f32>| {
            Tensor::from_vec(x.iter().copied().collect::<Vec<f32>>(), x.dim(), &Device::Cuda(gpu.clone())).unwrap()
        };
        let prepared = there(&loss.prepared(targets.view()).unwrap());
        let [ours, sums] = there(&logits).loss(kind.kernel(), &prepared, 1. / images as f32).unwrap();
        let far = difference(&values(&ours), slope.as_slice().unwrap());
        assert!(far < 1e-5, "{kind:?} {images} {classes}: the gradient differs by {far}");
        let sums = values(&sums);
        let far = (f64::from(sums[0]) / images as f64 - mean).abs() / (1. + mean);
        assert!(far < 1e-5, "{kind:?} {images} {classes}: {sums:?}, a mean of {mean}");
        assert_eq!(sums[1] as usize, right, "{kind:?} {images} {classes}");
    }
    let bad = Tensor::zeros((2, 3), DType::F32, &Device::Cuda(gpu)).unwrap();
    assert!(bad.loss("mse", &bad, 1.).is_err());
}

#[test]
fn optimizers_step_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let mut rng = Rng::new(23);
    let adam = |apart: bool| {
        let (betas, eps) = ((0.9, 0.999), 1e-8);
        if apart { OptimizerKind::AdamW { betas, eps } } else { OptimizerKind::Adam { betas, eps } }
    };
    let sgd = |momentum: f64, nesterov: bool| OptimizerKind::Sgd { momentum, nesterov };
    for kind in [adam(true), adam(false), sgd(0., false), sgd(0.9, false), sgd(0.9, true)] {
        let shapes = [vec![3, 70], vec![1], vec![2, 3, 5]];
        let made: Vec<Vec<f32>> = shapes.iter().map(|shape| rng.numbers(shape.iter().product())).collect();
        let on = |device: &Device, all: &[Vec<f32>]| -> Vec<Tensor> {
            let tensor = |(v, shape): (&Vec<f32>, &Vec<usize>)| Tensor::from_slice(v, &shape[..], device).unwrap();
            all.iter().zip(&shapes).map(tensor).collect()
        };
        let gradients: Vec<_> = (0..3).map(|_| made.iter().map(|v| rng.numbers(v.len())).collect::<Vec<_>>()).collect();
        let run = |device: &Device| {
            let parameters = on(device, &made);
            let rules = parameters.iter().map(Setting::usual).collect();
            let mut optimizer = Optimizer::new(kind, 0.05, &parameters, rules).unwrap();
            let mut ema = Ema::new(&parameters, 0.9).unwrap();
            for gradients in &gradients {
                let mut grads: Vec<_> = on(device, gradients).into_iter().map(Some).collect();
                let norm = clip_grad_norm(&mut grads, 2.).unwrap();
                assert!(norm.is_none_or(|norm| (5. ..20.).contains(&norm)), "{norm:?}");
                optimizer.step(&parameters, &grads, 0.01).unwrap();
                ema.update(&parameters).unwrap();
            }
            let all = parameters.iter().chain(ema.average());
            all.flat_map(values).collect::<Vec<f32>>()
        };
        let far = difference(&run(&Device::Cuda(gpu.clone())), &run(&Device::Cpu));
        assert!(far < 1e-6, "{kind:?}: {far}");
    }
}

#[test]
fn the_embedded_model_is_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let model = lite0();
    let shape = [2, 3, 224, 224];
    let images = Rng::new(1).numbers(shape.iter().product());
    // Where an activation bends, rounding decides which way a gradient goes.
    compare(&model, &images, &shape, &gpu, (Precision::default(), 5e-4));
}
