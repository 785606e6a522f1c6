//! From ONNX through tract's typed graph to a program.

use super::host::{self, HostValue, Later};
use super::ops::{self, Node};
use super::{Program, Step, batch_norm, bounds, size_steps, stable, upsample};
use crate::error::{Error, Result};
use crate::guard::{one_line, quietly, within};
use crate::onnx::Model;
use crate::onnx::parameters::Parameter;
use crate::onnx::port::{Kind, Port};
use crate::tensor::{DType, Device};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{Outlet, ToDim};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::{Onnx, pb};

/// Real networks take a few seconds at most, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(20);

/// An error of tract's with its causes, in one line: the node that it names last, and why.
pub(crate) fn chain(error: TractError) -> String {
    let text = one_line(&format!("{error:#}"));
    let node = |(at, _): (usize, &str)| {
        let (number, rest) = text[at + 1..].split_once(" \"")?;
        number.parse::<usize>().ok()?;
        let (name, rest) = rest.split_once("\" ")?;
        let (operator, why) = rest.split_once(": ")?;
        Some(format!("node '{name}' ({operator}): {}", plain(why)))
    };
    text.rmatch_indices('#').find_map(node).unwrap_or(text)
}

/// What tract says of types and sizes that do not fit, without the rule by which it found out.
fn plain(why: &str) -> String {
    const APART: [(&str, &str); 2] = [("Impossible to unify ", " with "), ("tensor is ", ", accessed as ")];
    let apart = |(before, between): (&str, &str)| {
        let (a, b) = why.split_once(before)?.1.trim_end_matches('.').split_once(between)?;
        let bare = |value: &str| value.trim_start_matches("Val(").trim_end_matches(')').to_owned();
        Some(format!("what it reads does not fit together: {} and {}", bare(a), bare(b)))
    };
    APART.into_iter().find_map(apart).unwrap_or_else(|| why.into())
}

/// tract's reader of ONNX, with what it lacks or reads otherwise than ONNX defines it.
pub(crate) fn reader() -> Onnx {
    ops::onnx::register(batch_norm::register(upsample::register(tract_onnx::onnx())), &ops::CORE)
}

/// The reader for graphs that are trained: its operators are those that have gradients.
pub(super) fn trainer() -> Onnx {
    ops::onnx::register(stable::register(reader()), &ops::FAMILIES)
}

/// A [normalised](crate::onnx::normalize::for_import) model as tract's protobuf.
pub(crate) fn decode(model: &Model, port: &Port) -> Result<pb::ModelProto> {
    let refused = |what: String| Error::model(&model.path, one_line(&what));
    bounds::check(model, &port.dims).map_err(refused)?;
    let bytes = model.to_bytes()?;
    let proto = quietly(|| tract_onnx::onnx().proto_model_for_read(&mut &*bytes));
    proto.and_then(|proto| proto.map_err(chain)).map_err(refused)
}

/// The graph in tract's core operators, types and shapes known, for `batch` images (any number where `None`); and that
/// number.
pub(crate) fn typed(
    onnx: &Onnx,
    proto: &pb::ModelProto,
    port: &Port,
    batch: Option<usize>,
) -> TractResult<(TypedModel, TDim)> {
    let (model, images) = parsed(onnx, proto, port, batch)?;
    // Formulas of sizes can take tract for ever, whatever bounds are set to them (`size_steps`).
    let typed = within(LIMIT, move || model.into_typed());
    Ok((typed.map_err(|why| TractError::msg(format!("importing its nodes: {why}")))??, images))
}

/// The graph as it is read, with what is known of its input; and the number of images.
pub(super) fn parsed(
    onnx: &Onnx,
    proto: &pb::ModelProto,
    port: &Port,
    batch: Option<usize>,
) -> TractResult<(InferenceModel, TDim)> {
    proto.graph.as_ref().map_or(Ok(()), size_steps::check).map_err(TractError::msg)?;
    // Shapes noted in the file speak of its own symbols, which would not match ours.
    let parsed = onnx.clone().with_ignore_value_info(true).parse(proto, None)?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        return Err(TractError::msg(format!("no node gives '{name}'")));
    }
    let mut model = parsed.model;
    let images = batch.map_or_else(|| model.symbols.sym("N").to_dim(), |batch| batch.to_dim());
    let rest = port.dims.iter().skip(1).flatten().map(|dim| dim.to_dim());
    let dims: TVec<TDim> = std::iter::once(images.clone()).chain(rest).collect();
    let kind = match port.kind {
        Kind::F32 | Kind::F16 => f32::datum_type(),
        Kind::U8 => u8::datum_type(),
    };
    model.set_input_fact(0, InferenceFact::dt_shape(kind, dims))?;
    Ok((model, images))
}

