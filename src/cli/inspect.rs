//! What a model is, and what would be done with it.

use super::{InspectOptions, print, tables};
use adapt::data::Preprocessing;
use adapt::error::printable;
use adapt::graph::{Obstacle, Part, Trainable, trainable};
use adapt::onnx::cut::{self, Classifier, Cut};
use adapt::onnx::graph::Index;
use adapt::onnx::normalize::halves;
use adapt::onnx::schema::{GraphProto, TensorProto, ValueInfoProto, data_type, dimension};
use adapt::onnx::surgery::{self, Pooling};
use adapt::onnx::{Model, tensor};
use adapt::plan::{self, Input, extra, labels, preprocessing};
use adapt::report::json;
use adapt::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

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
    /// Float values stored in that.
    parameters: u64,
    obstacles: Vec<Obstacle>,
}

pub fn run(options: &InspectOptions) -> Result<()> {
    let found = inspect(Model::open(&options.file)?, options);
    match options.json {
        true => print(&json(&found)?),
        false => print(&text(&found)),
    }
}

/// Does to the model what a plan does before it asks an engine.
fn inspect(mut model: Model, options: &InspectOptions) -> Inspection {
    let inputs = model.inputs().map(value).collect();
    let outputs = model.graph().output.iter().map(value).collect();
    let mut problems = Vec::new();
    let mut keep = |what: Error| problems.push(what.to_string());
    let resolved =
        preprocessing::resolve(&model, options.model.preprocess.as_ref(), options.model.size).map_err(&mut keep).ok();
    let widened = halves::widen_bfloat16(&mut model.proto);
    let cut = cut::find(model.graph(), None, None).map_err(|what| keep(Error::model(&model.path, what))).ok();
    let classes = labels::find(&model).map_err(&mut keep).ok().flatten().map(|(names, _)| names.len());
    let mut notes = Vec::new();
    let graph = model.graph();
    let told = cut.as_ref().zip(resolved.as_ref()).map(|(cut, (input, known))| {
        let mut frozen = surgery::backbone(&model, cut, &Pooling::None);
        notes = plan::notes(&model, cut, known, widened);
        notes.extend(extra::store(&mut frozen, input));
        trainable(&frozen, &input.axes())
    });
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        let name = if node.domain().is_empty() {
            node.op_type().to_string()
        } else {
            format!("{}.{}", node.domain(), node.op_type())
        };
        *operators.entry(name).or_insert(0) += 1;
    }
    let (input, found) = resolved.unzip();
    let shapes = told.as_ref().map(|told| told.shapes.clone()).unwrap_or_default();
    Inspection {
        path: model.path.display().to_string(),
        sha256: model.sha256.clone(),
        bytes: std::fs::metadata(&model.path).map_or(0, |m| m.len()),
        opset: model.opset(),
        ir_version: model.proto.ir_version(),
        producer: format!("{} {}", model.proto.producer_name(), model.proto.producer_version()).trim().into(),
        parameters: graph.initializer.iter().map(floats).sum(),
        nodes: graph.node.len(),
        inputs,
        outputs,
        operators,
        input,
        preprocessing: found.map(|f| Found {
            config: f.preprocessing.to_json(),
            source: f.source,
            value: f.preprocessing,
        }),
        classes,
        candidates: cut.as_ref().map(|cut| candidates(graph, cut, &shapes)).unwrap_or_default(),
        training: told.zip(cut.as_ref()).map(|(told, cut)| training(graph, cut, told)),
        cut,
        notes,
        problems,
    }
}

fn candidates(graph: &GraphProto, cut: &Cut, shapes: &HashMap<String, Vec<String>>) -> Vec<Candidate> {
    let index = Index::new(graph);
    let found = cut::candidates(graph, &cut.output).into_iter();
    let all = |cut: Cut| Candidate {
        shape: shape(&index, &cut.tensor, shapes),
        parameters_behind: parameters_between(&index, Some(&cut.tensor), &cut.output),
        cut,
    };
    found.map(all).collect()
}

fn training(graph: &GraphProto, cut: &Cut, told: Trainable) -> Training {
    let from = match &told.part {
        Part::All => None,
        Part::From(tensor) => Some(tensor.as_str()),
        Part::Nothing => Some(cut.tensor.as_str()),
    };
    let parameters = parameters_between(&Index::new(graph), from, &cut.tensor);
    Training { inside: told.part, parameters, obstacles: told.obstacles }
}

/// A tensor's shape as the import told it, or the file does. A node that hands its input on has its shape.
fn shape(index: &Index, tensor: &str, shapes: &HashMap<String, Vec<String>>) -> Option<Vec<String>> {
    const FARTHEST: usize = 8;
    let mut tensor = tensor;
    for _ in 0..FARTHEST {
        let told = || index.graph.value_info.iter().chain(&index.graph.output).find(|v| v.name() == tensor);
        if let Some(found) = shapes.get(tensor).cloned().or_else(|| told().and_then(dimensions)) {
            return Some(found);
        }
        let node = index.producer(tensor).filter(|node| node.is("Identity") || node.is("Dropout"))?;
        tensor = node.input.first()?;
    }
    None
}

/// The float values of the tensors that `output` needs and `from` does not.
fn parameters_between(index: &Index, from: Option<&str>, output: &str) -> u64 {
    let ahead = index.ancestors(from.as_slice());
    let (nodes, values) = index.ancestors(&[output]);
    let stored = index.graph.initializer.iter().filter(|t| values.contains(t.name()) && !ahead.1.contains(t.name()));
    let inside = nodes.iter().filter(|place| ahead.0.binary_search(place).is_err());
    let constants = inside.map(|&place| &index.graph.node[place]).filter(|node| node.is("Constant"));
    let constants = constants.filter_map(|node| node.attr("value")?.t.as_ref());
    stored.chain(constants).map(floats).sum()
}

