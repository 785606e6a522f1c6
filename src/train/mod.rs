//! The default head: softmax regression on cached features, its strength chosen by cross-validation.

pub mod ema;
mod features;
mod folds;
pub mod heads;
mod lbfgs;
pub mod loss;
pub mod mix;
pub mod optimizer;
mod path;
mod row;
mod scale;
pub mod schedule;
mod softmax;
pub mod tune;

use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::random;
use crate::tensor::Device;
pub use features::{Features, Judged, Prediction, Sample, by_path};
pub use folds::separate;
use ndarray::{Array1, Array2, ArrayView2, s};
use path::Choice;
use scale::Scaler;
pub use scale::vary;
use serde::{Deserialize, Serialize};
use softmax::{Model, Rows, Truth};

/// The final head's objective is this close (relative) to its minimum.
const TOLERANCE: f64 = 1e-9;
/// Steps after which the final head is taken as it is.
const LIMIT: usize = 1000;

/// A linear classifier on raw (not standardised) features: logits = x·weightᵀ + bias.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearHead {
    /// [classes, features], in the order of the labels.
    pub weight: Array2<f32>,
    /// One per class: \[classes\].
    pub bias: Array1<f32>,
}

impl LinearHead {
    /// A head drawn from a normal distribution of deviation 0.01, without biases.
    pub fn by_chance(classes: usize, features: usize, seed: u64) -> LinearHead {
        let mut stream = random::stream(seed, "head", 0, 0);
        let mut normal = || (0.01 * random::normal(&mut stream)) as f32;
        let weight = Array2::from_shape_simple_fn((classes, features), &mut normal);
        LinearHead { weight, bias: Array1::zeros(classes) }
    }

    /// The same head for more features behind its own, of which it takes no notice.
    #[must_use]
    pub fn widened(self, features: usize) -> LinearHead {
        let (classes, own) = self.weight.dim();
        let mut weight = Array2::zeros((classes, features.max(own)));
        weight.slice_mut(s![.., ..own]).assign(&self.weight);
        LinearHead { weight, bias: self.bias }
    }

    /// Logits [images, classes] of features [images, features].
    ///
    /// # Errors
    /// [`Error::Train`] when the number of features is not the head's.
    pub fn logits(&self, features: ArrayView2<f32>) -> Result<Array2<f32>> {
        if features.ncols() != self.weight.ncols() {
            let (given, own) = (features.ncols(), self.weight.ncols());
            return Err(Error::Train(format!("the head takes {own} features an image, not {given}")));
        }
        Ok(features.dot(&self.weight.t()) + &self.bias)
    }

    /// The same through ReLUs, `[images, units]`, as a hidden layer gives it.
    ///
    /// # Errors
    /// [`Error::Train`] when the number of features is not the layer's.
    pub fn activated(&self, features: ArrayView2<f32>) -> Result<Array2<f32>> {
        Ok(self.logits(features)?.mapv_into(|z| z.max(0.)))
    }
}

/// What cross-validation found at one strength; every image is judged by the model that did not learn from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Strength of the penalty on the mean loss.
    pub l2: f64,
    /// Mean cross-entropy in nats.
    pub log_loss: f64,
    /// The standard error of `log_loss` over the images.
    pub std_err: f64,
    /// Share of images whose most probable class is theirs.
    pub accuracy: f64,
    /// Mean over the classes of the share of their images found.
    pub balanced_accuracy: f64,
}

/// A trained head and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// For raw features.
    pub head: LinearHead,
    /// The strength it was trained with. scikit-learn's `C` is 1/(images·l2).
    pub l2: f64,
    /// Folds of the cross-validation; 0 when the strength was given.
    pub folds: usize,
    /// From strong to weak; empty when the strength was given.
    pub candidates: Vec<Candidate>,
    /// L-BFGS steps of the final head.
    pub iterations: usize,
    /// The minimum found: mean cross-entropy over the training images + l2/2·‖W‖², W on standardised features.
    pub objective: f64,
    /// Every image's probabilities at that strength by the model that did not learn from it: [images, classes]; [0, classes]
    /// when the strength was given.
    pub out_of_fold: Array2<f32>,
}

