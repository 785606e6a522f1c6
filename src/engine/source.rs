//! Where a model comes from, and the check that it reads no file outside its own folder.

use crate::error::{Error, Result};
use prost::Message;
use std::borrow::Cow;
use std::path::{Component, Path};

/// A model: an ONNX file, or what one holds.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The bytes of a model whose weights are all inside.
    Bytes(&'a [u8]),
    /// A file; weights that it keeps outside must lie in its folder.
    Path(&'a Path),
}

impl Source<'_> {
    /// The error about this model.
    pub(crate) fn error(&self, what: impl AsRef<str>) -> Error {
        let what = super::one_line(what.as_ref());
        match self {
            Source::Bytes(_) => Error::Engine(format!("the model: {what}")),
            Source::Path(path) => Error::model(path, what),
        }
    }
}

/// A model read into memory.
pub(crate) struct Loaded<'a> {
    pub bytes: Cow<'a, [u8]>,
    /// Whether some weights lie in files beside the model, so that it must be opened by its path.
    pub external: bool,
}

/// Reads the model and checks where its external weights lie.
pub(crate) fn load<'a>(source: Source<'a>) -> Result<Loaded<'a>> {
    let (bytes, dir) = match source {
        Source::Bytes(bytes) => (Cow::Borrowed(bytes), None),
        Source::Path(path) => (Cow::Owned(std::fs::read(path).map_err(Error::io(path))?), path.parent()),
    };
    let model = Model::decode(&*bytes).map_err(|e| source.error(format!("this is not an ONNX model ({e})")))?;
    let mut locations = Vec::new();
    let graphs = model.graph.iter();
    graphs.for_each(|graph| graph.locations(&mut locations));
    model.functions.iter().flat_map(|f| &f.node).for_each(|node| node.locations(&mut locations));
    for location in &locations {
        let Some(dir) = dir else {
            return Err(source.error(format!("its weights lie in another file, {location:?}: open it by its path")));
        };
        inside(dir, location).map_err(|why| source.error(format!("its weights lie in {location:?}, {why}")))?;
    }
    Ok(Loaded { bytes, external: !locations.is_empty() })
}

/// Whether the file `location` really lies in `dir`, links followed.
fn inside(dir: &Path, location: &str) -> std::result::Result<(), String> {
    let outside = || "which is outside the model's folder: refused".to_owned();
    let path = Path::new(location);
    if path.components().any(|c| !matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let real = |path: &Path| path.canonicalize().map_err(|e| format!("which cannot be read ({e})"));
    if real(&dir.join(path))?.starts_with(real(dir)?) { Ok(()) } else { Err(outside()) }
}

// The few fields of ONNX's schema that lead to external data; all else, the weights above all, is skipped unread.

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    node: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "15")]
    sparse: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse: Option<Sparse>,
    #[prost(message, repeated, tag = "23")]
    sparses: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Sparse {
    #[prost(message, optional, tag = "1")]
    values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(message, repeated, tag = "13")]
    external: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Graph {
    fn locations<'a>(&'a self, into: &mut Vec<&'a str>) {
        self.node.iter().for_each(|node| node.locations(into));
        self.initializer.iter().for_each(|tensor| tensor.locations(into));
        self.sparse.iter().for_each(|sparse| sparse.locations(into));
    }
}

impl Node {
    fn locations<'a>(&'a self, into: &mut Vec<&'a str>) {
        for attribute in &self.attribute {
            attribute.tensor.iter().chain(&attribute.tensors).for_each(|tensor| tensor.locations(into));
            attribute.graph.iter().chain(&attribute.graphs).for_each(|graph| graph.locations(into));
            attribute.sparse.iter().chain(&attribute.sparses).for_each(|sparse| sparse.locations(into));
        }
    }
}

impl Sparse {
    fn locations<'a>(&'a self, into: &mut Vec<&'a str>) {
        self.values.iter().chain(&self.indices).for_each(|tensor| tensor.locations(into));
    }
}

impl Tensor {
    fn locations<'a>(&'a self, into: &mut Vec<&'a str>) {
        into.extend(self.external.iter().filter(|entry| entry.key == "location").map(|entry| entry.value.as_str()));
    }
}
