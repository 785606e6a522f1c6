//! An inspection for people.

use super::super::tables;
use super::{Candidate, Inspection, Training};
use adapt::error::printable;
use adapt::graph::Part;
use adapt::onnx::cut::Classifier;
use adapt::plan::preprocessing::in_words;
use std::fmt::Write;

pub(super) fn text(found: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:14} {}", printable(&value));
    };
    line("file", format!("{} ({:.1} MB)", found.path, found.bytes as f64 / 1e6));
    line("sha256", found.sha256.clone());
    let by = if found.producer.is_empty() { String::new() } else { format!(", by {}", found.producer) };
    line("format", format!("opset {}, IR {}{by}", found.opset, found.ir_version));
    line("parameters", millions(found.parameters));
    for (key, values) in [("input", &found.inputs), ("output", &found.outputs)] {
        values.iter().for_each(|value| line(key, value.clone()));
    }
    if let Some(input) = &found.input {
        let layout = serde_json::to_value(input.layout).ok();
        let layout = layout.as_ref().and_then(|l| l.as_str()).unwrap_or_default().to_uppercase();
        line(
            "images",
            format!(
                "{}x{}, {} channels, {layout}, batch {}",
                input.height,
                input.width,
                input.channels,
                input.batch.map_or("free".into(), |b| b.to_string())
            ),
        );
    }
    if let Some(p) = &found.preprocessing {
        line("preprocessing", in_words(&p.value));
        line("", format!("from {}", p.source));
    }
    if let Some(classes) = found.classes {
        line("class names", classes.to_string());
    }
    if let Some(told) = &found.training {
        training_lines(told).into_iter().for_each(|(key, value)| line(key, value));
    }
    let operators: Vec<_> = found.operators.iter().map(|(name, n)| format!("{name} {n}")).collect();
    line("operators", format!("{} nodes: {}", found.nodes, operators.join(", ")));
    found.notes.iter().for_each(|note| line("note", note.clone()));
    match found.problems.is_empty() {
        true => line("problems", "none found".into()),
        false => found.problems.iter().for_each(|p| line("problem", p.clone())),
    }
    if !found.candidates.is_empty() {
        let _ = write!(text, "\n{}", cuts(&found.candidates));
    }
    text
}

/// What can be trained ahead of the head, and what stands against the rest.
fn training_lines(told: &Training) -> Vec<(&'static str, String)> {
    const MOST: usize = 5;
    let parameters = millions(told.parameters);
    let also = match &told.inside {
        Part::All => format!("So can the whole network in front of it ({parameters} parameters)."),
        Part::From(tensor) => {
            format!("So can the part of the network that follows the tensor '{tensor}' ({parameters} parameters).")
        }
        Part::Nothing => "The network in front of it cannot be trained; it stays as it is.".into(),
    };
    let mut lines = vec![("training", format!("A new head can be trained. {also}"))];
    for (i, o) in told.obstacles.iter().take(MOST).enumerate() {
        let node = if o.node.is_empty() { String::new() } else { format!("node '{}' ({}): ", o.node, o.operator) };
        lines.push((if i == 0 { "not trainable" } else { "" }, format!("{node}{}", o.why)));
    }
    if told.obstacles.len() > MOST {
        lines.push(("", format!("and {} nodes more (--json lists them)", told.obstacles.len() - MOST)));
    }
    lines
}

fn millions(count: u64) -> String {
    if count < 100_000 { count.to_string() } else { format!("{:.2} million", count as f64 / 1e6) }
}

/// The places to cut at, ranked.
fn cuts(candidates: &[Candidate]) -> String {
    let rows = candidates.iter().enumerate().map(|(i, c)| {
        let layer = match c.cut.classifier {
            Classifier::Linear => Some("linear layer"),
            Classifier::Conv => Some("convolution"),
            Classifier::None | Classifier::Chosen => None,
        };
        let behind = match (layer, c.cut.features, c.cut.classes) {
            (None, ..) => "nothing: no classifier was found".into(),
            (Some(layer), Some(features), Some(classes)) => format!("{layer}, {features} to {classes}"),
            (Some(layer), ..) => format!("{layer}, its weight is computed"),
        };
        let shape = c.shape.as_ref().map_or("not known".into(), |dims| format!("[{}]", dims.join(", ")));
        let which = if i == 0 { "default" } else { "" };
        vec![which.into(), c.cut.tensor.clone(), shape, behind, millions(c.parameters_behind)]
    });
    tables::table(&["--cut", "tensor", "shape", "what a new head replaces", "parameters behind"], 4, rows)
}
