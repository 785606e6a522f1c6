//! What is told of training inside the network after a head was trained.

use super::HeadInfo;
use serde::Serialize;

/// The least and the most accuracy that training inside [`TRIED`] gained over the head that `auto` chose, in trials on four sets of
/// images of three kinds (`docs/performance.md`). Neither the head's figures nor its learning curve foretold it.
const TRIALS: [(&str, [f64; 2]); 2] = [("last:2", [-0.084, -0.015]), ("all", [0.015, 0.041])];

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
    /// The least and the most accuracy that it gained elsewhere, where that was tried with this network: with one class an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gained_elsewhere: Option<[f64; 2]>,
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
        Measured { train, epochs, seconds, gained_elsewhere: None, reason }
    }
}

impl FineTuning {
    /// With what a head's choice tells, of a model with this SHA-256.
    pub fn new(mut measured: Vec<Measured>, head: Option<&HeadInfo>, sha256: &str) -> FineTuning {
        let tried = head.is_some() && sha256 == TRIED;
        for one in measured.iter_mut().filter(|one| tried && one.seconds.is_some()) {
            one.gained_elsewhere = TRIALS.iter().find(|(train, _)| *train == one.train).map(|(_, gained)| *gained);
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
            gain_of_images: now.zip(twice).map(|(now, twice)| [twice.accuracy - now.accuracy, twice.std_err]),
        }
    }
}
