//! The model's parameters as a safetensors file, by initializer name.

use super::Model;
use super::schema::{TensorProto, data_type};
use super::tensor;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;

/// The one name that no tensor of a safetensors file can have.
const RESERVED: &str = "__metadata__";

fn dtype(data_type: i32) -> Option<Dtype> {
    Some(match data_type {
        data_type::FLOAT => Dtype::F32,
        data_type::FLOAT16 => Dtype::F16,
        data_type::BFLOAT16 => Dtype::BF16,
        data_type::DOUBLE => Dtype::F64,
        _ => return None,
    })
}

/// Every float initializer as a safetensors file. The same model gives the same bytes.
pub fn to_safetensors(model: &Model) -> Result<Vec<u8>> {
    let error = |what: String| Error::model(&model.path, what);
    let mut stored = Vec::new();
    for t in &model.graph().initializer {
        if let (Some(dtype), Some(raw)) = (dtype(t.data_type()), tensor::raw_bytes(t)) {
            if t.name() == RESERVED {
                return Err(error(format!(
                    "a tensor is named '{RESERVED}', which safetensors keeps for itself; rename it"
                )));
            }
            let shape = t.dims.iter().map(|&d| d as usize).collect::<Vec<_>>();
            stored.push((t.name().to_string(), dtype, shape, raw));
        }
    }
    let views = stored.iter().map(|(name, dtype, shape, raw)| {
        let view = TensorView::new(*dtype, shape.clone(), raw).map_err(|e| error(format!("'{name}': {e}")))?;
        Ok((name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None).map_err(|e| error(e.to_string()))
}

/// Puts the tensors of a safetensors file into the initializers of their names. Returns how many.
///
/// # Errors
/// A text naming the tensor whose name, type or shape does not fit; the model is then unchanged.
pub fn merge(model: &mut Model, safetensors: &[u8]) -> std::result::Result<usize, String> {
    let file = SafeTensors::deserialize(safetensors).map_err(|e| format!("not a safetensors file: {e}"))?;
    let graph = model.graph();
    let places: HashMap<&str, usize> = graph.initializer.iter().enumerate().map(|(i, t)| (t.name(), i)).collect();
    let mut found = Vec::new();
    for (name, view) in file.iter() {
        let Some(&place) = places.get(name) else {
            let near = super::cut::nearest(name, places.keys().copied());
            return Err(format!("the model to merge into has no initializer '{name}'{near}"));
        };
        fits(&graph.initializer[place], &view).map_err(|what| format!("'{name}' {what}"))?;
        found.push((place, bytes::Bytes::copy_from_slice(view.data())));
    }
    let count = found.len();
    let initializers = &mut model.proto.graph.as_mut().expect("a model has a graph").initializer;
    for (place, raw) in found {
        tensor::set_raw(&mut initializers[place], raw);
    }
    Ok(count)
}

fn fits(stored: &TensorProto, view: &TensorView) -> std::result::Result<(), String> {
    if dtype(stored.data_type()) != Some(view.dtype()) {
        let own = data_type::name(stored.data_type());
        return Err(format!("is {:?} in the weights and {own} in the model", view.dtype()));
    }
    if !stored.dims.iter().map(|&d| d as usize).eq(view.shape().iter().copied()) {
        return Err(format!("has shape {:?} in the weights and {:?} in the model", view.shape(), stored.dims));
    }
    Ok(())
}
