//! Optimizers that change the parameters where they lie: one pass over parameter, gradient and state.

mod clip;
mod update;

use crate::error::{Error, Result};
use crate::tensor::{DType, Device, Tensor};
pub use clip::clip_grad_norm;
use std::collections::HashMap;
use update::{Moments, Rule, Step};

/// Which optimizer, with its settings, as PyTorch's `torch.optim` defines them. The learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptimizerKind {
    /// v ← μ·v + g; θ ← θ − lr·v, or with Nesterov θ − lr·(g + μ·v), where g includes λ·θ.
    Sgd {
        /// μ.
        momentum: f64,
        /// Whether the step looks ahead.
        nesterov: bool,
    },
    /// m and v average g and g²; θ ← θ − lr·m̂/(√v̂ + ε) (arXiv 1412.6980), where g includes λ·θ.
    Adam {
        /// How much of m and of v is kept a step.
        betas: (f64, f64),
        /// ε.
        eps: f64,
    },
    /// The same with decay apart from the gradient: θ ← θ − lr·λ·θ first (arXiv 1711.05101).
    AdamW {
        /// How much of m and of v is kept a step.
        betas: (f64, f64),
        /// ε.
        eps: f64,
    },
}

impl OptimizerKind {
    /// What the state's tensors are called: PyTorch's names. Without momentum SGD has none.
    fn slots(self) -> &'static [&'static str] {
        match self {
            OptimizerKind::Sgd { momentum: 0.0, .. } => &[],
            OptimizerKind::Sgd { .. } => &["momentum_buffer"],
            _ => &["exp_avg", "exp_avg_sq"],
        }
    }

    fn rule(self, lr: f64, decay: f64, step: i64) -> Rule {
        match self {
            OptimizerKind::Sgd { momentum, nesterov } => Rule::sgd(lr, decay, momentum, nesterov),
            OptimizerKind::Adam { betas, eps } => Rule::adam(lr, decay, betas, eps, step, false),
            OptimizerKind::AdamW { betas, eps } => Rule::adam(lr, decay, betas, eps, step, true),
        }
    }
}

/// What holds for one parameter alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The share of the learning rate that it gets.
    pub lr_scale: f64,
    /// Whether weight decay applies: not to biases and the scales of norms.
    pub decays: bool,
}

impl Setting {
    /// The whole rate; decay unless the parameter is long on one axis at most, which is how biases and scales are told.
    pub fn usual(parameter: &Tensor) -> Self {
        Self { lr_scale: 1.0, decays: parameter.dims().iter().filter(|dim| **dim > 1).count() > 1 }
    }
}

/// An optimizer and its state. A parameter's place in the list is its identity.
pub struct Optimizer {
    kind: OptimizerKind,
    weight_decay: f64,
    settings: Vec<Setting>,
    states: Vec<State>,
}

struct State {
    /// Steps that the parameter was part of: Adam's averages start at 0 and are corrected for it.
    steps: i64,
    moments: Moments,
}

pub(super) fn failed(e: candle_core::Error) -> Error {
    Error::Train(e.to_string())
}

impl Optimizer {
    /// For these parameters, each with its setting.
    ///
    /// # Errors
    /// [`Error::Train`] for a parameter that is not contiguous, or a number of settings that is not theirs.
    pub fn new(
        kind: OptimizerKind,
        weight_decay: f64,
        parameters: &[Tensor],
        settings: Vec<Setting>,
    ) -> Result<Optimizer> {
        same_length("settings", settings.len(), parameters.len())?;
        let state = |parameter: &Tensor| {
            if !parameter.is_contiguous() {
                return Err(Error::Train("an optimizer takes contiguous parameters alone".into()));
            }
            let moments = Moments::new(parameter, kind.slots().len()).map_err(failed)?;
            Ok(State { steps: 0, moments })
        };
        let states = parameters.iter().map(state).collect::<Result<_>>()?;
        Ok(Optimizer { kind, weight_decay, settings, states })
    }

