//! What is wrong with a data set, found before a model is trained on it: copies, leaks, wrong labels, images that show
//! nothing, and labels that can be told without looking.

pub mod align;
mod findings;
pub mod near;
pub mod neighbours;
mod screen;
pub mod shortcut;
pub mod suspects;

use crate::data::{Beside, Dataset, Item, Skipped, Split};
use crate::engine::Extractor;
use crate::error::{Error, Result};
use crate::progress::Progress;
pub use findings::{copies, mislabelled, outliers, showing_nothing};
use ndarray::Array2;
pub use screen::Screen;
use serde::Serialize;
use shortcut::Shortcut;
use std::collections::BTreeMap;
use std::fmt;

/// What may be wrong with an image, from the worst on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A training image that, or a copy of which, is there to validate or test.
    Leak,
    /// A copy of an image that has another label.
    Conflict,
    /// A label that is probably wrong.
    Suspect,
    /// A copy of an image of the same split and label.
    Duplicate,
    /// No image, or a damaged one.
    Unreadable,
    /// One colour all over.
    Blank,
    /// A few pixels, or far fewer than the others have.
    Tiny,
    /// Like no other image.
    Outlier,
}

impl Kind {
    /// All, from the worst on.
    pub const ALL: [Kind; 8] = [
        Kind::Leak,
        Kind::Conflict,
        Kind::Suspect,
        Kind::Duplicate,
        Kind::Unreadable,
        Kind::Blank,
        Kind::Tiny,
        Kind::Outlier,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Kind::Leak => "leak",
            Kind::Conflict => "conflict",
            Kind::Suspect => "suspect",
            Kind::Duplicate => "duplicate",
            Kind::Unreadable => "unreadable",
            Kind::Blank => "blank",
            Kind::Tiny => "tiny",
            Kind::Outlier => "outlier",
        })
    }
}

/// Something that may be wrong with an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The image's path in the data set's source.
    pub path: String,
    /// Its label.
    pub label: String,
    /// Its split.
    pub split: Split,
    /// What may be wrong.
    pub kind: Kind,
    /// How sure that is, or how bad: up to 1.
    pub score: f32,
    /// The path of the other copy, the likelier label, or the reason.
    pub suggestion: String,
    /// The split of the other copy.
    #[serde(skip)]
    pub other: Option<Split>,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// How many images there are.
    pub images: usize,
    /// How many of them have what.
    pub counts: BTreeMap<Kind, usize>,
    /// How many labels are wrong by the confident joint.
    pub wrong_labels: usize,
    /// What size, format and colours alone tell of the labels.
    pub shortcuts: Vec<Shortcut>,
    /// What else the user should know.
    pub notes: Vec<String>,
    /// What is wrong, from the worst on.
    pub findings: Vec<Finding>,
    /// How well each readable image's label fits, from 0 to 1, by path; see [`suspects::Judgement::quality`].
    #[serde(skip)]
    pub quality: BTreeMap<String, f32>,
    /// What the listing skipped.
    pub skipped: Vec<Skipped>,
}

/// Probabilities that a probe for shortcuts may make.
const PROBED: usize = 4_000_000;
/// Titles of what is found.
pub const FOUND: [&str; 3] = ["kind", "score", "suggestion"];
/// The largest class may have so many times the training images of the smallest.
const BALANCED: usize = 10;

