//! The graphs inside nodes, and the bodies of functions: each value is made once in one, and before it is read.

use super::super::graph::{given, inner_graphs};
use super::super::schema::{ModelProto, NodeProto};
use super::order;
use std::collections::{HashMap, HashSet};

/// Checks all of a model's but the main graph itself, where [`super::check`] has been.
///
/// # Errors
/// A text naming the node.
pub(super) fn check(proto: &ModelProto) -> Result<(), String> {
    if let Some(graph) = &proto.graph {
        let mut known = Known::default();
        known.enter(given(graph), &graph.node);
        known.inner(&graph.node)?;
    }
    for function in &proto.functions {
        let within = |what| format!("the function '{}': {what}", function.name());
        let mut known = Known::default();
        let outputs = function.output.iter().map(String::as_str);
        known.body(function.input.iter().map(String::as_str), &function.node, outputs).map_err(within)?;
    }
    Ok(())
}

/// How many of the graphs around a node know a value of this name.
#[derive(Default)]
struct Known<'a>(HashMap<&'a str, usize>);

impl<'a> Known<'a> {
    /// A graph's own names; they hold until it is left.
    fn enter(&mut self, given: impl Iterator<Item = &'a str>, nodes: &'a [NodeProto]) -> Vec<&'a str> {
        let made = nodes.iter().flat_map(|node| &node.output).map(String::as_str);
        let own: Vec<&str> = given.chain(made).collect();
        own.iter().for_each(|name| *self.0.entry(name).or_default() += 1);
        own
    }

    fn leave(&mut self, own: Vec<&'a str>) {
        own.iter().for_each(|name| *self.0.entry(name).or_default() -= 1);
    }

    fn inner(&mut self, nodes: &'a [NodeProto]) -> Result<(), String> {
        nodes
            .iter()
            .flat_map(inner_graphs)
            .try_for_each(|graph| self.body(given(graph), &graph.node, graph.output.iter().map(|output| output.name())))
    }

    fn body(
        &mut self,
        given: impl Iterator<Item = &'a str>,
        nodes: &'a [NodeProto],
        mut outputs: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        let given: HashSet<&str> = given.collect();
        let mut made: HashMap<&str, usize> = HashMap::new();
        for (place, node) in nodes.iter().enumerate() {
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                if made.insert(output, place).is_some() || given.contains(output.as_str()) {
                    return Err(format!("node {}: '{output}' exists already, in the same graph", node.label()));
                }
            }
        }
        let own = self.enter(given.into_iter(), nodes);
        let has = |name: &str| name.is_empty() || self.0.get(name).is_some_and(|graphs| *graphs > 0);
        for node in nodes {
            if let Some(missing) = node.input.iter().find(|input| !has(input)) {
                return Err(format!("node {}: its input '{missing}' does not exist", node.label()));
            }
        }
        if let Some(missing) = outputs.find(|output| !has(output)) {
            return Err(format!("the output '{missing}' of an inner graph is made by no node"));
        }
        order(nodes, |value| made.get(value).copied())?;
        self.inner(nodes)?;
        self.leave(own);
        Ok(())
    }
}
