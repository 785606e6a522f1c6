//! One parameter's update: its formula on numbers, fused, for float32, and as tensor operations for all else.

use crate::tensor::{CpuStorage, DType, Device, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;
use std::sync::Mutex;

/// Values that one thread updates at a time.
const CHUNK: usize = 1 << 14;

/// The update of one value, with all that is the same for every value worked out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    Sgd {
        lr: f32,
        decay: f32,
        momentum: f32,
        nesterov: bool,
    },
    Adam {
        /// What θ keeps: 1 − lr·λ where the decay is apart, else 1.
        keep: f32,
        /// λ in the gradient.
        decay: f32,
        /// 1 − β₁, β₂, 1 − β₂.
        betas: [f32; 3],
        /// lr/(1 − β₁ᵗ).
        size: f32,
        /// √(1 − β₂ᵗ).
        root: f32,
        eps: f32,
    },
}

impl Rule {
    pub(super) fn sgd(lr: f64, decay: f64, momentum: f64, nesterov: bool) -> Rule {
        Rule::Sgd { lr: lr as f32, decay: decay as f32, momentum: momentum as f32, nesterov }
    }

    pub(super) fn adam(lr: f64, decay: f64, (b1, b2): (f64, f64), eps: f64, step: i64, apart: bool) -> Rule {
        let (keep, decay) = if apart { (1.0 - lr * decay, 0.0) } else { (1.0, decay) };
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        Rule::Adam {
            keep: keep as f32,
            decay: decay as f32,
            betas: [1.0 - b1, b2, 1.0 - b2].map(|b| b as f32),
            size: (lr / correction(b1)) as f32,
            root: correction(b2).sqrt() as f32,
            eps: eps as f32,
        }
    }

    /// Parameters, gradients and moments of one chunk, side by side.
    fn run(&self, p: &mut [f32], g: &[f32], moments: &mut [&mut [f32]]) {
        match (*self, moments) {
            (Rule::Sgd { lr, decay, .. }, []) => {
                p.iter_mut().zip(g).for_each(|(p, g)| *p -= lr * (g + decay * *p));
            }
            (Rule::Sgd { lr, decay, momentum, nesterov }, [v]) => {
                for ((p, g), v) in p.iter_mut().zip(g).zip(v.iter_mut()) {
                    let g = g + decay * *p;
                    *v = momentum * *v + g;
                    *p -= lr * if nesterov { g + momentum * *v } else { *v };
                }
            }
            (Rule::Adam { keep, decay, betas: [a, b2, b], size, root, eps }, [m, v]) => {
                for (((p, g), m), v) in p.iter_mut().zip(g).zip(m.iter_mut()).zip(v.iter_mut()) {
                    let g = g + decay * *p;
                    *m += a * (g - *m);
                    *v = b2 * *v + b * g * g;
                    *p = keep * *p - size * *m / (v.sqrt() / root + eps);
                }
            }
            _ => unreachable!("the moments are as many as the optimizer has slots"),
        }
    }

    /// A GPU's kernel for it, with so many moments, and the kernel's numbers.
    #[cfg(feature = "cuda")]
    fn kernel(&self, moments: usize) -> (&'static str, Vec<f32>) {
        match *self {
            Rule::Sgd { lr, decay, .. } if moments == 0 => ("descent", vec![lr, decay]),
            Rule::Sgd { lr, decay, momentum, nesterov } => {
                ("sgd", vec![lr, decay, momentum, f32::from(u8::from(nesterov))])
            }
            Rule::Adam { keep, decay, betas: [a, b2, b], size, root, eps } => {
                ("adam", vec![keep, decay, a, b2, b, size, root, eps])
            }
        }
    }

    /// The same by tensor operations: the new parameter and moments.
    fn tensors(&self, p: &Tensor, g: &Tensor, moments: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let scaled = |t: &Tensor, factor: f32| t.affine(factor.into(), 0.0);
        match (*self, moments) {
            (Rule::Sgd { lr, decay, .. }, []) => {
                let g = (g + scaled(p, decay)?)?;
                Ok(((p - scaled(&g, lr)?)?, vec![]))
            }
            (Rule::Sgd { lr, decay, momentum, nesterov }, [v]) => {
                let g = (g + scaled(p, decay)?)?;
                let v = (scaled(v, momentum)? + &g)?;
                let by = if nesterov { (g + scaled(&v, momentum)?)? } else { v.clone() };
                Ok(((p - scaled(&by, lr)?)?, vec![v]))
            }
            (Rule::Adam { keep, decay, betas: [a, b2, b], size, root, eps }, [m, v]) => {
                let g = (g + scaled(p, decay)?)?;
                let m = (m + scaled(&(&g - m)?, a)?)?;
                let v = (scaled(v, b2)? + scaled(&g.sqr()?, b)?)?;
                let by = (scaled(&m, size)? / v.sqrt()?.affine(1.0 / f64::from(root), eps.into())?)?;
                Ok(((scaled(p, keep)? - by)?, vec![m, v]))
            }
            _ => unreachable!("the moments are as many as the optimizer has slots"),
        }
    }
}

