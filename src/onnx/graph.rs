//! Who makes and who uses a value.

use super::schema::{GraphProto, NodeProto, TensorProto};
use std::collections::{HashMap, HashSet};

/// A graph's values by name. Borrowed: build it anew after an edit.
pub struct Index<'a> {
    /// The graph.
    pub graph: &'a GraphProto,
    producers: HashMap<&'a str, usize>,
    initializers: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Index<'a> {
    /// Looks at every node once.
    pub fn new(graph: &'a GraphProto) -> Self {
        let outputs = graph.node.iter().enumerate().flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)));
        Index {
            graph,
            producers: outputs.filter(|(name, _)| !name.is_empty()).collect(),
            initializers: graph.initializer.iter().map(|t| (t.name(), t)).collect(),
        }
    }

    /// The place in `graph.node` of the node that makes `value`.
    pub fn producer_index(&self, value: &str) -> Option<usize> {
        self.producers.get(value).copied()
    }

    /// The node that makes `value`; none for inputs and initializers.
    pub fn producer(&self, value: &str) -> Option<&'a NodeProto> {
        self.producer_index(value).map(|i| &self.graph.node[i])
    }

    /// A stored tensor: an initializer, or a `Constant` node's value; `Identity` nodes are looked through.
    pub fn constant(&self, value: &str) -> Option<&'a TensorProto> {
        let mut value = value;
        // A bound instead of a visited set: a chain longer than the graph is a cycle.
        for _ in 0..=self.graph.node.len() {
            if let Some(tensor) = self.initializers.get(value) {
                return Some(tensor);
            }
            let node = self.producer(value)?;
            if node.is("Constant") {
                return node.attr("value")?.t.as_ref();
            }
            value = node.is("Identity").then(|| node.input.first())??;
        }
        None
    }

    /// Every name that the graph knows.
    pub fn names(&self) -> HashSet<&'a str> {
        let inputs = self.graph.input.iter().map(|i| i.name());
        let sparse = self.graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref()).map(|t| t.name());
        self.producers.keys().chain(self.initializers.keys()).copied().chain(inputs).chain(sparse).collect()
    }

    /// Whether the main graph computes, stores or takes `value`.
    pub fn has(&self, value: &str) -> bool {
        self.producers.contains_key(value)
            || self.initializers.contains_key(value)
            || self.graph.input.iter().any(|i| i.name() == value)
    }

    /// The nodes (ascending) and the values that `targets` depend on, `targets` included.
    pub fn ancestors(&self, targets: &[&str]) -> (Vec<usize>, HashSet<String>) {
        let (mut nodes, mut values) = (HashSet::new(), HashSet::new());
        let mut open: Vec<String> = targets.iter().map(|t| t.to_string()).collect();
        while let Some(value) = open.pop() {
            if !value.is_empty()
                && values.insert(value.clone())
                && let Some(i) = self.producer_index(&value)
                && nodes.insert(i)
            {
                open.extend(reads(&self.graph.node[i]).map(str::to_string));
            }
        }
        let mut nodes: Vec<usize> = nodes.into_iter().collect();
        nodes.sort_unstable();
        (nodes, values)
    }
}

/// The values that a node reads: its inputs, and what graphs inside it (`If`, `Loop`) may take from outside. Names that
/// belong to an inner graph come along: they match nothing outside, since ONNX's names are unique.
pub fn reads(node: &NodeProto) -> Box<dyn Iterator<Item = &str> + '_> {
    let inner = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs));
    let captured = inner.flat_map(|g| g.node.iter().flat_map(reads).chain(g.output.iter().map(|o| o.name())));
    Box::new(node.input.iter().map(String::as_str).chain(captured))
}

/// Every stored tensor of nodes, those of the graphs inside them included.
pub fn node_tensors(node: &NodeProto) -> Box<dyn Iterator<Item = &TensorProto> + '_> {
    Box::new(node.attribute.iter().flat_map(|a| {
        let sparse = a.sparse_tensor.iter().chain(&a.sparse_tensors).flat_map(|s| s.values.iter().chain(&s.indices));
        let inner = a.g.iter().chain(&a.graphs).flat_map(graph_tensors);
        a.t.iter().chain(&a.tensors).chain(sparse).chain(inner)
    }))
}

/// Every stored tensor of a graph: initializers, and those of its nodes.
pub fn graph_tensors(graph: &GraphProto) -> Box<dyn Iterator<Item = &TensorProto> + '_> {
    let sparse = graph.sparse_initializer.iter().flat_map(|s| s.values.iter().chain(&s.indices));
    Box::new(graph.initializer.iter().chain(sparse).chain(graph.node.iter().flat_map(node_tensors)))
}
