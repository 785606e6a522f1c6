//! Tables of what lists in `run.json` hold.

use super::tables::{MOST, in_words, plain};
use crate::data::Task;
use crate::train::heads::Kind;
use serde::Serialize;
use serde_json::Value;

/// Columns of lists of objects, which have about ten.
const COLUMNS: usize = 30;
const HEADS: [&str; 7] = ["Head", "depths", "features", "macro-F1", "accuracy", "log-loss", "behind the best"];
const CREDITED: &str = "; behind the best with what is expected of classes that no fold can judge";
const DEPTHS: &str = "Depths compared, by cross-validation";

/// A table of whatever a list in `run.json` holds.
#[derive(Serialize)]
pub(super) struct Flat {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Cells of what was compared, with a word for the chosen one.
type Cells = fn(&Value, &str) -> Vec<String>;

/// Lists of flat objects with a title each, as far as this run has them.
pub(super) fn sections(run: &Value) -> Vec<Flat> {
    let lists = [
        (&run["ranking"], "Models compared, the best first"),
        (&run["head"]["learning_curve"]["points"], "Learning curve"),
        (&run["head"]["learning_curve"]["expected"], "What more images are expected to bring"),
        (&run["training"]["epochs"], "Epochs"),
    ];
    let flat = lists.into_iter().filter_map(|(list, title)| flat(list, title));
    compared(run).into_iter().chain(flat).chain(conventions(run)).collect()
}

/// The conventions of preprocessing that were tried, round by round.
fn conventions(run: &Value) -> Option<Flat> {
    let rounds = run["plan"]["evidence"].as_array()?.iter().take(MOST);
    let rows = rounds.flat_map(|round| {
        let tried = round["candidates"].as_array().into_iter().flatten().zip(0..).take(MOST);
        tried.map(|(one, place)| {
            let chosen = if round["chosen"].as_u64() == Some(place) { ", chosen" } else { "" };
            let figures = [&round["images"], &one["neighbours"], &one["probe"], &one["score"]].map(plain);
            [vec![plain(&one["spec"]) + chosen], figures.to_vec()].concat()
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let head = ["Convention", "images", "nearest neighbour", "probe", "score"].map(String::from).to_vec();
    (!rows.is_empty()).then(|| Flat { title: "Preprocessing: conventions compared".into(), head, rows })
}

/// The heads that were compared, on images that they did not learn from.
fn compared(run: &Value) -> Option<Flat> {
    let head = &run["head"];
    let compared = head["compared"].as_array().filter(|compared| !compared.is_empty())?;
    // Of several labels, or of numbers, there is one kind.
    let task = serde_json::from_value(run["plan"]["task"].clone()).unwrap_or_default();
    let (title, names, row): (_, &[&str], Cells) = match task {
        Task::Multiclass => ("Heads compared, by cross-validation", &HEADS, of_classes),
        Task::Multilabel => (DEPTHS, &["Depths", "features", "log-loss", "behind the best"], of_depths),
        Task::Regression => (DEPTHS, &["Depths", "features", "squared error", "behind the best"], of_depths),
    };
    let rows = compared
        .iter()
        .enumerate()
        .take(MOST)
        .map(|(place, one)| row(one, if head["chosen"].as_u64() == Some(place as u64) { ", chosen" } else { "" }));
    let credited = compared.iter().any(|one| one["expected"].as_f64() > Some(0.));
    let title = format!("{title}{}", if credited { CREDITED } else { "" });
    Some(Flat { title, head: names.iter().map(|name| (*name).into()).collect(), rows: rows.collect() })
}

fn of_classes(one: &Value, chosen: &str) -> Vec<String> {
    let kind = serde_json::from_value(one["kind"].clone()).map_or("?".into(), |kind: Kind| kind.to_string());
    let alike = match (one["adjusted"] == true, one["weighted"] == true) {
        (true, _) => ", classes alike",
        (_, true) => ", classes weighted",
        _ => "",
    };
    let figures = ["features", "macro_f1", "accuracy", "log_loss"].map(|key| plain(&one[key]));
    [vec![format!("{kind}{alike}{chosen}"), depths(one)], figures.to_vec(), vec![behind(one)]].concat()
}

fn of_depths(one: &Value, chosen: &str) -> Vec<String> {
    vec![depths(one) + chosen, plain(&one["features"]), plain(&one["loss"]), behind(one)]
}

fn depths(one: &Value) -> String {
    one["taps"].as_u64().unwrap_or(0).saturating_add(1).to_string()
}

fn behind(one: &Value) -> String {
    match [0, 1].map(|i| one["behind"][i].as_f64()) {
        [Some(0.), _] => "the best".into(),
        [Some(mean), Some(error)] => format!("{mean:.4} ± {error:.4}"),
        _ => "–".into(),
    }
}

/// An array of objects.
fn flat(list: &Value, title: &str) -> Option<Flat> {
    let rows: Vec<_> = list.as_array()?.iter().filter_map(Value::as_object).take(MOST).collect();
    let mut head: Vec<&String> = Vec::new();
    for key in rows.iter().flat_map(|row| row.iter().filter(|(_, v)| is_plain(v)).map(|(key, _)| key)) {
        if head.len() < COLUMNS && !head.contains(&key) {
            head.push(key);
        }
    }
    let cells = |row: &&serde_json::Map<String, Value>| {
        head.iter().map(|key| plain(row.get(*key).unwrap_or(&Value::Null))).collect()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let head = head.iter().map(|key| in_words(key)).collect();
    (!rows.is_empty()).then(|| Flat { title: title.into(), head, rows })
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}
