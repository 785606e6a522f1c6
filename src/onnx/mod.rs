//! ONNX files: read, validated, cut, given a new head, written back. Protobuf only: nothing here computes.
//!
//! The protobuf is the source of truth. What is not adapted leaves exactly as it came.

pub mod batch;
pub mod cut;
pub mod data_type;
pub mod external;
pub mod files;
pub mod first;
pub mod graph;
pub mod head;
pub mod hollow;
pub mod metadata;
pub mod new;
pub mod normalize;
pub mod old_head;
pub mod parameters;
pub mod pooling;
pub mod port;
pub mod rounds;
pub mod schema;
pub mod shapes;
pub mod statistics;
pub mod surgery;
pub mod tensor;
pub mod validate;
pub mod weights;

use crate::error::{Error, Result};
use bytes::Bytes;
use prost::Message;
use schema::{ModelProto, ValueInfoProto, dimension};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// protobuf's own limit on one message: a file must stay below.
pub const MAX_PROTO: u64 = (2 << 30) - 1;

/// An ONNX model in memory, and where it came from.
#[derive(Debug, Clone)]
pub struct Model {
    /// The file, or a name in angle brackets for a model that is compiled in.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes, in hex; where there is external data, of that hash and of the data.
    pub sha256: String,
    /// The file's content. External data has been read into it.
    pub proto: ModelProto,
}

impl Model {
    /// Reads and validates an ONNX file, its external data included.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is no such file, [`Error::Model`] when it is not a sound ONNX model.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        if regular_file(path, "an ONNX model")?.len() > MAX_PROTO {
            return Err(Error::model(
                path,
                "larger than 2 GiB, which no ONNX file can be; keep weights as external data",
            ));
        }
        let bytes = Bytes::from(std::fs::read(path).map_err(Error::io(path))?);
        let mut model = Self::decode(path.to_path_buf(), bytes)?;
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        external::load(&mut model, &folder)?;
        validate::validate(&mut model)?;
        Ok(model)
    }

    /// The same from bytes in memory; `name` stands for the path. External data cannot be had then.
    pub fn from_bytes(name: &str, bytes: impl Into<Bytes>) -> Result<Model> {
        let mut model = Self::decode(PathBuf::from(name), bytes.into())?;
        validate::validate(&mut model)?;
        Ok(model)
    }

    fn decode(path: PathBuf, bytes: Bytes) -> Result<Model> {
        if bytes.is_empty() {
            return Err(Error::model(path, "the file is empty"));
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        // Any bytes can be a protobuf message of fields that nobody knows: only a graph makes it ONNX.
        let proto = ModelProto::decode(bytes).map_err(|e| {
            Error::model(&path, format!("not an ONNX model, or cut short; download or export it again ({e})"))
        })?;
        if proto.graph.as_ref().is_none_or(|g| g.node.is_empty()) || proto.opset_import.is_empty() {
            return Err(Error::model(&path, "not an ONNX model: it has no graph, or no operator set"));
        }
        Ok(Model { path, sha256, proto })
    }

    /// The main graph.
    pub fn graph(&self) -> &schema::GraphProto {
        self.proto.graph.as_ref().expect("decode() lets no model without a graph through")
    }

    /// The version of the default operator set.
    pub fn opset(&self) -> i64 {
        opset(&self.proto.opset_import).unwrap_or(0)
    }

    /// The file as bytes.
    ///
    /// # Errors
    /// [`Error::Model`] when it would exceed protobuf's 2 GiB: [`Model::save`] writes such models as two files.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        if self.proto.encoded_len() as u64 > MAX_PROTO {
            let what = "more than 2 GiB, which only ONNX Runtime can take: see `adapt runtime install`";
            return Err(Error::model(&self.path, what));
        }
        Ok(self.proto.encode_to_vec())
    }

    /// SHA-256, in hex, of all that decides what the model computes: operators and functions, their names and attributes,
    /// weights. Texts about it are not.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let graph = self.graph();
        add(&mut hash, &self.proto.opset_import);
        add(&mut hash, &self.proto.functions);
        add(&mut hash, &graph.input);
        add(&mut hash, &graph.output);
        add(&mut hash, &graph.node);
        add(&mut hash, &graph.initializer);
        add(&mut hash, &graph.sparse_initializer);
        hex(&hash.finalize())
    }

    /// Graph inputs that are not initializers (which old files list as inputs too).
    pub fn inputs(&self) -> impl Iterator<Item = &ValueInfoProto> {
        let stored: std::collections::HashSet<&str> = self.graph().initializer.iter().map(|t| t.name()).collect();
        self.graph().input.iter().filter(move |i| !stored.contains(i.name()))
    }
}

