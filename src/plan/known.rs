//! What the original knows of classes that it shares with new data.

use super::{Plan, labels};
use crate::onnx::Model;
use crate::onnx::old_head::old_head;
use std::collections::HashMap;

/// For each of `classes` the weights `[features]` and the bias that the original's last layer has for a class of the same name;
/// `None` where it has none, where two have it, or where the original's names or its layer's numbers cannot be read.
pub fn known(model: &Model, plan: &Plan, classes: &[String]) -> Vec<Option<(Vec<f32>, f32)>> {
    let nothing = || vec![None; classes.len()];
    // Damaged names are none: this is a better start, and no more.
    let Ok(Some((names, _))) = labels::find(model) else { return nothing() };
    if plan.surgery.classes != Some(names.len()) || plan.surgery.features != Some(plan.features) {
        return nothing();
    }
    let Some((weight, bias)) = old_head(model.graph(), &plan.surgery) else { return nothing() };
    let row = |k: usize| (weight[k * plan.features..][..plan.features].to_vec(), bias[k]);
    let places = places(&names);
    let place = |class: &String| {
        let mut exact = (0..names.len()).filter(|&place| names[place] == *class);
        // One name of two is neither's.
        let exact = exact.next().filter(|_| exact.next().is_none());
        exact.or_else(|| places.get(&plain(class)).copied().flatten())
    };
    classes.iter().map(|class| place(class).map(row)).collect()
}

/// Names are the same whatever the case, with an underscore for a space.
fn plain(name: &str) -> String {
    name.trim().replace('_', " ").to_lowercase()
}

/// Each name's place, and each synonym's, as ImageNet lists them: `tench, Tinca tinca`. None where several have it.
fn places(names: &[String]) -> HashMap<String, Option<usize>> {
    let mut places = HashMap::new();
    for (place, name) in names.iter().enumerate() {
        for synonym in std::iter::once(name.as_str()).chain(name.split(", ")) {
            let found = places.entry(plain(synonym)).or_insert(Some(place));
            *found = found.filter(|other| *other == place);
        }
    }
    places
}
