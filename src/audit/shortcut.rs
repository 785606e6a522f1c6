//! Whether labels can be told without looking at what an image shows: from its size, format, border or mean colour. A model
//! that is trained on such images may learn that instead.

use super::suspects::out_of_fold;
use crate::data::Facts;
use crate::error::Result;
use crate::metrics::argmax;
use crate::progress::Progress;
use ndarray::Array2;
use serde::Serialize;
use std::collections::BTreeSet;

/// The share of what the commonest class leaves open from which on there is a warning.
const MUCH: f64 = 0.5;

/// What a probe sees of an image.
type Values<'a> = &'a dyn Fn(&Facts) -> Vec<f32>;

/// How far one property tells the labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shortcut {
    /// `size`, `format`, `border colour` or `mean colour`.
    pub property: &'static str,
    /// The share of labels that a softmax regression tells from it, out of fold.
    pub accuracy: f64,
    /// The share of the commonest class.
    pub majority: f64,
}

impl Shortcut {
    /// The part of the labels that the commonest class leaves open, and the property tells: 0 or less for none, 1 for all.
    pub fn explained(&self) -> f64 {
        (self.accuracy - self.majority) / (1. - self.majority).max(1e-9)
    }

    /// What the user should know of it.
    pub fn remark(&self) -> String {
        let (told, majority) = (100. * self.accuracy, 100. * self.majority);
        format!(
            "the {} alone tells {told:.0} % of the labels (always the commonest class: {majority:.0} %): a model may learn that",
            self.property
        )
    }

    /// Whether the user should know.
    pub fn is_much(&self) -> bool {
        self.explained() >= MUCH
    }
}

/// Tries each property that differs between the images; of more than `most` of these a sample is taken.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn probe(
    facts: &[Facts],
    labels: &[usize],
    classes: usize,
    most: usize,
    seed: u64,
    progress: Progress,
) -> Result<Vec<Shortcut>> {
    // Images lie by class: evenly spread ones have all of them in proportion.
    let count = facts.len().min(most);
    let places: Vec<usize> = (0..count).map(|i| i * facts.len() / count).collect();
    let labels: Vec<usize> = places.iter().map(|&place| labels[place]).collect();
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|&label| counts[label] += 1);
    let majority = counts.iter().max().map_or(1., |&most| most as f64 / count.max(1) as f64);
    let formats: BTreeSet<&str> = facts.iter().map(|facts| facts.format.as_str()).collect();
    let size = |facts: &Facts| {
        let [height, width] = facts.size.map(|side| (side.max(1) as f32).ln());
        vec![height, width, height - width, height * height, width * width]
    };
    let format = |facts: &Facts| formats.iter().map(|&name| f32::from(u8::from(facts.format == name))).collect();
    let colour = |[r, g, b]: [f32; 3]| vec![r, g, b, r * r / 255., g * g / 255., b * b / 255.];
    let properties: [(&'static str, Values); 4] = [
        ("size", &size),
        ("format", &format),
        ("border colour", &|facts: &Facts| colour(facts.border)),
        ("mean colour", &|facts: &Facts| colour(facts.mean)),
    ];
    let mut found = Vec::new();
    for (property, values) in properties {
        let rows: Vec<Vec<f32>> = places.iter().map(|&place| values(&facts[place])).collect();
        if rows.iter().all(|row| *row == rows[0]) {
            continue;
        }
        let rows = Array2::from_shape_fn((count, rows[0].len()), |(i, j)| rows[i][j]);
        let Some(told) = out_of_fold(rows.view(), &labels, classes, seed, progress)? else { continue };
        let right = told.rows().into_iter().zip(&labels).filter(|(row, label)| argmax(*row) == **label).count();
        found.push(Shortcut { property, accuracy: right as f64 / count as f64, majority });
    }
    Ok(found)
}
