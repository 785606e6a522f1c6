//! Which images are worth looking at.

use super::map::{Look, Map, RADIUS, hue};
use super::shown;
use super::tables::WIDEST;
use crate::data::Split;
use crate::report::recorded::Recorded;
use ndarray::ArrayView1;
use rayon::prelude::*;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Images in each of the lists of worst mistakes and least sure ones.
const LISTED: usize = 24;
/// Images up to which each is listed with its class and what is predicted. Of more there are some:
const FEW: usize = 1000;
/// Of a pair of classes.
const OF_A_PAIR: usize = 24;
/// Of all pairs, and of all classes: a list that goes on for ever is no reading.
const OF_ALL: usize = 1500;
/// Of a class that are predicted rightly.
const RIGHT: usize = 8;
/// Points of the map.
pub(super) const POINTS: usize = 1500;

/// Which rows have a picture, and which a map over one, with its width and height.
pub(super) struct Shown {
    pub thumbs: HashMap<usize, [u32; 2]>,
    pub overlays: HashMap<usize, [u32; 2]>,
}

/// An image of a list.
#[derive(Serialize)]
pub(super) struct Image {
    id: usize,
    path: String,
    actual: String,
    predicted: String,
    confidence: f64,
    /// The second most probable class and its probability.
    second: Option<(String, f64)>,
    shown: Option<[u32; 2]>,
    overlay: Option<[u32; 2]>,
}

/// The images of one class taken for another.
#[derive(Serialize)]
pub(super) struct Pair {
    key: String,
    actual: String,
    predicted: String,
    n: usize,
    images: Vec<Image>,
}

/// The images of the split by which the run is judged. An image's number is its row in [`Recorded::held_out`].
pub(super) struct Judged<'a> {
    recorded: &'a Recorded,
    pub split: Split,
    rows: Vec<usize>,
    /// Class and predicted class of each row.
    classes: Vec<[usize; 2]>,
    /// The second most probable class of each row and its probability, where scores are stored.
    seconds: Option<Vec<(usize, f32)>>,
}

