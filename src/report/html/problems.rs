//! What the run found wrong with its images.

use super::shown;
use serde::Serialize;
use serde_json::Value;

/// Findings of a kind that are named.
const MOST: usize = 20;

/// A kind as `run.json` has it, what it means, and how its findings go on: the image, then the other copy or label.
const KINDS: [(&str, &str, &str); 7] = [
    ("leak", "training images that are copies of validation or test images: figures flatter", "is a copy of"),
    ("conflict", "training images that have a copy with another label", "is a copy of"),
    ("duplicate", "training images that are copies of others", "is a copy of"),
    ("suspect", "training images that look like another class: wrongly labelled, or hard", "looks like"),
    ("blank", "training images that show nothing", "is"),
    ("tiny", "training images of far fewer pixels than usual", "has"),
    ("outlier", "training images that are far from all others", "is"),
];

/// What was found.
#[derive(Serialize)]
pub(super) struct Problems {
    complete: bool,
    left_out: u64,
    kinds: Vec<Kind>,
}

#[derive(Serialize)]
struct Kind {
    count: u64,
    what: &'static str,
    /// Path, label, and what it is like.
    rows: Vec<[String; 3]>,
}

/// `None` where the run did not look.
pub(super) fn problems(run: &Value) -> Option<Problems> {
    let found = Some(&run["problems"]).filter(|found| found.is_object())?;
    let kind = |(key, what, like): (&str, &'static str, &str)| {
        let own = found["findings"].as_array().into_iter().flatten().filter(|finding| finding["kind"] == key);
        let text = |value: &Value| shown(value.as_str().unwrap_or_default());
        let row = |f: &Value| [text(&f["path"]), text(&f["label"]), format!("{like} {}", text(&f["suggestion"]))];
        let count = found["counts"][key].as_u64().filter(|&count| count > 0)?;
        Some(Kind { count, what, rows: own.take(MOST).map(row).collect() })
    };
    Some(Problems {
        complete: found["complete"] == true,
        left_out: found["left_out"].as_u64().unwrap_or_default(),
        kinds: KINDS.into_iter().filter_map(kind).collect(),
    })
}
