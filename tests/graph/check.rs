//! A model's program against ONNX Runtime, and its gradients against finite differences.

use super::build::Rng;
use crate::common::onnx_runtime;
use adapt::Model;
use adapt::graph::{Program, Wanted};
use adapt::tensor::{DType, Device, Tensor};
use ndarray::{ArrayD, IxDyn};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{LazyLock, Once};

pub static RUNTIME: LazyLock<adapt::Backend> = LazyLock::new(onnx_runtime);

/// What the work panics with, if it does; nothing is printed, since a case that is made smaller panics many times.
pub fn tried<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info)
            }
        }));
    });
    QUIET.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    let text = |panic: Box<dyn std::any::Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"a panic").to_string(),
    };
    done.map_err(text)
}

pub fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

pub fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference relative to the largest value (at least 1e-3).
pub fn difference(ours: &[f64], theirs: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let scale = theirs.clone().fold(1e-3, |largest: f64, v| largest.max(v.abs()));
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0., f64::max) / scale
}

/// The outputs agree with ONNX Runtime's for random images. Gives the images.
pub fn forward(model: &Model, program: &Program, shape: &[usize], seed: u64, tolerance: f64) -> Vec<f32> {
    let values = Rng::new(seed).numbers(shape.iter().product()).into_iter().map(|v| v * 2.).collect::<Vec<_>>();
    let parameters = program.initial().unwrap();
    let ours = program.forward(&tensor(&values, shape), &parameters).unwrap();
    let mut engine = RUNTIME.open(model, &[], 1).unwrap();
    let theirs = engine.run(ArrayD::from_shape_vec(IxDyn(shape), values.clone()).unwrap().view()).unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.dims(), theirs.shape(), "shapes differ");
        let far = difference(&flat(ours), theirs.iter().map(|&v| f64::from(v)).collect::<Vec<_>>().into_iter());
        assert!(far <= tolerance, "outputs differ by {far}");
    }
    values
}

/// A scalar of a program: its outputs weighted by random numbers.
pub struct Scalar {
    pub program: Program,
    pub tensors: Vec<Tensor>,
    weights: Vec<Tensor>,
}

impl Scalar {
    /// In double precision, at these images; the weights are of the outputs' shapes.
    pub fn new(program: &Program, values: &[f32], shape: &[usize], seed: u64) -> Scalar {
        let program = program.to(DType::F64, &Device::Cpu).unwrap();
        let input = tensor(values, shape).to_dtype(DType::F64).unwrap();
        let tensors: Vec<Tensor> = std::iter::once(input).chain(program.initial().unwrap()).collect();
        let outputs = program.forward(&tensors[0], &tensors[1..]).unwrap();
        let mut rng = Rng::new(seed);
        let random = |output: &Tensor| {
            let values = rng.numbers(output.elem_count());
            tensor(&values, output.dims()).to_dtype(DType::F64).unwrap()
        };
        let weights = outputs.iter().map(random).collect();
        Scalar { program, tensors, weights }
    }

    fn value(&self, tensors: &[Tensor]) -> f64 {
        let outputs = self.program.forward(&tensors[0], &tensors[1..]).unwrap();
        let parts = outputs.iter().zip(&self.weights);
        parts.map(|(output, weight)| flat(output).iter().zip(flat(weight)).map(|(a, b)| a * b).sum::<f64>()).sum()
    }

    /// The gradients by the images and all parameters.
    pub fn gradients(&self) -> Vec<Option<Tensor>> {
        let wanted = Wanted { input: true, ..Wanted::parameters(&self.program) };
        let (_, tape) = self.program.forward_saving(&self.tensors[0], &self.tensors[1..], &wanted).unwrap();
        let grads: Vec<_> = self.weights.iter().cloned().map(Some).collect();
        let found = self.program.backward(tape, &grads).unwrap();
        std::iter::once(found.input).chain(found.parameters).collect()
    }

    /// The slope along a random direction of one tensor: of its gradient, and by central differences with step `h`.
    pub fn slopes(&self, index: usize, gradient: Option<&Tensor>, rng: &mut Rng, h: f64) -> (f64, f64) {
        let own = &self.tensors[index];
        let direction = tensor(&rng.numbers(own.elem_count()), own.dims()).to_dtype(DType::F64).unwrap();
        let moved = |step: f64| {
            let mut tensors = self.tensors.clone();
            tensors[index] = (own + (&direction * step).unwrap()).unwrap();
            self.value(&tensors)
        };
        if let Some(gradient) = gradient {
            assert_eq!(gradient.dims(), own.dims());
        }
        let product = |g: &Tensor| flat(g).iter().zip(flat(&direction)).map(|(a, b)| a * b).sum();
        (gradient.map_or(0., product), (moved(h) - moved(-h)) / (2. * h))
    }
}

/// The gradients by images and parameters agree with central differences along random directions.
pub fn backward(program: &Program, values: &[f32], shape: &[usize], seed: u64) {
    let scalar = Scalar::new(program, values, shape, seed);
    let mut rng = Rng::new(seed + 1);
    let gradients = scalar.gradients();
    for (index, gradient) in gradients.iter().enumerate() {
        for _ in 0..2 {
            let (ours, numeric) = scalar.slopes(index, gradient.as_ref(), &mut rng, 1e-6);
            let far = (ours - numeric).abs() / numeric.abs().max(ours.abs()).max(1e-2);
            assert!(far <= 1e-5, "slope by tensor {index}: {ours}, differences say {numeric}");
        }
    }
}
