//! Optimizers, clipping and the moving average.

use super::{close, golden, numbers};
use adapt::tensor::{DType, Device, Tensor};
use adapt::train::ema::Ema;
use adapt::train::optimizer::{Optimizer, OptimizerKind, Setting, clip_grad_norm};
use serde_json::Value;

const SHAPES: [&[usize]; 2] = [&[3, 2], &[4]];

fn tensor(v: &Value, shape: &[usize]) -> Tensor {
    let values: Vec<f32> = numbers(v).into_iter().map(|v| v as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Two tensors, or none where JSON has null.
fn tensors(v: &Value) -> Vec<Option<Tensor>> {
    (0..2).map(|i| (!v[i].is_null()).then(|| tensor(&v[i], SHAPES[i]))).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn same(tensors: &[Tensor], expected: &Value) {
    for (i, tensor) in tensors.iter().enumerate() {
        values(tensor).iter().zip(numbers(&expected[i])).for_each(|(&a, b)| close(a.into(), b, 3e-6));
    }
}

fn kind(name: &str) -> OptimizerKind {
    match name {
        "sgd" => OptimizerKind::Sgd { momentum: 0.0, nesterov: false },
        "sgd_momentum" => OptimizerKind::Sgd { momentum: 0.9, nesterov: false },
        "sgd_nesterov" => OptimizerKind::Sgd { momentum: 0.9, nesterov: true },
        "adam" => OptimizerKind::Adam { betas: (0.8, 0.95), eps: 1e-6 },
        "adamw" => OptimizerKind::AdamW { betas: (0.9, 0.999), eps: 1e-8 },
        _ => panic!("{name}"),
    }
}

#[test]
fn steps_are_pytorchs_and_go_on_from_a_saved_state() {
    let golden = golden("optimizer");
    let names = ["a.weight".to_string(), "a.bias".to_string()];
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let parameters: Vec<Tensor> = tensors(&golden["start"]).into_iter().flatten().collect();
        let mut settings: Vec<Setting> = parameters.iter().map(Setting::usual).collect();
        assert_eq!([settings[0].decays, settings[1].decays], [true, false]);
        settings.iter_mut().zip(numbers(&golden["lr_scale"])).for_each(|(s, scale)| s.lr_scale = scale);
        let decay = golden["weight_decay"].as_f64().unwrap();
        let new =
            || Optimizer::new(kind(case["kind"].as_str().unwrap()), decay, &parameters, settings.clone()).unwrap();
        let mut optimizer = new();
        let mut resumed: Option<(Optimizer, Vec<Tensor>)> = None;
        for (i, lr) in numbers(&golden["rates"]).into_iter().enumerate() {
            let before = values(&parameters[1]);
            let grads = tensors(&golden["grads"][i]);
            optimizer.step(&parameters, &grads, lr).unwrap();
            same(&parameters, &case["steps"][i]);
            assert!(grads[1].is_some() || before == values(&parameters[1]), "no gradient, no step");
            if let Some((optimizer, copies)) = &mut resumed {
                optimizer.step(copies, &grads, lr).unwrap();
                parameters.iter().zip(copies).for_each(|(a, b)| assert_eq!(values(a), values(b)));
            }
            if i == 1 {
                let mut other = new();
                other.load_state(&names, &optimizer.state(&names).unwrap()).unwrap();
                resumed = Some((other, parameters.iter().map(|p| p.copy().unwrap()).collect()));
            }
        }
    }
}

/// Tensors that are not float32 on the CPU take the other way: by tensor operations.
#[test]
fn tensor_operations_do_the_same() {
    let golden = golden("optimizer");
    let double = |t: Tensor| t.to_dtype(DType::F64).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let parameters: Vec<Tensor> = tensors(&golden["start"]).into_iter().flatten().map(double).collect();
        let mut settings: Vec<Setting> = parameters.iter().map(Setting::usual).collect();
        settings[1].lr_scale = 0.5;
        let (names, kind) = (["w".to_string(), "b".to_string()], kind(case["kind"].as_str().unwrap()));
        let mut optimizer = Optimizer::new(kind, 0.3, &parameters, settings).unwrap();
        for (i, lr) in numbers(&golden["rates"]).into_iter().enumerate() {
            let grads: Vec<_> = tensors(&golden["grads"][i]).into_iter().map(|g| g.map(double)).collect();
            let state = optimizer.state(&names).unwrap();
            optimizer.load_state(&names, &state).unwrap();
            optimizer.step(&parameters, &grads, lr).unwrap();
            let found: Vec<Tensor> = parameters.iter().map(|p| p.to_dtype(DType::F32).unwrap()).collect();
            same(&found, &case["steps"][i]);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let parameters = [Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap()];
    let kind = OptimizerKind::AdamW { betas: (0.9, 0.999), eps: 1e-8 };
    let mut optimizer = Optimizer::new(kind, 0.0, &parameters, vec![Setting::usual(&parameters[0])]).unwrap();
    let turned = parameters[0].t().unwrap();
    assert!(optimizer.step(&parameters, &[Some(turned.clone())], 0.1).is_err());
    assert!(optimizer.step(&parameters, &[], 0.1).is_err());
    assert!(Optimizer::new(kind, 0.0, &parameters, vec![]).is_err());
    let names = ["w".to_string()];
    let mut state = optimizer.state(&names).unwrap();
    state.insert("w.exp_avg".into(), turned);
    let says = optimizer.load_state(&names, &state).unwrap_err().to_string();
    assert!(says.contains("w.exp_avg"), "{says}");
    state.remove("w.exp_avg");
    assert!(optimizer.load_state(&names, &state).unwrap_err().to_string().contains("no tensor w.exp_avg"));
}

#[test]
fn many_values_give_the_same_bits_on_any_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let parameter = Tensor::arange(0f32, 100_003.0, &Device::Cpu).unwrap();
            let mut grads = [Some(parameter.cos().unwrap())];
            let norm = clip_grad_norm(&mut grads, 1.0).unwrap().unwrap();
            let parameters = [parameter];
            let kind = OptimizerKind::AdamW { betas: (0.9, 0.999), eps: 1e-8 };
            let settings = vec![Setting { lr_scale: 1.0, decays: true }];
            let mut optimizer = Optimizer::new(kind, 0.01, &parameters, settings).unwrap();
            (0..3).for_each(|_| optimizer.step(&parameters, &grads, 0.1).unwrap());
            (norm.to_bits(), values(&parameters[0]))
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn gradients_are_clipped_as_by_pytorch() {
    let golden = golden("clip");
    for case in golden["cases"].as_array().unwrap() {
        let mut grads = tensors(&golden["grads"]);
        let norm = clip_grad_norm(&mut grads, case["max"].as_f64().unwrap()).unwrap().unwrap();
        close(norm, case["norm"].as_f64().unwrap(), 1e-6);
        same(&grads.into_iter().flatten().collect::<Vec<_>>(), &case["clipped"]);
    }
    let mut broken = [Some(Tensor::new(&[1f32, f32::NAN], &Device::Cpu).unwrap()), None];
    assert!(clip_grad_norm(&mut broken, 1.0).unwrap().unwrap().is_nan());
    assert_eq!(values(broken[0].as_ref().unwrap())[0], 1.0);
}

#[test]
fn the_average_warms_up_and_goes_on_from_a_saved_state() {
    let golden = golden("ema");
    let at = |value: f64| [Tensor::new(&[value as f32; 3], &Device::Cpu).unwrap()];
    let new = || Ema::new(&at(golden["start"].as_f64().unwrap()), golden["decay"].as_f64().unwrap()).unwrap();
    let (names, mut ema) = (["w".to_string()], new());
    for (value, expected) in numbers(&golden["values"]).into_iter().zip(numbers(&golden["averages"])) {
        let mut other = new();
        other.load_state(&names, &ema.state(&names).unwrap()).unwrap();
        for ema in [&mut ema, &mut other] {
            ema.update(&at(value)).unwrap();
            close(values(&ema.average()[0])[2].into(), expected, 1e-6);
        }
    }
    assert!(ema.update(&[]).is_err());
    assert!(ema.update(&[Tensor::new(&[0f32; 2], &Device::Cpu).unwrap()]).is_err());
}
