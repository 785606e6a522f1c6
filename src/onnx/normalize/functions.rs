//! Model-local functions as the nodes that they stand for.

use super::super::graph::{Names, inner_graphs};
use super::super::schema::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use super::opsets::means_the_same;
use super::{inner, node, opset};
use crate::onnx;
use prost::Message;
use std::collections::HashMap;

/// How deep functions may call functions. Exporters nest modules, a dozen deep at most.
const DEEPEST: usize = 64;
/// What a file may grow to: this, or a few times what it was.
const MOST_BYTES: usize = 64 << 20;
const MOST_GROWTH: usize = 8;
/// What the attributes that functions hand to their nodes may take, all copies together: they are numbers and short lists.
const MOST_COPIED: usize = 64 << 20;

/// A function's domain, name and overload.
pub(in crate::onnx) type Key = (String, String, String);
pub(in crate::onnx) type Table<'a> = HashMap<Key, &'a FunctionProto>;

pub(in crate::onnx) fn key(domain: &str, name: &str, overload: &str) -> Key {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    (domain.into(), name.into(), overload.into())
}

pub(in crate::onnx) fn called(node: &NodeProto) -> Key {
    key(node.domain(), node.op_type(), node.overload())
}

pub(in crate::onnx) fn table(functions: &[FunctionProto]) -> Table<'_> {
    functions.iter().map(|f| (key(f.domain(), f.name(), f.overload()), f)).collect()
}

/// Refuses functions that call themselves, and those whose nodes would fill the memory: a file of a few lines can stand
/// for 2⁶⁴ nodes, or for one long attribute in thousands of nodes.
pub fn check(proto: &ModelProto) -> Result<(), String> {
    if proto.functions.is_empty() {
        return Ok(());
    }
    let mut sizes = Sizes { table: table(&proto.functions), done: HashMap::new(), longest: (0, "") };
    for function in &proto.functions {
        sizes.of(&function.node, 0)?;
        function.attribute_proto.iter().for_each(|attribute| sizes.passed(attribute, function));
    }
    let whole = proto.graph.as_ref().map_or(Ok(Size::default()), |graph| sizes.of(&graph.node, 0))?;
    let (own, (longest, name)) = (proto.encoded_len(), sizes.longest);
    if whole.bytes > MOST_BYTES.max(own.saturating_mul(MOST_GROWTH)) {
        return Err(format!("its functions, written out, would take {} bytes, the file has {own}", whole.bytes));
    }
    if whole.references.saturating_mul(longest) > MOST_COPIED {
        let nodes = whole.references;
        return Err(format!(
            "the function '{name}' is given an attribute of {longest} bytes, and {nodes} attributes refer to functions'"
        ));
    }
    Ok(())
}

/// What nodes are with all functions written out: their bytes, and how many attributes refer to a function's.
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: usize,
    references: usize,
}

struct Sizes<'a> {
    table: Table<'a>,
    done: HashMap<Key, Size>,
    /// Bytes of the longest attribute that a function is given, and the function.
    longest: (usize, &'a str),
}

impl<'a> Sizes<'a> {
    fn of(&mut self, nodes: &'a [NodeProto], depth: usize) -> Result<Size, String> {
        let mut total = Size { bytes: nodes.iter().map(Message::encoded_len).sum(), references: 0 };
        let mut open: Vec<&NodeProto> = nodes.iter().collect();
        while let Some(node) = open.pop() {
            total.references += node.attribute.iter().filter(|a| !a.ref_attr_name().is_empty()).count();
            open.extend(inner_graphs(node).flat_map(|g| &g.node));
            let key = called(node);
            let Some(&function) = self.table.get(&key) else { continue };
            let name = function.name();
            // Graphs that hold references of their own would multiply what is copied; no exporter passes any.
            if node.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty()) {
                return Err(format!("node {}: the function '{name}' is given a graph; not supported", node.label()));
            }
            node.attribute.iter().for_each(|attribute| self.passed(attribute, function));
            if !self.done.contains_key(&key) {
                if depth == DEEPEST {
                    return Err(format!(
                        "the function '{name}' calls itself, or functions go deeper than {DEEPEST} levels"
                    ));
                }
                let size = self.of(&function.node, depth + 1)?;
                self.done.insert(key.clone(), size);
            }
            let size = self.done[&key];
            total.bytes = total.bytes.saturating_add(size.bytes);
            total.references = total.references.saturating_add(size.references);
        }
        Ok(total)
    }

    fn passed(&mut self, attribute: &AttributeProto, function: &'a FunctionProto) {
        self.longest = self.longest.max((attribute.encoded_len(), function.name()));
    }
}

/// Writes out every call, those inside functions and inner graphs too.
///
/// Values get the name of the call before their own; attributes are the call's, else the function's defaults.
pub fn inline(proto: &mut ModelProto) -> Result<(), String> {
    check(proto)?;
    let version = opset(proto);
    let functions = std::mem::take(&mut proto.functions);
    let Some(graph) = proto.graph.as_mut().filter(|_| !functions.is_empty()) else { return Ok(()) };
    let mut inliner = Inliner { names: Names::of(graph), table: table(&functions), version };
    inliner.graph(graph)?;
    for import in functions.iter().flat_map(|f| &f.opset_import) {
        if !proto.opset_import.iter().any(|known| known.domain() == import.domain()) {
            proto.opset_import.push(import.clone());
        }
    }
    Ok(())
}

struct Inliner<'a> {
    table: Table<'a>,
    names: Names,
    version: i64,
}

