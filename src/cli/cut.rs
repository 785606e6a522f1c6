//! A model's part up to a tensor, as a model of its own.

use super::progress::Reporter;
use super::{EngineOptions, merge, options, print, vacant};
use adapt::engine::{Backend, Engine};
use adapt::error::printable;
use adapt::onnx::cut::Cut;
use adapt::onnx::schema::{Dimension, ValueInfoProto, data_type, dimension};
use adapt::onnx::surgery::{self, Pooling};
use adapt::onnx::{Model, metadata};
use adapt::plan::{self, Input, MOST_VALUES, PlanOptions, Settled, available_threads, probe, steady};
use adapt::{Error, Result};
use ndarray::ArrayD;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct CutOptions {
    /// The model
    pub file: PathBuf,
    /// The tensor that becomes the output [default: the last linear layer's input]
    #[arg(long, value_name = "TENSOR")]
    pub at: Option<String>,
    /// The output on the way to which the model is cut, where there are several
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// The ONNX file to write
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// Height and width in pixels, for models that take any size: the image that the result is tried on
    #[arg(long, value_name = "HxW", value_parser = options::size)]
    pub size: Option<(u32, u32)>,
    #[command(flatten)]
    pub engine: EngineOptions,
}

pub fn run(options: &CutOptions) -> Result<()> {
    vacant(&options.out, options.force)?;
    let mut model = Model::open(&options.file)?;
    options.engine.limit_threads();
    let reporter = Reporter::new(false, false);
    let backend = options.engine.resolve(&|event| reporter.event(event))?;
    let (cut, output) = (options.at.clone(), options.output.clone());
    let wanted = PlanOptions { cut, output, size: options.size, ..PlanOptions::default() };
    let settled = plan::settle(&mut model, &wanted, |trial, cut, input| plan::runs(&backend, trial, cut, input))?;
    settled.changes().for_each(|change| reporter.say(change));
    let Settled { input, cut, .. } = settled;
    input.declare(&mut model);
    let trial = Trial { path: &options.file, backend: &backend, input: &input };
    let expected = trial.run(&with_output(&model, cut.end()), cut.end())?;
    let part = part(&model, &cut);
    let (whole, found) = trial.declared(&part, &model, &cut, &expected)?;
    let batches = agree(&options.file, cut.end(), &expected, &found)?;
    merge::put(&options.out, options.force, |place| whole.save(place))?;
    let output = describe(cut.end(), &dimensions(&expected, &surgery::images(&model)));
    let engine = format!("{} {}", backend.name(), backend.version());
    let text = format!("{}: up to {output}; the same as in the original ({engine}, {batches})", options.out.display());
    print(&(printable(&text) + "\n"))
}

/// What a model gives for batches of 1 and 3, where it takes them.
type Given = Vec<(usize, ArrayD<f32>)>;

struct Trial<'a> {
    path: &'a Path,
    backend: &'a Backend,
    input: &'a Input,
}

