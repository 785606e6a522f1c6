//! How well a frozen network's features suit a task, estimated without training a head.

use super::spectrum::Spectrum;
use ndarray::{ArrayView2, Axis};

/// Steps of the evidence's fixed point; it mostly settles within ten.
const STEPS: usize = 200;
/// Relative change of the ratio of the two precisions at which it has settled.
const SETTLED: f64 = 1e-9;
/// That ratio is kept within this factor of the features' mean square and its inverse: features that tell nothing at all
/// drive it to infinity.
const WIDEST: f64 = 1e12;

/// LogME: the logarithm of the evidence of a Bayesian linear model of each class's indicator, at the best precisions of its
/// prior and noise, in nats an image, averaged over the classes (You et al. 2021, arXiv 2102.11005). Higher is better.
///
/// `rows` is `[images, features]`, taken as they are; `labels` are below `classes`, each of which has images.
pub fn logme(rows: ArrayView2<f32>, labels: &[usize], classes: usize) -> f64 {
    let spectrum = Spectrum::of(rows.mapv(f64::from), labels, classes);
    let mut counts = vec![0.; classes];
    labels.iter().for_each(|&label| counts[label] += 1.);
    let of =
        |(targets, count): (ndarray::ArrayView1<f64>, &f64)| evidence(&spectrum.squares, targets, *count, labels.len());
    let sum: f64 = spectrum.targets.columns().into_iter().zip(&counts).map(of).sum();
    sum / classes as f64
}

/// The logarithm of p(y | F) an image, maximal over prior precision α and noise precision β by the paper's fixed point
/// α = γ / mᵀm, β = (N − γ) / ‖Fm − y‖², where γ = Σ βσ² / (α + βσ²) counts the directions that the data decide.
///
/// `squares` are F's squared singular values σ², `targets` the parts of y along its left singular vectors, `norm` is yᵀy.
fn evidence(squares: &[f64], targets: ndarray::ArrayView1<f64>, norm: f64, images: usize) -> f64 {
    let n = images as f64;
    let parts = || squares.iter().zip(targets.iter().map(|z| z * z));
    let outside = (norm - parts().map(|(_, z)| z).sum::<f64>()).max(0.);
    let scale = squares.iter().sum::<f64>() / n;
    if scale <= 0. || norm <= 0. {
        return 0.;
    }
    // α / β
    let mut ratio = scale;
    let mut best = f64::NEG_INFINITY;
    for _ in 0..STEPS {
        let gamma: f64 = squares.iter().map(|s| s / (s + ratio)).sum();
        let weights: f64 = parts().map(|(s, z)| s * z / (s + ratio).powi(2)).sum();
        let residual = outside + parts().map(|(s, z)| z * (ratio / (s + ratio)).powi(2)).sum::<f64>();
        // Features that tell all leave no residual, those that tell nothing no weights.
        let beta = (n - gamma).max(1e-9) / residual.max(1e-12 * norm);
        let alpha = gamma / weights.max(1e-300);
        let logs: f64 = squares.iter().map(|s| (s * beta / alpha).ln_1p()).sum();
        let fit = n * beta.ln() - logs - beta * residual - alpha * weights - n * std::f64::consts::TAU.ln();
        best = best.max(0.5 * fit / n);
        let next = (alpha / beta).clamp(scale / WIDEST, scale * WIDEST);
        if (next - ratio).abs() <= SETTLED * ratio {
            break;
        }
        ratio = next;
    }
    best
}

/// H-score: how much of the features' covariance lies between the classes, tr(Σ⁻¹ Σ between) (Bao et al. 2019), with both
/// covariances shrunk by Ledoit and Wolf's estimate, without which it means nothing for fewer images than features (Ibrahim et
/// al. 2021, arXiv 2110.06893). Between 0 and `classes` − 1; higher is better.
///
/// `rows` is `[images, features]`; `labels` are below `classes`, each of which has images.
pub fn h_score(rows: ArrayView2<f32>, labels: &[usize], classes: usize) -> f64 {
    let (n, features) = (rows.nrows() as f64, rows.ncols() as f64);
    let rows = rows.mapv(f64::from);
    let mean = rows.mean_axis(Axis(0)).unwrap_or_default();
    let rows = rows - &mean;
    let fourths: f64 = rows.rows().into_iter().map(|row| row.dot(&row).powi(2)).sum();
    let Spectrum { squares, targets } = Spectrum::of(rows, labels, classes);
    let trace = squares.iter().sum::<f64>() / n;
    let squared: f64 = squares.iter().map(|s| (s / n).powi(2)).sum();
    // Ledoit and Wolf 2004: the distance of the covariance from its mean times the identity, and its estimation error.
    let (mean, distance) = (trace / features, squared - trace * trace / features);
    let error = ((fourths / n - squared) / n).min(distance);
    let shrinkage = if error > 0. { error / distance } else { 0. };
    let mut counts = vec![0f64; classes];
    labels.iter().for_each(|&label| counts[label] += 1.);
    let mut score = 0.;
    for (&s, parts) in squares.iter().zip(targets.rows()) {
        let own = (1. - shrinkage) * s / n + shrinkage * mean;
        let between: f64 = parts.iter().zip(&counts).map(|(z, count)| z * z / count).sum();
        score += s / n * between / own;
    }
    (1. - shrinkage) * score
}
