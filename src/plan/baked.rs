//! Models that preprocess in their graph, and what is behind that.

use crate::data::Layout;
use crate::error::{Error, Result};
use crate::onnx::schema::{ValueInfoProto, data_type};
use crate::onnx::surgery::{images, size, tensor_type};
use crate::onnx::{Model, metadata};
use serde_json::Value;

/// What the names of nodes and values that preprocess begin with; the last value alone has the name of the model's own input.
pub const NAMES: &str = "adapt.preprocess.";

/// Whether the model takes images as they are decoded, and preprocesses in its graph.
pub fn is_baked(model: &Model) -> bool {
    contract(model)["baked"] == true
}

fn contract(model: &Model) -> Value {
    metadata::contract(&model.proto).ok().flatten().unwrap_or_default()
}

/// The part of such a model behind its preprocessing: what it was before that came into its graph.
///
/// # Errors
/// [`Error::Model`] where the nodes cannot be told from the others any more.
pub(super) fn behind(mut model: Model) -> Result<Model> {
    let mut contract = contract(&model);
    let Some((image, info)) = own_input(&model, &contract["input"]) else {
        let what = "its preprocessing cannot be told from the rest of its graph; run it in ONNX Runtime (--engine ort)";
        return Err(Error::model(&model.path, what));
    };
    let graph = model.proto.graph.get_or_insert_default();
    graph.node.retain(|node| !is_ours(node.name()));
    graph.initializer.retain(|tensor| !is_ours(tensor.name()));
    // Old files list what is stored among the inputs.
    graph.input.retain(|input| !is_ours(input.name()));
    graph.input.iter_mut().filter(|input| input.name() == image).for_each(|input| *input = info.clone());
    if let Some(contract) = contract.as_object_mut() {
        contract.shift_remove("baked");
    }
    metadata::set_contract(&mut model.proto, &contract);
    Ok(model)
}

fn is_ours(name: &str) -> bool {
    name.starts_with(NAMES)
}

/// The name of the input that takes images, and the declaration of the one behind the preprocessing, as `known` tells it.
fn own_input(model: &Model, known: &Value) -> Option<(String, ValueInfoProto)> {
    let image = known["name"].as_str().filter(|name| model.graph().input.iter().any(|input| input.name() == *name))?;
    let layout: Layout = serde_json::from_value(known["layout"].clone()).ok()?;
    let [height, width]: [u32; 2] = serde_json::from_value(known["size"].clone()).ok()?;
    let channels: u32 = serde_json::from_value(known["channels"].clone()).ok()?;
    let made = |node: &str, value: &str| is_ours(node) && !is_ours(value);
    let mut nodes = model.graph().node.iter();
    let (last, name) = nodes.find_map(|node| Some((node, node.output.first().filter(|o| made(node.name(), o))?)))?;
    let sides = match layout {
        Layout::Nchw => [channels, height, width],
        Layout::Nhwc => [height, width, channels],
    };
    let dims = [images(model)].into_iter().chain(sides.map(|side| size(side.into()))).collect();
    // It is a cast to what the model takes.
    let kind = i32::try_from(last.int("to", data_type::FLOAT.into())).ok()?;
    let r#type = Some(tensor_type(kind, dims));
    Some((image.to_owned(), ValueInfoProto { name: Some(name.clone()), r#type, ..Default::default() }))
}
