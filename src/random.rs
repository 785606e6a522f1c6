//! Random numbers that depend on what they are for, and on nothing else.
//!
//! Every use has a stream of its own, keyed by the run's seed, its purpose and its place: no order of calls, number of
//! threads or interruption changes what is drawn. ChaCha8's output is specified, and `rand` promises to keep it.

pub use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// The stream of `purpose` (of at most eight bytes) at a place, such as an epoch and an image's or a batch's number in it.
pub fn stream(seed: u64, purpose: &str, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut name = [0; 8];
    name.iter_mut().zip(purpose.bytes()).for_each(|(to, from)| *to = from);
    let mut key = [0; 32];
    let words = [seed.to_le_bytes(), name, epoch.to_le_bytes(), index.to_le_bytes()];
    key.as_chunks_mut().0.iter_mut().zip(words).for_each(|(to, word)| *to = word);
    ChaCha8Rng::from_seed(key)
}

/// Uniform in [0, 1), of 53 bits.
pub fn uniform(stream: &mut ChaCha8Rng) -> f64 {
    (stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Of a normal distribution of mean 0 and deviation 1, by Box and Muller.
pub fn normal(stream: &mut ChaCha8Rng) -> f64 {
    let (a, b) = (1. - uniform(stream), uniform(stream));
    (-2. * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// A whole number below `end` (which is not 0), each as likely to within 2⁻³² of its share where `end` is below 2³².
pub fn below(stream: &mut ChaCha8Rng, end: usize) -> usize {
    ((u128::from(stream.next_u64()) * end as u128) >> 64) as usize
}
