//! Convolution, pooling, activations and normalisations on the CPU, forward and backward side by side: what candle lacks,
//! refuses, gets wrong or does slowly.
//!
//! Plain slices in row-major order and a geometry; nothing here knows tensors or graphs. Every kernel is generic over
//! `f32` (what runs) and `f64` (what gradients are checked with), overwrites its whole output, and shares its work out
//! so that no result depends on the number of threads.

pub mod arrange;
mod columns;
pub mod conv;
mod depthwise;
mod frame;
pub mod function;
mod gather;
pub mod linear;
mod phases;
pub mod pointwise;
pub mod pool;
pub mod precision;
mod product;
pub mod rows;
mod scratch;
mod simd;
#[cfg(target_arch = "x86_64")]
mod simd_x86;
#[cfg(test)]
mod tests;
mod winograd;

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// `f32` or `f64`.
pub trait Float:
    Copy
    + Send
    + Sync
    + 'static
    + PartialOrd
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + Sum
{
    /// One.
    const ONE: Self;
    /// Below every number.
    const LOWEST: Self;
    /// Above every number.
    const HIGHEST: Self;
    /// Eight or four of them.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx2: simd::Vector<Self>;
    /// Sixteen or eight of them.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    type Avx512: simd::Vector<Self>;
    /// `self · b + c`, rounded once where that is no slower.
    fn fused(self, b: Self, c: Self) -> Self;
    /// A count as a number.
    fn count(n: usize) -> Self;
    /// The number, rounded.
    fn of(value: f64) -> Self;
    /// Whether it is not a number.
    fn nan(self) -> bool;
}

macro_rules! float {
    ($t:ty, $avx2:ident, $avx512:ident) => {
        impl Float for $t {
            const ONE: Self = 1.0;
            const LOWEST: Self = <$t>::NEG_INFINITY;
            const HIGHEST: Self = <$t>::INFINITY;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = std::arch::x86_64::$avx2;
            #[cfg(target_arch = "x86_64")]
            type Avx512 = std::arch::x86_64::$avx512;
            #[inline(always)]
            fn fused(self, b: Self, c: Self) -> Self {
                if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                    self.mul_add(b, c)
                } else {
                    self * b + c
                }
            }
            fn count(n: usize) -> Self {
                n as $t
            }
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $t
            }
            fn nan(self) -> bool {
                self.is_nan()
            }
        }
    };
}
float!(f32, __m256, __m512);
float!(f64, __m256d, __m512d);

/// What becomes of each value of an output before it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation<T> {
    /// Nothing.
    None,
    /// Values below the first become the first, values above the second the second.
    Clip(T, T),
}

impl<T: Float> Activation<T> {
    /// Negative values become zero.
    pub fn relu() -> Self {
        Self::Clip(T::default(), T::HIGHEST)
    }

    /// It of a vector; what is not a number stays so.
    ///
    /// # Safety
    /// As for [`simd::Vector`].
    #[inline(always)]
    unsafe fn of_vector<V: simd::Vector<T>>(self, values: V) -> V {
        match self {
            Self::None => values,
            Self::Clip(low, high) => unsafe { V::splat(high).min(V::splat(low).max(values)) },
        }
    }
}

/// How a kernel slides over a map of `[height, width]`; one-dimensional data is a map of height 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The map that it slides over.
    pub input: [usize; 2],
    /// The positions that it takes.
    pub output: [usize; 2],
    /// Its size.
    pub kernel: [usize; 2],
    /// Steps between positions.
    pub stride: [usize; 2],
    /// Steps between its taps.
    pub dilation: [usize; 2],
    /// Padding before the map; what lies behind it follows from the output.
    pub before: [usize; 2],
}

impl Window {
    /// The positions along `axis` at which tap `k` lies inside the map.
    fn inside(&self, axis: usize, k: usize) -> std::ops::Range<usize> {
        let (offset, stride, before) = (k * self.dilation[axis], self.stride[axis], self.before[axis]);
        let first = before.saturating_sub(offset).div_ceil(stride);
        let behind = (self.input[axis] + before).saturating_sub(offset).div_ceil(stride).min(self.output[axis]);
        first.min(behind)..behind
    }

    /// The pixel along `axis` under tap `k` at a position where it is [inside](Self::inside).
    fn pixel(&self, axis: usize, position: usize, k: usize) -> usize {
        position * self.stride[axis] + k * self.dilation[axis] - self.before[axis]
    }

    /// Pixels of the input map.
    pub fn pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Positions of the output map.
    pub fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Pixels from its first tap to its last along `axis`.
    fn span(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }
}

/// `c = a·b`, or `c += a·b`: `a` is `[m, k]`, `b` `[k, n]`, `c` `[m, n]`, each row-major or, where `.1` says so, stored
/// transposed.
fn matmul<T: Float>(
    (m, k, n): (usize, usize, usize),
    (a, a_turned): (&[T], bool),
    (b, b_turned): (&[T], bool),
    (c, add): (&mut [T], bool),
    threads: bool,
) {
    assert!(a.len() >= m * k && b.len() >= k * n && c.len() >= m * n, "matrices as large as their sizes say");
    let strides = |rows: usize, columns: usize, turned: bool| {
        if turned { (rows as isize, 1) } else { (1, columns as isize) }
    };
    let ((a_col, a_row), (b_col, b_row)) = (strides(m, k, a_turned), strides(k, n, b_turned));
    let parallelism = if threads { gemm::Parallelism::Rayon(0) } else { gemm::Parallelism::None };
    // SAFETY: the lengths were checked against the sizes, and the strides stay inside them.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.as_ptr(),
            a_col,
            a_row,
            b.as_ptr(),
            b_col,
            b_row,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}
