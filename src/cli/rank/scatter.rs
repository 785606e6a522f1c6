//! Accuracy against time as text.

use std::fmt::Write;

const WIDTH: usize = 56;
const HEIGHT: usize = 12;

/// Points (milliseconds, accuracy, letter) on a logarithmic time axis; where several fall on one place, the first is seen.
/// Nothing for fewer than two.
pub fn scatter(points: &[(f64, f64, String)]) -> String {
    if points.len() < 2 {
        return String::new();
    }
    let range = |of: fn(&(f64, f64, String)) -> f64, least: f64| {
        let low = points.iter().map(of).fold(f64::MAX, f64::min);
        let high = points.iter().map(of).fold(f64::MIN, f64::max);
        let more = (least - (high - low)).max(0.) / 2.;
        (low - more, high + more)
    };
    let (left, right) = range(|point| point.0.max(1e-3).log10(), 0.1);
    let (bottom, top) = range(|point| point.1, 0.02);
    let mut grid = vec![vec![" "; WIDTH]; HEIGHT];
    for (ms, accuracy, letter) in points.iter().rev() {
        let x = (ms.max(1e-3).log10() - left) / (right - left) * (WIDTH - 1) as f64;
        let y = (top - accuracy) / (top - bottom) * (HEIGHT - 1) as f64;
        grid[y.round() as usize][x.round() as usize] = letter;
    }
    let mut text = String::from("\nprobe\n");
    for (row, cells) in grid.iter().enumerate() {
        let edge = row == 0 || row == HEIGHT - 1;
        let label = if edge { format!("{:.3}", if row == 0 { top } else { bottom }) } else { String::new() };
        let _ = writeln!(text, "{}", format!("{label:>5} │{}", cells.concat()).trim_end());
    }
    let (first, last) =
        (format!("{:.1}", 10f64.powf(left)), format!("{:.1} ms an image, logarithmic", 10f64.powf(right)));
    let _ = writeln!(text, "      └{}", "─".repeat(WIDTH));
    let _ = writeln!(text, "       {first}{last:>width$}\n", width = WIDTH - first.len());
    text
}