impl Inliner<'_> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), String> {
        let mut nodes = Vec::with_capacity(graph.node.len());
        std::mem::take(&mut graph.node).into_iter().try_for_each(|node| self.push(node, &mut nodes))?;
        graph.node = nodes;
        Ok(())
    }

    fn push(&mut self, mut node: NodeProto, nodes: &mut Vec<NodeProto>) -> Result<(), String> {
        if let Some(&function) = self.table.get(&called(&node)) {
            let body = self.body(function, &node)?;
            return body.into_iter().try_for_each(|node| self.push(node, nodes));
        }
        inner(&mut node).try_for_each(|graph| self.graph(graph))?;
        nodes.push(node);
        Ok(())
    }

    /// The nodes that a call stands for.
    fn body(&mut self, function: &FunctionProto, call: &NodeProto) -> Result<Vec<NodeProto>, String> {
        let own = onnx::opset(&function.opset_import);
        let lasting = |own: &i64| function.node.iter().all(|node| means_the_same(node, *own, self.version));
        if let Some(own) = own.filter(|own| *own != self.version && !lasting(own)) {
            let (name, version) = (function.name(), self.version);
            return Err(format!("the function '{name}' is of opset {own}, the model of {version}; give both the same"));
        }
        let prefix = if call.name().is_empty() { call.output.first().map_or("", String::as_str) } else { call.name() };
        let (names, function_name) = (&mut self.names, function.name());
        let mut scope = Scope { names, prefix, function: function_name, values: HashMap::new(), hidden: Vec::new() };
        for (i, formal) in function.input.iter().enumerate() {
            scope.values.insert(formal.clone(), call.input.get(i).cloned().unwrap_or_default());
        }
        let mut passed = Vec::new();
        for (i, formal) in function.output.iter().enumerate() {
            let Some(actual) = call.output.get(i).filter(|name| !name.is_empty()) else { continue };
            match scope.values.get(formal) {
                Some(input) => passed.push((input.clone(), actual.clone())),
                None => drop(scope.values.insert(formal.clone(), actual.clone())),
            }
        }
        let mut nodes = function.node.clone();
        scope.nodes(&mut nodes)?;
        nodes.iter_mut().for_each(|node| bind(node, call, function));
        nodes.extend(passed.into_iter().map(|(from, to)| node(&mut self.names, "Identity", vec![from], to)));
        Ok(nodes)
    }
}

/// What a function's names are called outside.
struct Scope<'a> {
    names: &'a mut Names,
    prefix: &'a str,
    function: &'a str,
    values: HashMap<String, String>,
    /// What names stood for outside of the inner graphs that the walk is in: they mean it again behind the graph.
    hidden: Vec<(String, Option<String>)>,
}

impl Scope<'_> {
    fn fresh(&mut self, name: &str) -> String {
        self.names.fresh(&format!("{}/{name}", self.prefix))
    }

    fn declare(&mut self, name: &str) {
        if !name.is_empty() {
            let fresh = self.fresh(name);
            let outside = self.values.insert(name.into(), fresh);
            self.hidden.push((name.into(), outside));
        }
    }

    fn replace(&self, name: &mut String) -> Result<(), String> {
        if !name.is_empty() {
            let missing = || format!("the function '{}' reads '{name}', which nothing in it gives", self.function);
            *name = self.values.get(name).ok_or_else(missing)?.clone();
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &mut [NodeProto]) -> Result<(), String> {
        for output in nodes.iter().flat_map(|node| &node.output) {
            if !self.values.contains_key(output) {
                self.declare(output);
            }
        }
        for node in nodes {
            node.name = Some(self.fresh(if node.name().is_empty() { node.op_type() } else { node.name() }));
            node.input.iter_mut().chain(&mut node.output).try_for_each(|name| self.replace(name))?;
            inner(node).try_for_each(|graph| self.inner(graph))?;
        }
        Ok(())
    }

    /// A graph inside the function: its own names are renamed too, and stand for something in it alone.
    fn inner(&mut self, graph: &mut GraphProto) -> Result<(), String> {
        graph.value_info.clear();
        graph.quantization_annotation.clear();
        let before = self.hidden.len();
        let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        let stored = graph.initializer.iter().map(|t| t.name());
        let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref()).map(|t| t.name());
        let taken = graph.input.iter().map(|i| i.name());
        made.chain(stored).chain(sparse).chain(taken).for_each(|name| self.declare(name));
        let tensors = graph.sparse_initializer.iter_mut().filter_map(|s| s.values.as_mut());
        let tensors = graph.initializer.iter_mut().chain(tensors).filter_map(|t| t.name.as_mut());
        let infos = graph.input.iter_mut().chain(&mut graph.output).filter_map(|v| v.name.as_mut());
        tensors.chain(infos).try_for_each(|name| self.replace(name))?;
        self.nodes(&mut graph.node)?;
        for (name, outside) in self.hidden.drain(before..).rev() {
            match outside {
                Some(outside) => self.values.insert(name, outside),
                None => self.values.remove(&name),
            };
        }
        Ok(())
    }
}

/// Gives the attributes that refer to the function's their values. One that neither the call nor the function has is
/// left out, and so has the operator's own default.
fn bind(node: &mut NodeProto, call: &NodeProto, function: &FunctionProto) {
    let value = |mut attribute: AttributeProto| {
        let Some(wanted) = attribute.ref_attr_name.take().filter(|name| !name.is_empty()) else {
            return Some(attribute);
        };
        let default = || function.attribute_proto.iter().find(|a| a.name() == wanted);
        let found = call.attr(&wanted).or_else(default)?.clone();
        Some(AttributeProto { name: attribute.name, doc_string: attribute.doc_string, ..found })
    };
    // First what is inside: a graph that the call gives as an attribute belongs to the caller.
    inner(node).flat_map(|graph| &mut graph.node).for_each(|node| bind(node, call, function));
    node.attribute = std::mem::take(&mut node.attribute).into_iter().filter_map(value).collect();
}
