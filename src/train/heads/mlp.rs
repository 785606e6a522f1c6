//! A small multi-layer perceptron: one hidden layer of ReLUs, trained by AdamW on minibatches and ended early.

use super::super::LinearHead;
use super::super::folds::count;
use super::super::loss::one_hot;
use super::super::optimizer::{Optimizer, OptimizerKind, Setting};
use super::super::softmax::failed;
use super::Kind;
use super::basis::Basis;
use super::candidates::{Candidate, Judge};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::random;
use crate::tensor::{DType, Device, Precision, Result as Made, Tensor};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Of the hidden layer.
const UNITS: usize = 64;
/// Images of a step.
const BATCH: usize = 64;
const LEARNING_RATE: f64 = 1e-3;
const WEIGHT_DECAY: f64 = 0.05;
/// Steps on all images after which the heads of a cross-validation are judged for the first time, then each time after twice as
/// many: training that ends early is what a penalty is elsewhere.
const FIRST: usize = 32;
/// Judgements at most.
const JUDGEMENTS: u32 = 8;
/// The judgement whose epochs are taken where there can be none.
const FEW: u32 = 2;
/// Steps between two words to the caller.
const PART: usize = 64;

/// The epochs after which heads on so many images are judged the `number`th time.
fn epochs(images: usize, number: u32) -> f64 {
    ((FIRST << number) * BATCH) as f64 / images as f64
}

/// One on its way. Its features are standardised ones, all of them: AdamW, unlike a penalty, is not the same on a rotated basis.
pub(super) struct Mlp<'a> {
    rows: ArrayView2<'a, f32>,
    labels: &'a [usize],
    /// The images that it learns from, in the epoch's order.
    order: Vec<usize>,
    seed: u64,
    taken: usize,
    /// Hidden weight `[units, features]` and bias, weight `[classes, units]` and bias.
    parameters: Vec<Tensor>,
    optimizer: Optimizer,
}

impl<'a> Mlp<'a> {
    /// Untrained, to learn from the images at `places`.
    fn new(
        basis: &'a Basis,
        (labels, classes): (&'a [usize], usize),
        places: Vec<usize>,
        (seed, device): (u64, &Device),
    ) -> Result<Mlp<'a>> {
        let rows = basis.standardised();
        let drawn = |number: u64, [to, from]: [usize; 2], gain: f64| {
            let mut stream = random::stream(seed, "mlp", 0, number);
            let deviation = (gain / from as f64).sqrt();
            let values: Vec<f32> = (0..to * from).map(|_| (deviation * random::normal(&mut stream)) as f32).collect();
            Tensor::from_vec(values, (to, from), device).map_err(failed)
        };
        let zeros = |size: usize| Tensor::zeros(size, DType::F32, device).map_err(failed);
        // He et al. 2015 (arXiv 1502.01852) before the ReLUs.
        let hidden = drawn(0, [UNITS, rows.ncols()], 2.)?;
        let parameters = vec![hidden, zeros(UNITS)?, drawn(1, [classes, UNITS], 1.)?, zeros(classes)?];
        let kind = OptimizerKind::AdamW { betas: (0.9, 0.999), eps: 1e-8 };
        let settings = parameters.iter().map(Setting::usual).collect();
        let optimizer = Optimizer::new(kind, WEIGHT_DECAY, &parameters, settings)?;
        Ok(Mlp { rows, labels, order: places, seed, taken: 0, parameters, optimizer })
    }

    /// One that learnt from the images at `places` of a basis, with these labels of so many classes, for so many epochs; `place` is the
    /// seed and the device.
    pub(super) fn trained(
        basis: &'a Basis,
        (labels, classes): (&'a [usize], usize),
        places: Vec<usize>,
        place: (u64, &Device),
        epochs: Option<f64>,
        progress: Progress,
    ) -> Result<Mlp<'a>> {
        let epochs = epochs.unwrap_or_else(|| self::epochs(places.len(), FEW));
        let mut mlp = Mlp::new(basis, (labels, classes), places, place)?;
        let steps = mlp.steps(epochs);
        while !mlp.train(steps)? {
            emit(progress, Event::Advance(0))?;
        }
        Ok(mlp)
    }

