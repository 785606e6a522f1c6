//! Data sets whose labels are no classes: several labels an image, or numbers.

use super::dataset::{Dataset, Item, ReadOptions, Split, quoted};
use super::scan::{Classes, Listing};
use super::source::Source;
use super::table::in_order;
use super::task::{Task, labels_in, strata};
use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView2, Axis};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// Classes from which on whole numbers may be meant as such.
const MANY_NUMBERS: usize = 20;
/// What all images have, labels or numbers: 1 GiB.
pub(crate) const MOST_VALUES: usize = 1 << 28;

impl Dataset {
    /// What the images of these labels have: `[images, labels or targets]`, 1 or 0 for labels, numbers for targets; nothing
    /// where each has one class.
    pub fn truth(&self, labels: &[usize]) -> Array2<f32> {
        match self.task {
            Task::Multiclass => Array2::zeros((labels.len(), 0)),
            _ => self.truths.select(Axis(0), labels),
        }
    }

    /// What is to be spread evenly over splits and folds: the classes of these images; see [`strata`] for others.
    pub fn strata(&self, labels: &[usize]) -> Vec<usize> {
        match self.task {
            Task::Multiclass => labels.to_vec(),
            task => strata(task, self.truth(labels).view()),
        }
    }

    /// The text of each label: the classes' names, or what the images have.
    pub fn texts(&self) -> &[String] {
        if self.task.is_multiclass() { &self.classes } else { &self.texts }
    }

