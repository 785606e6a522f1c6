//! The head that suits the data: several kinds on features of growing depth, compared by cross-validation.

mod abstain;
mod attempts;
mod basis;
mod calibrate;
mod candidates;
mod choice;
mod closed;
mod comparison;
mod cosines;
mod curve;
mod depths;
mod grown;
mod judge;
mod mlp;
mod regressions;
mod ridge;
mod several;
mod shares;
mod thresholds;
mod uncompared;

use super::LinearHead;
use crate::error::Result;
use crate::tensor::Device;
pub use abstain::{Abstention, Answered};
pub use choice::choose;
pub use closed::nearest_class_mean;
pub use curve::{Curve, Point, Reached};
pub use judge::Metric;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
pub use several::{Several, choose_several, kind};
use std::fmt;
use std::time::Duration;
pub use thresholds::thresholds;

/// A kind of head, the simplest first. All but the last are linear in the features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nearest class mean by the cosine of standardised features.
    Ncm,
    /// Linear discriminant analysis with a shrunk covariance.
    Lda,
    /// Softmax regression with an L2 penalty.
    Softmax,
    /// Multi-layer perceptron: one hidden layer of ReLUs.
    Mlp,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Kind::Ncm => "nearest class mean",
            Kind::Lda => "discriminant analysis",
            Kind::Softmax => "softmax regression",
            Kind::Mlp => "perceptron with a hidden layer",
        })
    }
}

/// Folds where nothing else is wanted.
const FOLDS: usize = 5;

/// How a head is chosen.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// Decides which images share a fold.
    pub seed: u64,
    /// The kind; the best one where `None`.
    pub kind: Option<Kind>,
    /// Whether the best is to be one with which training inside a network can begin: linear, and with logits that stand for
    /// probabilities, which discriminants and regressions have.
    pub beginning: bool,
    /// By what.
    pub metric: Metric,
    /// Folds, into which images are dealt twice at least; fewer where the median class has fewer images, or groups. `None` for five, dealt
    /// anew where images are few, or for numbers without groups for each image left out by itself.
    pub folds: Option<usize>,
    /// Each image's group, where images of one must share a fold; else nothing.
    pub groups: Vec<usize>,
    /// Whether rare classes are to be chosen as readily as others: logits are adjusted by the classes' shares, or the classes
    /// weigh the same in the loss.
    pub balanced: bool,
    /// Whether a learning curve is wanted.
    pub curve: bool,
    /// After this time no candidate but the first is begun, a perceptron trained no further, and no strength or deal of a
    /// regression begun but the first.
    pub budget: Option<Duration>,
    /// Where regressions on classes or labels, and perceptrons, are computed; what has a closed form is on the processor.
    pub device: Device,
}

impl Default for Wishes {
    /// Seed 0, the best kind by macro-F1, in any time, on the processor.
    fn default() -> Self {
        Wishes {
            seed: 0,
            kind: None,
            beginning: false,
            metric: Metric::MacroF1,
            folds: None,
            groups: Vec::new(),
            balanced: false,
            curve: false,
            budget: None,
            device: Device::Cpu,
        }
    }
}

/// A head that was compared, with the figures of images that it did not learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its kind.
    pub kind: Kind,
    /// Tensors before the cut whose features it takes, too.
    pub taps: usize,
    /// How many features that makes.
    pub features: usize,
    /// LDA's shrinkage, the penalty on the mean loss of softmax regression, or the epochs of a perceptron.
    pub strength: Option<f64>,
    /// Whether rare classes are chosen as readily as others: the logarithms of the classes' shares were taken from its logits (Menon et al.
    /// 2021, arXiv 2007.07314); of discriminants, that they are cosines.
    pub adjusted: bool,
    /// Whether the classes weighed the same in its loss.
    #[serde(default)]
    pub weighted: bool,
    /// The metric that chooses, the higher the better: log-loss is negative. Macro-F1 has what is expected added.
    pub score: f64,
    /// What is expected, in the score, of classes that folds cannot judge: of a head that finds rare ones.
    #[serde(default)]
    pub expected: f64,
    /// How much less that is than the best one's, and the standard error of this over the images.
    pub behind: [f64; 2],
    /// Share of images whose class is found.
    pub accuracy: f64,
    /// Mean F1 over the classes.
    pub macro_f1: f64,
    /// Mean −ln(probability of the true class), with the temperature at its best, of the images whose class has others in other folds.
    pub log_loss: f64,
}

