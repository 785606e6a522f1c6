//! What a list of images has beside their paths, labels and splits.

use super::dataset::Dataset;
use super::rows;
use super::table::{Columns, places, usual};
use crate::error::{Error, Result};
use crate::progress::Progress;
use std::collections::HashMap;
use std::path::Path;

/// The other columns of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    /// Their titles, in their order.
    pub names: Vec<String>,
    /// The values of each image, by its path.
    pub values: HashMap<String, Vec<String>>,
}

impl Dataset {
    /// Reads what its list, which was read with these `columns`, has in others. Where the last columns have the titles
    /// `without`, in this order, an earlier run put them there, and they are left out. Nothing where the images come from
    /// elsewhere.
    ///
    /// # Errors
    /// Those of reading the list.
    pub fn beside(&self, columns: &Columns, without: &[&str], progress: Progress) -> Result<Beside> {
        let table = self.source.place();
        if !self.source.is_list() {
            return Ok(Beside::default());
        }
        let (rows, _) = rows::read(table, progress)?;
        let Some(first) = rows.first() else { return Ok(Beside::default()) };
        let titles: Vec<String> = first.values().map(String::from).collect();
        let (used, headed) = places(&titles, &rows, columns).map_err(|what| Error::data(table, what))?;
        let end = titles.len().saturating_sub(without.len());
        let end = if titles[end..].iter().eq(without) { end } else { titles.len() };
        let is_used =
            |place: &usize| used.labels.contains(place) || [Some(used.path), used.split].contains(&Some(*place));
        let others: Vec<usize> = (0..end).filter(|place| !is_used(place)).collect();
        let names = others.iter().map(|&place| titles[place].clone()).collect();
        let folder = table.parent().unwrap_or(Path::new(""));
        let mut values = HashMap::new();
        for row in rows[usize::from(headed)..].iter().filter(|row| row.columns() == titles.len()) {
            let own = || others.iter().map(|&place| row.get(place).to_owned()).collect();
            // The first line of an image counts.
            values.entry(usual(row.get(used.path), folder)).or_insert_with(own);
        }
        Ok(Beside { names, values })
    }
}
