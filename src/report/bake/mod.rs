//! Preprocessing as nodes of the graph: the model then takes images as they are decoded, bytes `[N, height, width, 3]` of
//! any size.
//!
//! ONNX has an antialiased `Resize` from opset 18 on; raising the opset of a stranger's file would mean rewriting the nodes
//! that are to stay as they came. Resizing is linear along each axis, though: a product with a matrix of weights, which
//! the graph computes from the image's size as Pillow does (`Resample.c`): along the rows, rounded to bytes, then along the
//! columns. The matrices have rows for what the crop keeps, and no others.

mod chain;
mod weights;

use crate::data::{Color, Layout, Preprocessing};
use crate::engine::Backend;
use crate::error::{Error, Result};
use crate::onnx::Model;
use crate::onnx::graph::Names;
use crate::onnx::schema::{GraphProto, data_type};
use crate::plan::Plan;
use chain::{Chain, int, ints};

/// The first opset with all the operators that it takes.
const OLDEST: i64 = 9;
/// The new input's name, where it is free.
const INPUT: &str = "image";

/// Whether the preprocessing can become nodes.
///
/// # Errors
/// [`Error::Usage`] for colours with opacity and where another engine than ONNX Runtime would prove the result,
/// [`Error::Model`] for an opset that lacks operators.
pub fn can_bake(model: &Model, p: &Preprocessing, prover: &Backend) -> Result<()> {
    if prover.name() != "onnxruntime" {
        let what = "--bake-preprocessing: only ONNX Runtime can prove the result; run `adapt runtime install`";
        return Err(Error::Usage(what.into()));
    }
    if p.color.has_alpha() {
        return Err(Error::Usage("--bake-preprocessing: images with opacity are not supported; leave it out".into()));
    }
    if model.opset() < OLDEST {
        let what = format!("its opset is {}; --bake-preprocessing needs {OLDEST} or newer", model.opset());
        return Err(Error::model(&model.path, what));
    }
    Ok(())
}

/// `model`, whose image input and preprocessing `plan` tells, as a model that takes bytes.
pub fn bake(model: &Model, plan: &Plan) -> Model {
    let p = &plan.preprocessing;
    let names = Names::of(model.graph());
    let mut chain = Chain { graph: GraphProto::default(), names };
    let image = chain.names.fresh(INPUT);
    let mut value = chain.cast(&image, data_type::FLOAT);
    if p.color == Color::Gray {
        value = chain.luma(&value);
    }
    let value = chain.attributes("Transpose", &[&value], vec![ints("perm", &[0, 3, 1, 2])]);
    let shape = chain.node("Shape", &[&image]);
    let sides = [1, 2].map(|axis| {
        let axis = chain.integers(&[axis]);
        chain.node("Gather", &[&shape, &axis])
    });
    let resized = chain.resized(p.resize, &sides);
    let (height, width) = p.size();
    let weights = |chain: &mut Chain, axis: usize, out| chain.weights(p.filter, &sides[axis], &resized[axis], out);
    let columns = weights(&mut chain, 1, width);
    let columns = chain.attributes("Transpose", &[&columns], vec![ints("perm", &[1, 0])]);
    let value = chain.node("MatMul", &[&value, &columns]);
    let value = chain.rounded(&value);
    let rows = weights(&mut chain, 0, height);
    let value = chain.node("MatMul", &[&rows, &value]);
    let mut value = chain.rounded(&value);
    let plain = |list: &[f32], wanted: f32| list.iter().all(|&v| v == wanted);
    if !(p.scale == 1. && plain(&p.mean, 0.) && plain(&p.std, 1.)) {
        let channels = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f32> {
            p.mean.iter().zip(&p.std).map(|(&mean, &std)| f(mean.into(), std.into()) as f32).collect()
        };
        let shape = [p.channels(), 1, 1];
        let factor = chain.floats(&shape, &channels(&|_, std| f64::from(p.scale) / std));
        let shift = chain.floats(&shape, &channels(&|mean, std| -mean / std));
        value = chain.node("Mul", &[&value, &factor]);
        value = chain.node("Add", &[&value, &shift]);
    }
    if p.color == Color::Bgr {
        let order = chain.integers(&[2, 1, 0]);
        value = chain.attributes("Gather", &[&value, &order], vec![int("axis", 1)]);
    }
    if plan.input.layout == Layout::Nhwc {
        value = chain.attributes("Transpose", &[&value], vec![ints("perm", &[0, 2, 3, 1])]);
    }
    let wanted = element_type(model, &plan.input.name);
    // The original reads its input by its name.
    if wanted == data_type::UINT8 {
        value = chain.rounded(&value);
    }
    let last = chain.cast(&value, wanted);
    chain.put_in_front(model, &plan.input.name, &image, &last)
}

fn element_type(model: &Model, input: &str) -> i32 {
    let input = model.graph().input.iter().find(|info| info.name() == input);
    input.and_then(|info| info.tensor_type()).map_or(data_type::FLOAT, |(kind, _)| kind)
}
