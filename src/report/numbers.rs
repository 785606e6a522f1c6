//! Numbers as people write them.

/// A time: `1 h 05 min`, `12 min`, `40 s`
pub fn time(seconds: f64) -> String {
    match seconds {
        ..100. => format!("{seconds:.0} s"),
        ..6000. => format!("{:.0} min", seconds / 60.),
        _ => format!("{:.0} h {:02.0} min", (seconds / 3600.).floor(), seconds % 3600. / 60.),
    }
}

/// A figure in any unit: with four digits that tell something, of a small one three.
pub fn precise(value: f64) -> String {
    digits(value, if value != 0. && value.abs() < 0.1 { 3 } else { 4 })
}

/// A number with so many digits that tell something, and those before its point all of them: `0.01234`, `1.234`, `123457` with four.
/// Very small and very large ones have an exponent.
pub fn digits(value: f64, count: usize) -> String {
    let before = if value == 0. { 0 } else { value.abs().log10().floor() as i32 };
    match before {
        ..-5 | 9.. => format!("{value:.*e}", count - 1),
        _ => format!("{value:.*}", (count as i32 - 1 - before).max(0) as usize),
    }
}

/// A number beside an axis, where there is room for seven characters: with three digits that tell something, or those of a whole one.
pub fn short(value: f64) -> String {
    const ROOM: usize = 7;
    let text = if value.fract() == 0. && value.abs() < 1e8 { format!("{value}") } else { digits(value, 3) };
    if text.len() <= ROOM { text } else { format!("{value:.2e}") }
}

/// `1 image`, `2 images`
pub fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}
