//! Weights that lie in other files beside the model.

use super::schema::{AttributeProto, GraphProto, NodeProto, TensorProto};
use super::tensor::byte_len;
use super::{Model, hex};
use crate::error::{Error, Result};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The most that is read beside a model: below the memory of a machine that could train with it.
const MOST_BYTES: u64 = 16 << 30;

/// What has been read: each range once, whoever shares it.
#[derive(Default)]
struct Found {
    ranges: HashMap<(PathBuf, u64, u64), Bytes>,
    total: u64,
    /// Of each file.
    of: HashMap<PathBuf, u64>,
    /// Of the model file's own hash, and of all of it.
    hash: Sha256,
}

impl Found {
    /// Counts what is going to be read. Ranges that overlap would make a small file fill the memory.
    fn count(&mut self, file: &Path, length: u64) -> std::result::Result<(), String> {
        self.total = self.total.saturating_add(length);
        if self.total > MOST_BYTES {
            return Err(format!("more than {} GiB of weights, which is not supported", MOST_BYTES >> 30));
        }
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        let read = self.of.entry(file.to_owned()).or_default();
        *read = read.saturating_add(length);
        if *read > size.saturating_mul(2) && length <= size {
            return Err("the tensors in its file overlap, which is not supported".into());
        }
        Ok(())
    }
}

/// Reads every externally stored tensor into the model. Only files at or below `folder` are opened, links resolved.
pub fn load(model: &mut Model, folder: &Path) -> Result<()> {
    let path = model.path.clone();
    let mut found = Found::default();
    let mut result = Ok(());
    found.hash.update(&model.sha256);
    let mut each = |tensor: &mut TensorProto| {
        if result.is_ok() && tensor.data_location() == 1 {
            result = read(tensor, folder, &mut found)
                .map_err(|what| Error::model(&path, format!("external data of '{}': {what}", tensor.name())));
        }
    };
    model.proto.graph.iter_mut().for_each(|graph| each_tensor(graph, &mut each));
    model.proto.functions.iter_mut().for_each(|function| of_nodes(&mut function.node, &mut each));
    if !found.ranges.is_empty() {
        model.sha256 = hex(&found.hash.finalize());
    }
    result
}

/// Calls `f` on the initializers and attribute tensors of a graph and of the graphs inside it.
fn each_tensor(graph: &mut GraphProto, f: &mut impl FnMut(&mut TensorProto)) {
    graph.initializer.iter_mut().for_each(&mut *f);
    for sparse in &mut graph.sparse_initializer {
        sparse.values.iter_mut().chain(&mut sparse.indices).for_each(&mut *f);
    }
    of_nodes(&mut graph.node, f);
}

/// The same for nodes.
fn of_nodes(nodes: &mut [NodeProto], f: &mut impl FnMut(&mut TensorProto)) {
    for attribute in nodes.iter_mut().flat_map(|n| &mut n.attribute) {
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

fn read(tensor: &mut TensorProto, folder: &Path, found: &mut Found) -> std::result::Result<(), String> {
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
    let place = (file, offset, length);
    let bytes = match found.ranges.get(&place) {
        Some(bytes) => bytes.clone(),
        None => {
            found.count(&place.0, length)?;
            let bytes = range(&place.0, offset, length).map_err(|what| format!("{location}{what}"))?;
            found.hash.update(&bytes);
            found.ranges.insert(place, bytes.clone());
            bytes
        }
    };
    tensor.raw_data = Some(bytes);
    tensor.external_data.clear();
    tensor.data_location = None;
    Ok(())
}

/// A part of a file. Only that is read: the file may hold much else.
fn range(path: &Path, offset: u64, length: u64) -> std::result::Result<Bytes, String> {
    let io = |e: std::io::Error| format!(": {e}");
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(format!(" has {size} bytes, fewer than offset + length"));
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = Vec::new();
    let count = usize::try_from(length).map_err(|e| format!(": {e}"))?;
    bytes.try_reserve_exact(count).map_err(|_| format!(": no memory for {length} bytes"))?;
    file.take(length).read_to_end(&mut bytes).map_err(io)?;
    match bytes.len() == count {
        true => Ok(bytes.into()),
        false => Err(" became shorter while it was read".into()),
    }
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
