//! What a graph writes as several operators, in one pass forwards and one backwards. `graph/fuse.rs` finds them.

#[cfg(feature = "cuda")]
use super::gpu;
use super::slices::{self, Real, by_type, on_slices};
use super::{Keeps, Kept, Op, Run, elsewhere};
use crate::kernels::function::{Function, clip as clip_to};
use crate::kernels::pointwise::{self, Grid};
use crate::kernels::rows;
use crate::tensor::{Result, Tensor};
use std::sync::Arc;

fn bounds<T: Real>(clip: Option<[f64; 2]>) -> [T; 2] {
    clip.map_or([T::LOWEST, T::HIGHEST], |clip| clip.map(T::of))
}

/// The gradient in front of a clip, from its output and the gradient behind it: only what lies between the bounds passes.
pub(super) fn mask<T: Real>(clip: [f64; 2]) -> impl Fn([T; 2]) -> T + Sync + Copy {
    let [low, high] = bounds::<T>(Some(clip));
    // No branch: which values pass cannot be foretold.
    move |[y, dy]| if (y <= low) | (y >= high) { T::default() } else { dy }
}

fn masked<T: Real>(clip: [f64; 2], run: &Run, y: &Tensor, grad: &Tensor) -> Result<Tensor> {
    elsewhere!(y, gpu::masked(clip, y, grad));
    on_slices::<T, 2>(run, [y, grad], grad.dims(), |x, dx| pointwise::map(x, dx, mask(clip)))
}

/// The input between two bounds.
pub(in crate::graph) struct Clip(pub(in crate::graph) [f64; 2]);

impl Op for Clip {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        fn forward<T: Real>(clip: [f64; 2], run: &Run, x: &Tensor) -> Result<Tensor> {
            let bounds = bounds::<T>(Some(clip));
            on_slices::<T, 1>(run, [x], x.dims(), |x, y| pointwise::map(x, y, |[x]| clip_to(x, bounds)))
        }
        elsewhere!(x[0], gpu::clip(self.0, x[0]));
        by_type!(x[0].dtype(), forward(self.0, run, x[0]))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::output(1)
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(by_type!(grad.dtype(), masked(self.0, run, kept.output()?, grad))?)])
    }

    fn bounds(&self) -> Option<[f64; 2]> {
        Some(self.0)
    }
}

/// A function of one value at a time.
pub(in crate::graph) struct Active(pub(in crate::graph) Function);

impl Op for Active {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        fn forward<T: Real>(function: Function, run: &Run, x: &Tensor) -> Result<Tensor> {
            on_slices::<T, 1>(run, [x], x.dims(), |[x], y| function.apply(x, y))
        }
        elsewhere!(x[0], gpu::active(self.0, x[0]));
        by_type!(x[0].dtype(), forward(self.0, run, x[0]))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true])
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        fn backward<T: Real>(function: Function, run: &Run, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
            on_slices::<T, 2>(run, [x, grad], x.dims(), |[x, dy], dx| function.by_input(x, dy, dx))
        }
        elsewhere!(grad, Ok(vec![Some(gpu::active_back(self.0, kept.input(0)?, grad)?)]));
        Ok(vec![Some(by_type!(grad.dtype(), backward(self.0, run, kept.input(0)?, grad))?)])
    }

    fn function(&self) -> Option<Function> {
        Some(self.0)
    }
}

/// Two inputs of one shape added, the sum between two bounds.
pub(in crate::graph) struct AddClip(pub(in crate::graph) [f64; 2]);

impl Op for AddClip {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        fn forward<T: Real>(clip: [f64; 2], run: &Run, [a, b]: [&Tensor; 2]) -> Result<Tensor> {
            let bounds = bounds::<T>(Some(clip));
            on_slices::<T, 2>(run, [a, b], a.dims(), |x, y| pointwise::map(x, y, |[a, b]| clip_to(a + b, bounds)))
        }
        elsewhere!(x[0], gpu::add_clip(self.0, x[0], x[1]));
        by_type!(x[0].dtype(), forward(self.0, run, [x[0], x[1]]))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::output(2)
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let grad = by_type!(grad.dtype(), masked(self.0, run, kept.output()?, grad))?;
        Ok(kept.wanted.iter().map(|&wanted| wanted.then(|| grad.clone())).collect())
    }
}