    /// The same images in classes, for what knows nothing else: by their rarest label, or by the thirds of the first target.
    pub fn as_classes(&self) -> Cow<'_, Dataset> {
        let mut data = Dataset { task: Task::Multiclass, ..self.clone() };
        let labels: Vec<usize> = self.items.iter().map(|item| item.label).collect();
        let groups = match self.task {
            Task::Multiclass => return Cow::Borrowed(self),
            Task::Multilabel => {
                data.classes.push("none".into());
                self.strata(&labels)
            }
            Task::Regression => {
                data.classes = ["low", "middle", "high"].map(String::from).into();
                thirds(self.truth(&labels).view())
            }
        };
        data.items.iter_mut().zip(groups).for_each(|(item, group)| item.label = group);
        Cow::Owned(data)
    }

    /// The images of a listing for a model that gives these labels or targets.
    ///
    /// # Errors
    /// [`Error::Data`] where the listing has other targets, none of the labels, or no images.
    pub(super) fn for_model(source: Source, mut listing: Listing, names: &[String]) -> Result<Dataset> {
        let (place, skipped) = (source.place().to_path_buf(), std::mem::take(&mut listing.skipped));
        let mut data = Dataset { source, task: listing.task, skipped, classes: names.to_vec(), ..Dataset::default() };
        let bad = |what: String| Err(Error::data(&place, what));
        let targets = std::mem::take(&mut listing.targets);
        if data.task == Task::Regression && targets.len() != names.len() {
            let what = format!("{} label columns for the model's {}", targets.len(), data.task.names(names.len()));
            return bad(format!("{what} ({}); name as many with --label-column", names.join(", ")));
        }
        if data.task.is_multilabel()
            && targets.len() > 1
            && let Some(name) = names.iter().find(|name| !targets.contains(name))
        {
            return bad(format!("no label column is called '{}', as a label of the model", name.escape_debug()));
        }
        data.take_rows(&mut listing)?;
        if data.task == Task::Regression && targets.len() > 1 {
            let places: Vec<usize> = names.iter().filter_map(|name| targets.iter().position(|t| t == name)).collect();
            match places.len() {
                0 => {}
                found if found == names.len() => data.truths = data.truths.select(Axis(1), &places),
                _ => {
                    let what = format!("its label columns are {}", quoted(targets.iter().map(String::as_str)));
                    return bad(format!("{what}; the model gives {}", names.join(", ")));
                }
            }
        }
        if data.items.is_empty() {
            return bad(data.with_reasons("no images to judge by"));
        }
        match data.task.is_multilabel() && data.truths.iter().all(|&value| value == 0.) {
            true => bad(format!("no image has one of the model's labels, as '{}'", names[0].escape_debug())),
            false => Ok(data),
        }
    }

    /// Names, items and what they have from the listing; the labels are those that training images have.
    pub(super) fn take_truths(&mut self, listing: &mut Listing) -> Result<()> {
        let known = listing.splits.get(&Split::Train).map(labels).unwrap_or_default();
        self.classes = match (self.task, listing.targets.len()) {
            (Task::Multilabel, 1) => {
                let mut order = std::mem::take(&mut listing.order);
                order.retain(|name| known.contains(name));
                match in_order(known.iter()) {
                    _ if order.len() == known.len() => order,
                    order if order.is_empty() => known.iter().cloned().collect(),
                    order => order,
                }
            }
            _ => std::mem::take(&mut listing.targets),
        };
        self.take_rows(listing)?;
        listing.splits.remove(&Split::Train);
        Ok(())
    }

    /// Items and what they have, the names of which are there.
    fn take_rows(&mut self, listing: &mut Listing) -> Result<()> {
        let mut parts = Vec::new();
        let own: HashSet<&String> = self.classes.iter().collect();
        for (&split, classes) in &mut listing.splits {
            let classes = std::mem::take(classes);
            let others = labels(&classes);
            let mut unknown = others.iter().filter(|label| !own.contains(label)).peekable();
            if self.task.is_multilabel() && unknown.peek().is_some() {
                let names = quoted(unknown.map(String::as_str));
                self.notes
                    .push(format!("{split} has labels that nothing learns; its images count without them: {names}"));
            }
            parts.push((split, classes));
        }
        let texts: BTreeSet<&String> = parts.iter().flat_map(|(_, classes)| classes.keys()).collect();
        self.texts = texts.into_iter().cloned().collect();
        if self.texts.len().saturating_mul(self.classes.len()) > MOST_VALUES {
            let (sets, names) = (self.texts.len(), self.task.names(self.classes.len()));
            let what = format!("{sets} different sets of {names} are more than memory is spent on");
            let advice = "is it the right column (--label-column)? --task multiclass takes each text for a class";
            return Err(Error::data(self.source.place(), format!("{what}; {advice}")));
        }
        let rows = self.texts.iter().filter_map(|text| self.task.truth(text, &self.classes));
        let values: Vec<f32> = rows.flatten().collect();
        let dim = (self.texts.len(), self.classes.len());
        self.truths = Array2::from_shape_vec(dim, values).expect("each text was read when it was listed");
        for (split, classes) in parts {
            for (text, paths) in classes {
                let label = self.texts.binary_search(&text).expect("all are among them");
                self.items.extend(paths.into_iter().map(|path| Item { path, label, split }));
            }
        }
        Ok(())
    }

    /// Whole numbers of a table are classes; who means numbers is told how to say so, unless they are none that a model gives.
    pub(super) fn note_numbers(&mut self, options: &ReadOptions) {
        let is_number = |name: &&String| name.parse::<f32>().is_ok_and(f32::is_finite);
        let (count, all) = (self.classes.iter().filter(is_number).count(), self.classes.len());
        let numbers = count > MANY_NUMBERS && count * 10 >= all * 9;
        let table = !self.source.has_folders() && !self.items.iter().any(|item| self.source.has_record(&item.path));
        if options.columns.task.is_none() && table && numbers {
            let other = self.classes.iter().find(|name| !is_number(name));
            let beyond = |name: &str| name.parse::<f64>().is_ok_and(f64::is_finite);
            let other = other.map_or(String::new(), |name| {
                let what = if beyond(name) { "more than float32 holds" } else { "none" };
                format!(" ('{}' is {what})", name.escape_debug())
            });
            let what = "are numbers, and taken for classes; --task regression predicts them as numbers";
            self.notes.push(format!("{count} of {all} different labels{other} {what}"));
        }
    }

    /// Holds training images out to validate, of each stratum its share.
    pub(super) fn choose_val(&mut self, options: &ReadOptions) {
        let train: Vec<usize> = (0..self.items.len()).filter(|&i| self.items[i].split == Split::Train).collect();
        let labels: Vec<usize> = train.iter().map(|&i| self.items[i].label).collect();
        let strata = self.strata(&labels);
        if self.groups.is_some() {
            return self.choose_val_groups(&train, &strata, options);
        }
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); strata.iter().max().map_or(0, |last| last + 1)];
        train.iter().zip(strata).for_each(|(&i, stratum)| groups[stratum].push(i));
        for mut own in groups {
            own.sort_by_cached_key(|&i| {
                let mut hash = Sha256::new();
                hash.update(options.seed.to_le_bytes());
                hash.update(self.items[i].path.as_bytes());
                hash.finalize()
            });
            let chosen = match own.len() {
                0 | 1 => 0,
                n => ((options.val * n as f64).round() as usize).clamp(1, n - 1),
            };
            own.into_iter().take(chosen).for_each(|i| self.items[i].split = Split::Val);
        }
    }
}

/// The labels in the texts of a listing.
fn labels(classes: &Classes) -> BTreeSet<String> {
    classes.keys().flat_map(|text| labels_in(text)).map(String::from).collect()
}

/// Whether the first target is among its lowest values, those in the middle, or the highest.
fn thirds(truths: ArrayView2<f32>) -> Vec<usize> {
    let values = truths.column(0);
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let bounds = [1, 2].map(|third| sorted.get(third * sorted.len() / 3).copied().unwrap_or(0.));
    values.iter().map(|value| bounds.iter().filter(|bound| value >= bound).count()).collect()
}
