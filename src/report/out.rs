//! The output folder: filled under another name, and renamed when whole.

use super::folder::{Parents, beside, clear, occupied, occupy, replaceable};
use super::html::REPORT;
use super::maps::MAPS;
use super::recorded::SCORES;
use super::{Adapted, Run, json};
use crate::data::Task;
use crate::error::{Error, Result, printable};
use crate::onnx::{Model, weights};
use crate::plan::Plan;
use crate::train::tune;
use crate::verify::golden;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What a run writes. Only folders that hold nothing else are ever replaced.
pub const FILES: [&str; 13] = [
    "model.onnx",
    "model.onnx.data",
    "model.safetensors",
    "labels.txt",
    "config.json",
    "preprocessor_config.json",
    "predictions.csv",
    SCORES,
    MAPS,
    REPORT,
    "results.csv",
    "metrics.json",
    "run.json",
];

/// What a run that trains inside a network keeps in `OUT.partial` so that it can go on: its command line, and how far it is.
pub const RESUME: &str = "resume.json";
pub(super) const CHECKPOINTS: [&str; 3] = [tune::CHECKPOINT, tune::NEW_CHECKPOINT, NEW];

/// A file while it is being written.
const NEW: &str = ".new";

/// Locked in `OUT.partial` while a run writes there. A killed run's lock is open again.
pub(super) const LOCK: &str = ".lock";

/// `OUT.partial` until [`OutDir::commit`]; removed with all that is in it when dropped before.
pub struct OutDir {
    target: PathBuf,
    partial: PathBuf,
    force: bool,
    done: bool,
    lock: Option<File>,
    // Dropped last: by then the partial folder is gone from them, or the result is there.
    _parents: Parents,
}

impl OutDir {
    /// Makes `target.partial`. An existing `target` must be empty, or hold nothing but an earlier run's files and
    /// `force` be set. What an interrupted run could go on from stays until [`OutDir::begin_anew`].
    ///
    /// # Errors
    /// [`Error::Usage`] when `target` may not be replaced or another run is writing there, [`Error::Io`] when nothing
    /// can be written there.
    pub fn create(target: &Path, force: bool) -> Result<OutDir> {
        let out = OutDir::occupy(target, force)?;
        let interrupted = out.path(tune::CHECKPOINT).is_file();
        if !force && interrupted {
            let target = target.display();
            let what = format!(
                "{target}: an interrupted run is there; go on with --resume {target}, or begin anew with --force"
            );
            return Err(Error::Usage(what));
        }
        out.clear(FILES.iter())?;
        if !interrupted {
            out.begin_anew()?;
        }
        Ok(out)
    }

