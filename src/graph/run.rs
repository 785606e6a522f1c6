//! Running a program forwards and backwards.

use super::buffers::Holders;
use super::host::{self, HostValue};
use super::ops::{Keeps, Run};
use super::profile::Way;
use super::{Program, Step};
use crate::error::{Error, Result};
use crate::guard::quietly;
use crate::tensor::{Tensor, whole};
use std::collections::HashMap;
use tract_onnx::prelude::SymbolValues;

/// Whose gradients are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// A flag for each of the program's parameters, in order.
    pub parameters: Vec<bool>,
    /// The images.
    pub input: bool,
}

impl Wanted {
    /// All parameters, not the images.
    pub fn parameters(program: &Program) -> Wanted {
        Wanted { parameters: vec![true; program.parameters.len()], input: false }
    }
}

/// What [`Program::forward_saving`] kept for [`Program::backward`].
pub struct Tape(pub(super) Vec<Piece>);

/// One run: of all images, or of as many as the graph takes.
pub(super) struct Piece {
    pub(super) images: usize,
    pub(super) run: Run,
    pub(super) values: Vec<Option<Tensor>>,
    pub(super) shapes: Vec<Vec<usize>>,
    pub(super) wanted: Vec<bool>,
    pub(super) outputs: Vec<Vec<usize>>,
    pub(super) holders: Holders,
}

/// The gradients that were asked for. `None` is zero, or was not asked for.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// By each parameter, in order, in its shape.
    pub parameters: Vec<Option<Tensor>>,
    /// By the images.
    pub input: Option<Tensor>,
}

pub(super) fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

pub(super) fn at(step: &Step) -> impl FnOnce(candle_core::Error) -> Error {
    |error| Error::Engine(format!("node '{}' ({}): {error}", step.node, step.operator))
}

impl Program {
    /// The outputs for images `[N, …]`, with these values of the [parameters](Program::parameters), in order.
    ///
    /// # Errors
    /// [`Error::Engine`] where shapes do not fit, or naming the node that failed.
    pub fn forward(&self, input: &Tensor, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
        let nothing = Wanted { parameters: vec![false; self.parameters.len()], input: false };
        self.all_pieces(input, parameters, &nothing).map(|(outputs, _)| outputs)
    }

    /// As [`Program::forward`], and what [`Program::backward`] needs to tell the wanted gradients.
    pub fn forward_saving(
        &self,
        input: &Tensor,
        parameters: &[Tensor],
        wanted: &Wanted,
    ) -> Result<(Vec<Tensor>, Tape)> {
        let (outputs, pieces) = self.all_pieces(input, parameters, wanted)?;
        Ok((outputs, Tape(pieces)))
    }

    /// Runs the images, in pieces where the graph takes a fixed number.
    fn all_pieces(&self, input: &Tensor, parameters: &[Tensor], wanted: &Wanted) -> Result<(Vec<Tensor>, Vec<Piece>)> {
        self.check(input, parameters, wanted)?;
        let images = input.dims()[0];
        let step = self.batch.unwrap_or(images);
        let work = || {
            let (mut outputs, mut pieces) = (vec![Vec::new(); self.outputs.len()], Vec::new());
            for start in (0..images).step_by(step) {
                let part = input.narrow(0, start, step).map_err(failed)?;
                let (made, piece) = self.forward_piece(&part, parameters, wanted)?;
                outputs.iter_mut().zip(made).for_each(|(all, made)| all.push(made));
                pieces.push(piece);
            }
            let join = |parts: Vec<Tensor>| match &parts[..] {
                [one] => Ok(one.clone()),
                parts => Tensor::cat(parts, 0).map_err(failed),
            };
            Ok((outputs.into_iter().map(join).collect::<Result<Vec<_>>>()?, pieces))
        };
        quietly(work).map_err(|panic| Error::Engine(format!("candle: {panic}")))?
    }

    fn check(&self, input: &Tensor, parameters: &[Tensor], wanted: &Wanted) -> Result<()> {
        self.port.check(input.dims())?;
        if let Some(batch) = self.batch.filter(|batch| !input.dims()[0].is_multiple_of(*batch)) {
            let images = input.dims()[0];
            return Err(Error::Engine(format!("{images} images were given, and the graph takes {batch} at once")));
        }
        let count = self.parameters.len();
        if parameters.len() != count || wanted.parameters.len() != count {
            return Err(Error::Engine(format!(
                "the program has {count} parameters, and {} were given",
                parameters.len()
            )));
        }
        for (own, given) in self.parameters.iter().zip(parameters) {
            if given.dims() != own.shape || given.dtype() != self.dtype {
                return Err(Error::Engine(format!(
                    "parameter '{}' is {:?} {:?}, but {:?} {:?} was given",
                    own.name,
                    self.dtype,
                    own.shape,
                    given.dtype(),
                    given.dims()
                )));
            }
        }
        Ok(())
    }