impl<'a> Judged<'a> {
    pub fn new(recorded: &'a Recorded, split: Split) -> Judged<'a> {
        let rows = (0..recorded.held_out.len()).filter(|&i| recorded.held_out[i].split == split).collect();
        let place = |name: &str| recorded.class(name).unwrap_or_default();
        let classes = recorded.held_out.iter().map(|row| [place(&row.label), place(&row.predicted)]).collect();
        let seconds = recorded.scores.as_ref().filter(|_| recorded.classes.len() > 1).map(|scores| {
            (0..scores.logits.nrows()).into_par_iter().map(|row| second(scores.logits.row(row))).collect()
        });
        Judged { recorded, split, rows, classes, seconds }
    }

    fn confidence(&self, row: usize) -> f32 {
        self.recorded.held_out[row].confidence
    }

    fn is_right(&self, row: usize) -> bool {
        self.classes[row][0] == self.classes[row][1]
    }

    fn image(&self, row: usize, pictured: &Shown) -> Image {
        let prediction = &self.recorded.held_out[row];
        let second = self.seconds.as_ref().map(|seconds| seconds[row]);
        Image {
            id: row,
            path: shown(&prediction.path),
            actual: shown(&prediction.label),
            predicted: shown(&prediction.predicted),
            confidence: prediction.confidence.into(),
            second: second.map(|(class, p)| (shown(&self.recorded.classes[class]), p.into())),
            shown: pictured.thumbs.get(&row).copied(),
            overlay: pictured.overlays.get(&row).copied(),
        }
    }

    /// Mistakes, the surest first.
    fn worst_rows(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = self.rows.iter().copied().filter(|&row| !self.is_right(row)).collect();
        rows.sort_by(|&a, &b| self.confidence(b).total_cmp(&self.confidence(a)));
        rows
    }

    /// Images by the distance of the two most probable classes; by the first one alone where no scores are stored.
    fn unsure_rows(&self) -> Vec<usize> {
        let margin = |row: usize| self.confidence(row) - self.seconds.as_ref().map_or(0., |seconds| seconds[row].1);
        let mut rows = self.rows.clone();
        rows.sort_by(|&a, &b| margin(a).total_cmp(&margin(b)));
        rows.truncate(LISTED);
        rows
    }

    /// The rows of each confused pair of classes, the commonest first.
    fn pair_rows(&self) -> Vec<([usize; 2], Vec<usize>)> {
        let mut pairs: BTreeMap<[usize; 2], Vec<usize>> = BTreeMap::new();
        self.worst_rows().into_iter().for_each(|row| pairs.entry(self.classes[row]).or_default().push(row));
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by_key(|(_, rows)| Reverse(rows.len()));
        pairs
    }

    /// The rows of each class that are right.
    fn right_rows(&self) -> Vec<([usize; 2], Vec<usize>)> {
        let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let right = self.rows.iter().copied().filter(|&row| self.is_right(row));
        right.for_each(|row| classes.entry(self.classes[row][0]).or_default().push(row));
        classes.into_iter().map(|(class, rows)| ([class; 2], rows)).collect()
    }

    /// `most` of a list, where not all images are listed.
    fn at_most(&self, most: usize) -> usize {
        if self.rows.len() <= FEW { FEW } else { most }
    }

    /// The rows of the map, evenly chosen.
    fn points(&self) -> Vec<usize> {
        evenly(&self.rows, POINTS)
    }

    /// All of them on a plane, in the colours of their classes.
    pub fn map(&self, pictured: &Shown) -> Option<Map> {
        let look = |row: usize| {
            let (image, wrong) = (&self.recorded.held_out[row], !self.is_right(row));
            let [path, own, predicted] = [&image.path, &image.label, &image.predicted].map(|text| shown(text));
            let answer = if wrong { format!("taken for {predicted}") } else { "right".into() };
            let title = format!("{path}: {own}, {answer}, {:.1} % sure", 100. * image.confidence);
            Look { hue: Some(hue(self.classes[row][0])), radius: RADIUS, wrong, title }
        };
        let mut map = Map::new(self.recorded, &self.points(), pictured, look)?;
        let named = map.name(self.recorded, |row, class| self.classes[row][0] == class);
        let names = if named { ", whose names stand at or near their middles" } else { "" };
        map.colours = format!("Colours are the true classes{names}; crosses are mistakes.");
        Some(map)
    }

    /// Rows and paths of all images that a picture is wanted of, the most wanted first.
    pub fn wanted(&self) -> Vec<(usize, &'a str)> {
        let mut rows: Vec<usize> = self.worst_rows().into_iter().take(LISTED).chain(self.unsure_rows()).collect();
        rows.extend(self.pair_rows().into_iter().flat_map(|(_, rows)| rows.into_iter().take(self.at_most(OF_A_PAIR))));
        rows.extend(self.right_rows().into_iter().flat_map(|(_, rows)| evenly(&rows, self.at_most(RIGHT))));
        rows.extend(self.points());
        rows.into_iter().map(|row| (row, &*self.recorded.held_out[row].path)).collect()
    }

    /// Rows of the lists of worst mistakes and least sure images, each with the class that is predicted.
    pub fn listed(&self) -> Vec<(usize, usize)> {
        let rows = self.worst_rows().into_iter().take(LISTED).chain(self.unsure_rows());
        rows.map(|row| (row, self.classes[row][1])).collect()
    }

    pub fn worst(&self, pictured: &Shown) -> Vec<Image> {
        self.worst_rows().into_iter().take(LISTED).map(|row| self.image(row, pictured)).collect()
    }

    pub fn unsure(&self, pictured: &Shown) -> Vec<Image> {
        self.unsure_rows().into_iter().map(|row| self.image(row, pictured)).collect()
    }

    pub fn pairs(&self, pictured: &Shown) -> Vec<Pair> {
        // The confusion matrix, where there is one, leads to every pair.
        let all = self.recorded.classes.len() <= WIDEST;
        let mut left = OF_ALL;
        let pair = |(key, rows): ([usize; 2], Vec<usize>)| {
            let some = &rows[..rows.len().min(self.at_most(OF_A_PAIR)).min(left)];
            left -= some.len();
            (all || !some.is_empty()).then(|| self.pair(key, rows.len(), some, pictured))
        };
        self.pair_rows().into_iter().filter_map(pair).collect()
    }

    pub fn rightly(&self, pictured: &Shown) -> Vec<Pair> {
        let classes = self.right_rows();
        let each = self.at_most(RIGHT.min(OF_ALL / classes.len().max(1)).max(1));
        classes.into_iter().map(|(key, rows)| self.pair(key, rows.len(), &evenly(&rows, each), pictured)).collect()
    }

    fn pair(&self, [own, predicted]: [usize; 2], n: usize, rows: &[usize], pictured: &Shown) -> Pair {
        let name = |class: usize| shown(&self.recorded.classes[class]);
        let images = rows.iter().map(|&row| self.image(row, pictured)).collect();
        Pair { key: format!("{own}-{predicted}"), actual: name(own), predicted: name(predicted), n, images }
    }
}

/// The second largest of two scores or more, and its probability.
fn second(scores: ArrayView1<f32>) -> (usize, f32) {
    let (mut first, mut second) = if scores[1] > scores[0] { (1, 0) } else { (0, 1) };
    for class in 2..scores.len() {
        if scores[class] > scores[first] {
            (first, second) = (class, first);
        } else if scores[class] > scores[second] {
            second = class;
        }
    }
    let weight = |class: usize| f64::from(scores[class] - scores[first]).exp();
    let sum: f64 = (0..scores.len()).map(weight).sum();
    (second, (weight(second) / sum) as f32)
}

/// At most `most` of the rows.
pub(super) fn evenly(rows: &[usize], most: usize) -> Vec<usize> {
    let count = rows.len().min(most);
    (0..count).map(|i| rows[i * rows.len() / count]).collect()
}
