//! Going on with a run that was interrupted.

use super::{Arguments, adapt, tell};
use ::adapt::data::Dataset;
use ::adapt::onnx::{Model, hex};
use ::adapt::plan::Plan;
use ::adapt::report::json;
use ::adapt::report::out::{OutDir, RESUME};
use ::adapt::train::tune::{CHECKPOINT, Settings, check};
use ::adapt::{Error, Result};
use clap::Parser;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// What it takes to do the same again: written before training, read by `--resume`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    // As the system has them: not all are Unicode.
    arguments: Vec<OsString>,
    /// Where relative paths begin.
    folder: OsString,
    /// This program's version, and the engine's.
    versions: [String; 2],
    model: String,
    images: String,
    /// The plan's, which files beside the model may tell.
    preprocessing: String,
    cut: String,
    /// How the network is trained: some of it may have hung on the time.
    pub settings: Settings,
    /// Whether the settings count with the images that can be read.
    pub counted: bool,
}

impl Recipe {
    /// Of the images as they are listed, before those that cannot be read are left out.
    pub fn new(model: &Model, plan: &Plan, data: &Dataset, settings: &Settings) -> Result<Recipe> {
        let mut images = Sha256::new();
        let state = |path: &Path| fs::metadata(path).ok().map(|file| (file.len(), file.modified().ok()));
        // A file of many images, or a list of them.
        if !data.source.place().is_dir() {
            images.update(format!("{:?}\n", state(data.source.place())));
        }
        for item in &data.items {
            // Reading them all would take as long as training on them for a while: files that are changed tell it so.
            let state = state(&data.source.locate(&item.path));
            images.update(format!("{}\0{}\0{}\0{state:?}\n", item.path, item.label, item.split));
        }
        Ok(Recipe {
            arguments: std::env::args_os().collect(),
            folder: std::env::current_dir().map_err(Error::io("."))?.into(),
            versions: [env!("CARGO_PKG_VERSION").into(), engine_of(plan)],
            model: model.sha256.clone(),
            images: hex(&images.finalize()),
            preprocessing: plan.preprocessing.to_json().to_string(),
            cut: plan.cut.clone(),
            settings: settings.clone(),
            counted: false,
        })
    }

    /// The command line that the run began with.
    pub fn command(&self) -> Vec<String> {
        told(self.arguments.iter())
    }

    /// Which of several models the run was begun with; the others may be gone.
    pub fn model(&self, files: &[PathBuf]) -> Result<Model> {
        let own = files.iter().filter_map(|file| Model::open(file).ok()).find(|model| model.sha256 == self.model);
        let what = "the model that the run chose is gone, or has changed, since it began; begin anew without --resume";
        own.ok_or_else(|| Error::Usage(what.into()))
    }

    /// Whether the run was begun with the engine of this plan.
    pub fn engine_is(&self, plan: &Plan) -> bool {
        self.versions[1] == engine_of(plan)
    }

    pub fn write(&self, out: &OutDir) -> Result<()> {
        out.write(RESUME, json(self)?.as_bytes())
    }

    /// Refuses to go on with another model, other images or another plan than the run began with.
    pub fn check(&self, model: &Model, plan: &Plan, data: &Dataset) -> Result<()> {
        let now = Recipe::new(model, plan, data, &self.settings)?;
        let changed = if now.versions != self.versions {
            format!("adapt or its engine ({}, now {})", self.versions.join(", "), now.versions.join(", "))
        } else if now.model != self.model {
            format!("the model {}", model.path.display())
        } else if now.images != self.images {
            let place = data.source.place().display();
            format!("the list of images in {place}, or one of them (its size, or when it was changed),")
        } else if now.preprocessing != self.preprocessing {
            format!("the images' preprocessing (now from {})", plan.preprocessing_source)
        } else if now.cut != self.cut {
            format!("the cut ('{}', now '{}')", self.cut, now.cut)
        } else {
            return Ok(());
        };
        Err(Error::Usage(format!("{changed} has changed since the run began; begin anew without --resume")))
    }
}

/// The engine, its version, and the device where that is a GPU.
fn engine_of(plan: &Plan) -> String {
    let device = if plan.device == "cpu" { String::new() } else { format!(", {}", plan.device) };
    format!("{} {}{device}", plan.engine.name, plan.engine.version)
}

/// A command line as `run.json` has it.
pub fn told<A: AsRef<OsStr>>(arguments: impl Iterator<Item = A>) -> Vec<String> {
    arguments.map(|argument| argument.as_ref().to_string_lossy().into_owned()).collect()
}

/// Goes on with the run that is to end in `folder` (or has got as far as `folder`); with one that is done, there is nothing to do.
pub fn run(folder: &Path) -> Result<()> {
    let given = std::path::absolute(folder).map_err(Error::io(folder))?;
    // The one folder that an interrupted run leaves to see.
    let is_partial = given.extension().is_some_and(|end| end == "partial") && given.join(RESUME).is_file();
    let target = if is_partial { given.with_extension("") } else { given };
    let state = |name| OutDir::state_of(&target, name);
    let recipe = match fs::read(state(RESUME)) {
        Ok(bytes) => bytes,
        // A later run that was interrupted before it could be resumed is not done, whatever an earlier one left.
        Err(_) if target.join("run.json").is_file() && !state("").exists() => {
            tell(&format!("{}: done already", folder.display()));
            return Ok(());
        }
        Err(_) => {
            let what = "no run was interrupted there that could go on; begin it without --resume";
            return Err(Error::Usage(format!("{}: {what}", folder.display())));
        }
    };
    let damaged = |e: &dyn std::fmt::Display| Error::data(state(RESUME), format!("{e}; begin anew without --resume"));
    let recipe: Recipe = serde_json::from_slice(&recipe).map_err(|e| damaged(&e))?;
    check(&state(CHECKPOINT))?;
    std::env::set_current_dir(&recipe.folder).map_err(Error::io(Path::new(&recipe.folder)))?;
    // It was a command line that clap took.
    let arguments = Arguments::try_parse_from(&recipe.arguments).map_err(|e| damaged(&e.kind()))?;
    if arguments.command.is_some() || arguments.adapt.resume.is_some() {
        return Err(damaged(&"it is no run's command line"));
    }
    adapt::start(&arguments.adapt, Some((&target, &recipe)))
}
