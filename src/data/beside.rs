//! What a list of images has beside their paths, labels and splits.

use super::dataset::Dataset;
use super::rows;
use super::table::{self, Columns, LABELS, SPLITS, places};
use crate::error::{Error, Result};
use crate::progress::Progress;
use std::collections::HashMap;
use std::path::Path;

/// The other columns of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// Titles for path, label and split: the list's own, where they, or the flags that the list was read with, tell what stands
    /// below; else those that tell it.
    pub usual: [String; 3],
    /// Those of the others, in their order.
    pub names: Vec<String>,
    /// The values of each image, by its path.
    pub values: HashMap<String, Vec<String>>,
}

impl Default for Beside {
    fn default() -> Beside {
        Beside { usual: USUAL.map(String::from), names: Vec::new(), values: HashMap::new() }
    }
}

const USUAL: [&str; 3] = ["path", "label", "split"];
/// What stands before a title of ours where the list has a column that is called so.
const OWN: &str = "audit_";

impl Dataset {
    /// Reads what its list, which was read with these `columns`, has in others. Where the last columns have the titles
    /// `without`, in this order, with `audit_` before them or not, an earlier run put them there, and they are left out. Nothing
    /// where the images come from elsewhere.
    ///
    /// # Errors
    /// Those of reading the list.
    pub fn beside(&self, columns: &Columns, without: &[&str], progress: Progress) -> Result<Beside> {
        let list = self.source.place();
        if !self.source.is_list() {
            return Ok(Beside::default());
        }
        let (rows, _) = rows::read(list, progress)?;
        let Some(first) = rows.first() else { return Ok(Beside::default()) };
        let titles: Vec<String> = first.values().map(String::from).collect();
        let (used, headed) = places(&titles, &rows, columns).map_err(|what| Error::data(list, what))?;
        let is_used =
            |place: &usize| used.labels.contains(place) || [Some(used.path), used.split].contains(&Some(*place));
        let end = titles.len().saturating_sub(without.len());
        let plain = titles[end..].iter().map(|title| title.trim_start_matches(OWN));
        // A column with labels, say, is the list's own, and so are those beside it.
        let ours = plain.eq(without.iter().copied()) && !(end..titles.len()).any(|place| is_used(&place));
        let end = if ours { end } else { titles.len() };
        let others: Vec<usize> = (0..end).filter(|place| !is_used(place)).collect();
        let title = |place: usize| if headed { titles[place].clone() } else { format!("column{}", place + 1) };
        let names: Vec<String> = others.iter().map(|&place| title(place)).collect();
        let usual = |role: usize, place: Option<usize>, flag: &Option<String>, known: &[&str]| {
            let told = |title: &&String| flag.as_ref() == Some(title) || known.contains(&&*title.to_lowercase());
            let own = place.filter(|_| headed).map(|place| &titles[place]).filter(told);
            own.cloned().unwrap_or_else(|| free(USUAL[role], &names))
        };
        let usual = [
            // Whatever it is called, it holds images' names, or a flag tells it.
            if headed { titles[used.path].clone() } else { USUAL[0].into() },
            usual(1, used.labels.first().copied(), &columns.label, &LABELS),
            usual(2, used.split, &columns.split, &SPLITS),
        ];
        let folder = list.parent().unwrap_or(Path::new(""));
        let mut values = HashMap::new();
        for row in rows[usize::from(headed)..].iter().filter(|row| row.columns() == titles.len()) {
            let own = || others.iter().map(|&place| row.get(place).to_owned()).collect();
            // The first line of an image counts.
            values.entry(table::usual(row.get(used.path), folder)).or_insert_with(own);
        }
        Ok(Beside { usual, names, values })
    }
}

impl Beside {
    /// `titles` for further columns, with `audit_` before all of them as often as one of them is taken.
    pub fn free(&self, titles: &[&str]) -> Vec<String> {
        let taken =
            |titles: &[String]| titles.iter().any(|title| self.usual.contains(title) || self.names.contains(title));
        let mut found: Vec<String> = titles.iter().map(|title| title.to_string()).collect();
        while taken(&found) {
            found.iter_mut().for_each(|title| title.insert_str(0, OWN));
        }
        found
    }
}

fn free(title: &str, names: &[String]) -> String {
    if names.iter().any(|name| name == title) { format!("{OWN}{title}") } else { title.into() }
}
