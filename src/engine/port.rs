//! Running any number of images through a model that takes a fixed number.

use crate::error::{Error, Result};
use ndarray::{ArrayD, ArrayViewD, Axis, Slice, concatenate};

/// What one call of a model gives: each wanted output's name and array.
pub(crate) type Named = Vec<(String, ArrayD<f32>)>;

/// Runs `input` in pieces of `batch` images, the last one filled up with zeros, and joins the outputs.
pub(crate) fn in_pieces(
    input: ArrayViewD<f32>,
    batch: usize,
    mut run: impl FnMut(ArrayViewD<f32>) -> Result<Named>,
) -> Result<Vec<ArrayD<f32>>> {
    let images = input.len_of(Axis(0));
    if images == batch {
        return Ok(run(input)?.into_iter().map(|(_, array)| array).collect());
    }
    let mut pieces = Vec::new();
    for start in (0..images).step_by(batch.max(1)) {
        let end = (start + batch).min(images);
        let part = input.slice_axis(Axis(0), Slice::from(start..end));
        if end - start == batch {
            pieces.push((batch, run(part)?));
            continue;
        }
        let mut shape = part.shape().to_vec();
        shape[0] = batch;
        let mut full = ArrayD::zeros(shape);
        full.slice_axis_mut(Axis(0), Slice::from(..end - start)).assign(&part);
        let mut outputs = run(full.view())?;
        for (name, array) in &mut outputs {
            per_image(name, array, batch)?;
            array.slice_axis_inplace(Axis(0), Slice::from(..end - start));
        }
        pieces.push((end - start, outputs));
    }
    join(pieces)
}

/// Joins the outputs of pieces of the given numbers of images along their first axis.
pub(crate) fn join(pieces: Vec<(usize, Named)>) -> Result<Vec<ArrayD<f32>>> {
    let outputs = pieces.first().map_or(0, |(_, outputs)| outputs.len());
    let mut joined = Vec::with_capacity(outputs);
    for index in 0..outputs {
        let mut views = Vec::with_capacity(pieces.len());
        for (images, outputs) in &pieces {
            let Some((name, array)) = outputs.get(index) else { continue };
            per_image(name, array, *images)?;
            views.push(array.view());
        }
        let array = concatenate(Axis(0), &views).map_err(|e| Error::Engine(format!("joining outputs: {e}")))?;
        joined.push(array);
    }
    Ok(joined)
}

fn per_image(name: &str, array: &ArrayD<f32>, images: usize) -> Result<()> {
    if array.shape().first() == Some(&images) {
        return Ok(());
    }
    let shape = array.shape();
    Err(Error::Engine(format!(
        "output '{name}' is {shape:?} for {images} images: it does not hold a row for each image"
    )))
}