pub(super) type Built<T> = std::result::Result<T, String>;

pub(super) struct Builder<'a> {
    model: &'a TypedModel,
    program: Program,
    /// The numbers of the values that nodes give.
    numbers: HashMap<OutletId, usize>,
    hosts: HashMap<usize, HostValue>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        model: &'a TypedModel,
        port: &Port,
        batch: Option<usize>,
        parameters: &[Parameter],
    ) -> Built<Builder<'a>> {
        let order = model.eval_order().map_err(chain)?;
        let reached: HashSet<&str> = order.iter().map(|&id| model.node(id).name.as_str()).collect();
        let used = parameters.iter().filter(|parameter| reached.contains(parameter.name.as_str()));
        let used: Vec<Parameter> = used.cloned().collect();
        let mut numbers = HashMap::new();
        for (index, outlet) in model.input_outlets().map_err(chain)?.iter().enumerate() {
            let name = &model.node(outlet.node).name;
            let number = match used.iter().position(|parameter| parameter.name == *name) {
                _ if index == 0 => 0,
                Some(place) => place + 1,
                None if reached.contains(name.as_str()) => return Err(format!("its input '{name}' is not an image")),
                None => continue,
            };
            numbers.insert(*outlet, number);
        }
        let program = Program {
            port: port.clone(),
            outputs: Vec::new(),
            values: used.len() + 1,
            parameters: used,
            followed: Vec::new(),
            batch,
            symbol: model.symbols.sym("N"),
            steps: Vec::new(),
            hosts: Vec::new(),
            constants: HashMap::new(),
            late: Vec::new(),
            done: Vec::new(),
            dtype: DType::F32,
            device: Device::Cpu,
            buffers: Default::default(),
            profile: Default::default(),
        };
        Ok(Builder { model, program, numbers, hosts: HashMap::new() })
    }

    pub(super) fn build(self, images: &TDim, instead: &str) -> Built<Program> {
        let refused =
            |node: &TypedNode, why| Err(format!("node '{}' ({}): {why}; {instead}", node.name, node.op.name()));
        self.build_past(images, refused)
    }

    /// The program; `refused` is told of each node that cannot be a step. Where it bears with one, the node is left out,
    /// and the program is only good for telling that.
    pub(super) fn build_past(
        mut self,
        images: &TDim,
        mut refused: impl FnMut(&TypedNode, String) -> Built<()>,
    ) -> Built<Program> {
        for id in self.model.eval_order().map_err(chain)? {
            let node = self.model.node(id);
            if self.numbers.contains_key(&OutletId::new(id, 0)) {
                continue;
            }
            if let Err(why) = self.add(node) {
                refused(node, why)?;
                for slot in 0..node.outputs.len() {
                    self.numbers.insert(OutletId::new(id, slot), self.program.values);
                    self.program.values += 1;
                }
            }
        }
        for (index, outlet) in self.model.output_outlets().map_err(chain)?.iter().enumerate() {
            let name = self.model.outlet_label(*outlet).unwrap_or(&self.model.node(outlet.node).name).to_owned();
            let fact = self.model.output_fact(index).map_err(chain)?;
            if self.program.batch.is_some() && fact.shape.dims().first() != Some(images) {
                return Err(format!("output '{name}' does not hold a row for each image"));
            }
            let number = self.number(*outlet)?;
            self.program.outputs.push((name, number));
        }
        self.finish()
    }

    /// The number of a value that has been computed.
    fn number(&self, outlet: OutletId) -> Built<usize> {
        self.numbers.get(&outlet).copied().ok_or_else(|| {
            let node = self.model.node(outlet.node);
            format!("its output {} of node '{}' ({}) is not known", outlet.slot, node.name, node.op.name())
        })
    }

    fn add(&mut self, node: &TypedNode) -> Built<()> {
        let images = self.program.batch.unwrap_or(1) as i64;
        let bearable = |o: &Outlet<TypedFact>| host::is_bearable(&o.fact.shape.to_tvec(), &self.program.symbol, images);
        if !node.outputs.iter().all(bearable) {
            return Err("it makes a tensor that is too large".into());
        }
        let inputs = node.inputs.iter().map(|&outlet| self.number(outlet)).collect::<Built<Vec<usize>>>()?;
        let output = self.program.values;
        if let Some(konst) = node.op_as::<Const>() {
            self.host(output, HostValue::Known(konst.val().clone()));
        } else if inputs.iter().all(|input| self.hosts.contains_key(input)) {
            self.fold(node, inputs, output);
        } else {
            let known = |input: &usize| match self.hosts.get(input) {
                Some(HostValue::Known(known)) => Some(known.clone()),
                _ => None,
            };
            let constants: Vec<_> = inputs.iter().map(known).collect();
            let results = self.model.output_outlets().map_err(chain)?;
            for (slot, outlet) in node.outputs.iter().enumerate() {
                let id = OutletId::new(node.id, slot);
                if slot > 0 && outlet.successors.is_empty() && !results.contains(&id) {
                    continue;
                }
                let node = Node { model: self.model, node, slot, constants: constants.clone() };
                let (op, read) = ops::lower(&node)?;
                let inputs = read.into_iter().map(|input| inputs[input]).collect();
                let (node, operator) = (node.node.name.clone(), node.node.op.name().to_string());
                let output = self.program.values;
                let shape = outlet.fact.shape.to_tvec().to_vec();
                self.program.steps.push(Step { node, operator, op, inputs, output, shape });
                self.numbers.insert(id, output);
                self.program.values += 1;
            }
            return Ok(());
        }
        self.numbers.insert(OutletId::new(node.id, 0), output);
        self.program.values += 1;
        Ok(())
    }

    fn host(&mut self, number: usize, value: HostValue) {
        self.program.hosts.push((number, value.clone()));
        self.hosts.insert(number, value);
    }

    /// Computes a node that depends on nothing, once, or if it needs the number of images in each run.
    fn fold(&mut self, node: &TypedNode, inputs: Vec<usize>, output: usize) {
        let known = |input: &usize| match &self.hosts[input] {
            HostValue::Known(known) => Some(known.clone()),
            HostValue::Later(_) => None,
        };
        let known = inputs.iter().map(known).collect::<Option<Vec<_>>>();
        let folded = known.and_then(|known| host::evaluate(node.op.as_ref(), &SymbolValues::default(), &known).ok());
        let later = || Later { node: node.name.clone(), op: node.op.clone(), inputs };
        let value = folded.map_or_else(|| HostValue::Later(Arc::new(later())), HostValue::Known);
        self.host(output, value);
    }

    /// Drops what no step needs, and notes after which step each value is done with.
    fn finish(mut self) -> Built<Program> {
        let program = &mut self.program;
        program.set_ends();
        program.set_constants().map_err(|e| e.to_string())?;
        // What can only be computed in a run is tried now, so that it cannot fail after hours.
        program.late_values(program.batch.unwrap_or(2)).map_err(|e| e.to_string())?;
        Ok(self.program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_node_and_the_reason() {
        let rule = "Infering facts: Applying rule inputs[0].shape[1] == 1*{inputs[1].shape[1]}: ";
        for (told, expected) in [
            (
                format!(
                    "Failed analyse for node #114 \"/c/Conv\" ConvHir: {rule}Impossible to unify Val(1) with Val(128)."
                ),
                "node '/c/Conv' (ConvHir): what it reads does not fit together: 1 and 128",
            ),
            (
                "Evaluating #20 \"m\" Mul: Tensor datum type error: tensor is F32, accessed as F64".into(),
                "node 'm' (Mul): what it reads does not fit together: F32 and F64",
            ),
            ("Translating node #3 \"a\" B: no such thing".into(), "node 'a' (B): no such thing"),
            ("no node gives 'x' # 3".into(), "no node gives 'x' # 3"),
        ] {
            assert_eq!(chain(TractError::msg(told)), expected);
        }
    }
}