/// `x·s + t` between two bounds, where `s` and `t` have one value a channel: an inference batch norm.
pub(in crate::graph) struct ScaleShift(pub(in crate::graph) Option<[f64; 2]>);

impl ScaleShift {
    fn grid(x: &[usize], s: &[usize]) -> Result<Grid> {
        Grid::of(x, s).ok_or_else(|| candle_core::Error::msg(format!("a scale of shape {s:?} meets {x:?}")))
    }
}

impl Op for ScaleShift {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        fn forward<T: Real>(clip: Option<[f64; 2]>, run: &Run, x: [&Tensor; 3]) -> Result<Tensor> {
            let (grid, bounds) = (ScaleShift::grid(x[0].dims(), x[1].dims())?, bounds::<T>(clip));
            on_slices::<T, 3>(run, x, x[0].dims(), |[x, s, t], y| {
                grid.map([x], [s, t], y, |[x], [s, t]| clip_to(x * s + t, bounds));
            })
        }
        elsewhere!(x[0], gpu::scale_shift(self.0, &ScaleShift::grid(x[0].dims(), x[1].dims())?, [x[0], x[1], x[2]]));
        by_type!(x[0].dtype(), forward(self.0, run, [x[0], x[1], x[2]]))
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps { inputs: vec![wanted[1], wanted[0], false], output: self.0.is_some() }
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        elsewhere!(grad, gpu::scale_shift_back(self.0, &ScaleShift::grid(kept.shapes[0], kept.shapes[1])?, kept, grad));
        by_type!(grad.dtype(), scale_shift_back(self.0, run, kept, grad))
    }

    fn clipped(&self, low: f64, high: f64) -> Option<Arc<dyn Op>> {
        self.0.is_none().then(|| Arc::new(ScaleShift(Some([low, high]))) as _)
    }

    fn activated(&self, function: Function) -> Option<Arc<dyn Op>> {
        self.0.is_none().then(|| Arc::new(ScaleShiftActive(function)) as _)
    }
}

fn scale_shift_back<T: Real>(
    clip: Option<[f64; 2]>,
    run: &Run,
    kept: &Kept,
    grad: &Tensor,
) -> Result<Vec<Option<Tensor>>> {
    // Bounds that are not numbers hold nothing back, whatever stands for the output.
    let (shapes, mask) = (&kept.shapes, mask::<T>(clip.unwrap_or([f64::NAN; 2])));
    let grid = ScaleShift::grid(shapes[0], shapes[1])?;
    let y = if clip.is_some() { kept.output()? } else { grad };
    let mut grads = vec![None, None, None];
    let (mut by_s, mut by_t) = (vec![T::default(); grid.channels], vec![T::default(); grid.channels]);
    if kept.wanted[1] {
        slices::read([y, grad, kept.input(0)?], |values| {
            grid.sum(values, [], [&mut by_s, &mut by_t], |[y, dy, x], []| [mask([y, dy]) * x, mask([y, dy])]);
        })?;
    } else if kept.wanted[2] {
        slices::read([y, grad], |values| grid.sum(values, [], [&mut by_t], |values, []| [mask(values)]))?;
    }
    let tensor = |sums: Vec<T>, shape: &[usize]| Tensor::from_vec(sums, shape, grad.device());
    if kept.wanted[1] {
        grads[1] = Some(tensor(by_s, shapes[1])?);
    }
    if kept.wanted[2] {
        grads[2] = Some(tensor(by_t, shapes[2])?);
    }
    if kept.wanted[0] {
        grads[0] = Some(on_slices::<T, 3>(run, [y, grad, kept.input(1)?], shapes[0], |[y, dy, s], dx| {
            grid.map([y, dy], [s], dx, |values, [s]| mask(values) * s);
        })?);
    }
    Ok(grads)
}

/// A function of `x·s + t`, as [`ScaleShift`]: what lies between is computed again backwards, and takes no memory.
struct ScaleShiftActive(Function);

