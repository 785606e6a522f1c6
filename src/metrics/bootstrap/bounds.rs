//! Where intervals end.

use super::{Interval, LEVEL};

/// The normal distribution's 97.5th percentile.
const Z: f64 = 1.959_963_984_540_054;
/// Standard errors of the mean over resamples beyond which it tells what resampling does to a figure.
const TELLING: f64 = 3.;

/// Wilson's interval of a share of so many images that nothing joins.
pub(super) fn wilson(share: f64, images: f64) -> Interval {
    let (scale, square) = (1. + Z * Z / images, Z * Z / images);
    let (middle, half) = (share + square / 2., (square * (share * (1. - share) + square / 4.)).sqrt());
    // Rounding is no reason to leave out the share itself.
    [((middle - half) / scale).clamp(0., share), ((middle + half) / scale).clamp(share, 1.)]
}

/// Bonett and Price's interval (2012) of the difference of two shares of the same images, of which the shares `better` and `worse` are in
/// one of them alone: as of one image more in each, and in all two more.
pub(super) fn bonett_price(better: f64, worse: f64, images: f64) -> Interval {
    let [better, worse] = [better, worse].map(|share| (share * images + 1.) / (images + 2.));
    let middle = better - worse;
    let half = Z * ((better + worse - middle * middle) / (images + 2.)).sqrt();
    [(middle - half).max(-1.), (middle + half).min(1.)]
}

/// The percentiles of resamples, moved by what resampling does to the figure of all images, as the mean tells that: images that are drawn
/// twice lift an average precision, and macro-averages of classes with few images fall, since resamples lose such classes.
pub(super) fn around(figure: f64, values: Vec<f64>) -> Interval {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let error = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count / count).sqrt();
    // A smaller one is chance, which is not to move the end of an interval to the other side of 0.
    let bias = if (mean - figure).abs() > TELLING * error { mean - figure } else { 0. };
    let [low, high] = interval(values);
    // Where all resamples agree they tell nothing.
    if low == high { [low, high] } else { [(low - bias).min(figure), (high - bias).max(figure)] }
}

/// The values between which [`LEVEL`] of all lie, by numpy's linear interpolation. There has to be one.
fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    [(1. - LEVEL) / 2., (1. + LEVEL) / 2.].map(|share| {
        let place = share * (values.len() - 1) as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (above - below) * place.fract()
    })
}

/// The values that a figure of this name can have.
pub(super) fn range(name: &str) -> Interval {
    match name {
        "mcc" | "cohen_kappa" => [-1., 1.],
        "log_loss" | "brier" | "mae" | "rmse" => [0., f64::INFINITY],
        "r2" => [f64::NEG_INFINITY, 1.],
        _ => [0., 1.],
    }
}
