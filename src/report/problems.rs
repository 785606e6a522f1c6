//! What a run found wrong with its images on the way.

use crate::audit::{Finding, Kind};
use serde::Serialize;
use std::collections::BTreeMap;

/// Findings of a kind that `run.json` names.
const NAMED: usize = 50;

/// Copies, labels that look wrong, and images that show nothing or are like no other, among the training images.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Problems {
    /// Whether all images were compared with all others: if not, there may be more copies.
    pub complete: bool,
    /// How many images have what.
    pub counts: BTreeMap<Kind, usize>,
    /// How many of these did not train.
    pub left_out: usize,
    /// The first of each kind.
    pub findings: Vec<Finding>,
}

impl Problems {
    /// Adds what was found.
    pub fn add<'a>(&mut self, found: impl IntoIterator<Item = &'a Finding>) {
        for finding in found {
            let count = self.counts.entry(finding.kind).or_default();
            *count += 1;
            if *count <= NAMED {
                self.findings.push(finding.clone());
            }
        }
    }
}