    /// Removes the state of an interrupted run that was there, now that this one is sure to take its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin_anew(&self) -> Result<()> {
        self.remove(CHECKPOINTS.iter().chain([&RESUME]))
    }

    /// `target.partial` as an interrupted run left it.
    ///
    /// # Errors
    /// Those of [`OutDir::create`].
    pub fn resume(target: &Path, force: bool) -> Result<OutDir> {
        let out = OutDir::occupy(target, force)?;
        out.clear(FILES.iter())?;
        Ok(out)
    }

    /// Where the state of a run in `target` is kept until it is done.
    pub fn state_of(target: &Path, name: &str) -> PathBuf {
        beside(target, "partial").join(name)
    }

    fn occupy(target: &Path, force: bool) -> Result<OutDir> {
        #[cfg(unix)]
        super::folder::no_mount_point(target)?;
        replaceable(target, force)?;
        if target.file_name().is_none() {
            return Err(Error::Usage(format!("--out {}: not a folder's name", target.display())));
        }
        let parents = Parents::create(target)?;
        let partial = beside(target, "partial");
        let lock = occupy(&partial, target)?;
        let out = OutDir { target: target.to_path_buf(), partial, force, done: false, lock, _parents: parents };
        let old = beside(target, "old");
        if target.is_dir() {
            clear(&old)?;
        } else if old.join("run.json").is_file() {
            // A run was killed between putting the earlier result aside and its own in its place.
            fs::rename(&old, target).map_err(Error::io(&old))?;
            replaceable(target, force)?;
        }
        Ok(out)
    }

    fn remove<'a>(&self, names: impl Iterator<Item = &'a &'a str>) -> Result<()> {
        for path in names.map(|name| self.path(name)) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(&path)(e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what an earlier run left when it was killed.
    fn clear<'a>(&self, names: impl Iterator<Item = &'a &'a str>) -> Result<()> {
        self.remove(names)?;
        // Its files are a run's: no other folder is taken over.
        match fs::remove_dir_all(self.path(golden::FOLDER)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(&self.path(golden::FOLDER))(e)),
            _ => Ok(()),
        }
    }

    /// `runs/adapt-1`, or the first of `-2`, `-3`, … that does not exist and that no run is writing. What a killed run
    /// left keeps no number from being used; what was kept on purpose does, and has no lock's file any more.
    pub fn next_default() -> PathBuf {
        let mut names = (1..).map(|n| PathBuf::from(format!("runs/adapt-{n}")));
        let free = |p: &PathBuf| {
            let partial = beside(p, "partial");
            let idle = || !occupied(&partial) && !partial.join(tune::CHECKPOINT).exists();
            let left = || partial.join(LOCK).is_file() && replaceable(&partial, true).is_ok() && idle();
            !p.exists() && (!partial.exists() || left())
        };
        names.find(free).expect("there are more numbers than folders")
    }

    /// Where the result goes.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where all files are until the folder is whole.
    pub fn folder(&self) -> &Path {
        &self.partial
    }

    /// Where the file of that name is until then.
    pub fn path(&self, name: &str) -> PathBuf {
        self.partial.join(name)
    }

    /// Writes one of the files.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        debug_assert!(FILES.contains(&name) || name == RESUME, "{name} is missing in FILES");
        // Whole or not at all: somebody may read it meanwhile, or go on from it.
        let (new, path) = (self.path(NEW), self.path(name));
        let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path));
        written.map_err(Error::io(&self.target.join(name)))
    }

    /// Writes the model (its weights in `model.onnx.data` where one file cannot hold it), its weights by name, and the
    /// files that tell how to use it.
    pub fn write_model(&self, adapted: &Adapted, plan: &Plan, classes: &[String]) -> Result<()> {
        // Errors name the file by its place in the end.
        let named = |name: &'static str| {
            move |error| match error {
                Error::Io { source, .. } => Error::io(self.target.join(name))(source),
                other => other,
            }
        };
        adapted.model.save(&self.path("model.onnx")).map_err(named("model.onnx"))?;
        weights::save(&adapted.model, &self.path("model.safetensors")).map_err(named("model.safetensors"))?;
        self.write("labels.txt", classes.iter().map(|c| format!("{c}\n")).collect::<String>().as_bytes())?;
        self.write("preprocessor_config.json", json(&plan.preprocessing.to_json())?.as_bytes())?;
        let numbered = || classes.iter().enumerate();
        let id2label: serde_json::Map<_, _> = numbered().map(|(i, c)| (i.to_string(), c.as_str().into())).collect();
        let label2id: serde_json::Map<_, _> = numbered().map(|(i, c)| (c.clone(), i.into())).collect();
        let config = serde_json::json!({
            "num_labels": classes.len(), "id2label": id2label, "label2id": label2id,
            "problem_type": match plan.task {
                Task::Multiclass => "single_label_classification",
                Task::Multilabel => "multi_label_classification",
                Task::Regression => "regression",
            },
            "num_channels": plan.input.channels, "image_size": [plan.input.height, plan.input.width],
        });
        self.write("config.json", json(&config)?.as_bytes())
    }

    /// Puts a model that preprocesses in its graph in the place of the one that does not. Nobody is told to preprocess then.
    pub fn replace_model(&self, model: &Model) -> Result<()> {
        self.remove(["model.onnx", "model.onnx.data", "preprocessor_config.json"].iter())?;
        model.save(&self.path("model.onnx"))
    }

    /// Writes predictions, which are CSV, and figures.
    pub fn write_results(&self, run: &Run, predictions: &[u8]) -> Result<()> {
        self.write("predictions.csv", predictions)?;
        self.write("metrics.json", json(&run.metrics)?.as_bytes())?;
        self.write("run.json", json(run)?.as_bytes())
    }

    /// Puts the folder in its place. An earlier run's folder is there until the new one is.
    ///
    /// # Errors
    /// Where the folder cannot go there, it stays as `OUT.partial`: the work is not lost.
    pub fn commit(mut self) -> Result<PathBuf> {
        self.done = true;
        self.unlock();
        // On the disk before the state from which the run could go on is removed.
        let mut files = FILES.iter().map(|name| self.path(name)).filter(|path| path.is_file());
        let sync = |path: PathBuf| File::options().append(true).open(path).and_then(|file| file.sync_all());
        files.try_for_each(sync).map_err(|e| self.kept(&Error::io(&self.target)(e)))?;
        // Somebody may have put something there meanwhile.
        replaceable(&self.target, self.force).map_err(|e| self.kept(&e))?;
        let old = beside(&self.target, "old");
        let replaced = self.target.is_dir();
        if replaced {
            fs::rename(&self.target, &old).map_err(|e| self.kept(&Error::io(&self.target)(e)))?;
        }
        if let Err(e) = fs::rename(&self.partial, &self.target) {
            if replaced {
                let _ = fs::rename(&old, &self.target);
            }
            return Err(self.kept(&Error::io(&self.target)(e)));
        }
        // Not before: a run that is killed until now can still go on.
        for name in CHECKPOINTS.iter().chain([&RESUME]) {
            let _ = fs::remove_file(self.target.join(name));
        }
        // Only what was put there just now: a folder of that name may be anybody's.
        if replaced {
            fs::remove_dir_all(&old).map_err(Error::io(&old))?;
        }
        Ok(self.target.clone())
    }

    /// Keeps the files of a model that failed its verification, as `OUT.rejected`.
    ///
    /// # Errors
    /// Where they cannot go there, they stay as `OUT.partial`.
    pub fn reject(mut self) -> Result<PathBuf> {
        self.done = true;
        self.unlock();
        self.clear(CHECKPOINTS.iter().chain([&RESUME]))?;
        let rejected = beside(&self.target, "rejected");
        clear(&rejected).map_err(|e| self.kept(&e))?;
        fs::rename(&self.partial, &rejected).map_err(|e| self.kept(&Error::io(&rejected)(e)))?;
        Ok(rejected)
    }

    fn kept(&self, why: &Error) -> Error {
        let text = format!("{why}; the files are kept in {}", printable(&self.partial.to_string_lossy()));
        Error::Io { path: self.target.clone(), source: io::Error::other(text) }
    }

    /// The lock's file does not belong to the result.
    fn unlock(&mut self) {
        let _ = fs::remove_file(self.path(LOCK));
        self.lock = None;
    }
}

impl Drop for OutDir {
    fn drop(&mut self) {
        // What was trained so far is not lost: the run can go on.
        if !self.done && !self.path(tune::CHECKPOINT).is_file() {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}
