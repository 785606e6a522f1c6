//! Weights that lie in other files beside the model.

use super::schema::{AttributeProto, GraphProto, TensorProto};
use super::tensor::byte_len;
use super::{MAX_PROTO, Model};
use crate::error::{Error, Result};
use bytes::Bytes;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// Reads every externally stored tensor into the model. Only files at or below `folder` are opened, links resolved.
pub fn load(model: &mut Model, folder: &Path) -> Result<()> {
    let path = model.path.clone();
    let mut files = HashMap::new();
    let mut result = Ok(());
    if let Some(graph) = &mut model.proto.graph {
        each_tensor(graph, &mut |tensor| {
            if result.is_ok() && tensor.data_location() == 1 {
                result = read(tensor, folder, &mut files)
                    .map_err(|what| Error::model(&path, format!("external data of '{}': {what}", tensor.name())));
            }
        });
    }
    result
}

/// Calls `f` on the initializers and attribute tensors of a graph and of the graphs inside it.
fn each_tensor(graph: &mut GraphProto, f: &mut impl FnMut(&mut TensorProto)) {
    graph.initializer.iter_mut().for_each(&mut *f);
    for sparse in &mut graph.sparse_initializer {
        sparse.values.iter_mut().chain(&mut sparse.indices).for_each(&mut *f);
    }
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        let AttributeProto { t, tensors, g, graphs, sparse_tensor, sparse_tensors, .. } = attribute;
        t.iter_mut().chain(tensors).for_each(&mut *f);
        for sparse in sparse_tensor.iter_mut().chain(sparse_tensors) {
            sparse.values.iter_mut().chain(&mut sparse.indices).for_each(&mut *f);
        }
        for inner in g.iter_mut().chain(graphs) {
            // A trait object, since a generic function cannot recurse through ever deeper `&mut` types.
            each_tensor(inner, &mut (&mut *f as &mut dyn FnMut(&mut TensorProto)));
        }
    }
}

fn read(
    tensor: &mut TensorProto,
    folder: &Path,
    files: &mut HashMap<PathBuf, Bytes>,
) -> std::result::Result<(), String> {
    let get = |key: &str| tensor.external_data.iter().find(|e| e.key() == key).map(|e| e.value().to_string());
    let location = get("location").ok_or("no location is given")?;
    let number = |key: &str| match get(key).filter(|v| !v.is_empty()) {
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{key} '{text}' is not a number")),
        None => Ok(None),
    };
    let expected = byte_len(tensor)?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(expected));
    if length != expected {
        return Err(format!("its length is {length} bytes, its shape needs {expected}"));
    }
    let file = inside(folder, &location)?;
    if !files.contains_key(&file) {
        if std::fs::metadata(&file).is_ok_and(|meta| meta.len() > MAX_PROTO) {
            return Err(format!("{location} is larger than 2 GiB, which is not supported"));
        }
        let bytes = std::fs::read(&file).map_err(|e| format!("{location}: {e}"))?;
        files.insert(file.clone(), Bytes::from(bytes));
    }
    let bytes = &files[&file];
    let end = offset.checked_add(length).filter(|&end| end <= bytes.len() as u64);
    let end = end.ok_or_else(|| format!("{location} has {} bytes, fewer than offset + length", bytes.len()))?;
    tensor.raw_data = Some(bytes.slice(offset as usize..end as usize));
    tensor.external_data.clear();
    tensor.data_location = None;
    Ok(())
}

/// The file at `location`, if it is a regular file that really lies at or below `folder`.
fn inside(folder: &Path, location: &str) -> std::result::Result<PathBuf, String> {
    let relative = Path::new(location);
    if location.is_empty() || relative.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("'{location}' leaves the model's folder, which is not allowed"));
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let root = folder.canonicalize().map_err(|e| e.to_string())?;
    let file = root.join(relative).canonicalize().map_err(|e| format!("{location}: {e}"))?;
    match (file.starts_with(&root), file.is_file()) {
        (false, _) => Err(format!("'{location}' is a link out of the model's folder, which is not allowed")),
        (_, false) => Err(format!("'{location}' is not a file")),
        _ => Ok(file),
    }
}
