//! The trained part of a network with its weights: loss, gradients, predictions.

use super::failed;
use super::feed::{Change, Feed};
use crate::data::augment::Level;
use crate::engine::candle::tensor;
use crate::error::{Error, Result};
use crate::graph::{Program, Wanted, add_gradients};
use crate::metrics::argmax;
use crate::tensor::{DType, Tensor};
use crate::train::loss::Loss;
use ndarray::{Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Values that images of one run may have together: what is kept for the reverse pass is a hundred times as much.
const MOST_VALUES: usize = 16 * 3 * 224 * 224;
/// Images that run at once all the same where batch norms take their statistics.
const WITH_STATISTICS: usize = 128;

/// A program and what it is trained with.
pub struct Network<'a> {
    /// What is computed. Its first output is the logits.
    pub program: &'a Program,
    /// The values of all its parameters.
    pub parameters: Vec<Tensor>,
    /// Which of them are trained.
    pub wanted: Wanted,
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

impl<'a> Network<'a> {
    /// A program with the file's values, but for these.
    pub fn new(program: &'a Program, values: &HashMap<String, Vec<f32>>, wanted: Wanted) -> Result<Network<'a>> {
        let mut parameters = program.initial()?;
        for (parameter, tensor) in program.parameters().iter().zip(&mut parameters) {
            if let Some(values) = values.get(&parameter.name) {
                *tensor = Tensor::from_slice(values, parameter.shape.as_slice(), tensor.device()).map_err(failed)?;
            }
        }
        Ok(Network { program, parameters, wanted })
    }

    /// Images that run at once.
    pub fn at_once(&self, shape: &[usize]) -> usize {
        let batch = self.program.batch().unwrap_or(1);
        let least = if self.program.followed().next().is_some() { WITH_STATISTICS } else { 8 };
        if !self.program.device().is_cpu() {
            return WITH_STATISTICS.next_multiple_of(batch);
        }
        (MOST_VALUES / shape.iter().product::<usize>().max(1)).clamp(least, 256).next_multiple_of(batch)
    }

    /// The mean loss's gradients by the trained parameters for a batch, `targets` `[images, classes]`; and its tally.
    /// Statistics that [follow](Program::followed) the images have their next values then.
    pub fn gradients(
        &self,
        values: &[f32],
        shape: &[usize],
        targets: ArrayView2<f32>,
        loss: &Loss,
    ) -> Result<(Tally, Vec<Option<Tensor>>)> {
        let (images, size) = (targets.nrows(), shape.iter().product::<usize>());
        let (mut tally, mut sum): (Tally, Vec<Option<Tensor>>) = (Tally::default(), Vec::new());
        // Pieces of one size, or nearly: statistics of few images mean little.
        let pieces = images.div_ceil(self.at_once(shape)).max(1);
        for piece in 0..pieces {
            let [start, end] = [piece, piece + 1].map(|piece| piece * images / pieces);
            let input = self.input(&values[start * size..end * size], end - start, shape)?;
            let (outputs, tape) = self.program.forward_saving(&input, &self.parameters, &self.wanted)?;
            let logits = logits(&outputs[0])?;
            let targets = targets.slice(s![start..end, ..]);
            let (mean, mut slope) = loss.evaluate(logits.view(), targets)?;
            slope *= (end - start) as f32 / images as f32;
            let correct =
                logits.rows().into_iter().zip(targets.rows()).filter(|(l, t)| argmax(*l) == argmax(*t)).count();
            tally.add(Tally { loss: mean * (end - start) as f64, correct, images: end - start });
            for (output, parameter) in self.program.followed() {
                self.parameters[parameter].slice_set(&outputs[output], 0, 0).map_err(failed)?;
            }
            let slope = Tensor::from_iter(slope, outputs[0].device());
            let slope = slope.and_then(|slope| slope.reshape(outputs[0].shape())).map_err(failed)?;
            let mut slopes = vec![None; outputs.len()];
            slopes[0] = Some(slope);
            let found = self.program.backward(tape, &slopes)?.parameters;
            if start == 0 { sum = found } else { add_gradients(&mut sum, found)? }
        }
        Ok((tally, sum))
    }

    /// The logits `[images, classes]` of all of a feed's images.
    pub fn logits(&self, feed: &Feed) -> Result<Array2<f32>> {
        let change = Change { augment: Level::None.into(), seed: 0, epoch: 0 };
        let places: Vec<usize> = (0..feed.images()).collect();
        let mut rows = Vec::new();
        for chunk in places.chunks(self.at_once(feed.shape)) {
            let input = self.input(&feed.load(chunk, change)?, chunk.len(), feed.shape)?;
            rows.push(logits(&self.program.forward(&input, &self.parameters)?[0])?);
        }
        let views: Vec<_> = rows.iter().map(|rows| rows.view()).collect();
        ndarray::concatenate(ndarray::Axis(0), &views).map_err(|e| Error::Engine(e.to_string()))
    }

    /// Whether the logits of the first of these images are numbers.
    pub fn is_sound(&self, values: &[f32], shape: &[usize]) -> Result<bool> {
        let size = shape.iter().product::<usize>().max(1);
        let images = (values.len() / size).min(self.at_once(shape));
        let input = self.input(&values[..images * size], images, shape)?;
        Ok(logits(&self.program.forward(&input, &self.parameters)?[0])?.iter().all(|logit| logit.is_finite()))
    }

    fn input(&self, values: &[f32], images: usize, shape: &[usize]) -> Result<Tensor> {
        tensor(self.program.input().kind, values.to_vec(), &[&[images], shape].concat())
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

/// The first output as rows.
fn logits(output: &Tensor) -> Result<Array2<f32>> {
    let rows = output.flatten_from(1).and_then(|rows| Ok((rows.dims2()?, rows.flatten_all()?.to_vec1::<f32>()?)));
    let (dim, values) = rows.map_err(failed)?;
    Array2::from_shape_vec(dim, values).map_err(|e| Error::Engine(e.to_string()))
}
