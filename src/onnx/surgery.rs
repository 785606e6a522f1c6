//! Graph surgery: the part before a cut, and the same with a new head behind it.

use super::cut::Cut;
use super::graph::{Index, reads};
use super::schema::{
    AttributeProto, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_type, dimension, type_proto,
};
use super::tensor::{initializer, integers};
use super::{Model, schema};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// How a cut tensor becomes one row of features an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// It is `[N, features]` already.
    None,
    /// All axes but the first have length 1, or one of them has: they are flattened.
    Flatten,
    /// The mean over these axes.
    Mean(Vec<i64>),
}

impl Pooling {
    /// How to pool a tensor of this shape. `features` is what the old head took, if there was one: it tells which axis
    /// holds the features. Without it the second axis is taken for maps, the last for sequences of tokens.
    pub fn of(shape: &[usize], features: Option<usize>, channels_last: bool) -> Option<Pooling> {
        let rank = shape.len();
        let mut axis = if rank == 3 || channels_last { rank.checked_sub(1)? } else { 1 };
        if let Some(features) = features
            && shape.get(axis) != Some(&features)
            && let Some(found) = (1..rank).find(|&a| shape[a] == features)
        {
            axis = found;
        }
        match rank {
            0 | 1 => None,
            2 => Some(Pooling::None),
            _ if (1..rank).all(|a| a == axis || shape[a] == 1) => Some(Pooling::Flatten),
            _ => Some(Pooling::Mean((1..rank).filter(|&a| a != axis).map(|a| a as i64).collect())),
        }
    }

    fn nodes(&self, input: &str, output: &str, opset: i64, initializers: &mut Vec<TensorProto>) -> Vec<NodeProto> {
        let node = |op: &str, inputs: Vec<String>| NodeProto {
            name: Some(output.into()),
            op_type: Some(op.into()),
            input: inputs,
            output: vec![output.into()],
            ..Default::default()
        };
        match self {
            Pooling::None => Vec::new(),
            Pooling::Flatten => {
                let mut node = node("Flatten", vec![input.into()]);
                node.attribute.push(int("axis", 1));
                vec![node]
            }
            Pooling::Mean(axes) => {
                let mut node = node("ReduceMean", vec![input.into()]);
                node.attribute.push(int("keepdims", 0));
                if opset < 18 {
                    node.attribute.push(AttributeProto {
                        name: Some("axes".into()),
                        ints: axes.clone(),
                        r#type: Some(attribute_type::INTS),
                        ..Default::default()
                    });
                } else {
                    let name = format!("{output}.axes");
                    initializers.push(integers(&name, axes));
                    node.input.push(name);
                }
                vec![node]
            }
        }
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(value), r#type: Some(attribute_type::INT), ..Default::default() }
}

/// The names that surgery gave to what it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// `[classes, features]`
    pub weight: String,
    /// `[classes]`
    pub bias: String,
}

/// The frozen part alone: everything that the cut tensor needs, and the pooling. Its one output is `[N, features]`, or
/// the cut tensor as it is with [`Pooling::None`].
pub fn backbone(model: &Model, cut: &Cut, pooling: &Pooling) -> Model {
    let index = Index::new(model.graph());
    let mut graph = frozen(&index, &cut.tensor);
    let name = match pooling {
        Pooling::None => cut.tensor.clone(),
        _ => unique("adapt.features", &index.names()),
    };
    let nodes = pooling.nodes(&cut.tensor, &name, model.opset(), &mut graph.initializer);
    graph.node.extend(nodes);
    // Without a type: exporters need not know it, and inference engines find it themselves.
    graph.output = vec![ValueInfoProto { name: Some(name), ..Default::default() }];
    let proto = schema::ModelProto { graph: Some(graph), ..header(model) };
    Model { path: model.path.clone(), sha256: model.sha256.clone(), proto }
}

