//! Weights from a safetensors file into an ONNX file.

use super::{MergeOptions, print};
use adapt::onnx::{Model, metadata, regular_file, weights};
use adapt::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

pub fn run(options: &MergeOptions) -> Result<()> {
    if options.out.exists() && !options.force {
        return Err(Error::Usage(format!(
            "{}: exists already; choose another --out, or --force",
            options.out.display()
        )));
    }
    let mut model = Model::open(&options.base)?;
    regular_file(&options.weights, "a safetensors file")?;
    let bytes = fs::read(&options.weights).map_err(Error::io(&options.weights))?;
    let figures = contract_with_figures(&model);
    // Needed for comparison only where there are figures that could become wrong.
    let before = figures.as_ref().map(|_| weights::to_safetensors(&model)).transpose()?;
    let merged = weights::merge(&mut model, &bytes).map_err(|what| Error::model(&options.weights, what))?;
    let mut note = "";
    if let (Some(mut contract), Some(before)) = (figures, before)
        && before != weights::to_safetensors(&model)?
    {
        contract.shift_remove("metrics");
        metadata::set(&mut model.proto, "adapt.contract", serde_json::Value::Object(contract).to_string());
        note = "; the figures in the file's metadata are left out: they were those of other values";
    }
    write(&options.out, &model.to_bytes()?)?;
    print(&format!("{}: {merged} tensors from {}{note}\n", options.out.display(), options.weights.display()))
}

/// `adapt.contract`, where it holds figures.
fn contract_with_figures(model: &Model) -> Option<serde_json::Map<String, serde_json::Value>> {
    let text = metadata::get(&model.proto, "adapt.contract")?;
    let contract: serde_json::Map<_, _> = serde_json::from_str(text).ok()?;
    contract.contains_key("metrics").then_some(contract)
}

/// Under another name, and renamed when whole, so that no interruption leaves half a model.
pub(super) fn write(out: &Path, bytes: &[u8]) -> Result<()> {
    let Some(name) = out.file_name() else {
        return Err(Error::Usage(format!("--out {}: not a file's name", out.display())));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.partial", std::process::id()));
    let partial = out.with_file_name(hidden);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&partial).map_err(Error::io(out))?;
    let written = file.write_all(bytes);
    drop(file);
    written.and_then(|()| fs::rename(&partial, out)).map_err(|e| {
        let _ = fs::remove_file(&partial);
        Error::io(out)(e)
    })
}
