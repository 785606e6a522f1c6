//! Who makes and who uses a value.

use super::schema::{GraphProto, NodeProto, SparseTensorProto, TensorProto, data_type};
use std::collections::{HashMap, HashSet};

/// A graph's values by name. Borrowed: build it anew after an edit.
pub struct Index<'a> {
    /// The graph.
    pub graph: &'a GraphProto,
    producers: HashMap<&'a str, usize>,
    constants: HashMap<&'a str, &'a TensorProto>,
    sparse: HashMap<&'a str, &'a SparseTensorProto>,
    /// What no node makes: inputs, and stored tensors of both kinds.
    given: HashSet<&'a str>,
    /// Sparse stored tensors, and what nodes compute from stored tensors alone.
    computed: HashSet<&'a str>,
}

/// Their outputs change although their inputs do not.
const RANDOM: [&str; 6] =
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"];

impl<'a> Index<'a> {
    /// Looks at every node once.
    pub fn new(graph: &'a GraphProto) -> Self {
        let mut producers = HashMap::new();
        let stored = graph.initializer.iter().map(|t| (t.name(), t));
        let mut constants: HashMap<&str, &TensorProto> = stored.filter(|(name, _)| !name.is_empty()).collect();
        for (i, node) in graph.node.iter().enumerate() {
            producers.extend(node.output.iter().filter(|o| !o.is_empty()).map(|o| (o.as_str(), i)));
            let tensor = match node.op_type() {
                "Constant" if node.is("Constant") => node.attr("value").and_then(|a| a.t.as_ref()),
                "Identity" if node.is("Identity") => {
                    node.input.first().and_then(|i| constants.get(i.as_str()).copied())
                }
                _ => None,
            };
            if let (Some(tensor), Some(output)) = (tensor, node.output.first()) {
                constants.insert(output, tensor);
            }
        }
        let sparse = graph.sparse_initializer.iter().filter_map(|s| Some((s.values.as_ref()?.name(), s)));
        let sparse: HashMap<&str, &SparseTensorProto> = sparse.collect();
        let mut computed: HashSet<&str> = sparse.keys().copied().collect();
        for node in graph.node.iter().filter(|node| !RANDOM.iter().any(|name| node.is(name))) {
            let mut inputs = reads(node).filter(|value| !value.is_empty());
            if inputs.all(|v| constants.contains_key(v) || computed.contains(v)) {
                computed.extend(node.output.iter().map(String::as_str));
            }
        }
        Index { graph, producers, constants, sparse, given: given(graph).collect(), computed }
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
        self.constants.get(value).copied()
    }

    /// Dimensions and type of a stored tensor, sparse or not.
    pub fn stored(&self, value: &str) -> Option<(&'a [i64], i32)> {
        let sparse = || self.sparse.get(value).and_then(|s| Some((&s.dims[..], s.values.as_ref()?.data_type())));
        self.constant(value).map(|t| (&t.dims[..], t.data_type())).or_else(sparse)
    }

    /// Whether `value` is stored, or computed from stored tensors alone (told where nodes are in order).
    pub fn is_fixed(&self, value: &str) -> bool {
        self.constants.contains_key(value) || self.computed.contains(value)
    }

    /// The integers of a stored tensor, in row-major order; `None` for other types.
    pub fn integers(&self, value: &str) -> Option<Vec<i64>> {
        let node = self.producer(value).filter(|node| node.is("Constant"));
        let list = node.and_then(|node| node.attr("value_ints").or_else(|| node.attr("value_int")));
        match list {
            Some(list) if list.name() == "value_int" => Some(vec![list.i()]),
            Some(list) => Some(list.ints.clone()),
            None => super::tensor::int64s(self.constant(value)?),
        }
    }

    /// Whether `value` is an input or a stored tensor.
    pub fn is_given(&self, value: &str) -> bool {
        self.given.contains(value)
    }

    /// Whether the main graph computes, stores or takes `value`.
    pub fn has(&self, value: &str) -> bool {
        self.producers.contains_key(value) || self.is_given(value)
    }

