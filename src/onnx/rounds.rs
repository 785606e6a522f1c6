//! How often the graphs inside `Loop` and `Scan` run: a file of a few lines can stand for work without end.

use super::graph::{Index, inner_graphs, own};
use super::normalize::functions::{Key, Table, called, key, table};
use super::schema::{GraphProto, ModelProto, NodeProto};
use std::collections::{HashMap, HashSet};

/// The most rounds of a `Loop`, with those of the loops inside it: more than any exporter unrolls, and soon over.
const MOST: i64 = 100_000;

/// Refuses loops of an unknown number of rounds, and those whose rounds, multiplied where one is inside another, are
/// more than 100,000. A `Scan` takes one for each row of its input: alone it is as bounded as that, with others
/// it must be known. Functions must not call themselves ([`super::normalize::functions::check`]).
///
/// # Errors
/// A text naming the node.
pub fn check(proto: &ModelProto) -> Result<(), String> {
    let mut counter = Counter { table: table(&proto.functions), done: HashMap::new() };
    for function in &proto.functions {
        counter.function(key(function.domain(), function.name(), function.overload()), &function.node)?;
    }
    proto.graph.as_ref().map_or(Ok(1), |graph| counter.nodes(&graph.node, &Known::of(graph))).map(drop)
}

/// What stored tensors tell: a function sees its own alone, and a name that an inner graph has as well tells nothing.
struct Known<'a> {
    index: Index<'a>,
    inner: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut inner = HashSet::new();
        let mut open: Vec<&GraphProto> = graph.node.iter().flat_map(inner_graphs).collect();
        while let Some(graph) = open.pop() {
            inner.extend(own(graph));
            open.extend(graph.node.iter().flat_map(inner_graphs));
        }
        Known { index: Index::new(graph), inner }
    }

    /// The rounds of a node that repeats, where they are known.
    fn rounds(&self, node: &NodeProto) -> Option<i64> {
        let input = if node.is("Loop") { node.input.first()? } else { node.input.last()? };
        if self.inner.contains(input.as_str()) {
            return None;
        }
        if node.is("Loop") {
            return self.index.integers(input)?.first().copied();
        }
        // Along which axis it goes is told in ways of its own by each opset: none is longer.
        self.index.constant(input)?.dims.iter().copied().max()
    }
}

struct Counter<'a> {
    table: Table<'a>,
    done: HashMap<Key, i64>,
}

impl Counter<'_> {
    /// The most rounds of any of the nodes, what is inside it included.
    fn nodes(&mut self, nodes: &[NodeProto], known: &Known) -> Result<i64, String> {
        nodes.iter().try_fold(1, |most, node| Ok(most.max(self.node(node, known)?)))
    }

    fn node(&mut self, node: &NodeProto, known: &Known) -> Result<i64, String> {
        let mut inside =
            inner_graphs(node).try_fold(1, |most: i64, g| Ok::<_, String>(most.max(self.nodes(&g.node, known)?)))?;
        let key = called(node);
        if let Some(&function) = self.table.get(&key) {
            inside = inside.saturating_mul(self.function(key, &function.node)?);
        }
        let own = match node.op_type() {
            "Loop" if node.is("Loop") => known.rounds(node).unwrap_or(i64::MAX),
            // Of unknown length it is as long as may be: alone that is well, with another it is not.
            "Scan" | "SequenceMap" if node.is(node.op_type()) => known.rounds(node).unwrap_or(MOST),
            _ => 1,
        };
        let rounds = own.max(1).saturating_mul(inside);
        if rounds > MOST {
            return Err(format!(
                "node {}: a {} without a known number of rounds, or of more than {MOST} with those of loops inside it, \
                 may never end; not supported",
                node.label(),
                node.op_type()
            ));
        }
        Ok(rounds)
    }

    fn function(&mut self, key: Key, nodes: &[NodeProto]) -> Result<i64, String> {
        if let Some(&rounds) = self.done.get(&key) {
            return Ok(rounds);
        }
        let body = GraphProto { node: nodes.to_vec(), ..Default::default() };
        let rounds = self.nodes(nodes, &Known::of(&body))?;
        self.done.insert(key, rounds);
        Ok(rounds)
    }
}
