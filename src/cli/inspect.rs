//! What a model is, and what would be done with it.

mod text;

use super::{InspectOptions, print};
use adapt::data::Preprocessing;
use adapt::engine::{Backend, Choice};
use adapt::graph::{Obstacle, Part, Trainable, trainable};
use adapt::onnx::cut::{self, Cut};
use adapt::onnx::graph::Index;
use adapt::onnx::schema::{GraphProto, NodeProto, TensorProto, ValueInfoProto, data_type};
use adapt::onnx::surgery::{self, Pooling};
use adapt::onnx::{Model, tensor};
use adapt::plan::{self, Input, PlanOptions, Settled, labels, preprocessing};
use adapt::progress::silent;
use adapt::report::json;
use adapt::{Error, Result};
use serde::Serialize;
use std::cell::LazyCell;
use std::collections::{BTreeMap, HashMap};
use text::text;

#[derive(Serialize)]
struct Inspection {
    path: String,
    sha256: String,
    bytes: u64,
    opset: i64,
    ir_version: i64,
    producer: String,
    parameters: u64,
    nodes: usize,
    inputs: Vec<String>,
    outputs: Vec<String>,
    operators: BTreeMap<String, usize>,
    input: Option<Input>,
    preprocessing: Option<Found>,
    classes: Option<usize>,
    cut: Option<Cut>,
    candidates: Vec<Candidate>,
    training: Option<Training>,
    /// As a plan has them.
    notes: Vec<String>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    config: serde_json::Value,
    source: String,
    #[serde(skip)]
    value: Preprocessing,
}

/// A place to cut at; the default is the first.
#[derive(Serialize)]
struct Candidate {
    #[serde(flatten)]
    cut: Cut,
    /// For `N` images, where it could be told.
    shape: Option<Vec<String>>,
    /// Float values stored in what comes behind it.
    parameters_behind: u64,
}

/// What can be trained ahead of the default cut.
#[derive(Serialize)]
struct Training {
    inside: Part,
    /// Values of the weights in that.
    parameters: u64,
    obstacles: Vec<Obstacle>,
}

