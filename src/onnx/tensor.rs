//! Tensors in the protobuf, and arrays.

use super::schema::{TensorProto, data_type};
use bytes::Bytes;
use half::{bf16, f16};

/// How many values a tensor has by its shape; an error for negative dimensions and sizes past 2⁶³.
pub fn element_count(tensor: &TensorProto) -> Result<u64, String> {
    let count = tensor.dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?));
    count.filter(|&n| n < 1 << 63).ok_or_else(|| format!("its shape {:?} is impossible", tensor.dims))
}

/// How many bytes `raw_data` must have.
pub fn byte_len(tensor: &TensorProto) -> Result<u64, String> {
    let bits = data_type::bits(tensor.data_type())
        .ok_or_else(|| format!("its data type {} has no raw form", tensor.data_type()))?;
    let bits = element_count(tensor)?.checked_mul(bits).ok_or("its size is impossible")?;
    Ok(bits.div_ceil(8))
}

/// Whether as many values are stored as the shape says.
pub fn check(tensor: &TensorProto) -> Result<(), String> {
    let count = element_count(tensor)?;
    if let Some(raw) = tensor.raw_data.as_ref().filter(|r| !r.is_empty()) {
        let expected = byte_len(tensor)?;
        return if raw.len() as u64 == expected {
            Ok(())
        } else {
            Err(format!("it stores {} bytes, its shape {:?} needs {expected}", raw.len(), tensor.dims))
        };
    }
    let (stored, count) = match tensor.data_type() {
        data_type::FLOAT => (tensor.float_data.len(), count),
        data_type::COMPLEX64 => (tensor.float_data.len(), count.saturating_mul(2)),
        data_type::DOUBLE => (tensor.double_data.len(), count),
        data_type::COMPLEX128 => (tensor.double_data.len(), count.saturating_mul(2)),
        data_type::INT64 => (tensor.int64_data.len(), count),
        data_type::UINT32 | data_type::UINT64 => (tensor.uint64_data.len(), count),
        data_type::STRING => (tensor.string_data.len(), count),
        other => match data_type::bits(other) {
            // Values of less than a byte share one, and each byte takes an int32.
            Some(1..8) => (tensor.int32_data.len(), byte_len(tensor)?),
            Some(_) => (tensor.int32_data.len(), count),
            None => return Err(format!("its data type {other} does not exist")),
        },
    };
    if stored as u64 == count {
        Ok(())
    } else {
        Err(format!("it stores {stored} values, its shape {:?} needs {count}", tensor.dims))
    }
}

/// The values of a float tensor (`float32`, `float64`, `float16`, `bfloat16`) as `f32`; `None` for other types.
pub fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let halves = || tensor.int32_data.iter().map(|&v| v as u16);
    let words = |raw: &Bytes| raw.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect::<Vec<_>>();
    let raw = tensor.raw_data.as_ref().filter(|r| !r.is_empty());
    Some(match (tensor.data_type(), raw) {
        (data_type::FLOAT, Some(raw)) => raw.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        (data_type::FLOAT, None) => tensor.float_data.clone(),
        (data_type::DOUBLE, Some(raw)) => raw.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32).collect(),
        (data_type::DOUBLE, None) => tensor.double_data.iter().map(|&v| v as f32).collect(),
        (data_type::FLOAT16, Some(raw)) => words(raw).into_iter().map(|w| f16::from_bits(w).to_f32()).collect(),
        (data_type::FLOAT16, None) => halves().map(|w| f16::from_bits(w).to_f32()).collect(),
        (data_type::BFLOAT16, Some(raw)) => words(raw).into_iter().map(|w| bf16::from_bits(w).to_f32()).collect(),
        (data_type::BFLOAT16, None) => halves().map(|w| bf16::from_bits(w).to_f32()).collect(),
        _ => return None,
    })
}

/// The values of an integer tensor (`int64`, `int32`); `None` for other types.
pub fn int64s(tensor: &TensorProto) -> Option<Vec<i64>> {
    let raw = raw_bytes(tensor)?;
    Some(match tensor.data_type() {
        data_type::INT64 => raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
        data_type::INT32 => raw.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect(),
        _ => return None,
    })
}

/// The little-endian bytes of a tensor's values, whichever field holds them; `None` for strings and packed types
/// that are not stored raw.
pub fn raw_bytes(tensor: &TensorProto) -> Option<Bytes> {
    if let Some(raw) = tensor.raw_data.as_ref().filter(|r| !r.is_empty()) {
        return Some(raw.clone());
    }
    Some(match tensor.data_type() {
        data_type::FLOAT => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        data_type::DOUBLE => tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        data_type::INT64 => tensor.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        data_type::INT32 => tensor.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        data_type::FLOAT16 | data_type::BFLOAT16 => {
            tensor.int32_data.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect()
        }
        data_type::UINT8 | data_type::INT8 | data_type::BOOL => tensor.int32_data.iter().map(|v| *v as u8).collect(),
        _ => return None,
    })
}

/// Replaces a tensor's values by these little-endian bytes.
pub fn set_raw(tensor: &mut TensorProto, raw: Bytes) {
    tensor.float_data.clear();
    tensor.int32_data.clear();
    tensor.int64_data.clear();
    tensor.double_data.clear();
    tensor.uint64_data.clear();
    tensor.raw_data = Some(raw);
}

/// Floats as the little-endian bytes of `data_type` (`float32`, `float64`, `float16`, `bfloat16`; others as `float32`).
pub fn encode_floats(values: impl IntoIterator<Item = f32>, data_type: i32) -> Bytes {
    let values = values.into_iter();
    match data_type {
        data_type::FLOAT16 => values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        data_type::BFLOAT16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        data_type::DOUBLE => values.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    }
}

/// A float initializer of the given type.
pub fn initializer(name: &str, dims: &[usize], values: impl IntoIterator<Item = f32>, data_type: i32) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(data_type),
        raw_data: Some(encode_floats(values, data_type)),
        ..Default::default()
    }
}

/// An `int64` initializer with one axis.
pub fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![values.len() as i64],
        data_type: Some(data_type::INT64),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..Default::default()
    }
}
