//! Values that depend neither on the image nor on a parameter: tract computes them, shapes above all.

use crate::tensor::{DType, Device, Tensor};
use std::sync::Arc;
use tract_onnx::prelude::{
    Datum, DatumType, IntoArcTensor, Symbol, SymbolValues, TDim, TValue, TVec, TractResult, TypedOp,
};
use tract_onnx::tract_core::internal::{EvalContext, Tensor as Host};

/// More values than this in one tensor that the file only describes are taken for an attack.
const LARGEST: i64 = 1 << 28;

/// A value that steps may read.
#[derive(Clone)]
pub(super) enum HostValue {
    /// Known from the file; sizes may still be in terms of the number of images.
    Known(Arc<Host>),
    /// Computed in each run, when the number of images is known.
    Later(Arc<Later>),
}

/// An operator on values that do not depend on the image.
pub(super) struct Later {
    pub(super) node: String,
    pub(super) op: Box<dyn TypedOp>,
    /// The places of its inputs among the program's values.
    pub(super) inputs: Vec<usize>,
}

/// The operator's first output.
pub(super) fn evaluate(op: &dyn TypedOp, symbols: &SymbolValues, inputs: &[Arc<Host>]) -> TractResult<Arc<Host>> {
    let context = EvalContext { symbols, ..EvalContext::out_of_plan() };
    let inputs: TVec<_> = inputs.iter().map(|input| TValue::from_const(input.clone())).collect();
    let mut outputs = op.eval(&context, inputs)?;
    tract_onnx::tract_core::internal::ensure!(!outputs.is_empty(), "it gives nothing");
    Ok(outputs.remove(0).into_arc_tensor())
}

/// Whether a tensor of this shape may be made, for one image of as many as the graph insists on.
pub(super) fn is_bearable(dims: &[TDim], symbol: &Symbol, images: i64) -> bool {
    let one = SymbolValues::default().with(symbol, 1);
    let mut sizes = dims.iter().map(|dim| dim.eval(&one).to_i64().unwrap_or(1));
    let first = sizes.next().map_or(1, |first| if first == images { 1 } else { first.max(1) });
    sizes.fold(first, |count, size| count.saturating_mul(size.max(1))) <= LARGEST
}

/// The values as numbers of the type that the program computes in; sizes are filled in.
pub(super) fn to_tensor(host: &Host, symbols: &SymbolValues, dtype: DType, device: &Device) -> TractResult<Tensor> {
    let sized;
    let host = if host.datum_type() == TDim::datum_type() {
        let plain = host.try_as_plain_ram()?;
        let dims = plain.as_slice::<TDim>()?.iter().map(|dim| dim.eval(symbols).to_i64());
        sized = Host::from_shape(host.shape(), &dims.collect::<Result<Vec<i64>, _>>()?)?;
        &sized
    } else {
        host
    };
    let wide = host.cast_to_dt(DatumType::F64)?;
    let values = wide.try_as_plain_ram()?.as_slice::<f64>()?;
    Ok(Tensor::from_slice(values, host.shape(), device)?.to_dtype(dtype)?)
}

/// Whether the values are known without the number of images.
pub(super) fn is_fixed(host: &Host) -> bool {
    let open = || {
        let plain = host.try_as_plain_ram().ok()?;
        Some(plain.as_slice::<TDim>().ok()?.iter().any(|dim| dim.to_i64().is_err()))
    };
    host.datum_type() != TDim::datum_type() || open() == Some(false)
}
