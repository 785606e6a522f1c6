//! Models in ONNX Runtime.
//!
//! The settings are fixed, so that a result never hangs on a measurement: all graph optimisations, one operator at a
//! time with all threads on it, the memory arena on (without it a batch of 8 costs half as much again), and no spinning:
//! threads that wait busily win nothing on an idle machine and halve the speed beside anything else, such as decoding.
//! Neither the number of threads nor the batch an image comes in changed a bit of its result (EfficientNet-Lite0,
//! PP-OCR's classifier).

use super::messages::in_short;
use super::port::{Named, in_pieces};
use super::{BATCH, Care, Engine, Kind, Port, refused};
use crate::error::{Error, Result};
use crate::graph;
use crate::guard::quietly;
use crate::onnx::files::split;
use crate::onnx::hollow::hollow;
use crate::onnx::schema::{TensorProto, data_type};
use crate::onnx::surgery::{CONVERT, OPSETS};
use crate::onnx::{MAX_PROTO, Model};
use half::f16;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session as Inner;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType, TensorRef, ValueType};
use prost::Message;
use std::path::PathBuf;

pub(super) const NAME: &str = "onnxruntime";

pub(super) struct Session {
    inner: Inner,
    port: Port,
    outputs: Vec<String>,
    version: String,
    /// The model's file, for errors.
    path: PathBuf,
    at_once: usize,
}

/// Values that one tensor may have for all images of a run together: 256 MiB. Several of them are live at a time.
const MOST_VALUES: usize = 1 << 26;

impl Session {
    /// `shape` gives the sizes that the file leaves open: how many images fit hangs on them.
    pub(super) fn open(
        environment: &Environment,
        version: &str,
        model: &Model,
        shape: &[Option<usize>],
        threads: usize,
        care: Care,
    ) -> Result<Session> {
        let largest = graph::room(model, shape).map_err(|what| Error::model(&model.path, what))?;
        let session = match care {
            Care::Whole => Self::open_within(builder(environment, threads), version, model, MAX_PROTO)?,
            #[cfg(feature = "cuda")]
            Care::OnGpu(number) => {
                let builder =
                    builder(environment, threads).and_then(|builder| super::provider::on_gpu(builder, number));
                Self::open_within(builder, version, model, MAX_PROTO)?
            }
            Care::Hollow => {
                // Optimisations compute the weights ahead.
                let builder = builder(environment, threads)
                    .and_then(|builder| Ok(builder.with_optimization_level(GraphOptimizationLevel::Disable)?));
                Self::open_within(builder, version, &hollow(model), MAX_PROTO)?
            }
        };
        let most = match care {
            #[cfg(feature = "cuda")]
            Care::OnGpu(_) => super::extract::BATCH_ON_GPU,
            _ => BATCH,
        };
        Ok(Session { at_once: (MOST_VALUES / largest.max(1)).clamp(1, most), ..session })
    }

    /// Larger weights are handed over one by one where the model has more than `limit` bytes.
    fn open_within(builder: ort::Result<SessionBuilder>, version: &str, model: &Model, limit: u64) -> Result<Session> {
        let made = quietly(|| {
            let mut builder = builder?;
            if model.proto.encoded_len() as u64 <= limit {
                return builder.commit_from_memory(&model.proto.encode_to_vec());
            }
            let (proto, tensors) = split(model, "weights", |tensor| holds(tensor.data_type()));
            // Packed copies of such weights would take their memory once more.
            builder = builder.with_prepacking(false)?;
            for (tensor, raw) in &tensors {
                builder = builder.with_external_initializer(tensor.name(), value(tensor, raw)?)?;
            }
            builder.commit_from_memory(&proto.encode_to_vec())
        });
        let made = made.and_then(|made| made.map_err(|e| e.message().to_owned()));
        let inner = made.map_err(|what| refused(model, refusal(model, &what)))?;
        let port = port(&inner).map_err(|what| refused(model, what))?;
        let outputs = inner.outputs().iter().map(|output| output.name().to_owned()).collect();
        let (version, path) = (version.to_owned(), model.path.clone());
        Ok(Session { inner, port, outputs, version, path, at_once: BATCH })
    }
}

