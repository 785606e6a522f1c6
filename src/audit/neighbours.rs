//! Nearest neighbours by cosine: exact, block by block, in memory that does not grow with the square of the images.

use crate::error::{Error, Result};
use crate::progress::{Event, Progress, emit};
use crate::random;
use candle_core::{Device, Tensor};
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Rows of one product, whose result then takes 16 MiB.
const QUERIES: usize = 1024;
const BASE: usize = 4096;
/// Multiplications that a search may take; with more, rows are projected to fewer values first.
const MOST_WORK: f64 = 4e12;
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
/// [`Error::Interrupted`].
pub fn nearest(rows: ArrayView2<f32>, k: usize, stage: &str, progress: Progress) -> Result<Vec<Vec<Neighbour>>> {
    let images = rows.nrows() as f64;
    let values = ((MOST_WORK / (images * images).max(1.)) as usize).max(FEWEST_VALUES);
    let rows = if values < rows.ncols() { unit(project(rows, values).view())? } else { unit(rows)? };
    find(&rows, &rows, k, true, stage, progress)
}

/// The `k` rows of `base` that are nearest to each row of `queries`, nearest first.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn nearest_in(
    queries: ArrayView2<f32>,
    base: ArrayView2<f32>,
    k: usize,
    stage: &str,
    progress: Progress,
) -> Result<Vec<Vec<Neighbour>>> {
    find(&unit(queries)?, &unit(base)?, k, false, stage, progress)
}

fn failed(e: candle_core::Error) -> Error {
    Error::Engine(format!("comparing images: {e}"))
}

/// Where `own`, both are the same rows, and none is its own neighbour.
fn find(
    queries: &Tensor,
    base: &Tensor,
    k: usize,
    own: bool,
    stage: &str,
    progress: Progress,
) -> Result<Vec<Vec<Neighbour>>> {
    let [count, all] = [queries, base].map(|rows| rows.dims()[0]);
    emit(progress, Event::Stage { name: stage, total: count as u64 })?;
    let mut found = Vec::with_capacity(count);
    for start in (0..count).step_by(QUERIES) {
        let length = QUERIES.min(count - start);
        let block = queries.narrow(0, start, length).map_err(failed)?;
        let mut lists = vec![Vec::with_capacity(k + 1); length];
        for first in (0..all).step_by(BASE) {
            let part = base.narrow(0, first, BASE.min(all - first)).and_then(|part| part.t()).map_err(failed)?;
            let cosines = block.matmul(&part).and_then(|product| product.flatten_all()?.to_vec1::<f32>());
            let cosines = cosines.map_err(failed)?;
            let rows = lists.par_iter_mut().zip(cosines.par_chunks(BASE.min(all - first)));
            rows.enumerate().for_each(|(i, (list, row))| keep(list, row, first, own.then_some(start + i), k));
        }
        found.extend(lists);
        emit(progress, Event::Advance(length as u64))?;
    }
    Ok(found)
}

/// Keeps the `k` nearest of a list and a row of cosines to the places from `first` on, without the place `own`.
fn keep(list: &mut Vec<Neighbour>, cosines: &[f32], first: usize, own: Option<usize>, k: usize) {
    for (&cosine, place) in cosines.iter().zip(first..) {
        let far = list.len() == k && list.last().is_none_or(|last| cosine <= last.cosine);
        if far || Some(place) == own {
            continue;
        }
        let rank = list.partition_point(|other| other.cosine >= cosine);
        list.insert(rank, Neighbour { place, cosine });
        list.truncate(k);
    }
}

/// Rows of length 1; those of zeros stay.
fn unit(rows: ArrayView2<f32>) -> Result<Tensor> {
    let (count, width) = rows.dim();
    let mut values: Vec<f32> = rows.iter().copied().collect();
    values.par_chunks_mut(width.max(1)).for_each(|row| {
        let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let scale = if length > 0. { 1. / length } else { 0. };
        row.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
    });
    Tensor::from_vec(values, (count, width), &Device::Cpu).map_err(failed)
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