/// The version of the default operator set among these.
fn opset(imports: &[schema::OperatorSetIdProto]) -> Option<i64> {
    imports.iter().find(|o| matches!(o.domain(), "" | "ai.onnx")).map(|o| o.version())
}

fn add(hash: &mut Sha256, messages: &[impl Message]) {
    hash.update(messages.len().to_le_bytes());
    messages.iter().for_each(|message| hash.update(message.encode_length_delimited_to_vec()));
}

/// Makes sure that a person's `path` is a file, for opening a pipe would wait for its writer; `what` it should be.
///
/// # Errors
/// [`Error::Usage`] when it is not there, or something else.
pub fn regular_file(path: &Path, what: &str) -> Result<std::fs::Metadata> {
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Usage(format!("{}: no such file", path.display())),
        _ => Error::io(path)(e),
    })?;
    if !meta.is_file() {
        return Err(Error::Usage(format!("{}: not a file; give the path of {what}", path.display())));
    }
    Ok(meta)
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl ValueInfoProto {
    /// Element type and dimensions of a tensor; a dimension is `None` where it is symbolic, negative or unknown.
    /// `None` for anything but a tensor; `Some((_, None))` when the rank is unknown.
    pub fn tensor_type(&self) -> Option<(i32, Option<Vec<Option<u64>>>)> {
        let t = self.r#type.as_ref()?.tensor_type.as_ref()?;
        let dim = |d: &schema::Dimension| match d.value {
            Some(dimension::Value::DimValue(n)) if n > 0 => Some(n as u64),
            _ => None,
        };
        Some((t.elem_type(), t.shape.as_ref().map(|s| s.dim.iter().map(dim).collect())))
    }

    /// The declared dimensions for people, `?` where one is left open; `None` when the rank is unknown.
    pub fn dimensions(&self) -> Option<Vec<String>> {
        let dim = |d: &schema::Dimension| match &d.value {
            Some(dimension::Value::DimValue(n)) if *n >= 0 => n.to_string(),
            Some(dimension::Value::DimParam(name)) => name.clone(),
            _ => "?".into(),
        };
        Some(self.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?.dim.iter().map(dim).collect())
    }

    /// For people: `float32 logits [N, 1000]`
    pub fn shown(&self) -> String {
        let Some((kind, _)) = self.tensor_type() else { return format!("{} (not a tensor)", self.name()) };
        let dims = self.dimensions().map_or("rank unknown".into(), |dims| dims.join(", "));
        format!("{} {} [{dims}]", data_type::name(kind), self.name())
    }
}

impl schema::NodeProto {
    /// How errors call the node: its name, else its operator and first output.
    pub fn label(&self) -> String {
        match self.name() {
            "" => format!("{} -> {}", self.op_type(), self.output.first().map_or("", String::as_str)),
            name => format!("{name} ({})", self.op_type()),
        }
    }

    /// Whether it is an operator of ONNX's default domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.op_type() == op_type && matches!(self.domain(), "" | "ai.onnx")
    }

    /// What the operator computes, as ONNX calls the operator on floats: `Gemm` for `com.microsoft.QGemm`, `Conv` for
    /// `QLinearConv`. Empty for operators of other domains.
    pub fn computes(&self) -> &str {
        let name = self.op_type();
        match self.domain() {
            "ai.onnx.ml" if name == "ZipMap" => name,
            "" | "ai.onnx" => name.strip_prefix("QLinear").unwrap_or(name),
            "com.microsoft" if name == "QGemm" => "Gemm",
            "com.microsoft" => name.strip_prefix("QLinear").unwrap_or_default(),
            _ => "",
        }
    }

    /// Whether it is one of those on bytes, whose scales and zero points are inputs.
    pub fn is_on_bytes(&self) -> bool {
        !self.computes().is_empty() && self.computes() != self.op_type()
    }

    /// An attribute by name.
    pub fn attr(&self, name: &str) -> Option<&schema::AttributeProto> {
        self.attribute.iter().find(|a| a.name() == name)
    }

    /// An integer attribute, or its default.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attr(name).map_or(default, |a| a.i())
    }
}
