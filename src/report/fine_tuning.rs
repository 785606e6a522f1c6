//! What is told of training inside the network after a head was trained.

use super::HeadInfo;
use serde::Serialize;

/// Test accuracies in trials with [`TRIED`] on four sets of images of three kinds (`docs/performance.md`): of the head that `auto` chose, and
/// of each of [`INSIDE`].
const TRIALS: [[f64; 3]; 4] =
    [[0.917, 0.833, 0.959], [0.812, 0.797, 0.831], [0.857, 0.835, 0.881], [0.778, 0.754, 0.788]];

/// What was trained in the trials, as `--train` takes it.
const INSIDE: [&str; 2] = ["last:2", "all"];

/// The SHA-256 of the network of these trials: the embedded one. They tell nothing of others.
const TRIED: &str = "aff30667625329264461e4f0c32e2e3c6b7a83b85a502da1939ea744d542a341";

/// What training inside would take, and what is known of what it would gain. What it does gain is not known until it is tried.
#[derive(Debug, Clone, Serialize)]
pub struct FineTuning {
    /// By what would be trained.
    pub measured: Vec<Measured>,
    /// How much less accuracy the best head on the cut's features alone has in cross-validation than the best on those of more
    /// depths: the training of a tail begins with the cut's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_of_depth: Option<f64>,
    /// What twice as many images are expected to gain in accuracy, and how sure that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_of_images: Option<[f64; 2]>,
}

/// A part of the network.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// As `--train` takes it.
    pub train: String,
    /// Epochs of the default recipe.
    pub epochs: Option<u64>,
    /// Seconds of their steps, from one that was measured.
    pub seconds: Option<f64>,
    /// The least and the most accuracy that it is to gain, where it was tried with this network, with one class an image: the shares of
    /// the head's errors that it took away in these trials, times those of this head in cross-validation; losses are none that were not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_gain: Option<[f64; 2]>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Measured {
    /// Of epochs and seconds, or the reason why it cannot be trained.
    pub fn new(train: String, found: Result<(u64, f64), String>) -> Measured {
        let (epochs, seconds, reason) = match found {
            Ok((epochs, seconds)) => (Some(epochs), Some(seconds), None),
            Err(reason) => (None, None, Some(reason)),
        };
        Measured { train, epochs, seconds, predicted_gain: None, reason }
    }
}

impl FineTuning {
    /// With what a head's choice tells, of a model with this SHA-256.
    pub fn new(mut measured: Vec<Measured>, head: Option<&HeadInfo>, sha256: &str) -> FineTuning {
        // In the trials it was the best of several kinds.
        let tried = head.filter(|head| sha256 == TRIED && head.compared.len() > 1);
        let own = tried.and_then(|head| head.cross_validation.as_ref()?.get("accuracy"));
        for one in measured.iter_mut().filter(|one| one.seconds.is_some()) {
            one.predicted_gain = own.and_then(|[accuracy, _]| predicted(&one.train, *accuracy));
        }
        let deep = head.and_then(|head| head.compared.get(head.chosen)).filter(|one| one.taps > 0);
        let cut = head.into_iter().flat_map(|head| &head.compared).filter(|one| one.taps == 0);
        let cut = cut.map(|one| one.accuracy).max_by(f64::total_cmp);
        let curve = head.and_then(|head| head.learning_curve.as_ref());
        // The last point is of fewer images than there are.
        let now = curve.and_then(|curve| curve.fitted.as_ref());
        let twice = curve.and_then(|curve| curve.expected.first());
        FineTuning {
            measured,
            gain_of_depth: deep.zip(cut).map(|(deep, cut)| deep.accuracy - cut),
            gain_of_images: now
                .zip(twice)
                .map(|(now, twice)| [twice.reached.value() - now.reached.value(), twice.std_err]),
        }
    }
}

/// The least and the most that training inside is to gain over a head of this accuracy.
fn predicted(train: &str, accuracy: f64) -> Option<[f64; 2]> {
    let column = INSIDE.iter().position(|tried| *tried == train)? + 1;
    let gains = TRIALS.map(|trial| {
        let gain = trial[column] - trial[0];
        let share = gain / (1. - trial[0]) * (1. - accuracy);
        // What a good head lost of its few errors' number tells nothing of many errors. Nothing is right less often than never, and of
        // no errors there is no share, not even a negative one.
        share.max(gain.min(0.)).max(-accuracy) + 0.
    });
    Some(gains.iter().fold([f64::MAX, f64::MIN], |[least, most], gain| [least.min(*gain), most.max(*gain)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_shares_of_the_errors() {
        let gain = |train: &str, accuracy: f64| predicted(train, accuracy).unwrap();
        for [head, tail, all] in TRIALS {
            for (train, own) in [("last:2", tail), ("all", all)] {
                let [least, most] = gain(train, head);
                assert!(least - 1e-9 <= own - head && own - head <= most + 1e-9, "{train} {head}");
            }
        }
        let [[near, _], [far, _]] = [0.9, 0.8].map(|accuracy| gain("all", accuracy));
        assert!((far - 2. * near).abs() < 1e-12 && near != 0.);
        assert!(gain("all", 1.).iter().all(|gain| *gain == 0. && gain.is_sign_positive()));
        // The worst that was seen.
        assert!((gain("last:2", 0.5)[0] + 0.084).abs() < 1e-9 && gain("last:2", 0.05)[0] >= -0.05);
        assert!(predicted("last:3", 0.9).is_none());
    }
}
