//! Options that would do nothing, or not what they say, to the network and the images at hand.

use super::training::TrainingOptions;
use adapt::data::augment::Level;
use adapt::plan::Inside;
use adapt::train::tune::{BatchNorms, Settings};
use adapt::{Error, Result};

/// Refuses them, with what to do instead. `validates`: whether there are validation images.
pub fn refuse(options: &TrainingOptions, settings: &Settings, inside: &Inside, validates: bool) -> Result<()> {
    let refused = |what: &str, instead: &str| Err(Error::Usage(format!("{what}; {instead}")));
    let given = |share: Option<f64>| share.is_some_and(|share| share > 0.);
    let changed = settings.augment != Level::None;
    if options.patience.is_some_and(|epochs| epochs > 0) && !validates {
        let what = "--patience: there are no validation images that could tell when to stop";
        return refused(what, "give --val 0.2, say, or --patience 0");
    }
    if settings.cutmix > 0. && !inside.is_map() {
        let what = format!("--cutmix: what is trained begins with {:?} values an image", inside.shape);
        let what = format!("{what}, which are no map of channels, rows and columns");
        return refused(&what, "leave it out, or give --mixup");
    }
    for (option, alpha) in [("--mixup", settings.mixup), ("--cutmix", settings.cutmix)] {
        if alpha > 0. && settings.batch_size < 2 {
            return refused(
                &format!("{option}: a step has one image, which there is nothing to mix with"),
                "leave it out",
            );
        }
    }
    for (option, share) in [("--hflip", options.hflip), ("--vflip", options.vflip)] {
        if given(share) && !changed {
            return refused(&format!("{option}: images are not changed"), "give --augment light, or leave it out");
        }
    }
    if matches!(options.bn, Some(BatchNorms::Frozen | BatchNorms::Affine)) && inside.norms.is_empty() {
        let what = "--bn: what is trained has no batch norms (exporters fold them into convolutions)";
        return refused(what, "leave it out");
    }
    if options.bn == Some(BatchNorms::Train) && settings.batch_size < 2 && !inside.norms.is_empty() {
        let what = "--bn train: a step has one image, whose statistics mean nothing";
        return refused(what, "give --batch-size 8, say, or --bn affine");
    }
    if given(options.warmup) && options.budget.is_none() && (1..=settings.warmup).contains(&settings.steps) {
        let what = format!("--warmup: the learning rate would rise for all of the {} steps", settings.steps);
        return refused(&what, "give less of it, or more --epochs");
    }
    if options.cache_limit.is_some() && (changed || inside.frozen.is_none()) {
        let (why, to_do) = match changed {
            true => ("images are changed each time", "leave it out, or give --augment none"),
            false => ("nothing is frozen before it", "leave it out"),
        };
        return refused(&format!("--cache-limit: nothing is kept, since {why}"), to_do);
    }
    Ok(())
}
