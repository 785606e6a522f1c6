//! How much of one thumbnail is left when another, shifted and stretched as a crop would, is taken from it.

use crate::data::facts::{AREA, SIDE};

/// Gauss-Newton steps; the first two do most.
const STEPS: usize = 4;
/// The most that a crop may have stretched or shifted an image, as shares of its side.
const STRETCH: f32 = 0.2;
const SHIFT: f32 = 0.12 * SIDE as f32;
/// The share of a thumbnail that must lie inside of the other.
const OVERLAP: f32 = 0.75;
/// The contrast of a copy beside the other's, which resizing changes a little, …
const GAIN: std::ops::Range<f32> = 0.8..1.25;
/// … and how many grey levels brighter or darker it may be.
const LEVELS: f32 = 6.;
/// What is so far from the other after two steps becomes no copy of it.
const HOPELESS: f32 = 0.15;
/// The centre.
const MIDDLE: f32 = (SIDE as f32 - 1.) / 2.;

type Map = [f32; AREA];

/// The share of a thumbnail's (blurred) contrast that the other, aligned with it, does not explain: 0 for the same image,
/// 1 for two that have nothing in common, or differ in brightness or contrast. The better of both directions is taken.
pub fn residual(a: &[u8; AREA], b: &[u8; AREA]) -> f32 {
    let (a, b) = (a.map(f32::from), b.map(f32::from));
    one_way(&a, &b).min(one_way(&b, &a)).min(1.)
}

/// Moves `b` until it looks like `a`: two scales and two shifts, by least squares.
fn one_way(a: &Map, b: &Map) -> f32 {
    // Scale and shift of rows, then of columns.
    let mut warp = [0f32; 4];
    let mut best: Option<Compared> = None;
    for step in 0..=STEPS {
        let (seen, inside) = look(b, &warp);
        let Some(compared) = compare(a, &seen, &inside) else { break };
        let hopeless = step >= 2 && compared.share > HOPELESS;
        let last = hopeless || step == STEPS || !improve(&compared, &seen, &inside, &mut warp);
        if compared.alike && best.as_ref().is_none_or(|best| compared.share < best.share) {
            best = Some(compared);
        }
        if last {
            break;
        }
    }
    best.map_or(1., |best| energy(&blurred(&best.left)) / energy(&blurred(&best.target)).max(1e-6))
}

/// For each place along an axis: the one before it in the source, how far behind that it lies, and whether it is inside.
fn axis(scale: f32, shift: f32) -> [(usize, f32, f32); SIDE] {
    let end = SIDE as f32 - 1.;
    std::array::from_fn(|i| {
        let at = i as f32 + (i as f32 - MIDDLE) * scale + shift;
        let inside = if (-0.5..=end + 0.5).contains(&at) { 1. } else { 0. };
        let at = at.clamp(0., end);
        let first = (at as usize).min(SIDE - 2);
        (first, at - first as f32, inside)
    })
}

/// `b` as it is seen through the warp, and which pixels of that lie in `b`.
fn look(b: &Map, warp: &[f32; 4]) -> (Map, Map) {
    let (rows, columns) = (axis(warp[0], warp[1]), axis(warp[2], warp[3]));
    let (mut seen, mut inside) = ([0f32; AREA], [0f32; AREA]);
    for (y, &(first, part, within)) in rows.iter().enumerate() {
        let row: [f32; SIDE] =
            std::array::from_fn(|x| b[first * SIDE + x] * (1. - part) + b[(first + 1) * SIDE + x] * part);
        for (x, &(left, part, also)) in columns.iter().enumerate() {
            seen[y * SIDE + x] = row[left] * (1. - part) + row[left + 1] * part;
            inside[y * SIDE + x] = within * also;
        }
    }
    (seen, inside)
}

/// Two images, freed of their means, where both are.
struct Compared {
    target: Map,
    left: Map,
    gain: f32,
    /// The energy of what is left, as a share of the target's.
    share: f32,
    /// Whether brightness and contrast are about the same.
    alike: bool,
}