impl Trial<'_> {
    fn run(&self, model: &Model, tensor: &str) -> Result<Given> {
        self.run_opened(self.backend.open(model, &self.input.axes(), available_threads())?, tensor)
    }

    fn run_opened(&self, mut engine: Box<dyn Engine>, tensor: &str) -> Result<Given> {
        let place = engine.outputs().iter().position(|output| output == tensor).unwrap_or(0);
        let mut given: Given = Vec::new();
        for images in [1, 3].into_iter().filter(|&n| n == 1 || n * self.input.len() <= MOST_VALUES) {
            match engine.run_outputs(probe(self.input, images).view(), &[place]) {
                Ok(mut values) => given.push((images, values.swap_remove(0))),
                // A graph may insist on its batch.
                Err(_) if images > 1 => {}
                Err(error) => return Err(error),
            }
        }
        for (images, values) in &given {
            let again = engine.run_outputs(probe(self.input, *images).view(), &[place])?;
            steady(self.path, values, &again[0])?;
        }
        Ok(given)
    }

    /// The part with its output declared, and what it gives. The type is the file's,
    /// or the first that the engine agrees to.
    fn declared(&self, part: &Model, model: &Model, cut: &Cut, expected: &Given) -> Result<(Model, Given)> {
        use data_type::{BOOL, DOUBLE, FLOAT, FLOAT16, INT8, INT32, INT64, UINT8};
        let graph = model.graph();
        let told = graph.output.iter().chain(&graph.value_info).find(|v| v.name() == cut.end());
        let kind = told.and_then(|v| v.tensor_type()).map_or(cut.data_type, |(kind, _)| kind);
        let mut refused = None;
        for kind in [kind, FLOAT, FLOAT16, INT64, INT32, BOOL, UINT8, INT8, DOUBLE] {
            let mut whole = part.clone();
            let info = told.filter(|v| v.tensor_type().is_some_and(|(_, shape)| shape.is_some())).cloned();
            let info = info.unwrap_or_else(|| declaration(cut, kind, dimensions(expected, &surgery::images(model))));
            whole.proto.graph.as_mut().expect("a model has a graph").output = vec![info];
            match self.backend.open(&whole, &self.input.axes(), available_threads()) {
                Ok(engine) => return Ok((whole, self.run_opened(engine, cut.end())?)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.expect("a type was tried"))
    }
}

/// The original with a further output.
fn with_output(model: &Model, tensor: &str) -> Model {
    let mut model = model.clone();
    let graph = model.proto.graph.as_mut().expect("a model has a graph");
    if graph.output.iter().all(|output| output.name() != tensor) {
        graph.output.push(ValueInfoProto { name: Some(tensor.into()), ..Default::default() });
    }
    model
}

/// The part with all that the file says of itself but what holds for its old output alone.
fn part(model: &Model, cut: &Cut) -> Model {
    // Bytes stay bytes.
    let mut part = surgery::backbone(model, &Cut { dequantize: None, ..cut.clone() }, &Pooling::None);
    part.proto.doc_string.clone_from(&model.proto.doc_string);
    part.proto.metadata_props.clone_from(&model.proto.metadata_props);
    if let Ok(Some(mut contract)) = metadata::contract(&part.proto) {
        let of_classes = |key: &String| ["classes", "output", "activation", "metrics"].contains(&key.as_str());
        contract.as_object_mut().into_iter().for_each(|keys| keys.retain(|key, _| !of_classes(key)));
        contract["task"] = "features".into();
        metadata::set_contract(&mut part.proto, &contract);
        ["names", "task"].iter().for_each(|key| metadata::remove(&mut part.proto, key));
    }
    // An output is declared once.
    if let Some(graph) = part.proto.graph.as_mut() {
        graph.value_info.retain(|info| info.name() != cut.end());
    }
    part
}

/// What the tensor is to be declared as: its own sizes, `images` where it has one for each, nothing where it differs in
/// other ways.
fn dimensions(expected: &Given, images: &Dimension) -> Vec<Dimension> {
    let Some((_, first)) = expected.first() else { return Vec::new() };
    let dimension = |axis: usize| {
        let size = first.shape()[axis];
        let all = |wanted: &dyn Fn(usize) -> usize| {
            expected.iter().all(|(n, given)| given.shape().get(axis) == Some(&wanted(*n)))
        };
        match axis {
            0 if all(&|images| images) => images.clone(),
            _ if all(&|_| size) && (axis > 0 || expected.len() > 1) => surgery::size(size as i64),
            _ => Dimension::default(),
        }
    };
    (0..first.ndim()).map(dimension).collect()
}

fn declaration(cut: &Cut, kind: i32, dim: Vec<Dimension>) -> ValueInfoProto {
    let r#type = Some(surgery::tensor_type(kind, dim));
    ValueInfoProto { name: Some(cut.end().into()), r#type, ..Default::default() }
}

/// `'x' [N, 2048]`
fn describe(tensor: &str, dims: &[Dimension]) -> String {
    let name = |dim: &Dimension| match &dim.value {
        Some(dimension::Value::DimValue(size)) => size.to_string(),
        Some(dimension::Value::DimParam(name)) => name.clone(),
        None => "?".into(),
    };
    format!("'{tensor}' [{}]", dims.iter().map(name).collect::<Vec<_>>().join(", "))
}

/// Refuses a part that computes something else; which batches were compared, in words.
fn agree(file: &Path, tensor: &str, expected: &Given, found: &Given) -> Result<String> {
    let differs = |what: String| Error::Parity(format!("{}: the part up to '{tensor}' {what}", file.display()));
    let mut batches = Vec::new();
    for (images, old) in expected {
        let Some((_, new)) = found.iter().find(|(n, _)| n == images) else {
            return Err(differs(format!("fails with {images} images, the original does not")));
        };
        let scale = old.iter().filter(|v| v.is_finite()).fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let close = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-4 * scale;
        if old.shape() != new.shape() || !old.iter().zip(new).all(close) {
            return Err(differs(format!("gives other values than in the original, at a batch of {images}")));
        }
        batches.push(images.to_string());
    }
    Ok(format!("{} of {}", if batches.len() > 1 { "batches" } else { "a batch" }, batches.join(" and ")))
}
