//! Inputs besides the image whose value is obvious: they become stored tensors.

use super::Input;
use crate::onnx::Model;
use crate::onnx::schema::{TensorProto, ValueInfoProto, data_type};
use crate::onnx::surgery::list_stored;
use crate::onnx::tensor::{encode_floats, set_raw};

/// What an input that nobody needs to feed takes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    /// One number: a switch or a share.
    Number(f32),
    /// Height and width of the image, then ones: PaddlePaddle's `im_shape` and `im_info`.
    ImageShape,
    /// Ones: PaddlePaddle's `scale_factor`.
    Ones,
}

/// Switches of layers that only training needs, as Keras, TensorFlow and their converters name them: all off.
const SWITCHES: [&str; 8] = [
    "training",
    "is_training",
    "train",
    "is_train",
    "training_mode",
    "phase_train",
    "learning_phase",
    "keras_learning_phase",
];

fn default(input: &ValueInfoProto) -> Option<Known> {
    let (elem_type, dims) = input.tensor_type()?;
    let dims = dims.unwrap_or_default();
    let float = matches!(elem_type, data_type::FLOAT | data_type::DOUBLE | data_type::FLOAT16);
    let number = float || matches!(elem_type, data_type::BOOL | data_type::INT32 | data_type::INT64);
    let single = dims.len() < 2 && dims.iter().all(|&dim| dim == Some(1));
    // TensorFlow's names come with scopes ahead, and an output's number behind.
    let name = input.name().to_ascii_lowercase();
    let name = name.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    match name {
        _ if number && single && SWITCHES.contains(&name) => Some(Known::Number(0.0)),
        _ if float && single && name.contains("keep_prob") => Some(Known::Number(1.0)),
        _ if float && single && (name.contains("dropout") || name.starts_with("drop_")) => Some(Known::Number(0.0)),
        "im_shape" if float && dims.len() == 2 && dims[1] == Some(2) => Some(Known::ImageShape),
        "im_info" if float && dims.len() == 2 && dims[1] == Some(3) => Some(Known::ImageShape),
        "scale_factor" if float && dims.len() == 2 && dims[1] == Some(2) => Some(Known::Ones),
        _ => None,
    }
}

/// Whether an input need not be fed.
pub(super) fn has_default(input: &ValueInfoProto) -> bool {
    default(input).is_some()
}

/// Stores the values of such inputs in the model. Tells what was done.
pub fn store(model: &mut Model, image: &Input) -> Vec<String> {
    let found: Vec<(TensorProto, String)> = model
        .inputs()
        .filter(|input| input.name() != image.name)
        .filter_map(|input| {
            let (elem_type, dims) = input.tensor_type()?;
            let dims: Vec<i64> = dims.unwrap_or_default().iter().map(|dim| dim.unwrap_or(1) as i64).collect();
            let row = match default(input)? {
                Known::Number(number) => vec![number],
                Known::ImageShape => vec![image.height as f32, image.width as f32, 1.0],
                Known::Ones => vec![1.0; 2],
            };
            let row = &row[..dims.last().map_or(1, |&last| last as usize).min(row.len())];
            let rows = if dims.len() == 2 { usize::try_from(dims[0]).ok().filter(|&rows| rows <= 4096)? } else { 1 };
            let values: Vec<f32> = row.repeat(rows);
            let text: Vec<String> = row.iter().map(f32::to_string).collect();
            let note = format!("the input '{}' is stored as {}", input.name(), text.join(" "));
            Some((stored(input.name(), dims, &values, elem_type), note))
        })
        .collect();
    let (tensors, notes): (Vec<TensorProto>, Vec<String>) = found.into_iter().unzip();
    if let Some(graph) = model.proto.graph.as_mut() {
        graph.input.retain(|input| !tensors.iter().any(|t| t.name() == input.name()));
        graph.initializer.extend(tensors);
    }
    list_stored(&mut model.proto);
    notes
}

fn stored(name: &str, dims: Vec<i64>, values: &[f32], elem_type: i32) -> TensorProto {
    let mut tensor = TensorProto { name: Some(name.into()), dims, data_type: Some(elem_type), ..Default::default() };
    let raw = match elem_type {
        data_type::BOOL => values.iter().map(|&v| u8::from(v != 0.0)).collect(),
        data_type::INT32 => values.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect(),
        data_type::INT64 => values.iter().flat_map(|&v| (v as i64).to_le_bytes()).collect(),
        _ => encode_floats(values.iter().copied(), elem_type),
    };
    set_raw(&mut tensor, raw);
    tensor
}
