//! Layers as nodes, and their weights: declared first, so that sizes are known before memory is spent on them.

use crate::error::{Error, Result};
use crate::onnx::Model;
use crate::onnx::pooling::int;
use crate::onnx::schema::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto, attribute_type, data_type,
};
use crate::onnx::surgery::{size, symbol, tensor_type};
use crate::onnx::tensor::initializer;
use crate::random::{stream, uniform};
use prost::Message;
use rand_distr::{Distribution, StandardNormal};

/// The most weights, and the most values in one layer's result for one image: 1 GiB.
const MOST: usize = 1 << 28;

/// The result of a layer for one image, by the name of the node that makes it.
#[derive(Clone)]
pub(super) struct Map {
    pub(super) name: String,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// A convolution of odd kernel, padded by half of it.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub(super) channels: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) groups: usize,
    /// Not where a batch norm follows, which has its own.
    pub(super) bias: bool,
}

impl Conv {
    pub(super) fn new(channels: usize, kernel: usize) -> Conv {
        Conv { channels, kernel, stride: 1, groups: 1, bias: false }
    }
}

/// How weights begin.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// Normal of variance 2/fan-in.
    He,
    /// Uniform within ±√(6/(fan-in + fan-out)), for a dense layer.
    Glorot,
    Constant(f32),
}

#[derive(Default)]
pub(super) struct Builder {
    nodes: Vec<NodeProto>,
    weights: Vec<(String, Vec<usize>, Start)>,
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&v| v as i64).collect();
    AttributeProto { name: Some(name.into()), ints, r#type: Some(attribute_type::INTS), ..Default::default() }
}

fn too_large() -> Error {
    Error::Usage("the network would be too large; ask for a smaller input, or for fewer classes".into())
}