/// A head for several labels or numbers that was compared, by images that it did not learn from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tried {
    /// Tensors before the cut whose features it takes, too.
    pub taps: usize,
    /// How many features that makes.
    pub features: usize,
    /// The penalty on the mean loss.
    pub strength: f64,
    /// The mean cross-entropy of the labels in nats, or the mean squared error of the standardised targets (1 is that of their
    /// means).
    pub loss: f64,
    /// How much more that is than the best one's, and the standard error of this over the images.
    pub behind: [f64; 2],
}

/// The head that was chosen, and what it was compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// For the raw features of the first columns, or what `hidden` makes of them.
    pub head: LinearHead,
    /// A perceptron's hidden layer, for the raw features of the first columns; its values go through ReLUs.
    pub hidden: Option<LinearHead>,
    /// What it is.
    pub kind: Kind,
    /// The place in `compared`.
    pub place: usize,
    /// All candidates, the simplest first.
    pub compared: Vec<Compared>,
    /// Why there are none.
    pub uncompared: Option<&'static str>,
    /// Folds of the cross-validation; 0 where nothing could be compared.
    pub folds: usize,
    /// How often images were dealt into folds.
    pub repeats: usize,
    /// What logits were divided by, so that the probabilities are as sure as they are right; what suits most data where nothing was
    /// compared.
    pub temperature: f64,
    /// Every image's probabilities by heads of that kind that did not learn from it, the first time; `[0, classes]` without
    /// folds.
    pub out_of_fold: Array2<f32>,
    /// The same before the temperature.
    pub uncalibrated: Array2<f32>,
    /// Each image's fold, the first time.
    pub fold: Vec<usize>,
    /// Accuracy, macro-F1 and log-loss of each fold, of every time that the images were dealt out.
    pub by_fold: Vec<[f64; 3]>,
    /// How its accuracy grows with the number of images, where that was wanted, or why there is no telling.
    pub curve: Option<std::result::Result<Curve, &'static str>>,
}

impl Compared {
    /// What it is, for people.
    pub fn name(&self) -> String {
        format!("{}{}", self.kind, self.how())
    }

    fn how(&self) -> &'static str {
        match (self.adjusted, self.weighted) {
            (true, _) => ", classes alike",
            (_, true) => ", classes weighted",
            _ => "",
        }
    }
}

impl Chosen {
    /// Logits `[images, classes]` of features `[images, features]`.
    ///
    /// # Errors
    /// Those of [`LinearHead::logits`].
    pub fn logits(&self, features: ArrayView2<f32>) -> Result<Array2<f32>> {
        match &self.hidden {
            Some(hidden) => self.head.logits(hidden.activated(features)?.view()),
            None => self.head.logits(features),
        }
    }

    /// How many tensors before the cut it takes features from.
    pub fn taps(&self) -> usize {
        self.compared.get(self.place).map_or(0, |chosen| chosen.taps)
    }

    /// What it is, for people.
    pub fn name(&self) -> String {
        let how = self.compared.get(self.place).map_or("", Compared::how);
        format!("{}{}{how}", self.kind, depths_named(self.taps()))
    }
}

/// ` on 3 depths`, nothing for the cut alone.
fn depths_named(taps: usize) -> String {
    match taps {
        0 => String::new(),
        1 => " on two depths".into(),
        taps => format!(" on {} depths", taps + 1),
    }
}
