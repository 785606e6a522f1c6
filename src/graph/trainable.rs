//! What of a graph can be trained inside, told before any work and without its weights' values.

mod behind;
mod facts;

use super::attempts::any_batch;
use super::import::{self, Builder, Built, chain};
use super::stable;
use crate::error::Error;
use crate::guard::{gave_up, quietly, within};
use crate::onnx::graph::{Index, reads};
use crate::onnx::parameters::{self, Parameter};
use crate::onnx::port::Port;
use crate::onnx::schema::{FunctionProto, GraphProto, NodeProto};
use crate::onnx::{Model, normalize};
pub use behind::behind;
use behind::import_behind;
pub use behind::narrow;
use facts::{Facts, is_contradiction};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tract_onnx::Onnx;

/// The last resort, many times what the largest real networks take: only a graph that was made to can reach it.
const LIMIT: Duration = Duration::from_secs(60);

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
    /// Values of the weights in that: what training would change.
    pub parameters: u64,
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
/// a few seconds at most; what takes a minute is given up, and says so.
pub fn trainable(model: &Model, shape: &[Option<usize>]) -> Trainable {
    let (model, shape, nodes) = (model.clone(), shape.to_vec(), model.graph().node.len());
    let found = within(LIMIT, move || survey(&model, &shape));
    let found = found.map_err(|why| format!("looking through its {nodes} nodes: {why}"));
    found.unwrap_or_else(|why| Found { obstacles: vec![Obstacle::unknown(why)], ..Found::default() }.nothing())
}

/// What one import finds.
#[derive(Default)]
struct Found {
    obstacles: Vec<Obstacle>,
    shapes: HashMap<String, Vec<String>>,
    /// The weights that it reached, and how many values each has.
    weights: HashMap<String, u64>,
}

impl Trainable {
    /// Whether sizes meet somewhere that do not fit, which images of another size may not lead to.
    pub fn contradicts(&self) -> bool {
        self.shapes.values().flatten().any(|size| is_contradiction(size))
    }

    /// The tensors of `graph` through which everything goes and behind which nothing is known to stand against training; none
    /// where it could not be told where something does.
    pub fn starts<'a>(&self, graph: &'a GraphProto) -> Vec<&'a str> {
        let places: Option<HashSet<usize>> = self.obstacles.iter().map(|o| o.place).collect();
        let tensors = places.map(|places| narrow(graph, &places)).unwrap_or_default();
        tensors.into_iter().filter(|tensor| *tensor != graph.output[0].name()).collect()
    }
}

impl Found {
    fn nothing(self) -> Trainable {
        Trainable { part: Part::Nothing, parameters: 0, obstacles: self.obstacles, shapes: self.shapes }
    }

    /// What comes behind `from` can be trained, or all.
    fn trainable(self, graph: &GraphProto, from: Option<&str>) -> Trainable {
        let index = Index::new(graph);
        let ahead = index.ancestors(from.as_slice()).0;
        let inside = index.ancestors(&[graph.output[0].name()]).0;
        let inside = inside.iter().filter(|place| ahead.binary_search(place).is_err());
        let read: HashSet<&str> = inside.flat_map(|&place| reads(&graph.node[place])).collect();
        let parameters = read.iter().filter_map(|name| self.weights.get(*name)).sum();
        let part = match from {
            _ if parameters == 0 => Part::Nothing,
            Some(tensor) => Part::From(tensor.into()),
            None => Part::All,
        };
        Trainable { part, parameters, ..self.nothing() }
    }
}