impl Builder {
    fn node(&mut self, op_type: &str, name: &str, input: &[&str], attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            op_type: Some(op_type.into()),
            name: Some(name.into()),
            input: input.iter().map(|&i| i.into()).collect(),
            output: vec![name.into()],
            attribute,
            ..Default::default()
        });
    }

    fn weight(&mut self, name: String, dims: &[usize], start: Start) -> String {
        self.weights.push((name.clone(), dims.to_vec(), start));
        name
    }

    pub(super) fn conv(&mut self, name: &str, from: &Map, conv: Conv) -> Result<Map> {
        let Conv { channels, kernel, stride, groups, bias } = conv;
        let dims = [channels, from.channels / groups, kernel, kernel];
        let mut input = vec![from.name.clone(), self.weight(format!("{name}.weight"), &dims, Start::He)];
        if bias {
            input.push(self.weight(format!("{name}.bias"), &[channels], Start::Constant(0.0)));
        }
        let pad = kernel / 2;
        let mut attributes = vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2])];
        attributes.extend([ints("pads", &[pad; 4]), int("group", groups as i64)]);
        self.node("Conv", name, &input.iter().map(String::as_str).collect::<Vec<_>>(), attributes);
        slid(name, from, channels, [kernel, stride, pad])
    }

    /// Over windows of `kernel`, in steps of 2.
    pub(super) fn max_pool(&mut self, name: &str, from: &Map, kernel: usize, pad: usize) -> Result<Map> {
        let attributes = vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[2; 2]), ints("pads", &[pad; 4])];
        self.node("MaxPool", name, &[&from.name], attributes);
        slid(name, from, from.channels, [kernel, 2, pad])
    }

    /// Scale 1, shift 0, and the statistics of nothing seen yet: mean 0, variance 1.
    pub(super) fn batch_norm(&mut self, name: &str, from: &Map) -> Result<Map> {
        let parts = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)];
        let [scale, shift, mean, variance] =
            parts.map(|(part, value)| self.weight(format!("{name}.{part}"), &[from.channels], Start::Constant(value)));
        self.node("BatchNormalization", name, &[&from.name, &scale, &shift, &mean, &variance], Vec::new());
        Ok(Map { name: name.into(), ..from.clone() })
    }

    fn same(&mut self, op_type: &str, name: &str, input: &[&str], like: &Map) -> Map {
        self.node(op_type, name, input, Vec::new());
        Map { name: name.into(), ..like.clone() }
    }

    pub(super) fn relu(&mut self, name: &str, from: &Map) -> Map {
        self.same("Relu", name, &[&from.name], from)
    }

    pub(super) fn relu6(&mut self, name: &str, from: &Map) -> Map {
        let [low, high] = ["relu6.min", "relu6.max"];
        if !self.weights.iter().any(|(known, ..)| known == low) {
            self.weight(low.into(), &[], Start::Constant(0.0));
            self.weight(high.into(), &[], Start::Constant(6.0));
        }
        self.same("Clip", name, &[&from.name, low, high], from)
    }

    pub(super) fn add(&mut self, name: &str, one: &Map, other: &Map) -> Map {
        self.same("Add", name, &[&one.name, &other.name], one)
    }

    pub(super) fn global_pool(&mut self, name: &str, from: &Map) -> Result<Map> {
        self.node("GlobalAveragePool", name, &[&from.name], Vec::new());
        Ok(Map { name: name.into(), height: 1, width: 1, ..from.clone() })
    }

    /// A row of all values, as channels.
    pub(super) fn flatten(&mut self, name: &str, from: &Map) -> Map {
        self.node("Flatten", name, &[&from.name], vec![int("axis", 1)]);
        Map { name: name.into(), channels: from.channels * from.height * from.width, height: 1, width: 1 }
    }

    pub(super) fn dense(&mut self, name: &str, from: &Map, out: usize, start: Start) -> Result<Map> {
        let weight = self.weight(format!("{name}.weight"), &[out, from.channels], start);
        let bias = self.weight(format!("{name}.bias"), &[out], Start::Constant(0.0));
        self.node("Gemm", name, &[&from.name, &weight, &bias], vec![int("transB", 1)]);
        map(name, out, 1, 1)
    }

    /// The last layer, whose result is the output `logits`.
    pub(super) fn logits(&mut self, name: &str, from: &Map, classes: usize) -> Result<()> {
        self.dense(name, from, classes, Start::Glorot)?;
        self.nodes.iter_mut().next_back().into_iter().for_each(|node| node.output = vec!["logits".into()]);
        Ok(())
    }

    /// The whole as a model: its weights are drawn here, each tensor from a stream of its own.
    pub(super) fn model(self, name: &str, input: &Map, classes: usize, seed: u64) -> Result<Model> {
        let count = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let total = self.weights.iter().try_fold(0usize, |total, (_, dims, _)| total.checked_add(count(dims)?));
        total.filter(|&total| total <= MOST).ok_or_else(too_large)?;
        let drawn = self.weights.iter().enumerate().map(|(i, (name, dims, start))| {
            let values = draw(*start, dims, seed, i as u64);
            initializer(name, dims, values, data_type::FLOAT)
        });
        let value = |name: &str, sizes: &[usize]| ValueInfoProto {
            name: Some(name.into()),
            r#type: Some(tensor_type(
                data_type::FLOAT,
                std::iter::once(symbol("N")).chain(sizes.iter().map(|&n| size(n as i64))).collect(),
            )),
            ..Default::default()
        };
        let graph = GraphProto {
            name: Some(name.into()),
            input: vec![value(&input.name, &[input.channels, input.height, input.width])],
            output: vec![value("logits", &[classes])],
            initializer: drawn.collect(),
            node: self.nodes,
            ..Default::default()
        };
        let proto = ModelProto {
            ir_version: Some(8),
            producer_name: Some("adapt".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
            graph: Some(graph),
            ..Default::default()
        };
        Model::from_bytes(&format!("<{name}>"), proto.encode_to_vec())
    }
}

/// The values of the `index`-th tensor.
fn draw(start: Start, dims: &[usize], seed: u64, index: u64) -> Vec<f32> {
    let (count, fan_in) = (dims.iter().product(), dims.iter().skip(1).product::<usize>() as f64);
    let mut random = stream(seed, "new", 0, index);
    match start {
        Start::Constant(value) => vec![value; count],
        Start::He => {
            let deviation = (2.0 / fan_in).sqrt();
            let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
            (0..count).map(|_| (normal() * deviation) as f32).collect()
        }
        Start::Glorot => {
            let bound = (6.0 / (fan_in + dims[0] as f64)).sqrt();
            (0..count).map(|_| ((2.0 * uniform(&mut random) - 1.0) * bound) as f32).collect()
        }
    }
}

/// What a window of [kernel, stride, pad] makes of a map.
fn slid(name: &str, from: &Map, channels: usize, [kernel, stride, pad]: [usize; 3]) -> Result<Map> {
    let places = |side: usize| (side + 2 * pad).checked_sub(kernel).map(|rest| rest / stride + 1);
    match places(from.height).zip(places(from.width)) {
        Some((height, width)) => map(name, channels, height, width),
        None => Err(Error::Usage(format!("the input has too few pixels for the layer {name}"))),
    }
}

fn map(name: &str, channels: usize, height: usize, width: usize) -> Result<Map> {
    let values = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
    values.filter(|&n| n <= MOST).ok_or_else(too_large)?;
    Ok(Map { name: name.into(), channels, height, width })
}
