//! What was done in a paragraph, and what the model is.

use super::tables::plain;
use super::{prepared, shown};
use crate::data::Task;
use crate::error::printable;
use crate::plan::preprocessing::in_words;
use crate::report;
use crate::report::recorded::Recorded;
use serde_json::Value;

fn text(value: &Value) -> String {
    value.as_str().map(shown).unwrap_or_default()
}

/// How many images a split has.
fn count(run: &Value, split: &str) -> u64 {
    if let Some(count) = run["data"]["images"][split].as_u64() {
        return count;
    }
    run["data"]["counts"][split].as_array().into_iter().flatten().filter_map(Value::as_u64).fold(0, u64::saturating_add)
}

/// What was done, in whole sentences.
pub(super) fn summary(recorded: &Recorded) -> String {
    let run = &recorded.run;
    let (plan, model) = (&run["plan"], text(&run["model"]["path"]));
    let classes = recorded.task.is_multiclass();
    let names = recorded.task.names(recorded.classes.len());
    let head = format!("a new head ({}) for {names}", text(&plan["head"]));
    let mut sentences = vec![match run["training"].is_object() {
        false => format!("{model} got {head} on its {} features; all before it stayed as it was", plan["features"]),
        true => {
            // The first row is the start, before any step.
            let last = run["training"]["epochs"].as_array().and_then(|rows| rows.last());
            let epochs = last.and_then(|row| row["epoch"].as_u64()).unwrap_or_default();
            let from = match &run["training"]["frozen_before"] {
                Value::String(tensor) => format!("all behind the tensor {}", shown(tensor)),
                _ => "all of it".into(),
            };
            let none = ", none of them better on the validation images than the start, which is what was written";
            let gain = if run["training"]["no_gain"].is_string() { none } else { "" };
            format!("{model} got {head}, and {from} was trained for {epochs} epochs{gain}")
        }
    }];
    let counts = [("train", "trained it"), ("val", "validated it"), ("test", "tested it")];
    let counts = counts.map(|(split, what)| (count(run, split), what)).into_iter().filter(|(n, _)| *n > 0);
    let counts: Vec<_> = counts.map(|(n, what)| format!("{} {what}", report::images(n as usize))).collect();
    sentences.push(format!("Of {}, {}", text(&run["data"]["path"]), counts.join(", ")));
    if let Some(column) = run["data"]["groups"]["column"].as_str() {
        sentences.push(format!("Images of one “{}” are all on one side of each split and fold", shown(column)));
    }
    let p = &run["parity"];
    if let (Some(difference), Some(agreement)) = (p["max_rel_logit_diff"].as_f64(), p["class_agreement"].as_f64()) {
        sentences.push(format!(
            "The written file was loaded afresh in {} {} and gave for {} what training saw, within {difference:.0e} of \
             the outputs' scale{}",
            text(&p["engine"]).replace("onnxruntime", "ONNX Runtime"),
            text(&p["version"]),
            proven(p),
            if classes { format!(", and the same class for {:.0} % of them", 100. * agreement) } else { String::new() }
        ));
    }
    sentences.join(". ") + "."
}

/// The model's input in a line.
fn input(run: &Value) -> String {
    let input = &run["plan"]["input"];
    let side = |name: &str| plain(&input[name]);
    let batch = input["batch"].as_u64().map_or("any".into(), |batch| batch.to_string());
    format!(
        "{} {}, {}, {} channels, {} × {} pixels, batch {batch}",
        text(&input["data_type"]),
        text(&run["model"]["input"]["name"]),
        text(&run["model"]["input"]["layout"]).to_uppercase(),
        side("channels"),
        side("height"),
        side("width")
    )
}

/// The output, and what its values are.
fn output(output: &Value, task: Task) -> String {
    let values = match output["activation"].as_str() {
        None => String::new(),
        _ if task == Task::Regression => String::new(),
        Some("none") if task == Task::Multilabel => " (scores: the sigmoid makes probabilities of them)".into(),
        Some("none") => " (scores: softmax makes probabilities of them)".into(),
        Some(other) => format!(" (after {})", shown(other)),
    };
    text(&output["name"]) + &values
}

/// How images become values, in a line.
fn preprocessing(plan: &Value) -> String {
    printable(&prepared(plan).map_or_else(|why| why, |p| in_words(&p)))
}

/// The images of the proof.
fn proven(parity: &Value) -> String {
    report::images(parity["images"].as_u64().unwrap_or_default() as usize)
}

/// How near the written model is to what was trained.
fn proof(parity: &Value, task: Task) -> String {
    let same = parity["class_agreement"].as_f64().map_or("?".into(), |share| format!("{:.0} %", 100. * share));
    let same = if task.is_multiclass() { format!(", the same class for {same}") } else { String::new() };
    let small = |key: &str| parity[key].as_f64().map_or("?".into(), |v| format!("{v:.0e}"));
    format!(
        "{} {}, {}: outputs within {} of their scale (allowed {}){same}",
        text(&parity["engine"]),
        text(&parity["version"]),
        proven(parity),
        small("max_rel_logit_diff"),
        small("tolerance")
    )
}

/// The model card: what, and its value.
pub(super) fn entries(recorded: &Recorded) -> Vec<[String; 2]> {
    let run = &recorded.run;
    let (plan, model) = (&run["plan"], &run["model"]);
    let seconds = run["seconds"].as_object().into_iter().flatten();
    let seconds = seconds.filter_map(|(stage, v)| Some(format!("{} {:.1} s", stage.replace('_', " "), v.as_f64()?)));
    let command = run["command"].as_array().into_iter().flatten().map(text);
    let names = match recorded.task {
        Task::Multiclass => "Classes",
        Task::Multilabel => "Labels",
        Task::Regression => "Targets",
    };
    let in_graph = if run["baked"].is_object() { "; it is in the model, which takes bytes of any size" } else { "" };
    let before = match plan["taps"].as_array().map_or(0, Vec::len) {
        0 => String::new(),
        1 => " and a tensor before it".into(),
        taps => format!(" and {taps} tensors before it"),
    };
    let entries = [
        ("Source model", text(&model["path"])),
        ("Its SHA-256", text(&model["sha256"])),
        ("Its licence", model["licence"].as_str().map_or("not stated in the file".into(), shown)),
        ("Opset", plain(&model["opset"])),
        ("Input", input(run)),
        ("Output", output(&model["output"], recorded.task)),
        ("Cut", format!("{}{before}, {} features", text(&plan["cut"]), plain(&plan["features"]))),
        ("Trained", text(&plan["train"])),
        ("Head", text(&plan["head"])),
        ("Preprocessing", preprocessing(plan) + in_graph),
        ("Preprocessing from", text(&plan["preprocessing_source"])),
        ("Engine", format!("{} {}", text(&plan["engine"]["name"]), text(&plan["engine"]["version"]))),
        ("Proof", proof(&run["parity"], recorded.task)),
        ("Time", seconds.collect::<Vec<_>>().join(", ")),
        ("Seed", plain(&run["seed"])),
        ("Command", command.collect::<Vec<_>>().join(" ")),
        (names, recorded.classes.iter().map(|class| shown(class)).collect::<Vec<_>>().join(", ")),
    ];
    entries.into_iter().map(|(name, value)| [name.to_string(), value]).collect()
}
