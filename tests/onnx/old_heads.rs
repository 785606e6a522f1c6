//! The weights of the layer that a new head replaces.

use crate::common::{golden, onnx_runtime};
use crate::open;
use crate::support::{RUNTIME, difference, run};
use adapt::onnx::old_head::old_head;
use adapt::plan::{Activation, Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;
use adapt::train::LinearHead;
use ndarray::{Array1, Array2};

/// A new head with the old one's numbers computes, says ONNX Runtime, what the original does, however that is written.
#[test]
fn a_head_of_the_old_ones_numbers_computes_the_same() {
    let mut names: Vec<String> = std::fs::read_dir(golden("onnx"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_owned()))
        .collect();
    names.sort();
    let (mut same, mut others) = (Vec::new(), Vec::new());
    for name in &names {
        let mut model = open(name);
        let Ok((plan, _)) = Plan::make(&mut model, &onnx_runtime(), &PlanOptions::default(), &silent) else { continue };
        let Some((weight, bias)) = old_head(model.graph(), &plan.surgery) else { continue };
        let head = LinearHead {
            weight: Array2::from_shape_vec((bias.len(), plan.features), weight).unwrap(),
            bias: Array1::from_vec(bias),
        };
        let adapted = Adapted::new(&model, &plan, &head).unwrap();
        let place = model.graph().output.iter().position(|output| output.name() == plan.output);
        // Scores of several labels become those of classes that exclude each other.
        let kept = Activation::of(model.graph(), &plan.surgery) == adapted.activation && !plan.surgery.decided;
        let Some(place) = place.filter(|_| kept && plan.input.data_type == "float32") else { continue };
        let shape = plan.input.shape(plan.input.batch.unwrap_or(1));
        let [was, is] = [&model, &adapted.model].map(|model| run(&RUNTIME, model, &shape));
        if was[place].len() != is[0].len() {
            // Not all of the layer's scores were the output's, as without ImageNet's background.
            continue;
        }
        let far = difference(&was[place..=place], &is[..1]);
        let list = if far < 1e-5 { &mut same } else { &mut others };
        list.push(name.as_str());
    }
    // A norm or a ReLU behind the layer goes with it, and is not in its numbers.
    assert_eq!(others, ["scores_normed", "squeezenet"]);
    for name in ["gemm_transb1", "shared_bias", "matmul_add", "bias_first", "conv_flatten", "conv_rank4", "softmax"] {
        assert!(same.contains(&name), "{name} is not among {same:?}");
    }
}
