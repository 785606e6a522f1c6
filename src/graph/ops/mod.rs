//! tract's core operators on candle tensors, each with its gradient. One file a family; [`FAMILIES`] is the table.

mod attention;
mod binary;
mod conv;
mod corrected;
mod einsum;
pub(super) mod fused;
#[cfg(feature = "cuda")]
mod gpu;
mod lrn;
mod one_hot;
pub(super) mod onnx;
mod pad;
mod pick;
mod pool;
mod pow;
mod reduce;
mod resize;
mod select;
mod shape;
mod slices;
mod softmax;
mod steps;
mod transposed;
mod unary;

use super::buffers::Buffers;
use crate::kernels::function::Function;
use crate::kernels::pointwise::Grid;
use crate::tensor::{Result, Tensor};
pub(super) use binary::plus;
use slices::{Real, by_type, give_back, take};
use std::sync::Arc;
use tract_onnx::prelude::{DatumType, SymbolValues, TDim, TypedFact, TypedModel, TypedNode};
use tract_onnx::tract_core::internal::Tensor as Host;

/// Leaves a function with what a GPU makes, where the tensor lies on one.
macro_rules! elsewhere {
    ($tensor:expr, $made:expr) => {
        #[cfg(feature = "cuda")]
        if !$tensor.device().is_cpu() {
            return $made;
        }
    };
}
use elsewhere;

/// Operators that are made alike.
pub(super) struct Family {
    /// tract's names of the operators.
    pub(super) operators: &'static [&'static str],
    /// Makes a node of one of these operators; `None` where it is another operator of the same name.
    lower: fn(&Node) -> Option<Lowered>,
    /// ONNX operators that are read by these functions instead of by tract's.
    parsers: &'static [(&'static str, onnx::Parser)],
}

/// Every operator that a [`Program`](super::Program) can hold.
pub(super) const FAMILIES: [&Family; 18] = [
    &unary::FAMILY,
    &binary::FAMILY,
    &pow::FAMILY,
    &shape::FAMILY,
    &select::FAMILY,
    &conv::FAMILY,
    &pool::FAMILY,
    &reduce::FAMILY,
    &softmax::FAMILY,
    &einsum::FAMILY,
    &lrn::FAMILY,
    &resize::FAMILY,
    &pad::FAMILY,
    &pick::FAMILY,
    &one_hot::FAMILY,
    &transposed::FAMILY,
    &attention::FAMILY,
    &corrected::FAMILY,
];

/// Those whose parsers make tract's core operators alone, which tract can run.
pub(super) const CORE: [&Family; 4] = [&einsum::FAMILY, &pad::FAMILY, &attention::FAMILY, &corrected::FAMILY];

/// One operator with its attributes: one output, computed in the tensors' own type.
pub(super) trait Op: Send + Sync {
    /// The output.
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor>;

    /// What [`Op::backward`] reads when gradients of the `wanted` inputs are asked for. Nothing else is kept for it.
    fn keeps(&self, wanted: &[bool]) -> Keeps;

    /// The gradients by the wanted inputs, given that by the output (of the output's shape). `None` is zero.
    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>>;

    /// The same operator with its output between two bounds, where it can do that on the way.
    fn clipped(&self, _low: f64, _high: f64) -> Option<Arc<dyn Op>> {
        None
    }

    /// The same operator with this function of its output, where it can do that on the way.
    fn activated(&self, _function: Function) -> Option<Arc<dyn Op>> {
        None
    }

    /// The same operator on a map with so many more zeros before and behind each axis, where it can do that on the way.
    fn padded(&self, _pads: &[(usize, usize)]) -> Option<Arc<dyn Op>> {
        None
    }

    /// How many zeros it puts before and behind each axis of its only input, where that is all it does.
    fn zeros(&self) -> Option<&[(usize, usize)]> {
        None
    }

    /// The function of its only input that it is, where that is all it does.
    fn function(&self) -> Option<Function> {
        None
    }

    /// What it keeps its only input between, where that is all it does.
    fn bounds(&self) -> Option<[f64; 2]> {
        None
    }
}

/// Which values stay in memory between forward and backward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keeps {
    /// A flag for each input.
    pub(super) inputs: Vec<bool>,
    /// The output.
    pub(super) output: bool,
}

impl Keeps {
    fn nothing(inputs: usize) -> Keeps {
        Keeps { inputs: vec![false; inputs], output: false }
    }

    fn inputs(inputs: &[bool]) -> Keeps {
        Keeps { inputs: inputs.to_vec(), output: false }
    }

    fn output(inputs: usize) -> Keeps {
        Keeps { output: true, ..Keeps::nothing(inputs) }
    }
}

/// What was kept for [`Op::backward`].
pub(super) struct Kept<'a> {
    pub(super) inputs: Vec<Option<&'a Tensor>>,
    pub(super) output: Option<&'a Tensor>,
    /// The shapes of the inputs, kept or not.
    pub(super) shapes: Vec<&'a [usize]>,
    /// Whose gradients are asked for.
    pub(super) wanted: Vec<bool>,
}

impl<'a> Kept<'a> {
    fn input(&self, index: usize) -> Result<&'a Tensor> {
        self.inputs[index].ok_or_else(|| candle_core::Error::msg("an input was not kept"))
    }

    fn output(&self) -> Result<&'a Tensor> {
        self.output.ok_or_else(|| candle_core::Error::msg("the output was not kept"))
    }
}

