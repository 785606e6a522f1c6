//! What the labels of a data set stand for: one class an image, several labels, or numbers.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Between the labels of an image, or the values of its targets, in one text.
pub(super) const SEPARATOR: char = ';';

/// What is learnt from labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Each image has one class.
    #[default]
    Multiclass,
    /// Each image has any number of labels, or none.
    Multilabel,
    /// Each image has a number for each target.
    Regression,
}

impl Task {
    /// Whether each image has one class.
    pub fn is_multiclass(&self) -> bool {
        *self == Task::Multiclass
    }

    /// Whether an image may have several labels.
    pub fn is_multilabel(&self) -> bool {
        *self == Task::Multilabel
    }

    /// What a model of this task gives a value for each of, in the plural or not.
    pub fn names(self, count: usize) -> String {
        let [one, more] = self.words();
        format!("{count} {}", if count == 1 { one } else { more })
    }

    /// What an output is, and several are.
    pub fn words(self) -> [&'static str; 2] {
        match self {
            Task::Multiclass => ["class", "classes"],
            Task::Multilabel => ["label", "labels"],
            Task::Regression => ["target", "targets"],
        }
    }

    /// What the values of so many label columns stand for: several labels where any has a `;`, or where there are several
    /// columns of 0 and 1; numbers where all are, and not all whole, or where there are several columns; else classes.
    pub(super) fn of<'a>(columns: usize, labels: impl Iterator<Item = &'a str> + Clone) -> Task {
        let some = labels.clone().any(|label| !label.is_empty());
        let numbers = || labels.clone().filter(|label| !label.is_empty()).map(|label| label.parse::<f64>());
        match columns {
            2.. if some && labels.clone().all(|label| flag(label).is_some()) => Task::Multilabel,
            2.. => Task::Regression,
            _ if labels.clone().any(|label| label.contains(SEPARATOR)) => Task::Multilabel,
            _ => {
                let all = numbers().all(|number| number.is_ok_and(f64::is_finite));
                let whole = numbers().all(|number| number.is_ok_and(|n| n.fract() == 0.));
                if some && all && !whole { Task::Regression } else { Task::Multiclass }
            }
        }
    }

    /// What a list of these classes would be taken for, where that is no classes, and what its reader has to do.
    pub fn mistaken(self, classes: &[String]) -> Option<&'static str> {
        match Task::of(1, classes.iter().map(String::as_str)) {
            _ if !self.is_multiclass() => None,
            Task::Multiclass => None,
            Task::Multilabel => Some("several labels, which a list cannot tell from one: give what it was made of"),
            Task::Regression => Some("numbers: read the list with --task multiclass"),
        }
    }

    /// An image's label as one text, from its values in the label columns of these names.
    ///
    /// # Errors
    /// Why it is none, in a few words.
    pub(super) fn text(self, values: &[&str], columns: &[String]) -> Result<String, String> {
        let joined = |parts: &[String]| parts.join(&SEPARATOR.to_string());
        match (self, values) {
            (Task::Multiclass, _) => Ok(values[0].into()),
            (Task::Multilabel, [labels]) => {
                let labels: BTreeSet<&str> = labels.split(SEPARATOR).map(str::trim).filter(|l| !l.is_empty()).collect();
                Ok(joined(&labels.into_iter().map(String::from).collect::<Vec<_>>()))
            }
            (Task::Multilabel, _) => {
                let mut labels = Vec::new();
                for (value, column) in values.iter().zip(columns) {
                    match flag(value) {
                        Some(true) => labels.push(column.clone()),
                        Some(false) => {}
                        None => return Err(format!("'{}' for '{column}' is neither 0 nor 1", value.escape_debug())),
                    }
                }
                labels.sort();
                Ok(joined(&labels))
            }
            (Task::Regression, _) => {
                let number = |value: &&str| match value.parse::<f32>() {
                    Ok(number) if number.is_finite() => Ok(number.to_string()),
                    _ if value.is_empty() => Err("no label".into()),
                    Ok(number) if !number.is_nan() && value.bytes().any(|byte| byte.is_ascii_digit()) => {
                        Err(format!("'{}' is more than float32 holds", value.escape_debug()))
                    }
                    _ => Err(format!("'{}' is no number", value.escape_debug())),
                };
                Ok(joined(&values.iter().map(number).collect::<Result<Vec<_>, String>>()?))
            }
        }
    }

    /// What such a text says, for each of `names`: 1 for the labels that are in it and 0 for others, or the numbers. `None`
    /// for classes, and where it does not say a number for each.
    pub fn truth(self, text: &str, names: &[String]) -> Option<Vec<f32>> {
        match self {
            Task::Multiclass => None,
            Task::Multilabel => {
                let own: BTreeSet<&str> = text.split(SEPARATOR).collect();
                Some(names.iter().map(|name| f32::from(u8::from(own.contains(name.as_str())))).collect())
            }
            Task::Regression => {
                let values: Option<Vec<f32>> = text.split(SEPARATOR).map(|value| value.parse().ok()).collect();
                values.filter(|values| values.len() == names.len() && values.iter().all(|value| value.is_finite()))
            }
        }
    }

    /// The text of what a model gives for an image: the labels whose probabilities reach their thresholds, or the numbers.
    pub fn said(self, row: &[f32], names: &[String], thresholds: &[f32]) -> String {
        let given = |(place, name): (usize, &String)| (row[place] >= thresholds[place]).then(|| name.clone());
        let parts: Vec<String> = match self {
            Task::Regression => row.iter().map(f32::to_string).collect(),
            _ => names.iter().enumerate().filter_map(given).collect(),
        };
        parts.join(&SEPARATOR.to_string())
    }
}