    /// Steps of so many epochs.
    fn steps(&self, epochs: f64) -> usize {
        ((epochs * self.order.len() as f64 / BATCH as f64).round() as usize).max(1)
    }

    /// Goes on to so many steps, [`PART`] at most; answers whether it is there.
    fn train(&mut self, steps: usize) -> Result<bool> {
        let size = BATCH.min(self.order.len());
        let by_epoch = self.order.len() / size;
        for step in self.taken..steps.min(self.taken + PART) {
            let (epoch, batch) = (step / by_epoch, step % by_epoch);
            if batch == 0 {
                let mut stream = random::stream(self.seed, "mlp", 1, epoch as u64);
                (1..self.order.len()).rev().for_each(|i| self.order.swap(i, random::below(&mut stream, i + 1)));
            }
            let places = self.order[batch * size..(batch + 1) * size].to_vec();
            let grads = Precision::default().during(|| self.gradients(&places)).map_err(failed)?;
            self.optimizer.step(&self.parameters, &grads, LEARNING_RATE)?;
            self.taken = step + 1;
        }
        Ok(self.taken >= steps)
    }

    fn device(&self) -> &Device {
        self.parameters[0].device()
    }

    fn batch(&self, places: &[usize]) -> Made<Tensor> {
        let rows = self.rows.select(Axis(0), places);
        Tensor::from_vec(rows.into_iter().collect::<Vec<f32>>(), (places.len(), self.rows.ncols()), self.device())
    }

    /// The hidden layer's values and the scores.
    fn forward(&self, x: &Tensor) -> Made<[Tensor; 2]> {
        let [w, b, v, c] = &self.parameters[..] else { unreachable!("two layers") };
        let hidden = x.matmul(&w.t()?)?.broadcast_add(b)?.relu()?;
        let scores = hidden.matmul(&v.t()?)?.broadcast_add(c)?;
        Ok([hidden, scores])
    }

    /// Of the mean cross-entropy of these images.
    fn gradients(&self, places: &[usize]) -> Made<Vec<Option<Tensor>>> {
        let x = self.batch(places)?;
        let [hidden, scores] = self.forward(&x)?;
        let own: Vec<usize> = places.iter().map(|&i| self.labels[i]).collect();
        let own = one_hot(&own, scores.dim(1)?);
        let own = Tensor::from_vec(own.iter().copied().collect::<Vec<f32>>(), own.dim(), self.device())?;
        // softmax − onehot
        let exps = scores.broadcast_sub(&scores.max_keepdim(1)?)?.exp()?;
        let residual = exps.broadcast_div(&exps.sum_keepdim(vec![1])?)?;
        let residual = (residual - own)?.affine(1. / places.len() as f64, 0.)?;
        let by_hidden = (residual.matmul(&self.parameters[2])? * hidden.gt(0f64)?.to_dtype(DType::F32)?)?;
        let sums = |rows: &Tensor| rows.sum_keepdim(vec![0])?.flatten_all();
        Ok([by_hidden.t()?.matmul(&x)?, sums(&by_hidden)?, residual.t()?.matmul(&hidden)?, sums(&residual)?]
            .map(Some)
            .into())
    }

    /// The scores of images: `[images, classes]`.
    pub(super) fn logits(&self, places: &[usize]) -> Result<Array2<f32>> {
        let classes = self.parameters[3].elem_count();
        let mut values = Vec::with_capacity(places.len() * classes);
        for part in places.chunks(1024) {
            let scores = Precision::default().during(|| self.forward(&self.batch(part)?)).map_err(failed)?;
            values.extend(scores[1].flatten_all().and_then(|z| z.to_vec1::<f32>()).map_err(failed)?);
        }
        match values.iter().all(|value| value.is_finite()) {
            true => Array2::from_shape_vec((places.len(), classes), values).map_err(failed),
            false => Err(Error::Train("the perceptron's scores are not finite".into())),
        }
    }

