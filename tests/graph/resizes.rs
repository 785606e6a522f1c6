//! Random models of resizing.

use super::build::{Graph, float, int, ints, text};

pub fn resizes(g: &mut Graph) -> String {
    g.input(&[1, 2, 4, 5]);
    let mode = g.rng.pick(&["nearest", "linear", "cubic"]);
    let places =
        g.rng.pick(&["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]);
    // Where a place falls on the border of two pixels, its rounding decides.
    let places = if mode == "nearest" && places == "half_pixel_symmetric" { "half_pixel" } else { places };
    let mut attributes = vec![text("mode", mode), text("coordinate_transformation_mode", places)];
    match mode {
        "nearest" => {
            let rounding = g.rng.pick(&["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]);
            attributes.push(text("nearest_mode", rounding));
        }
        "cubic" => {
            let (a, outside) = (g.rng.pick(&[-0.75, -0.5]), g.rng.size(0, 1) as i64);
            attributes.extend([float("cubic_coeff_a", a), int("exclude_outside", outside)]);
        }
        _ => {}
    }
    g.opset = if places == "half_pixel_symmetric" { 19 } else { g.rng.pick(&[17, 18, 11, 13]) };
    if g.rng.coin() {
        let scales: &[f32] =
            g.rng.pick(&[&[1., 1., 2., 2.], &[1., 1., 0.5, 1.6], &[1., 1., 1., 3.], &[1., 1., 1.7, 0.6]]);
        let scales = g.values(&[4], scales.to_vec());
        let none = if g.opset == 11 { g.values(&[0], vec![]) } else { String::new() };
        return g.node("Resize", &["x", &none, &scales], &attributes);
    }
    let (height, width) = (g.rng.size(2, 9) as i64, g.rng.size(2, 9) as i64);
    if g.opset > 17 {
        let sizes = g.integers(&[width, height]);
        attributes.push(ints("axes", &[3, 2]));
        return g.node("Resize", &["x", "", "", &sizes], &attributes);
    }
    // Sizes name the batch too, so they are put together from the input's shape.
    let (zero, two, sizes) = (g.integers(&[0]), g.integers(&[2]), g.integers(&[height, width]));
    let all = g.node("Shape", &["x"], &[]);
    let head = g.node("Slice", &[&all, &zero, &two], &[]);
    let sizes = g.node("Concat", &[&head, &sizes], &[int("axis", 0)]);
    let none = if g.opset == 11 { g.values(&[0], vec![]) } else { String::new() };
    g.node("Resize", &["x", &none, &none, &sizes], &attributes)
}

/// Before its attributes said where pixels lie.
pub fn plain_resizes(g: &mut Graph) -> String {
    g.input(&[1, 2, 7, 5]);
    let mode = text("mode", g.rng.pick(&["nearest", "linear"]));
    g.opset = 10;
    let sides = [0.4, 0.5, 0.6, 0.9, 1., 1.3, 1.7, 2.];
    let scales = vec![1., 1., g.rng.pick(&sides), g.rng.pick(&sides)];
    let scales = g.values(&[4], scales);
    g.node("Resize", &["x", &scales], &[mode])
}

/// What `Resize` was called before.
pub fn upsamplings(g: &mut Graph) -> String {
    g.input(&[1, 2, 3, 4]);
    let mode = text("mode", g.rng.pick(&["nearest", "linear"]));
    g.opset = 9;
    let scales = g.rng.pick(&[[1., 1., 2., 2.], [1., 1., 1., 3.]]);
    let scales = g.values(&[4], scales.to_vec());
    g.node("Upsample", &["x", &scales], &[mode])
}
