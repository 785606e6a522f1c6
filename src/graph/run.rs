//! Running a program forwards and backwards.

use super::host::{self, HostValue};
use super::ops::{Keeps, Kept, Run};
use super::profile::Way;
use super::{Program, Step};
use crate::error::{Error, Result};
use crate::guard::quietly;
use candle_core::Tensor;
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
pub struct Tape(Vec<Piece>);

/// One run: of all images, or of as many as the graph takes.
struct Piece {
    images: usize,
    run: Run,
    values: Vec<Option<Tensor>>,
    shapes: Vec<Vec<usize>>,
    wanted: Vec<bool>,
    outputs: Vec<Vec<usize>>,
}

/// The gradients that were asked for. `None` is zero, or was not asked for.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// By each parameter, in order, in its shape.
    pub parameters: Vec<Option<Tensor>>,
    /// By the images.
    pub input: Option<Tensor>,
}

fn failed(error: candle_core::Error) -> Error {
    Error::Engine(format!("candle: {error}"))
}

fn at(step: &Step) -> impl FnOnce(candle_core::Error) -> Error {
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

    /// The gradients of a scalar, given its gradients by the outputs (`None` is zero), each of its output's shape.
    pub fn backward(&self, tape: Tape, grads: &[Option<Tensor>]) -> Result<Gradients> {
        if grads.len() != self.outputs.len() {
            let outputs = self.outputs.len();
            return Err(Error::Engine(format!("{} gradients were given for {outputs} outputs", grads.len())));
        }
        let work = || {
            let several = tape.0.len() > 1;
            let mut sum: Vec<Option<Tensor>> = vec![None; self.parameters.len()];
            let (mut inputs, mut start) = (Vec::new(), 0);
            for piece in tape.0 {
                let (images, wanted) = (piece.images, piece.wanted[0]);
                let part = |grad: &Option<Tensor>| match grad {
                    Some(grad) if several => grad.narrow(0, start, images).map(Some).map_err(failed),
                    grad => Ok(grad.clone()),
                };
                let shape = piece.shapes[0].clone();
                let found = self.backward_piece(piece, &grads.iter().map(part).collect::<Result<Vec<_>>>()?)?;
                start += images;
                for (sum, found) in sum.iter_mut().zip(found.parameters) {
                    add(sum, found).map_err(failed)?;
                }
                let zeros = || Tensor::zeros(shape, self.dtype, &self.device);
                inputs.extend(wanted.then(|| found.input.map_or_else(zeros, Ok)));
            }
            let inputs = inputs.into_iter().collect::<candle_core::Result<Vec<_>>>().map_err(failed)?;
            let input = if inputs.is_empty() { None } else { Some(Tensor::cat(&inputs, 0).map_err(failed)?) };
            Ok(Gradients { parameters: sum, input })
        };
        quietly(work).map_err(|panic| Error::Engine(format!("candle: {panic}")))?
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
        let run = Run { symbols: SymbolValues::default().with(&self.symbol, images as i64) };
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
        for (step, done) in self.steps.iter().zip(&self.done) {
            let inputs: Option<Vec<&Tensor>> = step.inputs.iter().map(|&input| values[input].as_ref()).collect();
            let inputs = inputs.ok_or_else(|| at(step)(candle_core::Error::msg("an input is missing")))?;
            let made = self.profile.timed(&step.operator, Way::Forward, || step.op.forward(&run, &inputs));
            let made = made.map_err(at(step))?;
            if saving {
                shapes[step.output] = made.dims().to_vec();
            }
            values[step.output] = Some(made);
            done.iter().filter(|&&value| !kept[value]).for_each(|&value| values[value] = None);
        }
        let output = |(name, value): &(String, usize)| {
            values[*value].clone().ok_or_else(|| Error::Engine(format!("output '{name}' was not computed")))
        };
        let outputs = self.outputs.iter().map(output).collect::<Result<Vec<_>>>()?;
        values.iter_mut().zip(&kept).filter(|(_, kept)| !**kept).for_each(|(value, _)| *value = None);
        let output_shapes = outputs.iter().map(|output| output.dims().to_vec()).collect();
        Ok((outputs, Piece { images, run, values, shapes, wanted, outputs: output_shapes }))
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

    fn backward_piece(&self, piece: Piece, given: &[Option<Tensor>]) -> Result<Gradients> {
        let Piece { run, mut values, shapes, wanted, outputs, .. } = piece;
        let mut grads: Vec<Option<Tensor>> = vec![None; self.values];
        for (((name, value), grad), shape) in self.outputs.iter().zip(given).zip(&outputs) {
            if let Some(grad) = grad {
                if grad.dims() != shape {
                    let given = grad.dims();
                    return Err(Error::Engine(format!("output '{name}' is {shape:?}, its gradient {given:?}")));
                }
                add(&mut grads[*value], Some(grad.clone())).map_err(failed)?;
            }
        }
        for step in self.steps.iter().rev() {
            if let Some(grad) = grads[step.output].take().filter(|_| wanted[step.output]) {
                let kept = Kept {
                    inputs: step.inputs.iter().map(|&input| values[input].as_ref()).collect(),
                    output: values[step.output].as_ref(),
                    shapes: step.inputs.iter().map(|&input| shapes[input].as_slice()).collect(),
                    wanted: step.inputs.iter().map(|&input| wanted[input]).collect(),
                };
                let found = self.profile.timed(&step.operator, Way::Backward, || step.op.backward(&run, &kept, &grad));
                let found = found.map_err(at(step))?;
                for (&input, found) in step.inputs.iter().zip(found).filter(|(input, _)| wanted[**input]) {
                    add(&mut grads[input], found).map_err(at(step))?;
                }
            }
            // Its makers come before: nobody reads it any more.
            values[step.output] = None;
        }
        let mut grads = grads.into_iter().zip(&wanted).map(|(grad, &wanted)| grad.filter(|_| wanted));
        let input = grads.next().flatten();
        Ok(Gradients { parameters: grads.take(self.parameters.len()).collect(), input })
    }
}

fn dims(value: &Option<Tensor>) -> Vec<usize> {
    value.as_ref().map(|tensor| tensor.dims().to_vec()).unwrap_or_default()
}

fn add(sum: &mut Option<Tensor>, more: Option<Tensor>) -> candle_core::Result<()> {
    if let Some(more) = more {
        *sum = Some(match sum.take() {
            Some(sum) => (sum + more)?,
            None => more,
        });
    }
    Ok(())
}
