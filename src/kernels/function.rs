//! Activations as one pass forwards and one backwards.

use super::Float;
use super::pointwise::{self, Grid};

/// What the functions are made of.
pub trait Elementary: Float {
    /// `eˣ`
    fn exp(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// The smaller of two; `other` where this is not a number.
    fn lower(self, other: Self) -> Self;
    /// The larger of two; `other` where this is not a number.
    fn higher(self, other: Self) -> Self;
    /// The square root.
    fn root(self) -> Self;
}

impl Elementary for f32 {
    /// `2ⁿ · eʳ` with `|r| ≤ ln 2 / 2`, where `eʳ` is a polynomial (Cephes' `expf`): within two units in the last place up
    /// to `e⁸⁸`, from where on it stays. Without a branch, so that many are computed at once.
    #[inline(always)]
    fn exp(self) -> f32 {
        // Added, it leaves an integer in the last bits.
        const INTEGER: f32 = 12_582_912.;
        // What is not a number stays so.
        let x = if self > 88. { 88. } else { self };
        let x = if x < -87.3 { -87.3 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + INTEGER;
        let n = shifted - INTEGER;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let mut p = 1.987_569_1e-4;
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = p * r + c;
        }
        let exponent = shifted.to_bits().wrapping_sub(INTEGER.to_bits()).wrapping_add(127);
        (p * r * r + r + 1.) * f32::from_bits(exponent << 23)
    }

    /// A rational function (that of XLA and Eigen), within a few units in the last place.
    #[inline(always)]
    fn erf(self) -> f32 {
        let x = self.lower(3.832_507).higher(-3.832_507);
        let s = x * x;
        let mut p = -2.726_142_3e-10;
        for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_5e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2] {
            p = p * s + c;
        }
        let mut q = -1.456_607_2e-5;
        for c in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
            q = q * s + c;
        }
        x * p / q
    }

    #[inline(always)]
    fn lower(self, other: f32) -> f32 {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn higher(self, other: f32) -> f32 {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn root(self) -> f32 {
        self.sqrt()
    }
}

impl Elementary for f64 {
    fn exp(self) -> f64 {
        f64::exp(self)
    }

    fn erf(self) -> f64 {
        libm::erf(self)
    }

    fn lower(self, other: f64) -> f64 {
        if self < other { self } else { other }
    }

    fn higher(self, other: f64) -> f64 {
        if self > other { self } else { other }
    }

    fn root(self) -> f64 {
        self.sqrt()
    }
}

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `x · sigmoid(x)`
    Silu,
    /// `x · clip(x/6 + 1/2, 0, 1)`
    HardSwish,
    /// `clip(a·x + b, 0, 1)`
    HardSigmoid(f64, f64),
    /// `x · (1 + erf(x/√2)) / 2`
    Gelu,
}

// Functions with names, not closures: these are inlined wherever they are used, so that they become vector code.

#[inline(always)]
fn sigmoid<T: Elementary>([x]: [T; 1]) -> T {
    T::ONE / (T::ONE + (T::default() - x).exp())
}

#[inline(always)]
fn sigmoid_slope<T: Elementary>([x, dy]: [T; 2]) -> T {
    let y = sigmoid([x]);
    dy * y * (T::ONE - y)
}

#[inline(always)]
fn silu<T: Elementary>([x]: [T; 1]) -> T {
    x * sigmoid([x])
}

#[inline(always)]
fn silu_slope<T: Elementary>([x, dy]: [T; 2]) -> T {
    let gate = sigmoid([x]);
    dy * gate * (T::ONE + x * (T::ONE - gate))
}

/// Between two bounds; what is not a number stays so.
#[inline(always)]
pub fn clip<T: Float>(x: T, [low, high]: [T; 2]) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
fn unit<T: Float>(x: T) -> T {
    clip(x, [T::default(), T::ONE])
}

