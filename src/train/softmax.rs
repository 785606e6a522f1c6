//! Softmax regression, and logistic regression of several labels, by L-BFGS, for several models over the same rows at once.
//!
//! Minimises mean cross-entropy + l2/2 · ‖W‖² (the bias is free). Its gradient is (softmax − onehot)ᵀX/n + l2·W, and with
//! sigmoids, whose cross-entropies are added over the labels, (sigmoid − labels)ᵀX/n + l2·W: each label's own regression. The
//! two matrix products run on a device in `f32`, all else here; logits are kept in `f64` and moved along the direction, so
//! that a line search costs no product and its loss does not stall on `f32` rounding.

use super::lbfgs::{History, Line, add, dot, search};
use super::loss::balanced_weights;
pub(super) use super::row::Truth;
use super::row::{biases, sigmoid_row, softmax_row};
use crate::error::{Error, Result};
use crate::tensor::{Device, Precision, Result as Made, Tensor};
use rayon::prelude::*;
use std::fmt::Display;

/// Rows whose losses are summed together; fixed, so that the result does not depend on the number of threads.
const CHUNK: usize = 256;

/// The rows that all models share, standardised.
pub(super) struct Rows<'a> {
    x: Tensor,
    pub(super) truth: Truth<'a>,
    pub(super) features: usize,
    pub(super) classes: usize,
    /// Whether each class has the same weight in all, however many rows it has.
    pub(super) balanced: bool,
    /// How many logits models that are solved together may have.
    pub(super) together: usize,
}

/// One model on its way to the optimum. Parameters are W row by row, then the bias.
pub(super) struct Model {
    /// The rows it learns from.
    trains: Vec<bool>,
    /// Of the classes; none where each row counts alike.
    weights: Vec<f64>,
    pub(super) count: f64,
    l2: f64,
    pub(super) parameters: Vec<f32>,
    pub(super) gradient: Vec<f32>,
    pub(super) direction: Vec<f32>,
    pub(super) history: History,
    /// Of all rows, learnt from or not: [images, classes]; nothing before it is solved, and where they were given back.
    pub(super) logits: Vec<f64>,
    /// softmax − onehot, or sigmoid − labels; 0 in the rows not learnt from.
    pub(super) residual: Vec<f32>,
    pub(super) loss: f64,
    pub(super) iterations: usize,
    active: bool,
}

/// What a device refuses is no property of the images, which [`Error::Train`] stands for.
pub(super) fn failed(e: impl Display) -> Error {
    Error::Engine(format!("training a head: {e}; --device cpu needs no room on a GPU"))
}

/// The product of two matrices, not rounded whatever else this thread computes with, row by row.
fn product(a: &Tensor, b: &Tensor) -> Made<Vec<f32>> {
    Precision::default().during(|| a.matmul(b))?.flatten_all()?.to_vec1()
}

impl<'a> Rows<'a> {
    /// `x`: [images, features] row by row; where the device has no room for them they stay on the processor.
    pub(super) fn new(x: Vec<f32>, truth: Truth<'a>, classes: usize, device: &Device) -> Result<Self> {
        let features = x.len() / truth.len().max(1);
        let x = Tensor::from_vec(x, (truth.len(), features), &Device::Cpu).map_err(failed)?;
        let x = x.to_device(device).unwrap_or(x);
        Ok(Self { x, truth, features, classes, balanced: false, together: super::path::MOST_TOGETHER })
    }

    /// X·Wᵀ of stacked weights [m·classes, features]: [images, m·classes].
    fn forward(&self, weights: Vec<f32>) -> Result<Vec<f32>> {
        let rows = weights.len() / self.features;
        Tensor::from_vec(weights, (rows, self.features), self.x.device())
            .and_then(|w| product(&self.x, &w.t()?))
            .map_err(failed)
    }

    /// RᵀX of stacked residuals [images, m·classes]: [m·classes, features].
    fn backward(&self, residuals: Vec<f32>) -> Result<Vec<f32>> {
        let columns = residuals.len() / self.truth.len();
        Tensor::from_vec(residuals, (self.truth.len(), columns), self.x.device())
            .and_then(|r| product(&r.t()?, &self.x))
            .map_err(failed)
    }