    /// One step of rate `lr` down the gradients, in place. A parameter without a gradient, and its state, stay as they are.
    ///
    /// # Errors
    /// [`Error::Train`] for lists or shapes that are not those of the optimizer's parameters.
    pub fn step(&mut self, parameters: &[Tensor], grads: &[Option<Tensor>], lr: f64) -> Result<()> {
        same_length("parameters", parameters.len(), self.states.len())?;
        same_length("gradients", grads.len(), self.states.len())?;
        let Optimizer { kind, weight_decay, settings, states } = self;
        for ((parameter, grad), (setting, state)) in parameters.iter().zip(grads).zip(settings.iter().zip(states)) {
            let Some(grad) = grad else { continue };
            if grad.dims() != parameter.dims() {
                let what = format!("a gradient of {:?} for a parameter of {:?}", grad.dims(), parameter.dims());
                return Err(Error::Train(what));
            }
            let decay = if setting.decays { *weight_decay } else { 0.0 };
            let rule = kind.rule(lr * setting.lr_scale, decay, state.steps + 1);
            Step { rule, moments: &mut state.moments }.apply(parameter, grad).map_err(failed)?;
            state.steps += 1;
        }
        Ok(())
    }

    /// The state as tensors: `NAME.step`, and `NAME.exp_avg`, `NAME.exp_avg_sq` or `NAME.momentum_buffer`, by the names of
    /// the parameters. Put back by [`Optimizer::load_state`], the next steps give the same bits.
    ///
    /// # Errors
    /// [`Error::Train`] when there is not a name for each parameter.
    pub fn state(&self, names: &[String]) -> Result<HashMap<String, Tensor>> {
        same_length("names", names.len(), self.states.len())?;
        let mut tensors = HashMap::new();
        for (name, state) in names.iter().zip(&self.states) {
            tensors.insert(format!("{name}.step"), Tensor::new(state.steps, &Device::Cpu).map_err(failed)?);
            let moments = state.moments.tensors().map_err(failed)?;
            tensors.extend(self.kind.slots().iter().zip(moments).map(|(slot, t)| (format!("{name}.{slot}"), t)));
        }
        Ok(tensors)
    }

    /// Takes what [`Optimizer::state`] gave, perhaps among other tensors.
    ///
    /// # Errors
    /// [`Error::Train`] naming a tensor that is missing or of another shape or type; the state is as before then.
    pub fn load_state(&mut self, names: &[String], tensors: &HashMap<String, Tensor>) -> Result<()> {
        same_length("names", names.len(), self.states.len())?;
        let mut loaded = Vec::new();
        for (name, state) in names.iter().zip(&self.states) {
            let steps = find(tensors, format!("{name}.step"), &[], DType::I64)?.to_scalar().map_err(failed)?;
            let (shape, dtype) = (state.moments.shape(), state.moments.dtype());
            let slot = |slot: &&str| find(tensors, format!("{name}.{slot}"), shape, dtype);
            let slots = self.kind.slots().iter().map(slot).collect::<Result<Vec<_>>>()?;
            loaded.push(State { steps, moments: state.moments.with(&slots).map_err(failed)? });
        }
        self.states = loaded;
        Ok(())
    }
}

/// A checkpoint's tensor, which may come from a stranger.
pub(super) fn find<'a>(
    tensors: &'a HashMap<String, Tensor>,
    name: String,
    shape: &[usize],
    dtype: DType,
) -> Result<&'a Tensor> {
    match tensors.get(&name) {
        Some(t) if t.dims() == shape && t.dtype() == dtype => Ok(t),
        Some(t) => {
            let (dims, found) = (t.dims(), t.dtype());
            Err(Error::Train(format!("the checkpoint's {name} is {found:?} {dims:?}, not {dtype:?} {shape:?}")))
        }
        None => Err(Error::Train(format!("the checkpoint has no tensor {name}"))),
    }
}

pub(super) fn same_length(what: &str, given: usize, own: usize) -> Result<()> {
    let text = || Error::Train(format!("{given} {what} for {own} parameters"));
    (given == own).then_some(()).ok_or_else(text)
}