    /// The values that depend on the number of images alone.
    pub(super) fn late_values(&self, images: usize) -> Result<HashMap<usize, Tensor>> {
        let mut values = HashMap::new();
        if self.late.is_empty() {
            return Ok(values);
        }
        let symbols = SymbolValues::default().with(&self.symbol, images as i64);
        let mut known = HashMap::new();
        for (value, host) in &self.hosts {
            let made = match host {
                HostValue::Known(known) => known.clone(),
                HostValue::Later(later) => {
                    let inputs: Vec<_> = later.inputs.iter().map(|input| known.get(input).cloned()).collect();
                    let inputs = inputs.into_iter().collect::<Option<Vec<_>>>();
                    let made = host::evaluate(later.op.as_ref(), &symbols, &inputs.unwrap_or_default());
                    made.map_err(|e| Error::Engine(format!("node '{}': {}", later.node, super::import::chain(e))))?
                }
            };
            if self.late.contains(value) {
                let tensor = host::to_tensor(&made, &symbols, self.dtype, &self.device);
                values.insert(*value, tensor.map_err(|e| Error::Engine(super::import::chain(e)))?);
            }
            known.insert(*value, made);
        }
        Ok(values)
    }

    fn forward_piece(&self, input: &Tensor, parameters: &[Tensor], wanted: &Wanted) -> Result<(Vec<Tensor>, Piece)> {
        let images = input.dims()[0];
        let symbols = SymbolValues::default().with(&self.symbol, images as i64);
        self.buffers.begin(images);
        let run = Run { symbols, buffers: self.buffers.clone() };
        let (wanted, kept) = self.plan(wanted);
        let mut values: Vec<Option<Tensor>> = vec![None; self.values];
        values[0] = Some(input.to_dtype(self.dtype).and_then(|x| x.to_device(&self.device)).map_err(failed)?);
        parameters.iter().enumerate().for_each(|(place, tensor)| values[place + 1] = Some(tensor.clone()));
        let late = self.late_values(images)?;
        self.constants.iter().chain(&late).for_each(|(&value, tensor)| values[value] = Some(tensor.clone()));
        let saving = wanted.contains(&true);
        let mut shapes: Vec<Vec<usize>> = vec![Vec::new(); if saving { self.values } else { 1 }];
        shapes[0] = input.dims().to_vec();
        if saving {
            values.iter().zip(&mut shapes).for_each(|(value, shape)| *shape = dims(value));
        }
        // What others gave us is held for good.
        let mut holders = Holders::new(self.buffers.clone());
        values.iter().flatten().chain(values.iter().flatten()).for_each(|tensor| holders.hold(tensor));
        for (step, done) in self.steps.iter().zip(&self.done) {
            let inputs: Option<Vec<&Tensor>> = step.inputs.iter().map(|&input| values[input].as_ref()).collect();
            let inputs = inputs.ok_or_else(|| at(step)(candle_core::Error::msg("an input is missing")))?;
            let made =
                self.profile.timed(&self.device, &step.operator, Way::Forward, || step.op.forward(&run, &inputs));
            let made = made.map_err(at(step))?;
            if saving {
                shapes[step.output] = made.dims().to_vec();
            }
            holders.hold(&made);
            values[step.output] = Some(made);
            for &value in done.iter().filter(|&&value| !kept[value]) {
                holders.release(values[value].take()).map_err(failed)?;
            }
        }
        let output = |(name, value): &(String, usize)| {
            let made = values[*value].as_ref();
            let made = made.ok_or_else(|| Error::Engine(format!("output '{name}' was not computed")))?;
            whole(made).map_err(failed)
        };
        let outputs = self.outputs.iter().map(output).collect::<Result<Vec<_>>>()?;
        outputs.iter().for_each(|output| holders.hold(output));
        for (value, _) in values.iter_mut().zip(&kept).filter(|(_, kept)| !**kept) {
            holders.release(value.take()).map_err(failed)?;
        }
        let output_shapes = outputs.iter().map(|output| output.dims().to_vec()).collect();
        Ok((outputs, Piece { images, run, values, shapes, wanted, outputs: output_shapes, holders }))
    }

    /// Which values have a wanted gradient, and which values backward steps read.
    fn plan(&self, wanted: &Wanted) -> (Vec<bool>, Vec<bool>) {
        let (mut flags, mut kept) = (vec![false; self.values], vec![false; self.values]);
        flags[0] = wanted.input;
        wanted.parameters.iter().enumerate().for_each(|(place, &wanted)| flags[place + 1] = wanted);
        for step in &self.steps {
            let inputs: Vec<bool> = step.inputs.iter().map(|&input| flags[input]).collect();
            if inputs.contains(&true) {
                flags[step.output] = true;
                let Keeps { inputs: keep, output } = step.op.keeps(&inputs);
                step.inputs.iter().zip(keep).for_each(|(&input, keep)| kept[input] |= keep);
                kept[step.output] |= output;
            }
        }
        (flags, kept)
    }
}

fn dims(value: &Option<Tensor>) -> Vec<usize> {
    value.as_ref().map(|tensor| tensor.dims().to_vec()).unwrap_or_default()
}