    /// The nodes (ascending) and the values that `targets` depend on, `targets` included.
    pub fn ancestors<'t>(&self, targets: &[&'t str]) -> (Vec<usize>, HashSet<&'t str>)
    where
        'a: 't,
    {
        let (mut nodes, mut values) = (HashSet::new(), HashSet::new());
        let mut open = targets.to_vec();
        while let Some(value) = open.pop() {
            if !value.is_empty()
                && values.insert(value)
                && let Some(i) = self.producer_index(value)
                && nodes.insert(i)
            {
                open.extend(reads(&self.graph.node[i]));
            }
        }
        let mut nodes: Vec<usize> = nodes.into_iter().collect();
        nodes.sort_unstable();
        (nodes, values)
    }
}

/// Names for what surgery adds: none that the graph, or a graph inside it, has for a value or a node.
pub struct Names {
    taken: HashSet<String>,
    /// The number to try next, by wanted name: thousands of nodes may want one.
    next: HashMap<String, u64>,
}

impl Names {
    /// The names that are taken.
    pub fn of(graph: &GraphProto) -> Names {
        let mut taken = HashSet::new();
        take(graph, &mut taken);
        Names { taken, next: HashMap::new() }
    }

    /// `wanted`, or `wanted.2`, `wanted.3`, … where it is taken; from now on it is.
    pub fn fresh(&mut self, wanted: &str) -> String {
        if self.taken.insert(wanted.to_string()) {
            return wanted.to_string();
        }
        let next = self.next.entry(wanted.to_string()).or_insert(2);
        loop {
            let name = format!("{wanted}.{next}");
            *next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

fn take(graph: &GraphProto, taken: &mut HashSet<String>) {
    taken.extend(own(graph).chain(graph.output.iter().map(|v| v.name())).map(str::to_owned));
    for node in &graph.node {
        taken.extend(node.name.clone());
        inner_graphs(node).for_each(|inner| take(inner, taken));
    }
}

/// The values that a graph takes or stores.
pub(super) fn given(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    let stored = graph.initializer.iter().chain(sparse).map(|t| t.name());
    graph.input.iter().map(|i| i.name()).chain(stored).filter(|name| !name.is_empty())
}

/// The values that a graph takes, stores or makes.
pub(super) fn own(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    given(graph).chain(made.filter(|name| !name.is_empty()))
}

/// The values that a node reads: its inputs, and what graphs inside it (`If`, `Loop`) take from outside.
pub fn reads(node: &NodeProto) -> Box<dyn Iterator<Item = &str> + '_> {
    Box::new(node.input.iter().map(String::as_str).chain(inner_graphs(node).flat_map(captured)))
}

/// What a graph takes from around it. A value of its own may be called as one outside, as an `If`'s output is in its branches.
fn captured(graph: &GraphProto) -> Vec<&str> {
    let own: HashSet<&str> = own(graph).collect();
    let read = graph.node.iter().flat_map(reads).chain(graph.output.iter().map(|o| o.name()));
    read.filter(|value| !own.contains(value)).collect()
}

/// The places of the nodes that read each value, graphs inside them included.
pub fn readers(graph: &GraphProto) -> HashMap<&str, Vec<usize>> {
    let mut found: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, node) in graph.node.iter().enumerate() {
        reads(node).for_each(|value| found.entry(value).or_default().push(place));
    }
    found
}

/// The graphs inside a node.
pub fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
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

/// How many numbers a graph stores that are no shapes or places: its weights.
pub fn parameters(graph: &GraphProto) -> u64 {
    use data_type::{BFLOAT16, DOUBLE, FLOAT, FLOAT16, INT8, UINT8};
    let numbers = graph_tensors(graph)
        .filter(|tensor| [FLOAT, FLOAT16, BFLOAT16, DOUBLE, INT8, UINT8].contains(&tensor.data_type()));
    numbers.map(|tensor| tensor.dims.iter().map(|&size| size.max(0) as u64).product::<u64>()).sum()
}
