//! Which depths are worth a comparison of heads.

use super::super::folds;
use super::basis::Bases;
use super::candidates::{Judge, USUAL_SHRINKAGE};
use super::choice::deals;
use super::{Kind, Wishes};
use crate::error::Result;
use crate::progress::{Event, Progress, emit};
use ndarray::{ArrayView2, Axis};
use std::time::Instant;

/// Images on which depths are compared.
const SAMPLE: usize = 3000;
/// Of each class among them, where there are so many.
const FEWEST: usize = 5;

/// Those that are tried of so many: deep ones differ little from their neighbours.
pub(super) fn worth(depths: usize) -> Vec<usize> {
    let worth = |taps: &usize| *taps <= 2 || taps.is_multiple_of(2) || taps + 1 == depths;
    (0..depths).filter(worth).collect()
}

/// How many taps are worth a try. Of many images a part tells which are best, by discriminants.
pub(super) fn depths(
    features: ArrayView2<f32>,
    columns: &[usize],
    all: &Judge,
    wishes: &Wishes,
    progress: Progress,
) -> Result<Vec<usize>> {
    // Who asks for another kind has it on the cut's features.
    if !matches!(wishes.kind, None | Some(Kind::Lda)) {
        return Ok(vec![0]);
    }
    let tried = worth(columns.len());
    if all.labels.len() <= SAMPLE || tried.len() == 1 {
        return Ok(tried);
    }
    let places = sample(all.labels, all.classes, wishes.seed);
    let labels: Vec<usize> = places.iter().map(|&i| all.labels[i]).collect();
    let groups = if wishes.groups.is_empty() { Vec::new() } else { places.iter().map(|&i| wishes.groups[i]).collect() };
    let deals = deals(&labels, all.classes, &Wishes { groups, ..wishes.clone() });
    // Half of the time is for the heads themselves.
    let started = Instant::now();
    let in_time = || wishes.budget.is_none_or(|budget| started.elapsed() < budget / 2);
    let (judge, features) = (Judge::new(&labels, all.classes, &deals, wishes), features.select(Axis(0), &places));
    let (mut bases, mut candidates, mut shrinkage) =
        (Bases::new(features.view(), columns), Vec::new(), USUAL_SHRINKAGE);
    emit(progress, Event::Stage { name: "comparing depths", total: tried.len() as u64 })?;
    for taps in tried {
        if deals.is_empty() || taps > 0 && !in_time() {
            break;
        }
        let basis = bases.first(columns[taps])?;
        // Deeper it takes longer still.
        if let Some(long) = judge.takes_long(&basis) {
            // Of the cut's own discriminants it is told where heads are compared.
            if taps > 0 {
                emit(
                    progress,
                    Event::Warning(&format!("{long}: depths are compared no further; a lower --cv does it")),
                )?;
            }
            break;
        }
        candidates.extend(judge.closed(&basis, taps, (Kind::Lda, false), &mut shrinkage, progress)?);
        emit(progress, Event::Advance(1))?;
    }
    let compared = judge.choose(&candidates).1;
    let best = compared.iter().find(|compared| compared.behind[0] == 0.).map_or(0, |best| best.taps);
    Ok(if best == 0 { vec![0] } else { vec![0, best] })
}

/// The places of so many images as are looked at, and of rare classes of a few all the same: all images, it may be.
fn sample(labels: &[usize], classes: usize, seed: u64) -> Vec<usize> {
    let part = folds::stratified(labels, labels.len().div_ceil(SAMPLE), seed);
    let (mut places, mut taken) = ((0..labels.len()).collect::<Vec<_>>(), vec![0usize; classes]);
    places.sort_by_key(|&i| part[i]);
    places.retain(|&i| {
        let takes = part[i] == 0 || taken[labels[i]] < FEWEST;
        taken[labels[i]] += usize::from(takes);
        takes
    });
    places
}
