//! Matrix products.

use super::{Float, matmul};
use rayon::prelude::*;

/// From so many products on, each is one thread's; fewer are shared among the threads one by one.
const MANY: usize = 4;

/// Writes the products of `[m, k]` and `[k, n]` matrices, `batch` of each one behind the other, to `c`. Where `.1` says so
/// they are stored transposed.
pub fn products<T: Float>(
    [batch, m, k, n]: [usize; 4],
    (a, a_turned): (&[T], bool),
    (b, b_turned): (&[T], bool),
    c: &mut [T],
) {
    assert!(a.len() == batch * m * k && b.len() == batch * k * n && c.len() == batch * m * n, "as the sizes say");
    if c.is_empty() || k == 0 {
        return c.fill(T::default());
    }
    let product = |(index, c): (usize, &mut [T]), threads: bool| {
        let (a, b) = (&a[index * m * k..][..m * k], &b[index * k * n..][..k * n]);
        matmul((m, k, n), (a, a_turned), (b, b_turned), (c, false), threads);
    };
    if batch < MANY {
        c.chunks_exact_mut(m * n).enumerate().for_each(|part| product(part, true));
    } else {
        c.par_chunks_exact_mut(m * n).enumerate().for_each(|part| product(part, false));
    }
}
