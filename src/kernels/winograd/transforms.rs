//! The transforms of F(4×4, 3×3) for the points 0, ±1/√2, ±√2 and infinity.

// Rows and columns of small matrices read best by their numbers.
#![allow(clippy::needless_range_loop)]

use super::super::simd::Vector;
use super::super::{Activation, Float};
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::marker::PhantomData;

/// Factors of the transforms.
pub(super) struct Constants<T, V> {
    half: V,
    two: V,
    two_and_half: V,
    /// The points, and their cubes.
    a: V,
    b: V,
    a3: V,
    b3: V,
    numbers: PhantomData<T>,
}

impl<T: Float, V: Vector<T>> Constants<T, V> {
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        let of = |value: f64| unsafe { V::splat(T::of(value)) };
        Self {
            half: of(0.5),
            two: of(2.0),
            two_and_half: of(2.5),
            a: of(FRAC_1_SQRT_2),
            b: of(SQRT_2),
            a3: of(FRAC_1_SQRT_2 / 2.0),
            b3: of(2.0 * SQRT_2),
            numbers: PhantomData,
        }
    }
}

/// `c - a·b`.
#[inline(always)]
unsafe fn less<T: Float, V: Vector<T>>(a: V, b: V, c: V) -> V {
    unsafe { c.sub(a.mul(b)) }
}

/// Bᵀ·d.
#[inline(always)]
unsafe fn map_side<T: Float, V: Vector<T>>(c: &Constants<T, V>, d: [V; 6]) -> [V; 6] {
    unsafe {
        let (even_a, odd_a) = (less(c.two, d[2], d[4]), less(c.two, d[1], d[3]));
        let (even_b, odd_b) = (less(c.half, d[2], d[4]), less(c.half, d[1], d[3]));
        [
            less(c.two_and_half, d[2], d[0].add(d[4])),
            odd_a.mul_add(c.a, even_a),
            less(c.a, odd_a, even_a),
            odd_b.mul_add(c.b, even_b),
            less(c.b, odd_b, even_b),
            less(c.two_and_half, d[3], d[1].add(d[5])),
        ]
    }
}

/// A·y, for gradients of outputs; the other two are zero.
#[inline(always)]
unsafe fn gradient_side<T: Float, V: Vector<T>>(c: &Constants<T, V>, y: [V; 6]) -> [V; 6] {
    unsafe {
        let (even_a, odd_a) = (y[2].mul_add(c.half, y[0]), y[3].mul_add(c.a3, y[1].mul(c.a)));
        let (even_b, odd_b) = (y[2].mul_add(c.two, y[0]), y[3].mul_add(c.b3, y[1].mul(c.b)));
        [y[0], even_a.add(odd_a), even_a.sub(odd_a), even_b.add(odd_b), even_b.sub(odd_b), y[3]]
    }
}

/// Transforms vectors of tiles, of maps or (`GRADIENT`) of gradients of outputs: pixel `(y, x)` lies at `from + at(y, x)`, results go to places `step` apart.
///
/// # Safety
/// All of these may be read or written.
#[inline(always)]
pub(super) unsafe fn of_map<T: Float, V: Vector<T>, const GRADIENT: bool>(
    constants: &Constants<T, V>,
    from: *const T,
    at: impl Fn(usize, usize) -> usize,
    to: *mut T,
    step: usize,
) {
    unsafe {
        let mut half = [[V::splat(T::default()); 6]; 6];
        let pixels = if GRADIENT { 4 } else { 6 };
        for x in 0..pixels {
            let mut column = [V::splat(T::default()); 6];
            for (y, value) in column.iter_mut().enumerate().take(pixels) {
                *value = V::load(from.add(at(y, x)));
            }
            let column = if GRADIENT { gradient_side(constants, column) } else { map_side(constants, column) };
            for y in 0..6 {
                half[y][x] = column[y];
            }
        }
        for (y, line) in half.into_iter().enumerate() {
            let line = if GRADIENT { gradient_side(constants, line) } else { map_side(constants, line) };
            for (x, value) in line.into_iter().enumerate() {
                value.store(to.add((y * 6 + x) * step));
            }
        }
    }
}

/// G·g.
#[inline(always)]
unsafe fn kernel_side<T: Float, V: Vector<T>>(g: [V; 3]) -> [V; 6] {
    unsafe {
        let of = |value: f64| V::splat(T::of(value));
        let a = g[2].mul_add(of(0.5), g[0]).mul(of(-2.0 / 3.0));
        let b = g[2].mul_add(of(2.0), g[0]).mul(of(1.0 / 6.0));
        let (odd_a, odd_b) = (g[1].mul(of(FRAC_1_SQRT_2 * -2.0 / 3.0)), g[1].mul(of(SQRT_2 / 6.0)));
        [g[0], a.add(odd_a), a.sub(odd_a), b.add(odd_b), b.sub(odd_b), g[2]]
    }
}

