//! Outputs and gradients against PyTorch's (`tests/golden/make_torch.py`).

use super::check::{difference, flat, tensor};
use crate::common::golden;
use adapt::Model;
use adapt::graph::{Program, Wanted};
use adapt::tensor::Tensor;
use safetensors::SafeTensors;

fn floats(file: &SafeTensors, name: &str) -> Tensor {
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let values: Vec<f32> = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    tensor(&values, view.shape())
}

#[test]
fn outputs_and_gradients_are_pytorchs() {
    let bytes = std::fs::read(golden("torch.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let names = file.names();
    let cases: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".onnx")).collect();
    assert!(cases.len() > 30);
    let mut by_weights = 0;
    for case in cases {
        let of = |part: &str| floats(&file, &format!("{case}.{part}"));
        let model = Model::from_bytes(case, file.tensor(&format!("{case}.onnx")).unwrap().data().to_vec()).unwrap();
        let program = Program::import(&model, &[]).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(program.batch(), None, "{case}");
        let wanted = Wanted { input: true, ..Wanted::parameters(&program) };
        let (outputs, tape) = program.forward_saving(&of("x"), &program.initial().unwrap(), &wanted).unwrap();
        let found = program.backward(tape, &[Some(of("w"))]).unwrap();
        let compare = |what: &str, ours: &Tensor, theirs: &Tensor| {
            assert_eq!(ours.dims(), theirs.dims(), "{case}: shape of {what}");
            // Both sides compute in float32, in another order.
            let far = difference(&flat(ours), flat(theirs).into_iter());
            assert!(far < 2e-5, "{case}: {what} differs by {far}");
        };
        compare("the output", &outputs[0], &of("y"));
        compare("the gradient by the images", &found.input.unwrap(), &of("grad"));
        for (parameter, grad) in program.parameters().iter().zip(&found.parameters) {
            // What the exporter made of a weight itself has no gradient of PyTorch's.
            let name = format!("grad.{}", parameter.name);
            if file.tensor(&format!("{case}.{name}")).is_ok() {
                compare(&name, grad.as_ref().expect("every weight has a gradient"), &of(&name));
                by_weights += 1;
            }
        }
    }
    let theirs = names.iter().filter(|name| name.contains(".grad.")).count();
    // Two are read by operators whose weights stay constants.
    assert_eq!(by_weights, theirs - 2, "gradients by weights that were compared");
}

/// `tests/golden/make_norms.py`
#[test]
fn batch_norms_that_follow_the_images_are_pytorchs() {
    let golden_values: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden("norms.json")).unwrap()).unwrap();
    let of = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let close = |what: &str, ours: &Tensor, theirs: &serde_json::Value| {
        let far = difference(&flat(ours), of(theirs).into_iter());
        assert!(far < 2e-5, "{what} differs by {far}");
    };
    let model = Model::open(golden("norms.onnx")).unwrap();
    let names = ["mean", "var"].map(String::from).into();
    let [plain, training] = Program::import_following(&model, &[], &names).unwrap();
    let input: Vec<f32> = of(&golden_values["input"]).into_iter().map(|v| v as f32).collect();
    let input = tensor(&input, &[6, 3, 8, 8]);
    let parameters = training.initial().unwrap();
    let (outputs, tape) = training.forward_saving(&input, &parameters, &Wanted::parameters(&training)).unwrap();
    close("logits", &outputs[0], &golden_values["logits"]);
    // The stored statistics are for inference.
    let stored = plain.forward(&input, &parameters).unwrap();
    assert!(difference(&flat(&stored[0]), of(&golden_values["logits"]).into_iter()) > 1e-2);
    let (targets, logits) = (of(&golden_values["targets"]), flat(&outputs[0]));
    let mut slopes = Vec::new();
    for (row, target) in logits.chunks_exact(3).zip(targets) {
        let sum: f64 = row.iter().map(|z| z.exp()).sum();
        let slope = |(class, z): (usize, &f64)| (z.exp() / sum - f64::from(u8::from(class as f64 == target))) / 6.0;
        slopes.extend(row.iter().enumerate().map(slope).map(|slope| slope as f32));
    }
    let mut by_output = vec![None; outputs.len()];
    by_output[0] = Some(tensor(&slopes, &[6, 3]));
    let found = training.backward(tape, &by_output).unwrap();
    let gradients = golden_values["gradients"].as_object().unwrap();
    for (name, theirs) in gradients {
        let place = training.parameters().iter().position(|parameter| parameter.name == *name).unwrap();
        close(name, found.parameters[place].as_ref().unwrap(), theirs);
    }
    let followed: Vec<(usize, usize)> = training.followed().collect();
    assert_eq!((gradients.len(), followed.len()), (5, 2));
    for (output, place) in followed {
        let name = &training.parameters()[place].name;
        close(name, &outputs[output], &golden_values["statistics"][name]);
    }
}
