//! The state of training in a file: written whole or not at all.

use super::State;
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Its name in a run's folder, and while it is being written.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// See there.
pub const NEW_CHECKPOINT: &str = "checkpoint.safetensors.new";

/// The key under which the standing is told.
const STANDING: &str = "adapt.standing";

pub(super) struct Store<'a> {
    path: &'a Path,
}

impl Store<'_> {
    pub(super) fn new(path: &Path) -> Store<'_> {
        Store { path }
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::Train(format!("{}: {what}; begin anew without --resume", self.path.display()))
    }

    /// Writes it under another name and renames it, so that what is there is always whole.
    pub(super) fn save(&self, state: &State) -> Result<()> {
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors(state)?
            .into_iter()
            .map(|(name, tensor)| {
                let values = tensor.flatten_all()?.to_vec1::<f32>()?;
                Ok((name, tensor.dims().to_vec(), values.into_iter().flat_map(f32::to_le_bytes).collect()))
            })
            .collect::<candle_core::Result<_>>()
            .map_err(super::failed)?;
        let views = bytes.iter().map(|(name, dims, bytes)| Ok((name, TensorView::new(Dtype::F32, dims.clone(), bytes)?)));
        let views = views.collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
        let standing = serde_json::to_string(&state.standing).map_err(|e| self.damaged(e))?;
        let told = HashMap::from([(STANDING.to_string(), standing)]);
        let bytes = serialize(views.map_err(|e| self.damaged(e))?, Some(told)).map_err(|e| self.damaged(e))?;
        let partial: PathBuf = self.path.with_file_name(NEW_CHECKPOINT);
        fs::write(&partial, bytes).map_err(Error::io(&partial))?;
        fs::File::open(&partial).and_then(|file| file.sync_all()).map_err(Error::io(&partial))?;
        fs::rename(&partial, self.path).map_err(Error::io(self.path))
    }

    /// Puts what was saved into the state; where nothing was, it stays as it is.
    pub(super) fn load(&self, state: &mut State) -> Result<()> {
        let bytes = match fs::read(self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(Error::io(self.path))?,
        };
        let (_, told) = SafeTensors::read_metadata(&bytes).map_err(|e| self.damaged(e))?;
        let standing = told.metadata().as_ref().and_then(|told| told.get(STANDING));
        let standing = standing.ok_or_else(|| self.damaged("no checkpoint of adapt"))?;
        let standing: super::Standing = serde_json::from_str(standing).map_err(|e| self.damaged(e))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| self.damaged(e))?;
        // The best epoch's weights, if there is one, need tensors to be put into.
        state.best = standing.best.map(|_| state.copies()).transpose()?;
        for (name, tensor) in tensors(state)? {
            let view = file.tensor(&name).map_err(|e| self.damaged(e))?;
            if view.shape() != tensor.dims() || view.dtype() != Dtype::F32 {
                return Err(self.damaged(format!("'{name}' has another shape than the model's")));
            }
            let (chunks, _) = view.data().as_chunks::<4>();
            let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            let values = Tensor::from_vec(values, tensor.dims(), &Device::Cpu).map_err(super::failed)?;
            crate::train::optimizer::assign(&tensor, &values)?;
        }
        state.optimizer.set_steps(standing.step);
        if let Some(ema) = &mut state.ema {
            ema.set_updates(standing.step);
        }
        state.standing = standing;
        Ok(())
    }
}

/// All tensors that change, by the names that they have in the file.
fn tensors(state: &State) -> Result<Vec<(String, Tensor)>> {
    let network = &state.network;
    let mut found = Vec::new();
    let mut add = |kind: &str, tensors: &[Tensor]| {
        let named = network.program.parameters().iter().zip(tensors).zip(&network.wanted.parameters);
        let trained = named.filter(|(_, wanted)| **wanted);
        found.extend(trained.map(|((parameter, tensor), _)| (format!("{kind}/{}", parameter.name), tensor.clone())));
    };
    add("weight", &network.parameters);
    if let Some(ema) = &state.ema {
        add("average", ema.parameters());
    }
    if let Some(best) = &state.best {
        add("best", best);
    }
    for (kind, tensors) in state.optimizer.state() {
        add(kind, tensors);
    }
    Ok(found)
}