impl Op for ScaleShiftActive {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        fn forward<T: Real>(function: Function, run: &Run, x: [&Tensor; 3]) -> Result<Tensor> {
            let grid = ScaleShift::grid(x[0].dims(), x[1].dims())?;
            on_slices::<T, 3>(run, x, x[0].dims(), |[x, s, t], y| function.apply_scaled(&grid, x, [s, t], y))
        }
        elsewhere!(x[0], gpu::scaled_active(self.0, &ScaleShift::grid(x[0].dims(), x[1].dims())?, [x[0], x[1], x[2]]));
        by_type!(x[0].dtype(), forward(self.0, run, [x[0], x[1], x[2]]))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true, true, true])
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        fn backward<T: Real>(function: Function, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
            let inputs = [kept.input(0)?, grad, kept.input(1)?, kept.input(2)?];
            let grid = ScaleShift::grid(kept.shapes[0], kept.shapes[1])?;
            let mut grads = vec![None, None, None];
            if kept.wanted[1] || kept.wanted[2] {
                let mut sums = [1, 2].map(|_| vec![T::default(); grid.channels]);
                let [by_s, by_t] = &mut sums;
                slices::read(inputs, |[x, dy, s, t]| function.scaled_by_scale(&grid, [x, dy], [s, t], [by_s, by_t]))?;
                for (place, sums) in [1, 2].into_iter().zip(sums).filter(|(place, _)| kept.wanted[*place]) {
                    grads[place] = Some(Tensor::from_vec(sums, kept.shapes[place], grad.device())?);
                }
            }
            if kept.wanted[0] {
                let dx = on_slices::<T, 4>(run, inputs, kept.shapes[0], |[x, dy, s, t], dx| {
                    function.scaled_by_input(&grid, [x, dy], [s, t], dx);
                });
                grads[0] = Some(dx?);
            }
            Ok(grads)
        }
        elsewhere!(
            grad,
            gpu::scaled_active_back(self.0, &ScaleShift::grid(kept.shapes[0], kept.shapes[1])?, kept, grad)
        );
        by_type!(grad.dtype(), backward(self.0, run, kept, grad))
    }
}

/// Layer normalisation over the last axes. Inputs: `x`; scale and bias, whose values are as many as a row's.
pub(in crate::graph) struct LayerNorm {
    pub(in crate::graph) epsilon: f64,
}

impl Op for LayerNorm {
    fn forward(&self, run: &Run, x: &[&Tensor]) -> Result<Tensor> {
        fn forward<T: Real>(epsilon: f64, run: &Run, x: [&Tensor; 3]) -> Result<Tensor> {
            let epsilon = T::of(epsilon);
            on_slices::<T, 3>(run, x, x[0].dims(), |[x, s, t], y| rows::layer_norm(epsilon, x, [s, t], y))
        }
        elsewhere!(x[0], gpu::layer_norm(self.epsilon, [x[0], x[1], x[2]]));
        by_type!(x[0].dtype(), forward(self.epsilon, run, [x[0], x[1], x[2]]))
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true, true, false])
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        fn backward<T: Real>(epsilon: f64, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
            let (x, scale, width) = (kept.input(0)?, kept.input(1)?, kept.input(1)?.elem_count());
            let (mut by_scale, mut by_bias) = (vec![T::default(); width], vec![T::default(); width]);
            let epsilon = T::of(epsilon);
            let dx = on_slices::<T, 3>(run, [x, scale, grad], x.dims(), |values, dx| {
                rows::layer_norm_back(epsilon, values, dx, [&mut by_scale, &mut by_bias]);
            })?;
            let by_scale = Tensor::from_vec(by_scale, kept.shapes[1], grad.device())?;
            let by_bias = Tensor::from_vec(by_bias, kept.shapes[2], grad.device())?;
            Ok(vec![Some(dx), Some(by_scale), Some(by_bias)])
        }
        elsewhere!(grad, gpu::layer_norm_back(self.epsilon, kept, grad));
        by_type!(grad.dtype(), backward(self.epsilon, run, kept, grad))
    }
}
