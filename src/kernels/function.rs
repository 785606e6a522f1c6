//! Activations as one pass forwards and one backwards.

use super::{Float, pointwise};

/// What the functions are made of.
pub trait Elementary: Float {
    /// A number of the source.
    fn number(value: f64) -> Self;
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
    #[inline(always)]
    fn number(value: f64) -> f32 {
        value as f32
    }

    /// `2ⁿ · eʳ` with `|r| ≤ ln 2 / 2`, where `eʳ` is a polynomial (Cephes' `expf`): within two units in the last place,
    /// and without a branch, so that many are computed at once.
    #[inline(always)]
    fn exp(self) -> f32 {
        const TO_INTEGER: f32 = 12_582_912.;
        let nan = self - self;
        let x = self.lower(88.722_84).higher(-87.336_54);
        let n = (x * std::f32::consts::LOG2_E + TO_INTEGER) - TO_INTEGER;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let mut p = 1.987_569_1e-4;
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = p * r + c;
        }
        // Two factors, since 2¹²⁸ alone is not a number of this type.
        let half = (n * 0.5 + TO_INTEGER) - TO_INTEGER;
        let power = |n: f32| f32::from_bits(((n as i32 + 127) as u32) << 23);
        let y = (p * r * r + r + 1.) * power(half) * power(n - half);
        // What is not finite: the difference is not a number, and only infinity has a limit.
        if nan == 0. {
            y
        } else if self == f32::INFINITY {
            self
        } else if self == f32::NEG_INFINITY {
            0.
        } else {
            self
        }
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
    fn number(value: f64) -> f64 {
        value
    }

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

#[inline(always)]
fn sigmoid<T: Elementary>(x: T) -> T {
    T::ONE / (T::ONE + (T::default() - x).exp())
}

/// Between 0 and 1; what is not a number stays so.
#[inline(always)]
fn unit<T: Float>(x: T) -> T {
    if x < T::default() {
        T::default()
    } else if x > T::ONE {
        T::ONE
    } else {
        x
    }
}

#[inline(always)]
fn between<T: Float>(gate: T) -> T {
    if gate > T::default() && gate < T::ONE { T::ONE } else { T::default() }
}

impl Function {
    /// Writes it of each value of `x` to `y`.
    pub fn apply<T: Elementary>(self, x: &[T], y: &mut [T]) {
        let n = T::number;
        let [one, half, sixth, root] = [1., 0.5, 1. / 6., std::f64::consts::FRAC_1_SQRT_2].map(n);
        match self {
            Function::Sigmoid => pointwise::map([x], y, |[x]| sigmoid(x)),
            Function::Silu => pointwise::map([x], y, |[x]| x * sigmoid(x)),
            Function::HardSwish => pointwise::map([x], y, |[x]| x * unit(x * sixth + half)),
            Function::HardSigmoid(a, b) => {
                let (a, b) = (n(a), n(b));
                pointwise::map([x], y, |[x]| unit(x * a + b));
            }
            Function::Gelu => pointwise::map([x], y, |[x]| x * half * (one + (x * root).erf())),
        }
    }

    /// Writes the gradient by the input, given that by the output, to `dx`.
    pub fn by_input<T: Elementary>(self, x: &[T], dy: &[T], dx: &mut [T]) {
        let n = T::number;
        let [one, half, sixth, root] = [1., 0.5, 1. / 6., std::f64::consts::FRAC_1_SQRT_2].map(n);
        match self {
            Function::Sigmoid => pointwise::map([x, dy], dx, |[x, dy]| {
                let y = sigmoid(x);
                dy * y * (one - y)
            }),
            Function::Silu => pointwise::map([x, dy], dx, |[x, dy]| {
                let gate = sigmoid(x);
                dy * gate * (one + x * (one - gate))
            }),
            Function::HardSwish => pointwise::map([x, dy], dx, |[x, dy]| {
                let gate = unit(x * sixth + half);
                dy * (gate + between(gate) * x * sixth)
            }),
            Function::HardSigmoid(a, b) => {
                let (a, b) = (n(a), n(b));
                pointwise::map([x, dy], dx, |[x, dy]| dy * a * between(x * a + b));
            }
            Function::Gelu => {
                let density = n(0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2);
                pointwise::map([x, dy], dx, |[x, dy]| {
                    let share = half * (one + (x * root).erf());
                    dy * (share + x * density * (T::default() - x * x * half).exp())
                })
            }
        }
    }
}