/// The adapted model: the frozen part, pooling, a `Gemm` with these weights as the new head, the kept tail. The output
/// keeps its name and rank (a model without a classifier gets `logits`); nothing before the cut changes.
///
/// `weight` is `[classes, features]` in rows, `bias` `[classes]`.
pub fn attach(model: &Model, cut: &Cut, pooling: &Pooling, weight: &[f32], bias: &[f32]) -> (Model, Names) {
    let index = Index::new(model.graph());
    let taken = index.names();
    let (classes, features) = (bias.len(), weight.len() / bias.len().max(1));
    let mut graph = frozen(&index, &cut.tensor);
    let names = Names { weight: unique("adapt.head.weight", &taken), bias: unique("adapt.head.bias", &taken) };
    let pooled = match pooling {
        Pooling::None => cut.tensor.clone(),
        _ => unique("adapt.features", &taken),
    };
    let pooling = pooling.nodes(&cut.tensor, &pooled, model.opset(), &mut graph.initializer);
    graph.node.extend(pooling);
    graph.initializer.push(initializer(&names.weight, &[classes, features], weight.iter().copied(), cut.data_type));
    graph.initializer.push(initializer(&names.bias, &[classes], bias.iter().copied(), cut.data_type));

    // The output's own name goes to the last node. Where it is frozen already, the features were the output.
    let taken_output = graph.node.iter().any(|n| n.output.contains(&cut.output));
    let output = if taken_output { unique("logits", &taken) } else { cut.output.clone() };
    let mut chain = vec![NodeProto {
        name: Some(unique("adapt.head", &taken)),
        op_type: Some("Gemm".into()),
        input: vec![pooled, names.weight.clone(), names.bias.clone()],
        attribute: vec![int("transB", 1)],
        ..Default::default()
    }];
    chain.extend(cut.tail.iter().map(|&i| on_rows(&index.graph.node[i])));
    let shape = output_shape(&index, cut, classes);
    if shape.len() != 2 {
        let name = unique("adapt.output.shape", &taken);
        graph.initializer.push(integers(&name, &shape));
        let node = NodeProto {
            op_type: Some("Reshape".into()),
            name: Some(unique("adapt.output", &taken)),
            ..Default::default()
        };
        chain.push(NodeProto { input: vec![String::new(), name], ..node });
    }
    wire(&mut chain, &output, &unique("adapt.head.logits", &taken));
    graph.node.extend(chain);
    graph.output = vec![output_info(&index, cut, output, &shape)];
    let proto = schema::ModelProto {
        graph: Some(graph),
        doc_string: model.proto.doc_string.clone(),
        metadata_props: model.proto.metadata_props.clone(),
        ..header(model)
    };
    (Model { path: model.path.clone(), sha256: model.sha256.clone(), proto }, names)
}

/// Joins the nodes one behind the other; the last makes `output`.
fn wire(chain: &mut [NodeProto], output: &str, between: &str) {
    let last = chain.len() - 1;
    let mut value = String::new();
    for (i, node) in chain.iter_mut().enumerate() {
        if i > 0 {
            node.input[0] = value;
        }
        value = match i {
            i if i == last => output.into(),
            // A kept node's own value keeps its name.
            i if i > 0 && node.output.first().is_some_and(|o| o != output) => node.output[0].clone(),
            i => {
                if i == 0 {
                    between.to_string()
                } else {
                    format!("{between}.{i}")
                }
            }
        };
        node.output = vec![value.clone()];
    }
}

/// A kept activation on `[N, classes]` rows: its axis is the second, whatever it was on maps.
fn on_rows(node: &NodeProto) -> NodeProto {
    let mut node = node.clone();
    for axis in node.attribute.iter_mut().filter(|a| a.name() == "axis" && !matches!(a.i(), 1 | -1)) {
        axis.i = Some(1);
    }
    node
}

