//! What is told of training inside the network after a head was trained.

use super::{AnyHead, HeadInfo};
use crate::onnx::Model;
use crate::onnx::graph::parameters;
use crate::plan::is_initial;
use serde::Serialize;

/// Test accuracies in trials with [`TRIED`] on four sets of images of three kinds (`docs/performance.md`): of the head that `auto` chose, and
/// of each of [`INSIDE`].
const TRIALS: [[f64; 3]; 4] =
    [[0.917, 0.833, 0.959], [0.812, 0.797, 0.831], [0.857, 0.835, 0.881], [0.778, 0.754, 0.788]];

/// What was trained in the trials, as `--train` takes it.
const INSIDE: [&str; 2] = ["last:2", "all"];

/// The SHA-256 of the network of these trials: the embedded one.
const TRIED: &str = "aff30667625329264461e4f0c32e2e3c6b7a83b85a502da1939ea744d542a341";

/// Its parameters, and the share of them below which a network is another thing altogether.
const TRIED_PARAMETERS: u64 = 4_631_083;
const LEAST_SHARE: f64 = 0.1;

/// What they were with, for that network and for any other.
pub const THIS_NETWORK: &str = "this network";
const OTHER_NETWORK: &str = "another network (EfficientNet-Lite0)";

/// What training inside would take, and what is known of what it would gain. What it does gain is not known until it is tried.
#[derive(Debug, Clone, Serialize)]
pub struct FineTuning {
    /// By what would be trained.
    pub measured: Vec<Measured>,
    /// The network with which the trials were made by which gains are predicted, where any are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials_with: Option<&'static str>,
    /// Why none are, where something could be trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_predicted_gain: Option<String>,
    /// How much less accuracy the best head on the cut's features alone has in cross-validation than the best on those of more
    /// depths: the training of a tail begins with the cut's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_of_depth: Option<f64>,
    /// What twice as many images are expected to gain in the learning curve's figure, and how sure that is.
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
    /// The least and the most accuracy that it is to gain, with one class an image: the shares of the head's errors that it took away in
    /// trials ([`FineTuning::trials_with`]), times those of this head in cross-validation; losses are none that were not seen.
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
    /// With what a head's choice tells, of a model and images to train on, so many of each class.
    pub fn new(mut measured: Vec<Measured>, head: Option<&AnyHead>, model: &Model, counts: &[usize]) -> FineTuning {
        let (head, curve) = match head {
            Some(AnyHead::Classes(head)) => (Some(&**head), head.learning_curve.as_ref()),
            Some(AnyHead::Several(head)) => (None, head.learning_curve.as_ref()),
            None => (None, None),
        };
        let own = comparable(head, model, counts);
        for one in measured.iter_mut().filter(|one| one.seconds.is_some()) {
            one.predicted_gain = own.as_ref().ok().and_then(|accuracy| predicted(&one.train, *accuracy));
        }
        let trials_with = if model.sha256 == TRIED { THIS_NETWORK } else { OTHER_NETWORK };
        let is_predicted = measured.iter().any(|one| one.predicted_gain.is_some());
        let is_measured = measured.iter().any(|one| one.seconds.is_some());
        let deep = head.and_then(|head| head.compared.get(head.chosen)).filter(|one| one.taps > 0);
        let cut = head.into_iter().flat_map(|head| &head.compared).filter(|one| one.taps == 0);
        let cut = cut.map(|one| one.accuracy).max_by(f64::total_cmp);
        FineTuning {
            measured,
            trials_with: is_predicted.then_some(trials_with),
            no_predicted_gain: own.err().filter(|_| is_measured),
            gain_of_depth: deep.zip(cut).map(|(deep, cut)| deep.accuracy - cut),
            gain_of_images: curve.and_then(|curve| curve.gain),
        }
    }
}

