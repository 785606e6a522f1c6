//! Weights from a safetensors file into an ONNX file.

use super::{MergeOptions, print};
use adapt::onnx::{Model, regular_file, weights};
use adapt::{Error, Result};
use std::fs;

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
    let merged = weights::merge(&mut model, &bytes).map_err(|what| Error::model(&options.weights, what))?;
    // Renamed when whole, so that no interruption leaves half a model.
    let partial = options.out.with_added_extension("partial");
    let written = fs::write(&partial, model.to_bytes()?).and_then(|()| fs::rename(&partial, &options.out));
    if let Err(e) = written {
        let _ = fs::remove_file(&partial);
        return Err(Error::io(&options.out)(e));
    }
    print(&format!("{}: {merged} tensors from {}\n", options.out.display(), options.weights.display()))
}