pub fn run(options: &InspectOptions) -> Result<()> {
    let (found, problems) = inspect(Model::open(&options.file)?, options);
    print(&if options.json { json(&found)? } else { text(&found) })?;
    // What could not be adapted as it is ends as adapting it would.
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// What a plan would make of a model.
#[derive(Default)]
struct Planned {
    settled: Option<Settled>,
    classes: Option<usize>,
    headed: bool,
    told: Option<Trainable>,
    notes: Vec<String>,
    candidates: Vec<Candidate>,
}

/// Does to the model what a plan does; what stands against adapting it is told beside.
fn plan_for(model: &mut Model, wanted: &PlanOptions) -> (Planned, Vec<Error>) {
    let mut problems = Vec::new();
    let mut keep = |what: Error| problems.push(what);
    let backend = LazyCell::new(|| Backend::resolve(Choice::Ort, None, true, &silent).ok());
    let runs = |trial: &Model, cut: &Cut, input: &Input| {
        let told = look(trial, cut, input);
        fits(cut, &told)
            || match &*backend {
                Some(backend) => plan::runs(&backend.hollow(), trial, cut, input),
                // Where nothing can be told of one size, nothing can of the others.
                None => told.shapes.is_empty(),
            }
    };
    let settled = plan::settle(model, wanted, runs).map_err(&mut keep).ok();
    let classes = labels::find(model).map_err(&mut keep).ok().flatten().map(|(names, _)| names.len());
    let headed = surgery::takes_a_head(model).map_err(|what| keep(Error::model(&model.path, what))).is_ok();
    plan::not_baked(model).map_err(&mut keep).ok();
    let Some(settled) = settled else { return (Planned { classes, headed, ..Planned::default() }, problems) };
    let part = surgery::backbone(model, &settled.cut, &Pooling::None);
    let told = plan::trainable(&part, &settled.input, || backend.clone());
    rowless(model, &settled, &told).into_iter().for_each(&mut keep);
    if let (true, Some(backend)) = (problems.is_empty(), &*backend) {
        let refused = |backend: &Backend| plan::try_out(model, &settled, backend).err();
        // Few operators insist on weights that are stored: a refusal counts with those alone.
        problems.extend(refused(&backend.hollow()).and_then(|_| refused(backend)));
    }
    let open = backend.is_none() && plan::size_is_open(model, wanted);
    let notes = notes(model, open, &settled, &told);
    let candidates = candidates(model, &settled, &told);
    (Planned { settled: Some(settled), classes, headed, told: Some(told), notes, candidates }, problems)
}

fn inspect(mut model: Model, options: &InspectOptions) -> (Inspection, Vec<Error>) {
    let file = model.clone();
    let (preprocess, size) = (options.model.preprocess.clone(), options.model.size);
    let wanted = PlanOptions { preprocess, size, ..PlanOptions::default() };
    let (planned, problems) = plan_for(&mut model, &wanted);
    let Planned { settled, classes, headed, told, notes, candidates } = planned;
    // What can be told of the input is worth telling, whatever else is wrong.
    let alone = || preprocessing::resolve(&file, wanted.preprocess.as_ref(), wanted.size).ok();
    let (cut, resolved) = match settled {
        Some(settled) => (Some(settled.cut), Some((settled.input, settled.preprocessing))),
        None => (None, alone()),
    };
    let (input, found) = resolved.unzip();
    let graph = file.graph();
    let found = Inspection {
        path: file.path.display().to_string(),
        sha256: file.sha256.clone(),
        bytes: std::fs::metadata(&file.path).map_or(0, |m| m.len()),
        opset: file.opset(),
        ir_version: file.proto.ir_version(),
        producer: format!("{} {}", file.proto.producer_name(), file.proto.producer_version()).trim().into(),
        parameters: graph.initializer.iter().chain(graph.node.iter().filter_map(constant)).map(floats).sum(),
        nodes: graph.node.len(),
        inputs: file.inputs().map(ValueInfoProto::shown).collect(),
        outputs: graph.output.iter().map(ValueInfoProto::shown).collect(),
        operators: operators(graph),
        input,
        preprocessing: found.map(|f| Found {
            config: f.preprocessing.to_json(),
            source: f.source,
            value: f.preprocessing,
        }),
        classes,
        cut,
        candidates,
        training: told.filter(|_| headed).map(|told| Training {
            inside: told.part,
            parameters: told.parameters,
            obstacles: told.obstacles,
        }),
        notes,
        problems: problems.iter().map(Error::to_string).collect(),
    };
    (found, problems)
}

/// What stands against the cut where its tensor is known not to have a row for each image.
fn rowless(model: &Model, settled: &Settled, told: &Trainable) -> Option<Error> {
    let (tensor, images) = (&settled.cut.tensor, settled.input.batch.unwrap_or(1));
    let shape = told.shapes.get(tensor)?;
    let other = shape.first()?.parse().is_ok_and(|first: usize| first != images && first != 1);
    let what = format!("the tensor '{tensor}' has shape [{}]: no row for each image", shape.join(", "));
    let what = format!("{}: {what}; choose another --cut", model.path.display());
    (other || shape.len() < 2).then_some(Error::Usage(what))
}

/// What a plan would note, as far as it can be told without an engine.
fn notes(model: &Model, open: bool, settled: &Settled, told: &Trainable) -> Vec<String> {
    let mut notes = settled.notes(model);
    if open && !fits(&settled.cut, told) {
        notes.push("the file leaves the size of images open: adapting finds one that fits, or give --size".into());
    }
    notes
}

/// What the importer says of the part up to a cut.
fn look(model: &Model, cut: &Cut, input: &Input) -> Trainable {
    trainable(&surgery::backbone(model, cut, &Pooling::None), &input.axes())
}

/// Whether the part up to a cut gives the features that the old head took, without sizes on the way that do not fit.
fn fits(cut: &Cut, told: &Trainable) -> bool {
    !told.contradicts() && told.shapes.get(&cut.tensor).is_some_and(|shape| holds(shape, cut))
}

fn operators(graph: &GraphProto) -> BTreeMap<String, usize> {
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        let domain = if node.domain().is_empty() { String::new() } else { format!("{}.", node.domain()) };
        *operators.entry(format!("{domain}{}", node.op_type())).or_insert(0) += 1;
    }
    operators
}

