//! A model's graph as a program on candle tensors that also runs backwards.
//!
//! [`Program::import`] lets tract resolve operator sets, attributes and shapes, and makes each remaining node a step. The
//! float weights stay inputs under their initializers' names ([`crate::onnx::parameters`]). The reverse pass is the
//! program's own: a step's gradient stands beside its forward side in `ops/`, and only values that some gradient needs
//! are kept.

pub(crate) mod attempts;
mod backward;
mod batch_norm;
mod bounds;
mod buffers;
mod fuse;
mod host;
pub(crate) mod import;
mod ops;
mod packed;
mod profile;
mod run;
mod size_steps;
mod sizes;
mod stable;
mod tail;
mod trainable;
mod upsample;

use crate::error::{Error, Result};
use crate::onnx::Model;
use crate::onnx::parameters::Parameter;
use crate::onnx::port::Port;
use crate::tensor::{DType, Device, Tensor};
pub use backward::add_gradients;
pub(crate) use bounds::room;
use buffers::Buffers;
use host::HostValue;
use ops::Op;
pub use packed::{beside, packed};
use profile::Profile;
pub use profile::Seconds;
pub use run::{Gradients, Tape, Wanted};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
pub use tail::{Extent, Tail, tail};
use tract_onnx::prelude::{Symbol, SymbolValues, TDim};
pub use trainable::{Obstacle, Part, Trainable, behind, narrow, trainable};

/// One operator on numbered values.
#[derive(Clone)]
struct Step {
    /// The node's name, for errors.
    node: String,
    operator: String,
    op: Arc<dyn Op>,
    inputs: Vec<usize>,
    output: usize,
    /// The output's.
    shape: Vec<TDim>,
}

/// A graph that computes with candle, forward and backward.
#[derive(Clone)]
pub struct Program {
    port: Port,
    outputs: Vec<(String, usize)>,
    parameters: Vec<Parameter>,
    /// The places of the parameters whose next values the last outputs are.
    followed: Vec<usize>,
    /// The number of images that the graph insists on.
    batch: Option<usize>,
    /// Stands for the number of images in shapes.
    symbol: Symbol,
    steps: Vec<Step>,
    /// How many values there are. The image is the first, the parameters follow.
    values: usize,
    /// Values that are not computed from image or parameters, in the order in which they can be computed.
    hosts: Vec<(usize, HostValue)>,
    /// The values of the program's type among them that steps read, or outputs are.
    constants: HashMap<usize, Tensor>,
    /// Such values that are not known before the number of images is.
    late: Vec<usize>,
    /// For each step the values that nothing reads after it.
    done: Vec<Vec<usize>>,
    dtype: DType,
    device: Device,
    buffers: Arc<Buffers>,
    profile: Arc<Profile>,
}

impl Program {
    /// Imports a model, to compute in `f32` on the CPU.
    ///
    /// `shape` gives the sizes of the input's dimensions that the file leaves open, `None` for the batch. Where the graph
    /// cannot be imported for any number of images it is imported for one, and images are run one by one.
    ///
    /// # Errors
    /// [`Error::Model`] naming the node and operator that cannot be done, and what to do.
    pub fn import(model: &Model, shape: &[Option<usize>]) -> Result<Program> {
        attempts::import(model, shape, &attempts::INSIDE)
    }

    /// As [`Program::import`], with one step for each operator of the graph: slower, for checking.
    ///
    /// # Errors
    /// As there.
    pub fn import_plain(model: &Model, shape: &[Option<usize>]) -> Result<Program> {
        attempts::plain(model, shape, &attempts::INSIDE)
    }

    /// As [`Program::import`], twice: for inference, and for training with these means and variances of batch norms
    /// ([`Tail::statistics`]) as parameters. The second normalises by the statistics of the images that are run, and gives
    /// the next values of those parameters behind the model's outputs ([`Program::followed`]): ONNX's training mode.
    ///
    /// # Errors
    /// As there, and where no batch norm is left.
    pub fn import_following(
        model: &Model,
        shape: &[Option<usize>],
        statistics: &HashSet<String>,
    ) -> Result<[Program; 2]> {
        let (plain, mut training, followed) = attempts::following(model, shape, statistics)?;
        let names = |program: &Program| program.parameters.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        let known = names(&training);
        training.followed = followed.iter().filter_map(|name| known.iter().position(|known| known == name)).collect();
        if known != names(&plain) || training.followed.len() != followed.len() || followed.is_empty() {
            return Err(Error::model(&model.path, "its batch norms cannot be trained with the images' own statistics"));
        }
        Ok([fuse::fused(plain), fuse::fused(training)])
    }