/// How many values a float tensor has; none for others.
fn floats(t: &TensorProto) -> u64 {
    let float = [data_type::FLOAT, data_type::FLOAT16, data_type::BFLOAT16, data_type::DOUBLE].contains(&t.data_type());
    if float { tensor::element_count(t).unwrap_or(0) } else { 0 }
}

/// `float32 logits [N, 1000]`
fn value(info: &ValueInfoProto) -> String {
    let Some((kind, _)) = info.tensor_type() else { return format!("{} (not a tensor)", info.name()) };
    let dims = dimensions(info).map_or("rank unknown".into(), |dims| dims.join(", "));
    format!("{} {} [{dims}]", data_type::name(kind), info.name())
}

/// A declared shape.
fn dimensions(info: &ValueInfoProto) -> Option<Vec<String>> {
    let dim = |d: &adapt::onnx::schema::Dimension| match &d.value {
        Some(dimension::Value::DimValue(n)) if *n >= 0 => n.to_string(),
        Some(dimension::Value::DimParam(name)) => name.clone(),
        _ => "?".into(),
    };
    let shape = info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    Some(shape.dim.iter().map(dim).collect())
}

fn text(found: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:14} {}", printable(&value));
    };
    line("file", format!("{} ({:.1} MB)", found.path, found.bytes as f64 / 1e6));
    line("sha256", found.sha256.clone());
    let by = if found.producer.is_empty() { String::new() } else { format!(", by {}", found.producer) };
    line("format", format!("opset {}, IR {}{by}", found.opset, found.ir_version));
    line("parameters", millions(found.parameters));
    for (key, values) in [("input", &found.inputs), ("output", &found.outputs)] {
        values.iter().for_each(|value| line(key, value.clone()));
    }
    if let Some(input) = &found.input {
        let layout = serde_json::to_value(input.layout).ok();
        let layout = layout.as_ref().and_then(|l| l.as_str()).unwrap_or_default().to_uppercase();
        line(
            "images",
            format!(
                "{}x{}, {} channels, {layout}, batch {}",
                input.height,
                input.width,
                input.channels,
                input.batch.map_or("free".into(), |b| b.to_string())
            ),
        );
    }
    if let Some(p) = &found.preprocessing {
        line("preprocessing", tables::preprocessing(&p.value));
        line("", format!("from {}", p.source));
    }
    if let Some(classes) = found.classes {
        line("class names", classes.to_string());
    }
    if let Some(told) = &found.training {
        training_lines(told).into_iter().for_each(|(key, value)| line(key, value));
    }
    let operators: Vec<_> = found.operators.iter().map(|(name, n)| format!("{name} {n}")).collect();
    line("operators", format!("{} nodes: {}", found.nodes, operators.join(", ")));
    found.notes.iter().for_each(|note| line("note", note.clone()));
    match found.problems.is_empty() {
        true => line("problems", "none found".into()),
        false => found.problems.iter().for_each(|p| line("problem", p.clone())),
    }
    if !found.candidates.is_empty() {
        let _ = write!(text, "\n{}", cuts(&found.candidates));
    }
    text
}

/// What can be trained ahead of the head, and what stands against the rest.
fn training_lines(told: &Training) -> Vec<(&'static str, String)> {
    const MOST: usize = 5;
    let parameters = millions(told.parameters);
    let mut lines = vec![match &told.inside {
        Part::All => ("training", format!("a head, or all of the network ({parameters} parameters)")),
        Part::From(tensor) => {
            ("training", format!("a head, or the network from '{tensor}' on ({parameters} parameters)"))
        }
        Part::Nothing => ("training", "a head; not inside the network".into()),
    }];
    for (i, o) in told.obstacles.iter().take(MOST).enumerate() {
        let node = if o.node.is_empty() { String::new() } else { format!("node '{}' ({}): ", o.node, o.operator) };
        lines.push((if i == 0 { "not inside" } else { "" }, format!("{node}{}", o.why)));
    }
    if told.obstacles.len() > MOST {
        lines.push(("", format!("and {} nodes more (--json lists them)", told.obstacles.len() - MOST)));
    }
    lines
}

fn millions(count: u64) -> String {
    if count < 100_000 { count.to_string() } else { format!("{:.2} million", count as f64 / 1e6) }
}

/// The places to cut at, ranked.
fn cuts(candidates: &[Candidate]) -> String {
    let rows = candidates.iter().enumerate().map(|(i, c)| {
        let behind = match (c.cut.classifier, c.cut.features, c.cut.classes) {
            (Classifier::Linear, Some(features), Some(classes)) => format!("linear layer, {features} to {classes}"),
            (Classifier::Conv, Some(features), Some(classes)) => format!("1x1 convolution, {features} to {classes}"),
            _ => "no classifier".into(),
        };
        let shape = c.shape.as_ref().map_or("not known".into(), |dims| format!("[{}]", dims.join(", ")));
        let which = if i == 0 { "default" } else { "" };
        vec![which.into(), c.cut.tensor.clone(), shape, behind, millions(c.parameters_behind)]
    });
    tables::table(&["--cut", "tensor", "shape", "what a new head replaces", "parameters behind"], 4, rows)
}
