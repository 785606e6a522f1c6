//! The trained part of a network with its weights: loss, gradients, predictions.

use super::failed;
use super::feed::{Change, Feed};
use crate::data::augment::Level;
use crate::engine::candle::tensor;
use crate::error::{Error, Result};
use crate::graph::{Program, Wanted, add_gradients};
use crate::metrics::argmax;
use crate::tensor::{DType, Precision, Tensor, rounded_once};
use crate::train::loss::Loss;
use ndarray::{Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Values that images of one run may have together: what is kept for the reverse pass is a hundred times as much.
const MOST_VALUES: usize = 16 * 3 * 224 * 224;
/// Images that run at once all the same where batch norms take their statistics.
const WITH_STATISTICS: usize = 128;

/// A program and what it is trained with. Clones share the values.
#[derive(Clone)]
pub struct Network<'a> {
    /// What is computed. Its first output is the logits.
    pub program: &'a Program,
    /// The values of all its parameters.
    pub parameters: Vec<Tensor>,
    /// Which of them are trained.
    pub wanted: Wanted,
    /// What a GPU computes gradients with. Scores that are told it always computes in `f32`.
    pub precision: Precision,
}

/// What a step's images gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The sum of the losses.
    pub loss: f64,
    /// Images of which the most probable class is their target's.
    pub correct: usize,
    /// Images.
    pub images: usize,
}

impl Tally {
    /// Adds another's.
    pub fn add(&mut self, other: Tally) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.images += other.images;
    }

    /// The mean loss.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    /// The share of images that is right.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }
}

/// What a step's images gave, or those of several steps: known, or still on a GPU.
#[derive(Debug, Clone, Default)]
pub struct Given {
    known: Tally,
    /// Sums of losses and numbers of right answers, `[2]` each; the images are among the known.
    there: Vec<Tensor>,
}

impl Given {
    /// Adds what later images gave.
    pub fn add(&mut self, other: Given) {
        self.known.add(other.known);
        self.there.extend(other.there);
    }

    /// Adds all of it to a tally, one after another, so that it does not matter how often that is done. A GPU has then done
    /// all that it was asked.
    ///
    /// # Errors
    /// Of the device.
    pub fn read(self, tally: &mut Tally) -> Result<()> {
        tally.add(self.known);
        if self.there.is_empty() {
            return Ok(());
        }
        let sums = Tensor::cat(&self.there, 0).and_then(|sums| sums.to_vec1::<f32>()).map_err(failed)?;
        for sum in sums.chunks_exact(2) {
            tally.add(Tally { loss: sum[0].into(), correct: sum[1] as usize, images: 0 });
        }
        Ok(())
    }
}

