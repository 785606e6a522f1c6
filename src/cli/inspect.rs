//! What a model is, and what would be done with it.

use super::{InspectOptions, print, tables};
use adapt::data::Preprocessing;
use adapt::engine::importable;
use adapt::error::printable;
use adapt::onnx::cut::{self, Cut};
use adapt::onnx::schema::{ValueInfoProto, data_type, dimension};
use adapt::onnx::surgery::{self, Pooling};
use adapt::onnx::{Model, tensor};
use adapt::plan::{Input, labels, preprocessing};
use adapt::report::json;
use adapt::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
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
    candidates: Vec<Cut>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    config: serde_json::Value,
    source: String,
    #[serde(skip)]
    value: Preprocessing,
}

pub fn run(options: &InspectOptions) -> Result<()> {
    let model = Model::open(&options.file)?;
    let found = inspect(&model, options);
    match options.json {
        true => print(&json(&found)?),
        false => print(&text(&found)),
    }
}

fn inspect(model: &Model, options: &InspectOptions) -> Inspection {
    let graph = model.graph();
    let mut problems = Vec::new();
    let mut keep = |what: Error| problems.push(what.to_string());
    let resolved =
        preprocessing::resolve(model, options.model.preprocess.as_ref(), options.model.size).map_err(&mut keep).ok();
    let cut = cut::find(graph, None, None).map_err(|what| keep(Error::model(&model.path, what))).ok();
    let classes = labels::find(model).map_err(&mut keep).ok().flatten().map(|(names, _)| names.len());
    if let (Some(cut), Some((input, _))) = (&cut, &resolved) {
        let frozen = surgery::backbone(model, cut, &Pooling::None);
        let _ = importable(&frozen, &input.axes()).map_err(&mut keep);
    }
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        let name = if node.domain().is_empty() {
            node.op_type().to_string()
        } else {
            format!("{}.{}", node.domain(), node.op_type())
        };
        *operators.entry(name).or_insert(0) += 1;
    }
    let float = |t: &&adapt::onnx::schema::TensorProto| {
        matches!(t.data_type(), data_type::FLOAT | data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE)
    };
    let (input, found) = resolved.unzip();
    Inspection {
        path: model.path.display().to_string(),
        sha256: model.sha256.clone(),
        bytes: std::fs::metadata(&model.path).map_or(0, |m| m.len()),
        opset: model.opset(),
        ir_version: model.proto.ir_version(),
        producer: format!("{} {}", model.proto.producer_name(), model.proto.producer_version()).trim().into(),
        parameters: graph.initializer.iter().filter(float).filter_map(|t| tensor::element_count(t).ok()).sum(),
        nodes: graph.node.len(),
        inputs: model.inputs().map(value).collect(),
        outputs: graph.output.iter().map(value).collect(),
        operators,
        input,
        preprocessing: found.map(|f| Found {
            config: f.preprocessing.to_json(),
            source: f.source,
            value: f.preprocessing,
        }),
        classes,
        candidates: cut.as_ref().map(|c| cut::candidates(graph, &c.output)).unwrap_or_default(),
        cut,
        problems,
    }
}

/// `float32 logits [N, 1000]`
fn value(info: &ValueInfoProto) -> String {
    let Some(t) = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return format!("{} (not a tensor)", info.name());
    };
    let dims = t.shape.as_ref().map(|s| {
        let dim = |d: &adapt::onnx::schema::Dimension| match &d.value {
            Some(dimension::Value::DimValue(n)) if *n >= 0 => n.to_string(),
            Some(dimension::Value::DimParam(name)) => name.clone(),
            _ => "?".into(),
        };
        s.dim.iter().map(dim).collect::<Vec<_>>().join(", ")
    });
    format!("{} {} [{}]", data_type::name(t.elem_type()), info.name(), dims.unwrap_or_else(|| "rank unknown".into()))
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
    line("parameters", format!("{:.2} million", found.parameters as f64 / 1e6));
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
    let kind = |c: &Cut| {
        serde_json::to_value(c.classifier).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default()
    };
    for (i, c) in found.candidates.iter().enumerate() {
        let size = match (c.features, c.classes) {
            (Some(features), Some(classes)) => format!(": {} layer, {features} features to {classes}", kind(c)),
            _ => ": no classifier behind it".into(),
        };
        line(if i == 0 { "cut" } else { "or --cut" }, format!("{}{size}", c.tensor));
    }
    let operators: Vec<_> = found.operators.iter().map(|(name, n)| format!("{name} {n}")).collect();
    line("operators", format!("{} nodes: {}", found.nodes, operators.join(", ")));
    match found.problems.is_empty() {
        true => line("problems", "none found".into()),
        false => found.problems.iter().for_each(|p| line("problem", p.clone())),
    }
    text
}
