//! The run's figures as rows of tables.

use super::shown;
use crate::data::Split;
use crate::error::printable;
use crate::metrics::bootstrap::FEWEST_DRAWN;
use crate::report::recorded::Recorded;
use crate::report::{THIS_NETWORK, predicted_by, time};
use crate::train::heads::{Abstention, Answered};
use serde::Serialize;
use serde_json::{Value, json};

/// Classes beyond which a confusion matrix is no reading.
pub(super) const WIDEST: usize = 60;
/// Rows of lists that have no end.
pub(super) const MOST: usize = 200;

/// A figure's key, name, and what it says.
pub(super) type Told = (&'static str, &'static str, &'static str);
const FIGURES: [Told; 16] = [
    ("accuracy", "Accuracy", "share of images that are right"),
    ("balanced_accuracy", "Balanced accuracy", "mean recall of the classes"),
    ("top2_accuracy", "Top-2 accuracy", "right class among the two likeliest"),
    ("top3_accuracy", "Top-3 accuracy", "right class among the three likeliest"),
    ("top5_accuracy", "Top-5 accuracy", "right class among the five likeliest"),
    (
        "macro_f1",
        "Macro F1",
        "mean F1 of the classes that occur or are predicted, rare ones counting as much as common ones",
    ),
    ("weighted_f1", "Weighted F1", "mean F1, classes weighted with their images"),
    (
        "macro_precision",
        "Macro precision",
        "how often a prediction is right, mean of the classes that occur or are predicted",
    ),
    ("macro_recall", "Macro recall", "how many of a class are found, mean of the classes that occur or are predicted"),
    ("log_loss", "Log-loss", "nats an image; lower is better"),
    ("brier", "Brier score", "squared distance of the probabilities; lower is better"),
    ("roc_auc", "ROC-AUC", "one class against the others, mean"),
    ("average_precision", "Average precision", "one class against the others, mean"),
    ("cohen_kappa", "Cohen's kappa", "agreement beyond chance"),
    ("mcc", "Matthews' correlation", "0 by chance, 1 perfect"),
    ("ece", "Calibration error (ECE)", "distance of how sure it is from how often it is right; lower is better"),
];
/// The keys of those that are shown large.
const LARGE: [&str; 3] = ["accuracy", "macro_f1", "log_loss"];

/// A figure as a sentence or a heading has it, by its key in `run.json`.
pub(super) fn in_words(key: &str) -> String {
    let known = match key {
        "macro_f1" => "macro-F1",
        "micro_f1" => "micro-F1",
        "log_loss" => "log-loss",
        "r2" => "R²",
        "mae" => "mean absolute error",
        "rmse" => "root mean squared error",
        "std_err" => "standard error",
        "lr" => "learning rate",
        "logme" => "LogME",
        "h_score" => "H-score",
        "neighbours" => "nearest neighbour",
        "ms" => "ms an image",
        _ => return shown(&key.replace('_', " ")),
    };
    known.into()
}

/// A figure with its interval.
#[derive(Serialize)]
pub(super) struct Figure {
    name: &'static str,
    help: &'static str,
    value: Option<f64>,
    interval: Option<[f64; 2]>,
    baseline: Option<f64>,
    nearest: Option<f64>,
    other: Option<f64>,
}

impl Figure {
    /// Whether the run has it.
    pub(super) fn is_there(&self) -> bool {
        self.value.is_some()
    }
}

pub(super) fn figure(m: &Value, other: Option<&Value>, (key, name, help): Told) -> Figure {
    let interval = serde_json::from_value(m["intervals"][key].clone()).ok();
    let value = |m: &Value| m[key].as_f64();
    let (baseline, nearest) = (value(&m["baseline"]), value(&m["nearest_mean"]));
    Figure { name, help, value: value(m), interval, baseline, nearest, other: other.and_then(value) }
}

/// The figures that are shown large.
pub(super) fn tiles(m: &Value) -> Vec<Figure> {
    large(m, &FIGURES, &LARGE)
}

/// Those of a list that have these keys, as far as the run has them.
pub(super) fn large(m: &Value, list: &[Told], keys: &[&str]) -> Vec<Figure> {
    let rows = keys.iter().filter_map(|key| list.iter().find(|row| row.0 == *key));
    rows.map(|&row| figure(m, None, row)).filter(Figure::is_there).collect()
}

/// All figures that the run has.
pub(super) fn figures(m: &Value, other: Option<&Value>) -> Vec<Figure> {
    FIGURES.iter().map(|&row| figure(m, other, row)).filter(Figure::is_there).collect()
}

/// A class's figures.
#[derive(Serialize)]
pub(super) struct Class {
    name: String,
    support: u64,
    /// Precision, recall, F1, ROC-AUC, average precision.
    figures: Vec<Option<f64>>,
}

/// A list's rows with their names and these figures.
pub(super) fn named(list: &Value, name: &str, keys: &[&str]) -> Vec<Class> {
    let class = |c: &Value| Class {
        name: shown(c[name].as_str().unwrap_or_default()),
        support: c["support"].as_u64().unwrap_or_default(),
        figures: keys.iter().map(|key| c[*key].as_f64()).collect(),
    };
    list.as_array().into_iter().flatten().map(class).collect()
}

/// The classes, worst F1 first.
pub(super) fn classes(m: &Value) -> Vec<Class> {
    let keys = ["precision", "recall", "f1", "roc_auc", "average_precision"];
    let mut classes = named(&m["per_class"], "class", &keys);
    let f1 = |class: &Class| class.figures[2].unwrap_or_default();
    classes.sort_by(|a, b| f1(a).total_cmp(&f1(b)));
    classes
}

/// A row of the confusion matrix.
#[derive(Serialize)]
pub(super) struct Row {
    number: usize,
    name: String,
    /// Count, and its share of the row.
    cells: Vec<(u64, f64)>,
}

/// The confusion matrix, where it can be read.
pub(super) fn confusion(m: &Value) -> Option<Vec<Row>> {
    let matrix = m["confusion"].as_array().filter(|rows| rows.len() <= WIDEST)?;
    let counts: Vec<Vec<u64>> =
        matrix.iter().map(|row| serde_json::from_value(row.clone()).ok()).collect::<Option<_>>()?;
    let names = m["per_class"].as_array()?.iter().map(|c| shown(c["class"].as_str().unwrap_or_default()));
    let row = |(number, (row, name)): (usize, (Vec<u64>, String))| {
        let sum = row.iter().map(|&n| n as f64).sum::<f64>().max(1.);
        Row { number, name, cells: row.iter().map(|&n| (n, n as f64 / sum)).collect() }
    };
    let fits = counts.iter().all(|row| row.len() == counts.len());
    fits.then(|| counts.into_iter().zip(names).enumerate().map(row).collect())
}

/// The head's figures over the folds of its cross-validation; without a deviation where images were left out by themselves.
pub(super) fn folds(run: &Value) -> Option<Value> {
    let head = &run["head"];
    // Of a network that was trained inside, they are the probe's.
    let figures = head["by_fold"].as_object().or(head["cross_validation"].as_object());
    let figures = figures.filter(|_| run["training"].is_null())?;
    let told: Vec<Value> = figures
        .iter()
        .filter_map(|(name, value)| {
            let mean = value.as_f64().or(value[0].as_f64()).filter(|_| name != "images")?;
            Some(json!({ "name": in_words(name), "mean": mean, "deviation": value[1].as_f64() }))
        })
        .collect();
    let (count, repeats) = (head["folds"].as_u64(), head["repeats"].as_u64());
    (!told.is_empty()).then(|| json!({ "count": count, "repeats": repeats, "figures": told }))
}

/// The column of what joins images and, where whole groups were drawn for the intervals of those that judge, how many there are and
/// need to be.
pub(super) fn joined(recorded: &Recorded) -> Option<Value> {
    let column = recorded.run["data"]["groups"]["column"].as_str().map(shown)?;
    let drawn = recorded.judged().and_then(|split| recorded.run["metrics"][split.to_string()]["groups"].as_u64());
    Some(json!({ "column": column, "drawn": drawn, "fewest": FEWEST_DRAWN }))
}

/// The calibration error on images that the head did not learn from, before the temperature and with it, and the temperature.
pub(super) fn calibrated(run: &Value) -> Option<[f64; 3]> {
    let number = |value: &Value| value.as_f64();
    // Of a network that was trained inside, it is the probe's.
    let errors = if run["training"].is_null() { &run["head"]["calibration_error"] } else { &Value::Null };
    Some([number(&errors[0])?, number(&errors[1])?, number(&run["head"]["temperature"])?])
}

/// The temperature, where nothing told it.
pub(super) fn usual(run: &Value) -> Option<f64> {
    let is_told = run["head"]["uncompared"].is_null() || !run["training"].is_null();
    run["head"]["temperature"].as_f64().filter(|_| !is_told)
}

/// From which probability on answers are to be taken, and what becomes of the judged images then; or why that is not known.
pub(super) fn abstention(recorded: &Recorded) -> Option<Value> {
    let (head, split) = (&recorded.run["head"], recorded.judged().map(|split| split.to_string()));
    let of: Option<Abstention> = serde_json::from_value(head["abstention"].clone()).ok();
    let answered = split.as_ref().map(|split| head["held_out_abstention"][split].clone());
    let answered: Option<Answered> = answered.and_then(|told| serde_json::from_value(told).ok());
    let why = head["no_abstention"].as_str().map(shown);
    let told = json!({ "of": of, "answered": answered, "split": split, "why": why });
    (of.is_some() || why.is_some()).then_some(told).filter(|_| recorded.run["training"].is_null())
}

/// The calibration error of the judged images as it would be without the temperature.
pub(super) fn uncalibrated(recorded: &Recorded) -> Option<f64> {
    let errors = &recorded.run["head"]["held_out_calibration_error"][recorded.judged()?.to_string()];
    errors[0].as_f64().filter(|_| recorded.run["training"].is_null())
}

/// What training inside the network would take, and what is known of its gain.
#[derive(Serialize)]
pub(super) struct FineTuning {
    /// What would be trained, and for how long, or why it cannot be.
    rows: Vec<[String; 2]>,
    unpredicted: Option<String>,
    depth: Option<f64>,
    images: Option<[f64; 2]>,
}

/// `None` where the run did not ask.
pub(super) fn fine_tuning(run: &Value) -> Option<FineTuning> {
    let told = &run["fine_tuning"];
    // An earlier version predicted nothing for other networks.
    let by = predicted_by(&told["trials_with"].as_str().map_or(THIS_NETWORK.into(), shown));
    let row = |m: &Value| {
        let reason = || shown(m["reason"].as_str().unwrap_or("?"));
        let gain = serde_json::from_value(m["predicted_gain"].clone())
            .map_or(String::new(), |[least, most]: [f64; 2]| format!("; {by}: {least:+.3} to {most:+.3}"));
        let long = m["seconds"]
            .as_f64()
            .map(|seconds| format!("about {}, {} epochs{gain}", time(seconds.max(1.)), plain(&m["epochs"])));
        [shown(m["train"].as_str().unwrap_or_default()), long.unwrap_or_else(reason)]
    };
    Some(FineTuning {
        rows: told["measured"].as_array()?.iter().take(MOST).map(row).collect(),
        unpredicted: told["no_predicted_gain"].as_str().map(shown),
        depth: told["gain_of_depth"].as_f64().filter(|gain| *gain > 0.),
        images: serde_json::from_value(told["gain_of_images"].clone()).ok(),
    })
}

/// A value as a person writes it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::String(text) => shown(text),
        Value::Number(n) if n.is_f64() => match n.as_f64().unwrap_or_default() {
            v if v == 0. || (1e-3..1e5).contains(&v.abs()) => format!("{v:.4}"),
            v => format!("{v:.2e}"),
        },
        other => other.to_string(),
    }
}

