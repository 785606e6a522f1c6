//! The state of training in a file: written whole or not at all.

use super::step::State;
use super::{Standing, failed};
use crate::error::{Error, Result};
use crate::tensor::{self, Device, Tensor};
use flate2::Crc;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Its name in a run's folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The same while it is being written.
pub const NEW_CHECKPOINT: &str = "checkpoint.safetensors.new";

/// The standing, as JSON in a tensor of bytes.
const STANDING: &str = "adapt.standing";
/// The checksum of all other tensors, in one of four bytes.
const CHECKSUM: &str = "adapt.checksum";

/// Refuses a checkpoint that is damaged, before any work; there need be none.
///
/// # Errors
/// [`Error::Train`].
pub fn check(file: &Path) -> Result<()> {
    if file.is_file() { Store(file).read().map(drop) } else { Ok(()) }
}

/// An epoch's end is saved no sooner than this after the last.
const OFTEN: Duration = Duration::from_secs(2);
/// Nor before so many times what saving took went by: of a large network, or short epochs, the disk would take most of the time.
const TIMES: u32 = 20;

pub(super) struct Store<'a>(pub(super) &'a Path);

/// When the state was saved last, or the run began, and how long that took.
pub(super) struct Saved {
    at: Instant,
    took: Option<Duration>,
}

impl Saved {
    pub(super) fn not_yet() -> Saved {
        Saved { at: Instant::now(), took: None }
    }

    /// Whether an epoch's end is to be saved.
    pub(super) fn is_due(&self) -> bool {
        self.took.is_none_or(|took| self.at.elapsed() > OFTEN.max(TIMES * took).min(super::SAVED))
    }

    /// How long ago it was.
    pub(super) fn since(&self) -> Duration {
        self.at.elapsed()
    }

    pub(super) fn save(&mut self, store: &Store, state: &State) -> Result<()> {
        let begun = Instant::now();
        store.save(state)?;
        *self = Saved { at: Instant::now(), took: Some(begun.elapsed()) };
        Ok(())
    }
}

fn on_host((name, tensor): (String, Tensor)) -> Result<(String, candle_core::Tensor)> {
    Ok((name, tensor::to_host(&tensor).map_err(failed)?))
}

/// Of the names and values of all tensors but the checksum itself.
fn checksum(tensors: &HashMap<String, impl ::safetensors::View>) -> u32 {
    let mut names: Vec<&String> = tensors.keys().filter(|name| *name != CHECKSUM).collect();
    names.sort_unstable();
    let mut crc = Crc::new();
    for name in names {
        crc.update(name.as_bytes());
        crc.update(&tensors[name].data());
    }
    crc.sum()
}

impl Store<'_> {
    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::Train(format!("{}: {what}; begin anew without --resume", self.0.display()))
    }

    /// Writes it under another name and renames it, so that what is there is always whole.
    fn save(&self, state: &State) -> Result<()> {
        let mut tensors = state.optimizer.state(&state.names[..state.trained])?;
        if let Some(ema) = &state.ema {
            tensors.extend(ema.state(&state.names)?);
        }
        let best = state.best.iter().flat_map(|best| state.names.iter().zip(best));
        let own = state.names.iter().zip(&state.changing);
        tensors.extend(own.map(|(name, tensor)| (format!("{name}.value"), tensor.clone())));
        tensors.extend(best.map(|(name, tensor)| (format!("{name}.best"), tensor.clone())));
        let standing = serde_json::to_vec(&state.standing).map_err(|e| self.damaged(e))?;
        let size = standing.len();
        let standing = Tensor::from_vec(standing, size, &Device::Cpu).map_err(failed)?;
        tensors.insert(STANDING.into(), standing);
        let new = self.0.with_file_name(NEW_CHECKPOINT);
        // The crate's own writing to files goes through a temporary one, which a killed run would leave behind.
        let mut tensors: HashMap<String, _> = tensors.into_iter().map(on_host).collect::<Result<_>>()?;
        let sum = checksum(&tensors).to_le_bytes();
        let sum = Tensor::from_slice(&sum, sum.len(), &Device::Cpu).map_err(failed)?;
        tensors.extend([on_host((CHECKSUM.into(), sum))?]);
        let bytes = ::safetensors::serialize(&tensors, None).map_err(|e| self.damaged(e))?;
        let write = || {
            let mut file = fs::File::create(&new)?;
            file.write_all(&bytes)?;
            // Some file systems rename before they have written.
            file.sync_all()
        };
        write().map_err(Error::io(&new))?;
        fs::rename(&new, self.0).map_err(Error::io(self.0))
    }

    /// Puts what was saved into the state; where nothing was, it stays as it is.
    pub(super) fn load(&self, state: &mut State) -> Result<()> {
        if !self.0.is_file() {
            return Ok(());
        }
        let (tensors, standing) = self.read()?;
        let values = self.named(&tensors, &state.names, "value", &state.changing)?;
        if state.names.first().is_some_and(|name| tensors.contains_key(&format!("{name}.best"))) {
            state.best = Some(self.named(&tensors, &state.names, "best", &state.changing)?);
        }
        let strange = |error| match error {
            Error::Train(what) => self.damaged(what),
            other => other,
        };
        state.optimizer.load_state(&state.names[..state.trained], &tensors).map_err(strange)?;
        if let Some(ema) = &mut state.ema {
            ema.load_state(&state.names, &tensors).map_err(strange)?;
        }
        for (own, value) in state.changing.iter().zip(&values) {
            // A single number has no axis along which to set it.
            let flat = own.flatten_all().and_then(|own| own.slice_set(&value.flatten_all()?, 0, 0));
            flat.map_err(failed)?;
        }
        state.standing = standing;
        Ok(())
    }

    fn read(&self) -> Result<(HashMap<String, Tensor>, Standing)> {
        let tensors = tensor::load(self.0, &Device::Cpu).map_err(|e| self.damaged(e))?;
        let standing = tensors.get(STANDING).ok_or_else(|| self.damaged("it is no checkpoint"))?;
        let sum = tensors
            .get(CHECKSUM)
            .ok_or_else(|| self.damaged("it has no checksum, which others of this version have"))?;
        let host: HashMap<String, _> = tensors.clone().into_iter().map(on_host).collect::<Result<_>>()?;
        if sum.to_vec1::<u8>().ok().is_none_or(|sum| sum != checksum(&host).to_le_bytes()) {
            return Err(self.damaged("damaged: its checksum is another"));
        }
        let standing = standing.to_vec1::<u8>().map_err(|e| self.damaged(e))?;
        let standing = serde_json::from_slice(&standing).map_err(|e| self.damaged(e))?;
        Ok((tensors, standing))
    }

    fn named(
        &self,
        tensors: &HashMap<String, Tensor>,
        names: &[String],
        kind: &str,
        like: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        let find = |(name, own): (&String, &Tensor)| {
            let tensor = tensors.get(&format!("{name}.{kind}"));
            let fits = tensor.filter(|t| t.dims() == own.dims() && t.dtype() == own.dtype());
            fits.cloned().ok_or_else(|| self.damaged(format!("'{name}' is missing, or not of the model's shape")))
        };
        names.iter().zip(like).map(find).collect()
    }
}
