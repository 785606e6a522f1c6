//! ONNX operators that tract lacks, or gets wrong: made of its core operators, or of ours alone.

use super::{Family, Lowered, Node, Op as Ours};
use std::fmt;
use std::sync::Arc;
use tract_onnx::Onnx;
use tract_onnx::model::{ParsingContext, optional_inputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::internal::*;

/// What families whose operators come from [`Wires::own`] are lowered by.
pub(super) fn lower(node: &Node) -> Option<Lowered> {
    let own = node.op::<Own>()?;
    Some(Ok((own.op.clone(), (0..node.node.inputs.len()).collect())))
}

/// Reads a node of the file.
pub(super) type Parser = fn(&ParsingContext, &NodeProto) -> Parsed;
pub(in crate::graph) type Parsed = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// The reader of ONNX with the families' operators instead of its own.
pub(in crate::graph) fn register(mut onnx: Onnx, families: &[&Family]) -> Onnx {
    for (name, parser) in families.iter().flat_map(|family| family.parsers) {
        onnx.op_register.insert(name, *parser);
    }
    onnx
}

/// What is known of an operator's output before the shapes of its inputs are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::graph) enum Shape {
    /// It is that of the first input.
    Same,
    /// As many axes.
    Rank,
    Unknown,
}

type Wire = dyn Fn(&mut Wires, &[OutletId]) -> TractResult<OutletId> + Send + Sync;

/// An operator that becomes other operators once the shapes of its inputs are known.
#[derive(Clone)]
struct Made {
    name: String,
    shape: Shape,
    wire: Arc<Wire>,
}

/// An operator of one output, of the first input's type, that becomes what `wire` makes of its inputs (those that are
/// given, in order).
pub(in crate::graph) fn made(
    node: &NodeProto,
    shape: Shape,
    wire: impl Fn(&mut Wires, &[OutletId]) -> TractResult<OutletId> + Send + Sync + 'static,
) -> Parsed {
    ensure!(node.output.iter().skip(1).all(|name| name.is_empty()), "more than one output is not known");
    ensure!(node.input.first().is_some_and(|name| !name.is_empty()), "its first input is missing");
    Ok((expand(Made { name: node.op_type.clone(), shape, wire: Arc::new(wire) }), vec![]))
}

/// The places of a node's inputs among those that are given.
pub(super) fn given<const N: usize>(node: &NodeProto) -> [Option<usize>; N] {
    let mut inputs = optional_inputs(node);
    [(); N].map(|()| inputs.next().flatten())
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Expansion for Made {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!(!inputs.is_empty(), "it has no input");
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].datum_type, &inputs[0].datum_type)?;
        match self.shape {
            Shape::Same => s.equals(&outputs[0].shape, &inputs[0].shape),
            Shape::Rank => s.equals(&outputs[0].rank, &inputs[0].rank),
            Shape::Unknown => Ok(()),
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let made = (self.wire)(&mut Wires { prefix, model, count: 0 }, inputs)?;
        // The last node bears the operator's own name.
        if !inputs.contains(&made) {
            model.rename_node(made.node, prefix)?;
        }
        Ok(tvec!(made))
    }
}

/// Adds nodes whose names begin alike.
pub(in crate::graph) struct Wires<'a> {
    prefix: &'a str,
    model: &'a mut TypedModel,
    count: usize,
}

impl Wires<'_> {
    pub(in crate::graph) fn wire(
        &mut self,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        self.count += 1;
        Ok(self.model.wire_node(format!("{}.part-{}", self.prefix, self.count), op, inputs)?[0])
    }

    pub(super) fn shape(&self, value: OutletId) -> TractResult<TVec<TDim>> {
        Ok(self.model.outlet_fact(value)?.shape.to_tvec())
    }

    /// The sizes of all axes behind the first two.
    pub(super) fn map(&self, value: OutletId) -> TractResult<Vec<usize>> {
        self.shape(value)?.iter().skip(2).map(|dim| Ok(dim.to_usize()?)).collect()
    }

    pub(super) fn dtype(&self, value: OutletId) -> TractResult<DatumType> {
        Ok(self.model.outlet_fact(value)?.datum_type)
    }

    /// The value of an input, as it is.
    pub(super) fn value(&self, value: OutletId, what: &str) -> TractResult<Arc<Tensor>> {
        let known = self.model.outlet_fact(value)?.konst.clone();
        known.with_context(|| format!("its {what} cannot depend on the image"))
    }

    /// The value of an input that has to be known beforehand; `what` it is, for the error.
    pub(in crate::graph) fn known<T: Datum>(&self, value: OutletId, what: &str) -> TractResult<Vec<T>> {
        let value = self.value(value, what)?;
        Ok(value.cast_to::<T>()?.try_as_plain_ram()?.as_slice::<T>()?.to_vec())
    }

    /// A constant.
    pub(in crate::graph) fn constant(&mut self, value: Tensor) -> TractResult<OutletId> {
        self.wire(Const::new(value.into_arc_tensor())?, &[])
    }

    /// One number in the type of `like`, with as many axes.
    pub(in crate::graph) fn number(&mut self, value: f32, like: OutletId) -> TractResult<OutletId> {
        let fact = self.model.outlet_fact(like)?;
        let (dtype, rank) = (fact.datum_type, fact.rank());
        self.constant(tensor0(value).cast_to_dt(dtype)?.into_owned().broadcast_into_rank(rank)?)
    }

    /// With axes of length 1 before the others, so that there are as many as `rank`.
    pub(super) fn ranked(&mut self, mut value: OutletId, rank: usize) -> TractResult<OutletId> {
        for _ in self.shape(value)?.len()..rank {
            value = self.wire(AxisOp::Add(0), &[value])?;
        }
        Ok(value)
    }

    /// An operator that is ours alone, by its name in the table, with its output's shape.
    pub(super) fn own(
        &mut self,
        name: &'static str,
        op: impl Ours + 'static,
        shape: TVec<TDim>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        self.wire(Own { name, op: Arc::new(op), shape }, inputs)
    }
}

/// An operator of the table in tract's graph, where it stands for itself: tract cannot run it.
#[derive(Clone)]
struct Own {
    name: &'static str,
    op: Arc<dyn Ours>,
    shape: TVec<TDim>,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.shape)
    }
}

impl PartialEq for Own {
    fn eq(&self, other: &Own) -> bool {
        Arc::ptr_eq(&self.op, &other.op) && self.shape == other.shape
    }
}

impl Eq for Own {}

impl tract_onnx::tract_core::ops::Op for Own {
    fn name(&self) -> StaticName {
        self.name.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Own {
    not_out_of_plan!();
}

impl TypedOp for Own {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(&*self.shape)))
    }

    as_op!();
}