/// 1 where a gate is neither shut nor wide open.
#[inline(always)]
fn between<T: Float>(gate: T) -> T {
    let above = if gate > T::default() { T::ONE } else { T::default() };
    if gate < T::ONE { above } else { T::default() }
}

#[inline(always)]
fn hard_swish<T: Elementary>([x]: [T; 1]) -> T {
    x * unit(x * T::of(1. / 6.) + T::of(0.5))
}

#[inline(always)]
fn hard_swish_slope<T: Elementary>([x, dy]: [T; 2]) -> T {
    let gate = unit(x * T::of(1. / 6.) + T::of(0.5));
    dy * (gate + between(gate) * x * T::of(1. / 6.))
}

/// The share of a normal distribution below `x`.
#[inline(always)]
fn normal<T: Elementary>(x: T) -> T {
    T::of(0.5) * (T::ONE + (x * T::of(std::f64::consts::FRAC_1_SQRT_2)).erf())
}

#[inline(always)]
fn gelu<T: Elementary>([x]: [T; 1]) -> T {
    x * normal(x)
}

#[inline(always)]
fn gelu_slope<T: Elementary>([x, dy]: [T; 2]) -> T {
    let density = T::of(0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
    dy * (normal(x) + x * density * (T::default() - x * x * T::of(0.5)).exp())
}

/// Does something with the function and with its slope (of the input and the gradient by the output), whichever they are.
macro_rules! with {
    ($function:expr, |$f:ident, $slope:ident| $work:expr) => {{
        #[allow(unused_variables)]
        match $function {
            Function::Sigmoid => {
                let ($f, $slope) = (sigmoid::<T>, sigmoid_slope::<T>);
                $work
            }
            Function::Silu => {
                let ($f, $slope) = (silu::<T>, silu_slope::<T>);
                $work
            }
            Function::HardSwish => {
                let ($f, $slope) = (hard_swish::<T>, hard_swish_slope::<T>);
                $work
            }
            Function::HardSigmoid(a, b) => {
                let (a, b) = (T::of(a), T::of(b));
                let ($f, $slope) = (|[x]: [T; 1]| unit(x * a + b), |[x, dy]: [T; 2]| dy * a * between(x * a + b));
                $work
            }
            Function::Gelu => {
                let ($f, $slope) = (gelu::<T>, gelu_slope::<T>);
                $work
            }
        }
    }};
}

impl Function {
    /// Writes it of each value of `x` to `y`.
    pub fn apply<T: Elementary>(self, x: &[T], y: &mut [T]) {
        with!(self, |function, slope| pointwise::map([x], y, function));
    }

    /// Writes the gradient by the input, given that by the output, to `dx`.
    pub fn by_input<T: Elementary>(self, x: &[T], dy: &[T], dx: &mut [T]) {
        with!(self, |function, slope| pointwise::map([x, dy], dx, slope));
    }

    /// Writes it of `x·s + t` to `y`. `s` and `t` have one value a channel.
    pub fn apply_scaled<T: Elementary>(self, grid: &Grid, x: &[T], st: [&[T]; 2], y: &mut [T]) {
        with!(self, |function, slope| grid.map([x], st, y, |[x], [s, t]| function([x * s + t])));
    }

    /// Writes the gradient of that by `x` to `dx`.
    pub fn scaled_by_input<T: Elementary>(self, grid: &Grid, [x, dy]: [&[T]; 2], st: [&[T]; 2], dx: &mut [T]) {
        with!(self, |function, slope| grid.map([x, dy], st, dx, |[x, dy], [s, t]| s * slope([x * s + t, dy])));
    }

    /// Writes the gradients of that by `s` and `t` to `sums`.
    pub fn scaled_by_scale<T: Elementary>(self, grid: &Grid, values: [&[T]; 2], st: [&[T]; 2], sums: [&mut [T]; 2]) {
        with!(self, |function, slope| grid.sum(values, st, sums, |[x, dy], [s, t]| {
            let by_sum = slope([x * s + t, dy]);
            [by_sum * x, by_sum]
        }));
    }
}
