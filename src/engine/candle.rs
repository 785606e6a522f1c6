//! Models on candle: slower than ONNX Runtime, but the very code that trains them.

use super::extract::BATCH_ON_GPU;
use super::port::{Named, in_pieces};
use super::{BATCH, Engine, Port};
use crate::error::{Error, Result};
use crate::graph::attempts::{Purpose, import};
use crate::graph::{Program, room};
use crate::onnx::port::Kind;
use crate::onnx::{Model, normalize};
use crate::tensor::{DType, Device, Tensor};
use half::f16;
use ndarray::{ArrayD, ArrayViewD, IxDyn};

pub(super) const NAME: &str = "candle";

/// The version in Cargo.lock, which a test compares.
pub(super) const VERSION: &str = "0.11.1";

/// The same on a GPU.
const VERSION_ON_GPU: &str = "0.11.1 on CUDA";

/// Values that one tensor may have on a GPU for all images of a run together: 512 MiB. Several of them are live at a time.
const MOST_VALUES: usize = 1 << 27;

/// The version of what runs on a device.
pub(super) fn version(device: &Device) -> &'static str {
    if device.is_cpu() { VERSION } else { VERSION_ON_GPU }
}

const RUN: Purpose = Purpose {
    cannot: "candle cannot run it",
    instead: "choose --engine ort or tract",
    refuses: |_, node| normalize::no_gradient(node),
};

pub(super) struct Session {
    program: Program,
    parameters: Vec<Tensor>,
    outputs: Vec<String>,
    at_once: usize,
}

impl Session {
    pub(super) fn open(model: &Model, shape: &[Option<usize>], device: &Device) -> Result<Session> {
        let program = import(model, shape, &RUN)?.on(device)?;
        let parameters = program.initial()?;
        let outputs = program.outputs().map(str::to_owned).collect();
        let at_once = if device.is_cpu() {
            BATCH
        } else {
            let largest = room(model, shape).map_err(|what| Error::model(&model.path, what))?;
            (MOST_VALUES / largest.max(1)).clamp(1, BATCH_ON_GPU)
        };
        Ok(Session { program, parameters, outputs, at_once })
    }

    fn piece(&self, input: ArrayViewD<f32>, wanted: &[usize]) -> Result<Named> {
        let values = input.iter().copied().collect();
        let tensor = tensor(self.program.input().kind, values, input.shape())?;
        let outputs = self.program.forward(&tensor, &self.parameters)?;
        let take = |&index: &usize| {
            let missing = || Error::Engine(format!("candle: there is no output {index}"));
            let (output, name) = (outputs.get(index).ok_or_else(missing)?, self.outputs[index].clone());
            let values = output.to_dtype(DType::F32).and_then(|output| output.flatten_all()?.to_vec1());
            let array = ArrayD::from_shape_vec(IxDyn(output.dims()), values.map_err(failed)?);
            Ok((name, array.map_err(|e| Error::Engine(format!("candle: {e}")))?))
        };
        wanted.iter().map(take).collect()
    }
}

/// Values as an input of this kind takes them, rounded where it does.
///
/// # Errors
/// [`Error::Engine`] when they are not as many as the shape says.
pub fn tensor(kind: Kind, mut values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    match kind {
        Kind::F32 => {}
        Kind::F16 => values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32()),
        Kind::U8 => values.iter_mut().for_each(|value| *value = f32::from(value.round() as u8)),
    }
    Tensor::from_vec(values, shape, &Device::Cpu).map_err(failed)
}

fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

impl Engine for Session {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        version(self.program.device())
    }

    fn input(&self) -> &Port {
        self.program.input()
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn at_once(&self) -> usize {
        self.at_once
    }

    fn together(&self) -> Option<usize> {
        self.program.batch()
    }

    fn run_outputs(&mut self, input: ArrayViewD<f32>, wanted: &[usize]) -> Result<Vec<ArrayD<f32>>> {
        self.program.input().check(input.shape())?;
        let batch = self.program.batch().unwrap_or(input.shape()[0]);
        in_pieces(input, batch, |part| self.piece(part, wanted))
    }
}
