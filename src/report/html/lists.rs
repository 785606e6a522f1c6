//! Tables of what lists in `run.json` hold.

use super::shown;
use super::tables::{MOST, plain};
use crate::train::heads::Kind;
use serde::Serialize;
use serde_json::Value;

/// Columns of lists of objects, which have about ten.
const COLUMNS: usize = 30;

/// A table of whatever a list in `run.json` holds.
#[derive(Serialize)]
pub(super) struct Flat {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Lists of flat objects with a title each, as far as this run has them.
pub(super) fn sections(run: &Value) -> Vec<Flat> {
    let lists = [
        (&run["head"]["learning_curve"]["points"], "Learning curve"),
        (&run["head"]["learning_curve"]["expected"], "What more images are expected to bring"),
        (&run["training"]["epochs"], "Epochs"),
        (&run["plan"]["evidence"], "Preprocessing: conventions compared"),
    ];
    heads(&run["head"]).into_iter().chain(lists.into_iter().filter_map(|(list, title)| flat(list, title))).collect()
}

/// The heads that were compared, on images that they did not learn from.
fn heads(head: &Value) -> Option<Flat> {
    let compared = head["compared"].as_array().filter(|compared| !compared.is_empty())?;
    // Of several labels, or of numbers, there is one kind.
    if compared[0].get("loss").is_some() {
        return flat(&head["compared"], "Depths compared, by cross-validation");
    }
    let row = |(place, one): (usize, &Value)| {
        let kind = serde_json::from_value(one["kind"].clone()).map_or("?".into(), |kind: Kind| kind.to_string());
        let alike = match (one["adjusted"] == true, one["weighted"] == true) {
            (true, _) => ", classes alike",
            (_, true) => ", classes weighted",
            _ => "",
        };
        let behind = match [0, 1].map(|i| one["behind"][i].as_f64()) {
            [Some(0.), _] => "the best".into(),
            [Some(mean), Some(error)] => format!("{mean:.4} ± {error:.4}"),
            _ => "–".into(),
        };
        let chosen = if head["chosen"].as_u64() == Some(place as u64) { ", chosen" } else { "" };
        let figures = ["features", "macro_f1", "accuracy", "log_loss"].map(|key| plain(&one[key]));
        let depths = (one["taps"].as_u64().unwrap_or(0) + 1).to_string();
        [vec![format!("{kind}{alike}{chosen}"), depths], figures.to_vec(), vec![behind]].concat()
    };
    let head = ["Head", "depths", "features", "macro-F1", "accuracy", "log-loss", "behind the best"];
    Some(Flat {
        title: "Heads compared, by cross-validation".into(),
        head: head.map(String::from).to_vec(),
        rows: compared.iter().enumerate().take(MOST).map(row).collect(),
    })
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
    let head = head.iter().map(|key| shown(&key.replace('_', " "))).collect();
    (!rows.is_empty()).then(|| Flat { title: title.into(), head, rows })
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}
