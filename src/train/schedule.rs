//! How the learning rate moves from step to step.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The share of steps in which [`Schedule::OneCycle`] rises.
const RISE: f64 = 0.3;
/// The peak over the first rate.
const START: f64 = 25.0;
/// The first rate over the last.
const END: f64 = 1e4;

/// The form of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Schedule {
    /// The same at every step.
    #[value(help = "The same at every step")]
    Constant,
    /// (1 + cos(π·t))/2 at the share t of the steps: PyTorch's `CosineAnnealingLR` down to 0 (arXiv 1608.03983).
    #[value(help = "Falls to 0 along a cosine")]
    Cosine,
    /// From 1/25 up to 1 in three tenths of the steps and down to 1/250000, along cosines: PyTorch's `OneCycleLR` (arXiv
    /// 1708.07120), whose momentum stays as it is. It is its own warm-up.
    #[value(help = "Rises for three tenths of the steps, then falls")]
    OneCycle,
}

impl Schedule {
    /// What the learning rate is multiplied by at `step` of `total`, counted from 0. Before constant and cosine it rises
    /// through `warmup` steps, i/(warmup + 1) in the i-th: PyTorch's `LinearLR` from 1/(warmup + 1), then the schedule on
    /// what is left. Steps past the last are as the last.
    pub fn factor(self, step: usize, total: usize, warmup: usize) -> f64 {
        let total = total.max(1);
        let step = step.min(total - 1);
        if self == Schedule::OneCycle {
            return one_cycle(step as f64, total as f64);
        }
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        match self {
            Schedule::Cosine => (1.0 + (PI * (step - warmup) as f64 / (total - warmup) as f64).cos()) / 2.0,
            _ => 1.0,
        }
    }
}

fn one_cycle(step: f64, total: f64) -> f64 {
    let between = |from: f64, to: f64, share: f64| to + (from - to) * (1.0 + (PI * share).cos()) / 2.0;
    let peak = RISE * total - 1.0;
    if step <= peak {
        between(1.0 / START, 1.0, step / peak)
    } else {
        between(1.0, 1.0 / START / END, (step - peak) / (total - 1.0 - peak))
    }
}
