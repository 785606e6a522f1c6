//! Vectors of the machine: AVX-512 or AVX2 where there are, else arrays that the compiler makes vectors of (NEON, SSE2).

use super::Float;

/// Several numbers in a register.
///
/// # Safety
/// Every function needs the instructions that the type stands for; those that take pointers read or write
/// [`LANES`](Self::LANES) values there, or `n` of them where they say so. All are called from within [`Isa::run`] alone.
pub trait Vector<T>: Copy {
    /// Numbers in it.
    const LANES: usize;
    /// Whether there are registers enough for 24 sums.
    const MANY: bool;
    unsafe fn splat(value: T) -> Self;
    unsafe fn load(from: *const T) -> Self;
    unsafe fn store(self, to: *mut T);
    /// The first `n` values, zero behind them.
    unsafe fn load_part(from: *const T, n: usize) -> Self;
    unsafe fn store_part(self, to: *mut T, n: usize);
    /// Every second of the first `2n - 1` values, zero behind them.
    unsafe fn load_even(from: *const T, n: usize) -> Self;
    /// `self · b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    /// The larger one; where one is not a number, `b`.
    unsafe fn max(self, b: Self) -> Self;
    /// The values at even and at odd places of two vectors one behind the other.
    #[inline(always)]
    unsafe fn split(self, b: Self) -> (Self, Self) {
        unsafe { permute(self, b, |i| 2 * i % (2 * Self::LANES) + 2 * i / (2 * Self::LANES)) }
    }
    /// The opposite of [`split`](Self::split).
    #[inline(always)]
    unsafe fn interleave(self, b: Self) -> (Self, Self) {
        unsafe { permute(self, b, |i| i / 2 + i % 2 * Self::LANES) }
    }
    /// The smaller one; where one is not a number, `b`.
    unsafe fn min(self, b: Self) -> Self;
}

/// Through memory: the value at `i` comes from `from(i)`.
#[inline(always)]
unsafe fn permute<T, V: Vector<T>>(a: V, b: V, from: impl Fn(usize) -> usize) -> (V, V) {
    let mut values: [std::mem::MaybeUninit<T>; 32] = [const { std::mem::MaybeUninit::uninit() }; 32];
    let mut moved: [std::mem::MaybeUninit<T>; 32] = [const { std::mem::MaybeUninit::uninit() }; 32];
    // SAFETY: twice the lanes are at most 32, and all that is read was written.
    unsafe {
        a.store(values.as_mut_ptr().cast());
        b.store(values.as_mut_ptr().cast::<T>().add(V::LANES));
        for (i, moved) in moved.iter_mut().enumerate().take(2 * V::LANES) {
            moved.write(values[from(i)].assume_init_read());
        }
        (V::load(moved.as_ptr().cast()), V::load(moved.as_ptr().cast::<T>().add(V::LANES)))
    }
}

/// Work to be done with the vectors of an instruction set. `run` must be `inline(always)`, so that it is compiled for them.
pub(super) trait Job<T> {
    /// # Safety
    /// As for [`Vector`].
    unsafe fn run<V: Vector<T>>(self);
}

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Those of this machine, the widest last.
    pub(super) fn all() -> Vec<Isa> {
        #[allow(unused_mut)]
        let mut all = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Isa::Avx2);
            }
            if is_x86_feature_detected!("avx512f") && all.len() == 2 {
                all.push(Isa::Avx512);
            }
        }
        all
    }

    /// The widest one.
    pub(super) fn best() -> Isa {
        *Self::all().last().expect("there is always the portable one")
    }

    /// Numbers in a vector.
    pub(super) fn lanes<T: Float>(self) -> usize {
        match self {
            Isa::Portable => <Portable<T> as Vector<T>>::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => T::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => T::Avx512::LANES,
        }
    }

    pub(super) fn run<T: Float>(self, job: impl Job<T>) {
        // SAFETY: a value of this type is made by `all` alone, where the machine has the instructions.
        match self {
            Isa::Portable => unsafe { job.run::<Portable<T>>() },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { on_avx2(job) },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { on_avx512(job) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn on_avx2<T: Float>(job: impl Job<T>) {
    unsafe { job.run::<T::Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f")]
unsafe fn on_avx512<T: Float>(job: impl Job<T>) {
    unsafe { job.run::<T::Avx512>() }
}

/// Four numbers.
#[derive(Clone, Copy)]
pub struct Portable<T>([T; 4]);

impl<T: Float> Portable<T> {
    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(T, T) -> T) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], b.0[i])))
    }
}

impl<T: Float> Vector<T> for Portable<T> {
    const LANES: usize = 4;
    const MANY: bool = cfg!(target_arch = "aarch64");
    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        Self(unsafe { from.cast::<[T; 4]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        unsafe { to.cast::<[T; 4]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const T, n: usize) -> Self {
        Self(std::array::from_fn(|i| if i < n { unsafe { *from.add(i) } } else { T::default() }))
    }
    #[inline(always)]
    unsafe fn store_part(self, to: *mut T, n: usize) {
        (0..n.min(4)).for_each(|i| unsafe { *to.add(i) = self.0[i] });
    }
    #[inline(always)]
    unsafe fn load_even(from: *const T, n: usize) -> Self {
        Self(std::array::from_fn(|i| if i < n { unsafe { *from.add(2 * i) } } else { T::default() }))
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].fused(b.0[i], c.0[i])))
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        self.zip(b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, b: Self) -> Self {
        self.zip(b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        self.zip(b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        self.zip(b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        self.zip(b, |a, b| if a < b { a } else { b })
    }
}
