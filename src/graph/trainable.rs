//! What of a graph can be trained inside, told before any work and without its weights' values.

use super::import::{self, Builder, Built, chain};
use super::stable;
use crate::guard::quietly;
use crate::onnx::cut::{Classifier, Cut};
use crate::onnx::graph::{Index, reads};
use crate::onnx::parameters::{self, Parameter};
use crate::onnx::port::Port;
use crate::onnx::schema::{FunctionProto, GraphProto, NodeProto, ValueInfoProto, data_type};
use crate::onnx::{Model, normalize, shapes, surgery};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use tract_onnx::Onnx;

/// Longer than any real network takes by far; a graph that takes longer was made to.
const LIMIT: Duration = Duration::from_secs(20);
/// The importer recurses along chains of sizes: they are bounded by this, in bytes.
const STACK: usize = 256 << 20;

/// What can be trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The whole graph.
    All,
    /// What comes behind this tensor of the file.
    From(String),
    /// Nothing of it, or that could not be told. A head behind it still can.
    Nothing,
}

/// A node that cannot be trained through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// The node's name, or that of its first output; empty where no node could be told.
    pub node: String,
    /// Its ONNX operator.
    pub operator: String,
    /// What is wrong with it.
    pub why: String,
    /// Its place among the graph's nodes.
    #[serde(skip)]
    place: Option<usize>,
}

/// What training inside a graph would find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trainable {
    /// What can be trained.
    pub part: Part,
    /// All that stands against the rest, in the order of the graph.
    pub obstacles: Vec<Obstacle>,
    /// The shapes of the file's tensors by name, `N` images; those that could be told.
    #[serde(skip)]
    pub shapes: HashMap<String, Vec<String>>,
}

/// Finds out what of a model can be trained on the way to its first output. `shape` is as for
/// [`Program::import`](super::Program::import).
///
/// The graph is imported as it would be for training, but with its weights left away: that takes no memory for them, and
/// a few seconds at most; what takes much longer is given up.
pub fn trainable(model: &Model, shape: &[Option<usize>]) -> Trainable {
    let (sender, receiver) = channel();
    let (model, shape, nodes) = (model.clone(), shape.to_vec(), model.graph().node.len());
    let work = move || {
        // Nobody waits any more where the time is over.
        let _ = sender.send(quietly(|| survey(&model, &shape)));
    };
    let found = match thread::Builder::new().stack_size(STACK).spawn(work) {
        Ok(_) => receiver.recv_timeout(LIMIT).unwrap_or_else(|e| {
            Err(match e {
                RecvTimeoutError::Timeout => {
                    format!("importing the graph of {nodes} nodes takes more than {} s", LIMIT.as_secs())
                }
                RecvTimeoutError::Disconnected => "the import broke off".into(),
            })
        }),
        Err(e) => Err(e.to_string()),
    };
    found.unwrap_or_else(|why| nothing(vec![Obstacle::unknown(why)]))
}

fn nothing(obstacles: Vec<Obstacle>) -> Trainable {
    Trainable { part: Part::Nothing, obstacles, shapes: HashMap::new() }
}

impl Obstacle {
    fn unknown(why: String) -> Obstacle {
        Obstacle { node: String::new(), operator: String::new(), why, place: None }
    }

    fn at(graph: &GraphProto, place: usize, why: String) -> Obstacle {
        let node = &graph.node[place];
        let domain = if node.domain().is_empty() { String::new() } else { format!("{}.", node.domain()) };
        let operator = format!("{domain}{}", node.op_type());
        Obstacle { node: title(graph, place).into(), operator, why, place: Some(place) }
    }
}

/// A node as tract calls it: by its name, else by its first output's.
fn title(graph: &GraphProto, place: usize) -> &str {
    let node = &graph.node[place];
    if node.name().is_empty() { node.output.first().map_or("", String::as_str) } else { node.name() }
}

