//! L-BFGS for one model: the two-loop recursion over the last steps, and a line search for convex functions.
//!
//! Nocedal and Wright, *Numerical Optimization*, 2nd edition, algorithms 7.4 and 3.5. Vectors are `f32`, every sum is
//! `f64` and in a fixed order, so that two runs agree to the last bit.

use std::collections::VecDeque;

/// Steps remembered.
const MEMORY: usize = 10;
/// Sufficient decrease and curvature of the strong Wolfe conditions.
const ARMIJO: f64 = 1e-4;
const CURVATURE: f64 = 0.3;
/// Enough to halve any bracket down to the rounding of a step.
const TRIALS: usize = 40;
/// The summation lanes of [`dot`]: as many as keep two 256-bit units busy.
const LANES: usize = 8;

/// Σ a·b in `f64`.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f64; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f64 = a.remainder().iter().zip(b.remainder()).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    lanes.iter().sum::<f64>() + tail
}

/// y += a·x
pub(super) fn add(y: &mut [f32], a: f64, x: &[f32]) {
    let a = a as f32;
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += a * x);
}

struct Pair {
    /// Change of the parameters.
    step: Vec<f32>,
    /// Change of the gradient.
    change: Vec<f32>,
    /// step · change, above 0.
    curvature: f64,
}

/// The last steps and what the gradient did along them.
#[derive(Default)]
pub(super) struct History {
    pairs: VecDeque<Pair>,
}

impl History {
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Remembers a step unless rounding has eaten its curvature.
    pub(super) fn push(&mut self, step: Vec<f32>, change: Vec<f32>) {
        let curvature = dot(&step, &change);
        if curvature > 1e-10 * (dot(&step, &step) * dot(&change, &change)).sqrt() && curvature.is_finite() {
            if self.pairs.len() == MEMORY {
                self.pairs.pop_front();
            }
            self.pairs.push_back(Pair { step, change, curvature });
        }
    }

    /// The penalty on the first `weights` parameters grows by `delta`: its Hessian is known, so what was learnt about
    /// the curvature at one strength carries over to the next instead of being thrown away.
    pub(super) fn shift(&mut self, delta: f64, weights: usize) {
        for pair in &mut self.pairs {
            add(&mut pair.change[..weights], delta, &pair.step[..weights]);
            pair.curvature = dot(&pair.step, &pair.change);
        }
        self.pairs.retain(|pair| pair.curvature > 0.0);
    }

    /// −H·gradient: the direction of the next step.
    pub(super) fn direction(&self, gradient: &[f32]) -> Vec<f32> {
        let mut q: Vec<f32> = gradient.iter().map(|g| -g).collect();
        let mut alphas = [0f64; MEMORY];
        for (pair, alpha) in self.pairs.iter().zip(&mut alphas).rev() {
            *alpha = dot(&pair.step, &q) / pair.curvature;
            add(&mut q, -*alpha, &pair.change);
        }
        if let Some(last) = self.pairs.back() {
            let scale = (last.curvature / dot(&last.change, &last.change)) as f32;
            q.iter_mut().for_each(|q| *q *= scale);
        }
        for (pair, &alpha) in self.pairs.iter().zip(&alphas) {
            let beta = dot(&pair.change, &q) / pair.curvature;
            add(&mut q, alpha - beta, &pair.step);
        }
        q
    }
}

/// A function of the step length at one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) value: f64,
    pub(super) slope: f64,
    pub(super) curvature: f64,
}

/// A step from `start` (at length 0, falling) that satisfies the strong Wolfe conditions; `at` was last called with the
/// length answered. Newton's step within a shrinking bracket: the function is convex, so the slope's sign tells the side.
/// None where rounding leaves no such step.
pub(super) fn search(start: Line, mut at: impl FnMut(f64) -> Line) -> Option<(f64, Line)> {
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut length = -start.slope / start.curvature;
    if !(length.is_finite() && length > 0.0) {
        length = 1.0;
    }
    for _ in 0..TRIALS {
        let here = at(length);
        let falls = here.value <= start.value + ARMIJO * length * start.slope;
        if !falls || here.slope > -CURVATURE * start.slope {
            high = length;
        } else if here.slope < CURVATURE * start.slope {
            low = length;
        } else {
            return Some((length, here));
        }
        let newton = length - here.slope / here.curvature;
        length = if newton > low && newton < high && newton < 10.0 * length {
            newton
        } else if high.is_finite() {
            0.5 * (low + high)
        } else {
            4.0 * length
        };
    }
    None
}