/// What to say of a model that is refused, and what to do where its age is a reason.
fn refusal(model: &Model, message: &str) -> String {
    let (opset, [oldest, newest]) = (model.opset(), OPSETS);
    let age = format!("; its opset is {opset}, and {oldest} to {newest} are supported: {CONVERT}");
    let age = if (oldest..=newest).contains(&opset) { "" } else { &age };
    format!("ONNX Runtime cannot run it: {}{age}", in_short(message))
}

/// Whether weights of this type can be handed over.
fn holds(data_type: i32) -> bool {
    use data_type::*;
    [FLOAT, FLOAT16, DOUBLE, INT8, UINT8, INT32, INT64].contains(&data_type)
}

/// A stored tensor as a value of ONNX Runtime's.
fn value(tensor: &TensorProto, raw: &[u8]) -> ort::Result<DynValue> {
    let shape = tensor.dims.clone();
    Ok(match tensor.data_type() {
        data_type::FLOAT => Tensor::from_array((shape, numbers(raw, f32::from_le_bytes)))?.into_dyn(),
        data_type::FLOAT16 => Tensor::from_array((shape, numbers(raw, f16::from_le_bytes)))?.into_dyn(),
        data_type::DOUBLE => Tensor::from_array((shape, numbers(raw, f64::from_le_bytes)))?.into_dyn(),
        data_type::INT8 => Tensor::from_array((shape, numbers(raw, i8::from_le_bytes)))?.into_dyn(),
        data_type::INT32 => Tensor::from_array((shape, numbers(raw, i32::from_le_bytes)))?.into_dyn(),
        data_type::INT64 => Tensor::from_array((shape, numbers(raw, i64::from_le_bytes)))?.into_dyn(),
        _ => Tensor::from_array((shape, raw.to_vec()))?.into_dyn(),
    })
}

fn numbers<T, const SIZE: usize>(raw: &[u8], from: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    raw.as_chunks().0.iter().map(|&bytes| from(bytes)).collect()
}

fn builder(environment: &Environment, threads: usize) -> ort::Result<SessionBuilder> {
    let made = Inner::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_parallel_execution(false)?
        .with_inter_threads(1)?
        .with_intra_threads(threads)?
        .with_intra_op_spinning(false)?
        // Each failure comes back as an error; what is logged at that level is the same text a second time.
        .with_log_level(LogLevel::Fatal)?;
    Ok(made)
}

fn port(inner: &Inner) -> std::result::Result<Port, String> {
    let [input] = inner.inputs() else {
        let names: Vec<&str> = inner.inputs().iter().map(|input| input.name()).collect();
        return Err(format!("it has {} inputs ({}), and one image input is needed", names.len(), names.join(", ")));
    };
    let name = input.name().to_owned();
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
        return Err(format!("its input '{name}' is {}, not a tensor", input.dtype()));
    };
    let kind = match ty {
        TensorElementType::Float32 => Kind::F32,
        TensorElementType::Float16 => Kind::F16,
        TensorElementType::Uint8 => Kind::U8,
        other => return Err(format!("its input '{name}' takes {other}; float32, float16 and uint8 can be given")),
    };
    let dims = shape.iter().map(|&dim| usize::try_from(dim).ok().filter(|&dim| dim > 0)).collect();
    Ok(Port { name, kind, dims })
}