fn survey(model: &Model, shape: &[Option<usize>]) -> Trainable {
    let graph = model.graph();
    let onnx = import::trainer();
    let local = |node: &NodeProto| {
        let same = |f: &FunctionProto| (f.domain(), f.name()) == (node.domain(), node.op_type());
        model.proto.functions.iter().any(same)
    };
    let hopeless = |place: usize| {
        let node = &graph.node[place];
        let missing = !onnx.op_register.0.contains_key(node.op_type()) && !local(node);
        let why = normalize::no_gradient(node).or(missing.then_some("the importer does not know this operator"))?;
        Some(Obstacle::at(graph, place, why.into()))
    };
    let mut obstacles: Vec<Obstacle> = (0..graph.node.len()).filter_map(hopeless).collect();
    let imported = if obstacles.is_empty() { import_any(&onnx, model, shape) } else { Err(String::new()) };
    match imported {
        Ok(found) if found.obstacles.is_empty() => Trainable { part: Part::All, ..found },
        Ok(found) => {
            let places: Option<HashSet<usize>> = found.obstacles.iter().map(|o| o.place).collect();
            let behind = places.and_then(|places| narrow(graph, &places).into_iter().next());
            let part = behind.filter(|t| *t != graph.output[0].name()).map_or(Part::Nothing, |t| Part::From(t.into()));
            Trainable { part, ..found }
        }
        Err(why) => {
            if !why.is_empty() {
                obstacles.push(blame(graph, why));
            }
            let behind = || import_behind(&onnx, model, &obstacles);
            let (part, shapes) = behind().unwrap_or((Part::Nothing, HashMap::new()));
            Trainable { part, obstacles, shapes }
        }
    }
}

/// The node that an importer's message names.
fn blame(graph: &GraphProto, why: String) -> Obstacle {
    let named = |&place: &usize| {
        let name = title(graph, place);
        !name.is_empty() && (why.contains(&format!("\"{name}\"")) || why.contains(&format!("node {name} (")))
    };
    match (0..graph.node.len()).find(named) {
        Some(place) => Obstacle::at(graph, place, why),
        None => Obstacle::unknown(why),
    }
}

/// Imports for any number of images, else with wide sizes, else for one: as for training.
fn import_any(onnx: &Onnx, model: &Model, shape: &[Option<usize>]) -> Built<Trainable> {
    let port = Port::of(model, shape)?;
    let (changed, parameters) = parameters::as_empty_inputs(model).map_err(|e| e.to_string())?;
    let attempt = |changed: &Model, batch| import_once(onnx, (model, changed), &port, batch, &parameters);
    let first = attempt(&changed, port.fixed_batch());
    let is_clean = |found: &Built<Trainable>| found.as_ref().is_ok_and(|found| found.obstacles.is_empty());
    if is_clean(&first) || port.fixed_batch().is_some() {
        return first;
    }
    let wide = shapes::wide_sizes(&changed).map(|wide| attempt(&wide, None)).filter(is_clean);
    let other = wide.unwrap_or_else(|| attempt(&changed, Some(1)));
    if is_clean(&other) || first.is_err() && other.is_ok() { other } else { first }
}

fn import_once(
    onnx: &Onnx,
    (model, changed): (&Model, &Model),
    port: &Port,
    batch: Option<usize>,
    parameters: &[Parameter],
) -> Built<Trainable> {
    let proto = import::decode(changed).map_err(|e| e.to_string())?;
    quietly(|| {
        let (mut typed, images) = import::typed(onnx, &proto, port, batch).map_err(chain)?;
        let mut shapes = HashMap::new();
        for (outlet, name) in &typed.outlet_labels {
            let dims = typed.outlet_fact(*outlet).map_err(chain)?.shape.dims();
            shapes.insert(name.clone(), dims.iter().map(|dim| dim.to_string()).collect());
        }
        stable::join_log_softmax(&mut typed);
        let graph = model.graph();
        let places: HashMap<&str, usize> = (0..graph.node.len()).map(|place| (title(graph, place), place)).collect();
        let mut found = Trainable { shapes, ..nothing(Vec::new()) };
        let built = Builder::new(&typed, port, batch, parameters)?.build_past(&images, |node, why| {
            let place = origin(&places, &node.name);
            let unknown = || Obstacle::unknown(format!("{} ({}): {why}", node.name, node.op.name()));
            let obstacle = place.map_or_else(unknown, |place| Obstacle::at(graph, place, why.clone()));
            if found.obstacles.last().is_none_or(|last| last.place != place || place.is_none()) {
                found.obstacles.push(obstacle);
            }
            Ok(())
        });
        match built {
            Err(why) if found.obstacles.is_empty() => Err(why),
            _ => Ok(found),
        }
    })?
}

