//! Images that belong together, as those of one patient: they stand on one side of every split.

use super::dataset::{Dataset, ReadOptions, Split};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Times that groups are looked at; each makes the shares better, and the first few do most.
const PASSES: usize = 10;
/// Less than that is rounding.
const NEARER: f64 = 1e-12;

/// Which images belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// The list's column that tells it.
    pub column: String,
    /// Each image's group, by its path.
    pub of: HashMap<String, String>,
}

/// The number of each name in the order of all of them.
pub fn numbered(names: &[&str]) -> Vec<usize> {
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    let numbers: HashMap<&str, usize> = distinct.into_iter().enumerate().map(|(i, name)| (name, i)).collect();
    names.iter().map(|name| numbers[name]).collect()
}

impl Dataset {
    /// The group of each of these images, by number in order of the groups' names; nothing where there are no groups.
    pub fn groups_of(&self, paths: &[String]) -> Vec<usize> {
        match &self.groups {
            None => Vec::new(),
            Some(_) => numbered(&paths.iter().map(|path| self.group_of(path).unwrap_or_default()).collect::<Vec<_>>()),
        }
    }

    /// The group of the image at this path, where there are groups.
    pub fn group_of(&self, path: &str) -> Option<&str> {
        self.groups.as_ref()?.of.get(path).map(String::as_str)
    }

    /// The number of groups by split, for the splits that have any.
    pub fn group_counts(&self) -> BTreeMap<String, usize> {
        let Some(groups) = &self.groups else { return BTreeMap::new() };
        let count = |split: Split| self.split(split).map(|i| &groups.of[&i.path]).collect::<BTreeSet<_>>().len();
        Split::ALL.map(|split| (split.to_string(), count(split))).into_iter().filter(|(_, n)| *n > 0).collect()
    }

    /// Refuses groups that a list puts on two sides.
    pub(super) fn check_sides(&self) -> Result<()> {
        let Some(groups) = &self.groups else { return Ok(()) };
        let mut sides = HashMap::new();
        for item in &self.items {
            let group = &groups.of[&item.path];
            let side = *sides.entry(group).or_insert(item.split);
            if side != item.split {
                let (column, group) = (groups.column.escape_debug(), group.escape_debug());
                let what = format!("'{group}' of the column '{column}' (--groups) has images for {side} and for");
                let what = format!("{what} {}; give all of them one split, or leave --groups out", item.split);
                return Err(Error::data(self.source.place(), what));
            }
        }
        Ok(())
    }

    /// Refuses training images of one group: none could be judged by what the others tell.
    pub(super) fn check_groups(&self) -> Result<()> {
        let (Some(groups), Some(1)) = (&self.groups, self.group_counts().get("train").copied()) else { return Ok(()) };
        let column = groups.column.escape_debug();
        self.fail(format!(
            "all training images have one value for '{column}' (--groups); two groups at least are needed"
        ))
    }

    /// Holds whole groups out to validate: in an order that the seed draws, each goes in, or out again, where that brings the
    /// strata's shares nearer to what is wanted, until none does. Every class keeps images to train on, and two groups stay at least.
    pub(super) fn choose_val_groups(&mut self, train: &[usize], strata: &[usize], options: &ReadOptions) {
        let Some(groups) = &self.groups else { return };
        // Images of each group by stratum.
        let mut own: BTreeMap<&str, BTreeMap<usize, usize>> = BTreeMap::new();
        let mut all = vec![0usize; strata.iter().max().map_or(0, |last| last + 1)];
        for (&i, &stratum) in train.iter().zip(strata) {
            *own.entry(&groups.of[&self.items[i].path]).or_default().entry(stratum).or_default() += 1;
            all[stratum] += 1;
        }
        let mut order: Vec<(&str, BTreeMap<usize, usize>)> = own.into_iter().collect();
        order.sort_by_cached_key(|(name, _)| {
            Sha256::new().chain_update(options.seed.to_le_bytes()).chain_update(name.as_bytes()).finalize()
        });
        let (mut held, mut chosen) = (vec![0usize; all.len()], BTreeSet::new());
        let far = |stratum: usize, count: usize| (count as f64 / all[stratum] as f64 - options.val).powi(2);
        // How much farther the shares would be; nothing where a class would have no image left.
        let farther = |held: &[usize], own: &BTreeMap<usize, usize>, goes_in: bool| {
            let change = |(&s, &n): (&usize, &usize)| {
                let count = if goes_in { held[s] + n } else { held[s] - n };
                (count < all[s] || !self.task.is_multiclass()).then(|| far(s, count) - far(s, held[s]))
            };
            own.iter().map(change).sum::<Option<f64>>()
        };
        for _ in 0..PASSES {
            let before = chosen.clone();
            for (name, own) in &order {
                let goes_in = !chosen.contains(name);
                let may = if goes_in { chosen.len() + 2 < order.len() } else { chosen.len() > 1 };
                if may && farther(&held, own, goes_in).is_some_and(|change| change < -NEARER) {
                    let moved = |(&s, &n): (&usize, &usize)| held[s] = if goes_in { held[s] + n } else { held[s] - n };
                    own.iter().for_each(moved);
                    let _ = if goes_in { chosen.insert(*name) } else { chosen.remove(name) };
                }
            }
            if chosen == before {
                break;
            }
        }
        if chosen.is_empty() && order.len() > 2 {
            let possible = order.iter().filter_map(|(name, own)| Some((farther(&held, own, true)?, *name)));
            chosen.extend(possible.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name));
        }
        let moved: Vec<usize> =
            train.iter().copied().filter(|&i| chosen.contains(groups.of[&self.items[i].path].as_str())).collect();
        if moved.is_empty() {
            let what = "no group can be held out to validate: too few have images of each class";
            self.notes.push(format!("{what} (--groups {})", groups.column.escape_debug()));
        }
        moved.into_iter().for_each(|i| self.items[i].split = Split::Val);
    }
}
