//! The output folder: filled under another name, and renamed when whole.

use super::{Adapted, Run, csv, json};
use crate::error::{Error, Result};
use crate::onnx::weights::to_safetensors;
use crate::plan::Plan;
use crate::train::Prediction;
use std::fs;
use std::path::{Path, PathBuf};

/// What a run writes. Only folders that hold nothing else are ever replaced.
pub const FILES: [&str; 8] = [
    "model.onnx",
    "model.safetensors",
    "labels.txt",
    "config.json",
    "preprocessor_config.json",
    "predictions.csv",
    "metrics.json",
    "run.json",
];

/// `OUT.partial` until [`OutDir::commit`]; removed with all that is in it when dropped before.
pub struct OutDir {
    target: PathBuf,
    partial: PathBuf,
    done: bool,
}

impl OutDir {
    /// Makes `target.partial`. An existing `target` must be empty, or hold nothing but an earlier run's files and
    /// `force` be set.
    ///
    /// # Errors
    /// [`Error::Usage`] when `target` may not be replaced, [`Error::Io`] when nothing can be written there.
    pub fn create(target: &Path, force: bool) -> Result<OutDir> {
        replaceable(target, force)?;
        if target.file_name().is_none() {
            return Err(Error::Usage(format!("--out {}: not a folder's name", target.display())));
        }
        if let Some(parent) = target.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(Error::io(parent))?;
        }
        // What an earlier run left when it was killed.
        let partial = beside(target, "partial");
        clear(&partial)?;
        if target.is_dir() {
            clear(&beside(target, "old"))?;
        }
        fs::create_dir(&partial).map_err(Error::io(&partial))?;
        Ok(OutDir { target: target.to_path_buf(), partial, done: false })
    }

    /// `runs/adapt-1`, or the first of `-2`, `-3`, … that does not exist.
    pub fn next_default() -> PathBuf {
        let mut names = (1..).map(|n| PathBuf::from(format!("runs/adapt-{n}")));
        let free = |p: &PathBuf| !p.exists() && !p.with_extension("partial").exists();
        names.find(free).expect("there are more numbers than folders")
    }

    /// Where a file is until the folder is whole.
    pub fn path(&self, name: &str) -> PathBuf {
        self.partial.join(name)
    }

    /// Writes one of the files.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        debug_assert!(FILES.contains(&name), "{name} is missing in FILES");
        let path = self.path(name);
        fs::write(&path, bytes).map_err(Error::io(&self.target.join(name)))
    }

    /// Writes the model, its weights, and the files that tell how to use it.
    pub fn write_model(&self, adapted: &Adapted, plan: &Plan, classes: &[String]) -> Result<()> {
        self.write("model.onnx", &adapted.model.to_bytes()?)?;
        self.write("model.safetensors", &to_safetensors(&adapted.model)?)?;
        self.write("labels.txt", classes.iter().map(|c| format!("{c}\n")).collect::<String>().as_bytes())?;
        self.write("preprocessor_config.json", json(&plan.preprocessing.to_json())?.as_bytes())?;
        let numbered = || classes.iter().enumerate();
        let id2label: serde_json::Map<_, _> = numbered().map(|(i, c)| (i.to_string(), c.as_str().into())).collect();
        let label2id: serde_json::Map<_, _> = numbered().map(|(i, c)| (c.clone(), i.into())).collect();
        let config = serde_json::json!({
            "num_labels": classes.len(), "id2label": id2label, "label2id": label2id,
            "problem_type": "single_label_classification",
            "num_channels": plan.input.channels, "image_size": [plan.input.height, plan.input.width],
        });
        self.write("config.json", json(&config)?.as_bytes())
    }

    /// Writes predictions and figures.
    pub fn write_results(&self, run: &Run, predictions: &[Prediction]) -> Result<()> {
        self.write("predictions.csv", &csv(predictions)?)?;
        self.write("metrics.json", json(&run.metrics)?.as_bytes())?;
        self.write("run.json", json(run)?.as_bytes())
    }

    /// Puts the folder in its place. An earlier run's folder is there until the new one is.
    pub fn commit(mut self) -> Result<PathBuf> {
        let old = beside(&self.target, "old");
        let replaced = self.target.is_dir();
        if replaced {
            fs::rename(&self.target, &old).map_err(Error::io(&self.target))?;
        }
        if let Err(e) = fs::rename(&self.partial, &self.target) {
            if replaced {
                let _ = fs::rename(&old, &self.target);
            }
            return Err(Error::io(&self.target)(e));
        }
        self.done = true;
        // Only what was put there just now: a folder of that name may be anybody's.
        if replaced {
            fs::remove_dir_all(&old).map_err(Error::io(&old))?;
        }
        Ok(self.target.clone())
    }

    /// Keeps the files of a model that failed its verification, as `OUT.rejected`.
    pub fn reject(mut self) -> Result<PathBuf> {
        let rejected = beside(&self.target, "rejected");
        clear(&rejected)?;
        fs::rename(&self.partial, &rejected).map_err(Error::io(&rejected))?;
        self.done = true;
        Ok(rejected)
    }
}

impl Drop for OutDir {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// `OUT.suffix`.
fn beside(target: &Path, suffix: &str) -> PathBuf {
    target.with_added_extension(suffix)
}

/// Removes a folder that holds nothing but a run's files, if it is there.
fn clear(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        replaceable(folder, true)?;
        fs::remove_dir_all(folder).map_err(Error::io(folder))?;
    }
    Ok(())
}

fn replaceable(folder: &Path, force: bool) -> Result<()> {
    let what = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            "is a file, or lies below one; choose another --out".to_string()
        }
        Err(e) => return Err(Error::io(folder)(e)),
        Ok(entries) => {
            let entries = entries.collect::<std::io::Result<Vec<_>>>().map_err(Error::io(folder))?;
            let own = |e: &fs::DirEntry| {
                e.file_name().to_str().is_some_and(|n| FILES.contains(&n)) && e.file_type().is_ok_and(|t| t.is_file())
            };
            match entries.iter().find(|e| !own(e)) {
                _ if entries.is_empty() => return Ok(()),
                Some(foreign) => {
                    let name = foreign.file_name();
                    format!("holds '{}', which adapt did not write; choose another --out", name.display())
                }
                None if !force => "exists already; choose another --out, or replace it with --force".into(),
                None => return Ok(()),
            }
        }
    };
    Err(Error::Usage(format!("{} {what}", folder.display())))
}