impl<'a> Network<'a> {
    /// A program with the file's values, but for these.
    pub fn new(program: &'a Program, values: &HashMap<String, Vec<f32>>, wanted: Wanted) -> Result<Network<'a>> {
        let mut parameters = program.initial()?;
        for (parameter, tensor) in program.parameters().iter().zip(&mut parameters) {
            if let Some(values) = values.get(&parameter.name) {
                *tensor = Tensor::from_slice(values, parameter.shape.as_slice(), tensor.device()).map_err(failed)?;
            }
        }
        Ok(Network { program, parameters, wanted, precision: Precision::default() })
    }

    /// Images that run at once.
    pub fn at_once(&self, shape: &[usize]) -> usize {
        let batch = self.program.batch().unwrap_or(1);
        let least = if self.program.followed().next().is_some() { WITH_STATISTICS } else { 1 };
        if !self.program.device().is_cpu() {
            return WITH_STATISTICS.next_multiple_of(batch);
        }
        (MOST_VALUES / shape.iter().product::<usize>().max(1)).clamp(least, 256).next_multiple_of(batch)
    }

    /// The mean loss's gradients by the trained parameters for a batch of [images](Network::input), `targets` `[images, classes]`; and what it gave.
    /// Statistics that [follow](Program::followed) the images have their next values then.
    ///
    /// # Errors
    /// [`Error::Train`] for logits that are not finite, on the CPU: a GPU's loss is not finite then. Those of the program.
    pub fn gradients(
        &self,
        input: &Tensor,
        targets: ArrayView2<f32>,
        loss: &Loss,
    ) -> Result<(Given, Vec<Option<Tensor>>)> {
        self.precision.during(|| self.gradients_within(input, targets, loss))
    }

    fn gradients_within(
        &self,
        input: &Tensor,
        targets: ArrayView2<f32>,
        loss: &Loss,
    ) -> Result<(Given, Vec<Option<Tensor>>)> {
        let images = targets.nrows();
        let (mut given, mut sum): (Given, Vec<Option<Tensor>>) = (Given::default(), Vec::new());
        // Pieces of one size, or nearly: statistics of few images mean little.
        let pieces = images.div_ceil(self.at_once(&input.dims()[1..])).max(1);
        for piece in 0..pieces {
            let [start, end] = [piece, piece + 1].map(|piece| piece * images / pieces);
            let input = input.narrow(0, start, end - start).map_err(failed)?;
            // Forwards and backwards they are the same.
            let parameters: Vec<Tensor> = self.parameters.iter().map(rounded_once).collect();
            let (outputs, tape) = self.program.forward_saving(&input, &parameters, &self.wanted)?;
            let (own, slope) = evaluated(&outputs[0], targets.slice(s![start..end, ..]), loss, images)?;
            given.add(own);
            for (output, parameter) in self.program.followed() {
                self.parameters[parameter].slice_set(&outputs[output], 0, 0).map_err(failed)?;
            }
            let mut slopes = vec![None; outputs.len()];
            slopes[0] = Some(slope);
            let found = self.program.backward(tape, &slopes)?.parameters;
            if start == 0 { sum = found } else { add_gradients(&mut sum, found)? }
        }
        Ok((given, sum))
    }

    /// The logits `[images, classes]` of all of a feed's images.
    pub fn logits(&self, feed: &Feed) -> Result<Array2<f32>> {
        self.logits_at(feed, &(0..feed.images()).collect::<Vec<usize>>())
    }

    /// Those of the images at these places, unchanged.
    pub fn logits_at(&self, feed: &Feed, places: &[usize]) -> Result<Array2<f32>> {
        self.logits_telling(feed, places, &|_| {})
    }

    /// The same, telling how many of them are done.
    pub fn logits_telling(&self, feed: &Feed, places: &[usize], told: &dyn Fn(usize)) -> Result<Array2<f32>> {
        let change = Change { augment: Level::None.into(), seed: 0, epoch: 0 };
        let (mut rows, mut done) = (Vec::new(), 0);
        for chunk in places.chunks(self.at_once(feed.shape)) {
            let input = self.input(feed.load(chunk, change)?, chunk.len(), feed.shape)?;
            rows.push(logits(&self.program.forward(&input, &self.parameters)?[0])?);
            done += chunk.len();
            told(done);
        }
        let views: Vec<_> = rows.iter().map(|rows| rows.view()).collect();
        ndarray::concatenate(ndarray::Axis(0), &views).map_err(|e| Error::Engine(e.to_string()))
    }

    /// Images of this shape, one behind the other, as the program takes them: on its device, where so many run at once.
    pub fn input(&self, values: Vec<f32>, images: usize, shape: &[usize]) -> Result<Tensor> {
        let input = tensor(self.program.input().kind, values, &[&[images], shape].concat())?;
        if images > self.at_once(shape) { Ok(input) } else { input.to_device(self.program.device()).map_err(failed) }
    }

    /// The first trained parameter that holds what is not a number.
    pub fn broken(&self) -> Option<&str> {
        let sound = |tensor: &Tensor| {
            let sum = tensor.abs().and_then(|t| t.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>());
            sum.is_ok_and(f64::is_finite)
        };
        let mut named = self.program.parameters().iter().zip(&self.parameters);
        named.find(|(_, tensor)| !sound(tensor)).map(|(parameter, _)| parameter.name.as_str())
    }
}

/// The loss of a piece of a batch of so many images, where its logits lie; and the gradient of the batch's mean loss by them.
fn evaluated(output: &Tensor, targets: ArrayView2<f32>, loss: &Loss, images: usize) -> Result<(Given, Tensor)> {
    let piece = targets.nrows();
    #[cfg(feature = "cuda")]
    if !output.device().is_cpu() {
        let targets = loss.prepared(targets)?;
        let made = || {
            let (dim, values) = (targets.dim(), targets.iter().copied().collect());
            let targets = Tensor::from_vec::<_, f32>(values, dim, output.device())?;
            let [slope, there] = output.flatten_from(1)?.loss(loss.kind.kernel(), &targets, 1. / images as f32)?;
            let known = Tally { images: piece, ..Tally::default() };
            Ok((Given { known, there: vec![there] }, slope.reshape(output.shape())?))
        };
        return made().map_err(failed);
    }
    let logits = logits(output)?;
    let (mean, mut slope) = loss.evaluate(logits.view(), targets)?;
    slope *= piece as f32 / images as f32;
    let correct = logits.rows().into_iter().zip(targets.rows()).filter(|(l, t)| argmax(*l) == argmax(*t)).count();
    let known = Tally { loss: mean * piece as f64, correct, images: piece };
    let slope = Tensor::from_iter(slope, output.device()).and_then(|slope| slope.reshape(output.shape()));
    Ok((Given { known, there: Vec::new() }, slope.map_err(failed)?))
}

/// The first output as rows.
fn logits(output: &Tensor) -> Result<Array2<f32>> {
    let rows = output.flatten_from(1).and_then(|rows| Ok((rows.dims2()?, rows.flatten_all()?.to_vec1::<f32>()?)));
    let (dim, values) = rows.map_err(failed)?;
    Array2::from_shape_vec(dim, values).map_err(|e| Error::Engine(e.to_string()))
}
