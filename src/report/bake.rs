//! Preprocessing as nodes of the graph: the model then takes images as they are decoded, bytes `[N, height, width, 3]` of
//! any size.
//!
//! ONNX has an antialiased `Resize` from opset 18 on; raising the opset of a stranger's file would mean rewriting the nodes
//! that are to stay as they came. Resizing is linear along each axis, though: a product with a matrix of weights, which
//! the graph computes from the image's size as Pillow does (`Resample.c`): along the rows, rounded to bytes, then along the
//! columns. The matrices have rows for what the crop keeps, and no others.

use crate::data::{Color, Filter, Layout, Preprocessing, Resize};
use crate::engine::Backend;
use crate::error::{Error, Result};
use crate::onnx::graph::Names;
use crate::onnx::pooling::int;
use crate::onnx::schema::{
    AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, attribute_type, data_type,
};
use crate::onnx::surgery::{images, size, symbol, tensor_type};
use crate::onnx::tensor::{initializer, integers};
use crate::onnx::{Model, surgery};
use crate::plan::Plan;
use std::f32::consts::PI;

/// The first opset with all the operators that it takes.
const OLDEST: i64 = 9;
/// The new input's name, where it is free.
const INPUT: &str = "image";

/// Whether the preprocessing can become nodes.
///
/// # Errors
/// [`Error::Usage`] for colours with opacity and where another engine than ONNX Runtime would prove the result,
/// [`Error::Model`] for an opset that lacks operators.
pub fn can_bake(model: &Model, p: &Preprocessing, prover: &Backend) -> Result<()> {
    if prover.name() != "onnxruntime" {
        let what = "--bake-preprocessing: only ONNX Runtime can prove the result; run `adapt runtime install`";
        return Err(Error::Usage(what.into()));
    }
    if p.color.has_alpha() {
        return Err(Error::Usage("--bake-preprocessing: images with opacity are not supported; leave it out".into()));
    }
    if model.opset() < OLDEST {
        let what = format!("its opset is {}; --bake-preprocessing needs {OLDEST} or newer", model.opset());
        return Err(Error::model(&model.path, what));
    }
    Ok(())
}

/// `model`, whose image input and preprocessing `plan` tells, as a model that takes bytes.
pub fn bake(model: &Model, plan: &Plan) -> Model {
    let p = &plan.preprocessing;
    let names = Names::of(model.graph());
    let mut chain = Chain { graph: GraphProto::default(), names };
    let image = chain.names.fresh(INPUT);
    let mut value = chain.cast(&image, data_type::FLOAT);
    if p.color == Color::Gray {
        value = chain.luma(&value);
    }
    let value = chain.attributes("Transpose", &[&value], vec![ints("perm", &[0, 3, 1, 2])]);
    let shape = chain.node("Shape", &[&image]);
    let sides = [1, 2].map(|axis| {
        let axis = chain.integers(&[axis]);
        chain.node("Gather", &[&shape, &axis])
    });
    let resized = chain.resized(p.resize, &sides);
    let (height, width) = p.size();
    let weights = |chain: &mut Chain, axis: usize, out| chain.weights(p.filter, &sides[axis], &resized[axis], out);
    let columns = weights(&mut chain, 1, width);
    let columns = chain.attributes("Transpose", &[&columns], vec![ints("perm", &[1, 0])]);
    let value = chain.node("MatMul", &[&value, &columns]);
    let value = chain.rounded(&value);
    let rows = weights(&mut chain, 0, height);
    let value = chain.node("MatMul", &[&rows, &value]);
    let mut value = chain.rounded(&value);
    let plain = |list: &[f32], wanted: f32| list.iter().all(|&v| v == wanted);
    if !(p.scale == 1. && plain(&p.mean, 0.) && plain(&p.std, 1.)) {
        let channels = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f32> {
            p.mean.iter().zip(&p.std).map(|(&mean, &std)| f(mean.into(), std.into()) as f32).collect()
        };
        let shape = [p.channels(), 1, 1];
        let factor = chain.floats(&shape, &channels(&|_, std| f64::from(p.scale) / std));
        let shift = chain.floats(&shape, &channels(&|mean, std| -mean / std));
        value = chain.node("Mul", &[&value, &factor]);
        value = chain.node("Add", &[&value, &shift]);
    }
    if p.color == Color::Bgr {
        let order = chain.integers(&[2, 1, 0]);
        value = chain.attributes("Gather", &[&value, &order], vec![int("axis", 1)]);
    }
    if plan.input.layout == Layout::Nhwc {
        value = chain.attributes("Transpose", &[&value], vec![ints("perm", &[0, 2, 3, 1])]);
    }
    let wanted = element_type(model, &plan.input.name);
    // The original reads its input by its name.
    if wanted == data_type::UINT8 {
        value = chain.rounded(&value);
    }
    let last = chain.cast(&value, wanted);
    chain.put_in_front(model, &plan.input.name, &image, &last)
}

fn element_type(model: &Model, input: &str) -> i32 {
    let input = model.graph().input.iter().find(|info| info.name() == input);
    input.and_then(|info| info.tensor_type()).map_or(data_type::FLOAT, |(kind, _)| kind)
}

