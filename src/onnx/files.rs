//! A model written as one file, or as two where protobuf's limit is in the way.

use super::schema::{ModelProto, StringStringEntryProto, TensorProto};
use super::tensor::raw_bytes;
use super::{MAX_PROTO, Model};
use crate::error::{Error, Result};
use bytes::Bytes;
use prost::Message;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// Smaller tensors stay in the model's own file: importers read shapes and scales there.
const SMALLEST: usize = 1024;
/// Where a tensor may begin, so that readers can map it.
const ALIGNED: u64 = 4096;

impl Model {
    /// Writes the model, its weights inside, or beside it as `NAME.data` where it exceeds protobuf's 2 GiB.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Model`] when it is more than 2 GiB without its weights.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_within(path, MAX_PROTO)
    }

    /// The same with another limit on the model's own file, in bytes.
    pub fn save_within(&self, path: &Path, limit: u64) -> Result<()> {
        if self.proto.encoded_len() as u64 <= limit {
            return fs::write(path, self.proto.encode_to_vec()).map_err(Error::io(path));
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".data");
        let (proto, tensors) = split(self, &name.to_string_lossy(), |_| true);
        if proto.encoded_len() as u64 > limit {
            return Err(Error::model(&self.path, "more than 2 GiB without its weights, which no ONNX file can be"));
        }
        let data = path.with_file_name(&name);
        write(&data, &tensors).map_err(Error::io(&data))?;
        fs::write(path, proto.encode_to_vec()).map_err(Error::io(path))
    }
}

fn write(path: &Path, tensors: &[(TensorProto, Bytes)]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut written = 0;
    for (_, bytes) in tensors {
        let start = aligned(written);
        file.write_all(&vec![0; (start - written) as usize])?;
        file.write_all(bytes)?;
        written = start + bytes.len() as u64;
    }
    file.flush()
}

fn aligned(place: u64) -> u64 {
    place.next_multiple_of(ALIGNED)
}

/// The model with the values of its larger initializers, those that `wanted` lets through, in the file `location`; and
/// these tensors with their values, in the order in which they lie there, each at the next multiple of 4096.
pub(crate) fn split(
    model: &Model,
    location: &str,
    wanted: impl Fn(&TensorProto) -> bool,
) -> (ModelProto, Vec<(TensorProto, Bytes)>) {
    let mut proto = model.proto.clone();
    let mut taken = Vec::new();
    let mut end = 0;
    for tensor in proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        let Some(raw) = raw_bytes(tensor).filter(|raw| raw.len() >= SMALLEST && wanted(tensor)) else { continue };
        let offset = aligned(end);
        end = offset + raw.len() as u64;
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        let external_data = vec![
            entry("location", location.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", raw.len().to_string()),
        ];
        *tensor = TensorProto {
            dims: tensor.dims.clone(),
            data_type: tensor.data_type,
            name: tensor.name.clone(),
            doc_string: tensor.doc_string.clone(),
            metadata_props: tensor.metadata_props.clone(),
            external_data,
            data_location: Some(1),
            ..Default::default()
        };
        taken.push((tensor.clone(), raw));
    }
    (proto, taken)
}