/// `[-1, classes]`, with as many ones as the old output had axes more; at the old place of the classes.
fn output_shape(index: &Index, cut: &Cut, classes: usize) -> Vec<i64> {
    let old = index.graph.output.iter().find(|o| o.name() == cut.output);
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

fn output_info(index: &Index, cut: &Cut, name: String, shape: &[i64]) -> ValueInfoProto {
    let old = index.graph.output.iter().find(|o| o.name() == cut.output).cloned().unwrap_or_default();
    let old_dims = match old.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(t)) => t.shape.as_ref().map(|s| s.dim.clone()).unwrap_or_default(),
        _ => Vec::new(),
    };
    let batch = match old_dims.into_iter().next() {
        Some(dim @ Dimension { value: Some(_), .. })
            if !matches!(dim.value, Some(dimension::Value::DimValue(..=0))) =>
        {
            dim
        }
        _ => symbol("N"),
    };
    let known = |&d: &i64| Dimension { value: Some(dimension::Value::DimValue(d)), denotation: None };
    let dim = std::iter::once(batch).chain(shape[1..].iter().map(known)).collect();
    let elem_type = old.tensor_type().map(|(t, _)| t).filter(|&t| t != 0).unwrap_or(cut.data_type);
    let tensor = schema::TensorType { elem_type: Some(elem_type), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: None });
    ValueInfoProto { name: Some(name), r#type, doc_string: None, metadata_props: old.metadata_props }
}

/// A dimension with a name instead of a size.
pub fn symbol(name: &str) -> Dimension {
    Dimension { value: Some(dimension::Value::DimParam(name.into())), denotation: None }
}

/// The nodes, initializers, inputs and value infos that `tensor` needs, as they came.
fn frozen(index: &Index, tensor: &str) -> GraphProto {
    let (nodes, mut values) = index.ancestors(&[tensor]);
    let old = index.graph;
    let node: Vec<NodeProto> = nodes.iter().map(|&i| old.node[i].clone()).collect();
    // A kept node's further outputs are kept values too.
    values.extend(node.iter().flat_map(|n| n.output.iter().cloned()));
    values.extend(node.iter().flat_map(|n| reads(n).map(str::to_string)));
    let named = |name: &str| values.contains(name);
    let stored: HashSet<&str> = old.initializer.iter().map(|t| t.name()).collect();
    // Inputs that are fed stay even when unused: a caller's feeds must go on working.
    let input = |i: &&ValueInfoProto| !stored.contains(i.name()) || named(i.name());
    GraphProto {
        node,
        name: old.name.clone(),
        doc_string: old.doc_string.clone(),
        initializer: old.initializer.iter().filter(|t| named(t.name())).cloned().collect(),
        sparse_initializer: {
            let kept = |s: &&schema::SparseTensorProto| s.values.as_ref().is_some_and(|t| named(t.name()));
            old.sparse_initializer.iter().filter(kept).cloned().collect()
        },
        input: old.input.iter().filter(input).cloned().collect(),
        output: Vec::new(),
        value_info: old.value_info.iter().filter(|v| named(v.name())).cloned().collect(),
        quantization_annotation: {
            old.quantization_annotation.iter().filter(|a| named(a.tensor_name())).cloned().collect()
        },
        metadata_props: old.metadata_props.clone(),
    }
}

/// Everything of the file but its graph, its description and its metadata.
fn header(model: &Model) -> schema::ModelProto {
    schema::ModelProto {
        graph: None,
        doc_string: None,
        metadata_props: Vec::new(),
        training_info: Vec::new(),
        ..schema::ModelProto {
            ir_version: model.proto.ir_version,
            opset_import: model.proto.opset_import.clone(),
            producer_name: model.proto.producer_name.clone(),
            producer_version: model.proto.producer_version.clone(),
            domain: model.proto.domain.clone(),
            model_version: model.proto.model_version,
            functions: model.proto.functions.clone(),
            configuration: model.proto.configuration.clone(),
            ..Default::default()
        }
    }
}

/// `wanted`, or `wanted.2`, `wanted.3`, … where it is taken.
fn unique(wanted: &str, taken: &HashSet<&str>) -> String {
    let numbered = (2..).map(|n| format!("{wanted}.{n}"));
    let mut names = std::iter::once(wanted.to_string()).chain(numbered);
    names.find(|name| !taken.contains(name.as_str())).expect("there are more numbers than names")
}