/// The place of the node that an importer's node was made for: its name is that node's, or begins with it and a dot.
fn origin(places: &HashMap<&str, usize>, name: &str) -> Option<usize> {
    let mut name = name;
    loop {
        if let Some(&place) = places.get(name) {
            return Some(place);
        }
        name = name.rsplit_once('.')?.0;
    }
}

/// The tensors through which everything goes that the image has to say to the first output, in the order of the graph;
/// only those behind all of `places`.
fn narrow<'a>(graph: &'a GraphProto, places: &HashSet<usize>) -> Vec<&'a str> {
    let index = Index::new(graph);
    let output = graph.output[0].name();
    let needed = index.ancestors(&[output]).0;
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    let images = graph.input.iter().map(|i| i.name()).filter(|name| !stored.contains(name));
    // For each value that hangs on the image, how many nodes still read it.
    let mut users: HashMap<&str, usize> = HashMap::new();
    for &place in &needed {
        reads(&graph.node[place]).for_each(|value| *users.entry(value).or_default() += 1);
    }
    *users.entry(output).or_default() += 1;
    let mut live: HashMap<&str, usize> = images.map(|name| (name, users.get(name).copied().unwrap_or(0))).collect();
    let mut ahead = needed.iter().filter(|place| places.contains(place)).count();
    let mut found = Vec::new();
    for place in needed {
        let node = &graph.node[place];
        ahead -= usize::from(places.contains(&place));
        let mut hangs = false;
        for value in reads(node) {
            if let Some(left) = live.get_mut(value) {
                hangs = true;
                *left = left.saturating_sub(1);
            }
        }
        live.retain(|_, left| *left > 0);
        // A shape tells of the number of images alone.
        if !hangs || node.is("Shape") || node.is("Size") {
            continue;
        }
        let made = node.output.iter().filter_map(|o| Some((o.as_str(), *users.get(o.as_str())?)));
        live.extend(made);
        if ahead == 0 && live.len() == 1 {
            found.extend(live.keys().copied());
        }
    }
    found.dedup();
    found
}

/// Where the importer fails: the first tensor behind the obstacles whose shape the file tells, if all behind it can be
/// trained.
fn import_behind(onnx: &Onnx, model: &Model, obstacles: &[Obstacle]) -> Option<(Part, HashMap<String, Vec<String>>)> {
    const MOST_TRIED: usize = 3;
    let graph = model.graph();
    let places = obstacles.iter().map(|o| o.place).collect::<Option<HashSet<usize>>>()?;
    let told = |name: &str| graph.value_info.iter().find(|info| info.name() == name);
    let known = narrow(graph, &places).into_iter().filter(|t| *t != graph.output[0].name()).filter_map(told);
    known.take(MOST_TRIED).find_map(|info| {
        let found = import_any(onnx, &behind(model, info)?, &[]).ok()?;
        found.obstacles.is_empty().then(|| (Part::From(info.name().into()), found.shapes))
    })
}

/// What comes behind a tensor, with it as the input.
fn behind(model: &Model, input: &ValueInfoProto) -> Option<Model> {
    let mut model = model.clone();
    let graph = model.proto.graph.as_mut()?;
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    graph.input.retain(|given| stored.contains(given.name()));
    graph.input.push(input.clone());
    graph.node.retain(|node| !node.output.iter().any(|output| output == input.name()));
    let output = graph.output.first()?.name().to_string();
    let (tensor, classifier, tail) = (output.clone(), Classifier::Chosen, Vec::new());
    let whole = Cut {
        tensor,
        output,
        classifier,
        features: None,
        classes: None,
        data_type: data_type::FLOAT,
        heads: 0,
        tokens: Vec::new(),
        dequantize: None,
        decided: false,
        tail,
    };
    Some(surgery::backbone(&model, &whole, &surgery::Pooling::None))
}