/// Transforms kernels, `[9, len]`; results go to places `step` apart.
///
/// # Safety
/// All of these may be written, and a vector behind the last.
#[inline(always)]
pub(super) unsafe fn of_kernel<T: Float, V: Vector<T>>(taps: &[T], len: usize, to: *mut T, step: usize) {
    unsafe {
        for i in (0..len).step_by(V::LANES) {
            let mut half = [[V::splat(T::default()); 3]; 6];
            for x in 0..3 {
                let tap = |y: usize| V::load_part(taps.as_ptr().add((y * 3 + x) * len + i), len - i);
                let column = kernel_side([tap(0), tap(1), tap(2)]);
                for y in 0..6 {
                    half[y][x] = column[y];
                }
            }
            for (y, line) in half.into_iter().enumerate() {
                for (x, value) in kernel_side(line).into_iter().enumerate() {
                    let to = to.add((y * 6 + x) * step + i);
                    if len - i >= V::LANES { value.store(to) } else { value.store_part(to, len - i) }
                }
            }
        }
    }
}

/// Aᵀ·m.
#[inline(always)]
unsafe fn product_side<T: Float, V: Vector<T>>(c: &Constants<T, V>, m: [V; 6]) -> [V; 4] {
    unsafe {
        let (even_a, odd_a) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (even_b, odd_b) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(even_a).add(even_b),
            odd_b.mul_add(c.b, odd_a.mul(c.a)),
            even_b.mul_add(c.two, even_a.mul(c.half)),
            odd_b.mul_add(c.b3, odd_a.mul_add(c.a3, m[5])),
        ]
    }
}

/// Makes vectors of tiles out of products, `step` apart; each of the tiles' four lines goes to a place of its own, `pitch`
/// apart, tile behind tile.
///
/// # Safety
/// All of these may be read or written.
#[inline(always)]
pub(super) unsafe fn from_products<T: Float, V: Vector<T>>(
    constants: &Constants<T, V>,
    from: *const T,
    step: usize,
    bias: V,
    activation: Activation<T>,
    to: *mut T,
    pitch: usize,
) {
    unsafe {
        let mut half = [[V::splat(T::default()); 6]; 4];
        for x in 0..6 {
            let mut column = [V::splat(T::default()); 6];
            for (y, value) in column.iter_mut().enumerate() {
                *value = V::load(from.add((y * 6 + x) * step));
            }
            let column = product_side(constants, column);
            for y in 0..4 {
                half[y][x] = column[y];
            }
        }
        for (y, line) in half.into_iter().enumerate() {
            let mut line = product_side(constants, line);
            for value in &mut line {
                *value = activation.of_vector(value.add(bias));
            }
            let ((ac, ac_behind), (bd, bd_behind)) = (line[0].interleave(line[2]), line[1].interleave(line[3]));
            let ((first, second), (third, fourth)) = (ac.interleave(bd), ac_behind.interleave(bd_behind));
            for (i, value) in [first, second, third, fourth].into_iter().enumerate() {
                value.store(to.add(y * pitch + i * V::LANES));
            }
        }
    }
}

/// Gᵀ·u.
#[inline(always)]
unsafe fn sum_side<T: Float, V: Vector<T>>(u: [V; 6]) -> [V; 3] {
    unsafe {
        let of = |value: f64| V::splat(T::of(value));
        let (even_a, odd_a) = (u[1].add(u[2]).mul(of(-2.0 / 3.0)), u[1].sub(u[2]));
        let (even_b, odd_b) = (u[3].add(u[4]).mul(of(1.0 / 6.0)), u[3].sub(u[4]));
        [
            u[0].add(even_a).add(even_b),
            odd_b.mul_add(of(SQRT_2 / 6.0), odd_a.mul(of(FRAC_1_SQRT_2 * -2.0 / 3.0))),
            even_b.mul_add(of(2.0), even_a.mul_add(of(0.5), u[5])),
        ]
    }
}

/// Makes the gradients of vectors of kernels out of sums of products, `step` apart.
///
/// # Safety
/// All of these may be read.
#[inline(always)]
pub(super) unsafe fn from_sums<T: Float, V: Vector<T>>(from: *const T, step: usize) -> [[V; 3]; 3] {
    unsafe {
        let zero = V::splat(T::default());
        let mut half = [[zero; 6]; 3];
        for x in 0..6 {
            let mut column = [zero; 6];
            for (y, value) in column.iter_mut().enumerate() {
                *value = V::load(from.add((y * 6 + x) * step));
            }
            let column = sum_side(column);
            for y in 0..3 {
                half[y][x] = column[y];
            }
        }
        let mut taps = [[zero; 3]; 3];
        for (taps, line) in taps.iter_mut().zip(half) {
            *taps = sum_side(line);
        }
        taps
    }
}
