//! What is wrong with the images of a job whose features are there already.

use super::near::{self, Pair};
use super::neighbours::{nearest, nearest_in};
use super::shortcut::{self, Shortcut};
use super::{Finding, copies, outliers, showing_nothing};
use crate::data::{Dataset, Facts, Item, Split};
use crate::error::Result;
use crate::progress::{Event, Progress};
use crate::train::Features;
use ndarray::{Array2, ArrayView1, Axis, concatenate, s};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Multiplications that a quick look for copies may take: a few seconds.
const QUICK: f64 = 5e11;
/// The same of one for outliers, which is slower: 4,000 images of 1,280 features.
const OUTLIERS: f64 = 2e10;
/// Probabilities of a quick probe for shortcuts: of ten classes 500 images, which tell a share of a half to within 0.02, …
const PROBED: usize = 5000;
/// … or as many images of each class, with which it tells nothing of fewer, …
const PROBED_OF_CLASS: usize = 5;
/// … but no more probabilities than these, which colours that tell the classes make slow.
const MOST_PROBED: usize = 20_000;
/// Features of copies are at least this near to each other …
const NEAR: f32 = 0.95;
/// … and so many pairs of images are compared to be sure.
const MOST: usize = 1000;

/// The images of all splits, one behind the other.
pub struct Screen<'a> {
    data: &'a Dataset,
    parts: [&'a Features; 3],
    items: Vec<&'a Item>,
    facts: &'a [Facts],
}

impl<'a> Screen<'a> {
    /// `facts` are those of all images of `parts`, in order.
    ///
    /// # Panics
    /// Where they are not as many.
    pub fn new(data: &'a Dataset, parts: &'a [Features; 3], facts: &'a [Facts]) -> Screen<'a> {
        let by_path: HashMap<&str, &Item> = data.items.iter().map(|item| (item.path.as_str(), item)).collect();
        let items: Vec<&Item> = parts.iter().flat_map(|part| &part.paths).map(|path| by_path[path.as_str()]).collect();
        assert_eq!(items.len(), facts.len(), "facts of each image");
        Screen { data, parts: parts.each_ref(), items, facts }
    }

    /// The first `columns` features of all images.
    fn rows(&self, columns: usize) -> Array2<f32> {
        let parts = self.parts.iter().filter(|part| !part.paths.is_empty());
        let rows: Vec<_> = parts.map(|part| part.rows.slice(s![.., ..columns])).collect();
        concatenate(Axis(0), &rows).unwrap_or_default()
    }

    fn columns(&self) -> usize {
        self.parts.iter().map(|part| part.rows.ncols()).max().unwrap_or(0)
    }

    /// All copies among the images, found as [`super::Audit::of`] does.
    ///
    /// # Errors
    /// [`crate::error::Error::Interrupted`].
    pub fn all_copies(&self, progress: Progress) -> Result<Vec<Finding>> {
        let rows = self.rows(self.columns());
        let near = nearest(rows.view(), near::CANDIDATES, "comparing features", progress)?;
        drop(rows);
        Ok(copies(self.data.texts(), &self.items, &near::compare(self.facts, &near, progress)?))
    }

    /// Copies that the features show: images with the same features, and, where that is quickly done, training images whose
    /// features are very near to those of one that is not there to train.
    ///
    /// # Errors
    /// [`crate::error::Error::Interrupted`].
    pub fn quick_copies(&self, progress: Progress) -> Result<Vec<Finding>> {
        // Too short to be told of, but not to be stopped.
        let progress: Progress = &|_| progress(Event::Advance(0));
        let mut candidates = same_features(&self.parts);
        candidates.extend(near_features(&self.parts, progress)?);
        candidates.sort_unstable();
        candidates.dedup();
        let pair = |[a, b]: [usize; 2]| Pair::of([a, b], [&self.facts[a], &self.facts[b]]);
        let pairs: Vec<Pair> = candidates.into_iter().map(pair).collect();
        Ok(copies(self.data.texts(), &self.items, &pairs))
    }

    /// Images that are one colour all over, or too small to show anything.
    pub fn showing_nothing(&self) -> Vec<Finding> {
        showing_nothing(self.data.texts(), &self.items, self.facts)
    }

    /// Images that are far from all others by their first `features`; `None` where there are so many that it would take long.
    ///
    /// # Errors
    /// [`crate::error::Error::Interrupted`].
    pub fn quick_outliers(&self, features: usize, progress: Progress) -> Result<Option<Vec<Finding>>> {
        if (self.items.len() as f64).powi(2) * features as f64 > OUTLIERS {
            return Ok(None);
        }
        let progress: Progress = &|_| progress(Event::Advance(0));
        let near = nearest(self.rows(features).view(), near::CANDIDATES, "", progress)?;
        Ok(Some(outliers(self.data.texts(), &self.items, &near)))
    }

    /// What size, format and colours alone tell of the classes, by a part of the images where there are many.
    ///
    /// # Errors
    /// [`crate::error::Error::Interrupted`].
    pub fn quick_shortcuts(&self, seed: u64, progress: Progress) -> Result<Vec<Shortcut>> {
        let progress: Progress = &|_| progress(Event::Advance(0));
        let labels: Vec<usize> = self.items.iter().map(|item| item.label).collect();
        let classes = self.data.classes.len();
        let most = (PROBED / classes.max(1)).max(PROBED_OF_CLASS * classes);
        if most * classes > MOST_PROBED {
            return Ok(Vec::new());
        }
        shortcut::probe(self.facts, &labels, classes, most, seed, progress)
    }
}

/// Each image with the first that has the same features, bit by bit.
fn same_features(parts: &[&Features; 3]) -> Vec<[usize; 2]> {
    let key = |row: ArrayView1<f32>| {
        let mut hash = DefaultHasher::new();
        row.iter().for_each(|value| value.to_bits().hash(&mut hash));
        hash.finish()
    };
    let mut first = HashMap::new();
    let rows = parts.iter().flat_map(|part| part.rows.rows());
    let again = |(place, row)| match *first.entry(key(row)).or_insert(place) {
        before if before == place => None,
        before => Some([before, place]),
    };
    rows.enumerate().filter_map(again).collect()
}

/// Each image that is not there to train with the nearest that is, where they are very near: the nearest of these pairs.
fn near_features(parts: &[&Features; 3], progress: Progress) -> Result<Vec<[usize; 2]>> {
    let starts = parts.iter().scan(0, |start, part| Some(std::mem::replace(start, *start + part.paths.len())));
    let parts: Vec<(usize, &&Features)> = starts.zip(parts).filter(|(_, part)| !part.paths.is_empty()).collect();
    let (train, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(_, part)| part.split == Split::Train);
    let [(first, train)] = train[..] else { return Ok(Vec::new()) };
    let work: f64 = others.iter().map(|(_, part)| part.rows.len() as f64 * train.paths.len() as f64).sum();
    if work > QUICK {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (start, part) in others {
        let lists = nearest_in(part.rows.view(), train.rows.view(), 1, "comparing features", progress)?;
        let close = lists.into_iter().flatten().zip(start..).filter(|(near, _)| near.cosine >= NEAR);
        found.extend(close.map(|(near, place)| (near.cosine, [first + near.place, place])));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.truncate(MOST);
    Ok(found.into_iter().map(|(_, [a, b])| [a.min(b), a.max(b)]).collect())
}
