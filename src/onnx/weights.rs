//! The model's parameters as a safetensors file, by initializer name.

use super::Model;
use super::schema::{TensorProto, data_type};
use super::tensor;
use crate::error::{Error, Result};
use bytes::Bytes;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

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
///
/// A value in a `Constant` node is part of the graph, not a parameter of that name, until training makes it one
/// ([`super::parameters::untie`]); [`merge`] takes it all the same.
pub fn to_safetensors(model: &Model) -> Result<Vec<u8>> {
    let stored = parameters(model)?;
    let views = stored.iter().map(|(name, value)| (name.as_str(), value));
    safetensors::serialize(views, None).map_err(|e| Error::model(&model.path, e.to_string()))
}

/// The same, written to a file: the weights are not in memory a second time.
pub fn save(model: &Model, path: &Path) -> Result<()> {
    let stored = parameters(model)?;
    let order = RefCell::new(Vec::new());
    let views = stored.iter().map(|(name, value)| (name.as_str(), Header { value, order: &order }));
    let header = safetensors::serialize(views, None).map_err(|e| Error::model(&model.path, e.to_string()))?;
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&header)?;
        order.borrow().iter().try_for_each(|bytes| file.write_all(bytes))?;
        file.flush()
    };
    write().map_err(Error::io(path))
}

/// A tensor of which only the header is made; whose bytes come next is noted. (The crate's own writing to files goes
/// through a temporary one, which a killed run would leave behind.)
struct Header<'a> {
    value: &'a Value,
    order: &'a RefCell<Vec<&'a Bytes>>,
}

impl View for Header<'_> {
    fn dtype(&self) -> Dtype {
        self.value.0
    }
    fn shape(&self) -> &[usize] {
        &self.value.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.order.borrow_mut().push(&self.value.2);
        Cow::Borrowed(&[])
    }
    fn data_len(&self) -> usize {
        self.value.2.len()
    }
}

/// A tensor's type, shape and bytes.
struct Value(Dtype, Vec<usize>, Bytes);

impl View for &Value {
    fn dtype(&self) -> Dtype {
        self.0
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.2)
    }
    fn data_len(&self) -> usize {
        self.2.len()
    }
}

fn parameters(model: &Model) -> Result<Vec<(String, Value)>> {
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
            let value = Value(dtype, shape, raw);
            TensorView::new(value.0, value.1.clone(), &value.2).map_err(|e| error(format!("'{}': {e}", t.name())))?;
            stored.push((t.name().to_string(), value));
        }
    }
    Ok(stored)
}

/// What [`merge`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// How many tensors the file has.
    pub tensors: usize,
    /// Whether any has other values than the model had.
    pub changed: bool,
}

/// Puts the tensors of a safetensors file into the initializers, or `Constant` nodes, of their names.
///
/// # Errors
/// A text naming the tensor whose name, type or shape does not fit; the model is then unchanged.
pub fn merge(model: &mut Model, safetensors: &Bytes) -> std::result::Result<Merged, String> {
    let file = SafeTensors::deserialize(safetensors).map_err(|e| format!("not a safetensors file: {e}"))?;
    let graph = model.proto.graph.as_mut().expect("a model has a graph");
    let mut places: HashMap<String, &mut TensorProto> = HashMap::new();
    for node in graph.node.iter_mut().filter(|node| node.is("Constant") && node.output.len() == 1) {
        let value = node.attribute.iter_mut().filter(|a| a.name() == "value").find_map(|a| a.t.as_mut());
        places.extend(value.map(|tensor| (node.output[0].clone(), tensor)));
    }
    places.extend(graph.initializer.iter_mut().map(|t| (t.name().to_owned(), t)));
    for (name, view) in file.iter() {
        let Some(place) = places.get(name) else {
            let near = super::cut::nearest(name, places.keys().map(String::as_str));
            return Err(format!("the model to merge into has no initializer '{name}'{near}"));
        };
        fits(place, &view).map_err(|what| format!("'{name}' {what}"))?;
    }
    let mut merged = Merged { tensors: 0, changed: false };
    for (name, view) in file.iter() {
        let Some(place) = places.get_mut(name) else { continue };
        merged.tensors += 1;
        merged.changed |= tensor::raw_bytes(place).is_none_or(|old| old != view.data());
        // The model's weights are views into the file that was read, not copies of them.
        tensor::set_raw(place, safetensors.slice_ref(view.data()));
    }
    Ok(merged)
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
