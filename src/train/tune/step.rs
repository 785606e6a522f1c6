//! One step of training: its batch, its gradients, and what it changes.

use super::feed::{self, Change};
use super::network::{Given, Network};
use super::{Standing, Tuning, failed};
use crate::data::Layout;
use crate::data::augment::Augment;
use crate::error::{Error, Result};
use crate::graph::Wanted;
use crate::tensor::Tensor;
use crate::train::ema::Ema;
use crate::train::loss::{Loss, balanced_weights};
use crate::train::mix::{BatchPlace, BatchShape, Mix};
use crate::train::optimizer::{Optimizer, Setting, clip_grad_norm};
use ndarray::Array2;

/// After so many steps at most a GPU is asked what they gave.
const READ: u64 = 32;

/// All that changes while training goes on.
pub(super) struct State<'a> {
    pub(super) standing: Standing,
    /// What steps gave that the standing does not know yet: asking a GPU would keep it waiting.
    pub(super) given: Given,
    pub(super) network: Network<'a>,
    /// The names of what changes: the trained parameters, behind them the statistics that follow the images.
    pub(super) names: Vec<String>,
    /// Their places among the program's parameters.
    pub(super) places: Vec<usize>,
    /// The same tensors that the network holds: they are changed in place.
    pub(super) changing: Vec<Tensor>,
    /// How many of them are trained.
    pub(super) trained: usize,
    pub(super) loss: Loss,
    pub(super) optimizer: Optimizer,
    pub(super) ema: Option<Ema>,
    /// The weights of the best epoch; without validation, the last that an epoch began with and that were seen to work.
    pub(super) best: Option<Vec<Tensor>>,
}

/// The order of an epoch's images, which all of its steps share.
#[derive(Default)]
pub(super) struct Order {
    epoch: u64,
    places: Vec<usize>,
}

/// A loaded batch: on the device already, so that a GPU has the next ones before it is done with one.
pub(super) struct Batch {
    pub(super) input: Tensor,
    pub(super) targets: Array2<f32>,
}