/// How to fit.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides which images share a fold.
    pub seed: u64,
    /// Where the matrix products run.
    pub device: Device,
    /// Folds of the cross-validation; fewer where the smallest class has fewer images, never below 2.
    pub folds: usize,
    /// A given strength, which spares the cross-validation.
    pub l2: Option<f64>,
    /// Whether each class weighs the same in the loss, however many images it has (scikit-learn's `class_weight="balanced"`).
    pub balanced: bool,
}

impl Default for Options {
    /// Seed 0, CPU, 5 folds, strength by cross-validation, each image weighing the same.
    fn default() -> Self {
        Self { seed: 0, device: Device::Cpu, folds: 5, l2: None, balanced: false }
    }
}

/// Fits a softmax regression: minimises mean cross-entropy + l2/2·‖W‖² over W and a free bias, on features standardised
/// with the training set's mean and population standard deviation, which are then folded into the head.
///
/// `features`: [images, features]; `labels`: each image's class, below `classes`. The same call gives the same bits.
/// With `balanced` the mean is of cross-entropies times images/(classes·images of the class), over each fold's own images.
/// In scikit-learn's terms: `StandardScaler`, then `LogisticRegression(C=1/(images·l2))`.
///
/// # Errors
/// [`Error::Train`] for features that are not finite (naming the place), labels that do not fit, a class without
/// images, more than 2²⁷ logits (images times classes) or a third as many weights; [`Error::Interrupted`] when `progress` says
/// so (it is asked at every step).
pub fn fit_softmax(
    features: ArrayView2<f32>,
    labels: &[usize],
    classes: usize,
    options: &Options,
    progress: Progress,
) -> Result<Fit> {
    let (counts, scaler) = (check(features, labels, classes, options)?, Scaler::new(features));
    let rows = rows(&scaler, features, (labels, classes), options)?;
    let mut model = rows.model(vec![true; labels.len()]);
    let (l2, folds, candidates, out_of_fold) = match options.l2 {
        Some(l2) => (l2, 0, Vec::new(), Array2::zeros((0, classes))),
        None => {
            let (folds, choice) = strength(&rows, labels, counts, options, progress)?;
            model.parameters = choice.start;
            (choice.l2, folds, choice.candidates, choice.out_of_fold)
        }
    };
    emit(progress, Event::Stage { name: "fitting the head", total: 1 })?;
    let poll = || emit(progress, Event::Advance(0));
    rows.solve(std::slice::from_mut(&mut model), |_| l2, TOLERANCE, LIMIT, poll)?;
    emit(progress, Event::Advance(1))?;
    let head = whole(scaler.fold(&head(&model, classes)?))?;
    Ok(Fit { head, l2, folds, candidates, iterations: model.iterations, objective: model.loss, out_of_fold })
}

/// The [`Fit::out_of_fold`] that [`fit_softmax`] would give without a strength, `[images, classes]`, and no head.
///
/// # Errors
/// Those of [`fit_softmax`].
pub fn softmax_out_of_fold(
    features: ArrayView2<f32>,
    labels: &[usize],
    classes: usize,
    options: &Options,
    progress: Progress,
) -> Result<Array2<f32>> {
    let counts = check(features, labels, classes, options)?;
    let rows = rows(&Scaler::new(features), features, (labels, classes), options)?;
    Ok(strength(&rows, labels, counts, options, progress)?.1.out_of_fold)
}

/// What [`fit_softmax`] refuses since it would take too much memory, if it is that.
pub fn softmax_too_large(images: usize, features: usize, classes: usize) -> Option<String> {
    path::is_large(images, features, classes, path::MOST_LOGITS)
}

