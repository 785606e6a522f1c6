//! Vectors of x86-64.

use super::simd::Vector;
use std::arch::x86_64::*;

macro_rules! arithmetic {
    ($fma:ident $add:ident $sub:ident $mul:ident $max:ident $min:ident) => {
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            unsafe { $fma(self, b, c) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            unsafe { $add(self, b) }
        }
        #[inline(always)]
        unsafe fn sub(self, b: Self) -> Self {
            unsafe { $sub(self, b) }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            unsafe { $mul(self, b) }
        }
        #[inline(always)]
        unsafe fn max(self, b: Self) -> Self {
            unsafe { $max(self, b) }
        }
        #[inline(always)]
        unsafe fn min(self, b: Self) -> Self {
            unsafe { $min(self, b) }
        }
    };
}

macro_rules! whole {
    ($t:ty, $splat:ident $load:ident $store:ident) => {
        #[inline(always)]
        unsafe fn splat(value: $t) -> Self {
            unsafe { $splat(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const $t) -> Self {
            unsafe { $load(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut $t) {
            unsafe { $store(to, self) }
        }
    };
}

/// Indices of a permutation of two vectors.
macro_rules! table {
    ($t:ty, $lanes:literal, |$i:ident| $value:expr) => {{
        let mut table = [0; $lanes];
        let mut $i = 0;
        while $i < $lanes {
            table[$i] = $value as $t;
            $i += 1;
        }
        table
    }};
}

macro_rules! wide {
    ($v:ty, $t:ty, $lanes:literal, $mask:ty, $index:ty, $splat:ident $load:ident $store:ident $load_part:ident
     $store_part:ident $cast:ident $permute:ident, $($op:ident)*) => {
        impl Vector<$t> for $v {
            const LANES: usize = $lanes;
            const MANY: bool = true;
            whole!($t, $splat $load $store);
            #[inline(always)]
            unsafe fn load_part(from: *const $t, n: usize) -> Self {
                unsafe { $load_part(((1u32 << n.min($lanes)) - 1) as $mask, from) }
            }
            #[inline(always)]
            unsafe fn store_part(self, to: *mut $t, n: usize) {
                unsafe { $store_part(to, ((1u32 << n.min($lanes)) - 1) as $mask, self) }
            }
            #[inline(always)]
            unsafe fn load_even(from: *const $t, n: usize) -> Self {
                let mask = (1u64 << (2 * n.min($lanes)).saturating_sub(1)) - 1;
                unsafe {
                    let low = $load_part(mask as $mask, from);
                    // The second half may lie behind the memory; its mask is empty then, and nothing is read.
                    let high = $load_part((mask >> $lanes) as $mask, from.wrapping_add($lanes));
                    low.split(high).0
                }
            }
            #[inline(always)]
            unsafe fn split(self, b: Self) -> (Self, Self) {
                const EVEN: [$index; $lanes] = table!($index, $lanes, |i| 2 * i);
                const ODD: [$index; $lanes] = table!($index, $lanes, |i| 2 * i + 1);
                unsafe {
                    let (even, odd) = ($cast(EVEN.as_ptr().cast()), $cast(ODD.as_ptr().cast()));
                    ($permute(self, even, b), $permute(self, odd, b))
                }
            }
            #[inline(always)]
            unsafe fn interleave(self, b: Self) -> (Self, Self) {
                const LOW: [$index; $lanes] = table!($index, $lanes, |i| i / 2 + i % 2 * $lanes);
                const HIGH: [$index; $lanes] = table!($index, $lanes, |i| i / 2 + i % 2 * $lanes + $lanes / 2);
                unsafe {
                    let (low, high) = ($cast(LOW.as_ptr().cast()), $cast(HIGH.as_ptr().cast()));
                    ($permute(self, low, b), $permute(self, high, b))
                }
            }
            arithmetic!($($op)*);
        }
    };
}

wide!(__m512, f32, 16, u16, u32,
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_maskz_loadu_ps _mm512_mask_storeu_ps _mm512_loadu_si512
    _mm512_permutex2var_ps,
    _mm512_fmadd_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_max_ps _mm512_min_ps);
wide!(__m512d, f64, 8, u8, u64,
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_maskz_loadu_pd _mm512_mask_storeu_pd _mm512_loadu_si512
    _mm512_permutex2var_pd,
    _mm512_fmadd_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_max_pd _mm512_min_pd);

macro_rules! narrow {
    ($v:ty, $t:ty, $lanes:literal, $splat:ident $load:ident $store:ident, $($op:ident)*) => {
        impl Vector<$t> for $v {
            const LANES: usize = $lanes;
            const MANY: bool = false;
            whole!($t, $splat $load $store);
            #[inline(always)]
            unsafe fn load_part(from: *const $t, n: usize) -> Self {
                let mut values = [0.0; $lanes];
                unsafe {
                    (0..n.min($lanes)).for_each(|i| values[i] = *from.add(i));
                    $load(values.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_part(self, to: *mut $t, n: usize) {
                let mut values = [0.0; $lanes];
                unsafe {
                    $store(values.as_mut_ptr(), self);
                    (0..n.min($lanes)).for_each(|i| *to.add(i) = values[i]);
                }
            }
            #[inline(always)]
            unsafe fn load_even(from: *const $t, n: usize) -> Self {
                let mut values = [0.0; $lanes];
                unsafe {
                    (0..n.min($lanes)).for_each(|i| values[i] = *from.add(2 * i));
                    $load(values.as_ptr())
                }
            }
            arithmetic!($($op)*);
        }
    };
}

narrow!(__m256, f32, 8, _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps,
    _mm256_fmadd_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_max_ps _mm256_min_ps);
narrow!(__m256d, f64, 4, _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd,
    _mm256_fmadd_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_max_pd _mm256_min_pd);