impl Tuning<'_> {
    pub(super) fn begin(&self) -> Result<State<'_>> {
        let (program, s) = (self.training.unwrap_or(self.program), self.settings);
        let depths = || program.parameters().iter().map(|parameter| self.depths.get(&parameter.name));
        let wanted = Wanted { parameters: depths().map(|depth| depth.is_some()).collect(), input: false };
        let mut network = Network::new(program, &self.start, wanted)?;
        network.precision = s.precision;
        let (mut places, mut rules) = (Vec::new(), Vec::new());
        for (place, (tensor, depth)) in network.parameters.iter().zip(depths()).enumerate() {
            if let Some(&depth) = depth {
                let usual = Setting::usual(tensor);
                // A head of one target has one row, and is no bias.
                let matrix = tensor.rank() == 2 && self.start.contains_key(&program.parameters()[place].name);
                let lr_scale = s.layer_decay.powi(depth as i32);
                rules.push(Setting { lr_scale, decays: usual.decays || matrix });
                places.push(place);
            }
        }
        let trained = places.len();
        for (_, place) in program.followed() {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let names = places.iter().map(|&place| program.parameters()[place].name.clone()).collect();
        let changing: Vec<Tensor> = places.iter().map(|&place| network.parameters[place].clone()).collect();
        let own = &changing[..trained];
        let optimizer = Optimizer::new(s.optimizer.kind(s.momentum), s.weight_decay, own, rules)?;
        let ema = (s.ema > 0.).then(|| Ema::new(&changing, s.ema)).transpose()?;
        let (standing, given) = (Standing::default(), Given::default());
        let loss = self.loss();
        Ok(State { standing, given, network, names, places, changing, trained, loss, optimizer, ema, best: None })
    }

    /// The batch of a step.
    pub(super) fn load(&self, network: &Network, step: u64, order: &mut Order) -> Result<Batch> {
        let settings = self.settings;
        let by_epoch = settings.by_epoch(self.train.images());
        let (epoch, batch) = (step / by_epoch, step % by_epoch);
        if order.places.is_empty() || order.epoch != epoch {
            *order = Order { epoch, places: feed::order(self.train.images(), settings.seed, epoch) };
        }
        let places = if self.training.is_some() {
            // Of one size, or nearly: the statistics of a few images that are left over mean little.
            let bound = |batch: u64| (batch * order.places.len() as u64 / by_epoch) as usize;
            &order.places[bound(batch)..bound(batch + 1)]
        } else {
            order.places.chunks(settings.batch_size).nth(batch as usize).unwrap_or_default()
        };
        let augment = Augment { level: settings.augment, hflip: settings.hflip, vflip: settings.vflip };
        let mut values = self.train.load(places, Change { augment, seed: settings.seed, epoch })?;
        let labels: Vec<usize> = places.iter().map(|&place| self.train.labels[place]).collect();
        let mut targets = self.targets.of(&labels);
        let mix = Mix { mixup: settings.mixup, cutmix: settings.cutmix };
        let shape = self.batch_shape(places.len());
        mix.apply(&mut values, shape, &mut targets, BatchPlace { seed: settings.seed, epoch, batch })?;
        Ok(Batch { input: network.input(values, places.len(), self.train.shape)?, targets })
    }

    /// Features that are no maps are mixed as maps of one row.
    fn batch_shape(&self, images: usize) -> BatchShape {
        // Maps inside a network have their channels first, whatever the image has.
        let image = self.train.preprocessing.shape(1, self.train.layout)[1..] == *self.train.shape;
        let channels_last = image && self.train.layout == Layout::Nhwc;
        let (channels, height, width) = match *self.train.shape {
            [channels, height, width] if !channels_last => (channels, height, width),
            [height, width, channels] => (channels, height, width),
            ref other => (1, 1, other.iter().product()),
        };
        BatchShape { images, channels, height, width, channels_last }
    }

    fn loss(&self) -> Loss {
        let weights = || balanced_weights(self.train.labels.iter().copied(), self.targets.count());
        let class_weights = self.settings.balanced.then(weights);
        Loss { kind: self.settings.loss, label_smoothing: self.settings.label_smoothing, class_weights }
    }

    /// What to tell where values of a step are not finite.
    pub(super) fn diverged(&self, step: u64, what: &str) -> String {
        let clip = if self.settings.clip_grad > 0. { "" } else { ", or set --clip-grad" };
        format!("step {step}: {what} not finite; lower --lr (it is {:e}){clip}", self.settings.lr)
    }

    /// The same, where the loss is not: its weights may be the reason.
    pub(super) fn broken(&self, state: &State, step: u64) -> String {
        let what = state.network.broken().map_or("the logits are".into(), |name| format!("'{name}' is"));
        self.diverged(step, &what)
    }

    /// One step; why training cannot go on, where it cannot.
    pub(super) fn step(&self, state: &mut State, batch: &Batch) -> Result<Option<String>> {
        let settings = self.settings;
        let step = state.standing.step + 1;
        let found = state.network.gradients(&batch.input, batch.targets.view(), &state.loss);
        let (given, mut grads) = match found {
            Ok(found) => found,
            Err(Error::Train(_)) => return Ok(Some(self.broken(state, step))),
            Err(error) => return Err(error),
        };
        state.given.add(given);
        // Without validation: the weights that work so far, should a later step fail.
        let begins = state.standing.step.is_multiple_of(settings.by_epoch(self.train.images()));
        let may_keep = self.val.images() == 0 && begins && self.is_lowest(&state.standing);
        let due = may_keep
            || step.is_multiple_of(READ)
            || step.is_multiple_of(settings.by_epoch(self.train.images()))
            || step == settings.steps
            || state.network.program.device().is_cpu();
        if due && !state.read()? {
            return Ok(Some(self.broken(state, step)));
        }
        // The epoch's mean was of the steps before, the last of which may have spoilt what it left.
        if may_keep && (step == 1 || state.standing.tally.mean_loss() <= self.most()) {
            state.keep()?;
        }
        let mut wanted = state.network.wanted.parameters.iter();
        grads.retain(|_| wanted.next() == Some(&true));
        let norm = if settings.clip_grad > 0. { clip_grad_norm(&mut grads, settings.clip_grad)? } else { None };
        // On a GPU the weights would not be finite either, which is told when they next are read.
        if norm.is_some_and(|norm| !norm.is_finite()) {
            let sound = |grad: &Option<Tensor>| grad.as_ref().is_none_or(is_finite);
            let name = grads.iter().position(|grad| !sound(grad)).and_then(|place| state.names.get(place));
            // Each may be finite, and all together not.
            let what = name.map_or("the gradient's norm is".into(), |name| format!("the gradient of '{name}' is"));
            return Ok(Some(self.diverged(step, &what)));
        }
        let lr = settings.lr_at(state.standing.step);
        let trained = &state.changing[..state.trained];
        state.optimizer.step(trained, &grads, lr)?;
        if let Some(ema) = &mut state.ema {
            ema.update(&state.changing)?;
        }
        state.standing.step = step;
        Ok(None)
    }
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).is_ok_and(|values| values.iter().all(|v| v.is_finite()))
}

impl State<'_> {
    /// The weights that are validated and exported.
    pub(super) fn current(&self) -> impl Iterator<Item = &Tensor> {
        self.ema.as_ref().map_or(&self.changing[..], |ema| ema.average()).iter()
    }

    /// Tells the standing what steps gave; whether all of it is finite.
    pub(super) fn read(&mut self) -> Result<bool> {
        std::mem::take(&mut self.given).read(&mut self.standing.tally)?;
        Ok(self.standing.tally.loss.is_finite())
    }

    /// Keeps them as the best.
    pub(super) fn keep(&mut self) -> Result<()> {
        let copies = self.current().map(Tensor::copy).collect::<candle_core::Result<_>>();
        self.best = Some(copies.map_err(failed)?);
        Ok(())
    }
}
