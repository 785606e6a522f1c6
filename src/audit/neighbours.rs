//! Nearest neighbours by cosine: exact, block by block, in memory that does not grow with the square of the images.

use crate::error::Result;
use crate::progress::{Event, Progress, emit};
use crate::random;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Rows of one product: fixed, so that the sums do not depend on the number of threads.
const QUERIES: usize = 128;
const BASE: usize = 2048;
/// Blocks of queries between two words to the caller.
const BLOCKS: usize = 16;
/// Multiplications that a search may take; with more, rows are projected to fewer values first.
const MOST_WORK: f64 = 2e13;
const FEWEST_VALUES: usize = 32;

/// A neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Its row.
    pub place: usize,
    /// The cosine of the angle between the two rows: 1 for the same direction.
    pub cosine: f32,
}

/// The `k` nearest other rows of each row, nearest first; of equally near ones the first. Rows of zeros are near to nothing.
///
/// With so many rows that all pairs would take hours, they are compared by a random projection to fewer values, which keeps
/// angles up to a small error (Johnson and Lindenstrauss, 1984).
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn nearest(rows: ArrayView2<f32>, k: usize, stage: &str, progress: Progress) -> Result<Vec<Vec<Neighbour>>> {
    let images = rows.nrows() as f64;
    let values = ((MOST_WORK / (images * images).max(1.)) as usize).max(FEWEST_VALUES);
    let rows = if values < rows.ncols() { unit(project(rows, values).view()) } else { unit(rows) };
    find(rows.view(), rows.view(), k, true, stage, progress)
}

/// The `k` rows of `base` that are nearest to each row of `queries`, nearest first.
///
/// # Errors
/// [`crate::error::Error::Interrupted`].
pub fn nearest_in(
    queries: ArrayView2<f32>,
    base: ArrayView2<f32>,
    k: usize,
    stage: &str,
    progress: Progress,
) -> Result<Vec<Vec<Neighbour>>> {
    let (queries, base) = (unit(queries), unit(base));
    find(queries.view(), base.view(), k, false, stage, progress)
}

/// Where `own`, both are the same rows, and none is its own neighbour.
fn find(
    queries: ArrayView2<f32>,
    base: ArrayView2<f32>,
    k: usize,
    own: bool,
    stage: &str,
    progress: Progress,
) -> Result<Vec<Vec<Neighbour>>> {
    emit(progress, Event::Stage { name: stage, total: queries.nrows() as u64 })?;
    let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERIES).zip((0..).step_by(QUERIES)).collect();
    let mut found = Vec::with_capacity(queries.nrows());
    for some in blocks.chunks(BLOCKS) {
        let lists = some.par_iter().map(|(block, start)| search(*block, own.then_some(*start), base, k));
        let lists: Vec<_> = lists.collect();
        let before = found.len();
        found.extend(lists.into_iter().flatten());
        emit(progress, Event::Advance((found.len() - before) as u64))?;
    }
    Ok(found)
}

/// The neighbours of a block of rows; `start` is its place, where it is one of `base`.
fn search(block: ArrayView2<f32>, start: Option<usize>, base: ArrayView2<f32>, k: usize) -> Vec<Vec<Neighbour>> {
    let mut lists = vec![Vec::with_capacity(k + 1); block.nrows()];
    for (base, first) in base.axis_chunks_iter(Axis(0), BASE).zip((0..).step_by(BASE)) {
        let cosines = block.dot(&base.t());
        for (i, (list, cosines)) in lists.iter_mut().zip(cosines.rows()).enumerate() {
            let own = start.map(|start| start + i);
            for (&cosine, place) in cosines.iter().zip(first..) {
                let far = list.len() == k && list.last().is_none_or(|last: &Neighbour| cosine <= last.cosine);
                if far || Some(place) == own {
                    continue;
                }
                let rank = list.partition_point(|other: &Neighbour| other.cosine >= cosine);
                list.insert(rank, Neighbour { place, cosine });
                list.truncate(k);
            }
        }
    }
    lists
}

/// Rows of length 1; those of zeros stay.
fn unit(rows: ArrayView2<f32>) -> Array2<f32> {
    let mut rows = rows.as_standard_layout().into_owned();
    let width = rows.ncols().max(1);
    let values = rows.as_slice_mut().expect("it is in the standard layout");
    values.par_chunks_mut(width).for_each(|row| {
        let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let scale = if length > 0. { 1. / length } else { 0. };
        row.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
    });
    rows
}

/// Each row times a matrix of random signs: `[images, values]`.
fn project(rows: ArrayView2<f32>, values: usize) -> Array2<f32> {
    let mut stream = random::stream(0, "project", 0, 0);
    let sign = || if random::below(&mut stream, 2) == 0 { -1. } else { 1. };
    let signs = Array2::from_shape_simple_fn((rows.ncols(), values), sign);
    let mut out = Array2::zeros((rows.nrows(), values));
    let parts: Vec<_> = out.axis_chunks_iter_mut(Axis(0), BASE).zip((0..).step_by(BASE)).collect();
    parts.into_par_iter().for_each(|(mut out, start)| {
        let part = rows.slice(s![start..start + out.nrows(), ..]);
        out.assign(&part.dot(&signs));
    });
    out
}
