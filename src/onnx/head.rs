//! The nodes of a new head.

use super::Model;
use super::cut::Cut;
use super::graph::Names;
use super::pooling::{int, named};
use super::schema::{GraphProto, NodeProto, data_type};
use super::tensor::initializer;
use half::f16;

/// The type that a head of these numbers is stored in: the file's own, or float32 where they leave the range of float16, as
/// they do behind very small features.
pub fn stored_type<'a>(cut: &Cut, mut numbers: impl Iterator<Item = &'a f32>) -> i32 {
    let fit = |number: &f32| f16::from_f32(*number).is_finite();
    if cut.data_type == data_type::FLOAT16 && !numbers.all(fit) { data_type::FLOAT } else { cut.data_type }
}

/// A layer's weight, `[outputs, inputs]` in rows, and bias.
pub type Layer<'a> = (&'a [f32], &'a [f32]);

/// A `Gemm` on `features` for the last of `layers`; before it one with a `Relu` for each other. Those, and all numbers, go into
/// `graph`, and what widens the features where the numbers are wider; what narrows the scores again comes behind it.
pub(super) fn dense(
    graph: &mut GraphProto,
    names: &mut Names,
    cut: &Cut,
    features: String,
    layers: &[Layer],
) -> Vec<NodeProto> {
    let kind = stored_type(cut, layers.iter().flat_map(|(weight, bias)| weight.iter().chain(*bias)));
    let wide = kind != cut.data_type;
    let cast = |to: i32| vec![int("to", to.into())];
    let mut features = match wide {
        true => named(graph, names, "Cast", "adapt.features.float", vec![features], cast(kind)),
        false => features,
    };
    let stored = |graph: &mut GraphProto, names: &mut Names, name: &str, (weight, bias): Layer| {
        let own = ["weight", "bias"].map(|part| names.fresh(&format!("{name}.{part}")));
        let shape = [bias.len(), weight.len() / bias.len().max(1)];
        graph.initializer.push(initializer(&own[0], &shape, weight.iter().copied(), kind));
        graph.initializer.push(initializer(&own[1], &shape[..1], bias.iter().copied(), kind));
        own
    };
    let [hidden @ .., last] = layers else { unreachable!("a head has a layer") };
    for layer in hidden {
        let [w, b] = stored(graph, names, "adapt.hidden", *layer);
        features = named(graph, names, "Gemm", "adapt.hidden", vec![features, w, b], vec![int("transB", 1)]);
        features = named(graph, names, "Relu", "adapt.hidden.activated", vec![features], Vec::new());
    }
    let [w, b] = stored(graph, names, "adapt.head", *last);
    let gemm = NodeProto {
        name: Some(names.fresh("adapt.head")),
        op_type: Some("Gemm".into()),
        input: vec![features, w, b],
        output: vec![names.fresh("adapt.head.logits")],
        attribute: vec![int("transB", 1)],
        ..Default::default()
    };
    let narrowed = wide.then(|| NodeProto {
        name: Some(names.fresh("adapt.head.narrowed")),
        op_type: Some("Cast".into()),
        input: vec![String::new()],
        attribute: cast(cut.data_type),
        ..Default::default()
    });
    std::iter::once(gemm).chain(narrowed).collect()
}

/// Makes a softmax of a sigmoid behind the head of an adapted model: each of its classes excludes the others.
pub fn exclude(model: &mut Model) {
    for node in behind(model).filter(|node| node.is("Sigmoid")) {
        (node.op_type, node.attribute) = (Some("Softmax".into()), vec![int("axis", 1)]);
    }
}

/// Makes sigmoids of the softmaxes behind the head of an adapted model: of several labels none excludes another.
pub fn to_sigmoids(model: &mut Model) {
    for node in behind(model).filter(|node| node.is("Softmax") || node.is("LogSoftmax")) {
        (node.op_type, node.attribute) = (Some("Sigmoid".into()), Vec::new());
    }
}

/// The nodes behind the head, the last first.
fn behind(model: &mut Model) -> impl Iterator<Item = &mut NodeProto> {
    let nodes = model.proto.graph.iter_mut().flat_map(|graph| &mut graph.node);
    nodes.rev().take_while(|node| !node.is("Gemm"))
}
