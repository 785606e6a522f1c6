//! Outputs and gradients against PyTorch's (`tests/golden/make_torch.py`).

use super::check::{difference, flat, tensor};
use crate::common::golden;
use adapt::Model;
use adapt::graph::{Program, Wanted};
use candle_core::Tensor;
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
    // Three are read by operators whose weights stay constants: of the group norm, whose scale stands in a product, and others.
    assert_eq!(by_weights, theirs - 3, "gradients by weights that were compared");
}
