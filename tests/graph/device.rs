//! The same operators and models on a GPU: outputs and gradients against the CPU's, and no copies on the way.
//!
//! In a build with `cuda-emulated` the kernels run on the processor; in one with `cuda` and without a GPU nothing is run, and
//! that is said.

use super::build::{Graph, Rng};
use super::cases::CASES;
use super::check::tensor;
use super::operators::runner;
use super::values::Case;
use adapt::Model;
use adapt::cuda::{Copies, Gpu};
use adapt::graph::{Gradients, Program, Wanted};
use adapt::tensor::{DType, Device, Tensor};
use proptest::prelude::any;
use proptest::test_runner::TestCaseError;

fn gpu() -> Option<Gpu> {
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
fn compare(model: &Model, program: &Program, values_of: &[f32], shape: &[usize], gpu: &Gpu, tolerance: f32) {
    let there = program.to(DType::F32, &Device::Cuda(gpu.clone())).unwrap();
    let (own, on_gpu) = (run(program, values_of, shape), run(&there, values_of, shape));
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

fn try_case(case: Case, choices: Vec<u32>, gpu: &Gpu) -> Result<(), TestCaseError> {
    let mut graph = Graph::with(Rng::choosing(choices));
    let output = case(&mut graph);
    let model = graph.model(&output);
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let program = Program::import(&model, &[]).unwrap();
        for batch in [1, 3] {
            let mut shape = graph.shape.clone();
            shape[0] = batch;
            let numbers = Rng::new(5).numbers(shape.iter().product()).into_iter().map(|v| v * 2.).collect::<Vec<_>>();
            compare(&model, &program, &numbers, &shape, gpu, 2e-5);
        }
    }));
    checked.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|s| s.to_string()));
        let nodes: Vec<_> = model.graph().node.iter().map(|node| node.op_type()).collect();
        TestCaseError::fail(format!("{} in {nodes:?} {:?}", text.unwrap_or_default(), graph.shape))
    })
}

#[test]
fn every_operator_is_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let mut failures = Vec::new();
    for (name, case, cases) in CASES {
        let chosen = proptest::collection::vec(any::<u32>(), 24);
        let tried = runner(cases).run(&chosen, |choices| try_case(case, choices, &gpu));
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

/// A batch goes up once, and nothing comes down before it is read.
#[test]
fn a_step_makes_no_copies_but_the_images() {
    let Some(gpu) = gpu() else { return };
    let model = adapt::builtin().unwrap();
    let program = Program::import(&model, &[]).unwrap().to(DType::F32, &Device::Cuda(gpu.clone())).unwrap();
    let (shape, wanted) = ([2, 3, 224, 224], Wanted::parameters(&program));
    let parameters = program.initial().unwrap();
    let images = tensor(&Rng::new(1).numbers(shape.iter().product()), &shape);
    let before = gpu.copies();
    let (outputs, tape) = program.forward_saving(&images, &parameters, &wanted).unwrap();
    let grads = program.backward(tape, &[Some(outputs[0].ones_like().unwrap())]).unwrap();
    assert!(grads.parameters.iter().any(Option::is_some));
    let after = gpu.copies();
    assert_eq!(Copies { up: after.up - before.up, down: after.down - before.down }, Copies { up: 1, down: 0 });
}

#[test]
fn the_embedded_model_is_the_same_on_a_gpu() {
    let Some(gpu) = gpu() else { return };
    let model = adapt::builtin().unwrap();
    let program = Program::import(&model, &[]).unwrap();
    let shape = [2, 3, 224, 224];
    let images = Rng::new(1).numbers(shape.iter().product());
    // Where an activation bends, rounding decides which way a gradient goes.
    compare(&model, &program, &images, &shape, &gpu, 5e-4);
}