/// What was left out, and why: the first ones, and how many more.
pub(super) fn skipped(run: &Value) -> (Vec<[String; 2]>, usize) {
    let list = run["data"]["skipped"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| shown(value.as_str().unwrap_or_default());
    let rows = list.iter().take(MOST).map(|row| [text(&row["path"]), text(&row["reason"])]).collect();
    (rows, list.len().saturating_sub(MOST))
}

/// What else was noticed of data and model.
pub(super) fn notes(run: &Value) -> Vec<String> {
    let lists = [&run["data"]["notes"], &run["plan"]["notes"]];
    let notes = lists.into_iter().filter_map(|list| list.as_array()).flatten();
    let notes = notes.chain([&run["training"]["no_gain"]]);
    notes.filter_map(|note| note.as_str().map(printable)).collect()
}

/// Images by split, with the least and the most of a class.
pub(super) fn counts(run: &Value) -> Vec<(String, u64, u64, u64)> {
    let row = |split: Split| {
        let counts = run["data"]["counts"].get(split.to_string())?.as_array()?;
        let counts: Vec<u64> = counts.iter().filter_map(Value::as_u64).collect();
        let sum = || counts.iter().fold(0u64, |sum, &n| sum.saturating_add(n));
        let all = run["data"]["images"][split.to_string()].as_u64().unwrap_or_else(sum);
        Some((split.to_string(), all, *counts.iter().min()?, *counts.iter().max()?))
    };
    Split::ALL.into_iter().filter_map(row).collect()
}
