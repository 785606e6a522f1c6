//! Conventions tried on a sample of the images.

use super::images::{MOST, pixels, plain, values};
use super::runner::Runner;
use super::scores::{Scores, best, choose, difference, mean};
use super::{Candidate, Evidence, LEAST};
use crate::data::{Content, Dataset, Item, Preprocessing};
use crate::engine::{Shelf, cache::ContentHash};
use crate::error::Result;
use crate::metrics::separation::{information, nearest_agree, probe_agrees};
use crate::progress::{Event, Progress, emit};
use ndarray::Array2;
use rayon::prelude::*;

/// Images that are looked at, first by all conventions, then by those that can still be the best.
const IMAGES: [usize; 3] = [64, 200, MOST];
/// How much better than always answering the commonest class neighbours or a probe must be, …
const BETTER: f64 = 0.1;
/// … and by how many standard errors of that: the best of many figures is looked at. Of noise, twelve conventions that have
/// nothing in common get there in one of fifty cases.
const SURE: f64 = 4.;
/// Conventions that are so many standard errors worse on these images are out.
const HOPELESS: [f64; 3] = [3., 1.5, f64::MAX];
const BATCH: usize = 8;

/// A convention that is being tried, and which runner runs it.
pub(super) struct Trial {
    spec: String,
    pub preprocessing: Preprocessing,
    runner: usize,
    shelf: Option<Shelf>,
    rows: Vec<Vec<f32>>,
}

impl Trial {
    pub fn new(spec: &str, preprocessing: Preprocessing, runner: &mut Runner, place: usize) -> Trial {
        let shelf = runner.shelf(&preprocessing);
        Trial { spec: spec.into(), preprocessing, runner: place, shelf, rows: Vec::new() }
    }
}

/// The images.
pub(super) struct Sample<'a> {
    pub data: &'a Dataset,
    pub items: Vec<&'a Item>,
    pub progress: Progress<'a>,
}

impl Sample<'_> {
    /// Compares conventions, the commonest first. `None` where nothing can be told.
    pub fn compare(&self, mut trials: Vec<Trial>, runners: &mut [Runner]) -> Result<Option<Evidence>> {
        let (mut done, mut labels, mut scores) = (0, Vec::new(), Vec::new());
        for (count, hopeless) in IMAGES.into_iter().zip(HOPELESS) {
            let items: Vec<&Item> = self.items.iter().take(count).skip(done).copied().collect();
            if items.is_empty() {
                break;
            }
            done += items.len();
            let total = (items.len() * trials.len()) as u64;
            emit(self.progress, Event::Stage { name: "comparing preprocessings", total })?;
            labels.extend(self.run(&items, &mut trials, runners)?);
            trials.retain(|trial| !trial.rows.is_empty());
            scores = trials.iter().map(|trial| self.scores(trial, &runners[trial.runner], &labels)).collect();
            let Some(best) = best(&scores).filter(|_| labels.len() >= LEAST) else { return Ok(None) };
            if done < self.items.len() {
                let near = |other: &Scores| {
                    let (behind, error) = difference(&scores[best], other);
                    behind <= hopeless * error
                };
                let near: Vec<bool> = scores.iter().map(near).collect();
                if near.iter().filter(|&&near| near).count() < 2 {
                    break;
                }
                let mut near = near.into_iter();
                trials.retain(|_| near.next().unwrap_or(true));
            }
        }
        // Features that tell no classes apart tell nothing of what they are made of.
        let least = least(&labels);
        let told = choose(scores, labels.len());
        Ok(told.filter(|told| told.candidates.iter().any(|one| one.probe.max(one.neighbours) > least)))
    }

    /// Whether the first images, preprocessed so, have three equal channels.
    pub fn are_grey(&self, p: &Preprocessing) -> bool {
        let grey = |item: &&Item| {
            let values = pixels(self.data.source.content(&item.path).ok(), p);
            let plane = values.len() / 3;
            values[..plane] == values[plane..2 * plane] && values[..plane] == values[2 * plane..]
        };
        self.items[..LEAST.min(self.items.len())].par_iter().all(grey)
    }

    /// Adds what each trial makes of these images; gives the labels of those that can be read.
    fn run(&self, items: &[&Item], trials: &mut [Trial], runners: &mut [Runner]) -> Result<Vec<usize>> {
        let mut labels = Vec::new();
        for items in items.chunks(BATCH) {
            // Once, so that what is kept under a hash is made of the very bytes that have it.
            let contents: Vec<_> = items.par_iter().map(|item| self.data.source.content(&item.path).ok()).collect();
            let kept_for_later = trials.iter().any(|trial| trial.shelf.is_some());
            let hash = |content: &Option<Content>| content.as_ref().filter(|_| kept_for_later).map(Content::hash);
            let hashes = contents.par_iter().map(hash).collect();
            let mut chunk = Chunk { contents, hashes, kept: Vec::new() };
            let rows = trials.iter_mut().map(|trial| chunk.rows(trial, &mut runners[trial.runner]));
            let mut rows = rows.collect::<Result<Vec<_>>>()?;
            for (place, item) in items.iter().enumerate() {
                if rows.iter().all(|rows| rows[place].is_some()) {
                    labels.push(item.label);
                    trials.iter_mut().zip(&mut rows).for_each(|(trial, rows)| trial.rows.extend(rows[place].take()));
                }
            }
            emit(self.progress, Event::Advance((items.len() * trials.len()) as u64))?;
        }
        Ok(labels)
    }

    fn scores(&self, trial: &Trial, runner: &Runner, labels: &[usize]) -> Scores {
        let images = labels.len();
        let columns = |from: usize, to: usize| {
            Array2::from_shape_fn((images, to.saturating_sub(from)), |(image, column)| trial.rows[image][from + column])
        };
        let width = trial.rows.first().map_or(0, Vec::len);
        let features = columns(0, runner.features.min(width));
        let near = nearest_agree(features.view(), labels);
        let probe = probe_agrees(features.view(), labels, self.data.classes.len());
        let told = runner
            .old
            .filter(|_| width > runner.features + 1)
            .map(|activation| information(activation.probabilities(columns(runner.features, width).view()).view()));
        let most = (images as f64).ln();
        let half = |agrees: bool| if agrees { 0.5 } else { 0. };
        let each =
            (0..images).map(|i| half(near[i]) + half(probe[i]) + told.as_ref().map_or(0., |told| told[i] / most));
        let each: Vec<f64> = each.collect();
        let share = |agree: &[bool]| agree.iter().filter(|&&agrees| agrees).count() as f64 / images.max(1) as f64;
        let candidate = Candidate {
            spec: trial.spec.clone(),
            neighbours: share(&near),
            probe: share(&probe),
            information: told.map(|told| mean(&told)),
            score: mean(&each),
        };
        Scores { candidate, each }
    }
}