impl Engine for Session {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn input(&self) -> &Port {
        &self.port
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn run_outputs(&mut self, input: ArrayViewD<f32>, wanted: &[usize]) -> Result<Vec<ArrayD<f32>>> {
        self.port.check(input.shape())?;
        let batch = self.port.fixed_batch().unwrap_or(input.shape()[0]);
        let (inner, kind) = (&mut self.inner, self.port.kind);
        in_pieces(input, batch, |piece| {
            let result = quietly(|| run(inner, kind, piece, wanted));
            result
                .unwrap_or_else(Err)
                .map_err(|what| Error::Engine(format!("{}: {}", self.path.display(), failed(&self.port, &what))))
        })
    }
}

/// What to say of a run that failed.
fn failed(port: &Port, message: &str) -> String {
    let open = port.dims.iter().skip(1).any(Option::is_none);
    let instead = if open { "try another --size, or --engine tract" } else { "try --engine tract" };
    format!("ONNX Runtime fails at {}; {instead}", in_short(message))
}

fn run(inner: &mut Inner, kind: Kind, input: ArrayViewD<f32>, wanted: &[usize]) -> std::result::Result<Named, String> {
    let text = |e: ort::Error| e.message().to_owned();
    let (floats, halves, bytes);
    let outputs = match kind {
        Kind::F32 => {
            floats = input.as_standard_layout();
            inner.run(ort::inputs![TensorRef::from_array_view(&floats).map_err(text)?])
        }
        Kind::F16 => {
            halves = input.as_standard_layout().mapv(f16::from_f32);
            inner.run(ort::inputs![TensorRef::from_array_view(&halves).map_err(text)?])
        }
        Kind::U8 => {
            bytes = input.as_standard_layout().mapv(|v| v.round() as u8);
            inner.run(ort::inputs![TensorRef::from_array_view(&bytes).map_err(text)?])
        }
    };
    let outputs = outputs.map_err(text)?;
    let values: Vec<_> = outputs.iter().collect();
    let take = |&index: &usize| {
        let (name, value) = values.get(index).ok_or_else(|| format!("there is no output {index}"))?;
        let array = floats_of(value).map_err(|what| format!("output '{name}' {what}"))?;
        Ok(((*name).to_owned(), array))
    };
    wanted.iter().map(take).collect()
}

/// A tensor of any numeric type, as float32.
fn floats_of(value: &DynValue) -> std::result::Result<ArrayD<f32>, String> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(format!("is {}, not a tensor", value.dtype()));
    };
    if shape.contains(&0) {
        return Ok(ArrayD::zeros(shape.to_ixdyn()));
    }
    match ty {
        TensorElementType::Float32 => cast(value, |v: f32| v),
        TensorElementType::Float16 => cast(value, f16::to_f32),
        TensorElementType::Bfloat16 => cast(value, half::bf16::to_f32),
        TensorElementType::Float64 => cast(value, |v: f64| v as f32),
        TensorElementType::Int8 => cast(value, |v: i8| v as f32),
        TensorElementType::Uint8 => cast(value, |v: u8| v as f32),
        TensorElementType::Int16 => cast(value, |v: i16| v as f32),
        TensorElementType::Uint16 => cast(value, |v: u16| v as f32),
        TensorElementType::Int32 => cast(value, |v: i32| v as f32),
        TensorElementType::Uint32 => cast(value, |v: u32| v as f32),
        TensorElementType::Int64 => cast(value, |v: i64| v as f32),
        TensorElementType::Uint64 => cast(value, |v: u64| v as f32),
        TensorElementType::Bool => cast(value, |v: bool| f32::from(u8::from(v))),
        other => Err(format!("holds {other}, which is no number")),
    }
}

fn cast<T: PrimitiveTensorElementType + Copy>(
    value: &DynValue,
    to: impl Fn(T) -> f32,
) -> std::result::Result<ArrayD<f32>, String> {
    let (shape, data) = value.try_extract_tensor::<T>().map_err(|e| e.message().to_owned())?;
    let dims: Vec<usize> = shape.iter().map(|&dim| dim as usize).collect();
    ArrayD::from_shape_vec(IxDyn(&dims), data.iter().map(|&v| to(v)).collect()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Backend, Choice, Kept};
    use crate::progress::silent;

    /// The limit is protobuf's; a small one stands for it here.
    #[test]
    fn weights_beyond_the_limit_are_handed_over() {
        let Kept::Ort(_, environment, _) = Backend::resolve(Choice::Ort, None, false, &silent).unwrap().0 else {
            panic!()
        };
        for file in ["tests/golden/tiny.onnx", "tests/golden/tiny_f16.onnx", "models/efficientnet_lite0/model.onnx"] {
            let model = Model::open(file).unwrap();
            let mut whole = Session::open(&environment, "", &model, &[], 1, Care::Whole).unwrap();
            let mut parts = Session::open_within(builder(&environment, 1), "", &model, 100).unwrap();
            let shape: Vec<usize> = whole.port.dims.iter().map(|dim| dim.unwrap_or(2)).collect();
            let input = ArrayD::from_shape_fn(shape, |at| (at[2] * 7 + at[3]) as f32 * 0.01);
            let (whole, parts) = (whole.run(input.view()).unwrap(), parts.run(input.view()).unwrap());
            let scale = whole[0].iter().fold(0f32, |m, v| m.max(v.abs()));
            let far = whole[0].iter().zip(&parts[0]).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(scale > 0.0 && far < 1e-3 * scale, "{file}: {far}");
        }
    }
}