/// A parameter's moments, where the parameter is.
pub(super) enum Moments {
    Host { values: Vec<Vec<f32>>, shape: Vec<usize> },
    Device { values: Vec<Tensor>, shape: Vec<usize>, dtype: DType },
}

impl Moments {
    /// `count` moments of 0.
    pub(super) fn new(parameter: &Tensor, count: usize) -> Result<Moments> {
        let shape = parameter.dims().to_vec();
        if parameter.device().is_cpu() && parameter.dtype() == DType::F32 {
            return Ok(Moments::Host { values: vec![vec![0.0; parameter.elem_count()]; count], shape });
        }
        let values = (0..count).map(|_| parameter.zeros_like()).collect::<Result<_>>()?;
        Ok(Moments::Device { values, shape, dtype: parameter.dtype() })
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Moments::Host { shape, .. } | Moments::Device { shape, .. } => shape,
        }
    }

    pub(super) fn dtype(&self) -> DType {
        match self {
            Moments::Host { .. } => DType::F32,
            Moments::Device { dtype, .. } => *dtype,
        }
    }

    /// Copies, on the CPU.
    pub(super) fn tensors(&self) -> Result<Vec<Tensor>> {
        match self {
            Moments::Host { values, shape } => {
                values.iter().map(|v| Tensor::from_slice(v, shape.as_slice(), &Device::Cpu)).collect()
            }
            Moments::Device { values, .. } => values.iter().map(|v| v.to_device(&Device::Cpu)).collect(),
        }
    }

    /// The same with the values of `tensors`.
    pub(super) fn with(&self, tensors: &[&Tensor]) -> Result<Moments> {
        let shape = self.shape().to_vec();
        Ok(match self {
            Moments::Host { .. } => {
                let values = tensors.iter().map(|t| t.flatten_all()?.to_vec1()).collect::<Result<_>>()?;
                Moments::Host { values, shape }
            }
            Moments::Device { values, dtype, .. } => {
                let moved = tensors.iter().zip(values).map(|(t, own)| t.to_device(own.device()));
                Moments::Device { values: moved.collect::<Result<_>>()?, shape, dtype: *dtype }
            }
        })
    }
}

/// One step of one parameter.
pub(super) struct Step<'a> {
    pub(super) rule: Rule,
    pub(super) moments: &'a mut Moments,
}

impl Step<'_> {
    pub(super) fn apply(self, parameter: &Tensor, grad: &Tensor) -> Result<()> {
        let rule = self.rule;
        match self.moments {
            Moments::Host { values, .. } => {
                parameter.inplace_op2(&grad.contiguous()?, &Fused { rule, moments: Mutex::new(values) })
            }
            #[cfg(feature = "cuda")]
            Moments::Device { values, .. } if !parameter.device().is_cpu() => {
                let (name, numbers) = rule.kernel(values.len());
                parameter.update(name, grad, values, &numbers)
            }
            Moments::Device { values, .. } => {
                let (new, moments) = rule.tensors(parameter, grad, values)?;
                *values = moments;
                parameter.slice_set(&new, 0, 0)
            }
        }
    }
}

/// What candle runs on the parameter's storage; it has the operation as `&self`, hence the lock, which nobody else takes.
struct Fused<'a> {
    rule: Rule,
    moments: Mutex<&'a mut Vec<Vec<f32>>>,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, layout: &Layout, g: &CpuStorage, grad_layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(p), CpuStorage::F32(g)) = (p, g) else { bail!("an optimizer's step is for float32") };
        let (Some((start, end)), Some((from, to))) = (layout.contiguous_offsets(), grad_layout.contiguous_offsets())
        else {
            bail!("an optimizer's step needs contiguous tensors")
        };
        let Ok(mut moments) = self.moments.lock() else { bail!("an optimizer's step broke off") };
        // Chunk i of every moment, together.
        let mut parts: Vec<Vec<&mut [f32]>> = (0..(end - start).div_ceil(CHUNK)).map(|_| Vec::new()).collect();
        for moment in moments.iter_mut() {
            parts.iter_mut().zip(moment.chunks_mut(CHUNK)).for_each(|(part, chunk)| part.push(chunk));
        }
        let chunks = p[start..end].par_chunks_mut(CHUNK).zip(g[from..to].par_chunks(CHUNK));
        chunks.zip(parts).for_each(|((p, g), mut moments)| self.rule.run(p, g, &mut moments));
        Ok(())
    }
}
