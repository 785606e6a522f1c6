//! Resizing as it was before opset 11, which tract knows in part.

use super::ops::onnx::{Shape, Wires, made};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::prelude::*;
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_core::internal::{ensure, tensor1};
use tract_onnx::tract_core::ops::nn::resize::{CoordTransformer, Interpolator};
use tract_onnx::tract_hir::internal::InferenceOp;
use tract_onnx::{Onnx, pb::AttributeProto};
use tract_onnx_opl::resize::{AspectRatio, CoordTransform, Nearest, Resize};

/// Where tract's own reader of `Resize` is kept.
const OWN: &str = "adapt.Resize";

/// The reader of ONNX with `Upsample`, which is `Resize` of opset 10 by another name, its scales an input
/// ([`crate::onnx::normalize::upsample`]); and with the rounding of both, which nothing in the node says and ONNX Runtime
/// defines: downwards where an axis grows, upwards where it shrinks.
pub(crate) fn register(mut onnx: Onnx) -> Onnx {
    if let Some(&own) = onnx.op_register.0.get("Resize") {
        onnx.op_register.insert(OWN, own);
    }
    onnx.op_register.insert("Resize", parse);
    onnx.op_register.insert("Upsample", parse);
    onnx
}

fn parse(ctx: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let own = ctx.framework.op_register.0.get(OWN).ok_or_else(|| TractError::msg("Resize is not known"))?;
    if ctx.onnx_operator_set_version > 10 {
        return own(ctx, node);
    }
    if node.get_attr_opt("mode")?.unwrap_or("nearest") == "nearest" && !grows(ctx, node) {
        ensure!(node.input.len() == 2, "it has not one input of scales");
        return made(node, Shape::Rank, nearest);
    }
    let floor = AttributeProto {
        name: "nearest_mode".into(),
        s: b"floor".to_vec(),
        r#type: AttributeType::String as i32,
        ..Default::default()
    };
    let mut node = node.clone();
    node.attribute.push(floor);
    own(&ParsingContext { onnx_operator_set_version: 10, ..ctx.clone() }, &node)
}

/// Whether the file stores scales none of which is below 1.
fn grows(ctx: &ParsingContext, node: &NodeProto) -> bool {
    let mut stored = ctx.model.graph.iter().flat_map(|graph| &graph.initializer);
    let scales = stored.find(|tensor| Some(&tensor.name) == node.input.get(1));
    let scales = scales.and_then(|tensor| load_tensor(&*ctx.framework.provider, tensor, ctx.model_dir).ok());
    let values = scales.as_ref().and_then(|scales| scales.try_as_plain_ram().ok()?.as_slice::<f32>().ok());
    values.is_some_and(|values| values.iter().all(|&scale| scale >= 1.))
}

/// The axes that grow, then those that shrink.
fn nearest(wires: &mut Wires, inputs: &[OutletId]) -> TractResult<OutletId> {
    let scales: Vec<f32> = wires.known(inputs[1], "scales")?;
    let mut value = inputs[0];
    for (rounding, grow) in [(Nearest::Floor, true), (Nearest::Ceil, false)] {
        let own: Vec<f32> = scales.iter().map(|&scale| if (scale >= 1.) == grow { scale } else { 1. }).collect();
        if own.iter().any(|&scale| scale != 1.) {
            let scales = wires.constant(tensor1(&own))?;
            value = wires.wire(resize(rounding), &[value, scales])?;
        }
    }
    Ok(value)
}

fn resize(nearest: Nearest) -> Resize {
    Resize {
        axes: None,
        coord_transformer: CoordTransform::Plain(CoordTransformer::Asymmetric),
        interpolator: Interpolator::Nearest,
        nearest,
        antialias: false,
        cubic_coeff_a_bits: 0,
        exclude_outside: false,
        extrapolation_value_bits: 0,
        keep_aspect_ratio_policy: AspectRatio::Stretch,
        optional_roi_input: None,
        optional_scales_input: Some(1),
        optional_sizes_input: None,
    }
}
