//! Resizing as it was before opset 11, which tract knows in part.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::InferenceOp;
use tract_onnx::{Onnx, pb::AttributeProto};

/// Where tract's own reader of `Resize` is kept.
const OWN: &str = "adapt.Resize";

/// The reader of ONNX with `Upsample`, which is `Resize` of opset 10 by another name, its scales an input
/// ([`crate::onnx::normalize::upsample`]); and with the rounding of both: downwards, which nothing in the node says.
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
