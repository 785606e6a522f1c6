//! Weights from a safetensors file into an ONNX file.

use super::print;
use adapt::onnx::{Model, metadata, regular_file, weights};
use adapt::{Error, Result};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct MergeOptions {
    /// The ONNX file that gives the graph
    pub base: PathBuf,
    /// The safetensors file that gives the values
    pub weights: PathBuf,
    /// The ONNX file to write
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
}

pub fn run(options: &MergeOptions) -> Result<()> {
    if options.out.exists() && !options.force {
        return Err(Error::Usage(format!(
            "{}: exists already; choose another --out, or --force",
            options.out.display()
        )));
    }
    let mut model = Model::open(&options.base)?;
    regular_file(&options.weights, "a safetensors file")?;
    let bytes = fs::read(&options.weights).map_err(Error::io(&options.weights))?.into();
    let merged = weights::merge(&mut model, &bytes).map_err(|what| Error::model(&options.weights, what))?;
    let mut note = "";
    if let Some(mut contract) = metadata::contract(&model.proto).ok().flatten().filter(|_| merged.changed) {
        let mut left_out = |key: &str| contract.as_object_mut().and_then(|keys| keys.shift_remove(key)).is_some();
        // New weights may have learnt something.
        left_out("initial");
        if left_out("metrics") {
            note = "; the figures in the file's metadata are left out: they were those of other values";
        }
        metadata::set_contract(&mut model.proto, &contract);
    }
    put(&options.out, options.force, |place| model.save(place))?;
    let (out, weights) = (options.out.display(), options.weights.display());
    print(&format!("{out}: {} tensors from {weights}{note}\n", merged.tensors))
}

/// What `write` writes in a hidden folder is renamed when whole, so that no interruption leaves half a file. Where a model's
/// weights need a file of their own, it goes first.
pub(super) fn put(out: &Path, force: bool, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let Some(name) = out.file_name() else {
        return Err(Error::Usage(format!("--out {}: not a file's name", out.display())));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.partial", std::process::id()));
    let folder = out.with_file_name(hidden);
    fs::create_dir(&folder).map_err(Error::io(out))?;
    let data = out.with_added_extension("data");
    let place = folder.join(name);
    let weights = place.with_added_extension("data");
    let named = |error| match error {
        Error::Io { source, .. } => Error::io(out)(source),
        other => other,
    };
    let written = write(&place).map_err(named).and_then(|()| {
        if weights.exists() {
            if data.exists() && !force {
                let what = "exists already, and the weights need it; choose another --out, or --force";
                return Err(Error::Usage(format!("{}: {what}", data.display())));
            }
            fs::rename(&weights, &data).map_err(Error::io(&data))?;
        }
        fs::rename(&place, out).map_err(Error::io(out))
    });
    let _ = fs::remove_dir_all(&folder);
    written
}