/// Whether a value of a label's own column says that an image has it.
fn flag(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "" | "false" => Some(false),
        "true" => Some(true),
        number => match number.parse::<f64>() {
            Ok(1.) => Some(true),
            Ok(0.) => Some(false),
            _ => None,
        },
    }
}

/// The labels in such a text.
pub(super) fn labels_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(SEPARATOR).filter(|label| !label.is_empty())
}

/// Which images are to be spread evenly over splits and folds together: those with the same rarest label, where `truths` are
/// labels `[images, labels]`; all of them where they are numbers.
pub fn strata(task: Task, truths: ArrayView2<f32>) -> Vec<usize> {
    if task != Task::Multilabel {
        return vec![0; truths.nrows()];
    }
    let counts: Vec<f32> = truths.columns().into_iter().map(|column| column.sum()).collect();
    let rarest = |row: ndarray::ArrayView1<f32>| {
        let own = (0..row.len()).filter(|&label| row[label] > 0.5);
        own.min_by(|&a, &b| counts[a].total_cmp(&counts[b])).unwrap_or(row.len())
    };
    truths.rows().into_iter().map(rarest).collect()
}

/// Why a column that is there is none of labels: see [`columns`].
pub(super) fn unusable(name: &str) -> String {
    let name = name.escape_debug();
    format!("'{name}' (--label-column) is named twice, or has the '{SEPARATOR}' in its name that stands between labels")
}

/// Names of several label columns: one that is called so, or those that are named with commas between, each once and none with
/// the sign that stands between labels. `Err` with the name of one that `has` does not find, or that cannot be.
pub(super) fn columns(named: &str, has: impl Fn(&str) -> Option<usize>) -> Result<Vec<usize>, String> {
    match has(named) {
        Some(place) => Ok(vec![place]),
        None if named.contains(',') => {
            let mut places = Vec::new();
            for name in named.split(',').map(str::trim) {
                let place = has(name).filter(|place| !places.contains(place) && !name.contains(SEPARATOR));
                places.push(place.ok_or(name)?);
            }
            Ok(places)
        }
        None => Err(named.into()),
    }
}
