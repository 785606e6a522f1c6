//! Whether a dataset can be trained on.

use super::dataset::{Dataset, Split};
use super::scan::{has_extension, is_image_name};
use super::task::Task;
use crate::error::{Error, Result};
use walkdir::{DirEntry, WalkDir};

/// Of float32 that values must be apart by, to be told from one another at all.
const STEPS: f64 = 64.;
/// The largest target: heads multiply and add up what is of its size.
const LARGEST: f32 = 1e36;
/// Skipped lines that a message names.
const REASONS: usize = 3;

impl Dataset {
    /// Checks, again once unreadable images are gone, that training is possible.
    ///
    /// # Errors
    /// [`Error::Data`] when no image to train on is left, there are fewer than two classes, or a class has none. It
    /// tells the first image that could not be read, if any.
    pub fn check_classes(&self) -> Result<()> {
        let lost = self.unreadable();
        if let Some((n, first)) = lost.as_ref().filter(|_| self.split(Split::Train).next().is_none()) {
            let kind = if self.items.is_empty() { "" } else { "training " };
            return self.fail(format!("none of the {n} {kind}images could be read; first: {first}"));
        }
        self.check_form()?;
        self.check_groups()?;
        if !self.task.is_multiclass() {
            return Ok(());
        }
        let lost = lost.map_or(String::new(), |(n, first)| format!("; unreadable: {n}, the first {first}"));
        let train = self.counts(Split::Train);
        match self.classes.iter().zip(train).find(|(_, count)| *count == 0) {
            Some((name, _)) => {
                let name = name.escape_debug();
                self.fail(format!("class '{name}' has no training image left; add readable images to it{lost}"))
            }
            None => Ok(()),
        }
    }

    /// labels.txt holds one name a line, and its readers break lines where Python's `splitlines` does.
    pub(super) fn check_names(&self) -> Result<()> {
        let breaks = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        match self.classes.iter().find(|name| name.contains(breaks)) {
            Some(name) => {
                let name = name.escape_debug();
                self.fail(format!("the class '{name}' has a line break in its name; rename its folder"))
            }
            None => Ok(()),
        }
    }

    /// Folders and records name classes, and nothing else.
    pub(super) fn check_task(&self, wanted: Option<Task>) -> Result<()> {
        if wanted.is_none_or(|wanted| wanted == self.task) {
            return Ok(());
        }
        let what = format!("a {} names one class an image", self.source.kind());
        let what = format!("{what}; --task multilabel and regression take a list (.csv, .tsv) or Parquet");
        Err(Error::Usage(format!("{}: {what}", self.source.place().display())))
    }

    /// Whether float32, in which models compute, can tell the values of each target apart.
    fn check_spread(&self) -> Result<()> {
        let labels: Vec<usize> = self.split(Split::Train).map(|item| item.label).collect();
        for (name, column) in self.classes.iter().zip(self.truth(&labels).columns()) {
            let (least, most) = column.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            let name = name.escape_debug();
            if least == most {
                let what = format!("'{name}' is {least} for all training images; there is nothing to learn");
                return self
                    .fail(format!("{what} (where that is float32's rounding, take their mean from them first)"));
            }
            if least.abs().max(most.abs()) > LARGEST {
                let what = format!("the values of '{name}' ({least:e} to {most:e}) are near float32's end");
                return self.fail(format!("{what}; divide them by a number first"));
            }
            if f64::from(most) - f64::from(least) < STEPS * f64::from(f32::EPSILON * least.abs().max(most.abs())) {
                let what =
                    format!("the values of '{name}' ({least} to {most}) differ by less than float32 can tell apart");
                return self.fail(format!("{what}; take their mean from them first"));
            }
        }
        Ok(())
    }

    pub(super) fn check_form(&self) -> Result<()> {
        let train = self.split(Split::Train).count();
        if !self.task.is_multiclass() && train > 0 {
            return match &self.classes[..] {
                [] => self.fail(self.with_reasons("no training image has a label; there is nothing to learn")),
                _ if train == 1 => self.fail(self.with_reasons("only one image to train on; at least 2 are needed")),
                _ if self.task == Task::Regression => self.check_spread(),
                _ => Ok(()),
            };
        }
        match &self.classes[..] {
            _ if !self.task.is_multiclass() => {
                self.fail(self.with_reasons("no images to train on; list some for train"))
            }
            [] if !self.source.has_folders() => {
                let what = "no images to train on; put the file of training images beside it, or list some";
                self.fail(self.with_reasons(what))
            }
            [] => {
                let what = "no class folders with images; give a folder with one folder of images per class";
                self.fail(format!("{what}{}", self.list_within()))
            }
            [only] => {
                let only = only.escape_debug();
                let what = format!("only one class, '{only}', has images; at least 2 classes are needed");
                self.fail(self.with_reasons(&what) + &self.list_within())
            }
            _ => Ok(()),
        }
    }

    /// What to give instead of a folder that has a list of its images in it, as the hub's have a `metadata.csv`.
    fn list_within(&self) -> String {
        let is_list = |entry: &DirEntry| entry.file_type().is_file() && has_extension(entry.path(), &["csv", "tsv"]);
        let mut files =
            WalkDir::new(self.source.place()).min_depth(1).max_depth(2).sort_by_file_name().into_iter().flatten();
        let named = |list: DirEntry| format!("; or give the list in it: {}", list.path().display());
        files.find(is_list).map_or(String::new(), named)
    }

    /// With what was skipped of a list, and the first reasons: they say what is wrong with it.
    pub(super) fn with_reasons(&self, what: &str) -> String {
        let Some(rest) = self.skipped.len().checked_sub(1).filter(|_| !self.source.has_folders()) else {
            return what.into();
        };
        let first = self.skipped.iter().take(REASONS).map(|skipped| format!("{}: {}", skipped.path, skipped.reason));
        let first = first.collect::<Vec<_>>().join("; ");
        let more = (rest + 1).saturating_sub(REASONS);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{what}; skipped: {first}{more}")
    }

    pub(super) fn fail(&self, what: String) -> Result<()> {
        Err(Error::data(self.source.place(), what))
    }

    /// How many images could not be used, and the first with its reason.
    fn unreadable(&self) -> Option<(usize, String)> {
        let image = |path: &str| is_image_name(path) || self.source.has_record(path);
        let images: Vec<_> = self.skipped.iter().filter(|skipped| image(&skipped.path)).collect();
        images.first().map(|first| (images.len(), format!("{}: {}", first.path, first.reason)))
    }
}
