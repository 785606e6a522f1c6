//! Training inside the network: where the frozen part ends, and the part behind it as a program.

use super::probe::probe;
use super::{Input, available_threads};
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::graph::{self, Extent, Obstacle, Part, Program, Trainable, tail};
use crate::onnx::Model;
use crate::onnx::cut::Cut;
use crate::onnx::schema::{GraphProto, ValueInfoProto, data_type};
use crate::onnx::surgery::{self, Pooling, size, symbol, tensor_type};
use crate::tensor::Device;
use std::collections::{HashMap, HashSet};

/// How many tensors are tried as the trained part's input.
const MOST_TRIED: usize = 4;

/// The trained part of an adapted model.
pub struct Inside {
    /// The tensor that is its input; the image where `None`.
    pub start: Option<String>,
    /// What it computes: the logits.
    pub program: Program,
    /// The trained weights, and how many blocks lie between each and the end.
    pub depths: HashMap<String, usize>,
    /// The weights of batch norms among them.
    pub norms: HashSet<String>,
    /// What is run in training instead, where batch norms follow the images ([`Inside::follow`]).
    pub training: Option<Program>,
    /// The means and variances of trained batch norms.
    pub statistics: HashSet<String>,
    /// The frozen part.
    pub frozen: Option<Box<dyn Engine>>,
    /// The shape of the input for one image.
    pub shape: Vec<usize>,
    /// What the program was imported from.
    part: Model,
    axes: Vec<Option<usize>>,
    device: Device,
}

impl Inside {
    /// Opens what `extent` says of `model`, an adapted model whose scores are the tensor `logits`.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown tensor, and [`Error::Model`] naming the node through which nothing can be trained, and
    /// what can be trained instead.
    pub fn open(model: &Model, logits: &str, extent: &Extent, backend: &Backend, input: &Input) -> Result<Inside> {
        let model = surgery::backbone(model, &Cut::at(logits), &Pooling::None);
        Inside::behind(&model, extent, backend, input).map_err(|error| advise(&model, error, backend, input))
    }

    /// The same without looking for what could be trained instead, which may take long.
    ///
    /// # Errors
    /// [`Error::Usage`] and [`Error::Model`], naming the node.
    pub fn try_open(model: &Model, logits: &str, extent: &Extent, backend: &Backend, input: &Input) -> Result<Inside> {
        Inside::behind(&surgery::backbone(model, &Cut::at(logits), &Pooling::None), extent, backend, input)
    }