    /// The places, among the outputs and among the parameters, of the next values that a step gives to statistics.
    pub fn followed(&self) -> impl Iterator<Item = (usize, usize)> {
        let first = self.outputs.len() - self.followed.len();
        self.followed.iter().enumerate().map(move |(place, &parameter)| (first + place, parameter))
    }

    /// The same program, which notes the time that each operator takes.
    pub fn profiled(self) -> Program {
        Program { profile: Arc::new(Profile::on()), ..self }
    }

    /// Seconds by operator since this was last asked; of [profiled](Program::profiled) programs only.
    ///
    /// # Errors
    /// Of the device.
    pub fn profile(&self) -> Result<Seconds> {
        self.profile.take().map_err(run::failed)
    }

    /// The same program in another floating type or on another device.
    ///
    /// `f64` is for checking gradients.
    pub fn to(&self, dtype: DType, device: &Device) -> Result<Program> {
        if !device.is_cpu() && dtype != DType::F32 {
            return Err(Error::Engine(format!("a GPU computes in float32 here, not in {dtype:?}")));
        }
        let mut program = Program { dtype, device: device.clone(), ..self.clone() };
        program.set_constants()?;
        Ok(program)
    }

    /// The same program on another device.
    pub fn on(self, device: &Device) -> Result<Program> {
        if device.is_cpu() && self.device.is_cpu() { Ok(self) } else { self.to(self.dtype, device) }
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Notes after which step each value is done with.
    fn set_ends(&mut self) {
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            step.inputs.iter().chain([&step.output]).for_each(|&value| {
                last.insert(value, index);
            });
        }
        self.outputs.iter().for_each(|(_, value)| {
            last.remove(value);
        });
        self.done = vec![Vec::new(); self.steps.len()];
        last.into_iter().for_each(|(value, index)| self.done[index].push(value));
    }

    /// Makes tensors of the known values that steps read.
    fn set_constants(&mut self) -> Result<()> {
        let mut read: HashSet<usize> = self.steps.iter().flat_map(|step| step.inputs.iter().copied()).collect();
        read.extend(self.outputs.iter().map(|(_, value)| *value));
        self.constants.clear();
        self.late.clear();
        for (value, host) in &self.hosts {
            if !read.contains(value) {
                continue;
            }
            match host {
                HostValue::Known(known) if host::is_fixed(known) => {
                    let tensor = host::to_tensor(known, &SymbolValues::default(), self.dtype, &self.device);
                    self.constants.insert(*value, tensor.map_err(|e| Error::Engine(import::chain(e)))?);
                }
                _ => self.late.push(*value),
            }
        }
        Ok(())
    }

    /// The model's input.
    pub fn input(&self) -> &Port {
        &self.port
    }

    /// The names of the outputs, in order.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|(name, _)| name.as_str())
    }

    /// The weights that can be trained, named as the initializers of the [untied](crate::onnx::parameters::untie) model.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameters' values in the file, as tensors of the program's type on its device.
    pub fn initial(&self) -> Result<Vec<Tensor>> {
        let tensor = |parameter: &Parameter| {
            let tensor = Tensor::from_slice(&parameter.values, parameter.shape.as_slice(), &self.device);
            tensor.and_then(|tensor| tensor.to_dtype(self.dtype))
        };
        let tensors = self.parameters.iter().map(tensor).collect::<candle_core::Result<_>>();
        tensors.map_err(|e| Error::Engine(format!("candle: {e}")))
    }

    /// How many operators run.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The operators that run, by tract's names, each once.
    pub fn operators(&self) -> std::collections::BTreeSet<&str> {
        self.steps.iter().flat_map(|step| step.operator.split('+')).collect()
    }

    /// The number of images that are run at once: any where `None`.
    pub fn batch(&self) -> Option<usize> {
        self.batch
    }
}

/// tract's names of every operator that a program can hold.
pub fn operators() -> impl Iterator<Item = &'static str> {
    ops::FAMILIES.iter().flat_map(|family| family.operators.iter().copied())
}