    /// A model at 0 that learns from the rows marked. Labels' biases begin where they give the labels' shares: where weights are
    /// held tightly, the search takes all steps for as small as those of weights, and would end before biases are anywhere.
    pub(super) fn model(&self, trains: Vec<bool>) -> Model {
        let mut parameters = vec![0.0; self.classes * (self.features + 1)];
        if let Truth::Labels(rows) = self.truth {
            parameters[self.classes * self.features..].copy_from_slice(&biases(rows, &trains));
        }
        let weights = match self.truth {
            Truth::Classes(labels) if self.balanced => {
                let own = labels.iter().zip(&trains).filter(|(_, trains)| **trains).map(|(&label, _)| label);
                balanced_weights(own, self.classes)
            }
            _ => Vec::new(),
        };
        Model {
            weights,
            count: trains.iter().filter(|&&t| t).count() as f64,
            trains,
            l2: 0.0,
            parameters,
            gradient: Vec::new(),
            direction: Vec::new(),
            history: History::default(),
            logits: Vec::new(),
            residual: Vec::new(),
            loss: 0.0,
            iterations: 0,
            active: true,
        }
    }

    /// Loss and gradient of `model` at its parameters, afresh.
    pub(super) fn evaluate(&self, model: &mut Model, l2: f64) -> Result<()> {
        self.restore(model)?;
        (model.l2, model.active) = (l2, true);
        let slopes = vec![0.0; model.logits.len()];
        let weights = &model.parameters[..self.classes * self.features];
        let penalty = 0.5 * l2 * dot(weights, weights);
        model.loss = self.along(model, &slopes, 0.0).value + penalty;
        model.gradient = self.gradient(model, &self.backward(model.residual.clone())?);
        Ok(())
    }

    /// Logits of `model` at its parameters, afresh, and room for its residual.
    fn restore(&self, model: &mut Model) -> Result<()> {
        let (weights, bias) = model.parameters.split_at(self.classes * self.features);
        let z = self.forward(weights.to_vec())?;
        model.logits = z.iter().zip(bias.iter().cycle()).map(|(&z, &b)| f64::from(z) + f64::from(b)).collect();
        model.residual = vec![0.0; z.len()];
        Ok(())
    }

