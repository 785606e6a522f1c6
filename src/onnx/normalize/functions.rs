//! Model-local functions as the nodes that they stand for.

use super::super::graph::Names;
use super::super::schema::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use super::{inner, node, opset};
use prost::Message;
use std::collections::HashMap;

/// How deep functions may call functions. Exporters nest modules, a dozen deep at most.
const DEEPEST: usize = 64;
/// What a file may grow to: this, or a few times what it was.
const MOST_BYTES: usize = 64 << 20;
const MOST_GROWTH: usize = 8;

/// Domain, name, overload.
type Key = (String, String, String);
type Table<'a> = HashMap<Key, &'a FunctionProto>;

fn key(domain: &str, name: &str, overload: &str) -> Key {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    (domain.into(), name.into(), overload.into())
}

fn called(node: &NodeProto) -> Key {
    key(node.domain(), node.op_type(), node.overload())
}

fn table(functions: &[FunctionProto]) -> Table<'_> {
    functions.iter().map(|f| (key(f.domain(), f.name(), f.overload()), f)).collect()
}

/// Refuses functions that call themselves, and those whose nodes would fill the memory: a file of a few lines can stand
/// for 2⁶⁴ nodes.
pub fn check(proto: &ModelProto) -> Result<(), String> {
    if proto.functions.is_empty() {
        return Ok(());
    }
    let (table, mut sizes) = (table(&proto.functions), HashMap::new());
    for function in &proto.functions {
        size(&function.node, &table, &mut sizes, 0)?;
    }
    let whole = proto.graph.as_ref().map_or(Ok(0), |graph| size(&graph.node, &table, &mut sizes, 0))?;
    let own = proto.encoded_len();
    match whole <= MOST_BYTES.max(own.saturating_mul(MOST_GROWTH)) {
        true => Ok(()),
        false => Err(format!("its functions, written out, would take {whole} bytes, the file has {own}")),
    }
}

/// Bytes of the nodes with all functions written out.
fn size(nodes: &[NodeProto], table: &Table, sizes: &mut HashMap<Key, usize>, depth: usize) -> Result<usize, String> {
    let mut total: usize = nodes.iter().map(Message::encoded_len).sum();
    let mut open: Vec<&NodeProto> = nodes.iter().collect();
    while let Some(node) = open.pop() {
        open.extend(node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).flat_map(|g| &g.node));
        let key = called(node);
        let Some(function) = table.get(&key) else { continue };
        if !sizes.contains_key(&key) {
            if depth == DEEPEST {
                let name = function.name();
                return Err(format!(
                    "the function '{name}' calls itself, or functions go deeper than {DEEPEST} levels"
                ));
            }
            let bytes = size(&function.node, table, sizes, depth + 1)?;
            sizes.insert(key.clone(), bytes);
        }
        total = total.saturating_add(sizes[&key]);
    }
    Ok(total)
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
        let own = function.opset_import.iter().find(|o| matches!(o.domain(), "" | "ai.onnx")).map(|o| o.version());
        if let Some(own) = own.filter(|own| *own != self.version) {
            let (name, version) = (function.name(), self.version);
            return Err(format!("the function '{name}' is of opset {own}, the model of {version}; give both the same"));
        }
        let prefix = if call.name().is_empty() { call.output.first().map_or("", String::as_str) } else { call.name() };
        let mut scope = Scope { names: &mut self.names, prefix, values: HashMap::new(), function: function.name() };
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
}

impl Scope<'_> {
    fn fresh(&mut self, name: &str) -> String {
        self.names.fresh(&format!("{}/{name}", self.prefix))
    }

    fn declare(&mut self, name: &str) {
        if !name.is_empty() {
            let fresh = self.fresh(name);
            self.values.insert(name.into(), fresh);
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

    /// A graph inside the function: its own names are renamed too.
    fn inner(&mut self, graph: &mut GraphProto) -> Result<(), String> {
        graph.value_info.clear();
        graph.quantization_annotation.clear();
        let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        let stored = graph.initializer.iter().map(|t| t.name());
        let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref()).map(|t| t.name());
        let taken = graph.input.iter().map(|i| i.name());
        made.chain(stored).chain(sparse).chain(taken).for_each(|name| self.declare(name));
        let tensors = graph.sparse_initializer.iter_mut().filter_map(|s| s.values.as_mut());
        let tensors = graph.initializer.iter_mut().chain(tensors).filter_map(|t| t.name.as_mut());
        let infos = graph.input.iter_mut().chain(&mut graph.output).filter_map(|v| v.name.as_mut());
        tensors.chain(infos).try_for_each(|name| self.replace(name))?;
        self.nodes(&mut graph.node)
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
