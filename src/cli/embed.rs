//! Features for images.

use super::predict::{rows, warn_of_a_guess};
use super::progress::Reporter;
use super::{CacheOptions, RunOptions, merge, print, vacant};
use adapt::data::images_below;
use adapt::error::printable;
use adapt::onnx::Model;
use adapt::plan::{Plan, PlanOptions, preprocessing};
use adapt::report;
use adapt::{Error, Result};
use ndarray::Array2;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct EmbedOptions {
    /// Any image model
    pub model: PathBuf,
    /// Images, folders of images, zip files, lists (.csv, .tsv) with a column of paths, Parquet
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// Where the features go: a .npy (the paths go beside it), .safetensors or .csv file
    /// [default: CSV on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// The tensor that holds the features [default: the last linear layer's input]
    #[arg(long, value_name = "TENSOR", help_heading = "Model")]
    pub cut: Option<String>,
    #[command(flatten)]
    pub cache: CacheOptions,
    #[command(flatten)]
    pub run: RunOptions,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Npy,
    Safetensors,
    Csv,
}

pub fn run(options: &EmbedOptions) -> Result<()> {
    let target = options.out.as_deref().map(|out| Ok((out, format_of(out)?))).transpose()?;
    let beside = target.filter(|(_, format)| *format == Format::Npy).map(|(out, _)| list_beside(out));
    for file in target.iter().map(|(out, _)| *out).chain(beside.as_deref()) {
        vacant(file, options.force)?;
    }
    options.run.engine.limit_threads();
    let reporter = Reporter::new(options.run.verbosity.quiet, options.run.verbosity.verbose);
    let progress = |event: adapt::progress::Event| reporter.event(event);
    let mut model = Model::open(&options.model)?;
    let input = &options.run.input;
    warn_of_a_guess(&reporter, &preprocessing::resolve(&model, input.preprocess.as_ref(), input.size)?.1);
    let images = images_below(&options.paths, &progress)?;
    let backend = options.run.engine.resolve(&progress)?;
    let (preprocess, cut) = (input.preprocess.clone(), options.cut.clone());
    let wanted = PlanOptions { preprocess, cut, size: input.size, ..PlanOptions::default() };
    let (plan, extractor) = Plan::prepare(&mut model, &backend, &wanted, &progress)?;
    let mut extractor = plan.cached(extractor, &model, options.cache.open().as_ref());
    if options.run.verbosity.verbose {
        let engine = format!("{} {}", plan.engine.name, plan.engine.version);
        reporter.say(&format!("cut      {}, {} features\nengine   {engine}", printable(&plan.cut), plan.features));
    }
    let (paths, rows) = rows(images, &mut extractor, "extracting features", &reporter)?;
    let Some((out, format)) = target else { return print(&csv(&paths, &rows)?) };
    let bytes = match format {
        Format::Csv => csv(&paths, &rows)?.into_bytes(),
        Format::Npy => npy(&rows),
        Format::Safetensors => safetensors(&paths, &rows)?,
    };
    let (images, features) = (report::images(rows.nrows()), rows.ncols());
    let mut text = format!("{}: {features} features of {images} at '{}'", out.display(), plan.cut);
    if let Some(list) = beside {
        // A line each, whatever a name holds.
        let lines = paths.iter().map(|p| printable(p) + "\n").collect::<String>();
        merge::put(&list, true, |place| fs::write(place, lines).map_err(Error::io(place)))?;
        text += &format!("; their paths: {}", list.display());
    }
    merge::put(out, true, |place| fs::write(place, bytes).map_err(Error::io(place)))?;
    print(&(printable(&text) + "\n"))
}

fn format_of(out: &Path) -> Result<Format> {
    let extension = out.extension().map(|e| e.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("npy") => Ok(Format::Npy),
        Some("safetensors") => Ok(Format::Safetensors),
        Some("csv") => Ok(Format::Csv),
        _ => Err(Error::Usage(format!("--out {}: its name must end in .npy, .safetensors or .csv", out.display()))),
    }
}

/// `features.npy.paths.txt`
fn list_beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".paths.txt");
    name.into()
}

/// A line an image: its path, then its values, in as many digits as tell them apart.
fn csv(paths: &[String], rows: &Array2<f32>) -> Result<String> {
    let failed = |e: &dyn std::fmt::Display| Error::Engine(format!("writing CSV: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = std::iter::once("path".to_string()).chain((0..rows.ncols()).map(|i| format!("f{i}")));
    writer.write_record(header).map_err(|e| failed(&e))?;
    for (path, row) in paths.iter().zip(rows.rows()) {
        let record = std::iter::once(path.clone()).chain(row.iter().map(f32::to_string));
        writer.write_record(record).map_err(|e| failed(&e))?;
    }
    let bytes = writer.into_inner().map_err(|e| failed(&e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn little_endian(rows: &Array2<f32>) -> impl Iterator<Item = u8> + '_ {
    rows.iter().flat_map(|v| v.to_le_bytes())
}

/// NumPy's format 1.0: `<f4`, row by row. The header's end is aligned to 64 bytes.
fn npy(rows: &Array2<f32>) -> Vec<u8> {
    let (images, features) = rows.dim();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({images}, {features}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:width$}\n", width = length - 1).into_bytes());
    bytes.extend(little_endian(rows));
    bytes
}

/// `features`, and in the metadata the paths as a JSON list.
fn safetensors(paths: &[String], rows: &Array2<f32>) -> Result<Vec<u8>> {
    let failed = |e: &dyn std::fmt::Display| Error::Engine(format!("writing safetensors: {e}"));
    let bytes: Vec<u8> = little_endian(rows).collect();
    let shape = vec![rows.nrows(), rows.ncols()];
    let view = TensorView::new(Dtype::F32, shape, &bytes).map_err(|e| failed(&e))?;
    let list = serde_json::to_string(paths).map_err(|e| failed(&e))?;
    let metadata = HashMap::from([("paths".to_string(), list)]);
    safetensors::serialize([("features", view)], Some(metadata)).map_err(|e| failed(&e))
}
