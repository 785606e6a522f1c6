//! Runs side by side, on the images that all of them were tested on.

use super::recorded::Recorded;
use crate::data::{Split, Task, numbered};
use crate::error::{Error, Result};
use crate::metrics::bootstrap::{Difference, Outcomes};
use crate::metrics::{Classification, Figures, LabelOutcomes, MultiLabel, Regression, ValueOutcomes, sigmoid, softmax};
use ndarray::{Array2, Axis};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// `test`, or `val` where a run has no test images.
    pub split: Split,
    /// The images that all runs have, with the same label.
    pub images: usize,
    /// Why these are drawn one by one for intervals, although runs have groups of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ungrouped: Option<String>,
    /// In the order in which they were given.
    pub runs: Vec<Side>,
    /// Each further run against the first.
    pub differences: Vec<Against>,
}

/// One of the runs.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// Its folder.
    pub run: String,
    /// The model that was adapted.
    pub model: String,
    /// What was trained of it.
    pub train: String,
    /// The kind of head.
    pub head: String,
    /// All images of the split that it has.
    pub own_images: usize,
    /// The run's wall time in seconds.
    pub seconds: Option<f64>,
    /// On the images that all runs have.
    pub figures: Figures,
}

/// A run against another.
#[derive(Debug, Clone, Serialize)]
pub struct Against {
    /// The run.
    pub run: String,
    /// What it is compared with.
    pub against: String,
    /// Its figures less the other's, on the same images.
    pub figures: BTreeMap<String, Difference>,
}