/// Nodes one behind the other, as they are made.
struct Chain {
    graph: GraphProto,
    names: Names,
}

impl Chain {
    /// A node with one output, whose name it gives.
    fn attributes(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = self.names.fresh(&format!("adapt.preprocess.{}", op.to_lowercase()));
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

    fn node(&mut self, op: &str, inputs: &[&str]) -> String {
        self.attributes(op, inputs, Vec::new())
    }

    fn cast(&mut self, value: &str, to: i32) -> String {
        self.attributes("Cast", &[value], vec![int("to", to.into())])
    }

    fn floats(&mut self, shape: &[usize], values: &[f32]) -> String {
        let name = self.names.fresh("adapt.preprocess.value");
        self.graph.initializer.push(initializer(&name, shape, values.iter().copied(), data_type::FLOAT));
        name
    }

    fn number(&mut self, value: f32) -> String {
        self.floats(&[1], &[value])
    }

    fn integers(&mut self, values: &[i64]) -> String {
        let name = self.names.fresh("adapt.preprocess.index");
        self.graph.initializer.push(integers(&name, values));
        name
    }

    /// `op` with a number on the right.
    fn with(&mut self, op: &str, value: &str, number: f32) -> String {
        let number = self.number(number);
        self.node(op, &[value, &number])
    }

    /// The nearest whole number of 0 to 255, halves upwards: Pillow's bytes between and behind its passes.
    fn rounded(&mut self, value: &str) -> String {
        let value = self.with("Add", value, 0.5);
        let value = self.node("Floor", &[&value]);
        let value = self.with("Max", &value, 0.);
        self.with("Min", &value, 255.)
    }

    /// Pillow's luma of `[N, height, width, 3]`; the sums are whole numbers that float32 holds.
    fn luma(&mut self, value: &str) -> String {
        let weights = self.floats(&[3, 1], &[19595., 38470., 7471.]);
        let value = self.node("MatMul", &[value, &weights]);
        let value = self.with("Add", &value, 32768.);
        let value = self.with("Mul", &value, 1. / 65536.);
        self.node("Floor", &[&value])
    }

    /// Height and width after resizing, `[1]` each: as `data::resample` has them.
    fn resized(&mut self, resize: Resize, sides: &[String; 2]) -> [String; 2] {
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
    fn proportional(&mut self, which: &str, edge: u32, sides: &[String; 2]) -> [String; 2] {
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

    /// `[out, side]`: what each pixel of a side weighs in each kept pixel of the resized one. Rows beyond it are zeros.
    fn weights(&mut self, filter: Filter, side: &str, resized: &str, out: u32) -> String {
        let places: Vec<f32> = (0..out).map(|place| place as f32).collect();
        let places = self.floats(&[out as usize, 1], &places);
        let kept = self.integers(&[out.into()]);
        let two = self.integers(&[2]);
        let start = self.node("Sub", &[resized, &kept]);
        let start = self.node("Div", &[&start, &two]);
        let start = self.cast(&start, data_type::FLOAT);
        let place = self.node("Add", &[&places, &start]);
        let [side_float, resized_float] = [side, resized].map(|size| self.cast(size, data_type::FLOAT));
        let scale = self.node("Div", &[&side_float, &resized_float]);
        let centre = self.with("Add", &place, 0.5);
        let centre = self.node("Mul", &[&centre, &scale]);
        // 0, 1, … side - 1: `Range` came later.
        let one = initializer("", &[1], [1.], data_type::FLOAT);
        let ones = self.attributes("ConstantOfShape", &[side], vec![tensor("value", one)]);
        let pixels = self.node("NonZero", &[&ones]);
        let pixels = self.cast(&pixels, data_type::FLOAT);
        if filter == Filter::Nearest {
            let nearest = self.node("Floor", &[&centre]);
            let away = self.node("Sub", &[&pixels, &nearest]);
            let away = self.node("Abs", &[&away]);
            return self.falling(&away);
        }
        let pixels = self.with("Add", &pixels, 0.5);
        let away = self.node("Sub", &[&pixels, &centre]);
        let spread = self.with("Max", &scale, 1.);
        let away = self.node("Div", &[&away, &spread]);
        let weights = self.filter(filter, &away);
        let tail = self.integers(&[1]);
        let column = self.attributes("Concat", &[side, &tail], vec![int("axis", 0)]);
        let one = initializer("", &[1], [1.], data_type::FLOAT);
        let column = self.attributes("ConstantOfShape", &[&column], vec![tensor("value", one)]);
        let sums = self.node("MatMul", &[&weights, &column]);
        // Rows that lie outside may have no weights at all.
        let sums = self.with("Max", &sums, 1e-3);
        let weights = self.node("Div", &[&weights, &sums]);
        let inside = self.inside(&place, &resized_float);
        let weights = self.node("Mul", &[&weights, &inside]);
        self.fixed_point(&weights)
    }

    /// Weights as the resizing of images has them (`fast_image_resize`, after Pillow-SIMD): whole multiples of the power of
    /// two with which the largest just fits into 16 bits. Else every hundredth pixel would be another by one.
    fn fixed_point(&mut self, weights: &str) -> String {
        let largest = self.node("ReduceMax", &[weights]);
        let limit = self.number(32767.5);
        let ratio = self.node("Div", &[&limit, &largest]);
        let ratio = self.node("Log", &[&ratio]);
        let bits = self.with("Mul", &ratio, std::f32::consts::LOG2_E);
        let bits = self.node("Ceil", &[&bits]);
        let bits = self.with("Sub", &bits, 1.);
        let bits = self.with("Min", &bits, 21.);
        let two = self.number(2.);
        let one = self.node("Pow", &[&two, &bits]);
        let weights = self.node("Mul", &[weights, &one]);
        let weights = self.with("Add", &weights, 0.5);
        let weights = self.node("Floor", &[&weights]);
        self.node("Div", &[&weights, &one])
    }

    /// 1 for places of 0 to `count` - 1, 0 for others.
    fn inside(&mut self, place: &str, count: &str) -> String {
        let below = self.with("Add", place, 1.);
        let above = self.node("Sub", &[count, place]);
        let [below, above] = [below, above].map(|value| {
            let value = self.with("Max", &value, 0.);
            self.with("Min", &value, 1.)
        });
        self.node("Mul", &[&below, &above])
    }

    /// 1 - |x| where that is positive, else 0; `x` is not negative.
    fn falling(&mut self, x: &str) -> String {
        let one = self.number(1.);
        let value = self.node("Sub", &[&one, x]);
        self.with("Max", &value, 0.)
    }

    /// The filter's value at distances in pixels of the smaller image.
    fn filter(&mut self, filter: Filter, away: &str) -> String {
        let x = self.node("Abs", &[away]);
        match filter {
            Filter::Bilinear | Filter::Nearest => self.falling(&x),
            Filter::Box => {
                // Half a pixel to the right belongs to it, to the left does not.
                let half = self.number(0.5);
                let left = self.number(-0.5);
                let right = self.node("Less", &[&half, away]);
                let right = self.node("Not", &[&right]);
                let left = self.node("Less", &[&left, away]);
                let both = self.node("And", &[&left, &right]);
                self.cast(&both, data_type::FLOAT)
            }
            Filter::Bicubic => {
                // With a = -0.5; each part is 0 where the other begins, or where the filter ends.
                let near = self.with("Min", &x, 1.);
                let near = self.polynomial(&near, &[1.5, -2.5, 0., 1.]);
                let far = self.with("Max", &x, 1.);
                let far = self.with("Min", &far, 2.);
                let far = self.polynomial(&far, &[-0.5, 2.5, -4., 2.]);
                self.node("Add", &[&near, &far])
            }
            Filter::Hamming => {
                let x = self.with("Min", &x, 1.);
                let angle = self.with("Mul", &x, PI);
                let window = self.node("Cos", &[&angle]);
                let window = self.with("Mul", &window, 0.46);
                let window = self.with("Add", &window, 0.54);
                let sinc = self.sinc(&x);
                self.node("Mul", &[&sinc, &window])
            }
            Filter::Lanczos => {
                let x = self.with("Min", &x, 3.);
                let third = self.with("Mul", &x, 1. / 3.);
                let [sinc, window] = [&x, &third].map(|x| self.sinc(x));
                self.node("Mul", &[&sinc, &window])
            }
        }
    }

    /// By Horner's rule, the highest power first.
    fn polynomial(&mut self, x: &str, factors: &[f32]) -> String {
        let mut value = self.number(factors[0]);
        for &factor in &factors[1..] {
            value = self.node("Mul", &[&value, x]);
            value = self.with("Add", &value, factor);
        }
        value
    }

    /// sin(πx) / πx.
    fn sinc(&mut self, x: &str) -> String {
        // Nearer to 0 it is 1 to all digits of float32.
        let x = self.with("Max", x, 1e-4);
        let angle = self.with("Mul", &x, PI);
        let sine = self.node("Sin", &[&angle]);
        self.node("Div", &[&sine, &angle])
    }

    /// The model behind these nodes: its input is made by them, and the new one is `image`.
    fn put_in_front(mut self, model: &Model, input: &str, image: &str, last: &str) -> Model {
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
        let listed: Vec<ValueInfoProto> = match model.proto.ir_version() {
            ..4 => self.graph.initializer.iter().map(surgery::listed).collect(),
            _ => Vec::new(),
        };
        if let Some(graph) = baked.proto.graph.as_mut() {
            if let Some(place) = graph.input.iter().position(|old| old.name() == input) {
                graph.input[place] = info;
            }
            graph.input.extend(listed);
            graph.initializer.append(&mut self.graph.initializer);
            graph.node.splice(0..0, self.graph.node);
        }
        baked
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(attribute_type::INTS),
        ints: values.to_vec(),
        ..Default::default()
    }
}

fn tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(attribute_type::TENSOR),
        t: Some(value),
        ..Default::default()
    }
}
