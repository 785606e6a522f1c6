//! A model's one input.

use super::Model;
use super::schema::data_type;
use crate::error::{Error, Result};

/// The element type that a model's input takes; images are converted to it on the way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// float32: as it is.
    F32,
    /// float16: rounded to the nearest.
    F16,
    /// uint8: rounded to the nearest, cut to 0..=255.
    U8,
}

/// A model's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// Its element type.
    pub kind: Kind,
    /// Its dimensions; `None` is any size. Empty where the file does not say.
    pub dims: Vec<Option<usize>>,
}

impl Port {
    /// The model's one input, its open dimensions but the batch filled in from `shape`.
    ///
    /// # Errors
    /// A text naming the input when there is not exactly one, when its type is no image's, or when a size stays open.
    pub fn of(model: &Model, shape: &[Option<usize>]) -> std::result::Result<Port, String> {
        let inputs: Vec<_> = model.inputs().collect();
        let [input] = inputs[..] else {
            let names: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
            return Err(format!("it has {} inputs ({}), and one image input is needed", names.len(), names.join(", ")));
        };
        let name = input.name().to_owned();
        let Some((elem_type, dims)) = input.tensor_type() else {
            return Err(format!("its input '{name}' is not a tensor"));
        };
        let kind = match elem_type {
            // bfloat16 is widened before any engine sees it.
            data_type::FLOAT | data_type::BFLOAT16 => Kind::F32,
            data_type::UINT8 => Kind::U8,
            data_type::FLOAT16 => Kind::F16,
            other => {
                let other = data_type::name(other);
                return Err(format!("its input '{name}' is {other}; float32, float16 and uint8 can be given"));
            }
        };
        let size = |size: &Option<u64>| size.and_then(|size| usize::try_from(size).ok());
        let mut dims: Vec<Option<usize>> = match &dims {
            Some(dims) => dims.iter().map(size).collect(),
            None => vec![None; shape.len()],
        };
        for (index, dim) in dims.iter_mut().enumerate().skip(1) {
            *dim = dim.or(shape.get(index).copied().flatten());
            if dim.is_none() {
                return Err(format!(
                    "the size of dimension {index} of its input '{name}' is open: say which it is to be"
                ));
            }
        }
        if dims.is_empty() {
            return Err(format!("the shape of its input '{name}' is not known"));
        }
        Ok(Port { name, kind, dims })
    }

    /// Checks an input's shape against the port's; the batch may be of any size but 0.
    pub(crate) fn check(&self, shape: &[usize]) -> Result<()> {
        let fits = |(want, &got): (&Option<usize>, &usize)| want.is_none_or(|want| want == got);
        let same = self.dims.len() == shape.len() && self.dims.iter().zip(shape).skip(1).all(fits);
        if (same || self.dims.is_empty()) && !shape.is_empty() && !shape.contains(&0) {
            return Ok(());
        }
        let dims: Vec<String> = self.dims.iter().map(|d| d.map_or("any".into(), |d| d.to_string())).collect();
        Err(Error::Engine(format!("input '{}' takes [{}], but {shape:?} was given", self.name, dims.join(", "))))
    }

    /// The number of images that the model insists on.
    pub(crate) fn fixed_batch(&self) -> Option<usize> {
        self.dims.first().copied().flatten()
    }
}
