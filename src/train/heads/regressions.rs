//! Softmax regressions that are compared with other heads.

use super::super::path;
use super::super::softmax::{Rows, Truth};
use super::Kind;
use super::basis::Basis;
use super::candidates::{Candidate, Judge};
use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::tensor::Device;
use ndarray::ArrayView2;
use std::ops::ControlFlow;

/// Whether softmax regression of so many coordinates has room for its logits and weights, where that for `most` logits is all there is;
/// says where it has none. Where it is all that is asked for, that is an error.
pub(super) fn has_room(
    judge: &Judge,
    coordinates: usize,
    alone: bool,
    most: usize,
    progress: Progress,
) -> Result<bool> {
    match path::is_large(judge.labels.len(), coordinates, judge.classes, most) {
        None => Ok(true),
        Some(what) if alone => Err(too_large(&what)),
        Some(what) => {
            emit(progress, Event::Warning(&format!("{what} and is left out")))?;
            Ok(false)
        }
    }
}

fn too_large(what: &str) -> Error {
    Error::Train(format!("{what}; give fewer images or features, or --head ncm or lda; with --train, --probe off"))
}

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
        // Where the classes' weights did it already there is nothing to adjust.
        let adjusted = self.adjusted(&logits).filter(|_| !rows.balanced);
        let mut found = self.candidates((Kind::Softmax, rows.balanced), basis, (taps, strength), logits, adjusted);
        found.iter_mut().for_each(|candidate| candidate.start.clone_from(&start));
        Ok(found)
    }
}

/// A basis' rows for softmax regression, or that of labels, on a device.
pub(super) fn rows<'a>(rows: ArrayView2<f32>, truth: Truth<'a>, classes: usize, device: &Device) -> Result<Rows<'a>> {
    if let (Truth::Classes(_), Some(what)) =
        (truth, path::is_large(truth.len(), rows.ncols(), classes, path::MOST_LOGITS))
    {
        return Err(too_large(&what));
    }
    Rows::new(rows.iter().copied().collect(), truth, classes, device)
}

#[cfg(test)]
mod tests {
    use super::super::Wishes;
    use super::*;
    use crate::progress::silent;
    use std::sync::Mutex;

    #[test]
    fn what_has_too_many_logits_is_left_out_or_refused() {
        let (wishes, deals) = (Wishes::default(), [vec![0, 1, 0, 1]]);
        let (judge, said) = (Judge::new(&[0, 0, 1, 1], 2, &deals, &wishes), Mutex::new(String::new()));
        let hear = |event: Event| {
            if let Event::Warning(text) = event {
                said.lock().unwrap().push_str(text);
            }
            ControlFlow::Continue(())
        };
        let room = |coordinates: usize, most: usize| has_room(&judge, coordinates, false, most, &hear).unwrap();
        assert!(has_room(&judge, 0, true, 8, &silent).unwrap() && room(0, 8));
        assert!(said.lock().unwrap().is_empty() && !room(0, 7));
        assert_eq!(
            *said.lock().unwrap(),
            "softmax regression of 4 images on 2 classes would take more than 5 GiB and is left out"
        );
        // Three times the weights, of three coordinates and a bias for each class.
        assert!(room(3, 24) && !room(3, 23));
        assert!(
            said.lock().unwrap().ends_with("of 3 features on 2 classes would take more than 5 GiB and is left out")
        );
        let refused = has_room(&judge, 0, true, 7, &silent).unwrap_err().to_string();
        assert!(refused.contains("5 GiB; give fewer images or features, or --head ncm or lda"), "{refused}");
    }
}
