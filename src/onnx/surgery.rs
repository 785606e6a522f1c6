//! Graph surgery: the part before a cut, and the same with a new head behind it.

use super::Model;
use super::cut::{Cut, Dequantize};
use super::graph::{Index, Names};
use super::head::{self, Layer};
pub use super::pooling::Pooling;
use super::pooling::named;
use super::schema::{
    Dimension, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto, dimension,
};
use super::tensor::integers;
use std::collections::HashSet;

/// The frozen part alone: everything that the cut tensor needs, and the pooling. Its one output is `[N, features]`, or
/// the cut tensor as it is with [`Pooling::None`].
pub fn backbone(model: &Model, cut: &Cut, pooling: &Pooling) -> Model {
    let (mut graph, mut names) = (frozen(&Index::new(model.graph()), cut), Names::of(model.graph()));
    let features = floats(&mut graph, cut, &mut names);
    let name = pooling.append(&mut graph, &features, model.opset(), &mut names);
    // Without a type: exporters need not know it, and inference engines find it themselves.
    graph.output = vec![ValueInfoProto { name: Some(name), ..Default::default() }];
    Model { path: model.path.clone(), sha256: model.sha256.clone(), proto: with_graph(&model.proto, graph) }
}

/// [`backbone`] with the old head's output as a second one.
pub fn with_old_head(model: &Model, cut: &Cut, pooling: &Pooling) -> Model {
    let mut whole = backbone(model, &Cut::at(&cut.output), &Pooling::None);
    let mut names = Names::of(model.graph());
    if let Some(graph) = whole.proto.graph.as_mut() {
        let features = floats(graph, cut, &mut names);
        let name = pooling.append(graph, &features, model.opset(), &mut names);
        graph.output.insert(0, ValueInfoProto { name: Some(name), ..Default::default() });
    }
    whole
}

/// The opsets that are read: older operators mean something else, newer ones are not known.
pub const OPSETS: [i64; 2] = [7, 24];
/// What to do about a model of another one.
pub const CONVERT: &str = "convert it with Python's onnx, onnx.version_converter.convert_version(model, 17)";

/// Whether a model's opset has the new head's operators.
///
/// # Errors
/// A text that says what it lacks.
pub fn takes_a_head(model: &Model) -> Result<(), String> {
    let opset = model.opset();
    let oldest = OPSETS[0];
    let what = format!("its opset is {opset}; the new head needs {oldest} or newer: {CONVERT}");
    if opset < oldest { Err(what) } else { Ok(()) }
}

/// The name of the adapted model's output where the old one's tensor is kept, as features or on the way to them.
pub fn renamed(graph: &GraphProto, cut: &Cut) -> Option<String> {
    let kept = Index::new(graph).ancestors(&[cut.end()]).0;
    let is_kept = kept.iter().any(|&place| graph.node[place].output.contains(&cut.output));
    is_kept.then(|| Names::of(graph).fresh("logits"))
}

/// The adapted model: the frozen part, pooling, a `Gemm` with these weights as the new head, the kept tail. The output
/// keeps its name and rank (a model without a classifier gets `logits`); nothing before the cut changes.
///
/// `weight` is `[classes, features]` in rows, `bias` `[classes]`.
pub fn attach(model: &Model, cut: &Cut, pooling: &Pooling, weight: &[f32], bias: &[f32]) -> Model {
    attach_layers(model, cut, pooling, &[(weight, bias)])
}

/// The same with hidden layers before the last, a `Gemm` and a `Relu` each. There is one layer at least.
pub fn attach_layers(model: &Model, cut: &Cut, pooling: &Pooling, layers: &[Layer]) -> Model {
    let index = Index::new(model.graph());
    let mut names = Names::of(model.graph());
    let classes = layers.last().map_or(0, |(_, bias)| bias.len());
    let mut graph = frozen(&index, cut);
    let features_tensor = floats(&mut graph, cut, &mut names);
    let pooled = pooling.append(&mut graph, &features_tensor, model.opset(), &mut names);
    let mut chain = head::dense(&mut graph, &mut names, cut, pooled, layers);
    chain.extend(cut.tail.iter().map(|&i| on_rows(&index.graph.node[i])));
    let shape = output_shape(&index, cut, classes);
    if shape.len() != 2 {
        let name = names.fresh("adapt.output.shape");
        graph.initializer.push(integers(&name, &shape));
        chain.push(NodeProto {
            op_type: Some("Reshape".into()),
            name: Some(names.fresh("adapt.output")),
            input: vec![String::new(), name],
            output: vec![String::new()],
            ..Default::default()
        });
    }
    // The output's own name goes to the last node.
    let output = renamed(index.graph, cut).unwrap_or_else(|| cut.output.clone());
    wire(&mut chain, &output, &mut names);
    graph.output = vec![output_info(&index, cut, images(model), output, &shape, made_type(cut, &chain))];
    graph.node.extend(chain);
    let mut proto = with_graph(&model.proto, graph);
    proto.doc_string = model.proto.doc_string.clone();
    proto.metadata_props = model.proto.metadata_props.clone();
    list_stored(&mut proto);
    Model { path: model.path.clone(), sha256: model.sha256.clone(), proto }
}

