//! Maximum, mean and sum under a sliding window.

use super::conv::{output_shape, sliding, window};
#[cfg(feature = "cuda")]
use super::gpu;
use super::slices::{Real, by_type, on_slices};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, elsewhere, first};
use crate::kernels::Window;
use crate::kernels::pool::{self as kernel, Divisor};
use crate::tensor::{Result, Tensor};
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec, PoolSpec, SumPool};

pub(super) const FAMILY: Family = Family { operators: &["MaxPool", "SumPool"], lower, parsers: &[] };

fn lower(node: &Node) -> Option<Lowered> {
    // Where MaxPool tells the places too and somebody reads them, the importer says that it has a second output.
    let (spec, by) = match (node.op::<MaxPool>(), node.op::<SumPool>()) {
        (Some(op), _) => (&op.pool_spec, By::Max),
        (_, Some(op)) => {
            let counted = if op.count_include_pad { By::MeanWithPadding } else { By::Mean };
            (&op.pool_spec, if op.normalize { counted } else { By::Sum })
        }
        _ => return None,
    };
    Some(sliding(spec).and_then(|spec| first(Pool { spec, by })))
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Max,
    Sum,
    /// The sum by the number of pixels under the window.
    Mean,
    MeanWithPadding,
}

/// Over `[N, C, (height,) width]`.
struct Pool {
    spec: PoolSpec,
    by: By,
}

impl Pool {
    fn window(&self, shape: &[usize]) -> Result<(Window, Divisor)> {
        let (window, after) = window(&self.spec, shape)?;
        // Only sizes that were rounded up have windows that hang over.
        let after = match self.spec.padding {
            PaddingSpec::ExplicitOnnxPool(_, _, true) => after,
            _ => [usize::MAX / 4; 2],
        };
        let divisor = match self.by {
            By::Max | By::Sum => Divisor::One,
            By::Mean => Divisor::Inside,
            By::MeanWithPadding => Divisor::Padded { after },
        };
        Ok((window, divisor))
    }
}

fn forward<T: Real>(pool: &Pool, run: &Run, x: &Tensor) -> Result<Tensor> {
    let (window, divisor) = pool.window(x.dims())?;
    let shape = output_shape(&window, x.dims(), x.dim(1)?);
    elsewhere!(
        x,
        match pool.by {
            By::Max => gpu::max_pool(&window, x, &shape),
            _ => gpu::sum_pool(&window, divisor, x, &shape),
        }
    );
    on_slices::<T, 1>(run, [x], &shape, |[x], y| match pool.by {
        By::Max => kernel::max(&window, x, y),
        _ => kernel::sum(&window, divisor, x, y),
    })
}

fn backward<T: Real>(pool: &Pool, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Tensor> {
    let shape = kept.shapes[0];
    let (window, divisor) = pool.window(shape)?;
    elsewhere!(
        grad,
        match pool.by {
            By::Max => gpu::max_pool_back(&window, kept.input(0)?, grad),
            _ => gpu::sum_pool_back(&window, divisor, grad, shape),
        }
    );
    if pool.by == By::Max {
        let tensors = [kept.input(0)?, grad];
        return on_slices::<T, 2>(run, tensors, shape, |[x, dy], dx| kernel::max_by_input(&window, x, dy, dx));
    }
    on_slices::<T, 1>(run, [grad], shape, |[dy], dx| kernel::sum_by_input(&window, divisor, dy, dx))
}

impl Op for Pool {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        by_type!(inputs[0].dtype(), forward(self, run, inputs[0]))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        if self.by == By::Max { Keeps::inputs(&[true]) } else { Keeps::nothing(1) }
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(by_type!(grad.dtype(), backward(self, run, kept, grad))?)])
    }
}