/// The head's accuracy in cross-validation, where the trials tell what becomes of such a head's errors, or why they do not.
fn comparable(head: Option<&HeadInfo>, model: &Model, counts: &[usize]) -> Result<f64, String> {
    let head = head.ok_or("in the trials images had one class each")?;
    if is_initial(model) {
        return Err("the network's weights are not trained yet".into());
    }
    let own = parameters(model.graph());
    if (own as f64) < LEAST_SHARE * TRIED_PARAMETERS as f64 {
        return Err(format!("the network has {own} parameters, fewer than a tenth of those of the trials' network"));
    }
    if let Some(why) = head.uncompared {
        return Err(format!("nothing tells how often the head is right: {why}"));
    }
    let accuracy = head.cross_validation.as_ref().and_then(|figures| figures.get("accuracy"));
    let Some([accuracy, _]) = accuracy.filter(|_| head.compared.len() > 1) else {
        return Err("in the trials the head was the best of several kinds, and here there was one".into());
    };
    let best = head.compared.iter().map(|one| one.accuracy).fold(0., f64::max);
    let (images, most) = (counts.iter().sum::<usize>() as f64, counts.iter().max().map_or(0., |most| *most as f64));
    if best - most / images <= (best * (1. - best) / images).sqrt() {
        return Err("no head is better than always the commonest class by more than its error".into());
    }
    Ok(*accuracy)
}

/// What predicted gains are, and where they come from.
pub fn predicted_by(trials_with: &str) -> String {
    format!(
        "predicted gain in accuracy, from trials with {trials_with} on four sets of 200 to 1,000 images, none held out"
    )
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
    use crate::onnx::metadata::set_contract;
    use crate::progress::silent;
    use crate::random::{stream, uniform};
    use crate::train::heads::{Kind, Wishes, choose};
    use ndarray::Array2;
    use std::path::Path;

    #[test]
    fn there_is_a_reason_where_nothing_is_predicted() {
        let open = |name: &str| Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        let (tried, tiny) = (open("models/efficientnet_lite0/model.onnx"), open("tests/golden/tiny.onnx"));
        assert_eq!((parameters(tried.graph()), &*tried.sha256), (TRIED_PARAMETERS, TRIED));
        let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
        let head = |kind| {
            let mut noise = stream(0, "test", 0, 0);
            let x = Array2::from_shape_fn((60, 4), |(i, _)| uniform(&mut noise) as f32 + 0.3 * labels[i] as f32);
            let chosen = choose(x.view(), &[4], &labels, 2, &Wishes { kind, ..Wishes::default() }, &silent).unwrap();
            HeadInfo::new(&chosen, &labels, None)
        };
        let good = head(None);
        let mut blind = good.clone();
        blind.compared.iter_mut().for_each(|one| one.accuracy = 0.55);
        let told = |head: Option<&HeadInfo>, model: &Model| comparable(head, model, &[30, 30]);
        assert_eq!(told(Some(&good), &tried), Ok(good.cross_validation.as_ref().unwrap()["accuracy"][0]));
        for (head, model, why) in [
            (None, &tried, "one class each"),
            (Some(&good), &tiny, "has 196 parameters"),
            (Some(&head(Some(Kind::Ncm))), &tried, "the best of several kinds"),
            (Some(&blind), &tried, "always the commonest class"),
            (Some(&HeadInfo { uncompared: Some("most classes"), ..good.clone() }), &tried, "is right: most classes"),
        ] {
            let reason = told(head, model).unwrap_err();
            assert!(reason.contains(why), "{why}: {reason}");
        }
        // That is right on 0.98 of such images.
        let rare = comparable(Some(&good), &tried, &[590, 10]).unwrap_err();
        assert!(rare.contains("always the commonest class"), "{rare}");
        let mut untrained = tried.clone();
        set_contract(&mut untrained.proto, &serde_json::json!({"initial": true}));
        assert_eq!(told(Some(&good), &untrained).unwrap_err(), "the network's weights are not trained yet");
        // What cannot be trained has its reason already.
        for (found, is_told) in [(Ok((3, 1.)), true), (Err("no room".into()), false)] {
            let own = AnyHead::Classes(Box::new(good.clone()));
            let told = FineTuning::new(vec![Measured::new("all".into(), found)], Some(&own), &tiny, &[30, 30]);
            assert!(told.no_predicted_gain.is_some() == is_told && told.trials_with.is_none(), "{told:?}");
        }
    }

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