/// The cut tensor, or what its bytes stand for.
fn floats(graph: &mut GraphProto, cut: &Cut, names: &mut Names) -> String {
    let Some(Dequantize { scale, zero_point }) = &cut.dequantize else { return cut.end().into() };
    let inputs = [&cut.tensor, scale].into_iter().chain(zero_point).cloned().collect();
    named(graph, names, "DequantizeLinear", "adapt.features.float", inputs, Vec::new())
}

/// Joins the nodes one behind the other; the last makes `output`. A kept node's own value keeps its name.
fn wire(chain: &mut [NodeProto], output: &str, names: &mut Names) {
    let last = chain.len() - 1;
    let mut value = String::new();
    for (i, node) in chain.iter_mut().enumerate() {
        if i > 0 {
            node.input[0] = value;
        }
        value = match node.output.first() {
            _ if i == last => output.into(),
            Some(own) if own != output => own.clone(),
            _ => names.fresh("adapt.head.activated"),
        };
        node.output = vec![value.clone()];
    }
}

/// A kept activation on `[N, classes]` rows of floats: its axis is the second, whatever it was on maps.
fn on_rows(node: &NodeProto) -> NodeProto {
    let mut node = node.clone();
    if node.is_on_bytes() {
        (node.op_type, node.domain) = (Some(node.computes().into()), None);
        node.input.truncate(1);
        node.attribute.retain(|a| a.name() == "axis");
    }
    for axis in node.attribute.iter_mut().filter(|a| a.name() == "axis" && !matches!(a.i(), 1 | -1)) {
        axis.i = Some(1);
    }
    node
}

/// The type that the last of these nodes gives.
fn made_type(cut: &Cut, chain: &[NodeProto]) -> i32 {
    let cast = chain.iter().rev().find(|n| n.is("Cast"));
    cast.and_then(|n| i32::try_from(n.int("to", 0)).ok()).unwrap_or(cut.data_type)
}

/// Lists stored tensors as inputs where the file's version wants that, which is before version 4 of IR: for whoever has
/// stored one.
pub(crate) fn list_stored(proto: &mut ModelProto) {
    let old = proto.ir_version() < 4;
    let Some(graph) = proto.graph.as_mut().filter(|_| old) else { return };
    let known: HashSet<&str> = graph.input.iter().map(|input| input.name()).collect();
    let missing = graph.initializer.iter().filter(|tensor| !known.contains(tensor.name()));
    let missing: Vec<ValueInfoProto> = missing.map(listed).collect();
    graph.input.extend(missing);
}

/// A stored tensor as an input.
pub(crate) fn listed(tensor: &TensorProto) -> ValueInfoProto {
    let dims = tensor.dims.iter().map(|&d| size(d)).collect();
    ValueInfoProto {
        name: tensor.name.clone(),
        r#type: Some(tensor_type(tensor.data_type(), dims)),
        ..Default::default()
    }
}

/// `[-1, classes]`, with as many ones as the old output had axes more; at the old place of the classes.
fn output_shape(index: &Index, cut: &Cut, classes: usize) -> Vec<i64> {
    let mut infos = index.graph.output.iter().chain(&index.graph.value_info);
    let old = infos.find(|o| o.name() == cut.output).filter(|_| !cut.decided);
    let old = old.and_then(|o| o.tensor_type()).and_then(|(_, shape)| shape).unwrap_or_default();
    let last_holds_classes = old.last().copied().flatten() == cut.classes.map(|c| c as u64);
    match old.len() {
        rank @ 3.. if cut.classes.is_some() => {
            let mut shape = vec![1; rank];
            shape[0] = -1;
            shape[if last_holds_classes { rank - 1 } else { 1 }] = classes as i64;
            shape
        }
        _ => vec![-1, classes as i64],
    }
}

