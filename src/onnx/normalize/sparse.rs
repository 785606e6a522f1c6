//! Sparse stored tensors as plain ones.

use super::super::schema::{ModelProto, SparseTensorProto, TensorProto, data_type};
use super::super::tensor::{element_count, int64s, raw_bytes, set_raw};

/// So many bytes of all together: a file of a few lines can stand for as many as it likes.
const MOST: u64 = 1 << 28;

/// Stores the main graph's sparse tensors with all their zeros, under their names.
pub fn fill(proto: &mut ModelProto) -> Result<(), String> {
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let mut left = MOST;
    for sparse in std::mem::take(&mut graph.sparse_initializer) {
        let name = sparse.values.as_ref().map_or("", |values| values.name());
        let filled = filled(&sparse, &mut left).map_err(|what| format!("the sparse tensor '{name}': {what}"))?;
        graph.initializer.push(filled);
    }
    Ok(())
}

fn filled(sparse: &SparseTensorProto, left: &mut u64) -> Result<TensorProto, String> {
    const TYPE: &str = "its values are of a type that is not supported";
    let (values, places) =
        sparse.values.as_ref().zip(sparse.indices.as_ref()).ok_or("it has no values or no places")?;
    let mut full = TensorProto {
        name: values.name.clone(),
        dims: sparse.dims.clone(),
        data_type: values.data_type,
        ..Default::default()
    };
    let width = data_type::bits(values.data_type()).filter(|bits| bits % 8 == 0).ok_or(TYPE)? / 8;
    let bytes = element_count(&full)?.checked_mul(width).filter(|bytes| bytes <= left);
    let bytes = bytes.ok_or_else(|| format!("its shape {:?} is too large to store all of it", sparse.dims))?;
    *left -= bytes;
    let (mut raw, width) = (vec![0u8; bytes as usize], width as usize);
    let places = linear(&int64s(places).ok_or("its places are no whole numbers")?, places.dims.len(), &sparse.dims);
    let values = raw_bytes(values).ok_or(TYPE)?;
    if places.len() * width != values.len() {
        return Err("it has not one place for each value".into());
    }
    for (place, value) in places.into_iter().zip(values.chunks_exact(width)) {
        let at = place.and_then(|place| raw.get_mut(place * width..)?.get_mut(..width));
        at.ok_or("it has a value outside its shape")?.copy_from_slice(value);
    }
    set_raw(&mut full, raw.into());
    Ok(full)
}

/// Places in row-major order, from such, or from one list of coordinates for each value; `None` for those that are outside.
fn linear(places: &[i64], rank: usize, dims: &[i64]) -> Vec<Option<usize>> {
    let along = |place: i64, (coordinate, dim): (&i64, &i64)| {
        place.checked_mul(*dim)?.checked_add(*coordinate).filter(|_| (0..*dim).contains(coordinate))
    };
    match rank {
        2 if !dims.is_empty() => {
            let rows = places.chunks_exact(dims.len());
            let place = |row: &[i64]| row.iter().zip(dims).try_fold(0, along).and_then(|at| usize::try_from(at).ok());
            rows.map(place).collect()
        }
        _ => places.iter().map(|&place| usize::try_from(place).ok().filter(|place| *place < 1 << 32)).collect(),
    }
}
