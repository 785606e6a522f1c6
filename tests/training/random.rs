//! Values of an independent ChaCha8 (RFC 8439's block function with eight rounds and a 64-bit counter).

use adapt::random::{below, stream, uniform};
use rand::Rng;

#[test]
fn a_stream_is_chacha8_under_its_key() {
    let mut first = stream(1, "mix", 2, 3);
    assert_eq!([first.next_u64(), first.next_u64()], [0x320a1a92bc2ef053, 0xdbe8d20cce58681e]);
    for mut other in [stream(2, "mix", 2, 3), stream(1, "new", 2, 3), stream(1, "mix", 3, 3), stream(1, "mix", 2, 4)] {
        assert_ne!(other.next_u64(), 0x320a1a92bc2ef053);
    }
}

#[test]
fn draws_are_uniform() {
    let mut stream = stream(0, "test", 0, 0);
    let mut counts = [0; 7];
    (0..70_000).for_each(|_| counts[below(&mut stream, 7)] += 1);
    assert!(counts.iter().all(|c| (9_600..10_400).contains(c)), "{counts:?}");
    let mean = (0..10_000).map(|_| uniform(&mut stream)).sum::<f64>() / 1e4;
    assert!((mean - 0.5).abs() < 0.012, "{mean}");
}