fn output_info(
    index: &Index,
    cut: &Cut,
    batch: Dimension,
    name: String,
    shape: &[i64],
    elem_type: i32,
) -> ValueInfoProto {
    let old = index.graph.output.iter().find(|o| o.name() == cut.output).cloned().unwrap_or_default();
    let dims = std::iter::once(batch).chain(shape[1..].iter().map(|&d| size(d))).collect();
    let r#type = Some(tensor_type(elem_type, dims));
    ValueInfoProto { name: Some(name), r#type, doc_string: None, metadata_props: old.metadata_props }
}

/// The type of a tensor with these elements (ONNX's number) and dimensions.
pub fn tensor_type(elem_type: i32, dim: Vec<Dimension>) -> TypeProto {
    let tensor = TensorType { elem_type: Some(elem_type), shape: Some(TensorShapeProto { dim }) };
    TypeProto { tensor_type: Some(tensor), ..Default::default() }
}

/// A dimension with a size.
pub fn size(n: i64) -> Dimension {
    Dimension { value: Some(dimension::Value::DimValue(n)), denotation: None }
}

/// How the image input's first axis is declared: the number of images, or a name for any. Where the model has more inputs,
/// the first one's.
pub fn images(model: &Model) -> Dimension {
    let tensor = model.inputs().next().and_then(|input| input.r#type.as_ref()?.tensor_type.as_ref());
    let first = tensor.and_then(|tensor| tensor.shape.as_ref()?.dim.first());
    let told = |dim: &&Dimension| !matches!(dim.value, None | Some(dimension::Value::DimValue(..=0)));
    first.filter(told).cloned().unwrap_or_else(|| symbol("N"))
}

/// A dimension with a name instead of a size.
pub fn symbol(name: &str) -> Dimension {
    Dimension { value: Some(dimension::Value::DimParam(name.into())), denotation: None }
}

/// The nodes, initializers, inputs and value infos that the cut tensor needs, as they came.
fn frozen(index: &Index, cut: &Cut) -> GraphProto {
    let (mut nodes, mut values) = index.ancestors(&[cut.end()]);
    // A scale of the old classifier's alone may be a node's.
    let scales = cut.dequantize.iter().flat_map(|d| d.zero_point.iter().chain([&d.scale]));
    let (more, read) = index.ancestors(&scales.map(String::as_str).collect::<Vec<_>>());
    let missing: Vec<usize> = more.into_iter().filter(|node| nodes.binary_search(node).is_err()).collect();
    nodes.extend(missing);
    values.extend(read);
    let old = index.graph;
    // A kept node's further outputs are kept values too.
    values.extend(nodes.iter().flat_map(|&i| &old.node[i].output).map(String::as_str));
    let named = |name: &str| values.contains(name);
    let stored: HashSet<&str> = old.initializer.iter().map(|t| t.name()).collect();
    // Inputs that are fed stay even when unused: a caller's feeds must go on working.
    let input = |i: &&ValueInfoProto| !stored.contains(i.name()) || named(i.name());
    let sparse = |s: &&SparseTensorProto| s.values.as_ref().is_some_and(|t| named(t.name()));
    let annotations = old.quantization_annotation.iter().filter(|a| named(a.tensor_name()));
    GraphProto {
        node: nodes.iter().map(|&i| old.node[i].clone()).collect(),
        name: old.name.clone(),
        doc_string: old.doc_string.clone(),
        initializer: old.initializer.iter().filter(|t| named(t.name())).cloned().collect(),
        sparse_initializer: old.sparse_initializer.iter().filter(sparse).cloned().collect(),
        input: old.input.iter().filter(input).cloned().collect(),
        output: Vec::new(),
        value_info: old.value_info.iter().filter(|v| named(v.name())).cloned().collect(),
        quantization_annotation: annotations.cloned().collect(),
        metadata_props: old.metadata_props.clone(),
    }
}

/// The file with another graph, without what tells of the old one: description, metadata, training.
fn with_graph(old: &ModelProto, graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: old.ir_version,
        producer_name: old.producer_name.clone(),
        producer_version: old.producer_version.clone(),
        domain: old.domain.clone(),
        model_version: old.model_version,
        opset_import: old.opset_import.clone(),
        functions: old.functions.clone(),
        configuration: old.configuration.clone(),
        graph: Some(graph),
        ..Default::default()
    }
}