    /// The hidden layer on standardised features, and the last.
    pub(super) fn layers(&self) -> Result<[LinearHead; 2]> {
        let layer = |weight: &Tensor, bias: &Tensor| {
            let values = weight.flatten_all().and_then(|w| w.to_vec1()).map_err(failed)?;
            let weight = Array2::from_shape_vec(weight.dims2().map_err(failed)?, values).map_err(failed)?;
            Ok(LinearHead { weight, bias: Array1::from(bias.to_vec1().map_err(failed)?) })
        };
        let [w, b, v, c] = &self.parameters[..] else { unreachable!("two layers") };
        Ok([layer(w, b)?, layer(v, c)?])
    }
}

/// Perceptrons of a cross-validation's folds, and the images that each is judged by.
type Folds<'a> = Vec<(Mlp<'a>, Vec<usize>)>;

impl Judge<'_> {
    /// Perceptrons on a basis, after the epochs at which the log-loss of the first deal is the lowest.
    pub(super) fn perceptrons(
        &self,
        basis: &Basis,
        taps: usize,
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<Vec<Candidate>> {
        let images = self.labels.len();
        let mut folds = self.folds(basis, &self.deals[0])?;
        let mut best = (f64::INFINITY, 0., Array2::zeros((0, 0)));
        for number in 0..JUDGEMENTS {
            let epochs = epochs(images, number);
            // The first time there is nothing else to take.
            let goes_on = || number == 0 || in_time();
            let Some(logits) = self.advanced(&mut folds, epochs, &goes_on, progress)? else { break };
            let loss = self.loss(&logits);
            // What has once learnt too much will not learn better.
            if loss >= best.0 {
                break;
            }
            best = (loss, epochs, logits);
        }
        let (_, epochs, first) = best;
        let mut logits = vec![first];
        for fold in self.deals[1..].iter().take_while(|_| in_time()) {
            let Some(next) = self.advanced(&mut self.folds(basis, fold)?, epochs, in_time, progress)? else { break };
            logits.push(next);
        }
        let adjusted = self.adjusted(&logits);
        Ok(self.candidates((Kind::Mlp, false), basis, (taps, Some(epochs)), logits, adjusted))
    }

    fn folds<'a>(&'a self, basis: &'a Basis, fold: &[usize]) -> Result<Folds<'a>> {
        let folds = (0..count(fold)).map(|f| {
            let (held, own) = (0..fold.len()).partition(|&i| fold[i] == f);
            Ok((Mlp::new(basis, (self.labels, self.classes), own, (self.seed, self.device))?, held))
        });
        folds.collect()
    }

    /// The logits of all images, `[images, classes]`, once each fold's perceptron has come to so many epochs; `None` where time is
    /// up before.
    fn advanced(
        &self,
        folds: &mut Folds,
        epochs: f64,
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<Option<Array2<f32>>> {
        let part = |(mlp, _): &mut (Mlp, Vec<usize>)| mlp.train(mlp.steps(epochs));
        while !folds.par_iter_mut().map(part).collect::<Result<Vec<bool>>>()?.into_iter().all(|done| done) {
            emit(progress, Event::Advance(0))?;
            if !in_time() {
                return Ok(None);
            }
        }
        let mut logits = Array2::zeros((self.labels.len(), self.classes));
        for (mlp, held) in folds {
            let found = mlp.logits(held)?;
            held.iter().zip(found.rows()).for_each(|(&i, row)| logits.row_mut(i).assign(&row));
        }
        Ok(Some(logits))
    }
}
