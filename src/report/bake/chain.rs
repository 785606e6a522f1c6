//! Nodes one behind the other.

use crate::data::Resize;
use crate::onnx::Model;
use crate::onnx::graph::Names;
pub(super) use crate::onnx::pooling::int;
use crate::onnx::schema::{
    AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, attribute_type, data_type,
};
use crate::onnx::surgery::{images, list_stored, size, symbol, tensor_type};
use crate::onnx::tensor::{initializer, integers};
use crate::plan::baked::NAMES;

/// Nodes one behind the other, as they are made.
pub(super) struct Chain {
    pub graph: GraphProto,
    pub names: Names,
}

impl Chain {
    /// A node with one output, whose name it gives.
    pub fn attributes(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = self.names.fresh(&format!("{NAMES}{}", op.to_lowercase()));
        self.graph.node.push(NodeProto {
            name: Some(name.clone()),
            op_type: Some(op.into()),
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![name.clone()],
            attribute,
            ..Default::default()
        });
        name
    }

    pub fn node(&mut self, op: &str, inputs: &[&str]) -> String {
        self.attributes(op, inputs, Vec::new())
    }

    pub fn cast(&mut self, value: &str, to: i32) -> String {
        self.attributes("Cast", &[value], vec![int("to", to.into())])
    }

    pub fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = self.names.fresh(&format!("{NAMES}value"));
        self.graph.initializer.push(initializer(&name, shape, values.iter().copied(), data_type::FLOAT));
        name
    }

    pub fn number(&mut self, value: f32) -> String {
        self.floats(&[1], &[value])
    }

    pub fn integers(&mut self, values: &[i64]) -> String {
        let name = self.names.fresh(&format!("{NAMES}index"));
        self.graph.initializer.push(integers(&name, values));
        name
    }

    /// `op` with a number on the right.
    pub fn with(&mut self, op: &str, value: &str, number: f32) -> String {
        let number = self.number(number);
        self.node(op, &[value, &number])
    }

    /// The nearest whole number of 0 to 255, halves upwards: Pillow's bytes between and behind its passes.
    pub fn rounded(&mut self, value: &str) -> String {
        let value = self.with("Add", value, 0.5);
        let value = self.node("Floor", &[&value]);
        let value = self.with("Max", &value, 0.);
        self.with("Min", &value, 255.)
    }

    /// Pillow's luma of `[N, height, width, 3]`; the sums are whole numbers that float32 holds.
    pub fn luma(&mut self, value: &str) -> String {
        let weights = self.floats(&[3, 1], &[19595., 38470., 7471.]);
        let value = self.node("MatMul", &[value, &weights]);
        let value = self.with("Add", &value, 32768.);
        let value = self.with("Mul", &value, 1. / 65536.);
        self.node("Floor", &[&value])
    }

    /// Height and width after resizing, `[1]` each: as `data::resample` has them.
    pub fn resized(&mut self, resize: Resize, sides: &[String; 2]) -> [String; 2] {
        match resize {
            Resize::None => sides.clone(),
            Resize::Exact { height, width } => [height, width].map(|side| self.integers(&[side.into()])),
            Resize::Shortest(edge) => self.proportional("Min", edge, sides),
            Resize::Longest(edge) => self.proportional("Max", edge, sides).map(|side| {
                // Something is left of any image.
                let side = self.cast(&side, data_type::FLOAT);
                let side = self.with("Max", &side, 1.);
                self.cast(&side, data_type::INT64)
            }),
        }
    }

    /// The smaller or larger of the sides becomes `edge`.
    pub fn proportional(&mut self, which: &str, edge: u32, sides: &[String; 2]) -> [String; 2] {
        // Not all opsets have `Min` and `Max` of integers; sides are below 2^16.
        let floats = sides.each_ref().map(|side| self.cast(side, data_type::FLOAT));
        let one = self.node(which, &[&floats[0], &floats[1]]);
        let one = self.cast(&one, data_type::INT64);
        let edge = self.integers(&[edge.into()]);
        sides.each_ref().map(|side| {
            let product = self.node("Mul", &[side, &edge]);
            self.node("Div", &[&product, &one])
        })
    }

    /// The model behind these nodes: its input is made by them, and the new one is `image`.
    pub fn put_in_front(mut self, model: &Model, input: &str, image: &str, last: &str) -> Model {
        let mut baked = model.clone();
        let info = ValueInfoProto {
            name: Some(image.into()),
            r#type: Some(tensor_type(
                data_type::UINT8,
                vec![images(model), symbol("height"), symbol("width"), size(3)],
            )),
            ..Default::default()
        };
        for node in self.graph.node.iter_mut().filter(|node| node.output[0] == last) {
            node.output[0] = input.into();
        }
        if let Some(graph) = baked.proto.graph.as_mut() {
            if let Some(place) = graph.input.iter().position(|old| old.name() == input) {
                graph.input[place] = info;
            }
            graph.initializer.append(&mut self.graph.initializer);
            graph.node.splice(0..0, self.graph.node);
        }
        list_stored(&mut baked.proto);
        baked
    }
}

pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(attribute_type::INTS),
        ints: values.to_vec(),
        ..Default::default()
    }
}

pub(super) fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(attribute_type::TENSOR),
        t: Some(value),
        ..Default::default()
    }
}
