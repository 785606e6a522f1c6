//! The numbers that a GPU multiplies `f32` values as. The CPU's kernels know `f32` alone.

use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// How factors are rounded; sums are `f32` in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Number {
    /// Not at all.
    #[default]
    F32,
    /// To 10 bits behind the point.
    Tf32,
    /// To 7, results too.
    Bf16,
}

/// How convolutions and matrix products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Precision {
    /// Convolutions.
    pub conv: Number,
    /// Products of matrices.
    pub product: Number,
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision { conv: Number::F32, product: Number::F32 }) };
}

impl Precision {
    /// What training on a GPU takes unless told otherwise: PyTorch's default.
    pub const GPU: Precision = Precision { conv: Number::Tf32, product: Number::F32 };

    /// Whether nothing is rounded.
    pub fn is_full(&self) -> bool {
        *self == Precision::default()
    }

    /// What this thread computes with: `f32`, unless it is [inside](Precision::during) of such work.
    pub fn current() -> Precision {
        CURRENT.get()
    }

    /// Does the work of this thread with it, as PyTorch's `autocast` does.
    pub fn during<T>(self, work: impl FnOnce() -> T) -> T {
        struct Before(Precision);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _before = Before(CURRENT.replace(self));
        work()
    }
}