impl Obstacle {
    /// Whether an importer's message, or ours, names the node.
    pub fn is_named(&self, message: &str) -> bool {
        names(message, &self.node)
    }

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
    let (graph, index) = (model.graph(), Index::new(model.graph()));
    let (onnx, undecided) = (import::trainer(), undecided(model));
    let local = |node: &NodeProto| {
        let same = |f: &FunctionProto| (f.domain(), f.name()) == (node.domain(), node.op_type());
        model.proto.functions.iter().any(same)
    };
    let hopeless = |place: usize| {
        let node = &graph.node[place];
        let missing = !onnx.op_register.0.contains_key(node.op_type()) && !local(node);
        let why = normalize::no_training(&index, node)
            .or(missing.then_some("training does not know this operator"))
            .or(node.output.iter().any(|output| undecided.contains(output)).then_some(normalize::UNDECIDED))?;
        Some(Obstacle::at(graph, place, why.into()))
    };
    let mut obstacles: Vec<Obstacle> = (0..graph.node.len()).filter_map(hopeless).collect();
    let imported = if obstacles.is_empty() { import_any(&onnx, model, shape) } else { Err(String::new()) };
    let why = match imported {
        Ok(found) if found.obstacles.is_empty() => return found.trainable(graph, None),
        Ok(found) => {
            let places: Option<HashSet<usize>> = found.obstacles.iter().map(|o| o.place).collect();
            let behind = places.and_then(|places| narrow(graph, &places).into_iter().next());
            return match behind.filter(|tensor| *tensor != graph.output[0].name()) {
                Some(tensor) => found.trainable(graph, Some(tensor)),
                None => found.nothing(),
            };
        }
        Err(why) if gave_up(&why) => {
            return Found { obstacles: vec![Obstacle::unknown(why)], ..Found::default() }.nothing();
        }
        Err(why) => why,
    };
    if !why.is_empty() {
        obstacles.push(blame(graph, why));
    }
    let facts = Facts::of(model, shape);
    let mut shapes = facts.shapes();
    let places: Option<HashSet<usize>> = obstacles.iter().map(|o| o.place).collect();
    match places.and_then(|places| import_behind(&onnx, model, &places, &facts)) {
        Some((tensor, found)) => {
            found.shapes.iter().for_each(|(name, shape)| {
                shapes.entry(name.clone()).or_insert_with(|| shape.clone());
            });
            Found { obstacles, shapes, ..found }.trainable(graph, Some(tensor))
        }
        None => Found { obstacles, shapes, ..Found::default() }.nothing(),
    }
}

/// What is given by each `If` whose branch is not known.
fn undecided(model: &Model) -> HashSet<String> {
    let normal = normalize::for_import(model);
    let choices = normal.iter().flat_map(normalize::undecided);
    choices.flat_map(|node| node.output.iter().cloned()).collect()
}

/// What an error says besides the file's name.
fn what(error: Error) -> String {
    match error {
        Error::Model { what, .. } => what,
        other => other.to_string(),
    }
}

/// The node that an importer's message names.
fn blame(graph: &GraphProto, why: String) -> Obstacle {
    let named = |&place: &usize| {
        let name = title(graph, place);
        !name.is_empty() && names(&why, name)
    };
    match (0..graph.node.len()).find(named) {
        Some(place) => {
            // Where it has no name in the file, the message calls it as an importer does.
            let node = &graph.node[place];
            let own = [node.label(), format!("{} ({})", title(graph, place), node.op_type())];
            let bare = own.iter().find_map(|own| why.strip_prefix(&format!("node {own}: ")));
            Obstacle::at(graph, place, bare.unwrap_or(&why).into())
        }
        None => Obstacle::unknown(why),
    }
}

/// Whether a message names a node, as tract or we do, not another whose name begins so.
fn names(message: &str, node: &str) -> bool {
    let quoted = || [format!("\"{node}\""), format!("'{node}'")].iter().any(|name| message.contains(name));
    message.contains(&format!("node {node} (")) || quoted()
}

/// Imports for any number of images, else with wide sizes, else for one: as for training.
fn import_any(onnx: &Onnx, model: &Model, shape: &[Option<usize>]) -> Built<Found> {
    let port = Port::of(model, shape)?;
    let (changed, parameters) = parameters::as_empty_inputs(model).map_err(what)?;
    let attempt = |changed: &Model, batch| import_once(onnx, (model, changed), &port, batch, &parameters);
    any_batch(&changed, &port, attempt, |found| found.obstacles.is_empty())
}

fn import_once(
    onnx: &Onnx,
    (model, changed): (&Model, &Model),
    port: &Port,
    batch: Option<usize>,
    parameters: &[Parameter],
) -> Built<Found> {
    let proto = import::decode(changed, port).map_err(what)?;
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
        let mut obstacles: Vec<Obstacle> = Vec::new();
        let built = Builder::new(&typed, port, batch, parameters)?.build_past(&images, |node, why| {
            let place = origin(&places, &node.name);
            let unknown = || Obstacle::unknown(format!("{} ({}): {why}", node.name, node.op.name()));
            let obstacle = place.map_or_else(unknown, |place| Obstacle::at(graph, place, why.clone()));
            if obstacles.last().is_none_or(|last| last.place != place || place.is_none()) {
                obstacles.push(obstacle);
            }
            Ok(())
        });
        let reached = match &built {
            Err(why) if obstacles.is_empty() => return Err(why.clone()),
            Err(_) => parameters,
            Ok(program) => program.parameters(),
        };
        let values = |weight: &Parameter| (weight.name.clone(), weight.shape.iter().map(|&d| d as u64).product());
        Ok(Found { obstacles, shapes, weights: reached.iter().map(values).collect() })
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
