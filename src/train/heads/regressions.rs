//! Softmax regressions that are compared with other heads.

use super::super::path;
use super::super::softmax::{Rows, Truth};
use super::Kind;
use super::basis::Basis;
use super::candidates::{Candidate, Judge};
use crate::error::Result;
use crate::progress::{Event, Progress};
use crate::tensor::Device;
use ndarray::ArrayView2;
use std::ops::ControlFlow;

impl Judge<'_> {
    /// Softmax regression on a basis, at its best strength; where rare classes are to be chosen as readily as others, with
    /// weights of the classes, too. When time is up no further strength or deal is begun.
    pub(super) fn regression(
        &self,
        basis: &Basis,
        taps: usize,
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<Vec<Candidate>> {
        let mut rows = rows(basis.rows()?, Truth::Classes(self.labels), self.classes, self.device)?;
        let mut found = self.regressions(&rows, (basis, taps), in_time, progress)?;
        if self.balanced && in_time() {
            rows.balanced = true;
            found.extend(self.regressions(&rows, (basis, taps), in_time, progress)?);
        }
        Ok(found)
    }

    fn regressions(
        &self,
        rows: &Rows,
        (basis, taps): (&Basis, usize),
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<Vec<Candidate>> {
        let (mut strength, mut start, mut logits) = (None, Vec::new(), Vec::new());
        let quiet = |event: Event| match event {
            Event::Stage { .. } => ControlFlow::Continue(()),
            Event::Advance(_) => progress(Event::Advance(0)),
            other => progress(other),
        };
        // The first deal chooses: what is judged by all of them is one head.
        for fold in self.deals {
            let choice = path::cross_validate(rows, fold, (basis.features(), strength), in_time, &quiet)?;
            let Some(choice) = choice else { break };
            if strength.is_none() {
                (strength, start) = (Some(choice.l2), choice.start);
            }
            logits.push(choice.out_of_fold.mapv(|p| p.max(f32::MIN_POSITIVE).ln()));
            if !in_time() {
                break;
            }
        }
        if logits.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.candidates((Kind::Softmax, rows.balanced), basis, taps, strength, logits);
        found.iter_mut().for_each(|candidate| candidate.start.clone_from(&start));
        Ok(found)
    }
}

/// A basis' rows for softmax regression, or that of labels, on a device.
pub(super) fn rows<'a>(rows: ArrayView2<f32>, truth: Truth<'a>, classes: usize, device: &Device) -> Result<Rows<'a>> {
    Rows::new(rows.iter().copied().collect(), truth, classes, device)
}