/// `None` where they share too little.
fn compare(a: &Map, seen: &Map, inside: &Map) -> Option<Compared> {
    let count: f32 = inside.iter().sum();
    let mean = |map: &Map| map.iter().zip(inside).map(|(v, m)| v * m).sum::<f32>() / count.max(1.);
    let (mean_a, mean_seen) = (mean(a), mean(seen));
    let (mut target, mut other) = ([0f32; AREA], [0f32; AREA]);
    for i in 0..AREA {
        target[i] = (a[i] - mean_a) * inside[i];
        other[i] = (seen[i] - mean_seen) * inside[i];
    }
    let gain = dot(&target, &other) / energy(&other).max(1e-6);
    let left: Map = std::array::from_fn(|i| target[i] - gain * other[i]);
    let share = energy(&left) / energy(&target).max(1e-6);
    let alike = GAIN.contains(&gain) && (mean_a - mean_seen).abs() < LEVELS;
    (count >= OVERLAP * AREA as f32).then_some(Compared { target, left, gain, share, alike })
}

/// A Gauss-Newton step; whether there is one.
fn improve(compared: &Compared, seen: &Map, inside: &Map, warp: &mut [f32; 4]) -> bool {
    let (mut normal, mut right) = ([[0f32; 4]; 4], [0f32; 4]);
    for y in 1..SIDE - 1 {
        for x in 1..SIDE - 1 {
            let i = y * SIDE + x;
            let scale = 0.5 * compared.gain * inside[i];
            let down = (seen[i + SIDE] - seen[i - SIDE]) * scale;
            let along = (seen[i + 1] - seen[i - 1]) * scale;
            let slopes = [down * (y as f32 - MIDDLE), down, along * (x as f32 - MIDDLE), along];
            for (j, slope) in slopes.iter().enumerate() {
                right[j] += slope * compared.left[i];
                slopes.iter().zip(&mut normal[j]).for_each(|(other, sum)| *sum += slope * other);
            }
        }
    }
    // A little damping: images with stripes say nothing about one direction.
    let damping = 2.5e-4 * (0..4).map(|j| normal[j][j]).sum::<f32>() + 1e-3;
    (0..4).for_each(|j| normal[j][j] += damping);
    let step = solve(normal, right);
    for (j, (value, step)) in warp.iter_mut().zip(step).enumerate() {
        let most = if j % 2 == 0 { STRETCH } else { SHIFT };
        *value = (*value + step).clamp(-most, most);
    }
    step.iter().all(|step| step.is_finite()) && step.iter().any(|step| step.abs() > 1e-3)
}

/// Gauss elimination of a positive definite system.
fn solve(mut rows: [[f32; 4]; 4], mut right: [f32; 4]) -> [f32; 4] {
    for i in 0..4 {
        for j in i + 1..4 {
            let factor = rows[j][i] / rows[i][i];
            (i..4).for_each(|k| rows[j][k] -= factor * rows[i][k]);
            right[j] -= factor * right[i];
        }
    }
    for i in (0..4).rev() {
        let known: f32 = (i + 1..4).map(|k| rows[i][k] * right[k]).sum();
        right[i] = (right[i] - known) / rows[i][i];
    }
    right
}

/// Binomial blur over five pixels each way (a deviation of one pixel): what resampling and compression change is finer.
fn blurred(map: &Map) -> Map {
    const WEIGHTS: [f32; 5] = [1. / 16., 4. / 16., 6. / 16., 4. / 16., 1. / 16.];
    let at = |map: &Map, y: usize, x: usize| if y < SIDE && x < SIDE { map[y * SIDE + x] } else { 0. };
    let pass = |map: &Map, down: usize, along: usize| -> Map {
        std::array::from_fn(|i| {
            let sum = WEIGHTS.iter().enumerate().map(|(k, weight)| {
                // Places before the first wrap around to ones that are outside, too.
                let (y, x) =
                    ((i / SIDE + k * down).wrapping_sub(2 * down), (i % SIDE + k * along).wrapping_sub(2 * along));
                weight * at(map, y, x)
            });
            sum.sum()
        })
    };
    pass(&pass(map, 1, 0), 0, 1)
}

fn dot(a: &Map, b: &Map) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn energy(map: &Map) -> f32 {
    dot(map, map)
}