fn candidates(model: &Model, settled: &Settled, told: &Trainable) -> Vec<Candidate> {
    let index = Index::new(model.graph());
    let all = |cut: Cut| Candidate {
        shape: shape(&index, &cut.tensor, &told.shapes)
            .filter(|shape| holds(shape, &cut))
            .or_else(|| rows(&index, &cut, &settled.input)),
        parameters_behind: parameters_behind(&index, &cut),
        cut,
    };
    cut::candidates(model.graph(), &settled.cut.output).into_iter().map(all).collect()
}

/// Whether a layer that takes the cut's features can take them from a tensor of this shape.
fn holds(shape: &[String], cut: &Cut) -> bool {
    // Of several tensors one alone has less.
    let told = cut.features.filter(|_| cut.apart.is_empty());
    told.is_none_or(|n| shape.iter().skip(1).any(|dim| *dim == n.to_string() || dim == "?"))
}

/// The shape of a cut whose layer takes rows, and says how long they are.
fn rows(index: &Index, cut: &Cut, input: &Input) -> Option<Vec<String>> {
    let takes = |node: &NodeProto| node.is("Gemm") && node.input.first() == Some(&cut.tensor);
    let features = cut.features.filter(|_| index.graph.node.iter().any(takes))?;
    Some(vec![input.batch.map_or("N".into(), |batch| batch.to_string()), features.to_string()])
}

/// A tensor's shape as the import told it, or the file does. A node that hands its input on has its shape.
fn shape(index: &Index, tensor: &str, shapes: &HashMap<String, Vec<String>>) -> Option<Vec<String>> {
    const FARTHEST: usize = 8;
    let mut tensor = tensor;
    for _ in 0..FARTHEST {
        let told = || index.graph.value_info.iter().chain(&index.graph.output).find(|v| v.name() == tensor);
        if let Some(found) = shapes.get(tensor).cloned().or_else(|| told().and_then(ValueInfoProto::dimensions)) {
            return Some(found);
        }
        let node = index.producer(tensor).filter(|node| node.is("Identity") || node.is("Dropout"))?;
        tensor = node.input.first()?;
    }
    None
}

/// The float values of the tensors that a cut's output needs and its part of the graph does not.
fn parameters_behind(index: &Index, cut: &Cut) -> u64 {
    let ahead = index.ancestors(&[&cut.tensor]);
    let (nodes, values) = index.ancestors(&[&cut.output]);
    let stored = index.graph.initializer.iter().filter(|t| values.contains(t.name()) && !ahead.1.contains(t.name()));
    let inside = nodes.iter().filter(|place| ahead.0.binary_search(place).is_err());
    let constants = inside.filter_map(|&place| constant(&index.graph.node[place]));
    stored.chain(constants).map(floats).sum()
}

/// The tensor of a `Constant` node.
fn constant(node: &NodeProto) -> Option<&TensorProto> {
    node.attr("value").filter(|_| node.is("Constant"))?.t.as_ref()
}

/// How many values a float tensor has; none for others.
fn floats(t: &TensorProto) -> u64 {
    let float = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16, data_type::DOUBLE].contains(&t.data_type());
    if float { tensor::element_count(t).unwrap_or(0) } else { 0 }
}
