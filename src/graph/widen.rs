//! float16 models as float32 ones: tract cannot type all of them (its `Gemm` among others), and is slow at the rest.

use half::f16;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, type_proto};

// ONNX's numbers for the two types.
const FLOAT: i32 = 1;
const HALF: i32 = 10;

/// Makes every float16 weight, input and cast of the model float32. Fails over weights of a wrong length.
pub(super) fn widen(model: &mut ModelProto) -> Result<(), String> {
    model.graph.as_mut().map_or(Ok(()), graph)
}

fn graph(it: &mut GraphProto) -> Result<(), String> {
    for info in &mut it.input {
        if let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|t| t.value.as_mut()) {
            widen_type(&mut tensor.elem_type);
        }
    }
    it.initializer.iter_mut().try_for_each(tensor)?;
    for node in &mut it.node {
        for attribute in &mut node.attribute {
            if matches!(attribute.name.as_str(), "to" | "dtype") && attribute.i == i64::from(HALF) {
                attribute.i = FLOAT.into();
            }
            attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(tensor)?;
            attribute.g.iter_mut().chain(&mut attribute.graphs).try_for_each(graph)?;
        }
    }
    Ok(())
}

fn widen_type(number: &mut i32) {
    if *number == HALF {
        *number = FLOAT;
    }
}

fn tensor(it: &mut TensorProto) -> Result<(), String> {
    if it.data_type != HALF {
        return Ok(());
    }
    let raw = it.raw_data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    // Without raw data each value is the low half of an int32.
    let bits = raw.chain(it.int32_data.iter().map(|&v| v as u16));
    let wide: Vec<u8> = bits.flat_map(|bits| f16::from_bits(bits).to_f32().to_le_bytes()).collect();
    let count = it.dims.iter().try_fold(1i64, |n, &dim| n.checked_mul(dim));
    if count != Some((wide.len() / 4) as i64) {
        return Err(format!("weight '{}' of shape {:?} has {} values", it.name, it.dims, wide.len() / 4));
    }
    (it.data_type, it.raw_data) = (FLOAT, wide);
    it.int32_data.clear();
    Ok(())
}