    /// Cross-entropy at logits + length·slopes, and its derivatives by length; leaves the residual there in the model.
    fn along(&self, model: &mut Model, slopes: &[f32], length: f64) -> Line {
        let (k, size) = (self.classes, CHUNK * self.classes);
        let Model { logits, residual, trains, weights, count, .. } = model;
        let parts: Vec<[f64; 3]> = (logits.par_chunks(size).zip(slopes.par_chunks(size)))
            .zip(residual.par_chunks_mut(size))
            .zip(trains.par_chunks(CHUNK))
            .enumerate()
            .map(|(chunk, (((logits, slopes), residual), trains))| {
                let (mut sums, mut exps) = ([0.0; 3], vec![0f64; k]);
                for i in (0..trains.len()).filter(|&i| trains[i]) {
                    let row = i * k..(i + 1) * k;
                    let (logits, slopes, residual) = (&logits[row.clone()], &slopes[row.clone()], &mut residual[row]);
                    let part = match self.truth {
                        Truth::Classes(labels) => {
                            let label = labels[chunk * CHUNK + i];
                            let part = softmax_row(logits, slopes, length, label, &mut exps, residual);
                            let weight = weights.get(label).copied().unwrap_or(1.);
                            residual.iter_mut().for_each(|r| *r *= weight as f32);
                            part.map(|value| weight * value)
                        }
                        Truth::Labels(rows) => {
                            sigmoid_row(logits, slopes, length, rows.row(chunk * CHUNK + i), residual)
                        }
                    };
                    sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
                sums
            })
            .collect();
        let sum = |j: usize| parts.iter().map(|part| part[j]).sum::<f64>() / *count;
        Line { value: sum(0), slope: sum(1), curvature: sum(2) }
    }

    /// The gradient from RᵀX [classes, features].
    fn gradient(&self, model: &Model, product: &[f32]) -> Vec<f32> {
        let mut bias = vec![0f64; self.classes];
        for row in model.residual.chunks_exact(self.classes) {
            bias.iter_mut().zip(row).for_each(|(b, &r)| *b += f64::from(r));
        }
        let (l2, scale) = (model.l2, 1.0 / model.count);
        let weights = product.iter().zip(&model.parameters).map(|(&p, &w)| f64::from(p) * scale + l2 * f64::from(w));
        weights.chain(bias.iter().map(|b| b * scale)).map(|g| g as f32).collect()
    }

    /// Sets the strength of every model, and solves them all until each one's objective is within about `tolerance`
    /// (relative) of its minimum, or for `limit` steps. `poll` is asked at every step whether to go on.
    pub(super) fn solve(
        &self,
        models: &mut [Model],
        l2: impl Fn(&Model) -> f64,
        tolerance: f64,
        limit: usize,
        poll: impl Fn() -> Result<()>,
    ) -> Result<()> {
        for model in models.iter_mut() {
            let l2 = l2(model);
            if model.iterations == 0 || model.gradient.is_empty() {
                self.evaluate(model, l2)?;
                continue;
            }
            model.strength(l2, self.classes * self.features);
            if model.logits.is_empty() {
                self.restore(model)?;
            }
        }
        for _ in 0..limit {
            poll()?;
            models.par_iter_mut().filter(|m| m.active).for_each(|model| model.aim(tolerance));
            let mut active: Vec<&mut Model> = models.iter_mut().filter(|m| m.active).collect();
            if active.is_empty() {
                return Ok(());
            }
            self.step(&mut active)?;
        }
        Ok(())
    }

    /// One step of every model given, along its direction.
    fn step(&self, models: &mut [&mut Model]) -> Result<()> {
        let (k, stacked, weights) = (self.classes, models.len() * self.classes, self.classes * self.features);
        let directions = models.iter().flat_map(|m| &m.direction[..weights]).copied().collect();
        let z = self.forward(directions)?;
        models.par_iter_mut().enumerate().for_each(|(m, model)| {
            let mut slopes = Vec::with_capacity(model.logits.len());
            for row in z.chunks_exact(stacked) {
                slopes.extend(row[m * k..(m + 1) * k].iter().zip(&model.direction[weights..]).map(|(z, b)| z + b));
            }
            self.walk(model, &slopes);
        });
        let mut residuals = vec![0f32; self.truth.len() * stacked];
        residuals.par_chunks_exact_mut(stacked).enumerate().for_each(|(i, out)| {
            for (model, out) in models.iter().zip(out.chunks_exact_mut(k)) {
                out.copy_from_slice(&model.residual[i * k..(i + 1) * k]);
            }
        });
        let products = self.backward(residuals)?;
        models.par_iter_mut().zip(products.par_chunks_exact(weights)).for_each(|(model, product)| {
            let gradient = self.gradient(model, product);
            let change = gradient.iter().zip(&model.gradient).map(|(new, old)| new - old).collect();
            model.history.push(std::mem::take(&mut model.direction), change);
            model.gradient = gradient;
        });
        Ok(())
    }

    /// Line search and move; the direction becomes the step taken.
    fn walk(&self, model: &mut Model, slopes: &[f32]) {
        let weights = self.classes * self.features;
        let (w, d) = (&model.parameters[..weights], &model.direction[..weights]);
        let [ww, wd, dd] = [dot(w, w), dot(w, d), dot(d, d)].map(|v| v * model.l2);
        let penalised = |line: Line, t: f64| Line {
            value: line.value + 0.5 * ww + t * wd + 0.5 * t * t * dd,
            slope: line.slope + wd + t * dd,
            curvature: line.curvature + dd,
        };
        let start = penalised(self.along(model, slopes, 0.0), 0.0);
        let found = search(start, |t| penalised(self.along(model, slopes, t), t));
        let length = match found {
            Some((length, line)) => {
                model.loss = line.value;
                length
            }
            None => {
                // Nothing more to be gained at this precision.
                self.along(model, slopes, 0.0);
                model.active = false;
                0.0
            }
        };
        model.logits.iter_mut().zip(slopes).for_each(|(z, &s)| *z += length * f64::from(s));
        model.direction.iter_mut().for_each(|d| *d *= length as f32);
        add(&mut model.parameters, 1.0, &model.direction);
        model.iterations += 1;
    }
}

impl Model {
    /// Changes the penalty, keeping what is known about loss, gradient and curvature.
    fn strength(&mut self, l2: f64, weights: usize) {
        let delta = l2 - self.l2;
        self.loss += 0.5 * delta * dot(&self.parameters[..weights], &self.parameters[..weights]);
        add(&mut self.gradient[..weights], delta, &self.parameters[..weights]);
        self.history.shift(delta, weights);
        (self.l2, self.active) = (l2, true);
    }

    /// Chooses the next direction, or ends: half of −gradient·direction is the gain that a quadratic model promises.
    fn aim(&mut self, tolerance: f64) {
        self.direction = self.history.direction(&self.gradient);
        let mut slope = dot(&self.gradient, &self.direction);
        if slope.is_nan() || slope >= 0.0 {
            self.history.clear();
            self.direction = self.history.direction(&self.gradient);
            slope = dot(&self.gradient, &self.direction);
        }
        let promised = !self.history.is_empty() && -0.5 * slope <= tolerance * self.loss.abs();
        self.active = slope < 0.0 && !promised;
    }
}