fn rows<'a>(
    scaler: &Scaler,
    features: ArrayView2<f32>,
    (labels, classes): (&'a [usize], usize),
    options: &Options,
) -> Result<Rows<'a>> {
    if let Some(what) = softmax_too_large(labels.len(), features.ncols(), classes) {
        return Err(Error::Train(format!("{what}; give fewer images or features")));
    }
    let mut rows = Rows::new(scaler.apply(features), Truth::Classes(labels), classes, &options.device)?;
    rows.balanced = options.balanced;
    Ok(rows)
}

/// The best strength by cross-validation, and in how many folds.
fn strength(
    rows: &Rows,
    labels: &[usize],
    counts: Vec<usize>,
    options: &Options,
    progress: Progress,
) -> Result<(usize, Choice)> {
    let folds = folds::at_most(options.folds, counts);
    let fold = folds::stratified(labels, folds, options.seed);
    let choice = path::cross_validate(rows, &fold, (rows.features, None), &|| true, progress)?;
    Ok((folds, choice.ok_or_else(overflowed)?))
}

/// The objective that [`fit_softmax`] minimises, and its gradient by weight and bias, at `head`. Unlike there, the
/// features are taken as they are.
///
/// # Errors
/// As [`fit_softmax`], or when the head's shape does not fit.
pub fn objective(features: ArrayView2<f32>, labels: &[usize], head: &LinearHead, l2: f64) -> Result<(f64, LinearHead)> {
    let classes = head.bias.len();
    check(features, labels, classes, &Options { l2: Some(l2), ..Options::default() })?;
    if head.weight.dim() != (classes, features.ncols()) {
        return Err(Error::Train("the head's shape does not fit the features".into()));
    }
    let rows = Rows::new(features.iter().copied().collect(), Truth::Classes(labels), classes, &Device::Cpu)?;
    let mut model = rows.model(vec![true; labels.len()]);
    model.parameters = head.weight.iter().chain(&head.bias).copied().collect();
    rows.evaluate(&mut model, l2)?;
    model.parameters = std::mem::take(&mut model.gradient);
    Ok((model.loss, self::head(&model, classes)?))
}

/// A model's parameters as a head on the features it saw.
fn head(model: &Model, classes: usize) -> Result<LinearHead> {
    let (weight, bias) = model.parameters.split_at(model.parameters.len() - classes);
    let weight = Array2::from_shape_vec((classes, weight.len() / classes), weight.to_vec());
    Ok(LinearHead { weight: weight.map_err(|e| Error::Train(e.to_string()))?, bias: Array1::from(bias.to_vec()) })
}

/// A head whose values are all finite.
fn whole(head: LinearHead) -> Result<LinearHead> {
    match head.weight.iter().chain(&head.bias).all(|v| v.is_finite()) {
        true => Ok(head),
        false => Err(overflowed()),
    }
}

fn overflowed() -> Error {
    Error::Train("the head overflowed; the features span too many orders of magnitude".into())
}

/// Refuses what cannot be learnt from; answers how many images each class has.
fn check(features: ArrayView2<f32>, labels: &[usize], classes: usize, options: &Options) -> Result<Vec<usize>> {
    let refuse = |what: String| Err(Error::Train(what));
    if features.nrows() != labels.len() {
        return refuse(format!("{} rows of features but {} labels", features.nrows(), labels.len()));
    }
    if classes < 2 {
        return refuse(format!("{classes} classes; there must be two at least"));
    }
    if features.ncols() == 0 {
        return refuse("the model gives no features".into());
    }
    let mut counts = vec![0usize; classes];
    for (row, &label) in labels.iter().enumerate() {
        match counts.get_mut(label) {
            Some(count) => *count += 1,
            None => return refuse(format!("row {row} has class {label}, but there are only {classes} classes")),
        }
    }
    if let Some(empty) = counts.iter().position(|&c| c == 0) {
        return refuse(format!("class {empty} has no images"));
    }
    if let Some(l2) = options.l2.filter(|l2| !(l2.is_finite() && *l2 > 0.0)) {
        return refuse(format!("the strength l2 must be above 0, not {l2}"));
    }
    scale::check_finite(features)?;
    Ok(counts)
}