/// The share of images of these classes that chance alone gives theirs to in no convention.
fn least(labels: &[usize]) -> f64 {
    let mut counts = vec![0usize; labels.iter().max().map_or(0, |last| last + 1)];
    labels.iter().for_each(|&label| counts[label] += 1);
    let images = labels.len().max(1) as f64;
    let chance = counts.into_iter().max().unwrap_or(0) as f64 / images;
    chance + BETTER.max(SURE * (chance * (1. - chance) / images).sqrt())
}

/// Few images, which all trials take in turn.
struct Chunk<'a> {
    /// None of images that cannot be read.
    contents: Vec<Option<Content<'a>>>,
    /// None where nothing is kept for later runs, and of images that cannot be read.
    hashes: Vec<Option<ContentHash>>,
    /// Pixels by their geometry, as far as they were needed; those of an image that cannot be read are empty.
    kept: Vec<(Preprocessing, Vec<Option<Vec<u8>>>)>,
}

impl Chunk<'_> {
    /// The trial's rows: of earlier runs, or computed now. None of images that cannot be read.
    fn rows(&mut self, trial: &mut Trial, runner: &mut Runner) -> Result<Vec<Option<Vec<f32>>>> {
        let p = &trial.preprocessing;
        let known = |hash: &Option<ContentHash>| Some(trial.shelf.as_ref()?.get(hash.as_ref()?)?.0);
        let mut rows: Vec<Option<Vec<f32>>> = self.hashes.iter().map(known).collect();
        let missing: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].is_none()).collect();
        let kept = self.pixels(&missing, plain(p));
        let read: Vec<(usize, &[u8])> = missing
            .iter()
            .filter_map(|&i| Some((i, kept[i].as_deref().filter(|pixels| !pixels.is_empty())?)))
            .collect();
        if !read.is_empty() {
            let values = read.iter().flat_map(|(_, pixels)| values(pixels, p, runner.layout)).collect();
            let places: Vec<usize> = read.iter().map(|(place, _)| *place).collect();
            for (place, mut row) in places.iter().zip(runner.rows(places.len(), values, p)?) {
                if row.iter().any(|value| !value.is_finite()) {
                    // Wrong values can overflow: that convention is none, and nothing to keep.
                    row.iter_mut().filter(|value| !value.is_finite()).for_each(|value| *value = 0.);
                } else if let Some((shelf, hash)) = trial.shelf.as_mut().zip(self.hashes[*place]) {
                    // Whether the cache can be written is told where the features of all images are.
                    let _ = shelf.add(hash, &row, None);
                }
                rows[*place] = Some(row);
            }
        }
        Ok(rows)
    }

    /// Pixels in a geometry, those of the images at `wanted` among them.
    fn pixels(&mut self, wanted: &[usize], plain: Preprocessing) -> &[Option<Vec<u8>>] {
        let place = self.kept.iter().position(|(known, _)| *known == plain).unwrap_or_else(|| {
            self.kept.push((plain, vec![None; self.contents.len()]));
            self.kept.len() - 1
        });
        let (plain, kept) = &mut self.kept[place];
        let contents = &self.contents;
        kept.par_iter_mut()
            .enumerate()
            .filter(|(i, pixels)| pixels.is_none() && wanted.contains(i))
            .for_each(|(i, kept)| *kept = Some(pixels(contents[i].clone(), plain)));
        kept
    }
}
