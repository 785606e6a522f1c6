//! A name of its own for every node and value.

use super::super::graph::{Names, inner_graphs, own};
use super::super::schema::{GraphProto, ModelProto, NodeProto};
use super::{inner, read_instead};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Names nodes that have no name, or another's, and renames values of inner graphs that are called as values outside,
/// or in a graph beside. Empty names at the end of a list, for what is left out, go. The main graph's values keep their
/// names: [`super::super::validate`] lets none be there twice. A node `a` beside a stored `a.b` is named anew: tract
/// calls what it makes of a node so, as `conv1.bias`.
pub fn unique(proto: &mut ModelProto) -> Result<(), String> {
    let Some(graph) = proto.graph.as_mut() else { return Ok(()) };
    let mut unique = Unique {
        names: Names::of(graph),
        nodes: HashSet::new(),
        named: every_node(graph).map(|node| node.name().to_owned()).collect(),
        values: own(graph).map(str::to_owned).collect(),
        stored: graph.initializer.iter().map(|t| t.name().to_owned()).collect(),
    };
    graph.node.iter_mut().for_each(|node| unique.node(node));
    Ok(())
}

/// Names anew each node that is called as another of its graph or function: ONNX Runtime opens no file with two such.
pub fn tell_apart(proto: &mut ModelProto) {
    let mut names = proto.graph.as_ref().map(Names::of);
    if let Some((graph, names)) = proto.graph.as_mut().zip(names.as_mut()) {
        apart(&mut graph.node, names);
    }
    for function in &mut proto.functions {
        let mut names = Names::of(&GraphProto { node: function.node.clone(), ..Default::default() });
        apart(&mut function.node, &mut names);
    }
}

fn apart(nodes: &mut [NodeProto], names: &mut Names) {
    let mut seen = HashSet::new();
    for node in nodes {
        if !node.name().is_empty() && !seen.insert(node.name().to_owned()) {
            node.name = Some(names.fresh(node.name()));
        }
        inner(node).for_each(|graph| apart(&mut graph.node, names));
    }
}

/// Gives nodes back what [`unique`] took of them, where `before` has a node that makes the same value. One with graphs inside
/// stays as it is now: a value in those may be called as one that has come out of another.
pub fn restore(graph: &mut GraphProto, before: &GraphProto) {
    let plain = before.node.iter().filter(|node| inner_graphs(node).next().is_none());
    let came: HashMap<&String, &NodeProto> =
        plain.flat_map(|node| node.output.iter().filter(|o| !o.is_empty()).map(move |output| (output, node))).collect();
    let mut names = Names::of(graph);
    let (mut others, mut taken) = (Vec::new(), HashSet::new());
    for node in &mut graph.node {
        let first = node.output.iter().find(|output| !output.is_empty());
        match first.and_then(|output| came.get(output)) {
            Some(before) => {
                *node = (*before).clone();
                taken.insert(before.name());
            }
            None => others.push(node),
        }
    }
    // Beside a graph a node of one in it may have the same name, in it not.
    for node in others.into_iter().filter(|node| taken.contains(node.name())) {
        node.name = Some(names.fresh(node.name()));
    }
}

struct Unique {
    names: Names,
    nodes: HashSet<String>,
    /// The names that nodes have in the file.
    named: HashSet<String>,
    values: HashSet<String>,
    /// The main graph's stored tensors.
    stored: BTreeSet<String>,
}

impl Unique {
    fn node(&mut self, node: &mut NodeProto) {
        for values in [&mut node.input, &mut node.output] {
            while values.pop_if(|name| name.is_empty()).is_some() {}
        }
        let owns = self.owns(node.name());
        if node.name().is_empty() || owns || !self.nodes.insert(node.name().to_owned()) {
            // A node without a name is called after its first output, which people find in the file.
            let wanted = match (node.name(), node.output.first()) {
                ("", Some(output)) if !output.is_empty() => output,
                ("", _) => node.op_type(),
                (name, _) => name,
            };
            let is_taken = self.named.contains(wanted) || self.nodes.contains(wanted) || self.owns(wanted);
            let is_free = node.name().is_empty() && !is_taken;
            let name = if is_free && wanted != node.op_type() { wanted.to_owned() } else { self.names.fresh(wanted) };
            self.nodes.insert(name.clone());
            node.name = Some(name);
        }
        inner(node).for_each(|graph| self.graph(graph));
    }

    /// Whether a stored tensor is called `name.something`.
    fn owns(&self, name: &str) -> bool {
        let start = format!("{name}.");
        self.stored.range(start.clone()..).next().is_some_and(|tensor| tensor.starts_with(&start))
    }

    fn graph(&mut self, graph: &mut GraphProto) {
        let twice: Vec<String> = own(graph).filter(|name| self.values.contains(*name)).map(str::to_owned).collect();
        let renamed: HashMap<String, String> =
            twice.into_iter().map(|name| (name.clone(), self.names.fresh(&name))).collect();
        self.values.extend(own(graph).map(str::to_owned));
        // Inner graphs first: what they call the same is theirs, what they read is this graph's.
        graph.node.iter_mut().for_each(|node| self.node(node));
        rename(graph, &renamed);
    }
}

/// A graph's nodes, and those of the graphs inside them.
fn every_node(graph: &GraphProto) -> Box<dyn Iterator<Item = &NodeProto> + '_> {
    Box::new(graph.node.iter().flat_map(|node| std::iter::once(node).chain(inner_graphs(node).flat_map(every_node))))
}

fn rename(graph: &mut GraphProto, names: &HashMap<String, String>) {
    read_instead(graph, names);
    let sparse = graph.sparse_initializer.iter_mut().filter_map(|s| s.values.as_mut());
    let stored = graph.initializer.iter_mut().chain(sparse).filter_map(|t| t.name.as_mut());
    let infos = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    let made = graph.node.iter_mut().flat_map(|node| &mut node.output);
    for name in stored.chain(infos.filter_map(|v| v.name.as_mut())).chain(made) {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    }
}
