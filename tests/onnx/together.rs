//! What goes through a graph together: the images of a batch, in every engine; and numbers beyond the type of the file.

use crate::cases::{computes, features, head};
use crate::common::{onnx_runtime, tract};
use crate::open;
use crate::support::{graph, node};
use adapt::engine::{Backend, Choice};
use adapt::onnx::schema::data_type;
use adapt::onnx::{Model, batch};
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::silent;
use adapt::report::Adapted;

fn plan_in(backend: &Backend, model: &mut Model) -> Plan {
    let made = Plan::make(model, backend, &PlanOptions::default(), &silent);
    made.unwrap_or_else(|error| panic!("{error}")).0
}

/// tract and candle plan for one image where the batch is free, and then constants that hold it do no harm.
#[test]
fn a_batch_becomes_free_in_every_engine() {
    let candle = Backend::resolve(Choice::Candle, None, true, &silent).unwrap();
    let names = ["batch1_initializer", "batch1_constant", "batch1_sequence", "batch2_tokens", "free_rest"];
    for (backend, names) in [(tract(), &names[..]), (candle, &names[..2])] {
        for name in names {
            let original = open(name);
            let mut model = original.clone();
            let plan = plan_in(&backend, &mut model);
            assert_eq!(plan.input.batch, None, "{name}: {:?}", plan.notes);
            let adapted = Adapted::new(&model, &plan, &head(plan.features)).unwrap();
            // In ONNX Runtime, at batches of 1 and 3.
            computes(name, if *name == "free_rest" { &model } else { &original }, &plan, &adapted, 2, 1e-4);
        }
    }
    for (name, batch) in [("batch1_stuck", 1), ("batch2_mixed_bytes", 2), ("batch2_mixed_floats", 2)] {
        let plan = plan_in(&tract(), &mut open(name));
        assert_eq!(plan.input.batch, Some(batch), "{name}: {:?}", plan.notes);
    }
}

/// `gemm_transb1` with its features rounded to 256 steps of the range that a batch has; or the weights of its head, whose
/// range is their own.
fn dynamic(value: &str) -> Model {
    let mut model = open("gemm_transb1");
    let nodes = &mut graph(&mut model).node;
    let gemm = nodes.last_mut().unwrap();
    let place = gemm.input.iter().position(|input| input == value).unwrap();
    gemm.input[place] = "rounded".into();
    let mut quantize = node("DynamicQuantizeLinear", &[value], "bytes", vec![]);
    quantize.output.extend(["scale".into(), "zero".into()]);
    let at = nodes.len() - 1;
    nodes.splice(at..at, [quantize, node("DequantizeLinear", &["bytes", "scale", "zero"], "rounded", vec![])]);
    model
}

#[test]
fn activations_in_steps_of_a_batchs_range_want_single_images() {
    let plan = plan_in(&onnx_runtime(), &mut dynamic("features"));
    assert_eq!((plan.cut.as_str(), plan.input.batch), ("rounded", Some(1)));
    let told = "depends on the others of its batch: its batch is now fixed at 1";
    assert!(plan.notes.iter().any(|note| note.contains(told)), "{:?}", plan.notes);
    let plan = plan_in(&onnx_runtime(), &mut batch::fix(&dynamic("features"), "x"));
    assert_eq!(plan.input.batch, Some(1));
    assert!(plan.notes.iter().any(|note| note.contains("stays fixed at 1: what the model gives")), "{:?}", plan.notes);
    assert!(!batch::is_mixed(&dynamic("h"), "x"));
}

#[test]
fn a_head_beyond_the_range_of_float16_is_float32() {
    let mut model = open("float16");
    let original = model.clone();
    let plan = plan_in(&onnx_runtime(), &mut model);
    let rows = features(&original, &plan, &onnx_runtime(), 3, plan.features);
    let most = |column: &usize| rows.column(*column).iter().fold(0f32, |most, value| most.max(value.abs()));
    let smallest = (0..plan.features).min_by(|a, b| most(a).total_cmp(&most(b))).unwrap();
    assert!(most(&smallest) < 0.8, "the scores are beyond it, too: {rows}");
    let mut head = head(plan.features);
    head.weight[[0, smallest]] = 7e4;
    let adapted = Adapted::new(&model, &plan, &head).unwrap();
    let stored = adapted.model.graph().initializer.iter().find(|t| t.name() == adapted.names[0]).unwrap();
    assert_eq!(stored.data_type(), data_type::FLOAT);
    assert_eq!(adapted.model.graph().output[0].tensor_type().unwrap().0, data_type::FLOAT16);
    computes("float16", &original, &plan, &adapted, 2, 5e-3);
}
