//! A program's reverse pass over itself.

use super::Program;
use super::buffers::Holders;
use super::ops::{self, Kept, Run};
use super::profile::Way;
use super::run::{Gradients, Piece, Tape, at, failed};
use crate::error::{Error, Result};
use crate::guard::quietly;
use crate::tensor::{Tensor, whole};

impl Program {
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
                add_gradients(&mut sum, found.parameters)?;
                let zeros = || Tensor::zeros(shape, self.dtype, &self.device);
                inputs.extend(wanted.then(|| found.input.map_or_else(zeros, Ok)));
            }
            let inputs = inputs.into_iter().collect::<candle_core::Result<Vec<_>>>().map_err(failed)?;
            let input = if inputs.is_empty() { None } else { Some(Tensor::cat(&inputs, 0).map_err(failed)?) };
            Ok(Gradients { parameters: sum, input })
        };
        quietly(work).map_err(|panic| Error::Engine(format!("candle: {panic}")))?
    }

    /// Adds to what a value's other readers gave.
    fn accumulate(
        &self,
        run: &Run,
        holders: &mut Holders,
        sum: &mut Option<Tensor>,
        more: Option<Tensor>,
    ) -> candle_core::Result<()> {
        let Some(more) = more else { return Ok(()) };
        holders.hold(&more);
        let Some(first) = sum.take() else {
            *sum = Some(more);
            return Ok(());
        };
        let both =
            self.profile.timed(&self.device, "sums of gradients", Way::Backward, || ops::plus(run, &first, &more))?;
        holders.hold(&both);
        *sum = Some(both);
        holders.release(Some(first))?;
        holders.release(Some(more))
    }

    fn backward_piece(&self, piece: Piece, given: &[Option<Tensor>]) -> Result<Gradients> {
        let Piece { run, mut values, shapes, wanted, outputs, mut holders, .. } = piece;
        let mut grads: Vec<Option<Tensor>> = vec![None; self.values];
        for (((name, value), grad), shape) in self.outputs.iter().zip(given).zip(&outputs) {
            if let Some(grad) = grad {
                if grad.dims() != shape {
                    let given = grad.dims();
                    return Err(Error::Engine(format!("output '{name}' is {shape:?}, its gradient {given:?}")));
                }
                // The caller's, for good.
                holders.hold(grad);
                self.accumulate(&run, &mut holders, &mut grads[*value], Some(grad.clone())).map_err(failed)?;
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
                let found = self
                    .profile
                    .timed(&self.device, &step.operator, Way::Backward, || step.op.backward(&run, &kept, &grad));
                let found = found.map_err(at(step))?;
                for (&input, found) in step.inputs.iter().zip(found).filter(|(input, _)| wanted[**input]) {
                    self.accumulate(&run, &mut holders, &mut grads[input], found).map_err(at(step))?;
                }
                holders.release(Some(grad)).map_err(failed)?;
            }
            // Its makers come before: nobody reads it any more.
            holders.release(values[step.output].take()).map_err(failed)?;
        }
        let given = grads.iter().zip(&wanted).take(1 + self.parameters.len());
        let given = given.map(|(grad, &wanted)| grad.as_ref().filter(|_| wanted).map(whole).transpose());
        let mut given = given.collect::<candle_core::Result<Vec<_>>>().map_err(failed)?.into_iter();
        let input = given.next().flatten();
        Ok(Gradients { parameters: given.collect(), input })
    }
}

/// Adds gradients to those of other images, parameter by parameter.
///
/// # Errors
/// [`Error::Engine`] where shapes differ.
pub fn add_gradients(sums: &mut [Option<Tensor>], more: Vec<Option<Tensor>>) -> Result<()> {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = match (sum.take(), more) {
            (Some(sum), Some(more)) => Some((sum + more).map_err(failed)?),
            (sum, more) => sum.or(more),
        };
    }
    Ok(())
}