/// Compares runs, two at least. Images are the same where their paths in the data sets are, and their labels.
///
/// # Errors
/// [`Error::Usage`] where the runs cannot be compared: other classes, no images in common, no scores stored; [`Error::Data`] where one has an
/// image twice.
pub fn compare(runs: &[Recorded]) -> Result<Compared> {
    let first = runs.first().filter(|_| runs.len() > 1);
    let first = first.ok_or_else(|| Error::Usage("give two runs or more".into()))?;
    let columns = runs.iter().map(|run| columns(first, run)).collect::<Result<Vec<_>>>()?;
    let splits = [Split::Test, Split::Val];
    let in_all = |split: &Split| runs.iter().all(|run| run.held_out.iter().any(|row| row.split == *split));
    let split = splits.into_iter().find(in_all).ok_or_else(|| {
        Error::Usage(
            "there is neither a test nor a validation set that all of these runs have; nothing to compare".into(),
        )
    })?;
    let places = runs.iter().map(|run| places(run, split)).collect::<Result<Vec<_>>>()?;
    let own = first.held_out.iter().filter(|row| row.split == split).map(|row| (&*row.path, &*row.label));
    let mut shared: Vec<(&str, &str)> =
        own.filter(|image| places.iter().all(|places| places.contains_key(image))).collect();
    // As the runs' own figures are computed, so that their intervals are these.
    shared.sort_unstable();
    if shared.is_empty() {
        let paths: Vec<_> = places.iter().filter_map(|places| places.keys().next()).take(2).map(|key| key.0).collect();
        let what =
            format!("these runs have no {split} images in common, by path and label (as {})", paths.join(" and "));
        return Err(Error::Usage(what));
    }
    let labels: Vec<usize> = shared.iter().filter_map(|(_, label)| first.class(label)).collect();
    let truths = first.truths.select(Axis(0), &shared.iter().map(|image| places[0][image]).collect::<Vec<_>>());
    let (groups, ungrouped) = match groups(runs, &places, &shared) {
        Ok(groups) => (groups, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let (mut sides, mut outcomes) = (Vec::new(), Vec::new());
    for ((run, columns), places) in runs.iter().zip(&columns).zip(&places) {
        let logits = &scores(run)?.logits;
        let rows =
            Array2::from_shape_fn((shared.len(), columns.len()), |(i, j)| logits[[places[&shared[i]], columns[j]]]);
        let thresholds: Vec<f32> = columns.iter().filter_map(|&j| run.thresholds.get(j).copied()).collect();
        let (figures, outcome) = judge(first, &rows, (&labels, &truths), &thresholds, &groups)?;
        sides.push(side(run, places.len(), figures));
        outcomes.push(outcome);
    }
    let differences = runs.iter().zip(&outcomes).skip(1).filter_map(|(run, own)| {
        let figures = own.less(&outcomes[0], &groups)?;
        Some(Against { run: name(run), against: name(first), figures })
    });
    Ok(Compared { split, images: shared.len(), ungrouped, differences: differences.collect(), runs: sides })
}

/// What each image adds to a run's figures.
enum Outcome {
    Classes(Outcomes),
    Labels(LabelOutcomes),
    Values(ValueOutcomes),
}

impl Outcome {
    fn less(&self, other: &Outcome, groups: &[usize]) -> Option<BTreeMap<String, Difference>> {
        match (self, other) {
            (Outcome::Classes(own), Outcome::Classes(other)) => own.less(other, groups),
            (Outcome::Labels(own), Outcome::Labels(other)) => own.less(other, groups),
            (Outcome::Values(own), Outcome::Values(other)) => own.less(other, groups),
            _ => None,
        }
    }
}

/// A run's figures by its scores for the shared images, in the order of the first one's names.
fn judge(
    first: &Recorded,
    scores: &Array2<f32>,
    (labels, truths): (&[usize], &Array2<f32>),
    thresholds: &[f32],
    groups: &[usize],
) -> Result<(Figures, Outcome)> {
    let names = &first.classes;
    Ok(match first.task {
        Task::Multiclass => {
            let p = softmax(scores.view());
            let figures = Classification::grouped(labels, p.view(), names, groups)?;
            (figures.into(), Outcome::Classes(Outcomes::new(labels, p.view())))
        }
        Task::Multilabel => {
            let (p, own) = (scores.mapv(sigmoid), truths.mapv(|value| value > 0.5));
            let figures = MultiLabel::grouped(own.view(), p.view(), names, thresholds, groups)?;
            (Figures::Labels(figures), Outcome::Labels(LabelOutcomes::new(own.view(), p.view(), thresholds)))
        }
        Task::Regression => {
            let figures = Regression::grouped(truths.view(), scores.view(), names, groups)?;
            (Figures::Values(figures), Outcome::Values(ValueOutcomes::new(truths.view(), scores.view())))
        }
    })
}

fn name(run: &Recorded) -> String {
    run.folder.display().to_string()
}

fn side(run: &Recorded, own_images: usize, figures: Figures) -> Side {
    let text = |place: &str| run.run.pointer(place).and_then(|v| v.as_str()).unwrap_or("?").to_string();
    Side {
        run: name(run),
        model: text("/model/path"),
        train: text("/plan/train"),
        head: text("/plan/head"),
        own_images,
        seconds: run.run["seconds"]["total"].as_f64(),
        figures,
    }
}

/// Each image's row in the scores, by path and label.
fn places(run: &Recorded, split: Split) -> Result<HashMap<(&str, &str), usize>> {
    let mut places = HashMap::new();
    for (i, row) in run.held_out.iter().enumerate().filter(|(_, row)| row.split == split) {
        if places.insert((&*row.path, &*row.label), i).is_some() {
            let what = format!("damaged: it has '{}' twice; run it again", row.path);
            return Err(Error::data(run.folder.join("predictions.csv"), what));
        }
    }
    Ok(places)
}

/// The number of each shared image's group, as all runs that tell any have them, in whatever order the runs come; nothing where none
/// does. Else why they are of no use.
fn groups(
    runs: &[Recorded],
    places: &[HashMap<(&str, &str), usize>],
    shared: &[(&str, &str)],
) -> std::result::Result<Vec<usize>, String> {
    let mut told: Vec<(&Recorded, Vec<usize>)> = Vec::new();
    for (run, places) in runs.iter().zip(places) {
        let own = shared.iter().filter_map(|image| run.held_out[places[image]].group.as_deref());
        let own: Vec<&str> = own.filter(|group| !group.is_empty()).collect();
        if own.len() == shared.len() {
            told.push((run, numbered(&own)));
        } else if !own.is_empty() {
            return Err(format!("{} tells the groups of {} of these images alone", name(run), own.len()));
        }
    }
    let Some((first, own)) = told.first() else {
        // An earlier version kept no image's group.
        let lost = runs.iter().find(|run| run.run["data"]["groups"].is_object());
        return lost
            .map_or(Ok(Vec::new()), |run| Err(format!("{} has groups, and does not tell any image's", name(run))));
    };
    match told.iter().find(|(_, other)| !are_same(own, other)) {
        Some((other, _)) => Err(format!("{} and {} have other groups of these images", name(first), name(other))),
        // Those of one may have other names, and be numbered otherwise.
        None => Ok(told.into_iter().map(|(_, groups)| groups).min().unwrap_or_default()),
    }
}

/// Whether the same images belong together by both numberings from 0 on.
fn are_same(one: &[usize], other: &[usize]) -> bool {
    let pairs = one.iter().zip(other).collect::<HashSet<_>>().len();
    [one, other].iter().all(|groups| groups.iter().max().is_none_or(|last| last + 1 == pairs))
}

/// Where the first run's classes are in the other's scores.
fn columns(first: &Recorded, run: &Recorded) -> Result<Vec<usize>> {
    scores(run)?;
    if first.task != run.task {
        return Err(Error::Usage(format!("{} and {} were trained for other kinds of labels", name(first), name(run))));
    }
    let found: Option<Vec<usize>> = first.classes.iter().map(|class| run.class(class)).collect();
    found.filter(|_| first.classes.len() == run.classes.len()).ok_or_else(|| {
        let strangers = |a: &Recorded, b: &Recorded| a.classes.iter().find(|class| b.class(class).is_none()).cloned();
        let stranger = strangers(first, run).or_else(|| strangers(run, first)).unwrap_or_default();
        let [_, names] = first.task.words();
        Error::Usage(format!("{} and {} have other {names}, as '{stranger}'", name(first), name(run)))
    })
}

fn scores(run: &Recorded) -> Result<&super::recorded::Scores> {
    run.scores.as_ref().ok_or_else(|| {
        let what = "it has no scores.safetensors, which earlier versions did not write; run it again";
        Error::Usage(format!("{}: {what}", name(run)))
    })
}