impl Audit {
    /// Looks at all images of `data`: their pixels, and what `extractor` makes of them. The same seed finds the same.
    ///
    /// # Errors
    /// [`Error::Data`] where no image can be read, and those of [`Extractor::run`] and of
    /// [`fit_softmax`](crate::train::fit_softmax).
    pub fn of(data: &Dataset, extractor: &mut Extractor, seed: u64, progress: Progress) -> Result<Audit> {
        let classes = &data.classes;
        let paths: Vec<&str> = data.items.iter().map(|item| item.path.as_str()).collect();
        extractor.look(true);
        let found = extractor.run(&data.source, &paths, "extracting features", progress)?;
        if found.places.is_empty() {
            return Err(Error::data(data.source.place(), "none of the images could be read"));
        }
        if found.facts.len() != found.places.len() {
            return Err(Error::Engine("a model that preprocesses in its graph cannot audit images".into()));
        }
        let reasons: BTreeMap<&str, &str> = found.skipped.iter().map(|s| (&*s.path, &*s.reason)).collect();
        let unreadable = |item: &Item| {
            let reason = reasons.get(item.path.as_str())?.to_string();
            Some(findings::finding(classes, item, Kind::Unreadable, 1., reason))
        };
        let mut findings: Vec<Finding> = data.items.iter().filter_map(unreadable).collect();
        let items: Vec<&Item> = found.places.iter().map(|&place| &data.items[place]).collect();
        let facts = found.facts;
        let labels: Vec<usize> = items.iter().map(|item| item.label).collect();

        let near = neighbours::nearest(found.rows.view(), near::CANDIDATES, "comparing features", progress)?;
        findings.extend(copies(classes, &items, &near::compare(&facts, &near, progress)?));
        findings.extend(outliers(classes, &items, &near));
        drop(near);
        findings.extend(showing_nothing(classes, &items, &facts));
        let told = suspects::out_of_fold(found.rows.view(), &labels, classes.len(), seed, progress)?;
        let told = told.unwrap_or_else(|| Array2::ones((labels.len(), classes.len())));
        let judgement = suspects::judge(told.view(), &labels);
        findings.extend(mislabelled(classes, &items, &judgement));
        let shortcuts = shortcut::probe(&facts, &labels, classes.len(), PROBED / classes.len().max(1), seed, progress)?;

        // Within a kind from the worst on; what is equal stays in the order of the data set.
        findings.sort_by(|a, b| a.kind.cmp(&b.kind).then(b.score.total_cmp(&a.score)));
        let mut counts = BTreeMap::new();
        findings.iter().for_each(|finding| *counts.entry(finding.kind).or_default() += 1);
        let mut notes = data.notes.clone();
        notes.extend(imbalance(data));
        notes.extend(shortcuts.iter().filter(|shortcut| shortcut.is_much()).map(Shortcut::remark));
        let quality = items.iter().map(|item| item.path.clone()).zip(judgement.quality).collect();
        let (images, wrong_labels, skipped) = (data.items.len(), judgement.wrong, data.skipped.clone());
        Ok(Audit { images, counts, wrong_labels, shortcuts, notes, findings, quality, skipped })
    }

    /// A row for each image of `data`: what is worst about it, from the worst image on, then the others by how well their
    /// labels fit, worst first. To be edited, and read as a list of images.
    pub fn rows(&self, data: &Dataset) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::with_capacity(data.items.len());
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in &self.findings {
            match seen.get(finding.path.as_str()) {
                Some(&row) => rows[row].kind += &format!(" {}", finding.kind),
                None => {
                    seen.insert(&finding.path, rows.len());
                    rows.push(finding.into());
                }
            }
        }
        let fine = data.items.iter().filter(|item| !seen.contains_key(item.path.as_str()));
        let mut fine: Vec<Row> = fine
            .map(|item| Row {
                path: item.path.clone(),
                label: data.classes[item.label].clone(),
                split: item.split,
                kind: String::new(),
                score: 1. - self.quality.get(&item.path).copied().unwrap_or(1.),
                suggestion: String::new(),
            })
            .collect();
        fine.sort_by(|a, b| b.score.total_cmp(&a.score));
        rows.extend(fine);
        rows
    }

    /// The same as texts below their titles. What a list has [beside](Beside) stands behind the split, so that the rows can
    /// be edited and take the list's place; what is found has titles that the list has not.
    pub fn table(&self, data: &Dataset, beside: &Beside) -> Vec<Vec<String>> {
        let title = [beside.usual.to_vec(), beside.names.clone(), beside.free(&FOUND)].concat();
        let text = |row: Row| {
            let others = beside.values.get(&row.path).cloned();
            let others = others.unwrap_or_else(|| vec![String::new(); beside.names.len()]);
            let found = vec![row.kind, format!("{:?}", row.score), row.suggestion];
            [vec![row.path, row.label, row.split.to_string()], others, found].concat()
        };
        [title].into_iter().chain(self.rows(data).into_iter().map(text)).collect()
    }
}

/// An image in the CSV.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// See [`Finding`].
    pub path: String,
    /// See [`Finding`].
    pub label: String,
    /// See [`Finding`].
    pub split: Split,
    /// What may be wrong, with spaces between; nothing of most.
    pub kind: String,
    /// Of the first of these; of images without any, how badly the label fits.
    pub score: f32,
    /// Of the first of these.
    pub suggestion: String,
}

impl From<&Finding> for Row {
    fn from(finding: &Finding) -> Row {
        let Finding { path, label, split, kind, score, suggestion, .. } = finding.clone();
        Row { path, label, split, kind: kind.to_string(), score, suggestion }
    }
}

/// What the user should know where the largest class has ten times the training images of the smallest.
pub fn imbalance(data: &Dataset) -> Option<String> {
    let counts = data.counts(Split::Train);
    let (least, most) =
        (counts.iter().enumerate().min_by_key(|(_, n)| **n)?, counts.iter().enumerate().max_by_key(|(_, n)| **n)?);
    (*most.1 >= BALANCED * least.1).then(|| {
        let name = |class: usize| data.classes[class].escape_debug().to_string();
        let (rare, common) = (name(least.0), name(most.0));
        format!("the classes are unequal: '{common}' has {} training images, '{rare}' {}", most.1, least.1)
    })
}
