//! Numbers of lists with decimal commas, as spreadsheets write them.

use super::rows::{Row, cut};
use super::task::Task;

/// Writes labels with decimal commas with points, where all labels are numbers then, or numbers are asked for; none where another
/// `task` is. Where no semicolon stands between values, commas before three digits may part thousands instead: if there are no
/// others, all stay as they are. Answers what the user should know of it.
pub(super) fn with_points(rows: &mut [Row], labels: &[usize], task: Option<Task>, delimiter: u8) -> Option<String> {
    if task.is_some_and(|task| task != Task::Regression) {
        return None;
    }
    let own = |row: &Row| {
        let columns = row.columns();
        labels.iter().copied().filter(move |&place| place < columns)
    };
    // How many there are, and the first.
    let (mut commas, mut thousands, mut others, mut pointed) = ((0, None), 0, (0, None), None);
    for row in rows.iter() {
        for value in own(row).map(|place| row.get(place)).filter(|value| !value.is_empty()) {
            match is_number(value) {
                true if value.contains(',') => {
                    thousands += usize::from(parts_thousands(value));
                    commas = (commas.0 + 1, commas.1.or(Some(value)));
                }
                true => pointed = pointed.or(Some(value).filter(|value| value.contains('.'))),
                false => others = (others.0 + 1, others.1.or(Some(value))),
            }
        }
    }
    let shown = |value: &str| cut(value).escape_debug().to_string();
    let first = shown(commas.1?);
    let semicolons = delimiter == b';';
    // Where numbers are asked for, what is none is left out, and tells nothing of these.
    if !semicolons && thousands == commas.0 && (others.1.is_none() || task.is_some()) {
        let what = format!("in labels as '{first}' the comma may part thousands, or be decimal: they are no numbers");
        return Some(format!("{what}; write them without it, or with a point"));
    }
    if let Some(pointed) = pointed {
        let what = format!("labels have decimal commas, as '{first}', and points, as '{}'", shown(pointed));
        return Some(format!("{what}: those with commas are no numbers; write all with points"));
    }
    if let Some(other) = others.1.filter(|_| task.is_none()) {
        let what = format!("{} labels are numbers with decimal commas, as '{first}'", commas.0);
        let what = format!("{what}, and {} are none, as '{}': none is read as one", others.0, shown(other));
        return (commas.0 >= others.0).then(|| format!("{what}; --task regression leaves out what is none"));
    }
    let note = format!("labels as '{first}' are read as numbers with decimal commas; --task multiclass keeps them");
    let note = (!semicolons && task.is_none()).then_some(note);
    for row in rows {
        let commas = own(row).filter(|&place| row.get(place).contains(',') && is_number(row.get(place)));
        commas.collect::<Vec<_>>().into_iter().for_each(|place| row.put_point(place));
    }
    note
}

/// Whether a value is a number, with a point or a comma.
fn is_number(value: &str) -> bool {
    value.replacen(',', ".", 1).parse::<f64>().is_ok_and(f64::is_finite)
}

/// Whether a number's comma could stand before its last three digits of thousands: `1,234`.
fn parts_thousands(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, after) = value.trim_start_matches(['-', '+']).split_once(',').unwrap_or_default();
    digits(before) && before.len() <= 3 && !before.starts_with('0') && digits(after) && after.len() == 3
}