    /// Opens what `extent` says of a model that ends in its scores.
    fn behind(model: &Model, extent: &Extent, backend: &Backend, input: &Input) -> Result<Inside> {
        let graph::Tail { starts, depths, norms, statistics } = tail(model, extent)?;
        let (mut opened, mut refused) = (None, None);
        for start in starts.into_iter().take(MOST_TRIED) {
            match behind(model, &start, backend, input) {
                Ok(Some((part, program, frozen, shape))) => {
                    opened = Some((Some(start), part, program, Some(frozen), shape, Vec::new()));
                    break;
                }
                Ok(None) => {}
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let (start, part, program, frozen, shape, axes) = match opened {
            Some(opened) => opened,
            None => match Program::import(model, &input.axes()) {
                Ok(program) => {
                    (None, model.clone(), program, None, input.shape(1)[1..].to_vec(), input.axes().to_vec())
                }
                Err(error) => return Err(refused.unwrap_or(error)),
            },
        };
        let program = program.on(backend.device())?;
        let device = backend.device().clone();
        Ok(Inside { start, program, device, depths, norms, training: None, statistics, frozen, shape, part, axes })
    }

    /// Whether the trained part begins with a map: with images, or with what convolutions, pools or batch norms read as
    /// `[images, channels, height, width]`.
    pub fn is_map(&self) -> bool {
        self.start.as_deref().is_none_or(|start| self.shape.len() == 3 && is_read_as_map(self.part.graph(), start))
    }

    /// Lets the trained batch norms take the statistics of each step's images, and the stored ones follow those.
    ///
    /// # Errors
    /// [`Error::Usage`] where there are none, or where the graph does not take several images at once.
    pub fn follow(&mut self) -> Result<()> {
        let refuse = |what: &str| Err(Error::Usage(format!("--bn train: {what}")));
        if self.statistics.is_empty() {
            let what = "what is trained has no batch norms with statistics of their own";
            return refuse(&format!("{what} (exporters fold them into convolutions); leave it out"));
        }
        if let Some(batch) = self.program.batch() {
            let what = format!("the graph takes {batch} images at once, no more, which are too few");
            return refuse(&format!("{what}; leave it out, or give --bn affine"));
        }
        let [program, training] = Program::import_following(&self.part, &self.axes, &self.statistics)?;
        (self.program, self.training) = (program.on(&self.device)?, Some(training.on(&self.device)?));
        Ok(())
    }
}

type Opened = (Model, Program, Box<dyn Engine>, Vec<usize>);

/// The part behind a tensor, the part before it, and the shape of its input for one image: the tensor's, or as many values where
/// features of other depths come with it. `None` where it does not hold one row an image.
fn behind(model: &Model, start: &str, backend: &Backend, input: &Input) -> Result<Option<Opened>> {
    let beside = graph::beside(model, start);
    let packed = match beside.is_empty() {
        true => None,
        false => match pack(model, start, beside, backend, input)? {
            None => return Ok(None),
            packed => packed,
        },
    };
    let (model, start) = packed.as_ref().map_or((model, start), |(model, start)| (model, start.as_str()));
    let part = surgery::backbone(model, &Cut::at(start), &Pooling::None);
    let mut frozen = backend.open(&part, &input.axes(), available_threads())?;
    let images = several(input);
    let found = frozen.run_outputs(probe(input, images).view(), &[0])?.swap_remove(0);
    let Some((_, shape)) = found.shape().split_first().filter(|(rows, _)| **rows == images) else { return Ok(None) };
    let batch = input.batch.map_or_else(|| symbol("N"), |batch| size(batch as i64));
    let dims = std::iter::once(batch).chain(shape.iter().map(|&n| size(n as i64))).collect();
    let info = ValueInfoProto {
        name: Some(start.into()),
        r#type: Some(tensor_type(data_type::FLOAT, dims)),
        ..Default::default()
    };
    let Some(tail) = graph::behind(model, info) else { return Ok(None) };
    let program = Program::import(&tail, &[])?;
    Ok(Some((tail, program, frozen, shape.to_vec())))
}

/// Two images, where the graph takes more than one.
fn several(input: &Input) -> usize {
    1 + usize::from(input.batch.is_none())
}

/// The model with one tensor in place of a tensor and of the features `beside` it, and that tensor's name ([`graph::packed`]); `None`
/// where one of them does not hold a row an image.
///
/// # Errors
/// The engine's.
pub fn pack(
    model: &Model,
    start: &str,
    beside: Vec<String>,
    backend: &Backend,
    input: &Input,
) -> Result<Option<(Model, String)>> {
    let mut part = model.clone();
    let outputs = std::iter::once(start).chain(beside.iter().map(String::as_str));
    let info = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
    if let Some(graph) = part.proto.graph.as_mut() {
        graph.output = outputs.map(info).collect();
    }
    let images = several(input);
    let found = backend.open(&part, &input.axes(), available_threads())?.run(probe(input, images).view())?;
    let Some((first, others)) =
        found.split_first().filter(|_| found.iter().all(|of| of.shape().first() == Some(&images)))
    else {
        return Ok(None);
    };
    let beside: Vec<_> = beside.into_iter().zip(others.iter().map(|of| of.len() / images)).collect();
    Ok(Some(graph::packed(model, start, &first.shape()[1..], &beside)))
}

/// Whether operators that know channels and places read a tensor, or what others make of its values one by one.
fn is_read_as_map(graph: &GraphProto, tensor: &str) -> bool {
    const SPATIAL: [&str; 8] = [
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalMaxPool",
        "GlobalAveragePool",
        "BatchNormalization",
        "InstanceNormalization",
    ];
    const ONE_BY_ONE: [&str; 14] = [
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pad",
    ];
    let mut values = HashSet::from([tensor]);
    for node in &graph.node {
        let is = |kinds: &[&str]| kinds.iter().any(|kind| node.is(kind));
        if !node.input.iter().any(|input| values.contains(input.as_str())) {
            continue;
        } else if is(&SPATIAL) {
            return true;
        } else if is(&ONE_BY_ONE) {
            values.extend(node.output.iter().map(String::as_str));
        }
    }
    false
}

/// What can be trained on the way to a model's first output, as [`graph::trainable`] finds it. Where shapes alone tell of
/// nothing, an engine is asked for them.
pub fn trainable(model: &Model, input: &Input, backend: impl FnOnce() -> Option<Backend>) -> Trainable {
    let told = graph::trainable(model, &input.axes());
    if told.part != Part::Nothing || told.obstacles.is_empty() {
        return told;
    }
    let mut starts: Vec<String> = told.starts(model.graph()).into_iter().map(String::from).collect();
    if starts.is_empty() {
        starts = tail(model, &Extent::Last(1)).map(|tail| tail.starts).unwrap_or_default();
    }
    starts.truncate(MOST_TRIED);
    let backend = if starts.is_empty() { None } else { backend() };
    let Some(backend) = backend else { return told };
    for start in starts {
        let Ok(Some((_, program, ..))) = behind(model, &start, &backend, input) else { continue };
        let parameters = program.parameters().iter().map(|p| p.values.len() as u64).sum();
        if parameters > 0 {
            return Trainable { part: Part::From(start), parameters, ..told };
        }
    }
    told
}

/// What can be trained of a model that cannot be trained as it was asked for.
fn advise(model: &Model, error: Error, backend: &Backend, input: &Input) -> Error {
    let Error::Model { path, what } = error else { return error };
    // The head has two weights of its own.
    let more = |tensor: &String| tail(model, &Extent::Behind(tensor.clone())).is_ok_and(|tail| tail.depths.len() > 2);
    let told = trainable(model, input, || Some(backend.clone()));
    // In the importer's words or ours: as `inspect` has it.
    let is_told = |o: &&Obstacle| o.is_named(&what) || what.contains(&format!("'{}' (", o.operator));
    let named = told.obstacles.iter().filter(|o| !o.node.is_empty()).find(is_told);
    let what = named.map_or(what.clone(), |Obstacle { node, operator, why, .. }| {
        format!("it cannot be trained inside: node '{node}' ({operator}): {why}")
    });
    let advice = match told.part {
        Part::From(tensor) if more(&tensor) => format!("what comes behind '{tensor}' can be trained: --train {tensor}"),
        _ => "a head on the frozen network can be trained: --train head".into(),
    };
    Error::model(path, format!("{what}; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::schema::NodeProto;

    #[test]
    fn maps_are_told_from_tokens() {
        // Each node reads the one before.
        let read = |kinds: &[&str]| {
            let node = |(place, kind): (usize, &&str)| NodeProto {
                op_type: Some(kind.to_string()),
                input: vec![place.to_string()],
                output: vec![(place + 1).to_string()],
                ..Default::default()
            };
            is_read_as_map(
                &GraphProto { node: kinds.iter().enumerate().map(node).collect(), ..Default::default() },
                "0",
            )
        };
        assert!(read(&["Conv"]) && read(&["BatchNormalization", "Relu", "Conv"]) && read(&["GlobalAveragePool"]));
        assert!(read(&["Sigmoid", "Mul", "Pad", "Conv"]));
        // Swin's grids of tokens have their channels last.
        assert!(!read(&["LayerNormalization", "Reshape", "Transpose", "MatMul"]));
        assert!(!read(&["Transpose", "Conv"]) && !read(&["Mul", "Add", "Flatten", "Gemm"]) && !read(&[]));
    }
}
