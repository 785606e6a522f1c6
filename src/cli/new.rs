//! A new network with initial weights.

use super::progress::Reporter;
use super::{classes_only, merge, options, print, vacant};
use adapt::data::{Dataset, ReadOptions, Spec};
use adapt::error::printable;
use adapt::onnx::new::{Architecture, NewNetwork};
use adapt::onnx::{Model, metadata};
use adapt::plan::{Activation, labels::python_dict};
use adapt::{Error, Result};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct NewOptions {
    /// The network
    #[arg(value_name = "ARCH", value_enum)]
    pub architecture: Architecture,
    /// Labelled images, as for training: the network gets their classes
    #[arg(long, value_name = "DIR", required_unless_present = "classes", conflicts_with = "classes")]
    pub data: Option<PathBuf>,
    /// So many classes, which are called 0, 1, 2, …
    #[arg(long, value_name = "N")]
    pub classes: Option<usize>,
    #[command(flatten)]
    pub columns: options::ColumnOptions,
    /// Channels (1 grey, 2 grey and opacity, 3 colour, 4 colour and opacity), height and width of the images that it takes; others are resized
    #[arg(long, value_name = "CxHxW", value_parser = options::input)]
    pub input: (usize, u32, u32),
    /// Decides the weights
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    pub seed: u64,
    /// The ONNX file to write
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
}

pub fn run(options: &NewOptions) -> Result<()> {
    vacant(&options.out, options.force)?;
    let (channels, height, width) = options.input;
    let names = names(options)?;
    let classes = names.as_ref().map_or(options.classes.unwrap_or_default(), Vec::len);
    let (architecture, seed) = (options.architecture, options.seed);
    let (rows, columns) = (height as usize, width as usize);
    let network = NewNetwork { architecture, classes, channels, height: rows, width: columns, seed };
    let mut model = network.build()?;
    describe(
        &mut model,
        &names.unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect()),
        options.input,
    )?;
    merge::put(&options.out, options.force, |place| model.save(place))?;
    let weights: i64 = model.graph().initializer.iter().map(|t| t.dims.iter().product::<i64>()).sum();
    let out = printable(&options.out.display().to_string());
    let input = format!("{channels}x{height}x{width}");
    print(&format!("{out}: {architecture} with {weights} initial weights, input {input}, {classes} classes\n"))
}

/// The data set's classes.
fn names(options: &NewOptions) -> Result<Option<Vec<String>>> {
    let Some(folder) = &options.data else { return Ok(None) };
    let reporter = Reporter::new(false, false);
    let read = ReadOptions { columns: options.columns.columns(), ..ReadOptions::default() };
    let data = Dataset::read(folder, &read, &|event| reporter.event(event))?;
    classes_only(&data, "adapt new --data")?;
    Ok(Some(data.classes))
}

/// Writes what the model takes and gives into its metadata, so that no command has to be told: images resized to the
/// input, values in −1 to 1.
fn describe(model: &mut Model, classes: &[String], (channels, height, width): (usize, u32, u32)) -> Result<()> {
    let color = ["gray", "grayalpha", "rgb", "rgba"][channels - 1];
    let spec = format!("inception,color={color},resize={height}x{width},crop=none");
    let preprocessing = spec.parse::<Spec>().map_err(Error::Usage)?.resolve(height, width)?;
    let contract = json!({
        "schema": 1,
        "initial": true,
        "classes": classes,
        "preprocessing": preprocessing.to_json(),
        "output": model.graph().output[0].name(),
        "activation": Activation::None,
        "task": "classify",
        "version": env!("CARGO_PKG_VERSION"),
    });
    metadata::set_contract(&mut model.proto, &contract);
    metadata::set(&mut model.proto, "names", python_dict(classes));
    Ok(())
}