/// One run of a program: what shapes depend on.
pub(super) struct Run {
    pub(super) symbols: SymbolValues,
    /// Where outputs get their memory.
    pub(super) buffers: Arc<Buffers>,
}

impl Run {
    /// A size, now that the batch is known.
    fn size(&self, dim: &TDim) -> Result<usize> {
        dim.eval(&self.symbols).to_i64().ok().and_then(|size| usize::try_from(size).ok()).ok_or_else(|| {
            candle_core::Error::msg(format!("the size {dim} is not known from the number of images alone"))
        })
    }

    fn sizes(&self, dims: &[TDim]) -> Result<Vec<usize>> {
        dims.iter().map(|dim| self.size(dim)).collect()
    }
}

/// An operator and which of the node's inputs it computes with, in order (the others were attributes); or why not.
pub(super) type Lowered = std::result::Result<(Arc<dyn Op>, Vec<usize>), String>;

/// A node of tract's graph.
pub(super) struct Node<'a> {
    pub(super) model: &'a TypedModel,
    pub(super) node: &'a TypedNode,
    /// Which of its outputs is to be made.
    pub(super) slot: usize,
    /// For each input its value, where it depends neither on the image nor on a parameter (nor needs the batch).
    pub(super) constants: Vec<Option<Arc<Host>>>,
}

impl Node<'_> {
    fn op<T: tract_onnx::prelude::TypedOp>(&self) -> Option<&T> {
        self.node.op_as::<T>()
    }

    fn fact(&self, input: usize) -> std::result::Result<&TypedFact, String> {
        let outlet = self.node.inputs.get(input).ok_or_else(|| format!("it has no input {input}"))?;
        self.model.outlet_fact(*outlet).map_err(|e| e.to_string())
    }

    fn output(&self) -> &TypedFact {
        &self.node.outputs[0].fact
    }

    fn output_dims(&self) -> Vec<TDim> {
        self.output().shape.to_tvec().to_vec()
    }

    /// The value of an input that has to be known beforehand; `what` it is, for the error.
    fn constant(&self, input: usize, what: &str) -> std::result::Result<&Arc<Host>, String> {
        let constant = self.constants.get(input).and_then(Option::as_ref);
        constant.ok_or_else(|| format!("its {what} depends on the image"))
    }

    /// Integers of an input that has to be known beforehand.
    fn integers(&self, input: usize, what: &str) -> std::result::Result<Vec<i64>, String> {
        let integers = self.constant(input, what)?.cast_to_dt(DatumType::I64).map_err(|e| e.to_string())?;
        let plain = integers.try_as_plain_ram().map_err(|e| e.to_string())?;
        Ok(plain.as_slice::<i64>().map_err(|e| e.to_string())?.to_vec())
    }
}

/// An operator that computes with all inputs of its node.
fn whole(node: &Node, op: impl Op + 'static) -> Lowered {
    Ok((Arc::new(op), (0..node.node.inputs.len()).collect()))
}

/// An operator that computes with the first input of its node.
fn first(op: impl Op + 'static) -> Lowered {
    Ok((Arc::new(op), vec![0]))
}

/// The sum of `grad` over the axes along which an input of `shape` was repeated.
fn unbroadcast(grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if grad.dims() == shape {
        return Ok(grad.clone());
    }
    let extra = grad.rank() - shape.len();
    let repeated = |&axis: &usize| axis < extra || (shape[axis - extra] == 1 && grad.dims()[axis] != 1);
    let axes: Vec<usize> = (0..grad.rank()).filter(repeated).collect();
    sum_over(grad, &axes)?.reshape(shape)
}

/// The sum over `axes`, which stay with length 1.
fn sum_over(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    if axes.is_empty() {
        return Ok(x.clone());
    }
    let mut shape = x.dims().to_vec();
    axes.iter().for_each(|&axis| shape[axis] = 1);
    match Grid::of(x.dims(), &shape) {
        Some(grid) if x.device().is_cpu() && grid.channels > 0 => by_type!(x.dtype(), sum(&grid, x, &shape)),
        _ => x.sum_keepdim(axes.to_vec()),
    }
}

/// `x` repeated along its axes of length 1 to `shape`.
fn spread(run: &Run, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    fn spread<T: Real>(run: &Run, grid: &Grid, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
        slices::on_slices::<T, 1>(run, [x], shape, |[x], y| grid.map([], [x], y, |[], [x]| x))
    }
    match Grid::of(shape, x.dims()) {
        Some(grid) if x.device().is_cpu() && grid.channels > 0 => by_type!(x.dtype(), spread(run, &grid, x, shape)),
        _ => x.broadcast_as(shape)?.contiguous(),
    }
}

fn sum<T: Real>(grid: &Grid, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let mut sums = vec![T::default(); grid.channels];
    slices::read([x], |x| grid.sum(x, [], [&mut sums], |x, []| x))?;
    Tensor::from_vec(sums, shape, x.device())
}

/// Makes a node of tract's graph an operator.
///
/// # Errors
/// A text saying what about the node cannot be done, or that its operator is not in the table.
pub(super) fn lower(node: &Node) -> Lowered {
    let name = node.node.op.name();
    if node.slot > 0 && name != "Topk" {
        return Err(format!("its output {} is read, which is not known", node.slot));
    }
    let families = FAMILIES.iter().filter(|family| family.operators.contains(&&*name));
    families
        .filter_map(|family| (family.lower)(node))
        .next()
        .unwrap_or_else(|| Err("training inside the network does not know this operator".into()))
}
