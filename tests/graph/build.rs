//! Small models built from the schema's types, with random weights.

use adapt::Model;
use adapt::onnx::data_type;
use adapt::onnx::schema::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TensorType, TypeProto, ValueInfoProto, attribute_type, dimension,
};
use adapt::onnx::surgery::symbol;
use adapt::onnx::tensor::{initializer, integers};

/// Random numbers that are the same everywhere; or sizes that follow choices made elsewhere.
pub struct Rng {
    state: u64,
    choices: Option<std::vec::IntoIter<u32>>,
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, choices: None }
    }

    /// Sizes and coins are these choices in turn, each a share of its range (and, when they are used up, the least): so a
    /// case becomes simpler when its choices become smaller.
    pub fn choosing(choices: Vec<u32>) -> Rng {
        Rng { choices: Some(choices.into_iter()), ..Rng::new(7) }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// One of `from..=to`.
    pub fn size(&mut self, from: usize, to: usize) -> usize {
        let range = (to - from + 1) as u64;
        let chosen = self.choices.as_mut().map(|choices| choices.next().unwrap_or(0));
        from + chosen.map_or_else(|| (self.next() >> 20) % range, |choice| (u64::from(choice) * range) >> 32) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.size(0, 1) == 1
    }

    /// Between -1 and 1.
    pub fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.
    }

    pub fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.size(0, of.len() - 1)]
    }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: Some(name.into()), i: Some(i), r#type: Some(attribute_type::INT), ..Default::default() }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { name: Some(name.into()), f: Some(f), r#type: Some(attribute_type::FLOAT), ..Default::default() }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let r#type = Some(attribute_type::INTS);
    AttributeProto { name: Some(name.into()), ints: ints.to_vec(), r#type, ..Default::default() }
}

pub fn text(name: &str, text: &str) -> AttributeProto {
    let (name, s) = (Some(name.into()), Some(text.as_bytes().to_vec().into()));
    AttributeProto { name, s, r#type: Some(attribute_type::STRING), ..Default::default() }
}

/// A graph in the making. Its input is `x`, its first axis free.
pub struct Graph {
    pub rng: Rng,
    pub shape: Vec<usize>,
    pub opset: i64,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Graph {
    pub fn new(seed: u64) -> Graph {
        Graph::with(Rng::new(seed))
    }

    pub fn with(rng: Rng) -> Graph {
        Graph { rng, shape: vec![1, 1], opset: 17, nodes: vec![], initializers: vec![] }
    }

    /// Sets the shape of `x`; the first axis is the batch, whatever is said here.
    pub fn input(&mut self, shape: &[usize]) -> &'static str {
        self.shape = shape.to_vec();
        "x"
    }

    fn name(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.nodes.len() + self.initializers.len())
    }

    /// A random initializer between -1 and 1.
    pub fn weight(&mut self, shape: &[usize]) -> String {
        let values = self.rng.numbers(shape.iter().product());
        self.values(shape, values)
    }

    /// An initializer between 0.5 and 1.5.
    pub fn positive(&mut self, shape: &[usize]) -> String {
        let values = self.rng.numbers(shape.iter().product());
        self.values(shape, values.into_iter().map(|v| 1. + v / 2.).collect())
    }

    pub fn values(&mut self, shape: &[usize], values: Vec<f32>) -> String {
        let name = self.name("w");
        self.initializers.push(initializer(&name, shape, values, data_type::FLOAT));
        name
    }

    /// Integers of any shape.
    pub fn places(&mut self, shape: &[i64], values: &[i64]) -> String {
        let name = self.integers(values);
        self.initializers.last_mut().expect("it was just made").dims = shape.to_vec();
        name
    }

    pub fn integers(&mut self, values: &[i64]) -> String {
        let name = self.name("i");
        self.initializers.push(integers(&name, values));
        name
    }

    pub fn integer(&mut self, value: i64) -> String {
        let name = self.integers(&[value]);
        self.initializers.last_mut().expect("it was just made").dims.clear();
        name
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: &[AttributeProto]) -> String {
        self.outputs(op, inputs, attributes, 1).remove(0)
    }

    pub fn outputs(&mut self, op: &str, inputs: &[&str], attributes: &[AttributeProto], count: usize) -> Vec<String> {
        let name = self.name("v");
        let output: Vec<String> = (0..count).map(|i| format!("{name}.{i}")).collect();
        self.nodes.push(NodeProto {
            name: Some(name),
            op_type: Some(op.into()),
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: output.clone(),
            attribute: attributes.to_vec(),
            ..Default::default()
        });
        output
    }

    /// The output of the node made last.
    pub fn last(&self) -> String {
        self.nodes.last().expect("there is a node").output[0].clone()
    }

    pub fn model(&self, output: &str) -> Model {
        let known = |&d: &usize| Dimension { value: Some(dimension::Value::DimValue(d as i64)), denotation: None };
        let dims = std::iter::once(symbol("N")).chain(self.shape[1..].iter().map(known)).collect();
        let tensor = |shape| {
            let tensor_type = Some(TensorType { elem_type: Some(data_type::FLOAT), shape });
            Some(TypeProto { tensor_type, ..Default::default() })
        };
        let info =
            |name: &str, shape| ValueInfoProto { name: Some(name.into()), r#type: tensor(shape), ..Default::default() };
        let graph = GraphProto {
            node: self.nodes.clone(),
            initializer: self.initializers.clone(),
            input: vec![info("x", Some(TensorShapeProto { dim: dims }))],
            output: vec![info(output, None)],
            name: Some("g".into()),
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { version: Some(self.opset), ..Default::default() }];
        let proto = ModelProto { ir_version: Some(8), opset_import, graph: Some(graph), ..Default::default() };
        Model { path: "<test>".into(), sha256: String::new(), proto }
    }
}
